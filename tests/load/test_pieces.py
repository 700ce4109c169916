"""A file that is read in pieces gives what it gives when it is read at once."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import DataError
from sightline.load.pieces import can_be_pieces, groups_of, last_row_end, parts_of, pieces
from sightline.load.raw import RawRequest
from sightline.load.table import pieces_like, read_like
from sightline.predict.reading import plain_column


@pytest.fixture(scope="module")
def schema():
    table = {
        "x": [i / 4 for i in range(40)], "word": ["red", "blue", "a,b", 'say "hi"'] * 10,
        "day": [f"2020-01-{1 + i % 28:02}" for i in range(40)], "y": [0, 1] * 20,
    }  # fmt: skip
    return sl.prepare(sl.split(sl.read(table, kinds={"word": "categorical"}), "y")).encoder.schema


def rows_of(tables, names):
    """Return all rows, and the numbers of the bad ones with their errors."""
    rows, bad = [], []
    for table in tables:
        bad += [(len(rows) + row, error) for row, error in table.bad]
        columns = [plain_column(table, name).to_pylist() for name in names]
        rows += list(zip(*columns, strict=True))
    return rows, bad


def compare(path, schema, encoding=None, keep=("id",), size=64):
    names = [*keep, "x", "word", "day"]
    whole = rows_of([read_like(path, schema, keep=keep, encoding=encoding)], names)
    assert rows_of(in_pieces(path, schema, keep, encoding, size), names) == whole
    return whole


def in_pieces(path, schema, keep, encoding, size):
    return pieces_like(path, schema, keep=keep, encoding=encoding, size=size, rows=3)


CELLS = st.one_of(
    st.sampled_from(["1", "2.5", "", "NA", "red", "a,b", "x", '"', "inf", "2020-01-05", "1e5", "é", "007"]),
    st.text(st.sampled_from('ab,"\n\r 1é'), max_size=6),
)  # fmt: skip


def quoted(cell, always):
    if always or any(c in cell for c in ',"\n\r'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(st.lists(CELLS, min_size=4, max_size=4), min_size=1, max_size=30),
    odd=st.dictionaries(st.integers(0, 29), st.sampled_from(["1,2", "1,2,3,4,5", "", '5" disk,red,x,1', 'a,27",red,1', "1,2,3,\x00"]), max_size=3),
    end=st.sampled_from(["\n", "\r\n"]), always=st.booleans(), last=st.booleans(), bom=st.booleans(),
    size=st.sampled_from([1, 40, 200]),
)  # fmt: skip
@example(rows=[["1", "1", 'a"b', "x"]] * 8, odd={2: 'a,27",red,1'}, end="\n", always=False, last=True, bom=False, size=40)  # fmt: skip
def test_pieces_give_what_the_whole_gives(
    tmp_path_factory, schema, rows, odd, end, always, last, bom, size
):
    lines = [",".join(quoted(cell, always) for cell in row) for row in rows]
    for place, line in odd.items():
        lines.insert(min(place, len(lines)), line)
    text = end.join(["id,x,word,day", *lines]) + (end if last else "")
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + text.encode())
    try:
        read_like(path, schema, keep=("id",))
    except DataError as error:
        problem = type(error)
    else:
        compare(path, schema, size=size)
        return
    with pytest.raises(problem):
        list(in_pieces(path, schema, ("id",), None, size))


def lines(count, bad=()):
    return [
        f"{i},{i / 8},{'red' if i % 3 else 'blue'},2020-01-{1 + i % 28:02}" if i not in bad else "1,2"
        for i in range(count)
    ]  # fmt: skip


def test_lines_are_counted_from_the_start_of_the_file(tmp_path, schema):
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["a title", "id,x,word,day", *lines(20_000, {15_000})]) + "\n")
    _, bad = rows_of(in_pieces(path, schema, ("id",), None, 1 << 17), ["id"])
    assert bad == [(15_000, "t.csv, line 15,003: 2 cells where the header has 4")]
    assert sum(1 for _ in pieces(path, RawRequest(on_bad_rows="keep"), size=1 << 17)) > 4


def test_a_cell_that_is_no_number_is_named_with_its_row(tmp_path, schema):
    rows = lines(20_000)
    rows[15_000] = "15000,heavy,red,2020-01-01"
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["id,x,word,day", *rows]))
    _, bad = rows_of(in_pieces(path, schema, ("id",), None, 1 << 17), ["id"])
    assert bad == [(15_000, "column 'x': 'heavy' is not a finite number")]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_other_encodings_are_cut_too(tmp_path, schema, encoding):
    path = tmp_path / "t.csv"
    rows = [line.replace("red", "gr\u00fcn") for line in lines(9000)]
    path.write_bytes("\r\n".join(["id,x,word,day", *rows]).encode(encoding))
    compare(path, schema, encoding, size=1 << 16)


def test_a_byte_that_is_no_text_is_named_near_its_line(tmp_path, schema):
    path = tmp_path / "t.csv"
    text = "\n".join(["id,x,word,day", *lines(9000)]).encode()
    path.write_bytes(text.replace(b"8000,", b"\xff000,"))
    with pytest.raises(DataError, match=r"is not utf-8 text near line 7,[0-9]{3}"):
        list(in_pieces(path, schema, ("id",), None, 1 << 16))


def test_compressed_files_and_folders_are_cut_too(tmp_path, schema):
    text = "\n".join(["id,x,word,day", *lines(9000)]).encode()
    for name in ("a.csv.gz", "b.csv.gz"):
        (tmp_path / name).write_bytes(gzip.compress(text))
    rows, _ = compare(tmp_path, schema, size=1 << 16)
    assert len(rows) == 18_000


def test_parquet_is_read_in_pieces(tmp_path, schema):
    table = {"word": [None, "red", "new"] * 5, "x": [1.5, None, 2] * 5, "day": ["2020-01-01", None, "1999-12-31"] * 5,
             "id": list(range(15)), "other": [[1]] * 15}  # fmt: skip
    pq.write_table(pa.table(table), tmp_path / "a.parquet", row_group_size=4)
    whole = read_like(tmp_path / "a.parquet", schema, keep=("id",))
    found = list(in_pieces(tmp_path / "a.parquet", schema, ("id",), None, 1))
    assert len(found) > 4
    assert rows_of(found, ["id", "x", "word", "day"]) == rows_of([whole], ["id", "x", "word", "day"])  # fmt: skip
    assert found[0].extra == whole.extra == ("other",)
    pq.write_table(pa.table(table).slice(0, 0), tmp_path / "a.parquet")
    (empty,) = in_pieces(tmp_path / "a.parquet", schema, ("id",), None, 1)
    assert empty.rows == 0
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        list(in_pieces(tmp_path / "a.parquet", schema, (), None, 1))


def test_errors_are_those_of_the_whole(tmp_path, schema):
    path = tmp_path / "t.csv"
    path.write_text("id,x,word\n1,2,3\n")
    with pytest.raises(DataError, match="has no column 'day'"):
        list(pieces_like(path, schema))
    for name, header in (("a.csv", "id,x,word,day"), ("b.csv", "id,x,word,days")):
        (tmp_path / "two").mkdir(exist_ok=True)
        (tmp_path / "two" / name).write_text(f"{header}\n1,2,3,2020-01-01\n")
    with pytest.raises(DataError, match="have different columns: 'day', 'days'"):
        list(pieces_like(tmp_path / "two", schema))


def test_what_can_be_read_like(tmp_path):
    for name in ("a.json", "b.xlsx", "c.tsv", "d.parquet"):
        (tmp_path / name).write_text("x")
    assert [can_be_pieces(tmp_path / name) for name in ("a.json", "c.tsv", "d.parquet")] == [
        False, True, True,
    ]  # fmt: skip
    assert not can_be_pieces("-")
    assert not can_be_pieces(pa.table({"x": [1]}))


@pytest.mark.parametrize(
    ("content", "end"),
    [
        (b"", 0), (b"a,b", 0), (b"a\n", 2), (b"a\nb", 2), (b'"a\n', 0), (b'"a\nb"\nc', 6), (b"a\rb\rc", 2),
        (b'5" disk\n"x\n', 8), (b'a 27",1\n"x\ny",2\nz', 16), (b'"a""b"\n"c', 7),
    ],
)  # fmt: skip
def test_rows_end_outside_of_quotes(content, end):
    assert last_row_end(content, ",") == end


def test_parts_of_parquet_files_hold_whole_row_groups_in_order(tmp_path):
    table = pa.table({"x": list(range(100))})
    pq.write_table(table.slice(0, 70), tmp_path / "a.parquet", row_group_size=20)
    pq.write_table(table.slice(70, 0), tmp_path / "b.parquet")
    pq.write_table(table.slice(70), tmp_path / "c.parquet", row_group_size=20)
    parts = parts_of(tmp_path, rows=45)
    assert [part.rows for part in parts] == [40, 30, 0, 30]
    assert parts[1].groups == (2, 3)
    read = [raw for part in parts for raw in pieces(part.source, RawRequest(), groups=part.groups)]
    assert [x for raw in read for x in raw.table.column("x").to_pylist()] == list(range(100))
    assert [part.rows for part in groups_of(tmp_path / "a.parquet", rows=1)] == [20, 20, 20, 10]


def test_parts_of_text_files_are_the_files(tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.csv").write_text("x\n1\n")
    assert [part.source for part in parts_of(tmp_path)] == [
        str(tmp_path / f"{n}.csv") for n in "ab"
    ]


def test_parts_of_parquet_files_with_different_columns_are_refused(tmp_path):
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"z": [1]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match="different columns"):
        parts_of(tmp_path)
