"""Whether a table fits into memory, and what of the limit goes where."""

import gzip

import pandas as pd
import pytest

from sightline.errors import OptionError
from sightline.load import limits
from sightline.load.limits import Budget, Estimate, estimate, in_units, machine_memory, settle_limit
from sightline.load.raw import RawRequest


@pytest.fixture
def frame():
    return pd.DataFrame({"x": range(5000), "y": ["a", "b"] * 2500})


def test_a_parquet_folder_is_counted_exactly(tmp_path, frame):
    for part in range(3):
        frame.to_parquet(tmp_path / f"{part}.parquet")
    assert estimate(tmp_path, RawRequest())[:2] == (15_000, 2)


def test_a_text_file_is_estimated(tmp_path, frame, monkeypatch):
    monkeypatch.setattr(limits, "TEXT_PROBE", 5_000)
    frame.to_csv(tmp_path / "t.csv", index=False)
    size = estimate(tmp_path / "t.csv", RawRequest())
    assert abs(size.rows / 5000 - 1) < 0.2
    assert size.columns == 2


def test_a_compressed_text_file_counts_as_more(tmp_path, monkeypatch):
    text = "x,y\n" + "".join(f"{i * 7919 % 10007},a\n" for i in range(50_000))
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text.encode()))
    monkeypatch.setattr(limits, "TEXT_PROBE", 50_000)
    assert estimate(tmp_path / "t.csv.gz", RawRequest()).rows > 20_000


@pytest.mark.parametrize("source", [{"x": [1]}, "t.json", "-"])
def test_other_sources_have_no_estimate(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.json").write_text('[{"x": 1}]')
    assert estimate(source, RawRequest()) is None


def test_an_empty_text_file_has_no_estimate(tmp_path):
    (tmp_path / "t.csv").write_text("")
    assert estimate(tmp_path / "t.csv", RawRequest()) is None


def test_a_limit_that_is_too_small_says_what_is_needed():
    with pytest.raises(OptionError) as caught:
        Budget(500_000_000).check(Estimate(30_000_000, 33))
    assert "500 MB, too small for 30,000,000 rows: at least 840 MB are needed" in str(caught.value)
    assert "memory_limit=840MB" in caught.value.fix
    Budget(840_000_000).check(Estimate(30_000_000, 33))


def test_parts_of_the_limit_grow_with_it_and_shrink_with_the_rows_size():
    small, large = Budget(10**8), Budget(10**9)
    assert large.sample_rows(2_000) == 10 * small.sample_rows(2_000) == 125_000
    assert large.sample_rows(20_000) == 12_500
    assert small.piece_rows(10**6) == limits.LEAST_PIECE_ROWS
    assert large.piece_rows(100) == 131_072
    assert large.buffer_bytes == 10**8


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_long_texts_count(tmp_path, form):
    texts = pd.DataFrame({"x": range(500), "t": [f"{i}" * 1_000 for i in range(500)]})
    short = pd.DataFrame({"x": range(500), "t": ["a"] * 500})
    for name, table in (("long", texts), ("short", short)):
        path = tmp_path / f"{name}.{form}"
        table.to_parquet(path) if form == "parquet" else table.to_csv(path, index=False)
    size = estimate(tmp_path / f"long.{form}", RawRequest())
    assert size.bytes > 4 * texts["t"].str.len().sum()
    assert estimate(tmp_path / f"short.{form}", RawRequest()).bytes < 200_000


def test_processes_share_the_default_limit():
    assert settle_limit(None, 4) == settle_limit(None) // 4
    assert settle_limit("1GB", 4) == 10**9


def test_the_default_limit_is_half_of_what_the_machine_or_the_cgroup_has(monkeypatch):
    assert settle_limit(None) == machine_memory() // 2 > 10**8
    assert settle_limit("2GiB") == 2**31
    monkeypatch.setattr(limits, "machine_memory", lambda: 10**9)
    assert settle_limit(None) == 5 * 10**8


@pytest.mark.parametrize(
    "value", ["1 parsec", "GB", "-1GB", 0, -5, True, 1.5, "", "0MB", "99999999TB"]
)
def test_a_limit_that_is_no_size_is_refused(value):
    with pytest.raises(OptionError) as caught:
        settle_limit(value)
    assert "memory_limit" in str(caught.value)
    assert "500MB" in caught.value.fix


def test_sizes_in_words():
    assert [in_units(n) for n in (999, 1500, 2 * 10**12)] == ["999 bytes", "1.5 kB", "2 TB"]
