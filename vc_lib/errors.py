"""The exceptions that callers may want to catch."""


class ParameterError(ValueError):
    """A value breaks a rule; the message gives the value, the rule and the way out."""


class MissingInput(FileNotFoundError):
    """A file, folder or optional package is missing; the message says how to get it."""


class NotWritten(OSError):
    """A file could not be written; the old file is unchanged, and the message says what to do."""

    def __init__(self, message: str, number: int | None = None):
        super().__init__(message)  # one argument: fastai shows the first one only
        self.errno = number
