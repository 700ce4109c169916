"""The live page of a real run in a real browser: it grows, obeys, and loses nothing."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

import sightline as sl
from sightline.trace.records import read_records

from .conftest import until

pytest.importorskip("uvicorn")
LONG = 60_000  # milliseconds that a busy machine may take


def command(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "sightline", *map(str, arguments)], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options,
    )  # fmt: skip


def address(run, seconds=60):
    """Wait for the page's address, which the run's folder tells."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (run / "live.json").is_file():
            said = json.loads((run / "live.json").read_text())
            return f"http://127.0.0.1:{said['port']}/{said['token']}/", said
        time.sleep(0.05)
    raise AssertionError("no page within a minute")


def run_records(run):
    return read_records(run.folder)[0]


@contextmanager
def served(run):
    """Serve a finished run, and give the page's address once it answers."""
    server = command("live", run.folder, "--no-browser")
    try:
        for line in server.stdout:
            if found := re.search(r"http://\S+", line):
                yield found[0]
                break
        else:
            raise AssertionError("the server ended without an address")
    finally:
        server.terminate()
        server.communicate()


@pytest.fixture
def training(tmp_path):
    """A run that trains until it is stopped, with its page."""
    random = np.random.default_rng(0)
    table = {f"x{j}": random.normal(size=6000) for j in range(6)}
    table["shade"] = random.choice(["light", "dark"], size=6000)
    table["answer"] = np.where(table["x0"] + random.normal(size=6000) > 0, "yes", "no")
    pa.csv.write_csv(pa.table(table), tmp_path / "table.csv")
    run = tmp_path / "run"
    fit = command(
        "fit", tmp_path / "table.csv", "--target", "answer", "--network", "MLP", "--epochs", 100_000, "--patience", 100_000,
        "--run", run, "--live", "--quiet", env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    url, said = address(run)
    yield run, url, fit
    if fit.poll() is None:
        fit.kill()
    fit.communicate()
    with suppress(ProcessLookupError):
        os.kill(said["pid"], signal.SIGTERM)


def epochs(page):
    """Return how many epochs the table lists."""
    return page.locator(".epochs tbody tr").count()


def test_a_run_is_watched_and_changed_from_the_page(watched, training):
    run, url, fit = training
    seen = watched(f"{url}#way=experiment")
    page = seen.page
    page.wait_for_selector(".learning .u-over", timeout=LONG)
    page.wait_for_selector("#pause", timeout=LONG)

    # The curve grows.
    first = page.locator(".learning .readout").first.inner_text()
    until(page, f"document.querySelector('.learning .readout').innerText !== {json.dumps(first)}")

    # While it grows no button is drawn anew: it would go away under a click.
    page.evaluate("document.querySelector('#pause').dataset.same = 'yes'")
    looks = "document.querySelectorAll('.layers figcaption, .layers .readout')[0].innerText"
    before = page.evaluate(looks)
    until(page, f"{looks} !== {json.dumps(before)}")
    assert page.evaluate("document.querySelector('#pause').dataset.same") == "yes"

    # Pause: confirmed by its record, and nothing moves.
    page.click("#pause")
    page.wait_for_selector("#continue", timeout=LONG)
    assert "paused" in page.locator(".chip").inner_text()
    paused = [record for record in read_records(run)[0] if record.type == "paused"]
    assert f"After step {paused[-1].body['step']}" in page.locator("#said").inner_text()
    count = len(read_records(run)[0])
    time.sleep(0.5)
    assert len(read_records(run)[0]) == count

    # A learning rate that is no number is refused as it was typed.
    for typed in ("0,01", "abc", ""):
        page.fill("#learning-rate", typed)
        page.get_by_role("button", name="Set").click()
        refusal = f"SetLearningRate has {typed!r}. Give a number from 0 up, such as 0.001."
        until(page, f"document.querySelector('#said').innerText.includes({json.dumps(refusal)})")

    # The learning rate, sent while it is paused, changes when it goes on by one epoch.
    page.fill("#learning-rate", "0.0003")
    page.get_by_role("button", name="Set").click()
    page.click("#one-epoch")
    until(
        page,
        "document.querySelector('.events').innerText.includes('learning rate 0.001 -> 0.0003')",
    )
    until(page, "[...document.querySelectorAll('.events li.paused')].length === 2")
    page.click("#continue")
    page.wait_for_selector("#pause", timeout=LONG)

    # A wider layer; and a refusal that says why.
    page.fill("#units", "100")
    page.get_by_role("button", name="Widen").click()
    until(page, "document.querySelector('#said').innerText.includes('widened to 100 units')")
    page.fill("#units", "3")
    page.get_by_role("button", name="Widen").click()
    until(page, "document.querySelector('#said').classList.contains('error')")
    edits = [
        record.body["edit"]["edit"] for record in read_records(run)[0] if record.type == "edit"
    ]
    assert edits == ["SetLearningRate", "Widen"]

    # A reload in mid-run loses nothing.
    page.reload()
    page.wait_for_selector(".events li.edit", timeout=LONG)
    assert page.locator(".events li.edit").count() == 2
    page.keyboard.press("6")
    page.wait_for_selector(".epochs tbody tr", timeout=LONG)
    assert page.locator(".epochs tbody th").first.inner_text() == "0" or epochs(page) == 400

    # A typed row is followed with the weights of the moment.
    page.keyboard.press("7")
    for name, value in {"0": "1.5", "6": "dark"}.items():
        page.fill(f".typed [name='{name}']", value)
    page.get_by_role("button", name="Predict this row").click()
    page.wait_for_selector(".way .heat", timeout=LONG)
    asked = [record.body for record in read_records(run)[0] if record.type == "asked"][-1]
    assert asked["row"]["x0"] == "1.5"
    assert asked["explanation"]["prediction"] in page.inner_text(".verdict")
    assert "row=asked-" in page.url

    # A bad value is an answer, not an end.
    page.fill(".typed [name='0']", "many")
    page.get_by_role("button", name="Predict this row").click()
    until(page, "document.querySelector('#said').classList.contains('error')")
    assert fit.poll() is None

    # Stop and keep the best: all the rest of the page comes.
    page.keyboard.press("8")
    page.click("#stop")
    until(page, "document.querySelector('.chip').innerText === 'done'")
    assert fit.wait(60) == 0
    page.keyboard.press("9")
    page.locator(".answer").first.click()
    assert page.locator(".why").first.inner_text() != ""
    page.keyboard.press("1")
    until(page, "document.querySelectorAll('ol.strip > li.done').length === 5")
    assert page.locator(".result .card").count() == 4
    assert all(one.startswith(url) for one in seen.requests)


def test_a_killed_run_is_said_to_be_cut_off_and_followed_when_resumed(watched, training):
    run, url, fit = training
    page = watched(f"{url}#way=training").page
    page.wait_for_selector(".epochs tbody tr", timeout=LONG)
    fit.kill()
    until(page, "document.querySelector('.chip').innerText.startsWith('interrupted')")
    again = command("resume", run, "--quiet", env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        until(page, "/epoch \\d/.test(document.querySelector('.chip').innerText)")
        assert page.evaluate("document.querySelectorAll('.epochs tbody tr').length") >= 1
    finally:
        again.kill()
        again.communicate()


def test_a_finished_run_is_shown_and_answers_typed_rows(watched, run):
    with served(run) as url:
        page = watched(f"{url}#way=prediction").page
        page.wait_for_selector(".way .heat", timeout=LONG)
        assert page.locator(".chip").inner_text() == "done"
        page.get_by_role("button", name="Predict this row").click()
        until(page, "location.hash.includes('row=asked-')")
        until(page, "document.querySelector('.verdict').innerText.includes('a typed row')")
        again = watched(f"{url}#way=prediction").page  # a second tab
        again.wait_for_selector(".way .heat", timeout=LONG)
        assert again.locator("#row option").first.inner_text().startswith("typed row 1")


def test_columns_may_be_named_as_what_every_object_has(watched, tmp_path):
    random = np.random.default_rng(0)
    table = {name: random.normal(size=200) for name in ("constructor", "__proto__", "toString")}
    table["label"] = random.choice(["a", "b"], size=200)
    run = sl.fit(
        table, "label", network="MLP", epochs=1, run=tmp_path / "r", report=False, quiet=True
    )
    with served(run) as url:
        page = watched(f"{url}#way=prediction").page
        page.wait_for_selector(".typed", timeout=LONG)
        page.fill(".typed [name='1']", "0.25")
        page.get_by_role("button", name="Predict this row").click()
        until(page, "document.querySelector('.verdict')?.innerText.includes('a typed row')")
    asked = run_records(run)[-1].body
    assert asked["error"] is None
    assert asked["row"]["__proto__"] == "0.25"


@pytest.mark.parametrize("width", [390, 1920])
def test_the_phone_and_the_projector(watched, run, width):
    with served(run) as url:
        page = watched(f"{url}#way=experiment", width=width).page
        page.wait_for_selector(".learning .u-over", timeout=LONG)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_server_may_go_and_come_back(watched, run):
    with served(run) as url:
        seen = watched(f"{url}#way=quiz")
        seen.page.wait_for_selector(".answer", timeout=LONG)
    chip = "document.querySelector('.chip').innerText"
    until(seen.page, f"{chip}.startsWith('connection lost')")
    with served(run) as again:
        assert again == url
        until(seen.page, f"{chip} === 'done'")
        assert seen.page.locator(".answer").count() == 12
    # What the browser itself says of a server that is gone is no fault of the page.
    gone = re.compile(
        "ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET"
    )
    seen.complaints[:] = [said for said in seen.complaints if not gone.search(said)]


def test_the_link_of_a_live_page_has_no_secret(browser, run):
    with served(run) as url:
        _, port, secret = re.fullmatch(r"(http://[^/]+:(\d+))/([^/]+)/", url).groups()
        origin = f"http://127.0.0.1:{port}"
        context = browser.new_context()
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=origin)
        page = context.new_page()
        page.goto(f"{url}#way=maths")
        page.locator("#copy-link").click()
        until(page, "document.querySelector('.said.show') !== null")
        assert (
            "secret part of this page's address is left out" in page.locator(".said").inner_text()
        )
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == f"{origin}/#way=maths"
        assert secret not in copied
        context.close()
