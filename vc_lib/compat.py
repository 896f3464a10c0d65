"""Make fastai importable beside a CPU build of torch; imported before it wherever fastai is.

PyPI's torchvision is built for CUDA. Beside a CPU build of torch two of its operators are missing
and its import stops; declaring them is enough, since nothing here calls them.
"""

import torch

if torch.version.cuda is None and torch.version.hip is None:
    for _operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, _operator):
            torch.library.define(
                f"torchvision::{_operator}",
                "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            )
