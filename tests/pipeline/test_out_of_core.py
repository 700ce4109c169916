"""Fits of tables that do not fit within the memory limit: the model of a fit in memory, and all that a run can do."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest

import sightline as sl
from sightline.contracts import ReadOptions, SetBatchSize
from sightline.errors import DataError, OptionError, RunError
from sightline.load import limits, shuffled
from sightline.load.large import LargeTable
from sightline.load.limits import Budget
from sightline.load.split_large import split_large
from sightline.pipeline.origin import evaluate
from sightline.trace.records import find, read_records
from sightline.train.checkpoints import weights_fingerprint
from sightline.train.commands import send
from sightline.train.data import data_fingerprint

QUICK = {"quality": "fast", "epochs": 3, "report": False, "baselines": False, "quiet": True}


def frame(rows=1_200, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 3))
    return pd.DataFrame({
        "a": np.where(random.random(rows) < 0.1, np.nan, x[:, 0]), "b": x[:, 1], "c": x[:, 2],
        "city": random.choice(["Oslo", "Rome", "Bern", "Bonn"], rows), "day": pd.date_range("2024-01-01", periods=rows, freq="h"),
        "w": random.random(rows) + 0.1, "flag": random.random(rows) < 0.4,
        "y": np.where(x[:, 0] + x[:, 1] * x[:, 2] + random.normal(size=rows) > 0.7, "yes", "no"),
    })  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large") / "rows"
    folder.mkdir()
    table = frame()
    for part in range(3):
        table[part * 400 : (part + 1) * 400].to_parquet(folder / f"{part}.parquet", index=False)
    return folder


TINY = """
import sightline.load.limits as limits
limits.ROW_BYTES = 10**7  # no table fits
limits.LEAST_PIECE_ROWS, limits.PIECE_SHARE = 100, 0
"""
SAMPLED = (
    TINY
    + """
