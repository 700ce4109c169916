"""The page of each lesson of what goes wrong, in a real browser."""

import pytest

from sightline.lesson.faults import FAULTS
from sightline.page.lesson import lesson_page
from sightline.pipeline.lessons import give


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page of a lesson, made once."""
    folder, done = tmp_path_factory.mktemp("lessons"), {}

    def of(name):
        if name not in done:
            done[name] = give(name, folder / name, 0, report=name == "leakage")
        return done[name]

    return of


@pytest.mark.parametrize("name", FAULTS)
def test_each_page_opens_without_a_complaint_at_every_width(watched, pages, name):
    taught = pages(name)
    for width, scheme in ((390, "light"), (1280, "dark"), (1920, "light")):
        page = watched(f"file://{taught.page}", width=width, color_scheme=scheme).page
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        text = page.inner_text("main")
        for wrong in ("undefined", "NaN", "nan", "[object"):
            assert wrong not in text
        for one in taught.body["questions"]:
            assert one["answer"] in text
        assert taught.body["sides"][0]["observed"]["said"] in text
        assert page.locator("svg").count() == len(taught.body["sides"])


def test_the_runs_stand_side_by_side_where_there_is_room(watched, pages):
    def tops(width):
        page = watched(f"file://{pages('leakage').page}", width=width).page
        return [box["y"] for box in (one.bounding_box() for one in page.locator("figure").all())]

    wide, narrow = tops(1280), tops(390)
    assert wide[0] == wide[1]
    assert narrow[0] < narrow[1]


def test_answers_are_shown_on_demand_and_reports_linked(watched, pages):
    page = watched(f"file://{pages('leakage').page}").page
    answer = page.locator("details p").first
    assert not answer.is_visible()
    page.locator("summary").first.click()
    assert answer.is_visible()
    links = page.locator("a", has_text="report of this run").all()
    for link, name in zip(links, ("fault", "cure"), strict=True):
        assert link.get_attribute("href") == f"{name}/report.html"
        report = watched(f"file://{pages('leakage').folder / name / 'report.html'}").page
        report.wait_for_selector("main > section")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(watched, pages, axe, scheme):
    page = watched(f"file://{pages('overfitting').page}", width=390, color_scheme=scheme).page
    page.evaluate(axe)
    serious = [
        (one["id"], [node["html"][:120] for node in one["nodes"][:3]])
        for one in page.evaluate("axe.run()")["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_it_prints(watched, pages):
    assert len(watched(f"file://{pages('overfitting').page}").page.pdf()) > 10_000


def test_nothing_in_it_is_run_or_breaks_it(watched, pages, tmp_path):
    """Losses that are not finite, and texts that attack the page."""
    body = pages("leakage").body
    attack = "<script>window.hacked=1</script>"
    nan, inf = float("nan"), float("inf")
    side = {**body["sides"][0], "title": attack, "last": attack,
            "epochs": [(0, 0.7, 0.7), (1, inf, nan), (2, nan, nan), (3, 1e30, 0.5)], "measured": {attack: nan}}  # fmt: skip
    file = tmp_path / "lesson.html"
    changed = {**body, "title": attack, "sides": [side, side], "changed": {attack: [attack, None]}}
    file.write_text(lesson_page(changed), encoding="utf-8")
    page = watched(f"file://{file}").page
    assert page.evaluate("window.hacked") is None
    assert page.locator("h1").inner_text() == attack
    assert page.locator("[d*=nan], [d*=inf]").count() == 0
    assert "not a finite number" in page.inner_text("main")
