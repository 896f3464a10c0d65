"""The folder of a voice: save it, read it with checks, and export it for others.

It holds weights (generator.safetensors), settings (config.json), a card (card.md) and the training
history (history.csv). The weights' file has checksums of the weights and of the settings.
Safetensors and JSON cannot run code. Sizes are checked before anything is loaded.
"""

import json
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .. import __version__
from ..audio.chunks import CHUNK_S, CONTEXT_S
from ..config import Config, read_values
from ..errors import MissingInput, ParameterError, check_installed
from ..files import atomically, sha256, within, writing
from .card import CARD, card, card_gaps, read_card
from .numpy_generator import layout

WEIGHTS, CONFIG, HISTORY = "generator.safetensors", "config.json", "history.csv"
MAX_WEIGHTS_BYTES = 1_000_000_000  # largest file that is read; a resnet18 has 125 MB [bytes]
MAX_WEIGHT = 1e4  # largest weight that is accepted; trained ones are far below
MAX_IMAGE_BYTES = 16e9  # largest memory that a network may need for one chunk [bytes]
METADATA = "voice"  # key of our metadata; one only, as safetensors writes several in random order
COUNTERS = "num_batches_tracked"  # end of the names of tensors that hold int64; others hold float32
WHICH_FOLDER = (
    "name a voice's folder, such as models/ljspeech in the cloned repository, or train one with "
    "notebook 02-1 or 02-2"
)
COPY_AGAIN = "copy both again"
PACKAGE = Path(__file__).parents[1]
# folders in which a voice is found by name; the last is the clone's, with `pip install -e`
VOICES = ("models", PACKAGE / "voices", PACKAGE.parent / "models")
BASE = "base"  # name of the base, from which voices begin; it is no voice


def save_voice(weights: dict, cfg: Config, run_dir, trained: tuple[str, int] | None = None) -> None:
    """Write weights, config.json and, if there is no card yet, card.md: what `load_voice` reads.

    The same weights and settings give the same bytes.

    Parameters
    ----------
    weights : dict of str to torch.Tensor or np.ndarray
        The state of a generator, finite.
    cfg : Config
        With its `target` set.
    run_dir : str or Path
        The voice's folder.
    trained : (str, int), optional
        Stage and epoch of the weights.

    Raises
    ------
    ParameterError
        If a weight is not finite; the old voice stays.
    NotWritten
        If the disk is full, or the folder is read-only.
    """
    run_dir = Path(run_dir)
    tensors = {name: _array(value) for name, value in weights.items()}
    not_finite = [k for k, v in tensors.items() if not np.isfinite(v).all()]
    if not_finite:
        raise ParameterError(
            f"{not_finite[0]} holds NaN or infinity and is not saved in {run_dir}; resume from the last checkpoint"
        )
    metadata: dict[str, str | int] = dict(
        vc_lib=__version__, config_sha256=_digest(cfg.values()), sha256=_checksum(tensors)
    )
    if trained:
        metadata |= {"stage": trained[0], "epoch": trained[1]}
    data = save(tensors, {METADATA: json.dumps(metadata, sort_keys=True)})
    if not (run_dir / CARD).exists():
        text = card(cfg, run_dir.name)
        atomically(run_dir / CARD, lambda part: part.write_text(text, encoding="utf-8"))
    atomically(run_dir / WEIGHTS, lambda part: part.write_bytes(data))
    cfg.save(run_dir / CONFIG)


def _array(value) -> np.ndarray:
    """A torch tensor on any device, or an array, as a contiguous array."""
    value = value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
    return np.ascontiguousarray(value).reshape(value.shape)  # which would make () to (1,)


