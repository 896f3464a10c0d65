"""Files of a run's folder: checkpoints, history, settings."""

import csv
import json
import pickle
import zipfile
from dataclasses import asdict
from pathlib import Path

import torch

from ..config import Config
from ..errors import ParameterError
from ..files import atomically

STAGES = ("generator", "critic", "gan")  # in the order they are trained


# Files of a run


def load_checkpoint(path: Path) -> dict | None:
    """What `Checkpoint` kept, or None; holds tensors and numbers only, nothing that can run.

    Raises
    ------
    ParameterError
        If it is damaged: its checksums are looked at first.
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
            f"{path} is damaged ({e}); remove it to train this stage from its beginning, or bring a copy of it back"
        ) from e


def read_history(path) -> list[dict[str, str]]:
    """Rows of a history.csv; none if there is no such file yet."""
    path = Path(path)
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def write_history(path: Path, rows: list[dict]) -> None:
    """Write rows, whose columns may differ, as one table."""
    columns = list(dict.fromkeys(name for row in rows for name in row))

    def write(part: Path) -> None:
        with part.open("w", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    atomically(path, write)


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The network itself, not what shares it between processes."""
    return getattr(model, "module", model)


def last_lsd_db(path: Path) -> float:
    """Where the pretraining of a run has got to, by its history [dB]; infinity if there was none."""
    rows = [row for row in read_history(path) if row["stage"] == "generator" and row.get("lsd_db")]
    return float(rows[-1]["lsd_db"]) if rows else float("inf")


def forget_epochs(path: Path, stage: str, start: int) -> None:
    """Drop the rows of a stage from epoch `start` on: they are of an earlier training, and are trained anew."""
    rows = read_history(path)
    left = [r for r in rows if r["stage"] != stage or int(r["epoch"]) < start]
    if len(left) < len(rows):
        write_history(path, left)


def epochs_before(run_dir, stage: str) -> dict[str, int]:
    """How many epochs the stages before `stage` were trained in a run."""
    earlier = STAGES[: STAGES.index(stage)] if stage in STAGES else ()
    kept = {name: load_checkpoint(Path(run_dir) / f"{name}.checkpoint.pt") for name in earlier}
    return {name: state["epoch"] + 1 for name, state in kept.items() if state}


def settings(cfg: Config) -> dict:
    """The config as plain numbers and words, to compare and to keep in a checkpoint."""
    return json.loads(json.dumps(asdict(cfg)))
