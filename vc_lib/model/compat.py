"""Make fastai importable beside a CPU build of torch; imported before it wherever fastai is.

PyPI's torchvision for Linux is built for CUDA. Beside a CPU build of torch its library cannot be
loaded, two of its operators are missing and its import stops; declaring them is enough, since
nothing here calls them. Where the library loads they must not be declared, it does so itself.
"""

from importlib.util import find_spec
from pathlib import Path

import torch


def torchvision_loads() -> bool:
    """Whether torchvision's operators are there, or its library, loaded now, brings them."""
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


if not torchvision_loads():
    for _operator in ("nms", "qnms"):
        torch.library.define(
            f"torchvision::{_operator}",
            "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        )
