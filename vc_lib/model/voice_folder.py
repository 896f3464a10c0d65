"""A voice's folder: weights, settings and a card, saved whole, checked before use, given away with consent only.

The weights' file says which settings it belongs to and what its numbers add up to. Nothing that is read here can run
code: it is safetensors and JSON, and is looked at before memory is taken for it.
"""

import json
import os
import shutil
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .. import __version__
from ..audio.chunks import CHUNK_S, CONTEXT_S
from ..config import Config, read_values
from ..errors import MissingInput, ParameterError
from ..files import atomically, sha256, within, writing
from .card import CARD, card, card_gaps, read_card
from .networks import WEIGHTS, Generator

CONFIG, HISTORY = "config.json", "history.csv"
MAX_WEIGHTS_BYTES = 1_000_000_000  # a resnet18 has 125 MB
MAX_WEIGHT = 1e4  # no trained weight is near that
MAX_IMAGE_BYTES = 16e9  # that networks may take for a piece of speech
WIDE = 64  # channels from which on a network is counted before it is built
METADATA = "voice"  # the one key of the file's metadata: safetensors writes several in any order
DTYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}
LOOK = (
    "name a voice's folder, such as models/ljspeech in the cloned repository, or train one with "
    "notebook 02-1 or 02-2"
)
COPY = "copy both again"


def save_voice(
    weights: dict[str, torch.Tensor], cfg: Config, run_dir, trained: tuple[str, int] | None = None
) -> None:
    """Write what `convert.load_voice` reads: weights, config.json and, if there is none, card.md.

    Parameters
    ----------
    weights : dict of str to torch.Tensor
        A generator's state, finite.
    cfg : Config
        With its `target` set.
    run_dir : str or Path
        Its folder.
    trained : (str, int), optional
        The stage and epoch that they are from.

    Raises
    ------
    ParameterError
        If a weight is not finite; the voice that was there stays.
    NotWritten
        If the disk is full, or the folder may not be written to.
    """
    run_dir = Path(run_dir)
    tensors = {k: v.detach().cpu().contiguous() for k, v in weights.items()}
    lost = [k for k, v in tensors.items() if not torch.isfinite(v).all()]
    if lost:
        raise ParameterError(
            f"{lost[0]} holds NaN or infinity and is not saved in {run_dir}; go on from the last checkpoint"
        )
    metadata = dict(
        vc_lib=__version__, config_sha256=_digest(cfg.values()), sha256=_checksum(tensors)
    )
    if trained:
        metadata |= dict(stage=trained[0], epoch=trained[1])
    data = save(tensors, {METADATA: json.dumps(metadata, sort_keys=True)})
    if not (run_dir / CARD).exists():
        text = card(cfg, run_dir.name)
        atomically(run_dir / CARD, lambda part: part.write_text(text, encoding="utf-8"))
    atomically(run_dir / WEIGHTS, lambda part: part.write_bytes(data))
    cfg.save(run_dir / CONFIG)


def read_voice(folder) -> tuple[dict[str, torch.Tensor], Config, Generator]:
    """Weights, settings and the empty network that they fit, checked: sizes, names, shapes, ranges and checksums.

    Parameters
    ----------
    folder : str or Path
        As `save_voice` left it. A voice of version 0.1 has no checksums, and goes without.

    Raises
    ------
    MissingInput
        If the folder or one of the two files is not there.
    ParameterError
        If they are damaged, do not belong together, are too large, or are links out of the folder.
    """
    folder = Path(folder)
    path = within(folder, WEIGHTS)
    if not path.is_file():
        raise MissingInput(f"{path} does not exist (looked for in {Path.cwd()}); {LOOK}")
    config_path = within(folder, CONFIG)
    values = read_values(config_path)
    config = Config.from_values(values, config_path)
    if config.target is None:
        raise ParameterError(
            f"{config_path} has no target; it is not the config of a trained voice"
        )
    if config.target.sr != config.sr:
        raise ParameterError(
            f"{config_path} has a target measured at {config.target.sr} Hz for a voice of {config.sr} Hz; {COPY}"
        )
    _check_memory(config, config_path)

    def misfit(why) -> ParameterError:
        return ParameterError(f"{path} does not fit {config_path} or is damaged ({why}); {COPY}")

    if path.stat().st_size > MAX_WEIGHTS_BYTES:
        raise misfit(
            f"it has {path.stat().st_size / 1e6:.0f} MB, a voice under {MAX_WEIGHTS_BYTES / 1e6:.0f}"
        )
    try:
        with safe_open(path, "pt") as file:
            layout = {name: _layout(file, name) for name in file.keys()}
            if config.width > WIDE:  # a small file must not make a large network
                with torch.device("meta"):
                    _check_layout(layout, Generator(config), misfit)
            generator = Generator(config)
            _check_layout(layout, generator, misfit)
            weights = {name: file.get_tensor(name).clone() for name in layout}
            metadata = _metadata(file)
    except SafetensorError as e:
        raise misfit(e) from e
    if "sha256" in metadata and metadata["sha256"] != _checksum(weights):
        raise misfit("its checksum is another")
    if "config_sha256" in metadata and metadata["config_sha256"] != _digest(values):
        raise misfit(
            f"{CONFIG} was changed since they were saved together; to try another setting change voice.config, to "
            "keep it call save_voice"
        )
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise misfit(f"{name} holds NaN or infinity")
        if value.is_floating_point() and value.numel() and value.abs().max() > MAX_WEIGHT:
            raise misfit(
                f"{name} reaches {value.abs().max():.3g}; weights are under {MAX_WEIGHT:g}"
            )
        if name.endswith(("running_var", "num_batches_tracked", "counted")) and (value < 0).any():
            raise misfit(f"{name} is negative")
    return weights, config, generator


