"""Makes what the README shows: its table of measured models, and its pictures.

    python docs/.build/readme.py               the table, of the JSON files in benchmarks/results
    python docs/.build/readme.py --pictures    the pictures too, of real runs; needs Chromium and Playwright

The pictures have 64 colours, which keeps all of them together below 200 kB.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
README = ROOT / "README.md"
PICTURES = ROOT / "docs" / "pictures"
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- measured: docs/.build/readme.py -->\n", "<!-- end -->"
NAMES = {
    "ours": "**Sightline**, default", "ours-fast": "Sightline, `--quality fast`", "catboost": "CatBoost",
    "lightgbm": "LightGBM", "hgb": "scikit-learn, boosted trees", "xgboost": "XGBoost", "mlp": "scikit-learn, MLP",
    "tabm-d": "TabM", "realmlp-td-s": "RealMLP, small", "realmlp-td": "RealMLP",
}  # fmt: skip
COLOURS = 64
COMMAND = "sightline fit penguins.csv --target sex --test 0.3 --run runs/sex"


def table() -> str:
    """Return the table, in Markdown."""
    all_tables, slow = (_summary(name) for name in ("quality_quick", "quality"))
    lines = [
        f"| default settings, one thread | mean rank on {len(all_tables['tables_counted'])} tables | its loss, in the median | ahead of "
        "Sightline on | time of all fits |",
        "|---|---|---|---|---|",
    ]  # fmt: skip
    for name, rank in sorted(all_tables["mean_rank"].items(), key=lambda item: item[1]):
        lines.append(_line(name, rank, all_tables))
    lines += ["", f"On {len(slow['tables_counted'])} of these tables, where TabM and RealMLP were fitted too (some with one seed):", "",
              "| | mean rank | its loss, in the median | ahead of Sightline on | time of all fits |", "|---|---|---|---|---|"]  # fmt: skip
    for name in ("ours", "tabm-d", "realmlp-td-s"):
        lines.append(_line(name, slow["mean_rank"][name], slow))
    return "\n".join(lines) + "\n"


def _summary(name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))["summary"]
    return found


def _line(name: str, rank: float, summary: Mapping[str, Any]) -> str:
    ratios = dict(_ratios(name, summary))
    ahead = [table for table, ratio in ratios.items() if ratio < 1]
    higher = 100 * (statistics.median(ratios.values()) - 1)
    apart = f"{abs(higher):.0f} % {'higher' if higher > 0 else 'lower'}"
    compared = ("", "") if name == "ours" else (apart, ", ".join(ahead) or "none")
    return (
        f"| {NAMES[name]} | {rank:.1f} | {compared[0]} | {compared[1]} | "
        f"{summary['total_fit_seconds'][name]:,.0f} s |"
    )


def _ratios(name: str, summary: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield a model's loss divided by the default's, for each table that both were fitted on."""
    for table_name in summary["tables_counted"]:
        cells = summary["cells"][table_name]
        if cells.get(name) and cells[name].get("score"):
            yield table_name, cells[name]["score"] / cells["ours"]["score"]


def with_table(readme: str) -> str:
    """Return the README with the table as it is now."""
    before, rest = readme.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END, 1)[1]


# ------------------------------------------------------------- pictures


def pictures() -> None:
    """Make the pictures of a run on examples/penguins.csv."""
    from playwright.sync_api import sync_playwright

    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        shutil.copy(ROOT / "examples" / "penguins.csv", place)
        said = _fit(place)
        (Path(place) / "terminal.html").write_text(_terminal(said), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])  # fmt: skip
        page = browser.new_page(viewport={"width": 1100, "height": 640})
        page.goto(f"file://{place}/runs/sex/report.html")
        page.wait_for_timeout(500)
        _keep(page.screenshot(), "result.png")
        page.goto(f"file://{place}/runs/sex/report.html#way=prediction&costs=1:4&threshold=0.4")
        page.wait_for_timeout(500)
        page.evaluate("document.getElementById('head').style.position = 'static'")
        _keep(page.locator(".thresholds").screenshot(), "threshold.png")
        page.goto(f"file://{place}/terminal.html")
        _keep(page.locator("pre").screenshot(), "terminal.png")
        browser.close()


def _fit(place: str) -> str:
    """Fit the penguins, and return what the terminal shows."""
    words = [sys.executable, "-m", *COMMAND.split()]
    environment = {**os.environ, "COLUMNS": "100"}
    done = subprocess.run(  # noqa: S603 - our own command
        words, cwd=place, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout


def _terminal(said: str) -> str:
    """Return the end of a fit's output as a page."""
    lines = [f"$ {COMMAND}", "...", *said[said.rindex("\nResult\n") :].splitlines()[1:]]  # fmt: skip
    return (
        "<style>body { margin: 0 } pre { display: inline-block; margin: 0; padding: 1rem 1.4rem; background: #14171b; color: #e8e6e1; "
        f"font: 15px/1.5 'DejaVu Sans Mono', monospace }}</style><pre>{html.escape(chr(10).join(lines))}</pre>"
    )


def _keep(picture: bytes, name: str) -> None:
    """Write a picture with few colours."""
    from io import BytesIO

    from PIL import Image

    with Image.open(BytesIO(picture)) as image:
        few = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        few.save(PICTURES / name, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", action="store_true")
    if parser.parse_args().pictures:
        pictures()
    README.write_text(with_table(README.read_text("utf-8")), encoding="utf-8")
