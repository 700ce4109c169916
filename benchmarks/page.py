"""The page in a browser: time to first paint of a report, and memory while following a long run.

    python -m benchmarks.page            # needs Chromium on the PATH and the extra "dev"

First paint: the report of 200 epochs on 100 columns, opened from the disk in a new headless
Chromium context, round after round. Heap: a live page follows 1,000 epochs that are written 20 a
second; JavaScript's heap is read every second, and once more after a collection at the end.

Targets: first paint under 1 s; heap under 100 MB.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, sync_playwright

import sightline as sl
from benchmarks.common import save
from sightline.trace.records import Trace

PAINT_GOAL = 1.0
HEAP_GOAL = 100.0
EPOCHS = 1_000
EPOCHS_PER_SECOND = 20
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]


def table(columns: int, rows: int) -> dict[str, np.ndarray]:
    """Make a table of numbers and a few categories."""
    random = np.random.default_rng(0)
    data = {f"measurement number {j}": random.normal(size=rows) for j in range(columns - 20)}
    for j in range(20):
        data[f"category number {j}"] = random.choice([f"value {k}" for k in range(12)], size=rows)
    data["answer"] = np.where(data["measurement number 0"] > 0, "yes", "no")
    return data


def first_paint(browser: Browser, report: Path, rounds: int) -> dict[str, Any]:
    """Open a report in several new contexts; return seconds from the start of navigation."""
    paints, drawn = [], []
    for _ in range(rounds):
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"file://{report}")
        page.wait_for_selector(".quiz .answer")
        paint, done = page.evaluate(
            """[performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN,
                performance.timing.domContentLoadedEventEnd - performance.timing.navigationStart]"""
        )
        paints.append(paint / 1000)
        drawn.append(done / 1000)
        context.close()
    return {
        "bytes": report.stat().st_size, "rounds": rounds, "goal_seconds": PAINT_GOAL,
        "first_contentful_paint": {"median": float(np.median(paints)), "worst": max(paints)},
        "all_drawn": {"median": float(np.median(drawn)), "worst": max(drawn)},
    }  # fmt: skip


def heap(browser: Browser, run: sl.Run, folder: Path) -> dict[str, Any]:
    """Let a live page follow a run that is written at a steady pace."""
    begun = next(i for i, record in enumerate(run.records) if record.type == "epoch")
    layers = run.find("train", "layers")[-1].body
    epoch = run.find("train", "epoch")[-1].body
    trace = Trace()
    for record in run.records[:begun]:
        trace.write(record.stage, record.type, record.body)
    trace.save_to(folder)
    server = subprocess.Popen(
        [sys.executable, "-m", "sightline", "live", str(folder), "--no-browser"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    try:
        address = next(
            match[0] for line in server.stdout if (match := re.search(r"http://\S+", line))
        )
        page = browser.new_page()
        page.goto(f"{address}#way=training")
        page.wait_for_selector("main > section")
        devtools = page.context.new_cdp_session(page)
        devtools.send("Performance.enable")
        seen = []
        began = time.perf_counter()
        for number in range(EPOCHS):
            loss = 1 / (1 + number / 50)
            trace.write(
                "train",
                "epoch",
                {**epoch, "number": number, "train_loss": loss, "valid_loss": loss * 1.1},
            )
            if number % 2 == 0:
                trace.write("train", "layers", {**layers, "step": number * 9 + 1, "epoch": number})
            if number % EPOCHS_PER_SECOND == 0:
                seen.append(used(devtools))
            time.sleep(max(0.0, began + (number + 1) / EPOCHS_PER_SECOND - time.perf_counter()))
        page.wait_for_timeout(500)
        rows = page.locator(".epochs tbody th").last.inner_text()
        if rows != str(EPOCHS - 1):
            raise SystemExit(f"the page shows epoch {rows}, the run wrote {EPOCHS - 1}")
        devtools.send("HeapProfiler.collectGarbage")
        return {
            "epochs": EPOCHS, "a_second": EPOCHS_PER_SECOND, "goal_mb": HEAP_GOAL, "largest_mb": max(seen),
            "at_the_end_mb": used(devtools), "seconds": time.perf_counter() - began,
        }  # fmt: skip
    finally:
        server.terminate()
        server.communicate()
        trace.close()


def used(devtools: Any) -> float:
    """Return the megabytes of JavaScript's heap in use."""
    metrics = {m["name"]: m["value"] for m in devtools.send("Performance.getMetrics")["metrics"]}
    return float(metrics["JSHeapUsedSize"]) / 1e6


def main() -> None:
    """Measure both and save the figures."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("Chromium is not on the PATH.")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        run = sl.fit(
            table(100, 2000), "answer", epochs=200, patience=None, run=folder / "run", quiet=True
        )
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        results = {
            "report": first_paint(browser, folder / "run" / "report.html", 15),
            "live": heap(browser, run, folder / "live"),
            "browser": browser.version,
        }
        browser.close()
    save("page", results)


if __name__ == "__main__":
    main()