def read_voice(folder) -> tuple[dict[str, np.ndarray], Config]:
    """Read a voice and check it: sizes, names, shapes, types, checksums and ranges.

    Parameters
    ----------
    folder : str or Path
        Written by `save_voice`. Weights that another program wrote have no checksums to check.

    Returns
    -------
    weights : dict of str to np.ndarray
        The state of the generator.
    config : Config

    Raises
    ------
    MissingInput
        If the folder, the weights or config.json are missing. Or if the network is not the compact
        one, and torch is not installed.
    ParameterError
        If a file is damaged, too large, or a link out of the folder, or if weights and settings do
        not belong together.
    """
    folder = Path(folder)
    path = within(folder, WEIGHTS)
    if not path.is_file():
        raise MissingInput(f"{path} does not exist (looked for in {Path.cwd()}); {WHICH_FOLDER}")
    config_path = within(folder, CONFIG)
    values = read_values(config_path)
    config = Config.from_values(values, config_path)
    if config.target is None:
        raise ParameterError(
            f"{config_path} has no target; it is not the config of a trained voice"
        )
    if config.target.sr != config.sr:
        raise ParameterError(
            f"{config_path} has a target measured at {config.target.sr} Hz for a voice of {config.sr} Hz; {COPY_AGAIN}"
        )
    _check_memory(config, config_path)

    def misfit(why) -> ParameterError:
        return ParameterError(
            f"{path} does not fit {config_path} or is damaged ({why}); {COPY_AGAIN}"
        )

    if path.stat().st_size > MAX_WEIGHTS_BYTES:
        raise misfit(
            f"it has {path.stat().st_size / 1e6:.0f} MB, must have under {MAX_WEIGHTS_BYTES / 1e6:.0f}"
        )
    try:
        with safe_open(path, "np") as file:
            _check_layout({name: _layout(file, name) for name in file.keys()}, config, misfit)
            weights = {name: file.get_tensor(name) for name in file.keys()}
            metadata = _metadata(file)
    except SafetensorError as e:
        raise misfit(e) from e
    if "sha256" in metadata and metadata["sha256"] != _checksum(weights):
        raise misfit("its checksum is wrong")
    if "config_sha256" in metadata and metadata["config_sha256"] != _digest(values):
        raise misfit(
            f"{CONFIG} was changed after they were saved together; to try a setting change voice.config, to "
            "keep it call save_voice"
        )
    for name, value in weights.items():
        if not np.isfinite(value).all():
            raise misfit(f"{name} holds NaN or infinity")
        if value.dtype == np.float32 and value.size and abs(value).max() > MAX_WEIGHT:
            raise misfit(f"{name} reaches {abs(value).max():.3g}, must be under {MAX_WEIGHT:g}")
        if name.endswith(("running_var", COUNTERS, "counted")) and (value < 0).any():
            raise misfit(f"{name} is negative")
    return weights, config


def find_voice(folder) -> Path:
    """The folder of a voice, given the folder or the voice's name.

    Raises
    ------
    MissingInput
        If no voice has this name.
    """
    folder = Path(folder)
    if folder.exists() or len(folder.parts) != 1:
        return folder
    for candidate in (Path(parent) / folder for parent in VOICES):
        if candidate.is_dir():
            return candidate
    known = {f.parent.name for parent in VOICES for f in Path(parent).glob("*/config.json")}
    known = sorted(known - {BASE})
    raise MissingInput(
        f"{folder} is neither a folder nor the name of a voice "
        f"({', '.join(known) or 'there is none'}); give a voice's folder, such as models/<run>"
    )


def trained_until(folder) -> tuple[str, int] | None:
    """Stage and epoch of the voice in a folder; None if they are unknown, or there is no whole voice."""
    try:
        with safe_open(within(folder, WEIGHTS), "np") as file:
            metadata = _metadata(file)
        if metadata["config_sha256"] != _digest(read_values(within(folder, CONFIG))):
            return None
        return metadata["stage"], int(metadata["epoch"])
    except (KeyError, OSError, ValueError, SafetensorError):
        return None


def _digest(values: dict) -> str:
    """SHA-256 of the values of a config, independent of the layout of their file."""
    return sha256(json.dumps(values, sort_keys=True).encode())


