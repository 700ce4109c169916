"""Metrics of groups of rows on the page: the column that is chosen, the worst group first."""

import copy
from dataclasses import replace

import numpy as np
import pytest

import sightline as sl
from sightline.page import report as made
from sightline.page import sampling


@pytest.fixture(scope="session")
def sliced(tmp_path_factory):
    """A run with a group that cannot be predicted."""
    random = np.random.default_rng(0)
    rows = 900
    x, site = random.normal(size=rows), random.choice(["north", "south", "west"], rows)
    shift = random.choice(["day", "night"], rows)
    noise = np.where(site == "west", 4.0, 0.3) * random.normal(size=rows)
    table = {"x": x, "site": site, "shift": shift, "y": np.where(x + noise > 0, "yes", "no")}
    folder = tmp_path_factory.mktemp("runs") / "sliced"
    return sl.fit(table, "y", network="MLP", epochs=15, test=0.4, run=folder, quiet=True)


def body(run):
    return run.find("predict", "slices")[-1].body


def opened(watched, run, way="prediction"):
    page = watched(f"file://{run.folder / 'report.html'}#way={way}").page
    page.wait_for_selector(".slices table")
    return page


def rows_of(page):
    return [
        line.locator("th").inner_text() for line in page.locator(".slices tbody tr").all()
    ]  # fmt: skip


@pytest.mark.parametrize("way", ["story", "prediction"])
def test_the_groups_of_the_first_column_are_shown(watched, sliced, way):
    page, first = opened(watched, sliced, f"{way}&open=fold-slices"), body(sliced)["columns"][0]
    assert page.locator("#by option").count() == len(body(sliced)["columns"]) == 2
    assert body(sliced)["sentence"] in page.inner_text(".slices")
    assert first["sentence"] in page.inner_text(".slices")
    assert [name.removesuffix(" worse") for name in rows_of(page)] == [
        group["group"] for group in first["groups"]
    ]


def test_a_column_is_chosen(watched, sliced):
    page = opened(watched, sliced)
    columns = body(sliced)["columns"]
    for number, column in enumerate(columns):
        page.select_option("#by", str(number))
        found = rows_of(page)
        assert [name.removesuffix(" worse") for name in found] == [
            group["group"] for group in column["groups"]
        ]
        assert [name.endswith(" worse") for name in found] == [
            group["worse"] for group in column["groups"]
        ]
        counts = page.locator(".slices tbody tr td:nth-child(2)").all_inner_texts()
        assert [int(count) for count in counts] == [group["rows"] for group in column["groups"]]
        assert page.locator(".slices .whisker").count() == 2 * len(column["groups"])
    assert "undefined" not in page.inner_text(".slices")
    assert "NaN" not in page.inner_text(".slices")


def test_the_column_is_kept_in_the_address(watched, sliced):
    page = opened(watched, sliced)
    page.select_option("#by", "1")
    name = page.locator("#by").evaluate("node => node.selectedOptions[0].text").split(" (")[0]
    again = watched(page.url).page
    assert again.locator("#by").evaluate("node => node.value") == "1"
    assert name in again.inner_text(".slices caption")
    other = watched(page.url.replace(f"by={name}", "by=__proto__")).page
    assert other.locator("#by").evaluate("node => node.value") == "0"


def test_the_bad_group_is_first_and_marked(watched, sliced):
    page = opened(watched, sliced)
    site = [column["column"] for column in body(sliced)["columns"]].index("site")
    assert page.locator("#by option").nth(site).inner_text() == "site (a group is worse)"
    page.select_option("#by", str(site))
    assert rows_of(page)[0] == "west worse"
    assert page.locator(".slices .range.ours").count() == 2


def changed(run, tmp_path, change):
    """Write the report of a run whose slices were changed."""
    records = []
    for record in run.records:
        if (record.stage, record.type) == ("predict", "slices"):
            record = replace(record, body=change(copy.deepcopy(dict(record.body))))
        records.append(record)
    path = tmp_path / "report.html"
    path.write_text(made.report(records), "utf-8")
    return path


def test_what_is_not_known_is_a_dash_and_caution_is_said(watched, sliced, tmp_path):
    def few(found):
        group = found["columns"][0]["groups"][-1]
        group |= dict.fromkeys(
            ("score", "low", "high", "difference", "difference_low", "difference_high")
        )
        group |= {"rows": 3, "few": True}
        group["values"] = dict.fromkeys(group["values"])
        found["columns"][0]["caution"] = "1 of 3 groups has fewer than 30 rows."
        return found

    page = watched(f"file://{changed(sliced, tmp_path, few)}#way=prediction").page
    page.wait_for_selector(".slices table")
    assert "1 of 3 groups has fewer than 30 rows." in page.inner_text(".slices .caution")
    last = page.locator(".slices tbody tr").last.locator("td").all_inner_texts()
    assert last[0] == "3"
    assert last[1] == last[3] == last[4] == "–"
    assert page.locator(".slices tbody tr").last.locator(".whisker").count() == 0


def test_hostile_names_of_columns_and_groups_are_only_shown(watched, sliced, tmp_path):
    evil = "<img src=x onerror=window.hacked=1>"

    def hostile(found):
        found["columns"][0] |= {"column": evil, "how": evil, "sentence": evil}
        found["columns"][0]["groups"][0]["group"] = evil
        return found

    page = watched(f"file://{changed(sliced, tmp_path, hostile)}#way=prediction").page
    page.wait_for_selector(".slices table")
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert page.locator("main img").count() == 0
    assert rows_of(page)[0].startswith(evil)


def test_a_smaller_report_has_fewer_columns(sliced):
    found = dict(body(sliced))
    found["columns"] = found["columns"] * 4
    lines = [{"stage": "predict", "type": "slices", "body": found}]
    notes = [note for sample in sampling.SAMPLINGS if (note := sample(lines)[1])]
    assert notes == [
        "Sampled: 2 of 8 columns of the metrics by group are in this report; all are in the run's trace.jsonl."
    ]


@pytest.mark.parametrize("width", [390, 1280])
def test_a_wide_table_scrolls_in_its_own_box(watched, sliced, width):
    page = watched(f"file://{sliced.folder / 'report.html'}#way=prediction", width=width).page
    page.wait_for_selector(".slices table")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
