"""The folder of a run: its checkpoints, history and settings."""

import csv
import json
import pickle
import zipfile
from dataclasses import asdict
from pathlib import Path

import torch

from ..config import ADDED, Config
from ..errors import ParameterError
from ..files import atomically

STAGES = ("generator", "critic", "gan")  # stages in the order of training


def load_checkpoint(path: Path) -> dict | None:
    """Load a checkpoint that `callbacks.Checkpoint` saved: tensors, numbers and words, never code.

    Returns
    -------
    checkpoint : dict or None
        None if there is no such file.

    Raises
    ------
    ParameterError
        If the file is damaged; its checksums are checked first.
    """
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged:
            raise zipfile.BadZipFile(f"checksum of {damaged}")
        return torch.load(path, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as e:
        raise ParameterError(
            f"{path} is damaged ({e}); remove it to train this stage from its beginning, or restore a copy of it"
        ) from e


def read_history(path) -> list[dict[str, str]]:
    """Read the rows of a history.csv; an empty list if there is no such file yet."""
    path = Path(path)
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def write_history(path: Path, rows: list[dict]) -> None:
    """Write rows as one table; their columns may differ."""
    columns = list(dict.fromkeys(name for row in rows for name in row))

    def write(part: Path) -> None:
        with part.open("w", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    atomically(path, write)


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The network itself, without the wrapper for several processes."""
    return getattr(model, "module", model)


def last_lsd_db(path: Path) -> float:
    """Validation distance at the end of a run's pretraining [dB]; infinity without pretraining."""
    rows = [row for row in read_history(path) if row["stage"] == "generator" and row.get("lsd_db")]
    return float(rows[-1]["lsd_db"]) if rows else float("inf")


def forget_epochs(path: Path, stage: str, start: int) -> None:
    """Drop the rows of a stage from epoch `start` on from a history.csv, before training them again."""
    rows = read_history(path)
    left = [r for r in rows if r["stage"] != stage or int(r["epoch"]) < start]
    if len(left) < len(rows):
        write_history(path, left)


def epochs_before(run_dir, stage: str) -> dict[str, int]:
    """Number of epochs, by stage, that the stages before `stage` were trained in a run."""
    earlier = STAGES[: STAGES.index(stage)] if stage in STAGES else ()
    checkpoints = {s: load_checkpoint(Path(run_dir) / f"{s}.checkpoint.pt") for s in earlier}
    return {s: checkpoint["epoch"] + 1 for s, checkpoint in checkpoints.items() if checkpoint}


def settings(cfg: Config) -> dict:
    """The config as plain numbers and words, to compare and to save in a checkpoint."""
    values = {name: value for name, value in asdict(cfg).items() if name not in ADDED}
    return json.loads(json.dumps(values))
