"""The exceptions that callers may want to catch."""


class ParameterError(ValueError):
    """A value breaks a rule; the message gives the value, the rule and the way out."""


class MissingInput(FileNotFoundError):
    """A file, folder or optional package is not there; the message says how to get it."""


class NotWritten(OSError):
    """A disk is full or a folder closed; what was there before is as it was, and the message says what to do."""

    def __init__(self, message: str, number: int | None = None):
        super().__init__(message)  # alone and first: fastai shows no other
        self.errno = number
