"""The same table from every source, and sources that are none."""

import gzip
import os
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sightline as sl
from sightline.errors import DataError, UserError

FRAME = pd.DataFrame({"n": [1.5, None, 3.0], "i": [1, 2, 4], "w": ["x", None, "z"]})
ENDS = [".csv", ".tsv", ".csv.gz", ".csv.zst", ".parquet", ".jsonl", ".jsonl.gz", ".arrow", ".arrows"]  # fmt: skip


def save(frame: pd.DataFrame, path: Path) -> Path:
    name = path.name
    table = pa.Table.from_pandas(frame)
    if ".csv" in name or ".tsv" in name:
        frame.to_csv(path, index=False, sep="\t" if ".tsv" in name else ",")
    elif ".jsonl" in name:
        frame.to_json(path, orient="records", lines=True)
    elif name.endswith(".parquet"):
        pq.write_table(table, path)
    else:
        make = pa.ipc.new_file if name.endswith(".arrow") else pa.ipc.new_stream
        with make(str(path), table.schema) as writer:
            writer.write_table(table)
    return path


def check(table: sl.Table, times: int = 1) -> None:
    assert [column.name for column in table.schema.columns] == ["n", "i", "w"]
    kinds = ["numeric", "numeric", "categorical"]
    assert [column.kind for column in table.schema.columns] == kinds
    rows = [[table.cells(name, row) for name in "niw"] for row in range(table.rows)]
    assert rows == [[1.5, 1, "x"], [None, 2, None], [3.0, 4, "z"]] * times


@pytest.mark.parametrize("end", ENDS)
def test_every_file_format_gives_the_same_table(tmp_path: Path, end: str) -> None:
    if end.endswith(".zst"):
        path = tmp_path / f"t{end}"
        with pa.output_stream(str(path), compression="zstd") as out:
            out.write(FRAME.to_csv(index=False).encode())
    else:
        path = save(FRAME, tmp_path / f"t{end}")
    table = sl.read(path)
    check(table)
    assert table.paths == (str(path),)
    assert table.fingerprint() == sl.read(FRAME).fingerprint()


def test_every_table_in_memory_gives_the_same_table() -> None:
    arrow = pa.Table.from_pandas(FRAME)
    frame = FRAME
    sources = [frame, pl.from_pandas(frame), arrow, arrow.to_batches()[0], arrow.to_reader(),
               duckdb.sql("SELECT * FROM frame"), frame.to_dict("list"), frame.to_records(index=False),
               frame.convert_dtypes()]  # fmt: skip
    for source in sources:
        check(sl.read(source))


def test_numpy_columns_are_numbered() -> None:
    table = sl.read(np.array([[1, 2.5], [3, np.nan]], ">f8").astype(float))
    assert [column.name for column in table.schema.columns] == ["x0", "x1"]
    masked = np.ma.masked_array([[1.0, 2], [3, 4]], [[0, 1], [0, 0]])
    assert sl.read(masked).cells("x1", 0) is None


@pytest.mark.parametrize("end", [".csv", ".jsonl", ".parquet", ".arrow"])
def test_a_folder_and_a_glob(tmp_path: Path, end: str) -> None:
    for number in (1, 2):
        save(FRAME, tmp_path / f"part{number}{end}")
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "notes.md").touch()
    check(sl.read(tmp_path), times=2)
    check(sl.read(str(tmp_path / f"part*{end}")), times=2)


@pytest.mark.parametrize("name", ["a[1].csv", "a*b?.csv", "it's.csv", "noending", "ünï 😀.csv"])
def test_odd_names_of_files(tmp_path: Path, name: str) -> None:
    FRAME.to_csv(tmp_path / name, index=False)
    check(sl.read(tmp_path / name))
    os.symlink(tmp_path / name, tmp_path / "link.csv")
    check(sl.read(str(tmp_path / "link.csv")))


def parts(folder: Path, *contents: str, end: str = ".csv") -> Path:
    for number, content in enumerate(contents):
        (folder / f"p{number}{end}").write_text(content)
    return folder


def test_files_that_differ(tmp_path: Path) -> None:
    for name, contents, end, kind, values in [
        ("order", ["a,b\n1,x\n", "b,a\ny,2\n"], ".csv", "numeric", [1, 2]),
        ("types", ["a,b\n1,x\n", "a,b\nq,y\n"], ".csv", "categorical", ["1", "q"]),
        ("rows", ["a,b\n", "a,b\n1,x\n2,y\n", "a,b\n"], ".csv", "numeric", [1, 2]),
        ("json", ['{"a": 1}\n', '{"a": "q"}\n'], ".jsonl", "categorical", ["1", "q"]),
        ("empty", ["a,b\n,x\n", "a,b\n7,y\n"], ".csv", "numeric", [None, 7]),
    ]:
        folder = tmp_path / name
        folder.mkdir()
        table = sl.read(parts(folder, *contents, end=end))
        assert table.schema["a"].kind == kind, name
        assert [table.cells("a", row) for row in range(2)] == values, name


