"""Rows of real databases: typed on purpose, read in one read-only transaction, never joined of two, without passwords."""

import importlib
import json
import math
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections import namedtuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv

import sightline as sl
from sightline.cli.main import cli
from sightline.errors import DataError, OptionError
from sightline.load import databases
from sightline.load.database_tables import Destination, write_rows
from sightline.load.databases import Query, read_query, running
from sightline.pipeline.origin import evaluate
from tests.load.postgres import SECRET

PENGUINS = "examples/penguins.csv"
QUICK = {"quality": "fast", "epochs": 2, "report": False, "baselines": False, "quiet": True}


@pytest.fixture
def shop(postgres):
    """The penguins as a table of PostgreSQL."""
    rows = csv.read_csv(PENGUINS, convert_options=csv.ConvertOptions(null_values=[""], strings_can_be_null=True))  # fmt: skip
    to = Destination.parse(f"{postgres.address}/penguins")
    write_rows(to, rows.to_reader(), replace=True)
    return postgres


def one(postgres, sql):
    table, notes = read_query(Query(postgres.address, f"SELECT {sql} AS x"))
    assert table.num_rows == 1
    return table.schema.field("x").type, table.column("x").combine_chunks(), notes


# ------------------------------------------------------------- types


@pytest.mark.parametrize(
    ("sql", "type_", "value"),
    [
        ("1::int2", pa.int16(), 1),
        ("9007199254740993::int8", pa.int64(), 9007199254740993),
        ("1.5::float4", pa.float32(), 1.5),
        ("12.50::numeric(10, 2)", pa.float64(), 12.5),
        ("123456789012345678::numeric(18, 0)", pa.int64(), 123456789012345678),
        ("12345678901234567890::numeric(20, 0)", pa.string(), "12345678901234567890"),
        ("1200::numeric(5, -2)", pa.int64(), 1200),
        ("1.1::numeric", pa.float64(), 1.1),
        ("'infinity'::numeric", pa.float64(), math.inf),
        ("'NaN'::numeric(5, 0)", pa.int64(), None),
        ("true", pa.bool_(), True),
        ("'a b'::char(3)", pa.string(), "a b"),
        ("'{\"a\": 1}'::jsonb", pa.string(), '{"a": 1}'),
        ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", pa.string(), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("array[1, 2]", pa.list_(pa.int32()), [1, 2]),
        ("array[1.5::numeric]", pa.list_(pa.string()), ["1.5"]),
        ("null::int4", pa.int32(), None),
    ],
)  # fmt: skip
def test_types_of_postgresql(postgres, sql, type_, value):
    found, values, notes = one(postgres, sql)
    assert found == type_
    assert values.to_pylist() == [value]
    assert notes == ()


def test_a_time_zone_is_kept_and_infinite_dates_are_missing(postgres):
    _, values, _ = one(postgres, "'2024-03-01 12:00+02'::timestamptz")
    assert str(values[0].as_py()) == "2024-03-01 10:00:00+00:00"
    for sql in ("'infinity'::timestamp", "'-infinity'::timestamptz", "'infinity'::date", "'-infinity'::date", "'294276-01-01'::timestamp"):  # fmt: skip
        _, values, notes = one(postgres, sql)
        assert values.to_pylist() == [None], sql
        assert notes == ("1 value of 'x' is infinite and read as missing",)
    _, values, _ = one(postgres, "'0044-03-15 BC'::timestamp")
    assert values.null_count == 0


@pytest.mark.parametrize(
    ("sql", "fix"), [("'1.5'::money", "x::numeric"), ("interval '1 month'", "EXTRACT")]
)
def test_types_that_mean_several_things_are_refused(postgres, sql, fix):
    with pytest.raises(DataError, match=f"the column 'x' is of type .*{fix}"):
        one(postgres, sql)


def test_a_table_has_kinds_and_lists_are_ignored_with_a_reason(postgres):
    postgres.execute(
        "DROP TABLE IF EXISTS kinds",
        "DROP TYPE IF EXISTS mood",
        "CREATE TYPE mood AS ENUM ('sad', 'ok')",
        """CREATE TABLE kinds AS SELECT i / 7.0 AS number, 'ok'::mood AS mood, now() AS at, array[i] AS list,
           i % 2 = 0 AS flag, NULL::text AS empty, '127.0.0.1'::inet AS host FROM generate_series(1, 50) i""",
    )
    table = sl.read(postgres.address, query="kinds")
    kinds = {column.name: (column.kind, column.role) for column in table.schema.columns}
    assert kinds["number"] == ("numeric", "feature")
    assert kinds["mood"][0] == "categorical"
    assert kinds["at"][0] == "datetime"
    assert kinds["flag"] == ("boolean", "feature")
    assert kinds["list"][1] == kinds["host"][1] == "ignored"
    assert table.name == f"postgresql://me@127.0.0.1:{postgres.port}/postgres: kinds"


