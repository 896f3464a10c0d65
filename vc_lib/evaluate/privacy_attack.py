"""Strong attackers: how well somebody who has the anonymizer still recognizes the speakers.

`attack` lets all attackers try one system. `embed` and `attack_trials` are its steps, whose results
can be cached; `attack_scores` says how far they came, and `cost` what the system costs.

============== ======================= ==========================================================
attacker       enrolled with           compares by
============== ======================= ==========================================================
ignorant       untouched speech        cosine of `judges.speaker_embedding`
lazy-informed  anonymized speech       the same cosine
semi-informed  anonymized speech       `TrainedScorer`, trained on anonymized speech of others
============== ======================= ==========================================================

Informed attackers anonymize the untouched enrolment themselves, once or several times (`_many`).
The utterance on trial is always another draw of the system's random numbers.
"""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence

import joblib
import numpy as np
import pandas as pd

from ..errors import ParameterError
from ..parallel import one_thread
from .attackers import TrainedScorer
from .clips import Clip
from .embeddings import EMBEDDINGS, Embedding, System, embed, random_generator
from .linkability import distinctiveness_gain_db, linkability
from .privacy import different_speakers, eer_interval, same_speaker
from .scores import evaluate

MIN_LINKABLE = 10  # fewest speakers of whom linkability is estimated
TRAINED = ("speaker", "cepstra", "both")  # what the semi-informed attackers are trained on
# Attackers who have the anonymizer
INFORMED = ("eer_informed", "eer_informed_many", *TRAINED, *(f"{name}_many" for name in TRAINED))
ATTACKERS = ("eer", *INFORMED)
COSTS = ("wer", "source_log_f0_corr", "distillmos")


def attack(
    clips: Mapping[str, Clip],
    others: Mapping[str, Clip],
    system: System,
    n_draws: int = 5,
    n_train_draws: int = 1,
    n_jobs: int = 1,
    embeddings: Mapping[str, Embedding] = EMBEDDINGS,
) -> dict[str, float | str]:
    """Attack a system with all attackers.

    Each clip is of another speaker. A trial compares one half of a clip with the other half of
    another or the same clip. All pairs of speakers are tried, with both assignments of the halves.

    Parameters
    ----------
    clips, others : mappings of str to Clip
        A clip of each speaker who is attacked, and of each on whose speech attackers are trained.
        They are different people: ten or more of each, better a hundred of the latter.
    system : function
        Takes a Clip and a random generator, and returns the anonymized waveform.
    n_draws : int
        Anonymized versions of the enrolment. 0 is for a system without random numbers, whose
        versions are all alike.
    n_train_draws : int
        Anonymized versions of each training half.
    n_jobs : int
        Number of processes. With more than one, `system` must be picklable.
    embeddings : mapping of str to function
        "speaker" and "cepstra", as in `embed`.

    Returns
    -------
    dict of str to float
        As from `attack_scores`.

    Raises
    ------
    ParameterError
        If there are too few speakers, or a system makes speech silent.
    MissingInput
        If an evaluation package is not installed.

    References
    ----------
    The attackers of the VoicePrivacy challenges (Tomashenko et al., 2020..2024), with smaller
    verifiers: their EERs are not comparable with these.
    """
    if len(clips) < 2:
        raise ParameterError(f"privacy needs clips of at least 2 speakers, got {len(clips)}")
    check_others(clips, others)
    untouched = embed(clips, unchanged, 1, n_jobs, embeddings)
    anonymized = embed(clips, system, 1 + n_draws, n_jobs, embeddings)
    training = embed(others, system, n_train_draws, n_jobs, embeddings)
    return attack_scores(attack_trials(untouched, anonymized, training))


def check_others(clips: Mapping[str, Clip], others: Mapping[str, Clip]) -> None:
    """Raise ParameterError if attackers have too few speakers to learn from, or learn from clips on trial."""
    if both := sorted(set(clips) & set(others)):
        raise ParameterError(
            f"{', '.join(both[:3])} are both attacked and trained on; give clips of other speakers"
        )
    if len(others) < 3:
        raise ParameterError(f"attackers train on 3 speakers or more, got {len(others)}")


def unchanged(clip: Clip, rng: np.random.Generator) -> np.ndarray:
    """The system that does nothing."""
    return clip.wav


