"""What the reader of a page chooses: the threshold, open blocks, a class, a row; and the address that keeps it."""

import json
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

import sightline as sl
from sightline.page import report as made

from .conftest import until
from .test_browser import url


@pytest.fixture(scope="module")
def binary(tmp_path_factory, penguins):
    """A finished run of two classes, calibrated."""
    folder = tmp_path_factory.mktemp("runs") / "binary"
    return sl.fit(penguins, "sex", quality="fast", epochs=3, run=folder, quiet=True)


def cell(page, row, column):
    """Return a cell of the table of decisions: column 1 is to choose by, 2 to check."""
    return (
        page.locator(".thresholds table:not(.confusion) tbody tr")
        .nth(row)
        .locator("td")
        .nth(column - 1)
        .inner_text()
    )


def counts(page, side):
    """Return the four counts that a confusion matrix shows."""
    cells = (
        page.locator(".thresholds table.confusion").nth(side).locator("tbody td").all_inner_texts()
    )
    return [0 if text == "·" else int(text.replace(",", "")) for text in cells]


def recorded(body, side, value):
    at = [str(t) for t in body["thresholds"]].index(value)
    names = ("true_negatives", "false_positives", "false_negatives", "true_positives")
    return [body[side][name][at] for name in names]


def test_the_slider_is_moved_by_keys_and_shows_the_record(watched, binary):
    body = binary.find("predict", "thresholds")[-1].body
    page = watched(url(binary, "prediction")).page
    slider = page.locator("#threshold")
    assert page.locator(".thresholds output").inner_text() == "0.5"
    slider.focus()
    seen = set()
    for key in ["ArrowLeft"] * 4 + ["Home", "ArrowRight", "End"]:
        slider.press(key)
        value = page.locator(".thresholds output").inner_text()
        seen.add(value)
        assert counts(page, 0) == recorded(body, "calibration", value)
        assert counts(page, 1) == recorded(body, "test", value)
        assert slider.get_attribute("aria-valuetext") == value
        assert f" {value} -o " in page.locator(".thresholds .command code").inner_text()
    assert len(seen) == 7
    assert str(body["thresholds"][-1]) in page.url


def test_the_slider_is_moved_by_the_mouse(watched, binary):
    page = watched(url(binary, "prediction")).page
    page.locator("#threshold").scroll_into_view_if_needed()
    box = page.locator("#threshold").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.15, box["y"] + box["height"] / 2)
    low = float(page.locator(".thresholds output").inner_text())
    assert low < 0.5
    assert f"threshold={low:g}" in page.url


def test_the_lowest_cost_follows_what_an_error_costs(watched, binary):
    body = binary.find("predict", "thresholds")[-1].body
    page = watched(url(binary, "prediction")).page
    for price in (1, 20):
        page.locator(".costs input").nth(1).fill(str(price))
        page.locator("#lowest-cost").click()
        value = page.locator(".thresholds output").inner_text()
        costs = [a + price * b for a, b in zip(body["calibration"]["false_positives"], body["calibration"]["false_negatives"], strict=True)]  # fmt: skip
        at = [str(t) for t in body["thresholds"]].index(value)
        assert costs[at] == min(costs)
        assert cell(page, 4, 1).replace(",", "") == f"{min(costs):g}"
    page.locator(".costs input").nth(0).fill("-3")  # refused: the cost before stays
    assert cell(page, 4, 1).replace(",", "") == f"{min(costs):g}"


def test_a_link_shows_what_its_sender_saw(watched, binary):
    page = watched(url(binary)).page
    page.get_by_role("button", name="Look at the largest errors").click()
    until(page, "document.querySelector('.results details[open]') !== null")
    page.locator(".fold summary", has_text="Boosted trees").click()
    page.locator("#threshold").focus()
    page.keyboard.press("Home")
    page.locator(".costs input").nth(0).fill("7")
    page.locator(".costs input").nth(0).blur()
    link = page.url
    again = watched(link).page
    for selector in (".results", ".thresholds", ".trees"):
        assert again.locator(selector).inner_text() == page.locator(selector).inner_text()
    assert again.locator(".costs input").nth(0).input_value() == "7"
    assert again.locator("details.fold[open] summary").all_inner_texts() == ["Boosted trees"]
    again.get_by_role("link", name="Quiz").click()
    until(again, "location.hash.includes('way=quiz')")
    assert "threshold=" in again.url


