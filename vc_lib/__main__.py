"""The command line: `python -m vc_lib COMMAND ...`, or `vc COMMAND ...` once the package is installed.

    convert    convert a recording, or a folder of them, to a voice
    live       convert a microphone's sound as you speak
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
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path

from . import __version__
from .cli.conversion import FORMATS, anonymize, convert
from .cli.live import live
from .cli.page import app
from .cli.terminal import say
from .cli.voices import evaluate, train
from .config import PRESETS
from .errors import ParameterError

REFUSED, INTERRUPTED = 1, 130  # exit codes
# arguments of several commands
DESTINATION = dict(type=Path, help="a file (.wav, .flac, .ogg or .mp3) or a folder")
SEMITONES = dict(type=float, help="added to the pitch, -24 to 24 (default: the voice's own)")
VOICE = dict(default="ljspeech", help="name or folder of a voice (default: ljspeech)")
STRENGTH = dict(type=float, help="share of the network's change, 0 to 2 (default: the voice's own)")
OPTIONS = {
    "change_strength": "--strength",
    "private_strength": "--strength",
    "f0_shift_semitones": "--semitones",
    "latency": "--latency",
}  # what sets a setting
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
    arguments = sys.argv[1:] if arguments is None else arguments
    args = _parser().parse_args(arguments or ["--help"])
    args.stdout = sys.stdout
    try:
        with warnings.catch_warnings(), redirect_stdout(sys.stderr):  # progress
            warnings.simplefilter("ignore")  # of the libraries
            warnings.filterwarnings("default", module="vc_lib|__main__")
            warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
            result = args.run(args)
        if result:
            print(result, flush=True)
    except KeyboardInterrupt as e:
        say(str(e) or "Stopped; nothing half-written is left.")
        return INTERRUPTED
    except (ParameterError, OSError, FloatingPointError) as e:
        say(f"error: {_by_option(str(e))}")
        return REFUSED
    return 0


def _by_option(message: str) -> str:
    """The message, with the names that were typed in place of those of settings."""
    for setting, option in OPTIONS.items():
        message = message.replace(f"{setting}=", f"{option} ")
    return message


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "vc",
        description="Convert speech of anybody to one voice. Tell every listener that it is synthetic.",
    )
    parser.add_argument("--version", action="version", version=f"vc {__version__}")
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
        convert,
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
        anonymize,
        "change a recording, or a folder of them, by a preset, without a network",
        "me.m4a whispered.wav --preset whisper",
        "interviews anonymous",
        "anna anonymous --preset private_consistent --key 'a secret, and Anna'",
    )
    add("source", type=Path, help="a recording of one speaker, or a folder of such recordings")
    add("destination", **DESTINATION)
    add("--preset", default="private", choices=sorted(PRESETS), help="(default: private)")
    add("--semitones", type=float, default=0.0, help="added to the pitch, -24 to 24 (default: 0)")
    add(
        "--strength",
        type=float,
        help="of private and private_consistent, from 0, nobody hidden, to 1, most private (default: 0.5)",
    )
    add(
        "--key",
        metavar="TEXT",
        help="of private_consistent: the same text gives the same voice; take another text for each "
        "person, and keep it secret",
    )

    add = command(
        live,
        "convert a microphone's sound as you speak; wear headphones",
        "--voice kathleen",
        "--list-devices",
        "--from me.wav --to converted.wav",
        "--latency 0.1 --block-ms 10",
    )
    add("--list-devices", action="store_true", help="name microphones and loudspeakers, then end")
    add("--input", metavar="N|NAME", help="the microphone (default: the system's)")
    add("--output", metavar="N|NAME", help="the loudspeaker (default: the system's)")
    add(
        "--from",
        type=Path,
        dest="file",
        metavar="FILE",
        help="a recording in place of the microphone",
    )
    add("--to", type=Path, metavar="FILE", help="a file in place of the loudspeaker")
    add("--voice", **VOICE)
    add("--semitones", **SEMITONES)
    add("--strength", **STRENGTH)
    add(
        "--block-ms",
        type=float,
        default=20,
        help="sound that is passed on at once, 5 to 200; more if there are dropouts (default: 20)",
    )
    add(
        "--latency",
        type=float,
        default=0.3,
        metavar="SECONDS",
        help="delay of the method, 0.1 to 0.3; less costs quality and computing (default: 0.3)",
    )

    add = command(
        train,
        "train a voice from recordings of one speaker, who has to agree",
        "recordings anna --quick",
    )
    add("recordings", type=Path, help="a folder; five minutes of speech are a start")
    add("name", help="of the voice, which is saved in models/NAME")
    add("--quick", action="store_true", help="a first voice, with a third of the steps")
    add("--epochs", type=int, help="(default: 12, quick: 4)")
    add(
        "--cache",
        type=Path,
        default=Path("data/cache"),
        metavar="FOLDER",
        help="folder of analyzed recordings (default: data/cache)",
    )

    add = command(
        evaluate,
        "score a voice on recordings of other speakers",
        "ljspeech recordings --target hers",
        "ljspeech recordings --english --page heard",
    )
    add("voice", help="name or folder of a voice")
    add("sources", type=Path, help="a folder of recordings of other speakers")
    add("--target", type=Path, help="a folder of recordings of the target")
    add("--english", action="store_true", help="all clips are English: count the words, too")
    add("--page", type=Path, metavar="FOLDER", help="folder for a page to listen to each clip")

    add = command(
        app, "open a page in the browser: convert, speak live, train", "--voices my_voices"
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


if __name__ == "__main__":
    sys.exit(main())
