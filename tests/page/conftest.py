"""A real browser for the tests of the page, and runs to look at."""

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

import sightline as sl
from tests.tools import missing

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, driven by Playwright, whose event loop must not be there when other modules' tests run theirs."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        missing("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


class Watched:
    """A page, with all it complained of and all it asked the network for."""

    def __init__(self, page):
        self.page = page
        self.complaints = []
        self.requests = []
        page.on(
            "console",
            lambda said: (
                self.complaints.append(said.text) if said.type in ("error", "warning") else None
            ),
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def hosts(self):
        """Return the addresses outside this page's own that were asked for."""
        own = self.page.url.split("#")[0].rsplit("/", 1)[0]
        return [url for url in self.requests if not url.startswith((own, "data:"))]


def until(page, expression, seconds=60):
    """Wait until an expression holds; Playwright's own waiting needs eval, which the policy forbids."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"not within {seconds} s: {expression}"
        page.wait_for_timeout(50)


@pytest.fixture
def watched(browser):
    """Open pages that must end without a complaint and without a request to another host."""
    opened = []

    def open_page(url, *, width=1280, height=900, **options):
        page = browser.new_page(viewport={"width": width, "height": height}, **options)
        seen = Watched(page)
        opened.append(seen)
        page.goto(url)
        return seen

    yield open_page
    for seen in opened:
        complaints, hosts = seen.complaints, seen.hosts()
        seen.page.close()
        assert complaints == []
        assert hosts == []


@pytest.fixture(scope="session")
def axe():
    """The accessibility checker's source."""
    if not AXE.is_file():
        missing("axe-core")
    return AXE.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def run(penguins, tmp_path_factory):
    """A finished run on the penguins."""
    folder = tmp_path_factory.mktemp("runs") / "penguins"
    return sl.fit(
        penguins, "species", network="MLP", epochs=12, learning_rate=0.01, run=folder, quiet=True
    )


@pytest.fixture(scope="session")
def regression(penguins, tmp_path_factory):
    """A finished regression."""
    folder = tmp_path_factory.mktemp("runs") / "mass"
    return sl.fit(penguins, "body_mass_g", network="MLP", epochs=6, run=folder, quiet=True)


def wide_table(columns=100, rows=600, seed=0):
    """Make a table of numbers and categories."""
    random = np.random.default_rng(seed)
    table = {f"measurement number {j}": random.normal(size=rows) for j in range(columns - 20)}
    for j in range(20):
        table[f"category number {j}"] = random.choice([f"value {k}" for k in range(12)], size=rows)
    table["answer"] = np.where(table["measurement number 0"] > 0, "yes", "no")
    return table


NASTY = [
    "</script><script>window.hacked=1</script>", "<img src=x onerror=window.hacked=1>", "\u202eevil\u202c", "' onmouseover='window.hacked=1",
    "<!--<script>", "]]>", "${window.hacked=1}", "line\u2028end", "__proto__", "constructor", "javascript:window.hacked=1", "a" * 1_000_000,
]  # fmt: skip


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    """A run whose column names, values and classes attack the page."""
    random = np.random.default_rng(0)
    rows = 200
    table = {name: random.normal(size=rows) for name in NASTY}
    table["<b>label</b>"] = random.choice(NASTY[:6], size=rows)
    table["<i>text</i>"] = random.choice([*NASTY[:4], "x\x00y"], size=rows)
    folder = tmp_path_factory.mktemp("runs") / "hostile"
    return sl.fit(table, "<b>label</b>", network="MLP", epochs=2, run=folder, quiet=True)
