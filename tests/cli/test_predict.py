"""Predictions of files that are read in pieces, on the command line."""

import json

import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

import sightline as sl
from sightline.load import table as tables


@pytest.fixture(scope="module")
def model(penguins, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    run = sl.fit(penguins, "species", quality="fast", run=folder / "run", report=False, quiet=True)
    run.model.save(folder / "m.sightline", onnx=True)
    return folder / "m.sightline"


@pytest.fixture
def small_pieces(monkeypatch):
    """Cut files into pieces of a few rows."""
    cut = tables.pieces
    monkeypatch.setattr(
        tables, "pieces", lambda source, request, size, rows, groups: cut(source, request, 2000, 50)
    )


def damaged(penguins, path):
    """Write the penguins with a damaged row and values that the model does not know."""
    lines = penguins.read_text().splitlines()
    lines[200] = "1,2"
    lines[300] = lines[300].replace("Dream", "Hamburg")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_pieces_change_nothing(sightline, model, penguins, tmp_path, monkeypatch, ending):
    source = damaged(penguins, tmp_path / "in.csv")
    arguments = [
        "predict",
        str(model),
        str(source),
        "--keep",
        "island,year,species",
        "--alpha",
        "0.2",
    ]
    whole = sightline(*arguments, "-o", str(tmp_path / f"whole.{ending}"))
    cut = tables.pieces
    sizes = []

    def small(source, request, size, rows, groups):
        for piece in cut(source, request, 2000, 50):
            sizes.append(piece.table.num_rows)
            yield piece

    monkeypatch.setattr(tables, "pieces", small)
    found = sightline(*arguments, "-o", str(tmp_path / f"pieces.{ending}"))
    assert len(sizes) > 5
    assert found.code == whole.code == 0
    assert found.err.replace("pieces.", "whole.") == whole.err
    assert "1 row has no prediction; the first is row 199: in.csv, line 201" in found.err
    read = pq.read_table if ending == "parquet" else pc.read_csv
    first, second = read(tmp_path / f"whole.{ending}"), read(tmp_path / f"pieces.{ending}")
    assert first.schema == second.schema
    assert first.drop_columns([n for n in first.column_names if "prob" in n]).equals(
        second.drop_columns([n for n in first.column_names if "prob" in n])
    )
    if ending == "csv":
        printed = sightline(*arguments, "--quiet")
        assert printed.out.encode() == (tmp_path / "pieces.csv").read_bytes()


@pytest.mark.usefixtures("small_pieces")
def test_counts_of_pieces_are_added_up(sightline, model, penguins, tmp_path):
    source = damaged(penguins, tmp_path / "in.csv")
    said = sightline("predict", str(model), str(source), "--json")
    body = json.loads(said.out)
    assert body["rows"] == len(body["predictions"]) == 344
    assert body["bad_rows"] == 1
    assert body["bad"][0]["row"] == 199
    assert body["unseen"] == {"island": 1}
    assert body["missing"]["sex"] == 11
    assert body["extra"] == []


@pytest.mark.usefixtures("small_pieces")
def test_news_are_told_once_for_the_whole_file(sightline, model, penguins, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(penguins.read_text().replace("Biscoe", "B").replace("Dream", "D").replace("Torgersen", "T"))  # fmt: skip
    said = sightline("predict", str(model), str(path), "-o", str(tmp_path / "o.csv"), "--quiet")
    assert said.err.count("344 of 344 rows have a value never seen in training in the column 'island'") == 1  # fmt: skip


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_the_engine_can_be_chosen(sightline, model, penguins, tmp_path, engine):
    said = sightline("predict", str(model), str(penguins), "-o", str(tmp_path / "o.parquet"), "--engine", engine)  # fmt: skip
    assert said.code == 0
    found = pq.read_table(tmp_path / "o.parquet")["probability_Adelie"].to_numpy()
    expected = sl.Model.load(model).predict_proba(penguins)[:, 0]
    assert abs(found - expected).max() < 1e-5
    assert sightline("evaluate", str(model), str(penguins), "--engine", engine, "--json").code == 0


def test_a_bundle_without_onnx_has_no_such_engine(sightline, model, penguins, tmp_path):
    sl.Model.load(model).save(tmp_path / "plain.sightline")
    said = sightline(
        "predict", str(tmp_path / "plain.sightline"), str(penguins), "--engine", "onnx"
    )
    assert said.code == 2
    assert "does not hold the model as ONNX" in said.err


def test_a_file_without_rows_gives_a_file_without_rows(sightline, model, penguins, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(penguins.read_text().splitlines()[0] + "\n")
    said = sightline("predict", str(model), str(path), "-o", str(tmp_path / "o.csv"))
    assert said.code == 0
    assert (tmp_path / "o.csv").read_text().splitlines()[1:] == []
