"""One table, written in many ways and handed over in many forms, is one table."""

import csv
import datetime as dt
import io

import numpy as np
import openpyxl
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import sightline as sl

ROWS = 40
RNG = np.random.default_rng(3)
TABLE = {
    "Größe, cm": (RNG.uniform(-2000, 90_000, ROWS).round(2)).tolist(),
    "share": (RNG.uniform(0, 1, ROWS).round(3) + 0.0001).round(4).tolist(),
    "count": [int(n) for n in RNG.integers(0, 9_000_000, ROWS)],
    "when": [dt.date(2025, 1, 1) + dt.timedelta(days=int(n)) for n in RNG.integers(0, 700, ROWS)],
    "city": [str(c) for c in RNG.choice(["Köln", "Ulm; alt", "a, b", 'the "one"'], ROWS)],
}
DATES = ["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d"]
ENCODINGS = ["utf-8", "utf-8-sig", "cp1252", "utf-16"]


def number(value, decimal, thousands, negative, unit):
    text = f"{abs(value):,}".replace(",", "T").replace(".", decimal).replace("T", thousands) + unit
    if value >= 0:
        return text
    return {"()": f"({text})", "behind": f"{text}-"}.get(negative, f"{negative}{text}")


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    signs=st.sampled_from([(".", ""), (".", ","), (".", "'"), (".", " "), (",", ""), (",", "."), (",", "\u00a0"), (",", "'")]),
    negative=st.sampled_from(["-", "\u2212", "()", "behind"]),
    unit=st.sampled_from(["", " €", "€"]),
    encoding=st.sampled_from(ENCODINGS),
    dates=st.sampled_from(DATES),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    title=st.booleans(),
    named=st.booleans(),
    ends=st.sampled_from(["\n", "\r\n"]),
)  # fmt: skip
def test_a_written_table_is_read_back(
    tmp_path, delimiter, signs, negative, unit, encoding, dates, quoting, title, named, ends
):
    assume(not (negative == "\u2212" and encoding == "cp1252"))
    text = io.StringIO()
    if named and not title:
        text.write(f"sep={delimiter}{ends}")
    if title:
        text.write(f"Report of 2025{ends}{ends}")
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=ends)
    writer.writerow(TABLE)
    for size, share, count, when, city in zip(*TABLE.values(), strict=True):
        writer.writerow([
            number(size, *signs, negative, unit), number(share, *signs, negative, ""),
            number(count, signs[0], signs[1], negative, ""), when.strftime(dates), city,
        ])  # fmt: skip
    path = tmp_path / "t.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    table = sl.read(path, encoding=None if encoding.startswith("utf-8") else encoding)
    assert list(table.columns) == list(TABLE)
    assert [c.kind for c in table.schema.columns] == [
        "numeric",
        "numeric",
        "numeric",
        "datetime",
        "categorical",
    ]
    for name in ("Größe, cm", "share", "count"):
        assert table.numbers(name) == pytest.approx(np.array(TABLE[name], float), rel=1e-12)
    assert [table.cells("when", row)[:10] for row in range(ROWS)] == [
        d.isoformat() for d in TABLE["when"]
    ]
    assert [table.cells("city", row) for row in range(ROWS)] == TABLE["city"]


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(1)
    count = 200
    return {
        "size": rng.normal(50, 20, count).round(2).tolist(), "n": [int(n) for n in rng.integers(0, 9, count)],
        "flag": [bool(b) for b in rng.integers(0, 2, count)], "city": [str(c) for c in rng.choice(["Oslo", "Rome"], count)],
        "when": [dt.datetime(2025, 1, 1) + dt.timedelta(hours=int(h)) for h in rng.integers(0, 9000, count)],
    }  # fmt: skip


def forms(rows, folder):
    """The same rows in every form that is taken."""
    frame = pd.DataFrame(rows)
    frame.to_csv(folder / "t.csv", index=False)
    frame.to_csv(
        folder / "de.csv", index=False, sep=";", decimal=",", date_format="%d.%m.%Y %H:%M:%S"
    )
    frame.to_csv(folder / "t.csv.gz", index=False)
    frame.to_json(folder / "t.json", orient="records", date_format="iso")
    frame.to_json(folder / "t.jsonl", orient="records", lines=True, date_format="iso")
    pq.write_table(pa.table(rows), folder / "t.parquet")
    frame.to_feather(folder / "t.feather")
    book = openpyxl.Workbook()
    for row in [list(rows), *map(list, zip(*rows.values(), strict=True))]:
        book.active.append(row)
    book.save(folder / "t.xlsx")
    yield from sorted(path for path in folder.iterdir() if path.name.split(".")[0] in ("t", "de"))
    yield frame
    yield frame.astype({"city": "category", "n": "Int64", "flag": "boolean"})
    yield frame.astype(object)
    yield frame.astype({"size": str, "n": float})
    yield pl.DataFrame(rows)
    yield pa.table(rows)
    yield rows
    yield {name: np.array(values) for name, values in rows.items()}


def test_every_form_gives_the_same_predictions(rows, tmp_path):
    target = ["ab"[size > 50] for size in rows["size"]]
    run = sl.fit({**rows, "y": target}, "y", quality="fast", quiet=True, report=False, baselines=False,
                 run=tmp_path / "r")  # fmt: skip
    model = sl.Model.load(run.folder)
    expected = model.predict_proba(rows)
    (tmp_path / "forms").mkdir()
    for form in forms(rows, tmp_path / "forms"):
        if str(form).endswith(
            "de.csv"
        ):  # its training values had a point: this is another way to write them
            assert len(model.predictions(form).bad) > 150
            continue
        predictions = model.predictions(form)
        assert predictions.bad == (), form
        assert predictions.unseen == {}, form
        assert (predictions.values == expected).all(), form
    for number in (0, 17):
        single = {name: values[number] for name, values in rows.items()}
        assert model.predict_proba(single) == pytest.approx(expected[[number]], abs=1e-6)


def test_every_form_gives_the_same_model(rows, tmp_path):
    target = ["ab"[size > 50] for size in rows["size"]]
    (tmp_path / "forms").mkdir()
    found = []
    for number, form in enumerate(forms({**rows, "y": target}, tmp_path / "forms")):
        if number in (2, 4, 6):  # three more files and forms would only take longer
            continue
        run = sl.fit(form, "y", network="MLP", epochs=1, quiet=True, report=False, baselines=False,
                     kinds={"n": "numeric", "size": "numeric"}, run=tmp_path / f"r{number}")  # fmt: skip
        found.append(run.model.predict_proba(rows))
    assert all((probabilities == found[0]).all() for probabilities in found)


def test_an_array_is_the_same_as_its_columns(tmp_path):
    X = np.random.default_rng(0).normal(size=(120, 3)).round(3)
    y = np.where(X[:, 0] > 0, 1, 0)
    run = sl.fit(
        np.column_stack([X, y]),
        "x3",
        network="MLP",
        epochs=1,
        quiet=True,
        report=False,
        run=tmp_path / "r",
    )
    columns = {f"x{j}": X[:, j] for j in range(3)}
    for form in (np.column_stack([X, y]), pd.DataFrame(columns), columns):
        assert (run.model.predict_proba(form) == run.model.predict_proba(columns)).all()
