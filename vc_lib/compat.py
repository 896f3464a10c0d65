"""Make fastai importable beside a CPU build of torch, and quickly; imported before it wherever fastai is.

PyPI's torchvision for Linux is built for CUDA. Beside a CPU build of torch its library cannot be
loaded, two of its operators are missing and its import stops; declaring them is enough, since
nothing here calls them. Where the library loads they must not be declared, it does so itself.

torchvision also loads torch's compiler, a second and 60 MB, to ask it about an operator that is not used here.
It is told that nothing can be compiled; who compiles something later gets the real one.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

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


def import_torchvision() -> None:
    """Import it without torch's compiler, if that is not there already."""
    names = ("torch._dynamo", "torch._dynamo.utils")
    if any(name in sys.modules for name in (*names, "torchvision")):
        return
    for name in names:
        sys.modules[name] = ModuleType(name)
    sys.modules[names[1]].is_compile_supported = lambda device_type: False
    try:
        import torchvision  # noqa: F401
    except (ImportError, AttributeError):  # another torchvision, which asks for more: as it likes
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
    finally:
        for name in names:
            del sys.modules[name]


import_torchvision()
