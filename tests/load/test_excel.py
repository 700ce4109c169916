"""Workbooks. `files/report.xls` and `.ods` were written by xlwt and odfpy; the others are written here."""

import builtins
import datetime as dt
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

import sightline as sl
from sightline.errors import DataError, DataWarning, OptionError

FILES = Path(__file__).parent / "files"
ROWS = [[dt.date(2024, 1, 1 + i), i / 4, i, "ab"[i % 2]] for i in range(24)]
NAMES = ["when", "size", "n", "kind"]


def write(path, *, above=(), rows=ROWS, sheet="Werte", others=()):
    book = openpyxl.Workbook()
    page = book.active
    page.title = sheet
    for row in [*above, NAMES, *rows]:
        page.append(row)
    if above:
        page.merge_cells(start_row=1, start_column=1, end_row=1, end_column=4)
    for name, cells in others:
        other = book.create_sheet(name)
        for row in cells:
            other.append(row)
    book.save(path)
    return path


def values(table):
    return {name: [table.cells(name, row) for row in range(table.rows)] for name in table.columns}


EXPECTED = {
    "when": [f"2024-01-{1 + i:02} 00:00:00" for i in range(24)], "size": [i / 4 for i in range(24)],
    "n": list(range(24)), "kind": ["ab"[i % 2] for i in range(24)],
}  # fmt: skip


def test_every_kind_of_workbook_is_the_same_table(tmp_path):
    title = [["Report of 2024"], []]
    for path in (
        FILES / "report.xls",
        FILES / "report.ods",
        write(tmp_path / "t.xlsx", above=title),
    ):
        table = sl.read(path, drop=())
        assert values(table) == EXPECTED, path
        assert [c.kind for c in table.schema.columns] == [
            "datetime",
            "numeric",
            "numeric",
            "categorical",
        ]
        assert table.schema["n"].values == "integer"
        assert table.said == ("the header is line 3; the lines above it are a title",)
        assert values(sl.read(path, header=3)) == EXPECTED
    plain = sl.read(write(tmp_path / "u.xlsx"))
    assert (values(plain), plain.said) == (EXPECTED, ())
    frame = pd.DataFrame(ROWS, columns=NAMES)
    assert sl.read(frame).row_hashes(NAMES).tolist() == plain.row_hashes(NAMES).tolist()


def test_a_sheet_is_chosen_by_name(tmp_path):
    other = [["x", "y"], *([n, n % 3] for n in range(20))]
    path = write(tmp_path / "t.xlsx", others=[("Other", other), ("Empty", [])])
    for table in (sl.read(f"{path}#Other"), sl.read(path, sheet="Other")):
        assert list(table.columns) == ["x", "y"]
    assert list(sl.read(path).columns) == NAMES
    with pytest.raises(OptionError, match=r"no sheet 'other'.*Did you mean 'Other'"):
        sl.read(f"{path}#other")
    with pytest.raises(DataError, match=r"The sheet 'Empty' of .* is empty"):
        sl.read(path, sheet="Empty")
    with pytest.raises(OptionError, match="header is 99"):
        sl.read(path, header=99)


def test_cells_of_mixed_types_formulas_and_gaps(tmp_path):
    rows = [[None, "n/a", 1, "a"], *[list(row) for row in ROWS[1:]], [None, None, None, None]]
    rows[5][1] = "=1+1"  # a formula whose value was never computed is an empty cell
    path = write(tmp_path / "t.xlsx", rows=rows)
    with pytest.warns(DataWarning, match="'size' is not used: .* some are not, such as 'n/a'"):
        table = sl.read(path)
    assert table.rows == 24  # the empty row at the end is none
    assert table.cells("when", 0) is None
    sizes = sl.read(path, missing="n/a")
    assert [sizes.cells("size", row) for row in (0, 1, 5)] == [None, 0.25, None]


def test_a_bad_value_is_named_by_its_row(tmp_path):
    rows = [*[[None, n / 4, n, "a"] for n in range(299)], [None, "heavy", 7, "b"]]
    path = write(tmp_path / "t.xlsx", rows=rows)
    with pytest.raises(
        DataError, match=r"sheet 'Werte', row 301, column 'size': 'heavy' is not a finite number"
    ):
        sl.read(path)


def test_a_model_reads_the_sheet_that_it_was_trained_on(tmp_path):
    other = [["x"], *([n] for n in range(9))]
    rows = [[dt.date(2024, 1, 1 + i % 28), i % 7 / 4, i % 7, "ab"[i % 7 > 3]] for i in range(90)]
    book = openpyxl.load_workbook(write(tmp_path / "t.xlsx", rows=rows, others=[("Other", other)]))
    book.move_sheet("Werte", 1)
    book.save(tmp_path / "t.xlsx")
    run = sl.fit(tmp_path / "t.xlsx", "kind", sheet="Werte", quality="fast", epochs=1, quiet=True, report=False,
                 run=tmp_path / "r")  # fmt: skip
    model = sl.Model.load(run.folder)
    expected = model.predict_proba(f"{tmp_path / 't.xlsx'}#Werte")
    assert (model.predict_proba(tmp_path / "t.xlsx") == expected).all()
    assert (model.predict_proba(pd.DataFrame(rows, columns=NAMES)) == expected).all()
    single = write(tmp_path / "new.xlsx", rows=rows, sheet="Tabelle1")
    assert (model.predict_proba(single) == expected).all()
    from sightline.pipeline.origin import evaluate

    assert evaluate(model)["accuracy"] == run.metrics["accuracy"]


@pytest.mark.parametrize("content", [b"PK\x03\x04 not a workbook", b"", b"a,b\n1,2\n"])
def test_what_is_no_workbook(tmp_path, content):
    path = tmp_path / "t.xlsx"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"t\.xlsx cannot be read as a workbook"):
        sl.read(path)


def test_without_the_extra(tmp_path, monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest):
        if name == "python_calamine":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(DataError, match=r'pip install "sightline\[excel\]"'):
        sl.read(write(tmp_path / "t.xlsx"))
