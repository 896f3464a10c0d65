"""The exceptions that callers may want to catch, and the check for optional packages."""

from importlib.util import find_spec

CPU_BUILD = "; without a GPU, install the CPU build of torch first (docs/troubleshooting.md)"


class ParameterError(ValueError):
    """A value breaks a rule; the message gives the value, the rule and the way out."""


class MissingInput(FileNotFoundError):
    """A file, folder or optional package is missing; the message says how to get it."""


class NotWritten(OSError):
    """A file could not be written; the old file is unchanged, and the message says what to do."""

    def __init__(self, message: str, number: int | None = None):
        super().__init__(message)  # one argument: fastai shows the first one only
        self.errno = number


def check_installed(what: str, extra: str, *packages: str) -> None:
    """Check that optional packages are installed.

    Parameters
    ----------
    what : str
        What needs them, the subject of the message.
    extra : str
        The extra of pyproject.toml that brings them.
    *packages : str
        Their names as modules.

    Raises
    ------
    MissingInput
        If one is missing.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise MissingInput(
            f"{what} needs {' and '.join(missing)}, not installed here; pip install 'vc-lib[{extra}]', "
            f"or in the clone: pip install -e '.[{extra}]'{CPU_BUILD if 'torch' in packages else ''}"
        )
