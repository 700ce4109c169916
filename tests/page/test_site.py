"""The documentation site: it builds without a warning, loads nothing from elsewhere, and finds things."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sightline as sl

ROOT = Path(__file__).parent.parent.parent
ZENSICAL = Path(sys.executable).parent / "zensical"
LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]*?\b(?:src|data)\s*=\s*["']?\s*((?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b(?![^>]*\brel=["']?canonical)[^>]*?\bhref\s*=\s*["']?\s*((?:https?:)?//[^"'\s>]+)"""
    r"""|@import\s+(?:url\()?\s*["']?((?:https?:)?//[^"')\s;]+)"""
    r"""|\burl\(\s*["']?((?:https?:)?//[^"')\s]+)""",
    re.I,
)


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "zensical.toml", folder)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return subprocess.run(
        [ZENSICAL, "build", "--strict", "--clean"], cwd=folder, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(ROOT / "docs", folder / "docs")
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def loaded(text: str) -> list[str]:
    return [next(filter(None, found)) for found in LOADED.findall(text)]


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    texts = [path for path in site.rglob("*") if path.suffix in (".html", ".css", ".svg")]
    assert len(texts) > 10
    assert {str(path): found for path in texts if (found := loaded(path.read_text("utf-8")))} == {}


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://unpkg.com/iframe-worker/shim"></script>',
        '<link rel="stylesheet" href="https://fonts.googleapis.com/css?family=Inter">',
        "<img alt='' src=//example.org/a.png>",
        '@import "https://example.org/a.css";',
        "a { background: url(http://example.org/a.png) }",
    ],
)
def test_what_would_be_loaded_is_found(text: str) -> None:
    assert len(loaded(text)) == 1


def test_every_page_is_there_and_in_the_navigation(site: Path) -> None:
    pages = [
        path.relative_to(ROOT / "docs").with_suffix(".html")
        for path in (ROOT / "docs").rglob("*.md")
    ]
    assert [page for page in pages if not (site / page).is_file()] == []
    linked = re.findall(r'href="(?:\./)?([^"#]+)"', (site / "start.html").read_text("utf-8"))
    assert {str(page) for page in pages} - {"start.html"} <= set(linked)


def test_the_reference_describes_every_public_name(site: Path) -> None:
    text = (site / "reference" / "api.html").read_text("utf-8")
    missing = [
        name for name in sl.__all__ if not re.search(rf'id="sightline\.(\w+\.)*{name}"', text)
    ]
    assert missing == []
    assert 'id="sightline.Model.predict_proba"' in text
    assert "Example:" not in text  # they are shown as code


@pytest.mark.parametrize("link", ["nowhere.md", "here.md#nowhere"])
def test_a_broken_link_ends_the_build(link: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    (tmp_path / "docs" / "index.md").write_text(f"# Here\n\n[there]({link})\n")
    (tmp_path / "docs" / "here.md").write_text("# Here\n")
    done = build(tmp_path)
    assert done.returncode != 0
    assert "Aborted because --strict" in done.stderr


def test_search_finds_a_word_on_pages_opened_from_the_disk(site: Path, browser) -> None:
    page = browser.new_page()
    complaints, requests = [], []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("Control+k")
    page.keyboard.type("safetensors", delay=20)
    page.locator("a", has_text="transform.safetensors").wait_for()  # "The bundle", found
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    page.close()
