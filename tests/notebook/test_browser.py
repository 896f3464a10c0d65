"""What a person meets in a browser: Debian's Chromium, driven by Playwright; nothing asks another host."""

import base64
import functools
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from notebook_runner import SMOKE, copied_tree, poked, set_parameters
from test_repo import NOTEBOOKS, REPO

from vc_lib.notebook import Player

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(
    not CHROMIUM, reason="no Chromium here; on Debian: apt-get install chromium"
)
pytestmark = [needs_chromium, pytest.mark.slow]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]
SR = 16_000


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page that fails the test if it asks any host but this one, or meets an error."""
    page = browser.new_page(viewport={"width": 1100, "height": 800})
    with watched(page):
        yield page


@pytest.fixture
def phone(browser):
    """The same on a phone: narrow, touched, without a keyboard."""
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    with watched(page):
        yield page
    context.close()


@contextmanager
def watched(page):
    """Close the page at the end, and check what it asked for and met."""
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield
    page.close()
    assert not errors, errors
    hosts = {urllib.parse.urlparse(url).hostname for url in asked if url.startswith("http")}
    assert hosts <= {"127.0.0.1", "localhost"}, hosts


@pytest.fixture(scope="module")
def served():
    """The repository over http on this machine: its address."""
    handler = functools.partial(Quiet, directory=REPO)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


# The player


def open_player(page, folder, wavs, cut=()):
    """A page with a player of these sounds; those named in `cut` end with the others."""

    def uri(mime, data):
        return f"data:{mime};base64,{base64.b64encode(data).decode()}"

    tracks = [
        t
        | dict(sound=None, src=uri(t["mime"], t["sound"]), picture=uri("image/png", t["picture"]))
        | dict(cut=t["label"] in cut)
        for t in Player(wavs, SR).tracks
    ]
    module = (REPO / "vc_lib" / "listen" / "player.js").read_text(encoding="utf-8")
    html = f"""<!doctype html><meta charset="utf-8"><div id="here"></div><script type="module">
    {module}
    window.player = mount(document.getElementById("here"), {json.dumps(tracks)}, (i) => (window.told = i));
    </script>"""
    (folder / "player.html").write_text(html, encoding="utf-8")
    page.goto((folder / "player.html").as_uri())
    page.wait_for_function("[...document.querySelectorAll('audio')].every((a) => a.readyState > 1)")
    return page


@pytest.fixture
def player(page, voice, tmp_path):
    """Three sounds in a page: two of one length, one that ends sooner."""
    wavs = {"source": voice(4.0), "converted": voice(4.0, f0=200.0), "target": voice(2.0, seed=1)}
    return open_player(page, tmp_path, wavs)


STATE = """() => [...document.querySelectorAll('audio')].map(
    (a) => ({t: a.currentTime, muted: a.muted, paused: a.paused}))"""


def test_a_switch_keeps_its_place(player):
    player.focus(".vc-player")
    player.keyboard.press("Space")
    player.wait_for_function("document.querySelector('audio').currentTime > 0.4")
    player.keyboard.press("2")
    state = player.evaluate(STATE)
    assert [s["muted"] for s in state] == [True, False, True]
    assert not any(s["paused"] for s in state)
    assert abs(state[1]["t"] - state[0]["t"]) < 0.1 and state[1]["t"] > 0.4
    assert player.evaluate("window.told") == 1
    assert player.locator(".vc-name[aria-pressed=true]").inner_text().startswith("2 · converted")


def test_space_pauses_and_goes_on(player):
    player.focus(".vc-player")
    player.keyboard.press("Space")
    player.wait_for_function("document.querySelector('audio').currentTime > 0.2")
    player.keyboard.press("Space")
    stopped = player.evaluate(STATE)
    assert all(s["paused"] for s in stopped)
    player.keyboard.press("Space")
    player.wait_for_function(f"document.querySelector('audio').currentTime > {stopped[0]['t']}")


def test_a_click_on_a_spectrogram_goes_there(player):
    box = player.locator(".vc-picture").nth(1).bounding_box()
    player.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 10)
    state = player.evaluate(STATE)
    assert state[1]["t"] == pytest.approx(3.0, abs=0.1) and not state[1]["muted"]
    assert state[2]["t"] == pytest.approx(2.0, abs=0.1), "a shorter sound waits at its end"


def test_a_longer_sound_plays_on_after_a_shorter_one_ended(player):
    player.evaluate("window.player.select(0)")
    box = player.locator(".vc-picture").nth(0).bounding_box()
    player.mouse.click(box["x"] + 0.45 * box["width"], box["y"] + 10)
    player.click(".vc-play")
    player.wait_for_function("document.querySelector('audio').currentTime > 2.4")
    assert not player.evaluate(STATE)[0]["paused"]


def test_a_shorter_sound_that_has_ended_is_silence_and_loses_no_place(player):
    box = player.locator(".vc-picture").nth(0).bounding_box()
    player.mouse.click(box["x"] + 0.55 * box["width"], box["y"] + 10)
    player.click(".vc-play")
    player.wait_for_function("document.querySelector('audio').currentTime > 2.4")
    player.keyboard.press("3")
    player.wait_for_function("document.querySelector('audio').currentTime > 2.7")
    assert player.locator(".vc-play").inner_text().startswith("❚❚")
    player.keyboard.press("1")
    state = player.evaluate(STATE)
    assert state[0]["t"] > 2.7 and not state[0]["paused"] and not state[0]["muted"]
    player.keyboard.press("3")
    at_the_beginning = "document.querySelector('audio').currentTime < 0.1"
    player.wait_for_function(at_the_beginning, timeout=5_000)  # all have ended
    assert all(state["paused"] for state in player.evaluate(STATE))


def test_another_sentence_ends_with_the_others(page, voice, tmp_path):
    open_player(page, tmp_path, {"source": voice(1.0), "target": voice(3.0)}, cut={"target"})
    assert page.inner_text(".vc-time").endswith("/ 0:01.0")
    pictures = page.evaluate(
        "[...document.querySelectorAll('.vc-picture img')].map((i) => i.width)"
    )
    assert pictures[1] == pytest.approx(3 * pictures[0], abs=3), "a third of it is in sight"
    page.focus(".vc-player")
    page.keyboard.press("2")
    assert page.inner_text(".vc-time").endswith("/ 0:01.0")
    page.keyboard.press("Space")
    page.wait_for_function("document.querySelectorAll('audio')[1].currentTime > 0.5")
    page.wait_for_function("[...document.querySelectorAll('audio')].every((a) => a.paused)")
    assert page.evaluate("document.querySelectorAll('audio')[1].currentTime") < 0.1


def test_one_player_is_heard_at_a_time_in_a_notebook_too(player):
    """Where each player is a module of its own."""
    module = (REPO / "vc_lib" / "listen" / "player.js").read_text(encoding="utf-8")
    player.evaluate(
        """async (module) => {
        const url = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
        const bytes = await (await fetch(document.querySelector("audio").src)).arrayBuffer();
        const track = { label: "other", sound: bytes, mime: "audio/mpeg", seconds: 4, picture: null, f0: null };
        const nothing = () => {}, of = { tracks: [track], active: 0 };
        const model = { get: (key) => of[key], set: nothing, save_changes: nothing, on: nothing, off: nothing };
        const el = document.body.appendChild(document.createElement("div"));
        (await import(url)).default.render({ model, el });
        }""",
        module,
    )
    player.locator(".vc-play").nth(0).click()
    player.wait_for_function("document.querySelector('audio').currentTime > 0.2")
    player.locator(".vc-play").nth(1).click()
    player.wait_for_function("document.querySelectorAll('audio')[3].currentTime > 0.2")
    paused = [state["paused"] for state in player.evaluate(STATE)]
    assert paused == [True, True, True, False]
    player.focus(".vc-player")  # the first keeps its keys where it has the focus
    player.keyboard.press("3")
    assert row_of(player) == "3" and not player.evaluate(STATE)[3]["paused"]


@pytest.fixture
def outside(player):
    """What else may have the focus: a text field and others, which note the keys that reach the page."""
    player.evaluate(
        """() => {
        document.body.insertAdjacentHTML("beforeend", `<input class="text"><textarea class="text"></textarea>
            <select class="text"><option>-<option>3</select><p class="text" contenteditable></p>
            <div class="text cm-editor" tabindex="0"></div><div id="shadow"></div>
            <input id="check" type="checkbox"><button id="button">a button</button>`);
        document.getElementById("shadow").attachShadow({ mode: "open" }).innerHTML = `<input class="text">`;
        window.reached = [];
        document.addEventListener("keydown", (event) => reached.push(event.key), true);
        window.clicks = 0;
        document.getElementById("button").addEventListener("click", () => clicks++);
        document.activeElement.blur();
        }"""
    )
    return player


def row_of(page) -> str:
    """The number of the row that is heard."""
    return page.locator(".vc-name[aria-pressed=true]").first.inner_text()[0]


def begin(page) -> None:
    """Play by a click, and leave the player."""
    page.locator(".vc-play").first.click()
    page.wait_for_function("document.querySelector('audio').currentTime > 0.1")
    page.evaluate("document.activeElement.blur()")


def test_while_it_plays_keys_are_its_own_wherever_the_focus_is(outside):
    begin(outside)
    for focus in (None, "#button", "#check"):
        if focus:
            outside.focus(focus)
        for key in ("3", "2"):
            outside.keyboard.press(key)
            assert row_of(outside) == key, focus
    outside.keyboard.press("9")  # a key of no row is no one's
    assert row_of(outside) == "2" and outside.evaluate("reached") == []
    outside.keyboard.press("ArrowRight")
    for key in ("Control", "Meta", "Alt"):
        outside.keyboard.press(f"{key}+3")
    assert row_of(outside) == "2" and outside.evaluate("reached").count("3") == 3
    assert "ArrowRight" in outside.evaluate("reached")


def test_the_space_bar_pauses_from_outside_and_does_nothing_else(outside):
    begin(outside)
    outside.focus("#button")
    outside.keyboard.down("Space")
    outside.keyboard.down("Space")  # held
    outside.keyboard.up("Space")
    assert all(state["paused"] for state in outside.evaluate(STATE))
    assert outside.evaluate("[reached, clicks]") == [[], 0]
    outside.keyboard.press("Space")  # nothing plays: the button's again
    assert outside.evaluate("[reached, clicks]") == [[" "], 1]
    assert all(state["paused"] for state in outside.evaluate(STATE))


def test_a_text_field_keeps_its_keys(outside):
    begin(outside)
    fields = outside.locator(".text")
    for i in range(fields.count()):
        fields.nth(i).focus()
        for key in ("3", "Space"):
            outside.keyboard.press(key)
        outside.keyboard.press("Escape")  # closes a list
    assert outside.evaluate("reached").count("3") == outside.evaluate("reached").count(" ") == 6
    assert [fields.nth(i).input_value() for i in (0, 1, 2, 5)] == ["3 ", "3 ", "3", "3 "]
    assert fields.nth(3).inner_text().strip() == "3"
    assert row_of(outside) == "1" and not any(s["paused"] for s in outside.evaluate(STATE))


def test_when_nothing_plays_keys_outside_are_not_its_own(outside):
    outside.keyboard.press("3")
    begin(outside)
    outside.click(".vc-play")
    outside.evaluate("document.activeElement.blur()")
    outside.keyboard.press("3")
    outside.keyboard.press("Space")
    begin(outside)
    outside.evaluate("window.player.destroy()")
    outside.keyboard.press("3")
    assert outside.evaluate("reached") == ["3", "3", " ", "3"]


def test_at_the_end_it_is_at_the_beginning_again(player):
    box = player.locator(".vc-picture").nth(0).bounding_box()
    player.mouse.click(box["x"] + 0.97 * box["width"], box["y"] + 10)
    player.click(".vc-play")
    player.wait_for_function("document.querySelector('audio').paused")
    assert player.evaluate(STATE)[0]["t"] < 0.1
    assert player.locator(".vc-play").inner_text().startswith("▶")


# The recorder and the upload, in JupyterLab; the notebooks, in order

STATE_OF_LAB = """() => {
  const panel = window.jupyterapp?.shell.currentWidget;
  if (!panel?.content?.model) return null;
  const kernel = panel.sessionContext?.session?.kernel;
  const cells = [...panel.content.widgets].map((c) => c.model.toJSON()).filter((c) => c.cell_type === "code");
  const prompts = [...document.querySelectorAll(".jp-InputPrompt")].map((p) => p.textContent);
  return {
    idle: kernel?.status === "idle" && !prompts.some((p) => p.includes("*")),
    ran: cells.filter((c) => c.execution_count).length,
    cells: cells.length,
    errors: cells.flatMap((c) => c.outputs).filter((o) => o.output_type === "error").map((o) => o.ename + o.evalue),
  };
}"""
PLAYERS = """async () => {
  const found = [];
  for (const audio of document.querySelectorAll("audio")) {
    const url = audio.currentSrc || audio.src || audio.querySelector("source").src;
    const bytes = await (await fetch(url)).arrayBuffer();
    const sound = await new OfflineAudioContext(1, 1, 44100).decodeAudioData(bytes);
    let peak = 0;
    for (const x of sound.getChannelData(0)) peak = Math.max(peak, Math.abs(x));
    found.push({ seconds: sound.duration, peak, ready: audio.readyState });
  }
  return found;
}"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab over a copy of the tree: its folder and a function from a notebook's name to its address."""
    tree = copied_tree(tmp_path_factory.mktemp("clone"))
    with serving_lab(tree, tmp_path_factory.mktemp("jupyter")) as address:
        yield tree, address


