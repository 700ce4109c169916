"""The report in a real browser, opened from the disk."""

import re

import pytest

from sightline.page import report as made

from .conftest import until

WAYS = [
    "story",
    "pipeline",
    "code",
    "shapes",
    "maths",
    "training",
    "prediction",
    "experiment",
    "quiz",
]

# What each way must show, by its headings and a selector.
MUST_SHOW = {
    "story": ["section.opening", "ol.strip", "#stage-load", "#stage-predict", ".learning .u-over", ".glass", ".epochs", ".prediction", ".results", ".insight", ".terms", ".quiz"],
    "pipeline": ["ol.strip", ".columns .column", "#stage-prepare table", "ol.network", ".results .card"],
    "code": ["#code-load pre", "#code-train pre", "#code-predict pre"],
    "shapes": [".shapes dd", "ol.network"],
    "maths": [".formula .math.with", ".glass"],
    "training": [".learning .u-over", ".layers .u-over", ".glass", ".epochs tbody tr"],
    "prediction": [".way .heat", ".results .card", ".pushes"],
    "experiment": [".learning .u-over", ".events"],
    "quiz": [".quiz .answer", ".terms"],
}  # fmt: skip


def press(page, key):
    """Choose a way by its key, and wait until it is drawn."""
    page.keyboard.press(key)
    until(page, f"document.querySelector('nav a[aria-current] kbd')?.textContent === '{key}'")


def url(run, way=None, name="report.html"):
    return f"file://{run.folder / name}" + (f"#way={way}" if way else "")


def test_the_first_thing_seen_is_the_result_then_the_story(watched, run):
    page = watched(url(run), height=800).page
    headline = run.find("lesson", "result")[0].body["headline"]
    assert page.locator("h1").inner_text().replace("\u00a0", " ") == headline
    strip = page.locator("section.result").bounding_box()
    assert strip["y"] + strip["height"] <= 800
    assert page.locator("section.result .card").count() == 3
    assert (
        page.locator(".opening h2").inner_text() == run.find("lesson", "opening")[0].body["title"]
    )
    assert page.title().startswith("How a network learns")
    assert page.locator("ol.strip > li.done").count() == 5
    assert page.locator("nav a[aria-current]").inner_text().endswith("Story")


@pytest.mark.parametrize("way", WAYS)
def test_each_way_shows_its_part_of_the_records(watched, run, way):
    page = watched(url(run)).page
    press(page, str(WAYS.index(way) + 1))
    assert f"way={way}" in page.url
    for selector in MUST_SHOW[way]:
        assert page.locator(selector).count() > 0, selector
    assert "undefined" not in page.inner_text("main")
    assert "NaN" not in page.inner_text("main")
    assert "[object" not in page.inner_text("main")
    assert page.locator("nav a[aria-current]").inner_text().lower().endswith(way)


@pytest.mark.parametrize("way", WAYS)
def test_an_address_opens_its_way(watched, run, way):
    page = watched(url(run, way)).page
    assert page.locator("nav a[aria-current]").inner_text().lower().endswith(way)


def test_regression_has_every_way_too(watched, regression):
    page = watched(url(regression)).page
    for key in "123456789":
        press(page, key)
        text = page.inner_text("main")
        assert "undefined" not in text
        assert "NaN" not in text
    press(page, "7")
    assert page.locator(".results figure.unit circle").count() > 10


def test_a_row_is_followed_to_its_class(watched, run):
    page = watched(url(run, "prediction")).page
    rows = run.find("predict", "rows")[0].body["rows"]
    page.select_option("#row", str(rows[3]["row"]))
    shown = page.inner_text(".path")
    told = rows[3]["explanation"]
    assert told["prediction"] in shown
    assert page.locator(".way .heat").count() == len(told["layers"])
    assert page.locator(".way .heat").nth(1).locator("rect").count() == len(
        told["layers"][1]["values"]
    )
    assert f"row={rows[3]['row']}" in page.url
    page.get_by_label("next row").click()
    assert f"row={rows[4]['row']}" in page.url
    page.reload()
    assert page.input_value("#row") == str(rows[4]["row"])
    told = rows[4]["explanation"]["pushes"]
    assert page.locator(".pushes tbody tr").count() == min(15, len(told["columns"]))


def test_the_pushes_shown_are_those_of_the_record(watched, run):
    page = watched(url(run, "prediction")).page
    first = run.find("predict", "rows")[0].body["rows"][0]
    page.select_option("#row", str(first["row"]))
    column, push = first["explanation"]["pushes"]["columns"][0]
    line = page.locator(".pushes tbody tr").first.inner_text()
    assert column in line
    shown = float(re.search(r"([+−][\d.]+)", line)[1].replace("−", "-"))
    assert shown == pytest.approx(100 * push, rel=0.01)


def test_the_quiz_is_answered_and_explained(watched, run):
    page = watched(url(run, "quiz")).page
    questions = run.find("lesson", "quiz")[0].body["questions"]
    for i, question in enumerate(questions):
        wrong = next(letter for letter in "ABCD" if letter != question["right"])
        given = question["right"] if i else wrong
        item = page.locator(".quiz li").nth(i)
        item.locator(f"[data-letter={given}]").click()
        assert question["why"] in item.locator(".why").inner_text()
        assert item.locator("[data-letter].right").get_attribute("data-letter") == question["right"]
    assert page.locator(".score").inner_text() == "2 of 3 right."


