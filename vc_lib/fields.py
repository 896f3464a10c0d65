"""Fields of configs: each has its default, range and unit in one place, and is checked."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from .errors import ParameterError


def number(
    default: float | None, low: float, high: float, unit: str = "", whole: bool | None = None
) -> Any:
    """Dataclass field for a number in `low..high`.

    Parameters
    ----------
    default : float or None
        Default value; with None the field may be None.
    low, high : float
        Range, ends included.
    unit : str
        Unit for error messages.
    whole : bool, optional
        True for integers only; by default if `default` is an int.

    Examples
    --------
    >>> @dataclasses.dataclass(frozen=True)
    ... class Tone(Checked):
    ...     hz: float = number(440.0, 20, 20_000, "Hz")
    >>> Tone(hz=5)
    Traceback (most recent call last):
    vc_lib.errors.ParameterError: hz=5 must be a number in 20..20000 Hz
    """
    if whole is None:
        whole = isinstance(default, int)
    rule = dict(low=low, high=high, unit=unit, whole=whole, optional=default is None)
    return dataclasses.field(default=default, metadata=rule)


def choice(default: str | None, choices: Sequence[str]) -> Any:
    """Dataclass field for one of `choices`; with `default=None` it may also be None."""
    return dataclasses.field(
        default=default, metadata=dict(choices=choices, optional=default is None)
    )


def flag(default: bool) -> Any:
    """Dataclass field for True or False."""
    return dataclasses.field(default=default, metadata=dict(flag=True))


class Checked:
    """Base of configs: checks each field by its rule, then calls `_check_together` of each class."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            check_field(field, getattr(self, field.name))
        for part in type(self).__mro__:
            if "_check_together" in vars(part):
                part._check_together(self)


def check_field(field: dataclasses.Field, value) -> None:
    """Raise ParameterError if `value` breaks the rule of a `number`, `choice` or `flag` field."""
    rule = field.metadata
    if value is None and rule.get("optional"):
        return
    if "low" in rule:
        check_number(field.name, value, rule["low"], rule["high"], rule["unit"], rule["whole"])
    elif "choices" in rule:
        ok = isinstance(value, str) and value in rule["choices"]
        check(ok, f"{field.name}={value!r} must be one of {', '.join(rule['choices'])}")
    elif "flag" in rule:
        check(isinstance(value, bool), f"{field.name}={value!r} must be True or False")


def check_number(
    name: str, value, low: float, high: float, unit: str = "", whole: bool = False
) -> None:
    """Raise ParameterError unless `value` is a number in `low..high`; NaN is rejected."""
    kinds = int if whole else int | float
    ok = isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high
    kind = "an int" if whole else "a number"
    check(ok, f"{name}={value!r} must be {kind} in {low}..{high}{' ' + unit if unit else ''}")


def check(ok: bool, message: str) -> None:
    """Raise ParameterError with `message` unless `ok`."""
    if not ok:
        raise ParameterError(message)
