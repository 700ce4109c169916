"""A large table is divided as in memory: the same rows in every part and fold."""

import pickle

import numpy as np
import pandas as pd
import pytest

import sightline as sl
from sightline.contracts import ReadOptions
from sightline.errors import DataError, OptionError
from sightline.load import large as large_module
from sightline.load import limits
from sightline.load.large import LargeTable
from sightline.load.limits import Budget
from sightline.load.pieces import groups_of
from sightline.load.places import PARTS
from sightline.load.split_large import split_large

ROWS = 900


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    random = np.random.default_rng(0)
    x = random.normal(size=ROWS)
    y = np.where(x + random.normal(size=ROWS) > 0.8, "yes", "no").astype(object)
    y[::50] = None
    path = tmp_path_factory.mktemp("large") / "t.parquet"
    pd.DataFrame({
        "x": np.where(random.random(ROWS) < 0.1, np.nan, x), "z": x**2 + random.normal(size=ROWS),
        "city": random.choice(["Oslo", "Rome", "Bern"], ROWS, p=[0.7, 0.29, 0.01]),
        "g": random.integers(0, 60, ROWS).astype(str), "t": random.permutation(ROWS) // 3,
        "w": np.where(random.random(ROWS) < 0.1, 0.0, random.random(ROWS)), "number": np.arange(ROWS),
        "rare": np.where(np.arange(ROWS) == 444, 1.5, 0.0), "y": y,
    }).to_parquet(path)  # fmt: skip
    return path


@pytest.fixture
def few_rows(monkeypatch):
    """A sample of about 300 training rows, and pieces of 100."""
    monkeypatch.setattr(Budget, "sample_rows", lambda self, row_bytes: 300)
    monkeypatch.setattr(limits, "LEAST_PIECE_ROWS", 100)
    monkeypatch.setattr(limits, "PIECE_SHARE", 0)
    monkeypatch.setattr(large_module, "SCHEMA_ROWS", 150)


def opened(path):
    return LargeTable.open(path, ReadOptions(), Budget(10**9))


