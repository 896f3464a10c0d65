"""`vc train` and `vc evaluate`."""

from pathlib import Path

from .listen import page_to_hear
from .terminal import say

CLIP_S = 8.0  # longest part of a recording that is scored [s]
SAMPLES = Path("data/sample/sources")  # what a new voice is heard on, if it is there
N_HEARD, N_TARGET = 6, 8  # clips of it, and recordings of the target to compare with


def train(args) -> str:
    """Train a voice, and let it be heard; returns the last line of the output."""
    from ..audio import list_audio
    from ..convert import convert_folder, load_voice
    from ..training.new_voice import train_new_voice

    run = train_new_voice(args.recordings, args.name, args.quick, args.epochs, say)
    page = ""
    if SAMPLES.is_dir():
        voice, files = load_voice(run), list_audio(SAMPLES)
        few = files[:: max(1, len(files) // N_HEARD)][:N_HEARD]
        page = page_to_hear(voice, convert_folder(voice, few, run / "listen"), run / "listen")
        say(_verdict(voice, few, list_audio(args.recordings)[:N_TARGET]))
    return (
        f"the voice is {run}{page}; write into {run}/card.md whose voice it is, and convert with: "
        f"vc convert me.wav converted.wav --voice {run}"
    )


def _verdict(voice, sources: list[Path], of_target: list[Path]) -> str:
    """What the scores of a new voice mean."""
    from ..audio import load_wav
    from ..evaluate.verdict import score_versions, verdict

    n_samples = round(CLIP_S * voice.sr)
    clips, target = (
        {file.name: load_wav(file, voice.sr)[:n_samples] for file in files}
        for files in (sources, of_target)
    )
    return verdict(score_versions(voice, clips, target.values()))


def evaluate(args) -> str:
    """Score a voice; returns the table, a verdict, and with --page a line that names the page."""
    from ..audio import list_audio, load_wav
    from ..convert import convert_folder, load_voice
    from ..evaluate import Clip, TargetClips, evaluate_set, summary
    from ..evaluate.verdict import verdict

    voice = load_voice(args.voice)
    sr, n_samples = voice.sr, round(CLIP_S * voice.sr)

    def clips(folder: Path) -> dict[str, Clip]:
        files = list_audio(folder)
        return {str(f.relative_to(folder)): Clip(load_wav(f, sr)[:n_samples], sr) for f in files}

    sources = clips(args.sources)
    of_target = clips(args.target).values() if args.target else ()
    target = TargetClips(of_target, voice.config.target)
    page = ""
    if args.page:
        made = convert_folder(voice, args.sources, args.page)
        page = page_to_hear(voice, made, args.page)
        page = f"\n{len(made)} converted recordings are in {args.page}{page}"
    systems = {
        "source": lambda wav, sr: wav,
        "anonymized": voice.anonymize,
        "converted": voice.convert,
    }
    scores = {}
    for label, system in systems.items():
        pairs = ((n, dict(converted=system(c.wav, sr), source=c)) for n, c in sources.items())
        scores[label] = evaluate_set(pairs, sr, target, total=len(sources))
    return f"{summary(scores).T.to_string()}\n{verdict(scores)}{page}"
