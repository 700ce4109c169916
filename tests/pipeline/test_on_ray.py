"""Fits, predictions and tunings on a Ray cluster of this machine: as one process would make them."""

import json
import os
import pickle
import re
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sightline as sl
from sightline.cli.main import cli
from sightline.contracts import FitOptions, Ray, RunOptions
from sightline.errors import DataError, Interrupted, NetworkError, OptionError, RunError
from sightline.load.databases import Query
from sightline.load.on_ray import lacking, processes_of_a_machine, spread, started
from sightline.pipeline.on_ray import _interrupts, _temporary, fit_on_ray
from sightline.trace.records import find, read_records
from tests.pipeline.test_out_of_core import frame
from tests.pipeline.test_torchrun import PLAIN, check_same
from tests.train.test_processes import table

SECONDS = 120
TWO = sl.Ray(workers=2, cpus=0.5)


@pytest.fixture(scope="module")
def ray(tmp_path_factory):
    """Ray on this machine, with processors enough that nothing waits for another one."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")  # fmt: skip
    yield ray
    ray.shutdown()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table(301).drop(columns="number").to_csv("t.csv", index=False)
    return tmp_path


def workers():
    """The processes of Ray Train that train."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::RayTrainWorker"):
                found.append(int(path.parent.name))
        except OSError:  # it has just ended
            continue
    return found


class Killer(threading.Thread):
    """Sends a signal as soon as the run has made some epochs: SIGKILL to a worker, another one to this process."""

    def __init__(self, run, epochs, number):
        super().__init__(daemon=True)
        self.folder, self.epochs, self.number, self.sent = run, epochs, number, False
        self.start()

    def run(self):
        until = time.monotonic() + SECONDS
        while time.monotonic() < until and not self.sent:
            time.sleep(0.02)
            if not (self.folder / "trace.jsonl").is_file() or not (found := workers()):
                continue
            if len(find(read_records(self.folder)[0], "train", "epoch")) >= self.epochs:
                os.kill(found[0] if self.number == signal.SIGKILL else os.getpid(), self.number)
                self.sent = True


class Seen:
    """A view that takes what it is shown."""

    def __init__(self):
        self.records, self.closed = [], False

    def __call__(self, record):
        self.records.append(record)

    def step(self, done, total):
        raise AssertionError("the steps are made elsewhere")

    def close(self):
        self.closed = True


def test_a_fit_of_which_a_worker_is_killed_is_that_of_one_process(ray, folder, monkeypatch):
    """A table larger than memory is read and prepared by Ray Data, and learned by Ray Train."""
    Path("rows").mkdir()
    rows = frame(300)
    rows[:200].to_parquet("rows/0.parquet", row_group_size=60)
    rows[200:].to_parquet("rows/1.parquet")
    alone = sl.fit("rows", "y", run="alone", quiet=True, **PLAIN)
    monkeypatch.setattr("sightline.load.limits.ROW_BYTES", 10**7)  # it does not fit
    monkeypatch.setattr("sightline.load.limits.LEAST_PIECE_ROWS", 100)
    monkeypatch.setattr("sightline.load.limits.PIECE_SHARE", 0)
    monkeypatch.setattr("sightline.load.limits.Budget.sample_rows", lambda self, row_bytes: 10**6)
    again = {"run": "run", "engine": sl.Ray(workers=(1, 2), cpus=0.5), "memory_limit": "1GB", "checkpoint_epochs": 1, **PLAIN}  # fmt: skip
    before = signal.getsignal(signal.SIGINT)
    Killer(folder / "run", 2, signal.SIGINT)
    with pytest.raises(Interrupted, match="Go on with: sightline resume run"):
        sl.fit("rows", "y", quiet=True, **again)
    assert signal.getsignal(signal.SIGINT) is before
    assert not Path("run.ray").exists()

    # The same command goes on, also when a worker is killed.
    killer, seen = Killer(folder / "run", 6, signal.SIGKILL), Seen()
    run = sl.fit("rows", "y", view=seen, **again)
    assert killer.sent
    check_same(run.records, alone.records)
    body = run.find("load", "table")[0].body
    assert (body["rows"], body["memory_limit"]) == (300, 10**9)
    assert run.find("load", "split")[0].body == alone.find("load", "split")[0].body
    assert find(run.records, "train", "plan")[0].body["processes"] == 2
    assert run.records[-1].attempt >= 2
    assert [record.seq for record in run.records] == list(range(len(run.records)))
    assert [record.seq for record in seen.records] == list(range(len(run.records)))
    assert seen.closed
    assert run.records[0].body["options"]["run"]["engine"]["workers"] == [1, 2]
    assert run.model.classes == ("no", "yes")
    assert sorted(os.listdir()) == ["alone", "rows", "run", "t.csv"]
    with pytest.raises(RunError, match="exists already"):  # it is complete
        sl.fit("rows", "y", **again)