class Elsewhere:
    """Applies functions part by part, as processes on other machines do, with what is sent to them."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, table, function, names, places):
        there, start, trained = pickle.loads(pickle.dumps(table)), 0, 0
        for part in table.parts():
            own = places.cut(start, part.rows, trained)
            for found, piece in there.placed(names, own, part):
                yield function(found, piece)
            start, trained = start + part.rows, trained + len(own.train)


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_what_other_processes_read_is_the_same_to_the_last_bit(path, form, few_rows, tmp_path):
    table = pd.read_parquet(path)
    if form == "csv":
        source = tmp_path / "t.csv"
        table.to_csv(source, index=False)
    else:
        source = tmp_path / "rows"
        source.mkdir()
        table[:500].to_parquet(source / "0.parquet", row_group_size=130)
        table[500:].to_parquet(source / "1.parquet", row_group_size=70)
    found = []
    for spread in (None, Elsewhere(tmp_path / "sent")):
        large = LargeTable.open(source, ReadOptions(), Budget(10**9), tmp_path, spread=spread)
        assert len(large.parts()) > (1 if form == "parquet" else 0)
        prepared = sl.prepare(split_large(large, "y", valid=90, test=90), numeric="standard")
        rows = prepared.stored.read(prepared.stored.pools(0, 1)[0])[0]
        found.append((prepared.splits.fingerprint(), [x.tolist() for x in rows if x is not None]))
    assert prepared.splits.large.facts is not None
    assert repr(found[0]) == repr(found[1])


def test_a_bad_value_in_a_part_is_named_by_its_row_in_the_file(tmp_path):
    rows = pd.DataFrame({"x": [str(i) for i in range(400)], "y": [0, 1] * 200})
    rows.to_parquet(tmp_path / "t.parquet", row_group_size=100)
    options = ReadOptions(kinds={"x": "numeric"})
    large = LargeTable.open(tmp_path / "t.parquet", options, Budget(10**9), tmp_path)
    rows.loc[333, "x"] = "oops"
    rows.to_parquet(tmp_path / "t.parquet", row_group_size=100)
    part = groups_of(tmp_path / "t.parquet", 100)[3]
    assert part.first == 300
    with pytest.raises(DataError, match="row 333, column 'x': 'oops'"):
        list(large.pieces(["x"], part))


CASES = {
    "classes": {"target": "y"},
    "folds": {"target": "y", "folds": 5, "valid": 0},
    "a number": {"target": "z", "valid": 100, "test": 0},
    "groups": {"target": "y", "group": "g", "folds": 3, "valid": 0},
    "time": {"target": "y", "time": "t", "valid": 0.2},
    "folds by time": {"target": "y", "time": "t", "folds": 5, "valid": 0},
    "folds of groups by time": {"target": "y", "group": "g", "time": "t", "folds": 3, "valid": 0},
    "groups by time": {
        "target": "y",
        "group": "g",
        "time": "t",
        "valid": 0.2,
        "time_feature": True,
    },
    "weights": {"target": "z", "weight": "w", "folds": 4, "valid": 0, "seed": 3},
    "one row": {"target": "y", "test": 1},
}


@pytest.mark.parametrize("name", CASES)
def test_every_row_is_where_it_is_in_memory(path, name, few_rows):
    options = CASES[name]
    memory, large = sl.split(sl.read(path), **options), split_large(opened(path), **options)
    known = np.flatnonzero(memory.table.columns[options["target"]].is_valid().to_numpy())
    if options["target"] == "y":
        known = np.flatnonzero(pd.read_parquet(path)["y"].notna())
    rows = large.large
    for number, part in enumerate(PARTS[:3]):
        assert (np.flatnonzero(rows.places.part == number) == known[getattr(memory, part)]).all()
    if memory.folds is not None:
        assert (rows.places.fold[known[memory.train]] == memory.folds).all()
    assert large.describe() == memory.describe()
    assert large.train_rows == len(memory.train)
    assert large.table_rows == memory.table.rows
    assert large.options == memory.options
    assert large.blocks == memory.blocks
    assert large.target == memory.target


def test_the_newest_rows_of_the_sample_are_newer_than_its_others(path, few_rows, monkeypatch):
    monkeypatch.setattr("sightline.load.split.NEWEST_ROWS", 20)
    splits = split_large(opened(path), **CASES["folds by time"])
    times = splits.table.numbers("t")[splits.train]
    assert (splits.newest == (splits.folds == 4)).all()
    assert times[splits.newest].min() > times[~splits.newest].max()
    assert splits.newest.sum() < splits.blocks[-1].rows  # blocks are of all rows


@pytest.mark.parametrize("name", CASES)
def test_the_sample_holds_all_held_out_rows_and_some_training_rows(path, name, few_rows):
    splits = split_large(opened(path), **CASES[name])
    table, rows = sl.read(path), splits.large
    assert 200 < len(splits.train) < 400 < splits.train_rows
    for part in ("valid", "test"):
        assert len(getattr(splits, part)) == (rows.places.part == PARTS.index(part)).sum()
    names = ["x", "z", "city"]
    assert (splits.table.row_hashes(names) == table.row_hashes(names)[rows.numbers]).all()
    assert (rows.places.part[splits.row_numbers(splits.train)] == 0).all()
    if splits.folds is not None:
        assert (splits.folds == rows.places.fold[rows.numbers[splits.train]]).all()


def test_facts_are_those_of_all_training_rows(path, few_rows):
    splits, memory = split_large(opened(path), "y"), sl.split(sl.read(path), "y")
    facts, x = splits.large.facts, memory.table.numbers("x")[memory.train]
    assert facts["x"].missing == np.isnan(x).sum()
    assert (facts["x"].low, facts["x"].high) == (np.nanmin(x), np.nanmax(x))
    assert facts["x"].mean == pytest.approx(np.nanmean(x))
    cities = facts["city"].counted().to_pydict()
    assert cities["text"] == ["Oslo", "Rome", "Bern"]
    assert sum(cities["n"]) == len(memory.train)
    assert "y" not in facts


def test_all_of_a_small_table_is_the_sample(path):
    splits, memory = (
        split_large(opened(path), "y", folds=3, valid=0),
        sl.split(sl.read(path), "y", folds=3, valid=0),
    )
    assert splits.large.facts is None
    assert splits.fingerprint() == memory.fingerprint() == splits.large.fingerprint
    names = ["x", "z", "city", "y"]
    for part in ("train", "test"):
        mine = splits.table.row_hashes(names)[getattr(splits, part)]
        assert (mine == memory.table.row_hashes(names)[getattr(memory, part)]).all()


def test_a_column_that_numbers_the_rows_is_ignored_though_a_sample_does_not_show_it(path, few_rows):
    splits = split_large(opened(path), "y")
    assert splits.table.schema["number"].role == "ignored"
    assert "numbers the rows consecutively" in splits.table.schema["number"].reason


def test_a_column_that_is_constant_in_the_sample_only_is_used(path, few_rows):
    large = opened(path)
    assert large.schema["rare"].role == "ignored"
    splits = split_large(large, "y")
    used = splits.large.places.part[444] == 0
    assert (splits.table.schema["rare"].role == "feature") == used


def test_validation_rows_that_are_given(path, few_rows, tmp_path):
    other = pd.read_parquet(path).dropna(subset="y")[:40]
    other.to_csv(tmp_path / "v.csv", index=False)
    splits = split_large(opened(path), "y", valid=str(tmp_path / "v.csv"))
    assert len(splits.valid) == 40
    assert "valid rows from" in splits.how
    assert splits.table.numbers("x")[splits.valid] == pytest.approx(
        other["x"].to_numpy(), nan_ok=True
    )
    assert "valid" not in splits.options


# ------------------------------------------------------------- bad input


def test_held_out_rows_that_do_not_fit(path, few_rows):
    with pytest.raises(
        OptionError,
        match="400 validation and test rows do not fit within memory_limit=1 GB, which allows 300",
    ):
        split_large(opened(path), "y", valid=200, test=200)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "nowhere"}, "no column 'nowhere'"), ({"target": "y", "group": "gg"}, "no column 'gg'"),
        ({"target": "y", "weight": "city"}, "a weight is a number"), ({"target": "y", "test": 2_000}, "leaves none to train on"),
        ({"target": "y", "earlier": object()}, "a warm start needs all rows in memory"),
    ],
)  # fmt: skip
def test_options_are_refused_as_in_memory(path, options, message):
    with pytest.raises((OptionError, DataError), match=message):
        split_large(opened(path), **options)


def test_rows_that_are_added_meanwhile(path, tmp_path, few_rows):
    table = pd.read_parquet(path)
    table.to_parquet(tmp_path / "a.parquet")
    large = LargeTable.open(tmp_path, ReadOptions(), Budget(10**9))
    table.to_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"had 900 rows, and now has 1,800"):
        split_large(large, "y")


# ------------------------------------------------------------- what a sample does not show


@pytest.fixture
def users(tmp_path):
    """4,000 rows of 900 users and as many identifiers as rows."""
    random = np.random.default_rng(3)
    user = random.integers(0, 900, 4_000)
    path = tmp_path / "users.parquet"
    pd.DataFrame({
        "x": random.normal(size=4_000), "user": [f"u{n}" for n in user], "id": [f"i{n:05}" for n in range(4_000)],
        "y": np.where(user % 2, "odd", "even"),
    }).to_parquet(path)  # fmt: skip
    return path


def test_a_category_of_many_values_is_one_though_the_sample_has_each_once(users, few_rows):
    large = opened(users)
    assert large.schema["user"].kind == "text"
    options = {"target": "y", "valid": 50, "test": 50}
    splits, memory = split_large(large, **options), sl.split(sl.read(users), **options)
    for name in ("user", "id"):
        mine, other = splits.table.schema[name], memory.table.schema[name]
        assert (mine.kind, mine.role) == (other.kind, other.role)
    assert splits.large.facts["user"].counted().num_rows == len(
        set(memory.table.words("user").take(memory.train).to_pylist())
    )
    assert (
        sl.prepare(splits).encoder.schema.vocabularies["user"]
        == sl.prepare(memory).encoder.schema.vocabularies["user"]
    )


def test_values_that_identify_rows_are_not_kept(users, few_rows):
    fact = split_large(opened(users), "y", valid=50, test=50).large.facts["id"]
    assert (fact.texts, fact.text_bytes) == (None, 0)
    assert fact.distinct == pytest.approx(3_900, rel=0.1)


@pytest.mark.parametrize("limited", ["TEXTS_SHARE", "CATEGORIES_SHARE"])
def test_of_categories_that_do_not_fit_the_most_frequent_ones_are_kept(users, few_rows, monkeypatch, limited):  # fmt: skip
    whole = split_large(opened(users), "y", valid=50, test=50)
    everything = sl.prepare(whole)
    assert not any("more different values" in note for note in everything.notes)
    known = everything.encoder.schema.vocabularies["user"]
    monkeypatch.setattr(limits, limited, {"TEXTS_SHARE": 2e-6, "CATEGORIES_SHARE": 3e-5}[limited])
    splits = split_large(opened(users), "y", valid=50, test=50)
    prepared = sl.prepare(splits)
    kept = prepared.encoder.schema.vocabularies["user"]
    assert 10 < len(kept) < len(known)
    (note,) = [note for note in prepared.notes if "more different values" in note]
    assert note.startswith("user has more different values than the memory limit allows: ")
    assert f"the {len(kept):,} most frequent ones are told apart" in note
    if limited == "CATEGORIES_SHARE":
        assert (kept, len(kept)) == (known[: len(kept)], 30)
    rows = prepared.stored.read(prepared.stored.pools(0, 1)[0])[0]
    assert int(rows.categorical.max()) == len(kept) + 1


# ------------------------------------------------------------- rows that are given


@pytest.mark.parametrize("part", ["valid", "test"])
def test_given_rows_are_treated_as_in_memory(path, part, few_rows, tmp_path):
    other = pd.read_parquet(path)[:60].copy()
    other.loc[5, "y"] = "maybe"
    other.to_parquet(tmp_path / "other.parquet")
    options = {"target": "y", part: str(tmp_path / "other.parquet")}
    splits, memory = split_large(opened(path), **options), sl.split(sl.read(path), **options)
    assert splits.target == memory.target
    assert "maybe" in splits.target.classes
    assert splits.describe() == memory.describe()
    other.loc[9, "x"] = 123.0
    other.to_parquet(tmp_path / "other.parquet")
    assert split_large(opened(path), **options).fingerprint() != splits.fingerprint()
    mine, theirs = getattr(splits, part), getattr(memory, part)
    assert (splits.labels(mine) == memory.labels(theirs)).all()
    assert (splits.labels(mine) >= 0).all()
    names = ["x", "z", "city"]
    assert (splits.table.row_hashes(names)[mine] == memory.table.row_hashes(names)[theirs]).all()


def test_groups_cannot_go_across_given_rows(path, tmp_path):
    pd.read_parquet(path)[:60].to_parquet(tmp_path / "other.parquet")
    with pytest.raises(
        OptionError, match="cannot keep groups together across separately given tables"
    ):
        split_large(opened(path), "y", group="g", test=str(tmp_path / "other.parquet"))


def test_few_rows_with_a_target_are_all_sampled_and_kinds_are_corrected_all_the_same(
    tmp_path, few_rows
):
    rows = 3_000
    table = pd.DataFrame({
        "x": np.random.default_rng(0).normal(size=rows), "rare": np.where(np.arange(rows) % 500 == 7, "b", "a"),
        "y": np.where(np.arange(rows) % 2, "yes", "no").astype(object),
    })  # fmt: skip
    table.loc[
        ~table.index.isin([*range(0, rows, 50), *(n for n in range(rows) if n % 500 in (7, 8))]),
        "y",
    ] = None
    table.to_parquet(tmp_path / "t.parquet")
    splits = split_large(opened(tmp_path / "t.parquet"), "y", test=0, valid=0)
    assert splits.large.facts is None
    assert splits.table.schema["rare"].role == "feature"
