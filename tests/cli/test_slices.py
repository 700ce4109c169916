"""`sightline evaluate --by`."""

import json

import pytest

import sightline as sl


@pytest.fixture(scope="module")
def model(penguins, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    run = sl.fit(
        penguins, "species", quality="fast", test=0.4, run=folder / "run", report=False, quiet=True
    )
    run.model.to_onnx(folder / "m.onnx")
    return folder / "run"


def test_a_table_for_each_column(sightline, model):
    said = sightline("evaluate", model, "--by", "island", "--by", "bill_length_mm")
    assert said.code == 0
    assert said.err == ""
    assert "test: by island (3 values)" in said.out
    assert "test: by bill_length_mm (5 ranges with about equally many rows)" in said.out
    for name in ("Biscoe", "Dream", "Torgersen", "Log loss", "Minus all", "Coverage"):
        assert name in said.out
    assert "Caution: " in said.out
    assert "8 comparisons together (Holm)" in said.out


def test_the_numbers_are_in_json(sightline, model, penguins):
    body = json.loads(sightline("evaluate", model, "--by", "sex", "--json").out)
    assert body["slices"]["part"] == body["part"] == "test"
    assert [column["column"] for column in body["slices"]["columns"]] == ["sex"]
    assert sum(group["rows"] for group in body["slices"]["columns"][0]["groups"]) == body["rows"]
    body = json.loads(
        sightline("evaluate", model, penguins, "--by", "sex", "--by", "sex", "--json").out
    )
    assert body["slices"]["part"] == body["part"] == str(penguins)
    assert len(body["slices"]["columns"]) == 1
    assert "slices" not in json.loads(sightline("evaluate", model, "--json").out)


def test_an_onnx_file_is_measured_too(sightline, model, penguins):
    said = sightline("evaluate", model.parent / "m.onnx", penguins, "--by", "island", "--json")
    assert said.code == 0
    groups = json.loads(said.out)["slices"]["columns"][0]["groups"]
    assert sorted((group["group"], group["rows"]) for group in groups) == [
        ("Biscoe", 168), ("Dream", 124), ("Torgersen", 52),
    ]  # fmt: skip
    said = sightline("evaluate", model.parent / "m.onnx", "--by", "island")
    assert said.code == 2
    assert "does not know its test rows" in said.err


def test_quiet_prints_nothing_and_requirements_still_count(sightline, model):
    said = sightline("evaluate", model, "--by", "island", "--quiet", "--require", "accuracy>=2")
    assert said.code == 1
    assert said.out == ""


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        ("iland", "has no column 'iland'. Did you mean 'island'?"),
        ("", "has no column ''."),
    ],
)
def test_columns_that_do_not_exist(sightline, model, penguins, column, problem):
    for source in ([], [penguins]):
        said = sightline("evaluate", model, *source, "--by", column)
        assert said.code == 2
        assert problem in said.err
        assert said.out == ""


def test_one_group_and_a_target_of_numbers(sightline, model, penguins, tmp_path):
    lines = penguins.read_text().splitlines()
    (tmp_path / "one.csv").write_text(
        "\n".join([lines[0], *(x for x in lines if "Torgersen" in x)]) + "\n"
    )
    said = sightline("evaluate", model, tmp_path / "one.csv", "--by", "island")
    assert said.code == 2
    assert "'island' has one value in all 52 measured rows: Torgersen." in said.err


def test_control_characters_of_a_group_are_escaped(sightline, model, penguins, tmp_path):
    lines = penguins.read_text().splitlines()
    rows = [
        f"{line},{'evil' + chr(27) + '[31m' if i % 2 else 'good'}"
        for i, line in enumerate(lines[1:])
    ]
    (tmp_path / "evil.csv").write_text("\n".join([f"{lines[0]},more", *rows]) + "\n")
    said = sightline("evaluate", model, tmp_path / "evil.csv", "--by", "more")
    assert said.code == 0
    assert "\x1b" not in said.out
    assert "good" in said.out