def test_what_a_worker_refuses_is_raised_here_at_once(ray, folder):
    def small(spec):
        import torch

        return torch.nn.Linear(3, 2)

    options = {"quiet": True, "run": "run", "engine": TWO}
    with pytest.raises(NetworkError, match=re.escape("Linear.forward raised TypeError")):
        sl.fit("t.csv", "class", network=small, **options)
    assert not list(folder.glob("run*/train*"))
    assert not Path("run.ray").exists()
    began = time.monotonic()
    with pytest.raises(DataError, match=r"missing\.csv does not exist"):
        sl.fit("missing.csv", "class", **options)
    assert time.monotonic() - began < 10  # no worker was started


def test_predictions_of_files_are_those_of_one_process_in_order(ray, folder, capsys):
    run = sl.fit("t.csv", "class", run="run", quality="fast", epochs=2, report=False, quiet=True)
    rows = pd.read_csv("t.csv")
    Path("many").mkdir()
    for number in range(3):
        rows[number * 100 : (number + 1) * 100].to_csv(f"many/{number}.csv", index=False)
    text = Path("many/1.csv").read_text().split("\n")
    name = next(c.name for c in run.model.encoder.schema.features if c.kind == "numeric")
    cells = text[4].split(",")
    cells[rows.columns.get_loc(name)] = "oops"
    Path("many/1.csv").write_text("\n".join([*text[:4], ",".join(cells), *text[5:]]))
    for engine in ("auto", "ray"):
        cli(
            ["predict", "run", "many", "-o", f"{engine}.csv", "--engine", engine, "--quiet"],
            standalone_mode=False,
        )
    assert Path("ray.csv").read_text() == Path("auto.csv").read_text()
    assert pd.read_csv("ray.csv")["error"].notna().tolist().index(True) == 103
    # The network's class is known to this process alone.
    Path("net.py").write_text("import sightline as sl\nclass Net(sl.MLP):\n    pass\n")
    own = sl.fit("t.csv", "class", network="net.py:Net", epochs=1, report=False, quiet=True).model
    pieces = list(own.in_pieces("many", keep=("class",), engine=TWO))
    assert len(pieces) == 3
    found = np.concatenate([piece.values for piece in pieces])
    assert found == pytest.approx(own.predict_proba("many"), abs=1e-6, nan_ok=True)
    classes = [piece.table.cells("class", n) for piece in pieces for n in range(piece.table.rows)]
    assert classes == rows["class"][:300].tolist()
    with pytest.raises(DataError, match="column"):
        list(run.model.in_pieces(_without(name, rows), engine=TWO))
    with pytest.raises(OptionError, match="rows of a query come once"):
        list(run.model.in_pieces(Query("sqlite:///t.db", "t"), engine=TWO))
    rows.to_json("t.json", orient="records")
    with pytest.raises(OptionError, match="read in one piece"):
        cli(["predict", "run", "t.json", "--engine", "ray"], standalone_mode=False)


def _without(name, rows):
    rows.drop(columns=name).to_parquet("without.parquet")
    return "without.parquet"


def test_a_tuning_makes_its_trials_there(ray, folder):
    options = {"quality": "fast", "epochs": 2, "report": False, "quiet": True, "baselines": False}
    tuned = sl.tune(
        "t.csv", "class", trials=4, engine=sl.Ray(workers=2, cpus=0.5), folder="tuned", **options
    )
    assert len(tuned.trials) == 4
    assert tuned.trials[0].default
    assert tuned.run.metrics["accuracy"] > 0.7
    with pytest.raises(OptionError, match="no column 'nowhere'"):
        sl.tune("t.csv", "class", trials=2, workers=2, engine="ray", folder="bad", group="nowhere", **options)  # fmt: skip


def test_a_process_that_is_lost_is_replaced(ray, tmp_path):
    def once(item):
        place = tmp_path / f"{item}"
        if item == 2 and not place.exists():
            place.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield from (item, item * 10)

    assert list(spread(TWO, once, [1, 2, 3])) == [1, 10, 2, 20, 3, 30]
    assert list(spread(TWO, once, [])) == []


# ------------------------------------------------------------- what is refused


def test_what_the_engine_cannot_do_is_refused(folder):
    for source, options, said in [
        (Query("sqlite:///t.db", "t"), {}, "read once"),
        ("s3://bucket/t.parquet", {}, "read once"),
        ("t.csv", {"watch": True, "network": "n.py:Net"}, "--watch"),
    ]:
        with pytest.raises(OptionError, match=said):
            fit_on_ray(source, FitOptions.of("class", engine="ray", quiet=True, **options))


