"""`vc train` and `vc evaluate`."""

from pathlib import Path

from ..errors import ParameterError, check_installed
from .listen import page_to_hear
from .terminal import say

CLIP_S = 8.0  # longest part of a recording that is scored [s]
N_HEARD = 6  # samples that a new voice is heard on
N_TARGET = 8  # recordings of the target that it is compared with


def train(args) -> str:
    """Train a voice, and let it be heard; returns the last line of the output."""
    check_installed("training", "train", "torch", "fastai")
    from ..convert import load_voice
    from ..files import SAMPLES
    from ..training.new_voice import train_new_voice

    run = train_new_voice(args.recordings, args.name, args.quick, args.epochs, say, args.cache)
    page = _heard(load_voice(run), run, args.recordings) if SAMPLES.is_dir() else ""
    return (
        f"the voice is {run}{page}; write into {run}/card.md whose voice it is, and convert with: "
        f"vc convert me.wav converted.wav --voice {run}"
    )


def _heard(voice, run: Path, recordings: Path) -> str:
    """Convert a few clips, say what their scores mean; returns where to hear them."""
    from ..convert import convert_folder
    from ..evaluate.clips import clips_of
    from ..evaluate.verdict import score_versions, verdict
    from ..files import SAMPLES

    try:
        clips = clips_of(SAMPLES, voice.sr, CLIP_S, N_HEARD)
        few = [SAMPLES / name for name in clips]
        page = page_to_hear(voice, convert_folder(voice, few, run / "listen"), run / "listen")
        target = clips_of(recordings, voice.sr, CLIP_S, N_TARGET)
        say(verdict(score_versions(voice, clips, target.values())))
        return page
    except (ParameterError, OSError) as e:  # the voice is trained all the same
        say(f"warning: the voice cannot be heard or scored on {SAMPLES}: {e}")
        return ""


def _metrics(english: bool, has_target: bool) -> list[str]:
    """Metrics that need no other reading of the sentences; words are counted in English alone."""
    from ..evaluate import METRICS, judges

    left_out = {
        key for key, used in (("wer", english), ("cosine_to_target", has_target)) if not used
    }
    return [
        key
        for key, metric in METRICS.items()
        if key not in left_out
        and "reference" not in metric.needs
        and judges.installed(metric.packages)
    ]


def evaluate(args) -> str:
    """Score a voice; returns the table, a verdict, and with --page a line that names the page."""
    check_installed("scoring", "train", "pandas", "librosa")
    from ..convert import convert_folder, load_voice
    from ..evaluate import summary
    from ..evaluate.clips import clips_of
    from ..evaluate.verdict import score_versions, verdict

    voice = load_voice(args.voice)
    sources = clips_of(args.sources, voice.sr, CLIP_S)
    target = clips_of(args.target, voice.sr, CLIP_S).values() if args.target else ()
    page = ""
    if args.page:
        say("converting whole recordings for the page")
        made = convert_folder(voice, args.sources, args.page)
        page = page_to_hear(voice, made, args.page)
        page = f"\n{len(made)} converted recordings are in {args.page}{page}"
    keys = _metrics(args.english, bool(target))
    scores = score_versions(voice, sources, target, keys=keys, say=say)
    return f"{summary(scores).T.to_string()}\n{verdict(scores)}{page}"