def trained_until(folder) -> tuple[str, int] | None:
    """Stage and epoch that the voice in a folder is from; None if it does not say, or is none."""
    try:
        with safe_open(within(folder, WEIGHTS), "pt") as file:
            metadata = _metadata(file)
        if metadata["config_sha256"] != _digest(read_values(within(folder, CONFIG))):
            return None
        return metadata["stage"], int(metadata["epoch"])
    except (KeyError, OSError, ValueError, SafetensorError):
        return None


def _digest(values: dict) -> str:
    """SHA-256 of a config's values, whatever the layout of their file."""
    return sha256(json.dumps(values, sort_keys=True).encode())


def _checksum(weights: dict[str, torch.Tensor]) -> str:
    """SHA-256 of names, types, shapes and values of tensors on the CPU, in the order of their names."""
    names = sorted(weights)
    layout = [[name, str(weights[name].dtype), list(weights[name].shape)] for name in names]
    values = (memoryview(weights[name].numpy()).cast("B") for name in names)
    return sha256(json.dumps(layout).encode(), *values)


def _metadata(file: safe_open) -> dict:
    """What `save_voice` wrote beside the weights; empty if another program made the file."""
    try:
        metadata = json.loads((file.metadata() or {}).get(METADATA, "{}"))
    except (ValueError, RecursionError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _layout(file: safe_open, name: str) -> tuple[str, list[int]]:
    """Type and shape of a tensor in a safetensors file, read from its header."""
    tensor = file.get_slice(name)
    return tensor.get_dtype(), tensor.get_shape()


def _check_layout(layout: dict[str, tuple], generator: Generator, misfit) -> None:
    """Check that a file has the tensors that the generator needs, all of them and nothing else."""
    needed = {k: (DTYPES[v.dtype], list(v.shape)) for k, v in generator.state_dict().items()}
    if layout != needed:
        name = min(k for k in layout.keys() | needed if layout.get(k) != needed.get(k))
        raise misfit(f"{name[:80]!r} is {str(layout.get(name))[:80]}, must be {needed.get(name)}")


def _check_memory(cfg: Config, path: Path) -> None:
    """That images of a piece of speech, and what a network makes of them, have room."""
    n_bins = cfg.n_freqs * (CHUNK_S + 2 * CONTEXT_S) * cfg.sr / cfg.hop_length
    channels = 128 if cfg.encoder == "resnet18" else max(2, cfg.width / cfg.fold)
    needed = 4 * 8 * channels * n_bins
    if needed > MAX_IMAGE_BYTES:
        raise ParameterError(
            f"{path} asks for n_fft={cfg.n_fft}, hop_length={cfg.hop_length}, width={cfg.width} at {cfg.sr} Hz, with "
            f"which {CHUNK_S:g} s of speech take about {needed / 1e9:.0f} GB; no voice needs over "
            f"{MAX_IMAGE_BYTES / 1e9:.0f}: train it with a longer hop"
        )


def export_voice(run_dir, destination) -> Path:
    """Make a folder of a voice that can be given to others: weights, settings, card, history, and nothing else.

    Parameters
    ----------
    run_dir : str or Path
        Where it was trained.
    destination : str or Path
        Must not be there yet; is there when it is whole.

    Returns
    -------
    destination : Path

    Raises
    ------
    MissingInput, ParameterError
        If the voice is not whole, its card does not say who agreed and that converted speech has to be disclosed, or
        something has the name of the destination.
    NotWritten
        If the disk is full, or the folder may not be written to.
    """
    run_dir, destination = Path(run_dir), Path(destination)
    read_voice(run_dir)
    gaps = card_gaps(read_card(run_dir))
    if gaps:
        raise ParameterError(
            f"{run_dir / CARD} does not say {', nor '.join(gaps)}; write it there, or call fill_card: a voice is a "
            "person's, and is not shared without"
        )
    if destination.exists():
        raise ParameterError(f"{destination} is there already; remove it, or choose another name")
    names = [WEIGHTS, CONFIG, CARD, *([HISTORY] if (run_dir / HISTORY).is_file() else [])]
    part = destination.absolute().with_name(f".{destination.name}.{os.getpid()}.part")
    try:
        for name in names:
            atomically(part / name, partial(shutil.copyfile, within(run_dir, name)))
        with writing(destination):
            part.rename(destination)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return destination
