"""Fields of configs: number, choice and flag check a value when the config is made."""

from dataclasses import dataclass

import pytest

from vc_lib.errors import ParameterError
from vc_lib.fields import Checked, check, choice, flag, number


@dataclass(frozen=True)
class Tone(Checked):
    hz: float = number(440.0, 20, 20_000, "Hz")
    n_harmonics: int = number(1, 1, 16)
    decay_s: float | None = number(None, 0, 10, "s")
    shape: str = choice("sine", ("sine", "square"))
    window: str | None = choice(None, ("hann",))
    loop: bool = flag(False)

    def _check_together(self):
        check(self.hz * self.n_harmonics <= 20_000, "harmonics must be in 20..20000 Hz")


def test_values_in_range_are_kept():
    tone = Tone(hz=20, n_harmonics=16, decay_s=0.5, shape="square", window="hann", loop=True)
    assert (tone.hz, tone.n_harmonics, tone.decay_s) == (20, 16, 0.5)
    assert Tone().decay_s is None and Tone().window is None


@pytest.mark.parametrize(
    "values, message",
    [
        (dict(hz=19), "hz=19 must be a number in 20..20000 Hz"),
        (dict(hz=float("nan")), "hz=nan must be a number"),
        (dict(hz=True), "hz=True must be a number"),
        (dict(hz=None), "hz=None must be a number"),
        (dict(n_harmonics=2.0), "n_harmonics=2.0 must be an int in 1..16"),
        (dict(decay_s=11), "decay_s=11 must be a number in 0..10 s"),
        (dict(shape="saw"), "shape='saw' must be one of sine, square"),
        (dict(shape=None), "shape=None must be one of"),
        (dict(window=["hann"]), "must be one of hann"),
        (dict(loop=1), "loop=1 must be True or False"),
        (dict(hz=15_000, n_harmonics=2), "harmonics must be"),
    ],
    ids=str,
)
def test_rejects_values_that_break_a_rule(values, message):
    with pytest.raises(ParameterError, match=message):
        Tone(**values)
