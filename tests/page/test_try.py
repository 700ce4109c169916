"""The page of `sightline serve` in a real browser: every column a control, the prediction follows."""

import json

import pytest

import sightline as sl
from tests.page.conftest import until
from tests.serve.served import serving


@pytest.fixture(scope="module")
def models(tmp_path_factory, penguins):
    folder = tmp_path_factory.mktemp("models")
    for target, name in (("species", "species"), ("body_mass_g", "weight")):
        model = sl.fit(penguins, target, quality="fast", run=folder / name, report=False, quiet=True).model  # fmt: skip
        model.save(folder / f"{name}.sightline", onnx=True)
    table = {
        "when": [f"2020-01-{1 + i % 28:02}" for i in range(60)], "paid": [i % 2 == 0 for i in range(60)],
        "<b>odd</b>": [f"c{i % 3}" for i in range(60)], "note": [f"red w{i % 7} {i}" for i in range(60)],
        "y": ["a", "b", "c"] * 20,
    }  # fmt: skip
    sl.fit(table, "y", network="MLP", epochs=2, kinds={"note": "text"}, quiet=True).model.save(folder / "odd.sightline")  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def address(models):
    with serving(*sorted(models.glob("*.sightline")), "--drain", 0) as server:
        yield server.address


@pytest.fixture
def page(watched, address):
    seen = watched(f"{address}/")
    until(seen.page, "document.querySelector('#answer .verdict') !== null")
    yield seen.page
    assert not seen.hosts()
    # A refused row is an answer here, of which the browser complains.
    seen.complaints[:] = [said for said in seen.complaints if "400 (Bad Request)" not in said]


def choose(page, name):
    page.select_option("#model", label=name)
    until(page, f"document.querySelector('.lead').textContent.includes('{name} predicts')")
    until(page, "document.querySelector('#answer .verdict') !== null")


def control(page, name):
    return page.locator(".control", has_text=name).first


def test_the_prediction_follows_several_columns(page):
    choose(page, "species")
    first = page.inner_text("#answer")
    control(page, "bill_length_mm").locator("input[type=number]").fill("34")
    control(page, "island").locator("select").select_option(label="Torgersen")
    until(page, "document.querySelectorAll('.control.changed').length === 2")
    until(page, "document.querySelector('#answer').textContent.includes('before')")
    text = page.inner_text("#answer")
    assert "Adelie" in text
    assert text != first
    assert "Changed: island Biscoe → Torgersen; bill_length_mm" in text
    assert "Prediction set" in text
    page.get_by_role("button", name="Undo all changes").click()
    until(page, "document.querySelector('#answer .verdict') !== null && !document.querySelector('#answer').textContent.includes('before')")  # fmt: skip
    assert page.inner_text("#answer") == first


def test_the_slider_and_the_field_hold_the_same_number(page):
    choose(page, "weight")
    box = control(page, "flipper_length_mm")
    box.locator("input[type=range]").focus()
    page.keyboard.press("End")
    assert box.locator("input[type=number]").input_value() == "231"
    until(page, "document.querySelector('#answer').textContent.includes('before')")
    assert "Prediction interval" in page.inner_text("#answer")


def test_unusual_values_are_said(page):
    choose(page, "species")
    control(page, "bill_length_mm").locator("input[type=number]").fill("99")
    control(page, "sex").locator("select").select_option(label="(missing)")
    until(page, "document.querySelectorAll('#answer .notes li').length === 2")
    text = page.inner_text("#answer .notes")
    assert "bill_length_mm lies outside its training range" in text
    assert "sex is missing" in text


def test_the_row_to_compare_with_can_be_changed(page):
    choose(page, "species")
    control(page, "year").locator("input[type=number]").fill("2009")
    until(page, "document.querySelectorAll('.control.changed').length === 1")
    page.get_by_role("button", name="Compare with this row").click()
    until(page, "document.querySelectorAll('.control.changed').length === 0")
    assert control(page, "year").locator("input[type=number]").input_value() == "2009"


def test_it_shows_how_a_prediction_is_made(page):
    choose(page, "species")
    page.get_by_role("button", name="How is it made?").click()
    until(page, "document.querySelector('#how h2') !== null")
    assert "Prediction of each part" in page.inner_text("#how")
    choose(page, "odd")  # computed with PyTorch
    page.get_by_role("button", name="How is it made?").click()
    until(page, "document.querySelectorAll('#how .way h3').length > 3")
    assert "Input layer" in page.inner_text("#how")


def test_odd_columns_have_controls_too(page):
    choose(page, "odd")
    assert "<b>odd</b>" in page.inner_text("#controls")
    control(page, "when").locator("input").fill("no date")
    until(page, "document.querySelector('#answer .error') !== null")
    assert "no date" in page.inner_text("#answer .error")
    control(page, "when").locator("input").fill("2020-01-09")
    until(page, "document.querySelector('#answer .verdict') !== null")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["", "docs"])
def test_axe_finds_no_serious_fault(watched, address, axe, path, scheme):
    page = watched(f"{address}/{path}", color_scheme=scheme).page
    if not path:
        until(page, "document.querySelector('#answer .verdict') !== null")
    page.evaluate(axe)
    found = page.evaluate("axe.run()")["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == [], json.dumps(found)[:3000]  # fmt: skip


def test_a_key_is_asked_for(browser, models, tmp_path):
    (tmp_path / "keys").write_text("open sesame\n", encoding="utf-8")
    page = browser.new_page()
    with serving(models / "species.sightline", "--api-keys", tmp_path / "keys", "--drain", 0) as server:  # fmt: skip
        page.goto(f"{server.address}/")
        until(page, "document.querySelector('#key') !== null")
        page.fill("#key", "wrong")
        page.get_by_role("button", name="Go on").click()
        until(page, "document.querySelector('.error') !== null")
        page.fill("#key", "open sesame")
        page.get_by_role("button", name="Go on").click()
        until(page, "document.querySelector('#answer .verdict') !== null")
    page.close()
