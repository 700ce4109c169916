"""Rows of PostgreSQL: from the server to a file, a table, and tensors.

    apt-get install postgresql
    python -m pip install -e ".[sql]" pandas psycopg
    python -m benchmarks.databases [--rows 1000000] [--repeats 3] [--name databases]

A server of its own is started on loopback with a table of 15 columns: 8 float8, 4 integers, 2 short texts and a class. Each way
reads all of it, in turns: `sl.read` alone; `sl.read`, `sl.split` and `sl.prepare`, which end with tensors; the spool that `sl.fit`
reads from; and pandas with psycopg, which many would use. The same with 8 numeric(10, 4) in place of float8.

Target: 300,000 rows a second to tensors.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

import sightline as sl
from benchmarks.common import save
from sightline.load.databases import spool_query

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.load.postgres import Postgres  # the server of the tests

TABLE = """CREATE TABLE {name} AS SELECT {numbers},
  (random() * 100)::int4 AS i1, (random() * 1e6)::int4 AS i2, (random() * 1e12)::int8 AS i3, (random() * 9)::int2 AS i4,
  'city' || (random() * 50)::int AS city, chr(65 + (random() * 20)::int) AS letter, random() < .4 AS y
  FROM generate_series(1, {rows}) i"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--name", default="databases")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    server = Postgres()
    try:
        save(options.name, measure(server, options))
    finally:
        server.remove()


def measure(server: Any, options: Any) -> dict[str, Any]:
    kinds = {"float8": "float8", "numeric": "numeric(10, 4)"}
    for name, kind in kinds.items():
        numbers = ", ".join(f"(random() * 1000)::{kind} AS x{i}" for i in range(8))
        server.execute(
            TABLE.format(name=name, numbers=numbers, rows=options.rows), f"ANALYZE {name}"
        )
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.repeats):
            for name in kinds:
                for way, run in ways(server, name, Path(folder) / "d.parquet").items():
                    began = time.perf_counter()
                    run()
                    speed = options.rows / (time.perf_counter() - began)
                    found.setdefault(f"{way}, {name}", []).append(speed)
                    print(f"{way}, {name}", round(speed), flush=True)
    return {
        "rows": options.rows, "columns": 15,
        "rows_a_second": {
            name: {"median": statistics.median(speeds), "lowest": min(speeds), "highest": max(speeds)}
            for name, speeds in found.items()
        },
    }  # fmt: skip


def ways(server: Any, name: str, path: Path) -> dict[str, Callable[[], object]]:
    def to_pandas() -> object:
        import psycopg

        with psycopg.connect(server.address) as connection:
            return pd.read_sql(f"SELECT * FROM {name}", connection)

    return {
        "read": lambda: sl.read(server.address, query=name),
        "to tensors": lambda: sl.prepare(sl.split(sl.read(server.address, query=name), "y")),
        "spool to Parquet": lambda: spool_query(sl.Query(server.address, name), path, path),
        "pandas with psycopg": to_pandas,
    }


if __name__ == "__main__":
    main()
