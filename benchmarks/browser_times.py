"""How long a visitor waits: from opening a notebook in a browser to the first sound, and from a slider to the next.

    PYTHONPATH=tests:tests/notebook python benchmarks/browser_times.py [--smoke]

Opens the notebooks in JupyterLab and Chromium over a copy of the tree, as after a fresh clone, and prints a table for
RESULTS.md. Its helpers are those of the tests. Those that train are opened with `smoke`; --smoke does so with all.
"""

import argparse
import tempfile
import time
from pathlib import Path

import nbformat
from notebook_runner import SMOKE, copied_tree, set_parameters
from playwright.sync_api import sync_playwright
from test_browser import (
    CHROMIUM,
    FLAGS,
    PLAYERS,
    a_dial_makes_a_new_sound,
    serving_lab,
    wait_until,
)
from test_repo import NOTEBOOKS, REPO

FIRST_SOUND = (
    """() => [...document.querySelectorAll('.vc-player audio')].some((a) => a.readyState > 1)"""
)


def measure(page, address: str, name: str) -> list[str]:
    """A row: seconds to the first sound, to the last cell, players that play, seconds from slider to sound."""
    began = time.perf_counter()
    page.goto(address)
    wait_until(page, lambda state: state["idle"], 90)
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    page.wait_for_function(FIRST_SOUND, timeout=600_000)
    first = time.perf_counter() - began
    state = wait_until(page, lambda s: (s["idle"] and s["ran"] == s["cells"]) or s["errors"], 600)
    assert not state["errors"], state["errors"]
    last = time.perf_counter() - began
    found = page.evaluate(PLAYERS)
    playing = sum(player["ready"] > 0 and player["peak"] > 1e-3 for player in found)
    takes = (
        sorted(a_dial_makes_a_new_sound(page) for _ in range(5)) if name.startswith("01") else None
    )
    return [
        f"{first:.1f}",
        f"{last:.0f}",
        f"{page.locator('.vc-player').count()} ({playing} of {len(found)} sounds)",
        f"{takes[2]:.2f} (worst of 5: {takes[4]:.2f})" if takes else "",
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a tiny run of every notebook")
    smoke = parser.parse_args().smoke
    print(
        "| notebook | file [kB] | first sound [s] | all cells [s] | players | slider to sound [s] |"
    )
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        tree, own = copied_tree(Path(folder) / "clone"), Path(folder) / "jupyter"
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        with serving_lab(tree, own) as address:
            for name in NOTEBOOKS:
                tiny = smoke or name.startswith("02")
                if tiny:
                    nb = nbformat.read(tree / name, as_version=4)
                    set_parameters(nb, SMOKE)
                    nbformat.write(nb, tree / name)
                page = browser.new_page(viewport={"width": 1100, "height": 800})
                row = measure(page, address(name), name)
                page.close()
                size = f"{(REPO / name).stat().st_size / 1e3:.0f}"
                print(
                    "| " + " | ".join([name[:4] + (", smoke" * tiny), size, *row]) + " |",
                    flush=True,
                )
        browser.close()


if __name__ == "__main__":
    main()