def test_without_ray_the_error_names_the_extra(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(OptionError, match=re.escape('pip install "sightline[ray]"')):
        sl.fit("t.csv", "class", engine="ray", quiet=True)


def test_a_cluster_that_is_not_there_is_an_error(monkeypatch):
    class NoRay:
        @staticmethod
        def is_initialized():
            return False

        @staticmethod
        def init(address, **options):
            raise ConnectionError(f"Failed to connect to {address}\nand more")

    monkeypatch.setitem(sys.modules, "ray", NoRay)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with (
        pytest.raises(OptionError, match=re.escape("'10.0.0.1:6379' cannot be used: Failed to connect to 10.0.0.1:6379. Start")),
        started(Ray()),
    ):  # fmt: skip
        pass


def test_too_few_processors_or_gpus_are_said():
    class Cluster:
        @staticmethod
        def cluster_resources():
            return {"CPU": 4.0}

    assert lacking(Cluster, Ray(workers=4)) is None
    assert lacking(Cluster, Ray(workers=(2, 9))) is None
    assert lacking(Cluster, Ray(workers=5)) == "The workers need 5 processors, and Ray has 4"
    assert lacking(Cluster, Ray(workers=1, gpus=1)) == "The workers need 1 GPUs, and Ray has 0"


def test_workers_share_the_memory_of_their_machine():
    class Cluster:
        @staticmethod
        def nodes():
            return [{"Alive": True}, {"Alive": False}, {"Alive": True}]

    assert processes_of_a_machine(Cluster, Ray(workers=5)) == 4
    assert processes_of_a_machine(Cluster, Ray(workers=(1, 8))) == 5


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"workers": 0}, "workers is 0. Give a whole number from 1"),
        ({"workers": True}, "workers is True"),
        ({"workers": (3, 2)}, "workers is (3, 2)"),
        ({"workers": (1, 2, 3)}, "workers is (1, 2, 3)"),
        ({"cpus": 0}, "cpus of Ray is 0. Give a number above 0"),
        ({"gpus": -1}, "gpus of Ray is -1. Give a number from 0"),
        ({"failures": "x"}, "failures of Ray is 'x'. Give a number from -1"),
    ],
)
def test_bad_engines_are_refused(values, said):
    with pytest.raises(OptionError, match=re.escape(said)):
        Ray(**values)


def test_engines_as_json_and_on_the_command_line():
    for engine in (Ray(), Ray((2, 8), cpus=0.5, gpus=1, failures=-1, address="auto")):
        again = RunOptions(engine=json.loads(json.dumps(engine.to_json()))).engine
        assert again == engine == pickle.loads(pickle.dumps(engine))
    assert RunOptions(engine="ray").engine == Ray()
    with pytest.raises(OptionError, match="spark"):
        RunOptions(engine="spark")
    assert [Ray.parse(text).workers for text in (None, "8", "2-8")] == [2, 8, (2, 8)]
    for text in ("many", "2-", "-3", "0"):
        with pytest.raises(OptionError, match="workers is"):
            Ray.parse(text)
    with pytest.raises(OptionError, match="--workers is given without --engine ray"):
        cli(["fit", "t.csv", "--target", "y", "--workers", "3"], standalone_mode=False)


def test_a_second_fit_of_the_same_run_is_refused(ray, folder):
    with _temporary(folder / "run") as temporary:
        (temporary / "prepared.rows").touch()
        with pytest.raises(RunError, match="run"):
            sl.fit("t.csv", "class", run=folder / "run", engine=TWO, quiet=True)
        assert (temporary / "prepared.rows").exists()
    assert not (folder / "run").exists()


def test_ctrl_c_says_how_to_go_on(tmp_path):
    with pytest.raises(KeyboardInterrupt) as caught, _interrupts(tmp_path):
        raise KeyboardInterrupt
    assert not isinstance(caught.value, Interrupted)
    (tmp_path / "checkpoints").mkdir()
    for step in (7, 12):
        (tmp_path / f"checkpoints/step-{step:012}.checkpoint").touch()
    said = pytest.raises(Interrupted, match=r"after step 12.*Go on with: sightline resume")
    with said, _interrupts(tmp_path):
        raise KeyboardInterrupt


def test_what_a_killed_fit_left_is_removed(ray, folder):
    Path("run.ray/of-this-fit").mkdir(parents=True)
    Path("run.ray/of-this-fit/prepared.rows").touch()
    with pytest.raises(OptionError, match="no column 'nowhere'"):
        sl.fit("t.csv", "nowhere", run="run", engine=TWO, quiet=True)
    assert not Path("run.ray").exists()
    shutil.rmtree("run", ignore_errors=True)
