"""What a person meets on the page of `vc app`: Debian's Chromium, driven by Playwright."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vc_lib.audio import read_comment
from vc_lib.convert import load_voice
from vc_lib.model.voice_folder import find_voice, read_voice, save_voice

pytest.importorskip("gradio", reason="pip install -e '.[app]'")
playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(
    not CHROMIUM, reason="no Chromium here; on Debian: apt-get install chromium"
)
pytestmark = [needs_chromium, pytest.mark.slow]
REPO = Path(__file__).parents[2]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
]
ALLOW = "--use-fake-ui-for-media-stream"  # says yes when the page asks for the microphone
SR = 16_000
PROGRESS = re.compile(r"converted \d+ of 600 s")
# seconds and peak of each sound in the players
SOUNDS = """async () => {
  const found = [];
  for (const audio of document.querySelectorAll("audio")) {
    const bytes = await (await fetch(audio.src)).arrayBuffer();
    const sound = await new OfflineAudioContext(1, 1, 44100).decodeAudioData(bytes);
    const samples = sound.getChannelData(0);
    let peak = 0, sum = 0;
    for (const x of samples) { peak = Math.max(peak, Math.abs(x)); sum += x * x; }
    found.push({ seconds: sound.duration, peak, sum });
  }
  return found;
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The address of `vc app`, which runs in a folder of its own, and this folder."""
    folder = tmp_path_factory.mktemp("site")
    temporary = folder / "temporary"
    temporary.mkdir()
    env = os.environ | {"PYTHONPATH": str(REPO), "TMPDIR": str(temporary)}
    run = [sys.executable, "-m", "vc_lib", "app", "--no-browser", "--port", "0"]
    with (
        open(folder / "log", "wb") as log,
        subprocess.Popen(run, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=log) as server,
    ):
        address = server.stdout.readline().decode().strip()
        assert address.startswith("http://127.0.0.1:"), (folder / "log").read_text()
        yield address, folder
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 130 and not server.stdout.read()
    assert "Traceback" not in (folder / "log").read_text()
    assert not list(temporary.glob("vc-app-*")), "what users gave and got is removed"


@pytest.fixture(scope="module")
def started():
    with playwright.sync_playwright() as p:
        yield p.chromium


@pytest.fixture(scope="module")
def browser(started):
    browser = started.launch(executable_path=CHROMIUM, args=[*FLAGS, ALLOW])
    yield browser
    browser.close()


@pytest.fixture
def opened(browser, site):
    """A function that opens the page; the test fails if it asks another host, or meets an error."""
    pages, asked, errors = [], [], []

    def open_page(**of):
        page = browser.new_page(viewport={"width": 1280, "height": 800}, **of)
        pages.append(page)
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(site[0])
        page.locator("#convert").wait_for()
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not errors, errors
    hosts = {urllib.parse.urlparse(url).hostname for url in asked if re.match("http|ws", url)}
    assert hosts == {"127.0.0.1"}, hosts


@pytest.fixture(scope="module")
def left_open(browser, site):
    """A page that is open while the server stops."""
    page = browser.new_page()
    page.goto(site[0])
    page.locator("#convert").wait_for()


def choose(page, voice: str) -> None:
    page.locator("#voice input").click()
    page.get_by_role("option", name=voice).click()


def give(page, path) -> None:
    """Upload a file."""
    page.get_by_label("a file").check()
    page.set_input_files("#upload input[type=file]", path)
    page.locator("#upload .filename").wait_for()


def result(page):
    """The frame of the players, once they are there."""
    page.locator("iframe.vc-frame").wait_for(timeout=30_000)
    frame = page.frame_locator("iframe.vc-frame")
    frame.locator(".vc-play").wait_for()
    return frame


def sounds(page) -> list[dict]:
    return result(page).locator("body").evaluate(f"() => ({SOUNDS})()")


def test_an_example_is_heard_after_two_clicks_and_can_be_kept(opened, tmp_path):
    page = opened()
    page.click("#convert")
    frame = result(page)
    assert [sound["peak"] > 0.05 for sound in sounds(page)] == [True] * 3
    frame.locator(".vc-play").click()
    frame.locator("body").evaluate(
        """() => new Promise((resolve) => {
            const audio = document.querySelector("audio");
            const wait = () => (audio.currentTime > 0.2 ? resolve() : setTimeout(wait, 20));
            wait(); })"""
    )
    box = page.locator("iframe.vc-frame").bounding_box()
    assert box["y"] + box["height"] < 800, "it is seen without scrolling"
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "kept.wav")
    assert download.value.suggested_filename.endswith("_ljspeech.wav")
    assert "Synthetic speech" in read_comment(tmp_path / "kept.wav")
    assert page.get_by_text("Converted speech is synthetic: tell every listener.").is_visible()


def test_a_bad_file_gets_a_sentence_and_not_the_result_of_another(opened, voice, tmp_path):
    soundfile.write(tmp_path / "good.wav", voice(1.0), SR)
    (tmp_path / "bad.wav").write_text("no sound at all")
    page = opened()
    give(page, tmp_path / "good.wav")
    page.click("#convert")
    result(page)
    page.get_by_label("Clear").first.click()
    page.locator("iframe.vc-frame").wait_for(state="detached")
    give(page, tmp_path / "bad.wav")
    page.click("#convert")
    page.locator(".vc-problem").wait_for()
    assert page.locator(".vc-problem").inner_text().startswith("bad.wav is not readable as sound")
    assert not page.locator("iframe.vc-frame").count()
    assert not page.locator("#download").is_visible()


def test_what_the_microphone_records_is_converted(opened):
    page = opened()
    page.get_by_label("the microphone").check()
    page.get_by_role("button", name="Record").click()
    page.wait_for_timeout(1_500)
    page.locator("#microphone .stop-button").click()
    page.locator(
        "#microphone audio, #microphone [data-testid=waveform-Microphone]"
    ).first.wait_for()
    page.wait_for_timeout(500)
    page.click("#convert")
    found = sounds(page)
    assert [sound["peak"] > 0.05 for sound in found] == [True] * 3
    assert 1 < found[0]["seconds"] < 15
    assert result(page).locator("h3").inner_text() == "microphone → ljspeech"


@pytest.mark.usefixtures("left_open")
def test_two_people_at_once_get_their_own_result(opened, voice, tmp_path):
    soundfile.write(tmp_path / "low.wav", voice(1.0), SR)
    soundfile.write(tmp_path / "high.wav", voice(2.0, f0=220.0), SR)
    mine, yours = opened(), opened(color_scheme="dark")
    give(mine, tmp_path / "low.wav")
    give(yours, tmp_path / "high.wav")
    choose(yours, "kathleen")
    mine.click("#convert")
    yours.click("#convert")
    assert result(mine).locator("h3").inner_text() == "low → ljspeech"
    assert result(yours).locator("h3").inner_text() == "high → kathleen"
    for page, seconds in ((mine, 1), (yours, 2)):
        assert [round(sound["seconds"]) for sound in sounds(page)] == [seconds] * 3
    schemes = [
        result(page).locator("html").evaluate("e => getComputedStyle(e).colorScheme")
        for page in (mine, yours)
    ]
    assert schemes == ["light", "dark"]


def test_a_long_conversion_can_be_cancelled_and_the_next_one_begins(opened, site, voice, tmp_path):
    soundfile.write(tmp_path / "long.wav", np.tile(voice(4.0), 150), SR)
    page = opened()
    give(page, tmp_path / "long.wav")
    page.click("#convert")
    message = page.locator("#result")
    playwright.expect(message).to_contain_text(PROGRESS, timeout=60_000)
    page.click("#stop")
    playwright.expect(message).to_contain_text("Choose speech and a voice")
    playwright.expect(page.locator("#convert")).to_be_enabled()
    playwright.expect(page.locator("#stop")).to_be_disabled()
    nothing_in(site[1] / "temporary")
    page.get_by_label("an example").check()
    page.click("#convert")
    result(page)
    playwright.expect(page.locator("#stop")).to_be_disabled()


def test_a_conversion_can_be_cancelled_at_once(opened, site, voice, tmp_path):
    soundfile.write(tmp_path / "long.wav", np.tile(voice(4.0), 150), SR)
    page = opened()
    give(page, tmp_path / "long.wav")
    page.click("#convert")
    page.click("#stop")
    nothing_in(site[1] / "temporary")
    page.wait_for_timeout(1_000)
    playwright.expect(page.locator("#result")).to_contain_text("Choose speech", timeout=60_000)
    playwright.expect(page.locator("#convert")).to_be_enabled()


def test_a_closed_tab_stops_its_conversion(opened, site, voice, tmp_path):
    soundfile.write(tmp_path / "long.wav", np.tile(voice(4.0), 150), SR)
    page = opened()
    give(page, tmp_path / "long.wav")
    page.click("#convert")
    playwright.expect(page.locator("#result")).to_contain_text(PROGRESS, timeout=60_000)
    page.close()
    nothing_in(site[1] / "temporary")


def nothing_in(temporary: Path) -> None:
    """Wait until no conversion has files in the folder of the server."""
    (own,) = temporary.glob("vc-app-*")
    end = time.monotonic() + 30
    while left := {path.name for path in own.iterdir()} - {"uploads", ".lock"}:
        assert time.monotonic() < end, f"{left} are still there"
        time.sleep(0.1)


@pytest.mark.usefixtures("tuned")
def test_dials_move_to_those_of_the_voice(opened):
    page = opened()
    choose(page, "tuned")
    dial = page.locator("#semitones input[type=number]")
    playwright.expect(dial).to_have_value("5.5")
    choose(page, "kathleen")
    playwright.expect(dial).to_have_value("0")
    frame, _ = live_tab(page)
    frame.locator("#voice").select_option("tuned")
    playwright.expect(frame.locator("#shown")).to_have_text("5.5")


@pytest.fixture
def tuned(site):
    """A voice in the menu whose pitch is its own, until the test ends."""
    folder = site[1] / "models" / "tuned"
    voice = load_voice("ljspeech").with_dials(5.5)
    save_voice(read_voice(find_voice("ljspeech"))[0], voice.config, folder)
    yield
    shutil.rmtree(folder)


# Live


def live_tab(page):
    """The frame of the live tab, and what the server sends into it."""
    heard = []
    page.on("websocket", lambda ws: ws.on("framereceived", lambda data: heard.append(data)))
    page.get_by_role("tab", name="Live").click()
    frame = page.frame_locator("iframe.vc-live")
    frame.locator("#voice option").first.wait_for(state="attached")
    return frame, heard


def sound_of(heard) -> np.ndarray:
    blocks = [np.frombuffer(data, "<f4") for data in heard if isinstance(data, bytes)]
    return np.concatenate(blocks) if blocks else np.zeros(0)


@pytest.mark.parametrize("button", ["#start", "#example"])
def test_live_speech_comes_back_and_its_delay_is_shown(opened, button):
    page = opened()
    frame, heard = live_tab(page)
    frame.locator(button).click()
    shown = frame.locator("#delay")
    playwright.expect(shown).to_have_text(re.compile(r"\d\.\d\d s"), timeout=10_000)
    delays_s = []
    while len(wav := sound_of(heard)) <= 2 * SR and len(delays_s) < 100:
        delays_s.append(float(shown.inner_text().split()[0]))
        page.wait_for_timeout(100)
    assert 0.3 < min(delays_s) and max(delays_s) < 2, delays_s
    assert "0.30 s method" in frame.locator("#parts").inner_text()
    assert len(wav) > 2 * SR and np.abs(wav).max() > 0.02
    frame.locator("#stop").click()
    assert frame.locator("#start").is_enabled()
    n_heard = len(heard)
    page.wait_for_timeout(300)
    assert len(heard) == n_heard, "nothing is recorded after Stop"


def test_a_third_speaker_reads_that_two_speak(opened):
    pages = [opened() for _ in range(3)]
    for page in pages[:2]:
        frame, _ = live_tab(page)
        frame.locator("#example").click()
        playwright.expect(frame.locator("#message")).to_have_text("The example speaks.")
    frame, _ = live_tab(pages[2])
    frame.locator("#start").click()
    playwright.expect(frame.locator("#message")).to_contain_text("2 people speak live already")
    assert frame.locator("#start").is_enabled()


def test_start_without_a_list_and_stop_while_it_starts(opened):
    page = opened()
    page.route("**/live/voices", lambda route: route.abort())
    page.reload()
    page.get_by_role("tab", name="Live").click()
    frame = page.frame_locator("iframe.vc-live")
    frame.locator("#start").click()
    playwright.expect(frame.locator("#message")).to_contain_text("cannot be reached")
    page.unroute("**/live/voices")
    frame.locator("#start").click()
    frame.locator("#stop").click()
    playwright.expect(frame.locator("#message")).to_have_text("")
    page.wait_for_timeout(1_000)  # an error of the page would fail the test
    assert frame.locator("#start").is_enabled()
    frame.locator("#example").evaluate("button => button.click()")
    playwright.expect(frame.locator("#message")).to_have_text("The example speaks.")


def test_it_says_why_there_is_no_microphone(started, opened, site):
    page = opened()
    page.add_init_script(
        "Object.defineProperty(Navigator.prototype, 'mediaDevices', { get: () => undefined })"
    )
    page.reload()
    frame, _ = live_tab(page)
    frame.locator("#start").click()
    playwright.expect(frame.locator("#message")).to_contain_text("allows a microphone only at")
    strict = started.launch(executable_path=CHROMIUM, args=FLAGS)
    page = strict.new_page()
    page.goto(site[0])
    frame, _ = live_tab(page)
    frame.locator("#start").click()
    playwright.expect(frame.locator("#message")).to_contain_text("may not use the microphone")
    strict.close()


# Train


def test_a_training_is_begun_and_stopped(opened, site, voice, tmp_path):
    _, folder = site
    for i in range(3):
        soundfile.write(tmp_path / f"{i}.wav", voice(1.5, f0=200.0, seed=i), SR)
    page = opened()
    page.get_by_role("tab", name="Train").click()
    page.set_input_files("#recordings input[type=file]", sorted(tmp_path.glob("*.wav")))
    page.locator("#recordings .filename").nth(2).wait_for()
    page.get_by_label("Name of the voice").fill("anna")
    page.click("#train")
    state = page.locator("#training")
    playwright.expect(state).to_contain_text("train it only if the speaker agrees")
    page.get_by_label("The speaker agrees").check()
    page.click("#train")
    playwright.expect(state).to_contain_text("Training anna", timeout=30_000)
    assert page.locator("#train").is_disabled()
    other = opened()
    other.get_by_role("tab", name="Train").click()
    playwright.expect(other.locator("#training")).to_contain_text("Training anna", timeout=5_000)
    page.click("#cancel")
    playwright.expect(state).to_contain_text("stopped", timeout=20_000)
    playwright.expect(page.locator("#train")).to_be_enabled()
    there = (folder / "models" / "anna").exists()
    assert ("before anything was written" in state.inner_text()) != there
    assert not list((folder / "temporary").glob("vc-app-*/training-*"))
    assert not (folder / "data").exists(), "no cache outside"
