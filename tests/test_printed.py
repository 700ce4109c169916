"""print() of a table, splits, a prepared table, a model and a run: short, useful, and nothing is computed for it."""

import shutil

import pytest

import sightline as sl
from sightline.trace.records import TRACE_FILE

EVIL = "red\x1b[31m" + "n" * 300


def test_a_table_names_its_columns(penguins):
    lines = str(sl.read(penguins)).splitlines()
    assert lines[0].endswith("penguins.csv: 344 rows x 8 columns")
    assert lines[1].startswith("  island (categorical), bill_length_mm (numeric), ")


def test_splits_name_the_target_and_the_parts(species):
    lines = str(species.splits).splitlines()
    assert lines[1] == "  target species, classification: Adelie, Chinstrap, Gentoo"
    assert lines[2] == f"  {species.splits.describe()}"
    weight = sl.split(species.splits.table, "body_mass_g")
    assert "  target body_mass_g, regression\n" in str(weight)
    assert "  2 rows without a target left out" in str(weight)


def test_a_prepared_table_names_its_tensors(species):
    lines = str(species).splitlines()
    assert lines[0].endswith("penguins.csv, target species")
    numbers, codes = species.train.numeric.shape[1], species.train.categorical.shape[1]
    assert lines[1] == f"  {numbers} numbers and {codes} codes a row; 3 outputs"
    assert lines[2] == "  rows: 276 training, 34 validation, 34 test"


def test_a_model_names_what_it_needs(fitted):
    model = sl.Model.load(fitted / "runs" / "a" / "model.sightline")
    lines = str(model).splitlines()
    assert lines[0] == "Model of species, classification: Adelie, Chinstrap, Gentoo"
    assert lines[1].startswith("  from 7 columns: island, bill_length_mm, ")
    assert lines[2].startswith("  MLP, ")


def test_a_run_names_its_metrics_and_files(fitted, tmp_path):
    run = sl.Run(fitted / "runs" / "a")
    lines = str(run).splitlines()
    assert lines[0] == f"Run {fitted / 'runs' / 'a'}, complete"
    assert lines[1].endswith("penguins.csv, target species, classification")
    assert lines[2].startswith("  test, 34 rows: log_loss ")
    assert "accuracy " in lines[2]
    assert any(line.startswith("  model ") for line in lines)
    first = (run.folder / TRACE_FILE).read_bytes().splitlines(keepends=True)[:3]
    (tmp_path / TRACE_FILE).write_bytes(b"".join(first))
    assert str(sl.Run(tmp_path)).splitlines()[0] == f"Run {tmp_path}, not complete"
    (tmp_path / TRACE_FILE).write_bytes(b"")
    assert str(sl.Run(tmp_path)) == f"Run {tmp_path}, not complete"


@pytest.mark.parametrize("columns", [2, 300])
def test_strange_names_are_short_and_harmless(columns):
    data = {f"{number}{EVIL}": [1.5, 2.5, 3.25] * 20 for number in range(columns)}
    data["y"] = [f"{number}{EVIL}" for number in range(12)] * 5
    table = sl.read(data)
    splits = sl.split(table, "y", test=0)
    for shown in (table, splits, sl.prepare(splits)):
        text = str(shown)
        assert "\x1b" not in text
        assert len(text.splitlines()) <= 12
        assert len(text) < 1500
    assert repr(table) == str(table)


def test_nothing_is_computed(fitted, monkeypatch, tmp_path):
    shutil.copytree(fitted / "runs" / "a", tmp_path / "a")
    run = sl.Run(tmp_path / "a")
    (tmp_path / "a" / "model.sightline").unlink()
    assert str(run)  # the model is not loaded, the table not read
