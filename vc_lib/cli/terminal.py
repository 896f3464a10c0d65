"""Messages and progress on the terminal; standard output is for the result alone."""

import sys
import time

SILENT_S = 2.0  # time after which progress is shown [s]


def say(text: str) -> None:
    """A line of progress, or a warning."""
    print(text, file=sys.stderr, flush=True)


class Progress:
    """Show on one line of the terminal how many seconds of speech are done, after two seconds."""

    def __init__(self, done: str):
        self.done, self.start = done, time.monotonic()

    def __call__(self, seconds: float) -> None:
        """Show it, and leave the cursor at the start of the line."""
        if sys.stderr.isatty() and time.monotonic() - self.start > SILENT_S:
            print(f"{self.done} {seconds:.0f} s ", end="\r", file=sys.stderr, flush=True)


def show_state(state) -> None:
    """Show a state on one line of the terminal."""
    if sys.stderr.isatty():
        print(f"{state!s:<79}", end="\r", file=sys.stderr, flush=True)