import sightline.load.shuffled as shuffled
limits.Budget.sample_rows = lambda self, row_bytes: 500
shuffled.POOL_BYTES, shuffled.LEAST_POOL_ROWS = 1, 200
"""
)


@pytest.fixture
def tiny(monkeypatch):
    """No table fits, but the sample holds all rows."""
    monkeypatch.setattr(limits, "ROW_BYTES", 10**7)
    monkeypatch.setattr(limits, "LEAST_PIECE_ROWS", 100)
    monkeypatch.setattr(limits, "PIECE_SHARE", 0)
    monkeypatch.setattr(Budget, "sample_rows", lambda self, row_bytes: 10**6)


@pytest.fixture
def sampled(tiny, monkeypatch):
    """No table fits, the sample holds some rows, and an epoch takes several pools."""
    monkeypatch.setattr(Budget, "sample_rows", lambda self, row_bytes: 500)
    monkeypatch.setattr(shuffled, "POOL_BYTES", 1)
    monkeypatch.setattr(shuffled, "LEAST_POOL_ROWS", 200)


def weights(run):
    return run.find("train", "end")[0].body["weights"]


CASES = {
    "classes": ("y", {"class_weights": "balanced", "weight": "w"}),
    "a number": ("b", {"accumulate": 2}),
    "validation rows": (
        "y",
        {"valid": 0.2, "calibrate": True, "trees": True, "numeric": "standard"},
    ),
    "a network": ("y", {"network": "MLP", "epochs": 2, "batch_size": 50}),
}


@pytest.mark.parametrize("form", ["parquet", "csv"])
@pytest.mark.parametrize("case", CASES)
def test_the_model_is_that_of_a_fit_in_memory(case, form, folder, tmp_path, request):
    target, options = CASES[case]
    options = {**QUICK, **options}
    if "network" in options:
        del options["quality"]
    source = folder
    if form == "csv":
        source = tmp_path / "t.csv"
        pd.read_parquet(folder).to_csv(source, index=False)
    memory = sl.fit(source, target, run=tmp_path / "memory", **options)
    request.getfixturevalue("tiny")
    large = sl.fit(source, target, run=tmp_path / "large", memory_limit="1GB", **options)
    assert weights(large) == weights(memory)
    assert large.metrics == memory.metrics
    assert [e.valid_loss for e in large.epochs] == [e.valid_loss for e in memory.epochs]
    body = large.find("load", "table")[0].body
    assert body["memory_limit"] == 10**9
    assert body["rows"] == 1_200
    assert any("1,200 rows do not fit within memory_limit=1 GB" in note for note in body["notes"])
    assert "memory_limit" not in memory.find("load", "table")[0].body
    assert large.find("load", "split")[0].body == memory.find("load", "split")[0].body


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """A run whose sample holds some rows, made in a process of its own."""
    place = tmp_path_factory.mktemp("sampled") / "run"
    program = f"{SAMPLED}\nimport sightline as sl\nsl.fit({str(folder)!r}, 'y', run={str(place)!r}, memory_limit='1GB', **{QUICK!r})"
    subprocess.run([sys.executable, "-c", program], check=True)
    return sl.Run(place)


def test_what_a_sample_is_used_for_is_said(run):
    table = run.find("load", "table")[0].body
    assert 500 < table["sampled"] < 720
    note = next(note for note in table["notes"] if "stay on the disk" in note)
    assert "trains on all 1,080 training rows" in note
    assert f"a random sample of {table['sampled']:,} of the rows" in note
    assert run.find("load", "split")[0].body["train"] == 1_080
    prepared = run.find("prepare", "columns")[0].body
    assert prepared["numeric_shape"][0] == 1_080
    assert any("the rank of a value is off by at most" in note for note in prepared["notes"])
    assert run.find("train", "end")[0].body["steps"] == 3 * -(
        -1_080 // run.find("train", "plan")[0].body["batch_size"]
    )


def test_it_is_about_as_good_as_in_memory(run, folder, tmp_path):
    memory = sl.fit(folder, "y", run=tmp_path / "memory", **QUICK)
    assert abs(run.metrics["accuracy"] - memory.metrics["accuracy"]) < 0.08
    assert run.metrics["rows"] == memory.metrics["rows"] == 120


def test_it_is_replayed_bit_for_bit(run, sampled, tmp_path):
    repeated = sl.replay(run.folder, to=tmp_path / "again", quiet=True)
    assert repeated.find("train", "replay")[0].body["identical"] is True
    assert repeated.metrics == run.metrics


def test_it_is_evaluated_on_its_own_rows(run, sampled):
    assert evaluate(run.model)["log_loss"] == run.metrics["log_loss"]


def test_the_lessons_program_makes_the_same_model(run, sampled, capsys):
    blocks = [find(run.records, "lesson", "begin")[i].body["code"][0]["code"] for i in range(5)]
    assert "LargeTable.open(" in blocks[0]
    names: dict = {}
    exec("\n".join(blocks[:4]), names)
    assert weights_fingerprint(names["training"].network) == weights(run)


def test_rows_are_shown_by_their_numbers_in_the_table(run, folder):
    body = run.find("predict", "example")[0].body
    row = pd.read_parquet(folder).iloc[body["row"]]
    assert body["truth"] == row["y"]
    values = (
        {step["column"]: step["value"] for step in body["explanation"]["columns"]}
        if "columns" in body["explanation"]
        else {}
    )
    assert all(values[name] == pytest.approx(row[name]) for name in values if name in ("b", "c"))


def killed(program, code=-9):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    return done


def test_killed_in_an_epoch_it_is_resumed_to_the_same_model(run, folder, sampled, tmp_path):
    program = (
        SAMPLED
        + f"""
import os, signal, sightline as sl
class View:
    def __call__(self, record): pass
    def step(self, done, total):
        if done == 20: os.kill(os.getpid(), signal.SIGKILL)
    def close(self): pass
sl.fit({str(folder)!r}, "y", run={str(tmp_path / "run")!r}, memory_limit="1GB", view=View(), checkpoint_seconds=0.0, **{QUICK!r})
"""
    )
    killed(program)
    assert os.listdir(tmp_path) == ["run"]  # no temporary file is left
    resumed = sl.resume(tmp_path / "run", quiet=True)
    assert weights(resumed) == weights(run)
    assert resumed.metrics == run.metrics


def test_killed_while_rows_are_shuffled_nothing_is_left(folder, tmp_path):
    program = (
        SAMPLED
        + f"""
import os, signal, sightline as sl
from sightline.load.shuffled import ShuffledRows
add, count = ShuffledRows.add, 0
def dying(self, *rows):
    global count
    count += 1
    if count == 6: os.kill(os.getpid(), signal.SIGKILL)
    add(self, *rows)