def refused(source, *said: str, **options) -> None:
    with pytest.raises(UserError) as caught:
        sl.read(source, **options)
    assert all(part in str(caught.value) for part in said), str(caught.value)


def test_faults_in_the_second_file_are_placed_there(tmp_path: Path) -> None:
    folder = parts(tmp_path, "a,b\n" + "1,x\n" * 200, 'a,b\n2,"y\nz"\nq,y\n')
    refused(folder, "p1.csv, line 4, column 'a': 'q'")
    table = sl.read(folder, on_bad_rows="skip")
    assert (table.rows, table.skipped) == (201, 1)
    parts(tmp_path, "a,b\n1,x\n", "a,b\n1,x\n\n2\n")
    refused(tmp_path, "p1.csv, line 4: 1 cells")


def test_faults_in_json_lines(tmp_path: Path) -> None:
    for bad, *said in [
        ('{"a":\n', "line 3: not valid JSON", "skip"),
        ("[1]\n", "line 3: a JSON list instead of an object"),
        ('{"a": "\\ud800"}\n', "line 3", "surrogates"),
        ('{"a": Infinity}\n', "line 3, column 'a': 'inf'"),
    ]:
        parts(tmp_path, '{"a": 1}\n\n' + bad + '{"a": 2}\n', end=".jsonl")
        refused(tmp_path, "p0.jsonl", *said)
        table = sl.read(tmp_path, on_bad_rows="skip")
        assert (table.numbers("a").tolist(), table.skipped) == ([1, 2], 1)
    for content, said_ in [("", "holds no rows"), ("{}\n", "holds only empty objects")]:
        parts(tmp_path, content, end=".jsonl")
        refused(tmp_path, said_)
    (tmp_path / "p0.jsonl").write_bytes('{"a": "å", "b": 1}\n'.encode("latin-1"))
    refused(tmp_path / "p0.jsonl", "not utf-8 text", "encoding=")
    assert sl.read(tmp_path, encoding="latin-1").cells("a", 0) == "å"


def test_json_values_of_mixed_types_and_sizes(tmp_path: Path) -> None:
    parts(tmp_path, '{"a": 1, "b": 123456789012345678901}\n{"a": true, "b": 1}\n', end=".jsonl")
    table = sl.read(tmp_path)
    assert [table.cells("a", row) for row in range(2)] == ["1", "true"]
    assert table.numbers("b")[0] == pytest.approx(1.2345678901234568e20)


def test_what_is_no_table(tmp_path: Path) -> None:
    os.symlink(tmp_path / "gone", tmp_path / "dangling.csv")
    (tmp_path / "empty").mkdir()
    (tmp_path / "flowers.csv").write_text("a\n1\n2\n")
    refused(tmp_path / "flower.csv", "flower.csv does not exist", "Did you mean", "flowers.csv")
    refused(tmp_path / "zzz" / "x.csv", "does not exist", "Check the path")
    refused(tmp_path / ("n" * 5000), "does not exist")
    refused(tmp_path / "dangling.csv", "a link to a file that does not exist", "Correct the link")
    refused(tmp_path / "empty", "a folder with no CSV", "Give a file")
    refused(str(tmp_path / "*.parquet"), "No file matches", "Check the pattern")
    for end in (".parquet", ".arrow"):
        for content in (b"", b"junk"):
            (tmp_path / f"j{end}").write_bytes(content)
            refused(tmp_path / f"j{end}", f"j{end} cannot be read as", "Check that the file is")
    refused(tmp_path, "different formats: delimited, ipc, parquet", "one format")
    refused(
        [1, 2], "Row 0 of the list is an int, which names no columns", "Give each row as a dict"
    )
    for source in (3, None, b"a,b\n1,2\n", object()):
        refused(source, "A table cannot be read from", "Give a path")