def _checksum(weights: dict[str, np.ndarray]) -> str:
    """SHA-256 of names, types as torch calls them, shapes and values."""
    names = sorted(weights)
    kinds = [[name, f"torch.{weights[name].dtype}", list(weights[name].shape)] for name in names]
    values = (weights[name].tobytes() for name in names)
    return sha256(json.dumps(kinds).encode(), *values)


def _metadata(file: safe_open) -> dict:
    """Metadata that `save_voice` wrote; empty if another program wrote the file."""
    try:
        metadata = json.loads((file.metadata() or {}).get(METADATA, "{}"))
    except (ValueError, RecursionError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _layout(file: safe_open, name: str) -> tuple[str, list[int]]:
    """Type and shape of a tensor, read from the header of the file."""
    tensor = file.get_slice(name)
    return tensor.get_dtype(), tensor.get_shape()


def _check_layout(found: dict[str, tuple], cfg: Config, misfit) -> None:
    """Check that a file holds exactly the tensors that the generator needs."""
    shapes = layout(cfg) if cfg.encoder == "compact" else _layout_of_torch(cfg)
    kind = {name: "I64" if name.endswith(COUNTERS) else "F32" for name in shapes}
    needed = {name: (kind[name], shape) for name, shape in shapes.items()}
    if found != needed:
        name = min(k for k in found.keys() | needed if found.get(k) != needed.get(k))
        raise misfit(f"{name[:80]!r} is {str(found.get(name))[:80]}, must be {needed.get(name)}")


def _layout_of_torch(cfg: Config) -> dict[str, list[int]]:
    """Names and shapes of the weights of a network that runs by torch only."""
    check_installed(f"a voice with encoder={cfg.encoder!r}", "train", "torch", "fastai")
    import torch

    from .networks import Generator

    with torch.device("meta"):  # a small file must not make a large network
        return {name: list(value.shape) for name, value in Generator(cfg).state_dict().items()}


def _check_memory(cfg: Config, path: Path) -> None:
    """Check that images of one chunk of speech, and the network's activations, fit into memory."""
    n_bins = cfg.n_freqs * (CHUNK_S + 2 * CONTEXT_S) * cfg.sr / cfg.hop_length
    channels = 128 if cfg.encoder == "resnet18" else max(2, cfg.width / cfg.fold)
    needed = 4 * 8 * channels * n_bins
    if cfg.encoder == "compact":  # rows are padded; a convolution holds its input three times
        step = cfg.fold * 2 ** (cfg.depth - 1)
        padded = -(-(cfg.n_freqs - 1) // step) * step / cfg.n_freqs
        needed = 100 * max(0.5, cfg.width / cfg.fold) * padded * n_bins
    if needed > MAX_IMAGE_BYTES:
        raise ParameterError(
            f"{path} has n_fft={cfg.n_fft}, hop_length={cfg.hop_length}, width={cfg.width} at {cfg.sr} Hz: "
            f"{CHUNK_S:g} s of speech take about {needed / 1e9:.0f} GB, over the limit of "
            f"{MAX_IMAGE_BYTES / 1e9:.0f} GB; train it with a longer hop"
        )


def export_voice(run_dir, destination) -> Path:
    """Copy a voice into a folder that can be shared: weights, settings, card and history only.

    Parameters
    ----------
    run_dir : str or Path
        The folder that the voice was trained in.
    destination : str or Path
        The new folder. It must not exist yet, and appears when it is complete.

    Returns
    -------
    destination : Path

    Raises
    ------
    MissingInput, ParameterError
        If `read_voice` refuses the voice, its card lacks the owner's consent or the duty to
        disclose converted speech, or `destination` exists.
    NotWritten
        If the disk is full, or the folder is read-only.
    """
    run_dir, destination = Path(run_dir), Path(destination)
    read_voice(run_dir)
    gaps = card_gaps(read_card(run_dir))
    if gaps:
        raise ParameterError(
            f"{run_dir / CARD} does not say {', nor '.join(gaps)}; write it there, or call fill_card. A voice belongs "
            "to a person, and must not be shared without consent"
        )
    if destination.exists():
        raise ParameterError(f"{destination} exists already; remove it, or choose another name")
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