def test_a_class_in_the_address_is_that_of_the_blocks(watched, penguins, tmp_path):
    run = sl.fit(penguins, "species", quality="fast", epochs=2, run=tmp_path / "r", quiet=True)
    page = watched(f"{url(run, 'prediction')}&class=Gentoo").page
    assert page.locator("#output").evaluate("node => node.selectedOptions[0].text") == "Gentoo"
    assert page.locator("#of-class").evaluate("node => node.selectedOptions[0].text") == "Gentoo"
    page.locator("#output").select_option("Adelie")
    assert "class=Adelie" in page.url
    other = watched(f"{url(run, 'prediction')}&class=<img src=x>").page
    assert (
        other.locator("#of-class").evaluate("node => node.selectedOptions[0].text")
        == "the predicted class"
    )
    assert other.locator("main img").count() == 0


def test_what_the_records_do_not_have_is_ignored(watched, binary):
    page = watched(
        f"{url(binary, 'prediction')}&threshold=0.123456789&costs=-1:2&open=nothing"
    ).page
    assert page.locator(".thresholds output").inner_text() == "0.5"
    assert page.locator(".costs input").nth(1).input_value() == "1"


def test_a_run_without_counts_says_how_to_get_them(watched, binary, tmp_path):
    lines = [record for record in binary.records if record.type != "thresholds"]
    (tmp_path / "old.html").write_text(made.report(lines), encoding="utf-8")
    page = watched(f"file://{tmp_path / 'old.html'}#way=prediction").page
    assert "Fit it again" in page.locator(".thresholds").inner_text()
    assert page.locator("#threshold").count() == 0


@pytest.fixture
def served(binary):
    """The folder of a run, over HTTP on this machine."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(binary.folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_older_run_without_a_result_shows_its_metrics_in_the_story(watched, binary, tmp_path):
    lines = [record for record in binary.records if record.type != "result"]
    (tmp_path / "old.html").write_text(made.report(lines), encoding="utf-8")
    page = watched(f"file://{tmp_path / 'old.html'}").page
    assert page.locator("section.result").count() == 0
    assert page.locator(".results .card").count() == 4
    assert page.locator("details.fold").count() == 0
    assert page.locator("h1").inner_text().startswith("How a network learns")


def test_the_link_is_copied(browser, served):
    context = browser.new_context()
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=served)
    page = context.new_page()
    page.goto(f"{served}/report.html#way=maths")
    page.locator("#copy-link").click()
    until(page, "document.querySelector('.said.show') !== null")
    assert page.locator(".said").inner_text().startswith("The link is copied.")
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    context.close()


def test_where_copying_is_not_allowed_the_link_is_shown(watched, binary):
    page = watched(url(binary, "maths")).page
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.locator("#copy-link").click()
    until(page, "document.querySelector('.said.show') !== null")
    assert page.url in page.locator(".said").inner_text()


def test_long_class_names_are_told_apart(watched, tmp_path):
    names = [f"an unusually long name of a class {letter}" for letter in "abcdefghijkl"]
    table = {
        "x": [n % 12 + n % 7 / 10 for n in range(600)],
        "y": [names[n % 12] for n in range(600)],
    }
    run = sl.fit(table, "y", network="MLP", epochs=1, run=tmp_path / "r", quiet=True)
    page = watched(url(run, "prediction"), width=1280).page
    shown = page.locator(".results .confusion tbody th").all_inner_texts()
    assert len(set(shown)) == 12
    assert page.locator(".results .confusion thead th").all_inner_texts() == [
        str(n) for n in range(1, 13)
    ]
    box = page.locator(".results .scroll:has(.confusion)")
    assert box.evaluate("node => node.scrollWidth <= node.clientWidth")


def test_the_story_is_folded(watched, binary):
    page = watched(url(binary)).page
    titles = page.locator("details.fold > summary").all_inner_texts()
    assert "Epochs" in titles
    assert page.locator("details.fold[open]").count() == 0
    page.locator("details.fold > summary", has_text="Epochs").click()
    until(page, "document.querySelectorAll('.fold[open] .epochs tbody tr').length > 0")


def test_the_state_has_no_secret(binary):
    text = json.dumps([record.body for record in binary.find("lesson", "result")])
    assert str(binary.folder) not in text