ShuffledRows.add = dying
sl.fit({str(folder)!r}, "y", run={str(tmp_path / "run")!r}, memory_limit="1GB", **{QUICK!r})
"""
    )
    killed(program)
    assert os.listdir(tmp_path) == []
    with pytest.raises(RunError):
        sl.resume(tmp_path / "run", quiet=True)


def test_edits_apply_while_it_trains(folder, sampled, tmp_path, monkeypatch):
    monkeypatch.setattr("sightline.train.commands.SECONDS_BETWEEN_READS", 0.0)

    class View:
        def __init__(self):
            self.done = False

        def __call__(self, record):
            if (record.stage, record.type) == ("train", "epoch") and not self.done:
                self.done = True
                send(tmp_path / "run", [SetBatchSize(100)])

        def step(self, done, total):
            pass

        def close(self):
            pass

    changed = sl.fit(
        folder,
        "y",
        run=tmp_path / "run",
        memory_limit="1GB",
        view=View(),
        **{**QUICK, "quiet": False},
    )
    (edit,) = find(changed.records, "train", "edit")
    assert edit.body["said"] == "batch size 32 -> 100"


def test_rows_that_change_before_a_resume_are_refused(folder, sampled, tmp_path):
    data = tmp_path / "t.parquet"
    table = frame(600)
    table.to_parquet(data)
    run = sl.fit(data, "y", run=tmp_path / "run", memory_limit="1GB", **QUICK)
    table.loc[123, "b"] += 1e-9
    table.to_parquet(data)
    with pytest.raises(DataError, match="has changed since"):
        evaluate(run.model)


def test_a_file_sorted_by_class_trains_as_well_as_a_shuffled_one(sampled, tmp_path):
    table = frame(3_000, seed=5)
    losses = {}
    for name, rows in (("sorted", table.sort_values("y")), ("mixed", table)):
        rows.to_parquet(tmp_path / f"{name}.parquet")
        run = sl.fit(
            tmp_path / f"{name}.parquet", "y", run=tmp_path / name, memory_limit="1GB", **QUICK
        )
        losses[name] = min(epoch.valid_loss for epoch in run.epochs)
    assert abs(losses["sorted"] - losses["mixed"]) < 0.05


# ------------------------------------------------------------- refused


def test_a_warm_start_needs_all_rows_in_memory(folder, run, tiny, tmp_path):
    small = sl.fit(
        {name: frame(200)[name].tolist() for name in ("a", "b", "c", "y")},
        "y",
        run=tmp_path / "small",
        **QUICK,
    )
    with pytest.raises(OptionError, match="a warm start needs all rows in memory"):
        sl.refit(
            folder,
            small.model,
            warm_start=True,
            run=tmp_path / "run",
            memory_limit="1GB",
            quiet=True,
        )
    with pytest.raises(OptionError, match="does not hold which rows it has seen"):
        sl.refit(folder, run.model, warm_start=True, run=tmp_path / "run", quiet=True)


def test_a_limit_that_is_too_small_is_said_at_once(folder, sightline, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    said = sightline("fit", str(folder), "--target", "y", "--memory-limit", "100kB")
    assert said.code == 2
    assert (
        "memory_limit is 100 kB, too small for 1,200 rows: at least 120 MB are needed" in said.err
    )
    said = sightline("fit", str(folder), "--target", "y", "--memory-limit", "much")
    assert said.code == 2
    assert "memory_limit is 'much'. Give a size with its unit" in said.err
    assert os.listdir(tmp_path) in ([], ["runs"])


def test_a_table_in_memory_cannot_stand_for_files(run, sampled):
    with pytest.raises(DataError, match="a table in memory is given"):
        sl.replay(run.folder, source=frame(), quiet=True)


def test_the_records_say_the_limit(run):
    records, _ = read_records(run.folder)
    start = find(records, "run", "start")[0].body
    assert start["origin"]["memory_limit"] == start["options"]["run"]["memory_limit"] == 10**9


def test_a_refit_reads_its_rows_piece_by_piece(folder, run, sampled, tmp_path, monkeypatch):
    monkeypatch.setattr("sightline.pipeline.refit.read_like", None)
    again, changes = sl.refit(
        folder, run.model, run=tmp_path / "again", memory_limit="1GB", report=False, quiet=True
    )
    assert weights(again) == weights(run)
    assert changes.sentences() == []


def test_rows_beyond_the_sample_count_in_the_fingerprint_of_the_data(folder, sampled, tmp_path):
    prints = []
    for change in (0.0, 1e-9):
        table = frame()
        table.loc[77, "b"] += change
        table.to_parquet(tmp_path / "t.parquet")
        large = LargeTable.open(tmp_path / "t.parquet", ReadOptions(), Budget(10**9))
        prints.append(data_fingerprint(sl.prepare(split_large(large, "y"))))
    assert prints[0] != prints[1]
