"""The command line: `python -m vc_lib COMMAND ...`, or `vc COMMAND ...` once the package is installed.

    convert    convert a recording, or a folder of them, to a voice
    anonymize  change a recording by a preset, without a network
    train      train a voice from recordings of one speaker
    evaluate   score a voice on recordings of other speakers
    app        open a page in the browser: convert, speak live, train

`COMMAND --help` shows an example. The last line of the output names the result. Exit codes: 0; 1 if
input is refused or nothing can be written, with one line that says why; 2 if the command is wrong;
130 after Ctrl+C.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from .config import PRESETS, AnonymizeConfig, Config
from .errors import ParameterError

REFUSED, INTERRUPTED = 1, 130  # exit codes
SILENT_S = 2.0  # time after which progress is shown [s]
CLIP_S = 8.0  # longest part of a recording that is scored [s]
# epochs and pseudo-strangers a recording: of `train`, and with --quick
WHOLE, QUICK = (16, 2), (4, 1)
# arguments of several commands
DESTINATION = dict(type=Path, help="a file (.wav, .flac, .ogg or .mp3) or a folder")
SEMITONES = dict(type=float, default=0.0, help="added to the pitch, -24 to 24 (default: 0)")
VOICE = dict(default="ljspeech", help="name or folder of a voice (default: ljspeech)")
STRENGTH = dict(type=float, help="share of the network's change, 0 to 2 (default: 1)")
FORMATS = ("wav", "flac", "ogg", "mp3")
RATES = (16_000, 44_100, 48_000)  # of the output [Hz]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):  # a pipe of Windows cannot write all names
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    args = _parser().parse_args(arguments)
    args.stdout = sys.stdout
    try:
        with warnings.catch_warnings(), redirect_stdout(sys.stderr):  # progress
            warnings.simplefilter("ignore")  # of the libraries
            warnings.filterwarnings("default", module="vc_lib|__main__")
            warnings.showwarning = lambda message, *_, **__: _say(f"warning: {message}")
            result = args.run(args)
        if result:
            print(result, flush=True)
    except KeyboardInterrupt as e:
        _say(str(e) or "Stopped; nothing half-written is left.")
        return INTERRUPTED
    except (ParameterError, OSError, FloatingPointError) as e:
        _say(f"error: {e}")
        return REFUSED
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "vc",
        description="Convert speech of anybody to one voice. Tell every listener that it is synthetic.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(run: Callable, summary: str, *examples: str) -> Callable:
        name = run.__name__.removeprefix("_")
        added = commands.add_parser(
            name,
            help=summary,
            description=f"{summary}.",
            epilog="\n".join(f"example: vc {name} {example}" for example in examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(run=run)
        return added.add_argument

    add = command(
        _convert,
        "convert a recording, or a folder of them, to a voice",
        "me.m4a converted.wav --voice kathleen",
        "recordings converted --format mp3 --level -23",
        "interview.mov converted.wav --rate 48000",
    )
    add("source", type=Path, help="a recording of one speaker, or a folder of such recordings")
    add("destination", **DESTINATION)
    add("--voice", **VOICE)
    add("--semitones", **SEMITONES)
    add("--strength", **STRENGTH)
    add(
        "--level",
        type=_level,
        default="keep",
        metavar="keep|voice|LUFS",
        help="loudness: the recording's own (keep, the default), as the voice makes it (voice), "
        "or a number such as -23",
    )
    add(
        "--rate",
        type=int,
        choices=RATES,
        help="sampling rate of the output in Hz (default: the voice's); at 44100 and 48000 the band "
        "above 8 kHz is the recording's own, filtered, and keeps traces of the speaker",
    )
    add("--format", choices=FORMATS, help="of files that the command names itself (default: wav)")

    add = command(
        _anonymize,
        "change a recording by a preset, without a network",
        "me.m4a whispered.wav --preset whisper",
    )
    add("source", type=Path, help="a recording of one speaker")
    add("destination", **DESTINATION)
    add("--preset", default="neutral", choices=sorted(PRESETS), help="(default: neutral)")
    add("--semitones", **SEMITONES)

    add = command(
        _train,
        "train a voice from recordings of one speaker, who has to agree",
        "recordings anna --quick",
    )
    add("recordings", type=Path, help="a folder; five minutes of speech are a start")
    add("name", help="of the voice, which is saved in models/NAME")
    add("--quick", action="store_true", help="a first voice, with a quarter of the steps")
    add("--epochs", type=int, help=f"(default: {WHOLE[0]}, quick: {QUICK[0]})")

    add = command(
        _evaluate,
        "score a voice on recordings of other speakers",
        "ljspeech recordings --target hers",
    )
    add("voice", help="name or folder of a voice")
    add("sources", type=Path, help="a folder of recordings of other speakers")
    add("--target", type=Path, help="a folder of recordings of the target")

    add = command(
        _app, "open a page in the browser: convert, speak live, train", "--voices my_voices"
    )
    add("--port", type=int, help="(default: the first free one from 7860 on)")
    add("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    add("--voices", default="models", help="a folder of voices (default: models)")
    add("--no-browser", action="store_true", help="open no browser")
    return parser


def _level(text: str) -> str | float:
    """A loudness as a number, or a word."""
    try:
        return float(text)
    except ValueError:
        return text


def _voice(args):
    """The voice, with the dials of the command."""
    from .convert import load_voice

    settings = dict(f0_shift_semitones=args.semitones)
    if args.strength is not None:
        settings["change_strength"] = args.strength
    voice = load_voice(args.voice)
    voice.config = replace(voice.config, **settings)
    return voice


def _convert(args) -> str:
    from .convert import convert_file, convert_folder

    voice, how = _voice(args), dict(sr=args.rate, level=args.level)
    suffix = f".{args.format or FORMATS[0]}"
    if args.source.is_dir():
        if args.destination.suffix[1:] in FORMATS:
            raise ParameterError(f"{args.destination} is a file name, must be a folder")
        made = convert_folder(voice, args.source, args.destination, suffix, **how)
        done = f"{len(made)} converted recordings are in {args.destination}"
        try:
            from .notebook.listening import write_listening_page

            return f"{done}; listen: {write_listening_page(voice, made, args.destination)}"
        except ImportError:  # the extra `notebooks` is not installed
            return done
        except (ParameterError, OSError) as e:
            _say(f"warning: no page to listen: {e}")
            return done
    destination = _file_in(args.destination, args.source, "converted", suffix)
    if args.format and destination.suffix != suffix:
        raise ParameterError(f"--format {args.format} must not contradict {destination}; drop one")
    convert_file(voice, args.source, destination, progress=Progress("converted"), **how)
    return f"the converted recording is {destination}"


class Progress:
    """Show on one line of the terminal how many seconds of speech are done, after two seconds."""

    def __init__(self, done: str):
        self.done, self.start = done, time.monotonic()

    def __call__(self, seconds: float) -> None:
        """Show it, and leave the cursor at the start of the line."""
        if sys.stderr.isatty() and time.monotonic() - self.start > SILENT_S:
            print(f"{self.done} {seconds:.0f} s ", end="\r", file=sys.stderr, flush=True)


def _file_in(destination: Path, source: Path, how: str, suffix: str = ".wav") -> Path:
    """The destination; a file named after the source if it is a folder or has no suffix."""
    if destination.is_dir() or not destination.suffix:
        return destination / f"{source.stem}_{how}{suffix}"
    return destination


def _anonymize(args) -> str:
    from .anonymize import anonymize
    from .audio import load_wav, save_wav
    from .files import check_not_source

    sr = Config().sr
    cfg = AnonymizeConfig(preset=args.preset, f0_shift_semitones=args.semitones)
    wav = load_wav(args.source, sr)
    destination = _file_in(args.destination, args.source, args.preset)
    check_not_source(args.source, destination)
    changed = anonymize(wav, sr, cfg)
    save_wav(destination, changed, sr, "Synthetic speech: changed by vc_lib. Disclose it as such.")
    return f"the anonymized recording is {destination}"


def _train(args) -> str:
    from .audio import list_audio
    from .corpus import learn_target, prepare, split
    from .model.voice_folder import BASE, HISTORY, PACKAGE, save_voice
    from .training.base import from_base
    from .training.dataset import make_dls
    from .training.run import fit
    from .training.stages import generator_learner
    from .training.strangers import add_strangers

    run, (n_epochs, n_strangers) = Path("models") / args.name, QUICK if args.quick else WHOLE
    n_epochs = n_epochs if args.epochs is None else args.epochs
    if n_epochs < 1:
        raise ParameterError(f"--epochs {n_epochs} must be at least 1")
    if not args.name or args.name in (".", "..") or Path(args.name).name != args.name:
        raise ParameterError(f"name={args.name!r} must be one word without slashes, such as anna")
    ships = args.name == BASE or (PACKAGE / "voices" / args.name).exists()
    if ships or ((run / HISTORY).exists() and not (run / "generator.checkpoint.pt").exists()):
        raise ParameterError(f"{args.name} is a voice that is there already; choose another name")
    files = list_audio(args.recordings)
    _say(f"analyzing {len(files)} recordings")
    cfg = Config()
    known, held_out = split(prepare(files, cfg), cfg)
    cfg = learn_target(known, cfg)
    generator = from_base(cfg)
    if not (run / HISTORY).exists():
        save_voice(generator.state_dict(), cfg, run)
        _say(f"{run} speaks already, by statistics alone; training brings it nearer")
    _say("making pairs: the recordings, spoken by strangers and anonymized")
    known, held_out = add_strangers(known, cfg, n_strangers), add_strangers(held_out, cfg)
    learn = generator_learner(make_dls(known, held_out, cfg), generator)
    _say(f"training, {n_epochs} epochs in all; Ctrl+C keeps whole ones, the same command goes on")
    with learn.no_mbar():
        fit(learn, run, "generator", n_epochs)
    return (
        f"the voice is {run}; write into {run}/card.md whose voice it is, and hear it with: "
        f"vc convert me.wav converted.wav --voice {run}"
    )


def _evaluate(args) -> str:
    from .audio import list_audio, load_wav
    from .convert import load_voice
    from .evaluate import Clip, TargetClips, evaluate_set, summary

    voice = load_voice(args.voice)
    sr, n_samples = voice.sr, round(CLIP_S * voice.sr)

    def clips(folder: Path) -> dict[str, Clip]:
        files = list_audio(folder)
        return {str(f.relative_to(folder)): Clip(load_wav(f, sr)[:n_samples], sr) for f in files}

    sources = clips(args.sources)
    target = TargetClips(clips(args.target).values()) if args.target else None
    systems = {"anonymized": voice.anonymize, "converted": voice.convert}
    scores = {}
    for label, system in systems.items():
        made = ((n, dict(converted=system(c.wav, sr), source=c)) for n, c in sources.items())
        scores[label] = evaluate_set(made, sr, target, total=len(sources))
    return summary(scores).T.to_string()


def _app(args) -> None:
    missing = [name for name in ("gradio", "websockets", "anywidget") if find_spec(name) is None]
    if missing:
        raise ParameterError(
            f"the page needs {' and '.join(missing)}, not installed here; pip install 'vc-lib[app]', or "
            "in the clone: pip install -e '.[app]'"
        )
    _say("starting the page, which takes some seconds")
    from .app.server import serve

    def ready(address: str) -> None:
        _say("the page is open until Ctrl+C; its address:")
        print(address, file=args.stdout, flush=True)

    serve(args.host, args.port, args.voices, not args.no_browser, ready, _say)


if __name__ == "__main__":
    sys.exit(main())