def attack_trials(
    untouched: Mapping[str, np.ndarray],
    anonymized: Mapping[str, np.ndarray],
    training: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Scores of all trials, by attacker.

    Parameters
    ----------
    untouched, anonymized, training : mappings of str to np.ndarray
        "speaker" and "cepstra", from `embed`: one draw of untouched speech, the draws of the same
        clips, and those of other speakers. Draw 0 of `anonymized` is on trial. The others are
        enrolled; if there are none, draw 0 is, because the system has no random numbers.

    Returns
    -------
    dict of str to np.ndarray [shape=(2, n_speakers, n_speakers); higher is more alike]
        "untouched", and each of ATTACKERS. Rows are enrolled with the first half, then with the
        second. Trials with one speaker are on the diagonal. nan where speech was too short.
    """
    known, hidden, learned = (_with_both(e) for e in (untouched, anonymized, training))
    plain = known["speaker"][:, :, 0]
    trials = {
        "untouched": _trials(_cosines, plain, plain),
        "eer": _trials(_cosines, plain, hidden["speaker"][:, :, 0]),
    }
    attackers = {"eer_informed": ("speaker", _cosines)}
    attackers |= {name: (name, _trained(learned[name]).scores) for name in TRAINED}
    for name, (embedding, score) in attackers.items():
        draws = hidden[embedding]
        tested, enrolled = draws[:, :, 0], draws[:, :, 1:] if draws.shape[2] > 1 else draws
        trials[name] = _trials(score, enrolled[:, :, 0], tested)
        trials[f"{name}_many"] = _trials(score, _mean(enrolled), tested)
    return trials


def _with_both(embeddings: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The embeddings, and both in one; `TrainedScorer` gives them the same scale."""
    return {**embeddings, "both": np.concatenate([*embeddings.values()], axis=-1)}


def _mean(draws: np.ndarray) -> np.ndarray:
    """Mean of the draws that have an embedding [shape=(n_speakers, 2, n_dimensions)].

    Speaker embeddings have length 1, so for them it is the mean direction.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no draw has an embedding: nan
        return np.nanmean(draws, axis=2)


def _trained(draws: np.ndarray) -> TrainedScorer:
    """The scorer that has learned from all utterances with an embedding."""
    n_speakers, n_dimensions = draws.shape[0], draws.shape[-1]
    utterances = draws.reshape(n_speakers, -1, n_dimensions)
    known = np.isfinite(utterances).all(2)
    known &= known.sum(1, keepdims=True) >= 2
    return TrainedScorer(utterances[known], np.nonzero(known)[0])


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (a, b))
    return a @ b.T


def _trials(score: Callable, enrolled: np.ndarray, tested: np.ndarray) -> np.ndarray:
    """Scores of first halves against second ones, then the reverse; nan stays nan."""
    trials = []
    for i, j in ((0, 1), (1, 0)):
        a, b = enrolled[:, i], tested[:, j]
        known = np.isfinite(a).all(1)[:, None] & np.isfinite(b).all(1)
        trials.append(np.where(known, score(np.nan_to_num(a), np.nan_to_num(b)), np.nan))
    return np.array(trials)


def attack_scores(
    trials: Mapping[str, np.ndarray], speakers: Sequence[int] | None = None
) -> dict[str, float | str]:
    """How far each attacker comes.

    Parameters
    ----------
    trials : mapping of str to np.ndarray
        From `attack_trials`.
    speakers : sequence of int, optional
        Indices of the speakers who count; by default all.

    Returns
    -------
    dict of str to float
        EERs are 0..1; 0.5 is chance and higher is more private. Each has a 95 % interval over
        speakers, `<name>_low` and `<name>_high`.

        =========================== ======= ======================================================
        eer                         0..1    of the ignorant attacker
        eer_informed                0..1    of the lazy-informed attacker, enrolled with one draw
        speaker, cepstra, both      0..1    of semi-informed attackers that were trained on these
                                            embeddings
        <name>_many                 0..1    of the same attacker, enrolled with all draws
        worst_case                  0..1    lowest EER of an attacker. It errs to the low side: of
                                            nine attackers, one has luck
        worst_attacker              str     the name of that attacker
        linkability                 0..1    of the scores of `eer_informed`; nan under 10 speakers
        worst_linkability           0..1    of those of the worst case
        distinctiveness_gain_db     dB      of the scores of `eer_informed`, see `_similarity`
        =========================== ======= ======================================================

    Raises
    ------
    ParameterError
        If there are fewer than two speakers with an embedding.
    """
    chosen = slice(None) if speakers is None else speakers
    trials = {name: scores[:, chosen][:, :, chosen] for name, scores in trials.items()}
    row: dict[str, float | str] = {}
    for name in ATTACKERS:
        row |= _interval(name, trials[name])
    worst = min(ATTACKERS, key=lambda name: row[name])
    row |= {f"worst_case{end}": row[worst + end] for end in ("", "_low", "_high")}
    row["worst_attacker"] = worst
    row["linkability"] = _linkability(trials["eer_informed"])
    row["worst_linkability"] = _linkability(trials[worst])
    row["distinctiveness_gain_db"] = _gain_db(trials["untouched"], trials["eer_informed"])
    return row


def _interval(name: str, trials: np.ndarray) -> dict[str, float]:
    """EER and its interval, as three columns."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), eer_interval(trials), strict=True))


def _linkability(trials: np.ndarray) -> float:
    enough = np.isfinite(same_speaker(trials)).sum() >= 2 * MIN_LINKABLE
    return linkability(same_speaker(trials), different_speakers(trials)) if enough else float("nan")


def _gain_db(untouched: np.ndarray, anonymized: np.ndarray) -> float:
    """Gain of voice distinctiveness, of the speakers all of whose trials have a score."""
    known = np.isfinite(untouched + anonymized)
    whole = known.diagonal(axis1=1, axis2=2).all(0)
    untouched, anonymized = (m[:, whole][:, :, whole] for m in (untouched, anonymized))
    if whole.sum() < 2:
        return float("nan")
    similarity = _similarity(untouched)
    return distinctiveness_gain_db(similarity(untouched), similarity(anonymized))


def _similarity(untouched: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A map from trials to the probability that both speakers are one [shape=(n, n), 0..1].

    It is a logistic regression on the trials of untouched speech. One speaker is as likely as two.
    The result is the mean over both assignments of the halves.
    """
    from sklearn.linear_model import LogisticRegression  # here, because it takes a second

    scores = np.concatenate([same_speaker(untouched), different_speakers(untouched)])
    is_same = np.repeat([1, 0], [len(same_speaker(untouched)), len(different_speakers(untouched))])
    mean, std = scores.mean(), max(scores.std(), 1e-12)
    model = LogisticRegression(class_weight="balanced").fit((scores[:, None] - mean) / std, is_same)

    def probabilities(trials: np.ndarray) -> np.ndarray:
        standard = (trials.reshape(-1, 1) - mean) / std
        return model.predict_proba(standard)[:, 1].reshape(trials.shape).mean(0)

    return probabilities


def cost(
    clips: Mapping[str, Clip],
    system: System,
    only: Sequence[str] = COSTS,
    n_jobs: int = 1,
) -> dict[str, float]:
    """What a system costs: words, melody, naturalness and time.

    Parameters
    ----------
    clips : mapping of str to Clip
        They are anonymized whole.
    system : function
        Takes a Clip and a random generator, and returns the anonymized waveform.
    only : names of metrics
        Metrics of `evaluate`, with the untouched clip as `source`.
    n_jobs : int
        Number of processes. With more than one, `system` must be picklable.

    Returns
    -------
    dict of str to float
        The means of `only`, and `rtf`: the median real-time factor, seconds of CPU over seconds of
        sound, with the analysis of the clip.

    Raises
    ------
    MissingInput
        If an evaluation package is not installed.
    """
    for clip in clips.values():  # cached here, once for all systems
        _ = clip.features, clip.words if "wer" in only else None
    jobs = [joblib.delayed(_cost)(name, clip, system, only) for name, clip in clips.items()]
    rows = pd.DataFrame(joblib.Parallel(n_jobs)(jobs))
    return rows.mean().to_dict() | {"rtf": float(rows.rtf.median())}


@one_thread()
def _cost(name: str, clip: Clip, system: System, only: Sequence[str]) -> dict[str, float]:
    fresh = Clip(clip.wav, clip.sr, clip.cfg.f0_method, clip.name)  # its analysis counts, too
    start = time.process_time()
    wav = system(fresh, random_generator(name, 2, 0))
    rtf = (time.process_time() - start) / (len(clip.wav) / clip.sr)
    scores = evaluate(wav, clip.sr, source=clip, only=only, f0_method=clip.cfg.f0_method)
    return scores | {"rtf": rtf}
