"""Every block of the README and of docs/ is run: shell, Python, and the output that opens it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


class Block(NamedTuple):
    page: str
    number: int
    language: str
    code: str


def blocks() -> list[Block]:
    found = []
    for page in PAGES:
        for number, match in enumerate(FENCE.finditer(page.read_text(encoding="utf-8"))):
            found.append(Block(page.name, number, match[1], match[2]))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "examples").mkdir()
    shutil.copy(ROOT / "examples" / "penguins.csv", tmp_path / "examples")
    return tmp_path


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )


@pytest.mark.parametrize("block", blocks(), ids=lambda b: f"{b.page}-{b.number}-{b.language}")
def test_block_runs(block: Block, folder: Path) -> None:
    if block.language == "python":
        done = run([sys.executable, "-W", "error", "-c", block.code], folder)
    elif block.language == "bash":
        done = run(["bash", "-euo", "pipefail", "-c", block.code], folder)
    else:
        assert block.language == "text", f"a {block.language!r} block that no test runs"
        done = run(["sightline", "demo"], folder)
        printed = {masked(line) for line in done.stdout.splitlines()}
        missing = [line for line in block.code.splitlines() if masked(line) not in printed]
        assert missing == []
    assert done.returncode == 0, done.stderr


def masked(line: str) -> str:
    """Numbers differ in their last places between processors; words must not."""
    return re.sub(r"\s+", " ", re.sub(r"\d+\.\d+", "#", line)).strip()


def test_pages_name_no_missing_file() -> None:
    for page in [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name} names {link}"


def test_architecture_names_every_room() -> None:
    said = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for place in (ROOT / "src" / "sightline").iterdir():
        if place.is_dir() and place.name != "__pycache__":
            assert f"`{place.name}/" in said
        elif place.suffix == ".py" and not place.name.startswith("__"):
            assert place.name in said
