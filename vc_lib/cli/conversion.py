"""`vc convert` and `vc anonymize`."""

import hashlib
from pathlib import Path

from ..config import PRIVATE, AnonymizeConfig, Config
from ..errors import MissingInput, NotWritten, ParameterError
from .listen import page_to_hear
from .terminal import Progress, say

FORMATS = ("wav", "flac", "ogg", "mp3")


def convert(args) -> str:
    """Convert a recording, or a folder of them; returns the last line of the output."""
    from ..convert import convert_file, convert_folder

    check_exists(args.source)
    voice = voice_with_dials(args)
    how = dict(sr=args.rate, level=args.level, progress=Progress("converted"))
    suffix = f".{args.format or FORMATS[0]}"
    if args.source.is_dir():
        if args.destination.suffix[1:] in FORMATS:
            raise ParameterError(f"{args.destination} is a file name, must be a folder")
        made = convert_folder(voice, args.source, args.destination, suffix, **how)
        page = page_to_hear(voice, made, args.destination)
        return f"{len(made)} converted recordings are in {args.destination}{page}"
    destination = _file_in(args.destination, args.source, "converted", suffix)
    if args.format and destination.suffix != suffix:
        raise ParameterError(f"--format {args.format} must not contradict {destination}; drop one")
    convert_file(voice, args.source, destination, **how)
    return f"the converted recording is {destination}"


def check_exists(path: Path) -> None:
    """Raise MissingInput if there is no such path; before the voice is loaded, which takes a while."""
    if not path.exists():
        raise MissingInput(f"{path} does not exist; correct the path")


def voice_with_dials(args):
    """The voice, with the dials of the command."""
    from ..convert import load_voice
    from ..model.voice_folder import BASE, find_voice

    if find_voice(args.voice).name == BASE:
        say("warning: the base is no voice; training begins from it. Convert with another one")
    return load_voice(args.voice).with_dials(args.semitones, args.strength)


def _file_in(destination: Path, source: Path, how: str, suffix: str = ".wav") -> Path:
    """The destination; a file named after the source if it is a folder or has no suffix."""
    if destination.is_dir() or not destination.suffix:
        return destination / f"{source.stem}_{how}{suffix}"
    return destination


def anonymize(args) -> str:
    """Change a recording by a preset, or a folder of them; returns the last line of the output."""
    from ..audio import list_audio

    cfg = _anonymize_config(args)
    if not args.source.is_dir():
        destination = _file_in(args.destination, args.source, args.preset)
        _anonymize_file(args.source, destination, cfg)
        return f"the anonymized recording is {destination}"
    if args.destination.suffix[1:] in FORMATS:
        raise ParameterError(f"{args.destination} is a file name, must be a folder")
    results = args.destination.glob(f"**/*_{args.preset}.*")  # of an earlier run
    files = sorted(set(list_audio(args.source)) - set(results))
    failed = []
    for i, file in enumerate(files):
        folder = args.destination / file.relative_to(args.source).parent
        try:
            _anonymize_file(file, folder / f"{file.stem}_{args.preset}.wav", cfg)
        except NotWritten:
            raise  # the other files would fail, too
        except (OSError, ValueError) as e:  # ParameterError and MissingInput are among these
            failed.append(f"{file.name}: {e}")
        say(f"anonymized {i + 1 - len(failed)} of {len(files)}")
    if failed and len(failed) == len(files):
        raise ParameterError(f"none of {len(files)} files can be anonymized; first: {failed[0]}")
    if failed:
        say(f"warning: {len(failed)} of {len(files)} files were left out: {'; '.join(failed)}")
    return f"{len(files) - len(failed)} anonymized recordings are in {args.destination}"


def _anonymize_config(args) -> AnonymizeConfig:
    """The settings that the options of `vc anonymize` ask for."""
    private = {}
    if args.strength is not None:
        if args.preset not in PRIVATE:
            raise ParameterError(
                f"--strength {args.strength:g} needs --preset {' or '.join(PRIVATE)}; "
                f"{args.preset} has no strength"
            )
        private["private_strength"] = args.strength
    if (args.key is None) == (args.preset == "private_consistent"):
        raise ParameterError(
            "--preset private_consistent needs --key TEXT, another text for each person"
            if args.key is None
            else f"--key needs --preset private_consistent, got {args.preset}"
        )
    if args.key is not None:
        private["private_key"] = _key(args.key)
    return AnonymizeConfig(preset=args.preset, f0_shift_semitones=args.semitones, **private)


def _key(text: str) -> int:
    """A number that takes long to guess from likely texts, such as names."""
    if not text.strip():
        raise ParameterError("--key is empty; give a secret text, another for each person")
    derived = hashlib.scrypt(text.encode(), salt=b"vc_lib private_key", n=2**14, r=8, p=1, dklen=7)
    return int.from_bytes(derived, "big")


def _anonymize_file(source: Path, destination: Path, cfg: AnonymizeConfig) -> None:
    from ..anonymize import anonymize as anonymized
    from ..audio import load_wav, save_wav
    from ..files import check_not_source

    sr = Config().sr
    check_not_source(source, destination)
    changed = anonymized(load_wav(source, sr), sr, cfg)
    save_wav(destination, changed, sr, "Synthetic speech: changed by vc_lib. Disclose it as such.")