def test_a_query_may_end_with_a_comment(postgres):
    table, _ = read_query(Query(postgres.address, "SELECT 1 AS a -- one"))
    assert table.num_rows == 1


def test_columns_of_the_same_name(postgres):
    table, _ = read_query(Query(postgres.address, "SELECT 1 AS a, 2 AS a, 3"))
    assert table.column_names == ["a", "a_2", "?column?"]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))))  # fmt: skip
def test_what_is_written_is_read(postgres, rows):
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    table = pa.table({"i": pa.array(columns[0], pa.int64()), "f": pa.array(columns[1], pa.float64()), "t": pa.array(columns[2], pa.string())})  # fmt: skip
    write_rows(Destination.parse(f"{postgres.address}/same"), table.to_reader(), replace=True)
    found, _ = read_query(Query(postgres.address, "SELECT * FROM same"))
    assert str(found.sort_by([(n, "ascending") for n in "ift"]).to_pydict()) == str(table.sort_by([(n, "ascending") for n in "ift"]).to_pydict())  # fmt: skip


# ------------------------------------------------------------- reading only


@pytest.mark.parametrize(
    "sql", ["INSERT INTO penguins (year) VALUES (1)", "INSERT INTO penguins (year) VALUES (1) RETURNING year", "DROP TABLE penguins",
            "SELECT 1; DROP TABLE penguins"],
)  # fmt: skip
def test_a_query_only_reads(shop, sql):
    with pytest.raises(DataError, match="refuses the query"):
        read_query(Query(shop.address, sql))
    assert shop.execute("SELECT count(*) FROM penguins") == [(344,)]


@pytest.mark.parametrize("sql", ["SELECT nope FROM penguins", "nowhere", "SELEC 1", "SELECT 1 / (i - 5000) FROM generate_series(1, 9000) i"])  # fmt: skip
def test_a_wrong_query_is_refused_at_once(shop, sql):
    began = time.monotonic()
    with pytest.raises(DataError) as caught:
        read_query(Query(shop.address, sql))
    assert time.monotonic() - began < 5
    assert SECRET not in str(caught.value)


# ------------------------------------------------------------- passwords


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:{0}@127.0.0.1:1/x", "postgresql://me:{0}@127.0.0.1:{port}/nodb", "postgresql://me:{0}@127.0.0.1:{port}/x?foo=1",
        "postgresql://me:{0}@{0}@127.0.0.1:{port}/x", "postgresql://me:{0}/{0}@127.0.0.1:{port}/x", "postgresql://me:a:{0}@127.0.0.1:{port}/x",
        "postgresql://me:123#{0}@127.0.0.1:{port}/x", "postgresql://me:123?{0}@127.0.0.1:{port}/x",
        "postgresql://me@127.0.0.1:{port}/nodb?password={0}", "postgresql://me:{0}@127.0.0.1:99999999/x", "mysql://me:{0}@host/x",
    ],
)  # fmt: skip
def test_no_error_shows_a_password(postgres, address):
    with pytest.raises((DataError, OptionError)) as caught:
        read_query(Query(address.format(SECRET, port=postgres.port), "t"))
    chain = [caught.value, caught.value.__cause__]
    assert not any(SECRET in str(error) or SECRET in repr(error) for error in chain)


