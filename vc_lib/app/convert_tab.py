"""The tab "Convert": a recording, a voice, two dials, and what comes out."""

from collections.abc import Iterator
from pathlib import Path

import gradio as gr

from ..config import Config
from ..errors import ParameterError
from ..files import SAMPLES
from .conversion import (
    SHOWN_S,
    check_recording,
    converting,
    file_name,
    players_frame,
    without_folder,
)
from .look import QUIET, problem
from .voices import VoiceCache

EXAMPLE, FILE, MICROPHONE = "an example", "a file", "the microphone"
LANGUAGES = dict(it="Italian", fr="French", ru="Russian", en="English", cs="Czech")
NOTICE = (
    "**Converted speech is synthetic: tell every listener.** The file says so in its metadata. "
    "Convert speech only of people who agree, and use a voice only as its owner allows."
)
NOTHING = (
    "<p class='vc-empty'>Choose speech and a voice, then press <b>Convert</b>. You can then compare "
    "source, anonymized and converted here.</p>"
)
WAITING = "<p class='vc-empty'></p>"  # under the place in the queue


def examples() -> dict[str, Path]:
    """Clips of the clone by what they are, such as "Italian, a man 1"; empty elsewhere."""
    found, order = {}, list(LANGUAGES)
    for folder in (SAMPLES, Path(__file__).parents[2] / SAMPLES):
        for path in sorted(
            folder.glob("??_*_*_*.flac"), key=lambda p: (order.index(p.stem[:2]), p.name)
        ):
            language, who, *_, number = path.stem.split("_")
            found.setdefault(f"{LANGUAGES[language]}, a {who} {number}", path)
    return found


def convert_tab(voice_cache: VoiceCache, folder: Path) -> gr.Dropdown:
    """Lay out the tab, and return its menu of voices.

    Parameters
    ----------
    voice_cache : VoiceCache
    folder : Path
        Temporary; results are written into it.
    """
    clips = examples()
    sources = [*([EXAMPLE] if clips else []), FILE, MICROPHONE]
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            kind = gr.Radio(sources, value=sources[0], label="Speech from")
            clip = gr.Dropdown(
                list(clips), value=next(iter(clips), None), label="Example", visible=bool(clips)
            )
            upload = gr.File(
                label="One speaker, any format, up to 1 GB",
                height=130,
                visible=not clips,
                elem_id="upload",
            )
            recording = gr.Audio(
                sources=["microphone"],
                type="filepath",
                format=None,
                label="Microphone",
                editable=False,
                buttons=[],  # one of them would share the recording on another site
                visible=False,
                elem_id="microphone",
            )
            names = voice_cache.names()
            voice = gr.Dropdown(names, value=names[0], label="Voice", elem_id="voice")
            own = _own_dials(voice_cache, names[0])
            semitones = gr.Slider(
                **own[0], step=0.5, label="Pitch [semitones]", buttons=[], elem_id="semitones"
            )
            strength = gr.Slider(
                **own[1], step=0.1, label="Strength of the network", buttons=[], elem_id="strength"
            )
            with gr.Row():
                button = gr.Button("Convert", variant="primary", elem_id="convert", min_width=100)
                cancel = gr.Button("Cancel", interactive=False, elem_id="stop", min_width=100)
        with gr.Column(scale=3, min_width=300):
            message = gr.HTML(elem_id="message", elem_classes="vc-flush", visible=False)
            result = gr.HTML(NOTHING, elem_id="result", elem_classes="vc-flush", min_height=140)
            download = gr.DownloadButton("Download the WAV", visible=False, elem_id="download")
            gr.Markdown(NOTICE, elem_classes="vc-notice")

    shown = [message, result, download]
    cancelled: set[str | None] = set()  # sessions; a click may come before Gradio knows the event
    kind.change(
        lambda k: [gr.update(visible=k == of) for of in (EXAMPLE, FILE, MICROPHONE)],
        kind,
        [clip, upload, recording],
        **QUIET,
    )
    voice.change(
        lambda name: [gr.Slider(**own) for own in _own_dials(voice_cache, name)],
        voice,
        [semitones, strength],
        **QUIET,
    )
    for given in (kind, clip, upload, recording):
        given.change(_nothing, None, shown, **QUIET)

    def started(request: gr.Request) -> list:
        cancelled.discard(request.session_hash)
        return [*_nothing(WAITING), *_buttons(running=True)]

    def stopped(request: gr.Request) -> list:
        cancelled.add(request.session_hash)
        return [*_nothing(), *_buttons(running=False)]

    def results(request: gr.Request, *given) -> Iterator[list]:
        for step in _converted(voice_cache, folder, clips, *given):
            if request.session_hash in cancelled:
                yield _nothing()
                return
            yield step

    begin = button.click(
        started,
        None,
        [*shown, button, cancel],
        **QUIET,
    )
    converted = begin.then(
        results,
        [kind, clip, upload, recording, voice, semitones, strength],
        shown,
        concurrency_limit=1,
        concurrency_id="convert",
        show_progress_on=result,
        api_visibility="private",
    )
    converted.then(lambda: _buttons(running=False), None, [button, cancel], **QUIET)
    cancel.click(
        stopped,
        None,
        [*shown, button, cancel],
        cancels=[converted],
        **QUIET,
    )
    return voice