def test_the_curve_marks_the_best_epoch_and_tells_under_the_pointer(watched, run):
    page = watched(url(run, "training")).page
    chart = page.locator(".learning .u-over").first
    box = chart.bounding_box()
    page.mouse.move(box["x"] + 1, box["y"] + box["height"] / 2)
    until(page, "document.querySelector('.learning .readout').innerText.startsWith('Epoch 0')")
    assert run.epochs[0].observation in page.locator(".learning .readout").first.inner_text()


def test_the_page_is_worked_by_the_keyboard_alone(watched, run):
    page = watched(url(run)).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the page"
    seen = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.textContent.trim().slice(0, 12)"))
    assert {"Present", "1 Story", "9 Quiz"} <= seen
    page.evaluate("document.activeElement.blur()")  # digits typed into a field are the field's own
    press(page, "9")
    page.locator(".answer").first.focus()
    page.keyboard.press("Enter")
    assert page.locator(".why").first.inner_text() != ""


def test_the_present_view_shows_a_stage_a_screen(watched, run):
    page = watched(url(run)).page
    page.keyboard.press("p")
    until(page, "document.body.classList.contains('present')")
    shown = []
    for slide in range(1, 10):
        until(page, f"document.querySelector('.about').innerText.startsWith('{slide} of')")
        shown.append(page.locator("main h1, main h2").first.inner_text())
        page.keyboard.press("ArrowRight")
    assert len(set(shown)) == 9
    page.keyboard.press("Escape")
    until(page, "!document.body.classList.contains('present')")


@pytest.mark.parametrize("width", [390, 1920])
@pytest.mark.parametrize("way", WAYS)
def test_nothing_sticks_out_at_either_width(watched, run, width, way):
    page = watched(url(run, way), width=width).page
    page.wait_for_selector("main > section")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(watched, run, scheme):
    page = watched(url(run), color_scheme=scheme).page
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    bright = sum(map(int, re.findall(r"\d+", paper)[:3])) > 380
    assert bright == (scheme == "light")
    page.get_by_role("button", name="Dark" if scheme == "light" else "Light").click()
    other = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", other)[:3])) > 380) != bright


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("way", WAYS)
def test_axe_finds_no_serious_fault(watched, run, axe, way, scheme):
    page = watched(url(run, way), color_scheme=scheme).page
    page.wait_for_selector("main > section")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.wait_for_timeout(100)
    page.evaluate(axe)  # by the debugger, which the page's policy does not bind
    found = page.evaluate("axe.run()")["violations"]
    serious = [
        (one["id"], [node["html"][:120] for node in one["nodes"][:3]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_hostile_names_are_only_shown(watched, hostile):
    page = watched(url(hostile)).page
    for key in "123456789":
        press(page, key)
        page.wait_for_timeout(50)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert page.evaluate("typeof window.hacked") == "undefined"
        assert page.locator("main img, main script, main iframe").count() == 0
    press(page, "2")
    assert page.get_by_text("<img src=x onerror=window.hacked=1>").count() > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_runs_side_by_side(watched, run, regression, tmp_path):
    written = made.write_comparison([run.folder, regression.folder], tmp_path / "compare.html")
    page = watched(f"file://{written}").page
    assert page.locator(".u-over").count() == 2
    assert "split.target" in page.inner_text("main")
    assert "predict different targets" in page.inner_text(".cautions")
    assert page.get_by_text(" best", exact=True).count() == 0


def test_the_better_run_is_marked(watched, run, penguins, tmp_path):
    import sightline as sl

    other = sl.fit(
        penguins,
        "species",
        network="MLP",
        epochs=1,
        learning_rate=1e-5,
        run=tmp_path / "r",
        quiet=True,
    )
    written = made.write_comparison([run.folder, other.folder], tmp_path / "compare.html")
    page = watched(f"file://{written}").page
    line = page.locator("tr", has_text="log_loss").locator("td")
    assert [text.endswith("best") for text in line.all_inner_texts()] == [True, False]
    assert page.locator(".cautions").count() == 0


def test_a_report_of_a_run_without_validation_rows(watched, penguins, tmp_path):
    import sightline as sl

    run = sl.fit(
        penguins,
        "species",
        network="MLP",
        epochs=2,
        valid=0,
        test=0,
        run=tmp_path / "r",
        quiet=True,
    )
    page = watched(url(run)).page
    for key in "123456789":
        press(page, key)
        assert "undefined" not in page.inner_text("main")


def test_five_hundred_classes_are_drawn(watched, tmp_path):
    import numpy as np

    import sightline as sl

    labels = [f"class {n % 500}" for n in range(5000)]
    table = {"x": np.random.default_rng(0).normal(size=5000), "label": labels}
    run = sl.fit(table, "label", network="MLP", epochs=1, run=tmp_path / "r", quiet=True)
    page = watched(url(run, "prediction")).page
    assert page.locator(".confusion tbody tr").count() == 26


@pytest.mark.parametrize(
    "address",
    [
        "way=constructor",
        "way=__proto__",
        "way=story&slide=1.5",
        "way=quiz&row=toString",
        "threshold=<b>",
        "class=__proto__",
        "costs=1:x",
        "open=constructor+fold-trees+__proto__",
    ],
)
def test_strange_addresses_open_the_page_all_the_same(watched, run, address):
    page = watched(f"{url(run)}#{address}").page
    page.wait_for_selector("main > section")


def test_print_opens_every_drawer(watched, run):
    page = watched(url(run, "pipeline")).page
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("[...document.querySelectorAll('details')].every((one) => one.open)")
    assert len(page.pdf()) > 20_000
