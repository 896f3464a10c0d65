"""The two exceptions that callers may want to catch."""


class ParameterError(ValueError):
    """A value breaks a rule; the message gives the value, the rule and the way out."""


class MissingInput(FileNotFoundError):
    """A file, folder or optional package is not there; the message says how to get it."""
