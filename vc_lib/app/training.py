"""The training that the page runs: `vc train` as a process of its own, one at a time."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock, Thread

from filelock import FileLock, Timeout

from ..errors import MissingInput, ParameterError, check_installed
from ..files import writing
from ..model.voice_folder import HISTORY, WEIGHTS, trained_until

MODELS = Path("models")  # where `vc train` saves voices
NAME = re.compile(r"\w[\w.-]{0,49}", re.ASCII)
BAR = re.compile(r"\|[█-]+\|.*\[(\d+)/(\d+)")  # a progress bar: items that are done, and all
NEEDED = "training", "train", "torch", "fastai"  # for `check_installed`
FINISHED = 0  # exit code
# of `vc train` after SIGINT, and of a process that was stopped before it began
STOPPED = (130, -signal.SIGINT, -signal.SIGTERM)
SIZE = 4_000_000_000  # of all recordings of a training [bytes]
PATIENCE_S = 20.0  # what a process may take to stop after SIGINT [s]


@dataclass(frozen=True)
class Progress:
    """What the page shows of a training.

    Attributes
    ----------
    name : str
        The voice; empty if nothing was trained yet.
    running : bool
    stage : str
        The last line that the command said, progress bars left out.
    done : tuple of (int, int) or None
        Items of this stage that are done, and all.
    result : str
        One sentence, once it has ended.
    has_voice : bool
        Whether it has ended, and left a voice.
    failed : bool
        Whether it has ended by an error.
    """

    name: str = ""
    running: bool = False
    stage: str = ""
    done: tuple[int, int] | None = None
    result: str = ""
    has_voice: bool = False
    failed: bool = False

    @property
    def history(self) -> Path:
        """The table of its losses, which may not exist yet."""
        return MODELS / self.name / HISTORY


class Training:
    """Trains one voice at a time.

    Parameters
    ----------
    folder : Path
        Temporary; recordings and what is computed from them lie in it until the training has ended.
    command : sequence of str
        What trains; "FOLDER NAME --cache FOLDER" and perhaps "--quick" are appended.
    """

    def __init__(
        self, folder: Path, command: Sequence[str] = (sys.executable, "-m", "vc_lib", "train")
    ):
        self.folder, self.command = folder, command
        self.progress = Progress()
        self._process: subprocess.Popen | None = None
        self._thread: Thread | None = None
        self._lock = Lock()
        self._stopping = False

    def missing(self) -> str:
        """What is not installed, in a sentence; empty if all is there."""
        try:
            check_installed(*NEEDED)
        except MissingInput as e:
            return str(e)
        return ""

    def start(self, files: Sequence, name: str, quick: bool, agreed: bool) -> None:
        """Start a training.

        Parameters
        ----------
        files : sequence of str or Path
            Recordings of one speaker.
        name : str
            Of the voice; there must be none of this name.
        quick : bool
            A third of the steps.
        agreed : bool
            Whether the speaker agrees.

        Raises
        ------
        MissingInput
            If torch or fastai is not installed.
        ParameterError
            If a training is running, the speaker does not agree, there is no recording or more than
            4 GB of them, or the name is taken or no word.
        """
        name = (name or "").strip()
        check_installed(*NEEDED)
        with self._lock:
            self._check(files, name, agreed)
            locked = _only_training()
            own = Path(tempfile.mkdtemp(prefix="training-", dir=self.folder))
            locked.callback(shutil.rmtree, own, ignore_errors=True)
            try:
                _gather(files, own / "recordings")
                self._process = self._run(own, name, quick)
            except BaseException:
                locked.close()
                raise
            self.progress, self._stopping = Progress(name, running=True, stage="starting"), False
            self._thread = Thread(target=self._follow, args=(locked,), daemon=True)
            self._thread.start()

    def cancel(self) -> None:
        """Stop the training after what it can keep: whole epochs."""
        with self._lock:
            if self.progress.running:
                self._stopping = True
                self.progress = replace(self.progress, stage="stopping", done=None)
                number = signal.SIGINT if os.name == "posix" else signal.SIGTERM
                self._process.send_signal(number)

    def close(self) -> None:
        """Stop the training and wait until it has ended."""
        self.cancel()
        if self._thread:
            self._thread.join(PATIENCE_S)
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._thread.join(PATIENCE_S)

    def _check(self, files: Sequence, name: str, agreed: bool) -> None:
        if self.progress.running:
            raise ParameterError(
                f"the voice {self.progress.name} is being trained, one at a time; wait until it is done"
            )
        if not agreed:
            raise ParameterError("a voice belongs to a person: train it only if the speaker agrees")
        if not files:
            raise ParameterError("choose recordings of one speaker first")
        size = sum(Path(file).stat().st_size for file in files)
        if size > SIZE:
            raise ParameterError(
                f"the recordings have {size / 1e9:.1f} GB, must have {SIZE / 1e9:g} GB or less; choose "
                "fewer, or convert them to FLAC"
            )
        if not NAME.fullmatch(name):
            raise ParameterError(
                f"the name {name!r} must be one word of letters, digits, dots and hyphens, such as anna"
            )
        if (MODELS / name).exists():
            raise ParameterError(f"{MODELS / name} exists already; choose another name")

    def _run(self, own: Path, name: str, quick: bool) -> subprocess.Popen:
        given = [str(own / "recordings"), name, "--cache", str(own / "cache")]
        return subprocess.Popen(
            [*self.command, *given, *(["--quick"] if quick else [])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # Ctrl+C in the terminal reaches the server alone, which then waits
        )

    def _follow(self, locked: ExitStack) -> None:
        """Read what the process says until it ends."""
        name, stage, done = self.progress.name, "starting", None
        with locked, self._process as process:
            for line in _lines(process.stderr):
                if found := BAR.search(line):
                    done = int(found[1]), int(found[2])
                elif "|" not in line:
                    stage, done = line, None
                with self._lock:
                    if not self._stopping:
                        self.progress = Progress(name, True, stage, done)
        code = process.returncode
        stopped = self._stopping or code in STOPPED  # a killed process of Windows ends with 1
        failed = not stopped and code != FINISHED
        has_voice = not failed and (MODELS / name / WEIGHTS).is_file()
        result = _result(name, code, stage, stopped)
        with self._lock:
            self.progress = Progress(name, result=result, has_voice=has_voice, failed=failed)


def _gather(files: Sequence, folder: Path) -> None:
    """Put files into a new folder, under names in their order; links where the disk allows."""
    folder.mkdir()
    for i, file in enumerate(map(Path, files)):
        there = folder / f"{i:04}_{file.name[-80:]}"
        try:
            os.link(file.resolve(), there)
        except OSError:  # on another disk, or on one without links
            shutil.copy(file, there)


def _only_training() -> ExitStack:
    """Lock the folder of voices against other servers; closing the stack ends the lock."""
    with writing(MODELS):
        MODELS.mkdir(parents=True, exist_ok=True)
        # it is released in another thread
        lock = FileLock(MODELS / ".training.lock", timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise ParameterError(
                "another page of this computer is training; wait until it is done"
            ) from None
    stack = ExitStack()
    stack.callback(lock.release)
    return stack


def _lines(stream):
    """Lines as they come; a carriage return ends one too, as bars are redrawn by it."""
    line = b""
    while char := stream.read(1):
        if char not in b"\r\n":
            line += char
            continue
        if text := line.decode("utf-8", "replace").strip(" █"):
            yield text
        line = b""
    if text := line.decode("utf-8", "replace").strip(" █"):
        yield text


def _result(name: str, code: int, said: str, stopped: bool) -> str:
    """One sentence on how the training ended, and on what is there now."""
    if code == FINISHED:
        return "trained. The voice is in the menu of Convert now; try it."
    if not stopped:
        return (
            said if said.startswith("error: ") else f"the training ended with code {code}: {said}"
        )
    run = MODELS / name
    if not run.exists():
        return "stopped before anything was written."
    trained = trained_until(run)
    if trained is None:
        return f"stopped before the first epoch was whole: {run} speaks by statistics alone."
    return f"stopped after epoch {trained[1]}: {run} holds this voice, which is in the menu of Convert."