def test_no_file_of_a_run_and_no_output_has_the_password(shop, tmp_path, sightline):
    run = tmp_path / "runs" / "a"
    said = [
        sightline("fit", shop.address, "--query", "penguins", "--target", "species", "--quality", "fast", "--epochs", "2", "--run", run),
        sightline("predict", run, shop.address, "--query", "penguins", "-o", tmp_path / "p.csv"),
        sightline("predict", run, shop.address, "--query", "penguins", "--json"),
        sightline("evaluate", run, shop.address, "--query", "penguins", "--json"),
        sightline("explain", run, shop.address, "--query", "penguins", "--row", "3"),
        sightline("explain", run, shop.address, "--query", "penguins", "--row", "3000"),
        sightline("check", run, shop.address, "--query", "penguins", "-o", tmp_path / "c.html"),
        sightline("importance", run, shop.address, "--query", "penguins"),
        sightline("inspect", shop.address, "--query", "penguins"),
        sightline("fit", shop.address, "--target", "species"),
        sightline("predict", run, shop.address, "--query", "penguins", "--to", f"{shop.address}/scores", "--replace"),
        sightline("predict", run, shop.address, "--query", "penguins", "--to", f"{shop.address}/scores"),
    ]  # fmt: skip
    assert [one.code for one in said] == [0, 0, 0, 0, 0, 2, 0, 0, 0, 2, 0, 2], [one.err for one in said]  # fmt: skip
    assert not any(SECRET in one.out or SECRET in one.err for one in said)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        assert SECRET.encode() not in path.read_bytes(), path
    assert f"postgresql://me@127.0.0.1:{shop.port}/postgres: penguins" in said[0].out
    assert "about 344 rows" in said[0].err or "rows, about" in said[0].err
    assert not list(run.parent.glob("a.*"))


def test_an_address_alone_is_refused_without_its_password(shop, tmp_path):
    run = sl.fit(PENGUINS, "species", run=tmp_path / "a", **QUICK)
    for wrong in (
        lambda: run.model.predict(shop.address), lambda: run.model.predictions(shop.address), lambda: list(run.model.in_pieces(shop.address)),
        lambda: sl.fit(PENGUINS, "species", test=shop.address, run=tmp_path / "b", **QUICK), lambda: sl.fit(shop.address, "species", **QUICK),
    ):  # fmt: skip
        with pytest.raises(
            (OptionError, DataError), match=r"is a database|is the address of a database"
        ) as caught:
            wrong()
        assert SECRET not in str(caught.value)


