"""What the notebooks need on Colab, whose own torch, kernel and server stay.

python tools/colab_requirements.py > colab.txt
"""

import re
import tomllib
from pathlib import Path

THERE = ("vc-lib", "torch", "torchvision", "jupyterlab", "ipykernel", "nbclient")


def main():
    text = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"]
    for package in project["dependencies"] + extras["train"] + extras["notebooks"]:
        if re.match(r"[\w-]+", package)[0] not in THERE:
            print(package)


if __name__ == "__main__":
    main()
