"""What the page shows of trust: calibration, simple models, sets, dependence, trees, parts, folds."""

import json
import re

import pytest

from sightline.contracts import Record
from sightline.page import report as made
from sightline.page import sampling

from . import trusted
from .conftest import until

KINDS = ["classes", "two", "number"]


@pytest.fixture(scope="session")
def two(penguins, tmp_path_factory):
    """A finished run with two classes."""
    import sightline as sl

    folder = tmp_path_factory.mktemp("runs") / "two"
    return sl.fit(penguins, "sex", network="MLP", epochs=4, run=folder, quiet=True)


@pytest.fixture(scope="session")
def told(run, two, regression, tmp_path_factory):
    """The records of three runs with everything on trust, and their reports."""
    folder = tmp_path_factory.mktemp("told")
    runs = {"classes": run, "two": two, "number": regression}
    records = {
        kind: trusted.write(one.folder, folder / kind, threshold=kind == "two")
        for kind, one in runs.items()
    }
    return folder, records


@pytest.fixture
def shown(watched, told):
    """Open one of them in one of its ways."""

    def open_way(kind, way, **options):
        page = watched(f"file://{told[0] / kind / 'report.html'}#way={way}", **options).page
        page.wait_for_selector("main > section")
        return page

    return open_way


def body(told, kind, type_, stage="predict"):
    return next(r.body for r in told[1][kind] if (r.stage, r.type) == (stage, type_))