def test_the_run_folder_is_not_named_by_the_password(shop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shop.execute("DROP DATABASE IF EXISTS me")
    shop.execute("CREATE DATABASE me")
    address = shop.address.removesuffix("/postgres")  # the database is then named as the user
    write_rows(
        Destination.parse(f"{address}/me#rows"),
        pa.table({"x": [i / 7 for i in range(60)], "y": ["a", "b"] * 30}).to_reader(),
    )
    sl.fit(address, "y", query="rows", **QUICK)
    assert [path.name.partition("-")[0] for path in (tmp_path / "runs").iterdir()] == ["database"]
    assert not any(
        SECRET.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    )


# ------------------------------------------------------------- a connection that is lost


def terminated_once(postgres, marker, then=()):
    """End the connection that runs a query with this marker, once; then run statements."""
    done = threading.Event()

    def watch():
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = postgres.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                f"WHERE query LIKE '%{marker}%' AND query LIKE 'COPY%' AND now() - query_start > interval '200 ms'"
            )  # fmt: skip
            if found[0][0]:
                for statement in then:
                    postgres.execute(statement)
                done.set()
                return
            time.sleep(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread, done


SLOW = "SELECT i, pg_sleep(CASE WHEN i % 500 = 0 THEN 0.05 ELSE 0 END)::text AS nap, v FROM snapshot /*{}*/"


def test_a_lost_connection_begins_the_whole_read_again(postgres, tmp_path, monkeypatch):
    monkeypatch.setattr(databases, "WAIT", 0.2)
    postgres.execute(
        "DROP TABLE IF EXISTS snapshot",
        "CREATE TABLE snapshot AS SELECT i, 'old' AS v FROM generate_series(1, 5000) i",
    )
    thread, done = terminated_once(
        postgres, "again", ["UPDATE snapshot SET v = 'new'", "INSERT INTO snapshot VALUES (5001, 'new')"]
    )  # fmt: skip
    databases.spool_query(Query(postgres.address, SLOW.format("again")), tmp_path / "d.parquet", tmp_path / "d.parquet")  # fmt: skip
    thread.join()
    assert done.is_set()
    rows = pq.read_table(tmp_path / "d.parquet")
    assert rows.num_rows == 5001  # nothing of the first snapshot
    assert set(rows["v"].to_pylist()) == {"new"}
    assert [path.name for path in tmp_path.iterdir()] == ["d.parquet"]


def test_a_connection_that_is_always_lost_is_an_error(postgres, tmp_path, monkeypatch):
    monkeypatch.setattr(databases, "WAIT", 0.01)
    query = Query(postgres.address, "SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(DataError, match=r"the connection was lost in each of 4 reads.*none of the rows were kept"):  # fmt: skip
        databases.spool_query(query, tmp_path / "d.parquet", tmp_path / "d.parquet")
    assert not list(tmp_path.iterdir())


def test_a_server_that_is_gone(postgres):
    postgres.stop()
    try:
        with pytest.raises(DataError, match=r"cannot be reached.*that the server runs"):
            read_query(Query(postgres.address, "t"))
    finally:
        postgres.start()


def test_predictions_of_a_query_that_is_lost_are_not_written(shop, tmp_path, monkeypatch):
    run = sl.fit(shop.address, "species", query="penguins", run=tmp_path / "a", **QUICK)
    shop.execute("CREATE OR REPLACE VIEW slow_penguins AS SELECT penguins.*, pg_sleep(.01)::text AS nap FROM penguins /*view*/")  # fmt: skip
    thread, done = terminated_once(shop, "slow_penguins")
    result = CliRunner().invoke(
        cli, ["predict", str(run.folder), shop.address, "--query", "slow_penguins", "-o", str(tmp_path / "p.csv")]
    )  # fmt: skip
    thread.join()
    shop.execute("DROP VIEW slow_penguins")
    assert done.is_set()
    assert result.exit_code != 0
    assert not (tmp_path / "p.csv").exists()


# ------------------------------------------------------------- fits


def test_a_fit_reads_once_and_lives_from_its_own_rows(shop, tmp_path):
    run = sl.fit(shop.address, "species", query="SELECT * FROM penguins ORDER BY random()", run=tmp_path / "a", **QUICK)  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
    shop.execute("DROP TABLE penguins")
    assert run.table.rows == 344
    assert evaluate(run.model)["log_loss"] == run.metrics["log_loss"]
    replayed = sl.replay(run.folder, to=tmp_path / "b", quiet=True)
    assert replayed.find("train", "replay")[-1].body["identical"]


def test_killed_and_resumed_after_the_table_has_changed(shop, tmp_path):
    program = f"""
import os, signal, sightline as sl
from sightline.train.training import Training
steps = Training.steps
def dies(self):
    for step in steps(self):
        yield step
        if step.number == 12: os.kill(os.getpid(), signal.SIGKILL)
Training.steps = dies
sl.fit({shop.address!r}, "species", query="penguins", run={str(tmp_path / "a")!r}, checkpoint_epochs=1, **{QUICK!r})
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    shop.execute("UPDATE penguins SET species = 'Emperor'")
    resumed = sl.resume(tmp_path / "a", quiet=True)
    assert resumed.model.classes == ("Adelie", "Chinstrap", "Gentoo")


def test_rows_that_are_not_kept(shop, tmp_path):
    run = sl.fit(shop.address, "species", query="penguins", keep_data=False, run=tmp_path / "a", **QUICK)  # fmt: skip
    assert not (tmp_path / "a" / "data.parquet").exists()
    with pytest.raises(DataError, match=r"data.parquet, the table .* does not exist any more. Put it back, or give a file"):  # fmt: skip
        evaluate(run.model)
    assert not any("evaluate" in line for line in run.find("run", "end")[-1].body["next"])


def test_a_fit_that_is_refused_leaves_nothing(shop, tmp_path):
    with pytest.raises((DataError, OptionError), match="nope"):
        sl.fit(shop.address, "nope", query="penguins", run=tmp_path / "a", **QUICK)
    assert not list(tmp_path.iterdir())


def test_a_refit_asks_the_database_again(shop, tmp_path):
    run = sl.fit(shop.address, "species", query="penguins", run=tmp_path / "a", **QUICK)
    shop.execute("INSERT INTO penguins SELECT * FROM penguins LIMIT 10")
    again, _ = sl.refit(shop.address, run.model, run=tmp_path / "b", quiet=True)
    assert again.table.rows == 354
    from_file, _ = sl.refit(PENGUINS, run.model, run=tmp_path / "c", quiet=True)
    assert from_file.table.rows == 344


def test_without_space_on_the_disk_nothing_is_read(shop, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 10**6))
    with pytest.raises(DataError, match=r"not enough space in .*1 MB are free, 26\d MB are needed"):
        sl.fit(shop.address, "species", query="penguins", run=tmp_path / "a", **QUICK)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------- predictions


def test_a_query_in_pieces_is_the_whole(shop, tmp_path):
    run = sl.fit(PENGUINS, "species", run=tmp_path / "a", **QUICK)
    query = Query(shop.address, "SELECT * FROM penguins ORDER BY bill_length_mm, body_mass_g, flipper_length_mm")  # fmt: skip
    whole = run.model.predict_proba(sl.read(query))
    pieces = [piece.values for piece in run.model.in_pieces(query)]
    assert np.array_equal(np.concatenate(pieces), whole)
    with running(query) as batches:
        small = [b.slice(start, 50) for b in batches for start in range(0, b.num_rows, 50)]
    assert sum(piece.num_rows for piece in small) == 344
    none = list(run.model.in_pieces(Query(shop.address, "SELECT * FROM penguins WHERE false")))  # fmt: skip
    assert [len(piece.labels) for piece in none] == [0]


@pytest.mark.parametrize("kind", ["postgresql", "sqlite", "duckdb"])
def test_predictions_are_written_in_one_transaction(shop, tmp_path, sightline, kind):
    run = sl.fit(PENGUINS, "species", run=tmp_path / "a", **QUICK)
    to = {
        "postgresql": f"{shop.address}/scored", "sqlite": f"sqlite:///{tmp_path}/s.db#scored",
        "duckdb": f"duckdb:///{tmp_path}/s.duckdb#scored",
    }[kind]  # fmt: skip
    read = Query(to.partition("#")[0].removesuffix("/scored"), "scored")
    if kind == "postgresql":
        shop.execute("DROP TABLE IF EXISTS scored")
    said = sightline("predict", run.folder, PENGUINS, "--to", to, "--keep", "year", "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["output"] == str(Destination.parse(to))
    rows, _ = read_query(read)
    assert rows.column_names[:2] == ["year", "prediction"]
    assert rows["prediction"].to_pylist() == run.model.predict(PENGUINS).tolist()
    assert np.allclose(rows["probability_Adelie"], run.model.predict_proba(PENGUINS)[:, 0])
    again = sightline("predict", run.folder, PENGUINS, "--to", to)
    assert again.code == 2
    assert "nothing was written" in again.err
    assert "--replace" in again.err
    assert read_query(read)[0].column_names[0] == "year"
    replaced = sightline("predict", run.folder, PENGUINS, "--to", to, "--replace")
    assert replaced.code == 0, replaced.err
    assert read_query(read)[0].column_names[0] == "prediction"


def test_a_reader_sees_the_old_table_or_the_new_one(shop):
    to = Destination.parse(f"{shop.address}/swapped")
    write_rows(to, pa.table({"v": [0] * 1000}).to_reader(), replace=True)
    seen, stop = [], threading.Event()

    def look():
        while not stop.is_set():
            seen.append(shop.execute("SELECT min(v), max(v), count(*) FROM swapped")[0])

    thread = threading.Thread(target=look)
    thread.start()
    for number in range(1, 6):
        write_rows(to, pa.table({"v": [number] * 1000}).to_reader(), replace=True)
    stop.set()
    thread.join()
    assert seen
    assert all(low == high and count == 1000 for low, high, count in seen)


def test_rows_that_fail_half_way_leave_nothing(shop):
    def batches():
        yield pa.record_batch({"v": [1, 2]})
        raise pa.ArrowInvalid("the file is damaged")

    reader = pa.RecordBatchReader.from_batches(pa.schema({"v": pa.int64()}), batches())
    with pytest.raises(DataError, match="nothing was written"):
        write_rows(Destination.parse(f"{shop.address}/half"), reader)
    tables = [name for (name,) in shop.execute("SELECT tablename::text FROM pg_tables")]
    assert not [name for name in tables if name.startswith("half")]


def test_a_schema_of_postgresql(postgres):
    postgres.execute("CREATE SCHEMA IF NOT EXISTS other")
    to = Destination.parse(f"{postgres.address}/other.scores")
    write_rows(to, pa.table({"v": [1]}).to_reader(), replace=True)
    write_rows(to, pa.table({"v": [2]}).to_reader(), replace=True)
    assert postgres.execute("SELECT v FROM other.scores") == [(2,)]


# ------------------------------------------------------------- other databases


def test_sqlite_and_duckdb_give_the_rows_of_the_file(tmp_path, sightline):
    frame = importlib.import_module("pandas").read_csv(PENGUINS)
    with sqlite3.connect(tmp_path / "p.db") as connection:
        frame.to_sql("penguins", connection, index=False)
    with duckdb.connect(tmp_path / "p.duckdb") as connection:
        connection.register("frame", frame)
        connection.execute("CREATE TABLE penguins AS SELECT * FROM frame")
    expected = sl.read(frame)
    for query in ("ATTACH '{0}/leak.db' AS leak", "COPY penguins TO '{0}/leak.csv'", "SELECT 1; SELECT 2", "PRAGMA user_version = 3"):  # fmt: skip
        for address in (f"sqlite:///{tmp_path}/p.db", f"duckdb:///{tmp_path}/p.duckdb"):
            with pytest.raises(DataError):
                sl.read(address, query=query.format(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.db", "p.duckdb"]
    for address in (f"sqlite:///{tmp_path}/p.db", f"duckdb:///{tmp_path}/p.duckdb"):
        commented = "/* all */ SELECT * FROM penguins -- of them"
        assert sl.read(address, query=commented).rows == 344
        table = sl.read(address, query="penguins")
        assert [(c.name, c.kind) for c in table.schema.columns] == [(c.name, c.kind) for c in expected.schema.columns]  # fmt: skip
        names = [c.name for c in expected.schema.columns]
        assert np.array_equal(table.row_hashes(names), expected.row_hashes(names))
        said = sightline("inspect", address, "--query", "SELECT species, year FROM penguins")
        assert said.code == 0, said.err
        for sql in ("DROP TABLE penguins", "DELETE FROM penguins", "nowhere", "SELECT nope FROM penguins"):  # fmt: skip
            with pytest.raises(DataError):
                sl.read(address, query=sql)
        assert sl.read(address, query="penguins").rows == 344


def test_the_file_of_a_database_is_no_text_file(tmp_path):
    with sqlite3.connect(tmp_path / "p.db") as connection:
        connection.execute("CREATE TABLE t (a)")
    with pytest.raises(DataError, match=r"is an SQLite database.*sqlite:///FILE"):
        sl.read(tmp_path / "p.db")


def test_a_sqlite_column_that_changes_its_type_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(databases, "INFERRED_ROWS", 100)
    with sqlite3.connect(tmp_path / "m.db") as connection:
        connection.execute("CREATE TABLE m (a, b)")
        connection.executemany("INSERT INTO m VALUES (?, ?)", [(i if i < 500 else "x", i) for i in range(1000)])  # fmt: skip
    with pytest.raises(DataError, match=r"column 0.*CAST\(column AS TEXT\)"):
        sl.read(f"sqlite:///{tmp_path}/m.db", query="m")
    assert sl.read(f"sqlite:///{tmp_path}/m.db", query="SELECT CAST(a AS TEXT) AS a, b FROM m").rows == 1000  # fmt: skip


# ------------------------------------------------------------- wrong calls


def test_wrong_calls(tmp_path):
    for source, query, said in (
        ("postgresql://me@host/x", None, "is a database"),
        (PENGUINS, "SELECT 1", "is for a database"),
        ("postgresql://me@host/x", "  ", "The query is empty"),
        ("sqlite://", "t", "names no file"),
        ("sqlite:///nowhere.db", "t", "does not exist"),
    ):
        with pytest.raises((OptionError, DataError), match=said):
            sl.read(source, query=query)
    for to in ("scores.csv", "postgresql://me@host/shop", "sqlite:///a.db", "postgresql://me@host/shop/a b"):  # fmt: skip
        with pytest.raises(OptionError, match=r"--to"):
            Destination.parse(to)


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)
    with pytest.raises(OptionError, match=r'pip install "sightline\[sql\]"'):
        sl.read("postgresql://me@host/x", query="t")


def test_command_line_options_that_do_not_go_together(sightline, tmp_path):
    said = sightline("predict", "m", PENGUINS, "--to", "sqlite:///a.db#t", "-o", "p.csv")
    assert said.code == 2
    assert "--to and --output" in said.err
    said = sightline("predict", "m", PENGUINS, "--replace")
    assert said.code == 2
    assert "--replace is given without --to" in said.err
