"""Every block of the README and of docs/ is run, page by page, and what it says it prints is compared."""

import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import sightline as sl

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
CLI = DOCS / "reference" / "cli.md"  # its blocks are what --help prints: compared as a whole
PAGES = [ROOT / "README.md", *sorted(set(DOCS.rglob("*.md")) - {CLI})]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
NUMBER = re.compile(r"[-+]?\d+\.\d+(?:e[-+]?\d+)?")


class Block(NamedTuple):
    line: int
    language: str
    code: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, match.start()) + 1, match[1], match[2])
        for match in FENCE.finditer(text)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "examples").mkdir()
    shutil.copy(ROOT / "examples" / "penguins.csv", tmp_path / "examples")
    return tmp_path


@pytest.fixture(scope="module")
def pages() -> Iterator[Callable[[Path], int]]:
    """Run the blocks in a folder in a process of their own; the exit code."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        [sys.executable, "-W", "error", ROOT / "tests" / "blocks.py"],
        env={**os.environ, "PATH": path}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    stdin, stdout = process.stdin, process.stdout

    def run(folder: Path) -> int:
        print(folder, file=stdin, flush=True)
        return int(stdout.readline())

    yield run
    stdin.close()
    assert process.wait(60) == 0
    stdout.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_run_in_order(page: Path, folder: Path, pages: Callable[[Path], int]) -> None:
    """A text block is what the block before it prints, or a part; the first of a page, the demo."""
    found = blocks(page)
    run = [block for block in found if block.language != "text"]
    if found and found[0].language == "text":
        run.insert(0, Block(0, "bash", "sightline demo"))
    (folder / "blocks.json").write_text(json.dumps([[b.language, b.code] for b in run]))
    code = pages(folder)
    errors = (folder / "errors").read_text(encoding="utf-8")
    began = [int(number) for number in re.findall(r"^block (\d+) \(", errors, re.M)]
    where = f"{page.name}, line {run[began[-1]].line}" if began else page.name
    assert code == 0, f"{where}:\n{errors}"
    printed = json.loads((folder / "printed.json").read_text()) if run else []
    assert len(printed) == len(run), f"{where} ended the page"
    last = -1
    for block in found:
        if block.language != "text":
            last = run.index(block)
            continue
        missing = not_printed(block.code, printed[max(last, 0)])
        assert missing is None, (
            f"{page.name}, line {block.line}: {missing!r} is not printed:\n{printed[max(last, 0)]}"
        )


def not_printed(said: str, printed: str) -> str | None:
    """Return the first line that is not among those printed, in their order; "..." skips some."""
    rest = iter(printed.splitlines())
    for line in said.splitlines():
        if line.strip() not in ("", "...") and not any(same(line, other) for other in rest):
            return line
    return None


def same(one: str, other: str) -> bool:
    """Numbers may differ a little between processors; words must not."""
    if (
        re.sub(r"\s+", " ", NUMBER.sub("#", one)).strip()
        != re.sub(r"\s+", " ", NUMBER.sub("#", other)).strip()
    ):
        return False
    pairs = zip(NUMBER.findall(one), NUMBER.findall(other), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=0.3, abs_tol=0.1) for a, b in pairs)


def test_what_is_not_printed_is_found() -> None:
    printed = "loss 0.91\naccuracy 0.95\n"
    assert not_printed("accuracy 0.94\n", printed) is None
    assert not_printed("accuracy 0.34\n", printed) == "accuracy 0.34"
    assert not_printed("accuracy 0.94\nloss 0.91\n", printed) == "loss 0.91"
    assert not_printed("precision 0.95\n", printed) == "precision 0.95"


def test_a_block_that_fails_is_named(folder: Path, pages: Callable[[Path], int]) -> None:
    (folder / "blocks.json").write_text(
        json.dumps([["python", "x = 1"], ["python", "\nassert x == 2"]])
    )
    assert pages(folder) == 1
    assert 'File "<block 1>", line 2' in (folder / "errors").read_text()
    assert json.loads((folder / "printed.json").read_text()) == [""]


@pytest.mark.parametrize("page", [*PAGES, CLI], ids=lambda page: str(page.relative_to(ROOT)))
def test_no_block_escapes_the_tests(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert {block.language for block in blocks(page)} <= {"python", "bash", "text"}
    left = FENCE.sub("", text)
    assert "```" not in left
    assert not re.search(r"(?:\n|^)\n {4}\S", left), "an indented block: use a fence"


def test_pages_name_no_missing_file() -> None:
    for page in [*PAGES, CLI, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name} names {link}"


def test_architecture_names_every_room() -> None:
    said = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for place in (ROOT / "src" / "sightline").iterdir():
        if place.is_dir() and place.name != "__pycache__":
            assert f"`{place.name}/" in said
        elif place.suffix == ".py" and not place.name.startswith("__"):
            assert place.name in said


# ------------------------------------------------------------- the reference


def test_reference_has_every_public_name() -> None:
    said = re.findall(
        r"^::: sightline\.(?:\w+\.)*(\w+)$", (DOCS / "reference" / "api.md").read_text(), re.M
    )
    assert sorted(said) == sorted(sl.__all__)


def test_reference_of_the_command_line_is_what_help_prints() -> None:
    place = DOCS / ".build" / "cli.py"
    spec = importlib.util.spec_from_file_location("cli_reference", place)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert CLI.read_text(encoding="utf-8") == made.page(), f"run: python {place.relative_to(ROOT)}"
