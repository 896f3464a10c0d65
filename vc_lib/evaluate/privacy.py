"""How much of a speaker is left in anonymized speech, and what the hiding costs.

A verifier, that knows speakers from untouched recordings, is asked whether an anonymized one is
theirs. Privacy is how often it errs (EER: 50 % is chance); the price is paid in words, melody and
naturalness. `privacy_scores` measures both for any systems; STRENGTHS turn a system down by degrees.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import joblib
import numpy as np
import pandas as pd
from fastprogress.fastprogress import progress_bar

from ..anonymize import Features
from ..anonymize.world import FLOOR_POWER
from ..errors import ParameterError
from . import judges
from .clips import Clip
from .scores import evaluate

STRENGTHS = (0.25, 0.5, 0.75, 1.0)
N_DRAWS = 500  # of the bootstrap over speakers
MIN_HALF_S = 1.6  # of less the verifier says little: such clips are left out [s]
System = Callable[[Clip], np.ndarray]


def between(features: Features, changed: Features, strength: float) -> Features:
    """Features part of the way from untouched (0) to anonymized (1).

    Log-F0, log envelope and aperiodicity in dB go along straight lines. Where the anonymized frame
    has lost its pitch, its aperiodicity rises towards 1 and the pitch goes at the end.
    """
    if not 0 <= strength <= 1:
        raise ParameterError(f"strength={strength} must be in 0..1 (1: as the preset says)")
    if strength == 1:
        return changed
    both = features.voiced & changed.voiced
    f0 = np.where(both, features.f0, 1.0) ** (1 - strength)
    f0 = f0 * np.where(both, changed.f0, 1.0) ** strength
    to_ap = np.where((features.voiced & ~changed.voiced)[:, None], 1.0, changed.ap)
    sp, to_sp = (np.maximum(f.sp, FLOOR_POWER) for f in (features, changed))
    ap = np.maximum(features.ap, 1e-3) ** (1 - strength) * np.maximum(to_ap, 1e-3) ** strength
    return replace(
        features,
        f0=np.where(both, f0, features.f0),
        sp=sp ** (1 - strength) * to_sp**strength,
        ap=np.clip(ap, 1e-3, 1),
    )


def equal_error_rate(same: Sequence[float], different: Sequence[float]) -> tuple[float, float]:
    """Where a verifier refuses as many of its own as it lets strangers in.

    Parameters
    ----------
    same, different : sequences of float
        Scores of trials of one speaker and of two; higher is more alike. nan does not count.

    Returns
    -------
    eer, threshold : float
        Share of wrong answers [0..1; 0.5 is chance], and the lowest score that is accepted where
        they balance.

    Examples
    --------
    >>> [round(v, 2) for v in equal_error_rate([0.9, 0.8, 0.4], [0.1, 0.2, 0.5])]
    [0.33, 0.5]
    """
    from sklearn.metrics import det_curve  # here, because importing it takes a second

    same, different = ([s for s in scores if s == s] for scores in (same, different))
    if not same or not different:
        raise ParameterError(
            f"an EER needs trials of one speaker and of two, got {len(same)} and {len(different)}"
        )
    is_same = np.repeat([1, 0], [len(same), len(different)])
    false_accepts, false_rejects, thresholds = det_curve(is_same, [*same, *different])
    best = np.abs(false_accepts - false_rejects).argmin()
    return float((false_accepts[best] + false_rejects[best]) / 2), float(thresholds[best])


def halves(clip: Clip) -> list[Clip]:
    """The first and the second half of a clip."""
    middle = len(clip.wav) // 2
    parts = clip.wav[:middle], clip.wav[middle:]
    return [Clip(part, clip.sr, clip.cfg.f0_method, clip.name) for part in parts]


def privacy_scores(
    clips: Mapping[str, Clip],
    systems: Mapping[str, System],
    only: Sequence[str] = ("wer", "source_log_f0_corr", "distillmos"),
    n_jobs: int = 1,
    n_priced: int | None = None,
) -> pd.DataFrame:
    """How well each system hides who speaks, and what is lost by it.

    Every clip is one speaker. Trials compare one half of an untouched clip with the other half of
    an anonymized one, each of the speakers with each and both ways round. A half is anonymized by
    itself, as an utterance is that somebody wants to hide. Both halves are of one recording, so a
    verifier has it easier than with recordings of two days.

    Parameters
    ----------
    clips : mapping of speaker to Clip
        Two or more, of one rate and of 3.2 s or more.
    systems : mapping of name to function
        Each takes a Clip and gives its anonymized waveform, as long.
    only : names of metrics
        Of `evaluate` with the untouched clip as `source`; what the price is counted in, on the whole
        clip.
    n_jobs : int
        Systems measured at a time, in threads.
    n_priced : int, optional
        On how many of the clips the price is counted, evenly spread; all by default. Trials need
        many speakers, prices fewer, and they take most of the time.

    Returns
    -------
    pd.DataFrame
        A row for each system, `untouched` first, with

        ================= ==== ===================================================================
        eer               0..1 higher is more private: the verifier knows untouched voices only
        eer_low, eer_high 0..1 its 95 % interval, over speakers
        eer_informed      0..1 likewise, but it has heard the speakers anonymized the same way
        informed_low, ... 0..1 its interval
        cosine_to_self    -1..1 mean score of trials of one speaker; lower is more private
        linked            0..1 share of those above the threshold for untouched speech; lower
        ================= ==== ===================================================================

        and the means of `only`. `attrs["threshold"]` is the verifier's for untouched speech.

    Raises
    ------
    ParameterError
        If there are fewer than two clips, one is too short, or a system leaves nothing to verify.
    MissingInput
        If an evaluation package is not installed.

    References
    ----------
    The ignorant and lazy-informed attackers of the VoicePrivacy challenges (Tomashenko et al.,
    2020..2024), with a smaller verifier: their EER is not comparable with this one.
    """
    if len(clips) < 2:
        raise ParameterError(f"{len(clips)} clip is no crowd to hide in; give two speakers or more")
    for name, clip in clips.items():
        if len(clip.wav) < 2 * MIN_HALF_S * clip.sr:
            raise ParameterError(
                f"{name} lasts {len(clip.wav) / clip.sr:.1f} s, must last {2 * MIN_HALF_S} s or more "
                "for a trial; leave it out"
            )
    parts = {name: halves(clip) for name, clip in clips.items()}
    known = [[half.embedding for half in pair] for pair in parts.values()]
    for clip in (*clips.values(), *(half for pair in parts.values() for half in pair)):
        _ = clip.features  # found once, before threads could find it twice
    step = max(1, len(clips) // n_priced) if n_priced else 1
    priced = list(clips.values())[::step][:n_priced]
    if "wer" in only:
        _ = [clip.words for clip in priced]

    def measured(system: System) -> tuple[list, dict]:
        """Embeddings of both halves of each speaker, and prices."""
        made = [
            [judges.speaker_embedding(system(half), half.sr) for half in pair]
            for pair in parts.values()
        ]
        prices = [
            evaluate(system(clip), clip.sr, source=clip, only=only, f0_method=clip.cfg.f0_method)
            for clip in priced
        ]
        return made, pd.DataFrame(prices).mean().to_dict()

    systems = {"untouched": lambda clip: clip.wav, **systems}
    parallel = joblib.Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
    done = parallel(joblib.delayed(measured)(system) for system in systems.values())
    rows, threshold = {}, None
    for label, (made, price) in zip(
        systems, progress_bar(done, total=len(systems), leave=False), strict=True
    ):
        try:
            ignorant, informed = _trials(known, made), _trials(made, made)
            own = np.diagonal(ignorant, axis1=1, axis2=2)
            eer, low, high = _eer_of(ignorant)
            threshold = (
                threshold or equal_error_rate(own.ravel(), _off_diagonal(ignorant).ravel())[1]
            )
            rows[label] = {"eer": eer, "eer_low": low, "eer_high": high}
            eer, low, high = _eer_of(informed)
            rows[label] |= {"eer_informed": eer, "informed_low": low, "informed_high": high}
        except ParameterError as e:
            raise ParameterError(f"{label}: {e}; is what it makes silent?") from e
        rows[label] |= {
            "cosine_to_self": float(np.nanmean(own)),
            "linked": float(np.mean(own[~np.isnan(own)] >= threshold)),
        } | price
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")
    table.attrs["threshold"] = threshold
    return table


def _trials(enrolled: Sequence, tried: Sequence) -> np.ndarray:
    """Scores of first halves against second ones and the other way round [shape=(2, n, n)]: one
    speaker's on the diagonal."""
    both = ((0, 1), (1, 0))
    return np.array(
        [[[judges.speaker_cosine(a[i], b[j]) for b in tried] for a in enrolled] for i, j in both]
    )


def _off_diagonal(scores: np.ndarray) -> np.ndarray:
    return scores[:, ~np.eye(scores.shape[1], dtype=bool)]


def _eer_of(scores: np.ndarray) -> tuple[float, float, float]:
    """EER of a table of trials, and its 95 % interval by drawing speakers anew."""
    n = scores.shape[1]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(N_DRAWS):
        who = rng.integers(0, n, n)
        others = who[:, None] != who[None]  # drawn twice, a speaker is no stranger
        drawn_scores = scores[:, who[:, None], who[None]]
        if others.any():
            same = np.diagonal(drawn_scores, axis1=1, axis2=2)
            drawn.append(equal_error_rate(same.ravel(), drawn_scores[:, others].ravel())[0])
    eer = equal_error_rate(
        np.diagonal(scores, axis1=1, axis2=2).ravel(), _off_diagonal(scores).ravel()
    )[0]
    return eer, *(float(v) for v in np.percentile(drawn, (2.5, 97.5)))
