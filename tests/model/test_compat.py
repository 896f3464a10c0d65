"""fastai can be imported with torch and torchvision of the same build or of different ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vc_lib.model import compat

REPO = Path(__file__).parents[2]

# Imports compat beside a torchvision that has only a library; {act} is what loading it does
SCRIPT = """
import torch
loaded = []

def load(path):
    loaded.append(path)
    {act}

torch.ops.load_library = load
import vc_lib.model.compat
assert len(loaded) == 1, loaded
assert torch.ops.torchvision.nms
"""
DEFINE = """torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float t) -> Tensor")"""


@pytest.mark.parametrize("act", [DEFINE, "raise OSError('libcudart is not here')"])
def test_operators_are_declared_only_if_the_library_lacks_them(tmp_path, act):
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "_C.so").touch()
    run = [sys.executable, "-c", SCRIPT.format(act=act)]
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    run = subprocess.run(run, cwd=REPO, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_torchvision_imports_after_compat():
    code = "import vc_lib.model.compat, torchvision.ops"
    subprocess.run([sys.executable, "-c", code], cwd=REPO, check=True)


@pytest.mark.parametrize("narrowest, expected", [(2, True), (1, False), (0.5, False)])
def test_autocast_is_off_where_a_strided_image_is_one_column_wide(narrowest, expected):
    with compat.autocast(torch.device("cpu"), True, narrowest):
        assert torch.is_autocast_enabled("cpu") == expected
