"""`vc train` and `vc evaluate`."""

from pathlib import Path

from .listen import page_to_hear
from .terminal import say

CLIP_S = 8.0  # longest part of a recording that is scored [s]
SAMPLES = Path("data/sample/sources")  # what a new voice is heard on, if it is there


def train(args) -> str:
    """Train a voice, and let it be heard; returns the last line of the output."""
    from ..audio import list_audio
    from ..convert import convert_folder, load_voice
    from ..training.new_voice import train_new_voice

    run = train_new_voice(args.recordings, args.name, args.quick, args.epochs, say)
    page = ""
    if SAMPLES.is_dir():
        voice, files = load_voice(run), list_audio(SAMPLES)
        few = files[:: max(1, len(files) // 3)][:3]
        page = page_to_hear(voice, convert_folder(voice, few, run / "listen"), run / "listen")
    return (
        f"the voice is {run}{page}; write into {run}/card.md whose voice it is, and convert with: "
        f"vc convert me.wav converted.wav --voice {run}"
    )


def evaluate(args) -> str:
    """Score a voice; returns the table, and with --page a line that names the page."""
    from ..audio import list_audio, load_wav
    from ..convert import convert_folder, load_voice
    from ..evaluate import Clip, TargetClips, evaluate_set, summary

    voice = load_voice(args.voice)
    sr, n_samples = voice.sr, round(CLIP_S * voice.sr)

    def clips(folder: Path) -> dict[str, Clip]:
        files = list_audio(folder)
        return {str(f.relative_to(folder)): Clip(load_wav(f, sr)[:n_samples], sr) for f in files}

    sources = clips(args.sources)
    target = TargetClips(clips(args.target).values()) if args.target else None
    page = ""
    if args.page:
        made = convert_folder(voice, args.sources, args.page)
        page = page_to_hear(voice, made, args.page)
        page = f"\n{len(made)} converted recordings are in {args.page}{page}"
    systems = {"anonymized": voice.anonymize, "converted": voice.convert}
    scores = {}
    for label, system in systems.items():
        pairs = ((n, dict(converted=system(c.wav, sr), source=c)) for n, c in sources.items())
        scores[label] = evaluate_set(pairs, sr, target, total=len(sources))
    return summary(scores).T.to_string() + page
