"""Anonymization with WORLD: pipeline (read this first), world (analysis, synthesis), dials
(transforms), statistics and acoustic_classes (of a speaker), pseudo_speaker (for privacy), perturb
(random speakers), f0_tracker, synthesis (WORLD's), recorded and psola (sound of the recording),
hybrid (of both).
"""

from .perturb import SpeakerPerturbation
from .pipeline import anonymize, render, transform, transform_f0
from .pseudo_speaker import PseudoSpeaker
from .statistics import active_frames, speaker_stats
from .world import (
    Features,
    analyze,
    cepstrum,
    envelope_from_cepstrum,
    find_f0,
    resynthesize,
    synthesize,
)

__all__ = [
    "Features",
    "PseudoSpeaker",
    "SpeakerPerturbation",
    "active_frames",
    "analyze",
    "anonymize",
    "cepstrum",
    "envelope_from_cepstrum",
    "find_f0",
    "render",
    "resynthesize",
    "speaker_stats",
    "synthesize",
    "transform",
    "transform_f0",
]
