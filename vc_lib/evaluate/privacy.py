"""Privacy: how well a verifier still recognizes anonymized speakers, and what anonymization costs.

A verifier that knows speakers from untouched recordings decides whether an anonymized recording is
theirs. Privacy is its equal error rate (EER; 50 % is chance). The cost is measured in words, melody
and naturalness. `privacy_scores` measures both for any systems.
"""

from collections.abc import Callable, Mapping, Sequence

import joblib
import numpy as np
import pandas as pd
from fastprogress.fastprogress import progress_bar

from ..errors import ParameterError
from . import judges
from .clips import Clip
from .scores import evaluate

STRENGTHS = (0.25, 0.5, 0.75, 1.0)  # strengths of a system, from untouched (0) to full (1)
N_DRAWS = 500  # resamples of the bootstrap over speakers
MIN_HALF_S = 1.6  # shortest half of a clip that the verifier judges reliably [s]
System = Callable[[Clip], np.ndarray]


def equal_error_rate(
    same: Sequence[float] | np.ndarray, different: Sequence[float] | np.ndarray
) -> tuple[float, float]:
    """Error rate of a verifier at the threshold where it rejects and accepts wrongly equally often.

    Parameters
    ----------
    same, different : sequences of float
        Scores of trials with one speaker and with two; higher is more alike. nan does not count.

    Returns
    -------
    eer : float [0..1; 0.5 is chance]
    threshold : float
        The lowest score that is accepted.

    Raises
    ------
    ParameterError
        If there is no score of one kind.

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
    intervals: bool = True,
) -> pd.DataFrame:
    """Measure how well each system hides the speaker, and what it costs.

    Each clip is of another speaker. A trial compares one half of an untouched clip with the other
    half of an anonymized clip. All pairs of speakers are tried, with both assignments of the
    halves. Each half is anonymized by itself, like an utterance that somebody wants to hide. Both
    halves come from one recording, which is easier for the verifier than recordings of two days.

    Parameters
    ----------
    clips : mapping of str to Clip
        A clip of each speaker: two or more, of one rate, of 3.2 s or more.
    systems : mapping of str to function
        Each takes a Clip and returns its anonymized waveform, of the same length.
    only : names of metrics
        The cost: metrics of `evaluate`, on whole clips, with the untouched clip as `source`.
    n_jobs : int
        Number of threads, each of which measures one system.
    n_priced : int, optional
        Number of clips on which the cost is measured, evenly spread; by default all. The cost needs
        fewer clips than the trials, and takes most of the time.
    intervals : bool
        False leaves the intervals out, which take more than a second a system.

    Returns
    -------
    pd.DataFrame
        A row for each system, `untouched` first, with these columns and the means of `only`:

        =========================== ===== ========================================================
        eer                         0..1  EER of a verifier that knows untouched voices; higher is
                                          more private
        eer_low, eer_high           0..1  its 95 % interval over speakers
        eer_informed                0..1  EER of a verifier that knows the anonymized voices
        informed_low, informed_high 0..1  its 95 % interval over speakers
        cosine_to_self              -1..1 mean score of trials with one speaker; lower is more
                                          private
        linked                      0..1  share of these trials that pass the threshold for
                                          untouched speech; lower is more private
        =========================== ===== ========================================================

        `attrs["threshold"]` is the verifier's threshold for untouched speech.

    Raises
    ------
    ParameterError
        If there are fewer than two clips, a clip is too short, or a system makes speech silent.
    MissingInput
        If an evaluation package is not installed.

    References
    ----------
    The ignorant and lazy-informed attackers of the VoicePrivacy challenges (Tomashenko et al.,
    2020..2024), with a smaller verifier: their EER is not comparable with this one.
    """
    if len(clips) < 2:
        raise ParameterError(f"privacy needs clips of at least 2 speakers, got {len(clips)}")
    for name, clip in clips.items():
        if len(clip.wav) < 2 * MIN_HALF_S * clip.sr:
            raise ParameterError(
                f"{name} lasts {len(clip.wav) / clip.sr:.1f} s, must last "
                f"{2 * MIN_HALF_S} s or more; leave it out"
            )
    pairs = [halves(clip) for clip in clips.values()]
    untouched = [[half.embedding for half in pair] for pair in pairs]
    for clip in (*clips.values(), *(half for pair in pairs for half in pair)):
        _ = clip.features  # cached here, so that no two threads compute it
    step = max(1, len(clips) // n_priced) if n_priced else 1
    priced = list(clips.values())[::step][:n_priced]
    if "wer" in only:
        _ = [clip.words for clip in priced]

    def measured(system: System) -> tuple[list, dict]:
        """Embeddings of both anonymized halves of each speaker, and the mean cost."""
        anonymized = [
            [judges.speaker_embedding(system(half), half.sr) for half in pair] for pair in pairs
        ]
        costs = [
            evaluate(system(clip), clip.sr, source=clip, only=only, f0_method=clip.cfg.f0_method)
            for clip in priced
        ]
        return anonymized, pd.DataFrame(costs).mean().to_dict()

    systems = {"untouched": lambda clip: clip.wav, **systems}
    parallel = joblib.Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
    results = parallel(joblib.delayed(measured)(system) for system in systems.values())
    results = progress_bar(results, total=len(systems), leave=False)
    rows, threshold = {}, None
    for label, (anonymized, cost) in zip(systems, results, strict=True):
        trials, informed = _trials(untouched, anonymized), _trials(anonymized, anonymized)
        try:
            row = _error_rates(trials, ("eer", "eer_low", "eer_high"), intervals)
            names = "eer_informed", "informed_low", "informed_high"
            row |= _error_rates(informed, names, intervals)
            same, different = same_speaker(trials), different_speakers(trials)
            if threshold is None:  # of the first system, the untouched speech
                threshold = equal_error_rate(same, different)[1]
        except ParameterError as e:
            raise ParameterError(f"{label}: {e}; does the system return silence?") from e
        row["cosine_to_self"] = float(np.nanmean(same))
        row["linked"] = float(np.mean(same[~np.isnan(same)] >= threshold))
        rows[label] = row | cost
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")
    table.attrs["threshold"] = threshold
    return table


def _trials(enrolled: Sequence, tested: Sequence) -> np.ndarray:
    """Scores of all trials [shape=(2, n, n)]: first halves against second ones, then the reverse.

    The trials with one speaker are on the diagonal.
    """
    orders = ((0, 1), (1, 0))
    return np.array(
        [[[judges.speaker_cosine(a[i], b[j]) for b in tested] for a in enrolled] for i, j in orders]
    )


def same_speaker(trials: np.ndarray) -> np.ndarray:
    """Scores of the trials with one speaker."""
    return np.diagonal(trials, axis1=1, axis2=2).ravel()


def different_speakers(trials: np.ndarray) -> np.ndarray:
    """Scores of the trials with two speakers."""
    return trials[:, ~np.eye(trials.shape[1], dtype=bool)].ravel()


def _error_rates(trials: np.ndarray, names: Sequence[str], interval: bool) -> dict[str, float]:
    """The EER by the first name, and the ends of its interval by the others."""
    if interval:
        return dict(zip(names, eer_interval(trials), strict=True))
    return {names[0]: equal_error_rate(same_speaker(trials), different_speakers(trials))[0]}


def eer_interval(trials: np.ndarray) -> tuple[float, float, float]:
    """EER and its 95 % confidence interval, by the bootstrap over speakers."""
    n = trials.shape[1]
    rng = np.random.default_rng(0)
    eers = []
    for _ in range(N_DRAWS):
        drawn = rng.integers(0, n, n)
        is_different = drawn[:, None] != drawn[None]  # a speaker drawn twice is not another speaker
        resampled = trials[:, drawn[:, None], drawn[None]]
        if is_different.any():
            different = resampled[:, is_different].ravel()
            eers.append(equal_error_rate(same_speaker(resampled), different)[0])
    eer = equal_error_rate(same_speaker(trials), different_speakers(trials))[0]
    low, high = np.percentile(eers, (2.5, 97.5))
    return eer, float(low), float(high)
