"""Run notebooks from top to bottom and keep what tells their story where notebooks are only looked at.

    python tools/keep_outputs.py 01_prestudy_convert-by-pyworld.ipynb 03_output-without-pretrain.ipynb

Of the cells tagged `keep_output` pictures, tables and words stay; players, widgets and progress bars go, as do all
outputs of other cells. A notebook that fails is left as it was.
"""

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

KINDS = ("image/png", "text/html", "text/markdown", "text/plain")
PASSING = re.compile(r"application/vnd\.jupyter\.widget|data:audio|<progress|progress::|<audio")


def is_kept(output) -> bool:
    """Whether an output says something without a kernel, a script or a sound."""
    if output.output_type == "stream":
        return output.name == "stdout" and "\r" not in output.text
    if output.output_type not in ("display_data", "execute_result"):
        return False
    data = output.data
    return "image/png" in data or bool(
        not PASSING.search(str(data)) and data.get("text/html", data.get("text/plain", "")).strip()
    )


def strip(nb) -> None:
    """Leave the outputs of tagged cells that stand by themselves, and of each the kinds that are looked at."""
    for cell in nb.cells:
        if cell.cell_type != "code":
            continue
        tagged = "keep_output" in cell.metadata.get("tags", [])
        cell.outputs = [o for o in cell.outputs if tagged and is_kept(o)]
        for output in cell.outputs:
            if "data" in output:
                output.data = {k: v for k, v in output.data.items() if k in KINDS}
                output.metadata = {}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    for path in parser.parse_args().notebooks:
        nb, began = nbformat.read(path, as_version=4), time.perf_counter()
        where = {"metadata": {"path": str(path.parent)}}
        NotebookClient(nb, timeout=None, kernel_name="python3", resources=where).execute()
        strip(nb)
        nbformat.write(nb, path)
        subprocess.run([sys.executable, "-m", "nbstripout", str(path)], check=True)
        minutes = (time.perf_counter() - began) / 60
        print(f"{path.name}: {minutes:.1f} min, {path.stat().st_size / 1e3:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
