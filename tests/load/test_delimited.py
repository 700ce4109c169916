"""CSV and TSV: every text comes back as it went in, and every fault has a line."""

import csv
import gzip
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import DataError
from sightline.load.delimited import Delimited
from sightline.load.names import unique_names

CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def texts(path: Path, column: str, **options) -> list[str | None]:
    table = sl.read(path, kinds={column: "categorical"}, **options)
    return [table.cells(column, row) for row in range(table.rows)]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cells=st.lists(CELLS, min_size=1, max_size=6))
def test_any_unicode_comes_back_as_it_went_in(tmp_path: Path, cells: list[str]) -> None:
    path = tmp_path / "any.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows([["name", "n"], *([cell, str(i)] for i, cell in enumerate(cells))])
    assert texts(path, "name") == [cell or None for cell in cells]


def test_hard_cells_and_names_come_back(tmp_path: Path) -> None:
    hard = ['say "hi"', "a,b", "two\nlines", "two\r\nlines", "😀", "<script>alert(1)</script>",
            "x" * 1_000_000, " padded ", "'", ";", "\ttab"]  # fmt: skip
    path = tmp_path / "hard.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*hard, "n"])
        for row, cell in enumerate(hard):
            writer.writerow([*([cell] * len(hard)), row])
    table = sl.read(path, kinds=dict.fromkeys(hard, "categorical"))
    assert [column.name for column in table.schema.columns] == [*hard, "n"]
    for name in hard:
        assert [table.cells(name, row) for row in range(len(hard))] == hard


@pytest.mark.parametrize(
    "content",
    ["a,b\n1,x\n2,y\n", "a,b\r\n1,x\r\n2,y\r\n", "a,b\r1,x\r2,y\r", "a;b\n1;x\n2;y",
     "a\tb\n1\tx\n2\ty\n", "a|b\n1|x\n2|y\n", "\ufeffa,b\n1,x\n2,y\n", "\n\na,b\n\n1,x\n\n2,y\n\n",
     '"a","b"\n"1","x"\n"2","y"\n'],
)  # fmt: skip
def test_the_same_table_in_many_hands(tmp_path: Path, content: str) -> None:
    table = sl.read(write(tmp_path / "t.csv", content))
    assert table.numbers("a").tolist() == [1, 2]
    assert table.words("b").to_pylist() == ["x", "y"]


def test_one_column_keeps_its_blank_lines_as_missing(tmp_path: Path) -> None:
    assert texts(write(tmp_path / "t.csv", "a\nx\n\ny\n"), "a") == ["x", None, "y"]


def test_a_quoted_name_may_break_the_line(tmp_path: Path) -> None:
    table = sl.read(write(tmp_path / "t.csv", '"a\nb",c\n1,2\n3,4\n'))
    assert table.numbers("a\nb").tolist() == [1, 3]


def test_a_tsv_is_cut_at_tabs_alone(tmp_path: Path) -> None:
    table = sl.read(write(tmp_path / "t.tsv", "a\tb,c,d\n1\t2\n3\t4\n"))
    assert table.numbers("b,c,d").tolist() == [2, 4]


def test_hundreds_of_columns_take_no_minutes(tmp_path: Path) -> None:
    rows = [",".join(f"c{i}" for i in range(300)), *(",".join(["1"] * 300) for _ in range(3))]
    start = time.process_time()
    table = sl.read(write(tmp_path / "t.csv", "\n".join(rows)))
    assert len(table.columns) == 300
    assert time.process_time() - start < 10


def test_names_are_made_unique_and_it_is_said(tmp_path: Path) -> None:
    table = sl.read(write(tmp_path / "t.csv", "a,a,,a_2\n1,2,3,4\n2,3,4,5\n"))
    assert [c.name for c in table.schema.columns] == ["a", "a_3", "column_3", "a_2"]
    assert "more than once" in table.schema["a_3"].reason
    assert "no name" in table.schema["column_3"].reason


@given(st.lists(st.sampled_from(["a", "", " ", "a_2", "column_1", "column_2"]), max_size=8))
def test_names_are_always_unique(header: list[str]) -> None:
    names, notes = unique_names(header)
    assert len(set(names)) == len(names) == len(header)
    assert all(name.strip() for name in names)
    assert all(name in notes or name == old for name, old in zip(names, header, strict=True))


