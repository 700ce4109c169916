"""What the README shows: the table is that of the measurements, the pictures are there and light."""

import importlib.util
import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def build():
    """Import docs/.build/readme.py."""
    spec = importlib.util.spec_from_file_location("readme", ROOT / "docs" / ".build" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_made_of_the_results():
    assert build().with_table(README) == README


def test_the_table_says_where_others_are_ahead():
    summary = json.loads((ROOT / "benchmarks/results/quality.json").read_text("utf-8"))["summary"]
    cells = summary["cells"]["penguins"]
    assert cells["tabm-d"]["score"] < cells["ours"]["score"]
    [line] = [line for line in README.splitlines() if line.startswith("| TabM |")]
    assert "penguins" in line


def test_the_pictures_are_there_described_and_light():
    shown = re.findall(r"!\[([^\]]+)\]\((docs/pictures/[^)]+)\)", README)
    assert len(shown) == 3
    assert all(len(words) > 30 for words, _ in shown)
    files = sorted((ROOT / "docs" / "pictures").iterdir())
    assert files == sorted(ROOT / path for _, path in shown)
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    assert sum(file.stat().st_size for file in files) < 200_000
