"""Clips: each waveform is measured once."""

import pytest

from vc_lib.anonymize import analyze
from vc_lib.errors import ParameterError
from vc_lib.evaluate import Clip, clips, evaluate

SR = 16_000
pytestmark = pytest.mark.usefixtures("no_judges")


def test_a_clip_is_measured_once(speech, monkeypatch):
    calls = []

    def counted(*args):
        calls.append(args)
        return analyze(*args)

    monkeypatch.setattr(clips, "analyze", counted)
    source = Clip(speech, SR)
    first = evaluate(speech, SR, source=source, target=[source])
    assert evaluate(speech, SR, source=source, target=[source]) == first
    assert len(calls) == 3, "the source once, what is judged each time"
    with pytest.raises(ParameterError, match="source has sr=16000 Hz, must have sr=8000"):
        evaluate(speech, 8_000, source=source)


def test_rejects_a_clip_of_another_f0_method(speech):
    with pytest.raises(ParameterError, match="source is a Clip with f0_method='dio'"):
        evaluate(speech, SR, source=Clip(speech, SR, "dio"))