BAD_FILES = [
    ("empty.csv", "", ["empty.csv is empty", "Give a file"]),
    ("blank.csv", "\n \n\n", ["blank.csv is empty"]),
    ("header.csv", "a,b\n", ["header.csv has a header but no rows"]),
    ("short.csv", "a,b\n1,2\n3\n", ["short.csv, line 3", "1 cells where the header has 2", "skip"]),
    ("long.csv", "a,b\n1,2\n3,4,5\n", ["long.csv, line 3", "3 cells where the header has 2"]),
    ("broken.csv", 'a,b\n"x\ny",2\n3\n', ["broken.csv, line 4", "1 cells"]),
    ("open.csv", 'a,b\n1,2\n3,"x\n5,6\n', ["open.csv, line 3", "never closes", "Close the quote"]),
    ("header_open.csv", 'a,"b\n1,x\n', ["header_open.csv, line 1", "never closes"]),
    ("zero.csv", b"a,b\n1,\x00\n", ["zero.csv is a binary file", "Give a CSV"]),
    ("book.csv", b"PK\x03\x04rest", ["book.csv is a zip archive or an Excel", "ends in .xlsx"]),
    ("wide.csv", "a,b\n1,2\n".encode("utf-16"), ["UTF-16", "encoding='utf-16'"]),
    ("latin.csv", "a,b\nblå,1\n".encode("latin-1"), ["not utf-8 text", "0xe5", "encoding='cp1252'"]),
    ("late.csv", b"a,b\n" + b"1,x\n" * 60_000 + b"2,\xff\n", ["not utf-8", "near line", "0xff"]),
    ("late_ragged.csv", "a,b\n" + "1,x\n" * 60_000 + "2\n", ["late_ragged.csv, line 60,002"]),
    ("no.csv.gz", b"a,b\n1,2\n", ["no.csv.gz cannot be decompressed", "complete gzip file"]),
    ("cut.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 9999, mtime=0)[:40], ["cut.csv.gz cannot be decompressed"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "said"), BAD_FILES, ids=[c[0] for c in BAD_FILES])
def test_a_bad_file_is_named_with_its_fault(
    tmp_path: Path, name: str, content: str | bytes, said: list[str]
) -> None:
    with pytest.raises(DataError) as caught:
        sl.read(write(tmp_path / name, content))
    assert all(part in str(caught.value) for part in said), str(caught.value)
    assert str(caught.value).endswith(caught.value.fix)


def test_encodings(tmp_path: Path) -> None:
    for encoding in ("latin-1", "cp1252", "utf-16", "utf-8-sig", "shift_jis"):
        word = "表" if encoding == "shift_jis" else "blå"
        path = write(tmp_path / "t.csv", f"a,b\n{word},1\nx,2\n".encode(encoding))
        assert texts(path, "a", encoding=encoding) == [word, "x"]


def test_an_unknown_or_wrong_encoding_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a,b\nblå,1\nx,2\n")
    with pytest.raises(DataError, match="no encoding called 'klingon'"):
        sl.read(path, encoding="klingon")
    with pytest.raises(DataError, match=r"t\.csv is not ascii text.*0xc3"):
        sl.read(path, encoding="ascii")


def test_ragged_rows_are_skipped_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 'a,b\n1,x\n2\n3,"y"z\n4,w,v\n5,u\n')
    table = sl.read(path, on_bad_rows="skip")
    assert table.numbers("a").tolist() == [1, 3, 5]
    assert table.columns["b"].to_pylist() == ["x", "yz", "u"]
    assert table.skipped == 2


@pytest.mark.parametrize("other", ["", "4,w,v\n"], ids=["fast", "careful"])
def test_letters_after_a_quote_belong_to_the_cell_on_either_path(
    tmp_path: Path, other: str
) -> None:
    path = write(tmp_path / "t.csv", 'a,b\n3,"y"z\n4,5"5\n' + other)
    table = sl.read(path, on_bad_rows="skip")
    assert table.columns["b"].to_pylist() == ["yz", '5"5']


def test_a_letter_at_line_70001(tmp_path: Path) -> None:
    lines = ["a,b", *["1,x", "2,y"] * 34_999, "3,x", "7o,x", *["1,x"] * 1000]
    assert lines[70_001 - 1] == "7o,x"
    path = write(tmp_path / "t.csv", "\n".join(lines))
    with pytest.raises(DataError) as caught:
        sl.read(path)
    for part in ("t.csv, line 70,001", "column 'a'", "'7o'", "on_bad_rows='skip'"):
        assert part in str(caught.value)
    table = sl.read(path, on_bad_rows="skip")
    assert (table.rows, table.skipped) == (70_999, 1)


def test_lines_count_quoted_line_breaks(tmp_path: Path) -> None:
    content = "a,b\n" + '1,"x\ny\nz"\n' * 150 + "q,w\n"
    with pytest.raises(DataError, match="line 452, column 'a': 'q'"):
        sl.read(write(tmp_path / "t.csv", content))


def test_locate_reads_the_cell_as_written(tmp_path: Path) -> None:
    one = Delimited.open(write(tmp_path / "t.csv", 'a,b\n\n1,"x\ny"\n2, w \n'))
    assert one.locate(0, "b") == (3, "x\ny")
    assert one.locate(1, "b") == (5, " w ")


@pytest.mark.parametrize("row", [3, 700, 2000])
def test_a_quote_that_never_closes_loses_no_rows_in_silence(tmp_path: Path, row: int) -> None:
    rows = [f"{i},{i},{chr(34) if i == row else ''}w{i % 3}" for i in range(2001)]
    with pytest.raises(DataError, match=f"line {row + 2:,}: a quote .* never closes"):
        sl.read(write(tmp_path / "t.csv", "\n".join(["a,b,c", *rows]) + "\n"))


@pytest.mark.parametrize("row", [0, 600, 1199])
def test_codes_are_codes_wherever_their_leading_zero_stands(tmp_path: Path, row: int) -> None:
    rows = [f"{'01000' if i == row else 10_000 + i % 7},{i % 5}" for i in range(1200)]
    table = sl.read(write(tmp_path / "t.csv", "\n".join(["zip,n", *rows])))
    assert table.schema["zip"].kind == "categorical"
    assert "01000" in table.schema["zip"].reason
    assert table.columns["zip"][row].as_py() == "01000"
    assert table.schema["n"].kind == "numeric"


def test_codes_are_found_beside_a_column_with_a_bad_cell(tmp_path: Path) -> None:
    rows = [
        f"{'01000' if i == 900 else 10_000 + i % 7},{'x' if i == 1000 else i}" for i in range(1200)
    ]
    table = sl.read(write(tmp_path / "t.csv", "\n".join(["zip,n", *rows])), on_bad_rows="skip")
    assert (table.schema["zip"].kind, table.schema["n"].kind) == ("categorical", "numeric")
    assert table.columns["zip"][900].as_py() == "01000"
    assert table.skipped == 1