@contextmanager
def serving_lab(tree: Path, own: Path):
    """JupyterLab over `tree`, with its settings in `own`; a function from a notebook's name to its address."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    env = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
    env |= {f"JUPYTER_{k}_DIR": str(own / k.lower()) for k in ("CONFIG", "RUNTIME", "DATA")}
    env |= {f"JUPYTERLAB_{k}_DIR": str(own / k.lower()) for k in ("SETTINGS", "WORKSPACES")}
    settings = own / "settings" / "@jupyterlab"
    for plugin, values in {
        "notebook-extension/tracker": {"windowingMode": "none"},
        "apputils-extension/notification": {"fetchNews": "false"},
    }.items():
        path = settings / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={tree}"]
    command += ["--IdentityProvider.token=t", "--LabApp.expose_app_in_browser=True"]
    with (own / "log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=tree, env=env, stdout=log, stderr=log, start_new_session=True
        )
        try:
            base = f"http://127.0.0.1:{port}"
            end = time.monotonic() + 60
            while not answers(f"{base}/api/status?token=t"):
                assert server.poll() is None and time.monotonic() < end, (own / "log").read_text()
                time.sleep(0.2)
            yield lambda name: f"{base}/lab/tree/{name}?reset&token=t"
        finally:
            os.killpg(server.pid, signal.SIGTERM)  # with its kernels
            server.wait(20)


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


def run_all(page, address: str, timeout_s: float = 400) -> dict:
    """Open a notebook, run all of it, wait until the kernel rests, and say what the page holds."""
    page.goto(address)
    wait_until(page, lambda s: s["idle"], 90)
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    return wait_until(
        page, lambda s: (s["idle"] and s["ran"] == s["cells"]) or s["errors"], timeout_s
    )


def wait_until(page, true_of, timeout_s: float) -> dict:
    """Until something is true of the state twice in a row."""
    end, held = time.monotonic() + timeout_s, 0
    while held < 2:
        state = page.evaluate(STATE_OF_LAB)
        held = held + 1 if state and true_of(state) else 0
        assert time.monotonic() < end, state
        time.sleep(0.4)
    return state


def write(path: Path, *cells: str | nbformat.NotebookNode) -> None:
    nb = new_notebook(cells=[new_code_cell(c) if isinstance(c, str) else c for c in cells])
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}  # or Jupyter asks
    nbformat.write(nb, path)


def result(page) -> str:
    """What the last cell printed."""
    return page.locator(".jp-Cell .jp-OutputArea-output pre").last.inner_text()


def execute_last(page) -> None:
    before = page.evaluate(STATE_OF_LAB)["ran"]
    page.evaluate(
        """() => { const app = window.jupyterapp, nb = app.shell.currentWidget.content;
        nb.activeCellIndex = nb.widgets.length - 1; app.commands.execute('notebook:run-cell'); }"""
    )
    wait_until(page, lambda s: s["idle"] and s["ran"] >= before, 60)


def test_a_recording_and_an_upload_reach_python(lab, page):
    tree, address = lab
    write(
        tree / "input.ipynb",
        "from vc_lib.notebook.widgets import SpeechInput\nfrom vc_lib.audio import list_audio\n"
        "speech = SpeechInput(list_audio('data/sample/sources'), 16_000, max_seconds=2)\nspeech",
        "print(speech.name, len(speech.wav), round(float(abs(speech.wav).max()), 3))",
    )
    state = run_all(page, address("input.ipynb"))
    assert not state["errors"] and result(page).startswith("cs_man_fillets_1 ")
    page.locator(".vc-recorder button").click()  # a fake microphone that beeps
    page.locator(".vc-recorder button").click()  # a second click ends what the first began
    page.wait_for_function("/cancelled/.test(document.querySelector('.vc-recorder').textContent)")
    page.locator(".vc-recorder button").click()
    page.wait_for_function(
        "/peak/.test(document.querySelector('.vc-recorder output').textContent)", timeout=15_000
    )
    page.wait_for_function("/recording/.test(document.querySelector('.jp-OutputArea').textContent)")
    execute_last(page)
    name, n_samples, peak = result(page).split()
    assert (
        name.startswith("recording_") and 1.5 < int(n_samples) / 16_000 < 2.3 and float(peak) > 0.01
    )
    with page.expect_file_chooser() as asked:
        page.locator(".widget-upload").click()
    asked.value.set_files(REPO / "data" / "sample" / "sources" / "fr_woman_june_1.flac")
    page.wait_for_function("/june/.test(document.querySelector('.jp-OutputArea').textContent)")
    execute_last(page)
    name, n_samples, _ = result(page).split()
    assert name == "fr_woman_june_1" and int(n_samples) > 16_000


def test_keys_are_the_players_and_no_shortcuts_of_jupyterlab_while_it_plays(lab, page):
    tree, address = lab
    write(
        tree / "keys.ipynb",
        "import ipywidgets\nimport numpy as np\nfrom vc_lib.notebook.players import play\n"
        "wav = np.random.default_rng(0).normal(0, 0.1, 20 * 16_000)\n"
        "play({name: wav for name in 'abcd'}, 16_000, f0=False)\nipywidgets.Text()",
        "play({'other': wav}, 16_000, f0=False)",
        new_markdown_cell("words"),
    )
    state = run_all(page, address("keys.ipynb"))
    assert not state["errors"], state["errors"]
    page.wait_for_function("document.querySelectorAll('.vc-player').length === 2")
    words = page.locator(".jp-MarkdownCell")

    def text() -> str:
        return page.evaluate(
            "() => [...window.jupyterapp.shell.currentWidget.content.widgets].at(-1).model.toJSON().source"
        )

    def paused() -> list[bool]:
        return [state["paused"] for state in page.evaluate(STATE)]

    page.locator(".vc-play").first.click()
    page.wait_for_function("document.querySelector('audio').currentTime > 0.2")
    words.locator(".jp-RenderedMarkdown").click()
    page.wait_for_selector(".jp-Notebook.jp-mod-commandMode .jp-MarkdownCell:focus")
    for key in "364":  # of the fourth row at last; 6 is no row's
        page.keyboard.press(key)
    assert (text(), row_of(page)) == ("words", "4")
    field = page.locator(".widget-text input")
    field.click()
    page.keyboard.press("3")
    assert (field.input_value(), row_of(page)) == ("3", "4")
    words.locator(".jp-RenderedMarkdown").dblclick()
    words.locator(".cm-content").press("End")
    page.keyboard.type(" 3")
    assert (text(), row_of(page)) == ("words 3", "4")
    page.keyboard.press("Escape")
    page.keyboard.press("Space")
    assert all(paused()) and row_of(page) == "4"
    page.keyboard.press("3")  # JupyterLab's own, now that nothing plays
    assert (text(), row_of(page)) == ("### words 3", "4")
    page.locator(".vc-play").nth(1).click()  # a second player, of a second module
    words.locator(".jp-InputPrompt").click()
    page.keyboard.press("2")
    assert (text(), row_of(page)) == ("### words 3", "4")
    page.keyboard.press("Space")
    assert all(paused())


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_in_the_browser(name, lab, page):
    tree, address = lab
    nb = nbformat.read(REPO / name, as_version=4)
    set_parameters(nb, SMOKE)
    nbformat.write(poked(nb), tree / name)
    state = run_all(page, address(name))
    assert not state["errors"], state["errors"]
    players = page.evaluate(PLAYERS)
    assert len(players) >= 2
    assert all(p["ready"] > 0 and p["seconds"] > 0.1 and p["peak"] > 1e-3 for p in players), players
    assert page.locator(".vc-player").count(), "plain players where widgets run"
    text = page.locator(".jp-Notebook").inner_text()
    assert "Loading widget" not in text and "Error displaying widget" not in text
    if name.startswith("01"):
        a_dial_makes_a_new_sound(page)


def a_dial_makes_a_new_sound(page) -> float:
    """Move a slider by the keyboard, as a person may: another sound is there, and the place is kept.

    Returns the time that it took [s].
    """
    player = page.locator(".vc-player").last
    before = player.locator("audio").nth(1).get_attribute("src")
    picture = player.locator(".vc-picture").nth(1)
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 10)
    handle = page.locator(".widget-slider", has_text="pitch up or down").locator(".noUi-handle")
    handle.focus()
    began = time.perf_counter()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        """(before) => { const all = document.querySelectorAll('.vc-player');
        const audio = all[all.length - 1].querySelectorAll('audio')[1];
        return audio && audio.src !== before && audio.readyState > 1; }""",
        arg=before,
    )
    took = time.perf_counter() - began
    times = page.evaluate(
        """() => { const all = document.querySelectorAll('.vc-player');
        const audio = all[all.length - 1].querySelectorAll('audio')[1];
        return [audio.currentTime, audio.duration]; }"""
    )
    assert times[0] == pytest.approx(times[1] / 2, rel=0.1)
    return took


# The static page


@pytest.mark.parametrize("how", ["file", "http"])
def test_the_static_page_plays(how, page, served):
    index = REPO / "readme" / "index.html"
    page.goto(index.as_uri() if how == "file" else f"{served}/readme/index.html")
    assert page.locator(".vc-player").count() >= 12
    player = page.locator(".vc-player").first
    ready = (
        "() => [...document.querySelectorAll('audio')].slice(0, 5).every((a) => a.readyState > 1)"
    )
    page.wait_for_function(ready)
    player.locator(".vc-play").click()
    page.wait_for_function("document.querySelector('audio').currentTime > 0.3")
    page.keyboard.press("4")
    assert player.locator("[aria-pressed=true]").inner_text().startswith("4 · converted")
    state = page.evaluate(STATE)[:5]
    assert [s["muted"] for s in state] == [True, True, True, False, True]
    assert state[3]["t"] > 0.3 and not state[3]["paused"]
    page.locator("h1").click()
    page.keyboard.press("5")
    assert page.evaluate(STATE)[3]["muted"] and row_of(page) == "5", "a key from anywhere"
    page.keyboard.press("4")
    box = player.locator(".vc-picture").nth(3).bounding_box()
    page.mouse.click(box["x"] + 0.4 * box["width"], box["y"] + 10)
    assert page.evaluate(STATE)[3]["t"] > 1.8, "a click goes there"
    broken = "() => [...document.images].filter((i) => i.complete && !i.naturalWidth).length"
    assert page.evaluate(broken) == 0
    failed = "() => [...document.querySelectorAll('audio')].filter((a) => a.error).length"
    assert page.evaluate(failed) == 0


N_HEARD = """() => [...document.querySelectorAll('audio')].filter((a) => a.src).length"""


@pytest.mark.parametrize("name", ["ljspeech", "kathleen", "carlo"])
def test_each_voice_of_the_static_page_plays_when_it_is_near(name, page, served):
    page.goto(f"{served}/readme/index.html")
    page.wait_for_function(f"({N_HEARD})() > 0")
    assert page.evaluate(N_HEARD) <= 20, "a page of many players fetches those that are near"
    page.locator(f"nav a[href='#{name}']").click()
    player = page.locator(f"#{name} ~ section .vc-player").first
    player.locator(".vc-play").click()
    first = player.locator("audio").first
    page.wait_for_function("(a) => a.currentTime > 0.3", arg=first.element_handle())
    player.locator(".vc-name").nth(3).click()
    times = player.locator("audio").evaluate_all("(all) => all.map((a) => a.currentTime)")
    assert max(times[:4]) - min(times[:4]) < 0.3  # a busy machine is slow to seek
    assert not player.locator("audio").evaluate_all("(all) => all.filter((a) => a.error).length")


def test_folded_players_load_when_they_are_unfolded(page, served):
    page.goto(f"{served}/readme/index.html")
    folded = page.locator("details .vc-player").first
    assert not folded.is_visible()
    page.locator("summary").click()
    folded.locator(".vc-play").click()
    page.wait_for_function(
        "(a) => a.currentTime > 0.2", arg=folded.locator("audio").first.element_handle()
    )


def test_play_waits_for_sounds_that_are_still_on_their_way(page, served):
    let = threading.Event()

    def hold(route):
        held.append(route)
        if let.is_set():
            route.continue_()

    held = []
    page.route("**/*.mp3", hold)
    page.goto(f"{served}/readme/index.html")
    player = page.locator(".vc-player").first
    button = player.locator(".vc-play")
    button.click()
    assert button.inner_text() == "loading …"
    button.click()
    assert button.inner_text() == "▶ play", "a second click takes it back"
    button.click()
    let.set()
    for route in list(held):
        route.continue_()
    page.wait_for_function("document.querySelector('audio').currentTime > 0.3")
    state = page.evaluate(STATE)[:5]
    assert not any(s["paused"] for s in state)
    assert max(s["t"] for s in state) - min(s["t"] for s in state) < 0.3


def test_the_static_page_fits_a_phone(phone):
    phone.goto((REPO / "readme" / "index.html").as_uri())
    phone.wait_for_function(f"({N_HEARD})() > 0")
    assert phone.evaluate(N_HEARD) <= 20
    phone.locator("summary").tap()
    width = "document.documentElement.scrollWidth"
    assert phone.evaluate(width) == phone.evaluate("innerWidth") == 390, "it scrolls sideways"
    assert not [kbd for kbd in phone.locator("kbd").all() if kbd.is_visible()]
    assert not [hint for hint in phone.locator(".vc-hint").all() if hint.is_visible()]
    assert phone.get_by_text("tap a name").is_visible()
    for box in phone.locator(".wide").all():
        scrolled = "(e) => { e.scrollLeft = 9999; return [e.scrollLeft, e.getBoundingClientRect().right]; }"
        left, right = box.evaluate(scrolled)
        assert left > 0 and right <= 390


def test_a_finger_plays_switches_and_goes_there(phone):
    phone.goto((REPO / "readme" / "index.html").as_uri())
    phone.wait_for_function("document.querySelectorAll('audio')[4].readyState > 1")
    player = phone.locator(".vc-player").first
    player.locator(".vc-play").tap()
    phone.wait_for_function("document.querySelector('audio').currentTime > 0.2")
    player.locator(".vc-name").nth(3).tap()
    assert [s["muted"] for s in phone.evaluate(STATE)[:5]] == [True, True, True, False, True]
    player.locator(".vc-play").tap()
    before = phone.evaluate(STATE)[3]["t"]
    picture = player.locator(".vc-picture").nth(1)
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    swipe(phone, box["x"] + 50, box["y"] + 30, -100)
    assert phone.evaluate(STATE)[3]["t"] == before, "a finger that scrolls goes nowhere"
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    phone.touchscreen.tap(box["x"] + 0.3 * box["width"], box["y"] + 30)
    state = phone.evaluate(STATE)
    assert state[1]["t"] > 1.3 and not state[1]["muted"]


def swipe(page, x: float, y: float, by: float) -> None:
    """Draw a finger up or down, as a browser takes it."""
    client, top = page.context.new_cdp_session(page), page.evaluate("scrollY")
    steps = [("touchStart", 0.0), *(("touchMove", by * i / 10) for i in range(1, 11))]
    for kind, moved in steps:
        point = dict(x=x, y=y + moved)
        client.send("Input.dispatchTouchEvent", dict(type=kind, touchPoints=[point]))
    client.send("Input.dispatchTouchEvent", dict(type="touchEnd", touchPoints=[]))
    page.wait_for_function("(top) => Math.abs(scrollY - top) > 20", arg=top)
    page.wait_for_timeout(500)  # it runs out
