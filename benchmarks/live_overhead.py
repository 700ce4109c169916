"""Overhead of the live page: the same fit without it, with it, and with a browser tab open.

python -m benchmarks.live_overhead
python -m benchmarks.live_overhead --rows 2000 --epochs 3 --repeats 1   # only checks that it runs
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import sightline as sl
from benchmarks.common import interleaved, ratio, save

GOALS = {"live, no tab": 1.01, "live, one tab": 1.03}  # of the training itself
WAIT_SECONDS = 60.0
# A tab: a browser that draws the curves during training and prints at the end how many epochs it lists.
TAB = """
import json, pathlib, shutil, sys, time
from playwright.sync_api import sync_playwright
path = pathlib.Path(sys.argv[1]) / "live.json"
flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
    page = browser.new_page()
    print("ready", flush=True)
    while not path.exists():
        time.sleep(0.02)
    address = json.loads(path.read_text())
    page.goto("http://%s:%d/%s/#way=training" % (address["host"], address["port"], address["token"]))
    while page.evaluate("document.querySelector('.chip')?.textContent") != "done":
        time.sleep(0.5)
    print(page.locator(".epochs tbody tr").count())
    browser.close()
"""


def adult_like(rows: int) -> dict[str, np.ndarray]:
    """Make a table of the shape of a census: six numbers, eight categories, two classes."""
    random = np.random.default_rng(0)
    table: dict[str, np.ndarray] = {
        f"number {j}": random.normal(size=rows).round(3) for j in range(6)
    }
    for j, values in enumerate((8, 16, 7, 14, 6, 5, 2, 40)):
        table[f"category {j}"] = np.array(
            [f"value {k}" for k in random.integers(values, size=rows)]
        )
    score = table["number 0"] + table["number 1"] * (table["category 6"] == "value 1")
    table["income"] = np.where(score + random.normal(size=rows) > 0.5, "more", "less")
    return table


class Fits:
    """The same fit in three variants.

    Attributes:
        training: The seconds of the training alone, by variant, one for each round.
        listed: How many epochs each tab lists at the end.
    """

    def __init__(self, table: dict[str, np.ndarray], epochs: int, folder: str) -> None:
        self.table, self.epochs, self.folder = table, epochs, folder
        self.training: dict[str, list[float]] = {}
        self.listed: list[int] = []
        self._count = 0

    def fit(self, variant: str, live: bool = False, tab: bool = False) -> float:
        """Fit once; return the seconds of the whole fit."""
        self._count += 1
        run = Path(self.folder) / f"run-{self._count}"
        reader = None
        if tab:
            command = [sys.executable, "-c", TAB, str(run)]
            reader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert reader.stdout is not None
            reader.stdout.readline()  # the browser is running: its start is not measured
        began = time.perf_counter()
        result = sl.fit(
            self.table, "income", run=run, epochs=self.epochs, patience=None, device="cpu", live=live,
            quiet=True,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        self.training.setdefault(variant, []).append(result.find("train", "end")[0].body["seconds"])
        if reader is not None:
            self.listed.append(int(reader.communicate(timeout=WAIT_SECONDS)[0]))
            if self.listed[-1] != self.epochs + 1:
                raise SystemExit(f"the tab lists {self.listed[-1]} of {self.epochs + 1} epochs")
        if live:
            _end_page(run)
        return seconds


def _end_page(run: Path) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not (run / "live.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(json.loads((run / "live.json").read_text())["pid"], signal.SIGTERM)


def measure(rows: int, epochs: int, repeats: int) -> dict[str, Any]:
    """Measure all three variants, round after round."""
    with tempfile.TemporaryDirectory() as folder:
        fits = Fits(adult_like(rows), epochs, folder)
        variants = {
            "without": lambda: fits.fit("without"),
            "live, no tab": lambda: fits.fit("live, no tab", live=True),
            "live, one tab": lambda: fits.fit("live, one tab", live=True, tab=True),
        }
        for run in variants.values():
            run()  # the first run of each fills caches
        fits.training.clear()
        seconds = interleaved(variants, repeats)
    live = [name for name in variants if name != "without"]
    return {
        "rows": rows, "features": 14, "epochs": epochs, "repeats": repeats, "training_goals": GOALS,
        "training": {name: ratio(fits.training, name, "without") for name in live},
        "whole_fit": {name: ratio(seconds, name, "without") for name in live},
        "epochs_listed": fits.listed, "training_seconds": fits.training, "whole_seconds": seconds,
    }  # fmt: skip


def main() -> None:
    """Measure; save the result of the full size, print others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the synthetic table")
    parser.add_argument("--epochs", type=int, default=120, help="epochs per fit")
    parser.add_argument(
        "--repeats", type=int, default=8, help="rounds, each with all three variants"
    )
    given = parser.parse_args()
    results = measure(given.rows, given.epochs, given.repeats)
    if vars(given) == vars(parser.parse_args([])):
        save("live_overhead", results)
    else:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