def _own_dials(voice_cache: VoiceCache, name: str) -> list[dict]:
    """Ranges of the two dials, and the voice's own values, where they begin."""
    try:
        cfg = voice_cache.config(name)
    except (ParameterError, OSError):  # it is gone or damaged; converting says so
        cfg = Config()
    ranges = ((-12, cfg.f0_shift_semitones, 12), (0, cfg.change_strength, 1.5))
    return [
        dict(minimum=min(low, own), maximum=max(own, high), value=own) for low, own, high in ranges
    ]


def _buttons(running: bool) -> list[gr.Button]:
    """The buttons Convert and Cancel."""
    return [gr.Button(interactive=not running), gr.Button(interactive=running)]


def _nothing(shown: str = NOTHING) -> list:
    """No result yet."""
    return [gr.HTML(visible=False), shown, gr.DownloadButton(visible=False)]


def _working(step: str, share: float | None = None) -> list:
    """What is being done, with a bar; without a share nobody knows how long it takes."""
    width = "" if share is None else f' style="width:{100 * min(share, 1):.1f}%"'
    bar = f'<span class="vc-bar"><i{width}></i></span>'
    return [gr.skip(), f'<p class="vc-empty" role="status">{bar}{step}</p>', gr.skip()]


def _refused(message: str) -> list:
    """One sentence in place of a result."""
    return [gr.HTML(problem(message), visible=True), NOTHING, gr.DownloadButton(visible=False)]


def _converted(
    voice_cache: VoiceCache,
    folder: Path,
    clips: dict[str, Path],
    kind: str,
    clip: str,
    upload: str,
    recording: str,
    voice: str,
    semitones: float,
    strength: float,
) -> Iterator[list]:
    """Convert what was given; yield what the page shows meanwhile, and at the end."""
    given: str | Path | None = {EXAMPLE: clips.get(clip), FILE: upload, MICROPHONE: recording}[kind]
    if given is None:
        missing = {FILE: "choose a file first", MICROPHONE: "record something first"}
        yield _refused(missing.get(kind, "choose an example first"))
        return
    source = Path(given)
    name = MICROPHONE.split()[-1] if kind == MICROPHONE else source.stem
    try:
        yield _working("reading")
        seconds = check_recording(source)
        chosen = voice_cache.chosen(voice, semitones, strength)
        yield _working("measuring the speaker")
        with converting(chosen, source, folder, file_name(name, chosen)) as (destination, steps):
            for done in steps:
                yield _working(f"converted {done:.0f} of {seconds:.0f} s", done / seconds)
            yield _working("drawing", 1)
            frame = players_frame(chosen, source, destination, name)
            yield _finished(frame, destination, seconds)  # Gradio copies the file
    except (ParameterError, OSError) as e:
        yield _refused(without_folder(e, source))


def _finished(frame: str, file: Path, seconds: float) -> list:
    note = f"The players hold the first {SHOWN_S:g} s; the file is whole ({seconds:.0f} s)."
    return [
        gr.HTML(f'<p class="vc-note">{note}</p>', visible=seconds > SHOWN_S),
        frame,
        gr.DownloadButton(value=str(file), visible=True),
    ]
