"""Speech and its features, shared by the tests of evaluation; judges that are left out."""

import pytest

from vc_lib.anonymize import analyze
from vc_lib.evaluate import judges
from vc_lib.evaluate.baselines import TargetFrames
from vc_lib.evaluate.metrics import METER

SR = 16_000


@pytest.fixture
def no_judges(monkeypatch):
    """They take seconds a clip, and have tests of their own."""
    for packages in ("WORDS", "SPEAKER", "NATURALNESS", "NOISE"):
        missing = set(getattr(judges, packages))
        found = judges.installed
        monkeypatch.setattr(
            judges,
            "installed",
            lambda names, a=missing, f=found: not a & set(names) and f(names),
        )


@pytest.fixture(scope="session")
def speech(voice):
    return voice(seconds=1.0)


@pytest.fixture(scope="session")
def features(speech):
    return analyze(speech, SR, METER)


@pytest.fixture(scope="session")
def source(voice):
    return analyze(voice(2.0, f0=110.0), SR)


@pytest.fixture(scope="session")
def recordings(voice):
    return [analyze(voice(2.0, f0=210.0, seed=seed), SR) for seed in range(1, 4)]


@pytest.fixture(scope="session")
def target(recordings):
    return TargetFrames.of(recordings)