def test_tables_that_do_not_fit_together(tmp_path: Path) -> None:
    refused(parts(tmp_path, "a,b\n1,2\n", "a,c\n1,2\n"), "p1.csv", "different columns: 'b', 'c'")
    folder = tmp_path / "parquet"
    folder.mkdir()
    for number, values in enumerate(([1, 2], ["x", "y"])):
        pq.write_table(pa.table({"a": values}), folder / f"{number}.parquet")
    refused(folder, "do not fit together", "same type in every file")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({}, "has no columns"),
        (pd.DataFrame(), "has no columns"),
        ({"a": []}, "no rows"),
        (pd.DataFrame({"a": []}), "no rows"),
        ({"a": [1], "b": [1, 2]}, "different lengths: 'a' 1, 'b' 2"),
        ({"a": 1}, "Column 'a' is 1, not a list"),
        ({"a": "xy"}, "Column 'a' is 'xy', not a list"),
        ({"a": [1, [2]]}, "Column 'a' cannot be read: cannot mix list"),
        ({"a": [object()]}, "Column 'a' cannot be read"),
        ({"a": np.ones((2, 2))}, "Column 'a' cannot be read"),
        (np.arange(3), "shape (3,) is not a table"),
        (np.array([[1j]]), "Column 'x0' cannot be read"),
        (
            pd.DataFrame([[1, 2]], columns=["a", "a"]),
            "more than one column of the name 'a'. Rename",
        ),
        (pd.Series([1.0, 2.0]), "from one Series, which is one column or one row"),
        (pd.DataFrame({"a": [1 + 2j, 0]}), "Column 'a' cannot be read"),
        (pd.DataFrame({"a": [1, [2]]}, dtype=object), "cannot mix list"),
    ],
)
def test_tables_in_memory_that_cannot_be_read(source, said: str) -> None:
    refused(source, said)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([1, "x", None, 2.5], ["1", "x", None, "2.5"]),
        ([True, "x", None, 2], ["true", "x", None, "2"]),
        (["1.50", 1.5, None, "y"], ["1.50", "1.5", None, "y"]),
        ([2**70, "x", None, 1], [str(2**70), "x", None, "1"]),
    ],
)
@pytest.mark.parametrize("make", [dict, lambda data: pd.DataFrame(data, dtype=object)])
def test_numbers_among_words_are_read_as_in_a_text_file(values, texts, make) -> None:
    source = make({"a": values, "b": [1, 2, 3, 4]})
    table = sl.read(source)
    assert [table.cells("a", row) for row in range(4)] == texts
    assert list(source["a"])[:2] == values[:2]  # the frame is as it was


def test_a_number_beyond_64_bits_is_a_number() -> None:
    assert sl.read({"a": [2**70, 1]}).numbers("a").tolist() == [2.0**70, 1.0]


def test_keys_written_alike_stay_two_columns() -> None:
    table = sl.read({0: [1, 2], "0": [3, 4]})
    assert [column.name for column in table.schema.columns] == ["0", "0_2"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = save(FRAME, tmp_path / "t.csv")
    path.chmod(0)
    refused(path, "no permission to read", "permissions")


def test_a_cut_gzip_of_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n' * 9999)[:50])
    with pytest.raises(DataError, match="cannot be decompressed"):
        sl.read(tmp_path / "t.jsonl.gz")


def test_texts_that_are_no_utf8(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(
        pa.string(),
        2,
        [None, pa.py_buffer(np.array([0, 1, 3], np.int32)), pa.py_buffer(b"a\xff\xfe")],
    )
    table = pa.table({"n": [1, 2], "name": broken})
    pq.write_table(table, tmp_path / "t.parquet")
    for source in (table, tmp_path / "t.parquet"):
        with pytest.raises(DataError, match=r"column 'name': .*UTF8.*Write its texts as UTF-8"):
            sl.read(source)


@pytest.mark.parametrize("text", ['[{"a": 1, "b": "x"}, {"a": 2.5}]', '\n [\n{"a": 1, "b": "x"},\n{"a": 2.5}\n]\n',
                                  '{"a": 1, "b": "x"}\n{"a": 2.5}\n'])  # fmt: skip
def test_json_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    table = sl.read(path)
    assert [table.cells("a", row) for row in range(2)] == [1, 2.5]
    assert [table.cells("b", row) for row in range(2)] == ["x", None]


@pytest.mark.parametrize(
    ("text", "said"),
    [('[{"a": 1}, 7]', r"t\.json, item 2: a JSON int instead of an object"), ('[{"a": 1},', r"t\.json, line 1, character"),
     ("[]", "holds no rows"), ('{"a": [1, 2]}}', "line 1: not valid JSON")],
)  # fmt: skip
def test_faults_in_json_files(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        sl.read(path)
    if "7" in text:
        assert sl.read(path, on_bad_rows="skip").rows == 1