@pytest.mark.parametrize("kind", KINDS)
def test_simple_models_are_drawn_with_their_intervals(shown, told, kind):
    page, found = shown(kind, "prediction"), body(told, kind, "baselines")
    assert found["verdict"] in page.inner_text(".worth")
    lines = page.locator(".worth table").first.locator("tbody tr")
    assert lines.count() == len(found["models"])
    scored = [one for one in found["models"] if one["score"] is not None]
    assert page.locator(".worth table").first.locator(".whisker").count() == len(scored)
    assert "left out: 10,000 columns are too many" in page.inner_text(".worth")
    assert page.locator(".worth table").nth(1).locator("tbody tr").count() == len(
        found["differences"]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_calibration_and_sets_are_told(shown, told, kind):
    page = shown(kind, "prediction")
    said, sets = body(told, kind, "calibration"), body(told, kind, "sets")
    text = page.inner_text(".trust")
    assert said["said"] in text
    assert sets["said"] in text
    assert "91.2 %" in text
    assert page.locator(".trust .shares").get_by_role("img").get_attribute("aria-label") == (
        "network 43.6 %, trees 56.4 %"
    )
    drawn = len(said["before"]["points"]) if "before" in said else 0
    assert page.locator(".trust .unit circle").count() == 2 * drawn
    assert ("Decision threshold" in text) == (kind == "two")
    assert "Reliability diagram" not in page.inner_text(".results")  # it is in the trust block


def test_one_part_needs_no_shares(watched, run, tmp_path):
    trusted.write(run.folder, tmp_path / "r", parts=1)
    page = watched(f"file://{tmp_path / 'r' / 'report.html'}#way=prediction").page
    assert page.locator(".trust .unit").count() == 2
    assert page.locator(".trust .shares").count() == 0


def test_dependence_is_drawn_for_the_class_that_is_chosen(shown, told):
    page, found = shown("classes", "prediction"), body(told, "classes", "dependence")
    charts = page.locator(".dependence .small-chart")
    assert charts.count() == len(found["columns"])
    labels = []
    for place in range(len(found["outputs"])):
        page.select_option("#output", str(place))
        labels.append(charts.first.get_by_role("img").get_attribute("aria-label"))
    assert len(set(labels)) == len(labels)
    assert all(label.startswith("flipper_length_mm: from ") for label in labels)
    assert charts.nth(2).locator("rect.mark").count() == 4  # a bar a category
    assert charts.nth(0).locator("polyline").count() == 1
    assert "one value only" in charts.nth(3).inner_text()


@pytest.mark.parametrize("kind", ["two", "number"])
def test_one_output_needs_no_choice(shown, kind):
    page = shown(kind, "prediction")
    assert page.locator(".dependence .small-chart").count() == 4
    assert page.locator("#output").count() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_of_a_prediction_add_up(shown, told, kind):
    page = shown(kind, "prediction")
    row = body(told, kind, "rows")["rows"][0]
    page.select_option("#row", str(row["row"]))
    told_row = row["explanation"]
    assert page.locator(".way .dots circle").count() == trusted.MEMBERS
    table = page.locator(".way table", has_text="sum")
    last = [
        float(text.replace("−", "-").replace(",", ""))
        for text in table.locator("tbody tr").all_inner_texts()[-1].split()[1:]
    ]
    if told_row["probabilities"]:
        place = told_row["classes"].index(told_row["prediction"])
        assert last[0] == pytest.approx(told_row["logits"][place], rel=0.01)
        assert "Calibration" in page.inner_text(".way")
    else:
        assert last[0] == pytest.approx(told_row["prediction"], rel=0.001)
        assert "Calibration" not in page.inner_text(".way")
    assert page.inner_text(".verdict").startswith("The model predicts")


def test_another_class_can_be_followed(shown, told):
    page = shown("classes", "prediction")
    classes = body(told, "classes", "rows")["rows"][0]["explanation"]["classes"]
    for i, label in enumerate(classes):
        page.select_option("#of-class", str(i))
        assert f"Shares of the logit of {label}" in page.inner_text(".way")
    page.get_by_label("next row").click()
    assert page.input_value("#of-class") == str(len(classes) - 1)


def test_the_set_is_beside_the_prediction(shown, told):
    page, rows = shown("classes", "prediction"), body(told, "classes", "rows")["rows"]
    page.select_option("#row", str(rows[0]["row"]))
    assert page.locator(".held .chips b").all_inner_texts() == rows[0]["set"]
    assert page.locator(".way td", has_text="✓").count() == len(rows[0]["set"])
    page.select_option("#row", str(rows[1]["row"]))
    assert "is empty" in page.inner_text(".held")


def test_the_interval_is_beside_the_prediction(shown, told):
    page, row = shown("number", "prediction"), body(told, "number", "rows")["rows"][0]
    page.select_option("#row", str(row["row"]))
    for end in row["interval"]:
        assert f"{end:,.0f}" in page.inner_text(".held")


def test_the_trees_are_beside_the_epochs(shown):
    page = shown("classes", "training")
    assert page.locator(".trees .u-over").count() == 1
    assert page.locator(".trees tbody tr").count() == len(trusted.TREES["columns"])
    assert trusted.TREES["said"] in page.inner_text(".trees")


def test_runs_with_folds_do_not_speak_of_validation_rows(shown):
    page = shown("classes", "training")
    text = re.sub(
        "There are no validation rows",
        "",
        page.inner_text(".learning") + page.inner_text(".epochs"),
    )
    assert "alidation" not in text
    assert "out-of-fold" in text
    assert "Out-of-fold loss" in page.inner_text(".epochs")
    assert "into 5 folds" in page.inner_text(".learning")


def test_runs_without_folds_still_speak_of_validation_rows(watched, run):
    page = watched(f"file://{run.folder / 'report.html'}#way=training").page
    text = page.inner_text(".learning") + page.inner_text(".epochs")
    assert "validation" in text
    assert "fold" not in text
    assert page.locator(".trees, .trust").count() == 0  # a network of one's own has neither


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_undefined_in_any_way(shown, kind):
    page = shown(kind, "story")
    for key in "123456789":
        page.keyboard.press(key)
        until(page, f"document.querySelector('nav a[aria-current] kbd')?.textContent === '{key}'")
        text = page.inner_text("main")
        for wrong in ("undefined", "NaN", "[object", "null"):
            assert wrong not in text


@pytest.mark.parametrize("width", [390, 1920])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_sticks_out_at_either_width(shown, kind, width):
    for way in ("training", "prediction"):
        page = shown(kind, way, width=width)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("kind", "way", "scheme"), [
    ("classes", "training", "dark"), ("classes", "prediction", "light"), ("two", "prediction", "dark"),
    ("number", "prediction", "light"),
])  # fmt: skip
def test_axe_finds_no_serious_fault(shown, axe, kind, way, scheme):
    page = shown(kind, way, color_scheme=scheme)
    page.evaluate(axe)
    serious = [
        (one["id"], [node["html"][:120] for node in one["nodes"][:3]])
        for one in page.evaluate("axe.run()")["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_it_prints(shown):
    assert len(shown("classes", "prediction").pdf()) > 20_000


def test_numbers_that_are_none_are_drawn_around(watched, run, tmp_path):
    """Records may hold None and "NaN" wherever a number is."""
    found = trusted.baselines(classed=True)
    found["models"][1] |= {"score": "NaN", "low": None, "high": None, "second": None}
    found["differences"][0] |= {"mean": None, "low": None, "high": None}
    depends = trusted.dependence(["a", "b", "c"])
    depends["columns"][0]["mean"][2] = ["NaN", None, "NaN"]
    sets = trusted.sets(classed=True) | {
        "coverage": None,
        "mean_size": None,
        "empty": None,
        "rows": 0,
        "sizes": [0, 0],
    }
    bodies = {"baselines": found, "dependence": depends, "sets": sets}
    lines = [
        Record(1, i, 1, "", "predict", type_, one) for i, (type_, one) in enumerate(bodies.items())
    ]
    page_file = tmp_path / "report.html"
    page_file.write_text(made.report(lines), "utf-8")
    page = watched(f"file://{page_file}#way=prediction").page
    page.wait_for_selector(".dependence svg")
    page.select_option("#output", "0")
    assert page.locator("[cx='NaN'], [x1='NaN'], [points*='NaN'], [width='NaN']").count() == 0
    assert "not a number" in page.inner_text(".worth")


def test_names_are_only_shown(watched, run, tmp_path):
    evil = "<img src=x onerror=window.hacked=1>"
    records = trusted.added(run.records)
    text = json.dumps([record.body for record in records])
    for name in ("network", "flipper_length_mm", "Adelie", "this model"):
        text = text.replace(f'"{name}"', json.dumps(evil))
    lines = [
        Record(r.v, r.seq, r.attempt, r.time, r.stage, r.type, one)
        for r, one in zip(records, json.loads(text), strict=True)
    ]
    page_file = tmp_path / "report.html"
    page_file.write_text(made.report(lines), "utf-8")
    page = watched(f"file://{page_file}#way=prediction").page
    page.wait_for_selector(".dependence")
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert page.locator("main img").count() == 0
    assert evil in page.inner_text(".dependence")


def test_what_each_member_says_of_many_classes_is_left_out_first(run):
    many = [0.001] * 1000
    explained = {
        "members": {"mean": many, "spread": many, "values": [many] * 16}, "probabilities": many,
    }  # fmt: skip
    rows = {"rows": [{"row": i, "explanation": explained} for i in range(50)]}
    few = {
        "row": 0,
        "explanation": {"members": {"mean": [0.5], "spread": [0.1], "values": [[0.5]]}},
    }
    lines = [
        {"stage": "predict", "type": "rows", "body": rows},
        {"stage": "predict", "type": "example", "body": few},
        {"stage": "predict", "type": "asked", "body": {"row": 1, "error": "no such column"}},
    ]
    kept, note = sampling.without_members(lines)
    assert all(row["explanation"]["members"] is None for row in kept[0]["body"]["rows"])
    assert kept[0]["body"]["rows"][0]["explanation"]["probabilities"] == many
    assert kept[1]["body"] == few
    assert note.startswith("Sampled: ")
    assert sampling.without_members(lines[1:])[1] == ""
