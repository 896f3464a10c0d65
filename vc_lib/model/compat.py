"""Everything that we bend in torch and fastai, each with the version that it was needed for.

Every module that uses fastai imports this one first: PyPI's torchvision for Linux is built for
CUDA, and fastai cannot be imported beside a CPU build of torch until two operators are declared.
"""

import threading
import warnings
from importlib.util import find_spec
from pathlib import Path

import torch


def torchvision_loads() -> bool:
    """Whether torchvision's operators are registered; its library is loaded to find out."""
    if hasattr(torch.ops.torchvision, "nms"):
        return True
    spec = find_spec("torchvision")
    if spec is None:
        return True  # nothing to mend; importing it will say that it is missing
    folder = Path(spec.origin).parent
    for library in (*folder.glob("_C*.so"), *folder.glob("_C*.pyd"), *folder.glob("_C*.dylib")):
        try:
            torch.ops.load_library(str(library))
        except (ImportError, OSError):
            continue
        return hasattr(torch.ops.torchvision, "nms")
    return False


# torch 2.13 (CPU) with torchvision 0.28 (CUDA): the library cannot be loaded, and importing
# torchvision stops at two operators that are not registered. Nothing here calls them. Where the
# library loads they must not be declared, as it registers them itself.
if not torchvision_loads():
    for _operator in ("nms", "qnms"):
        torch.library.define(
            f"torchvision::{_operator}",
            "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        )

from fastai.callback.hook import Hook  # noqa: E402
from fastai.data.load import DataLoader  # noqa: E402

# fastai 2.8: ConvLayer calls torch's older weight_norm.
warnings.filterwarnings("ignore", message=".*weight_norm. is deprecated", category=FutureWarning)
# fastai 2.8: GANTrainer sets `generator` and `critic`, which the learner's model has too.
warnings.filterwarnings("ignore", message="You are shadowing an attribute")


def has_bf16_units() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AMX or AVX512-BF16); without, float32 is faster."""
    # torch 2.13: the tests are private. Where they are missing the answer is no.
    tests = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, test, bool)() for test in tests)


def autocast(
    device: torch.device, enabled: bool | None = None, narrowest: float = 2
) -> torch.autocast:
    """A context that computes in bfloat16.

    Parameters
    ----------
    device : torch.device
    enabled : bool, optional
        By default True where the device gains by bfloat16; if False the context does nothing.
    narrowest : float
        Least width of an image after a strided convolution. Up to 1 the context does nothing.
    """
    # torch 2.13 (oneDNN 3.12, AMX): a strided convolution whose output is one column wide reads
    # memory that was never written
    if narrowest <= 1:
        enabled = False
    if enabled is None:
        # torch 2.13: is_bf16_supported() counts emulation, which is slower than float32
        on_cuda = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        enabled = on_cuda or (device.type == "cpu" and has_bf16_units())
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


# fastai 2.8: a hook stores one activation for all threads, so two threads that run the same U-Net
# would mix their skip connections.
class SkipHook(Hook):
    """A U-Net's hook that stores the activation of its skip connection for each thread apart."""

    @property
    def stored(self):
        return self._activations.get(threading.get_ident())

    @stored.setter
    def stored(self, activation):
        self._activations[threading.get_ident()] = activation

    @property
    def _activations(self) -> dict[int, torch.Tensor]:
        # `__class__` is set on finished hooks: there is no __init__ to make it in
        return self.__dict__.setdefault("activations", {})

    def forget(self) -> None:
        """Free the activation of this thread."""
        self._activations.pop(threading.get_ident(), None)


def store_skips_by_thread(unet: torch.nn.Module) -> list[SkipHook]:
    """Turn the hooks of a DynamicUnet into `SkipHook`s, and return them."""
    hooks = [m.hook for m in unet.modules() if isinstance(getattr(m, "hook", None), Hook)]
    for hook in hooks:
        hook.__class__ = SkipHook
    return hooks


def item_order(loader: DataLoader) -> list[int] | None:
    """The items of a DataLoader's epoch, in the order they are drawn; None before the first epoch."""
    # fastai 2.8: kept in a name-mangled attribute only
    return getattr(loader, "_DataLoader__idxs", None)


def distribute_without_cuda() -> None:
    """Let fastai's DistributedDL run on CPUs: each process uses its own order of items.

    All processes must draw the same order, as `dataset.SetEpoch` makes them.

    Raises
    ------
    ImportError, NameError
        If Accelerate is not installed.
    """
    from fastai.distributed import DistributedDL

    # fastai 2.8: the order of rank 0 is broadcast from CUDA memory
    DistributedDL._broadcast = lambda self, order, rank: order
