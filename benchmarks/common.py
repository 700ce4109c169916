"""Shared by all benchmarks: interleaved timing, the machine's description, the JSON file."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def interleaved(sides: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Time each side in turn, round after round, so that a slow moment of the machine affects all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, run in sides.items():
            began = time.perf_counter()
            measured = run()
            seconds[name].append(
                measured if isinstance(measured, float) else time.perf_counter() - began
            )
    return seconds


def ratio(seconds: Mapping[str, list[float]], ours: str, theirs: str) -> dict[str, float]:
    """Compare two sides: the median of the rounds' ratios, and their spread."""
    rounds = sorted(a / b for a, b in zip(seconds[ours], seconds[theirs], strict=True))
    return {"median": statistics.median(rounds), "lowest": rounds[0], "highest": rounds[-1]}


def machine() -> dict[str, Any]:
    """Name the processor, the cores and the versions."""
    import os

    processor = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        processor = names[0].split(":", 1)[1].strip() if names else processor
    packages = ("sightline", "torch", "numpy", "pandas", "pyarrow", "scikit-learn")
    return {
        "processor": processor, "cores": os.cpu_count(), "system": platform.system(),
        "python": platform.python_version(), "versions": {name: version(name) for name in packages},
    }  # fmt: skip


def save(name: str, results: Mapping[str, Any]) -> None:
    """Write a result as benchmarks/results/NAME.json and print it."""
    body = {
        "benchmark": name,
        "when": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        **results,
    }
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(body, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    print(text)
