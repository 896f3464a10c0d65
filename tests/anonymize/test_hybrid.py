"""Recording, grains and WORLD's synthesis in one waveform."""

from dataclasses import replace

import numpy as np
import pytest

from vc_lib.anonymize import analyze, resynthesize
from vc_lib.anonymize.hybrid import NOISE_FRAMES, hybrid
from vc_lib.anonymize.psola import find_grains
from vc_lib.anonymize.recorded import beside, weight
from vc_lib.anonymize.synthesis import synthesis
from vc_lib.anonymize.world import spectral_envelope
from vc_lib.evaluate.signal_metrics import si_snr_db

SR, HOP = 16_000, 80


@pytest.fixture(scope="module")
def higher(features):
    """The features at 1.2 times the pitch."""
    return replace(features, f0=1.2 * features.f0)


@pytest.fixture(scope="module")
def grains(speech, features, higher):
    return find_grains(speech, features.f0, higher.f0, SR, HOP)


@pytest.fixture(scope="module")
def inside(speech, features):
    """Masks of the samples that are surely voiced, and surely not."""
    near = beside(features.voiced, 8), beside(~features.voiced, 8)
    unvoiced, voiced = (weight(mask, len(speech), HOP) == 0 for mask in near)
    assert voiced.sum() > 0.5 * SR and unvoiced.sum() > 200
    return voiced, unvoiced


@pytest.mark.parametrize("sound", ["grains", "pulses"])
def test_what_is_not_voiced_stays_the_recording(speech, features, higher, grains, inside, sound):
    out = hybrid(speech, features, higher, grains if sound == "grains" else None, recorded=True)
    voiced, unvoiced = inside
    assert out.shape == speech.shape and out.dtype == np.float32
    assert si_snr_db(out[unvoiced], speech[unvoiced], SR) > 60
    assert si_snr_db(out[voiced], speech[voiced], SR) < 5
    again = analyze(out, SR)
    both = again.voiced & features.voiced
    assert np.median(again.f0[both] / features.f0[both]) == pytest.approx(1.2, rel=0.01)


def test_worlds_noise_where_the_recording_is_not_kept(speech, features, higher, grains, inside):
    out = hybrid(speech, features, higher, grains, recorded=False, refine=False)
    kept = hybrid(speech, features, higher, grains, recorded=True, refine=False)
    world = resynthesize(higher, len(speech))
    voiced, unvoiced = inside
    np.testing.assert_allclose(out[voiced], kept[voiced], atol=1e-6)
    np.testing.assert_allclose(out[unvoiced], world[unvoiced], atol=1e-6)


def test_without_the_recording_it_is_worlds_synthesis(speech, features, higher):
    out = hybrid(speech, features, higher, None, recorded=False)
    np.testing.assert_array_equal(out, resynthesize(higher, len(speech)))


def test_voiced_sound_needs_the_noise_of_near_frames_only(speech, higher, inside):
    f = higher
    near = beside(f.voiced, NOISE_FRAMES)
    some = synthesis(f.f0, f.sp, f.ap, f.sr, f.frame_period_ms, noisy=near)[: len(speech)]
    share = weight(f.voiced, len(speech), HOP)
    whole = resynthesize(higher, len(speech))
    off = share * (some - whole)
    assert np.abs(off).max() < 1e-3 * np.abs(whole).max()


def test_the_second_filter_comes_nearer_to_the_envelope(speech, features, higher, grains):
    voiced = ~beside(~higher.voiced, 3)

    def off_db(refine):
        out = hybrid(speech, features, higher, grains, recorded=True, refine=refine)
        return np.abs(10 * np.log10(spectral_envelope(out, higher, voiced) / higher.sp[voiced]))

    assert off_db(True).mean() < 0.8 * off_db(False).mean()


@pytest.mark.parametrize("frame", [50, 51])
def test_a_single_voiced_frame(speech, features, frame):
    """The second filter sees every second frame."""
    f0 = np.zeros_like(features.f0)
    f0[frame] = 100.0
    alone = replace(features, f0=f0)
    grains = find_grains(speech, f0, f0, SR, HOP)
    assert grains
    assert si_snr_db(hybrid(speech, alone, alone, grains, recorded=True), speech, SR) > 20
