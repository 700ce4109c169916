"""Several processes make the steps of one."""

import functools
import os
import re
import signal
import threading
import time

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import sightline as sl
from sightline.contracts import Batch
from sightline.errors import DataError, InternalError, NetworkError, OptionError, RunError
from sightline.train import processes
from sightline.train.checkpoints import Checkpoints
from sightline.train.gradients import parts_of
from sightline.train.processes import Processes, current, joined, launched
from tests.train.several import SECONDS, received, started, together


def table(rows=200, seed=0):
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(rows, 3)).astype(np.float32)
    group = rng.choice(["p", "q", "r"], size=rows)
    score = numbers[:, 0] + 0.5 * numbers[:, 1] * (group == "p") + 0.3 * rng.normal(size=rows)
    return pd.DataFrame({
        "a": numbers[:, 0], "b": numbers[:, 1], "c": numbers[:, 2], "group": group,
        "class": np.where(score > 0.8, "yes", "no"), "number": score * 1e15,
        "weight": rng.uniform(0.5, 2, size=rows),
    })  # fmt: skip


def prepared(target, **split):
    other = "number" if target == "class" else "class"
    frame = table(**({"seed": split.pop("rows_seed")} if "rows_seed" in split else {}))
    return sl.prepare(sl.split(sl.read(frame.drop(columns=other)), target=target, **split))


def of_classes(rank=0, **settings):
    """The default network with folds: 180 rows in batches of 89, so that the last has 2, for 3 processes too."""
    rows = prepared("class", valid=0, test=0.1, folds=5, weight="weight")
    torch.manual_seed(rank)  # process 0 gives its weights to all
    network = sl.Ensemble(rows.spec, members=10, hidden=[16], dropout=settings.pop("dropout", 0.0))
    options = {
        "epochs": 4, "batch_size": 89, "class_weights": "balanced", "device": "cpu", "precision": "float32"
    }  # fmt: skip
    return sl.Training(network, rows, **{**options, **settings})


def of_numbers(rank=0):
    """A network with validation rows, whose target is large, of one row more than 3 processes share evenly."""
    rows = prepared("number", valid=0.2)
    torch.manual_seed(rank)
    return sl.Training(
        sl.MLP(rows.spec, hidden=[16]), rows, epochs=4, batch_size=8, accumulate=4, ema=0.9,
        clip_norm=0.5, eval_metric="mae", schedule="one-cycle", optimizer="muon", device="cpu",
    )  # fmt: skip


def curve(training):
    """What a training has come to, that no clock decides."""
    return {
        "epochs": [
            [e.number, e.train_loss, e.valid_loss]
            + [v for k, v in sorted(e.metrics.items()) if "second" not in k and "accuracy" not in k]
            for e in training.history
        ],
        "accuracy": [[v for k, v in e.metrics.items() if "accuracy" in k] for e in training.history],
        "steps": training.progress.steps,
        "best": training.best_epoch,
        "stopped": training.stopped,
        "said": [event.said for event in training.events if event.type != "layers"],
        "weights": [p.detach().numpy().copy() for p in training.network.parameters()],
    }  # fmt: skip


def check_same(one, other, tolerance=1e-4):
    assert one["epochs"] == pytest.approx(np.array(other["epochs"], float), rel=tolerance, abs=1e-6)
    # A row may be on the other side of the boundary where two processes round otherwise than one.
    assert np.array(one["accuracy"]) == pytest.approx(np.array(other["accuracy"]), abs=1.5 / 180)
    for name in ("steps", "best", "stopped", "said"):
        assert one[name] == other[name], name
    for a, b in zip(one["weights"], other["weights"], strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=1e-5)


def train(make, rank=0, before=None):
    training = make(rank)
    for step in training.steps():
        if before is not None:
            before(training, step, rank)
    return curve(training)


# ------------------------------------------------------------- the same curve


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("make", [of_classes, of_numbers])
def test_many_processes_make_the_steps_of_one(make, size):
    alone = train(make)
    results = together(size, functools.partial(train, make))
    for result in results:
        check_same(result, alone)
        for a, b in zip(result["weights"], results[0]["weights"], strict=True):
            np.testing.assert_array_equal(a, b)


def test_each_process_drops_other_units_and_again_the_same():
    make = functools.partial(of_classes, dropout=0.5, epochs=2)
    first, second = (together(2, functools.partial(train, make))[0] for _ in range(2))
    assert first["epochs"] == second["epochs"]
    assert first["epochs"] != train(make)["epochs"]
    assert Processes(0, 2).stream(3) != Processes(1, 2).stream(3)
    assert Processes().stream(3) == 3


def test_a_batch_is_cut_into_all_its_rows():
    batch = Batch(torch.zeros(5, 1), torch.zeros(5, 0), torch.zeros(5), None, torch.arange(5))
    for size in (1, 2, 3, 5, 7):
        rows, shares = [], 0.0
        for rank in range(size):
            own = Processes(rank, size).rows(5)
            for part, share in parts_of(batch, 2, own):
                rows += part.row.tolist() if share else []
                shares += share
        assert rows == [0, 1, 2, 3, 4]
        assert shares == pytest.approx(1)


# ------------------------------------------------------------- process 0 decides


def edits(training, step, rank):
    if rank == 0 and step.number == 5:
        training.edit(sl.Deepen("hidden.0"), learning_rate=3e-4)
    if rank == 0 and step.number == 20:
        training.edit(batch_size=20, epochs=3)


def test_edits_of_process_0_are_made_by_all():
    def make(rank=0):
        rows = prepared("class", valid=0.2)
        torch.manual_seed(rank)
        return sl.Training(sl.MLP(rows.spec, hidden=[16]), rows, epochs=9, batch_size=16, device="cpu")  # fmt: skip

    alone = train(make, before=edits)
    assert len(alone["said"]) == 4
    for result in together(2, functools.partial(train, make, before=edits)):
        check_same(result, alone)


def late(training, step, rank):
    if rank == 1:
        training.progress.elapsed = 1e9  # its clock says that the time is over


def test_the_clock_of_process_0_counts_alone():
    make = functools.partial(of_classes, time_limit=1e6)
    for result in together(2, functools.partial(train, make, before=late)):
        assert result["stopped"] == "all 4 epochs done"


class Hungry(sl.MLP):
    """Has no memory for more than 20 rows at once, in one process of two."""

    hungry = False

    def forward(self, numeric, categorical):
        if self.hungry and self.training and len(numeric) > 20:
            raise MemoryError
        return super().forward(numeric, categorical)


def make_hungry(rank, hungry=1):
    rows = prepared("class", valid=0.2)
    torch.manual_seed(0)
    network = Hungry(rows.spec, hidden=[16])
    training = sl.Training(network, rows, epochs=3, batch_size=64, device="cpu")
    network.hungry = rank == hungry
    return training


@pytest.mark.parametrize("hungry", [0, 1])
def test_memory_that_is_short_in_one_process_is_saved_in_all(hungry):
    alone = train(functools.partial(make_hungry, hungry=9))
    for result in together(2, functools.partial(train, functools.partial(make_hungry, hungry=hungry))):  # fmt: skip
        assert result["said"][0] == "out of memory with 32 rows at once"
        assert result["said"][1] == "64 -> 16 rows through the network at once"
        result["said"] = alone["said"]
        check_same(result, alone)


def infinite(training, step, rank):
    if step.number in (3, 4):
        training.source.batch.numeric[:] = float("inf" if step.number == 3 else 0)


def test_a_loss_that_is_not_finite_in_one_process_skips_the_step_in_all():
    results = together(2, functools.partial(train, functools.partial(of_classes, epochs=3), before=infinite))  # fmt: skip
    assert results[0]["said"] == results[1]["said"]
    assert "not a finite number" in results[0]["said"][0]
    assert np.isfinite(results[0]["weights"][0]).all()


# ------------------------------------------------------------- what is refused


def refused(size, work, kind):
    results = together(size, work)
    for result in results:
        assert type(result) is kind, result
    return str(results[0])


def test_rows_that_differ_are_refused():
    def work(rank):
        rows = prepared("class", valid=0.2, rows_seed=rank)
        sl.Training(sl.MLP(rows.spec), rows, device="cpu")

    assert "Process 1 has read other rows than process 0." in refused(2, work, DataError)


def test_a_batch_that_is_smaller_than_the_processes_are_many_is_refused():
    work = functools.partial(of_classes, batch_size=1)
    assert "1 rows for 2 processes" in refused(2, work, OptionError)


def test_batch_normalisation_on_the_cpu_is_refused():
    def work(rank):
        rows = prepared("class", valid=0.2)
        width = rows.spec.flat_width
        module = nn.Sequential(nn.BatchNorm1d(width), nn.Linear(width, 2))
        sl.Training(sl.Flat(rows.spec, module), rows, device="cpu")

    assert "The network has a BatchNorm1d" in refused(2, work, NetworkError)


def test_an_edit_to_batch_normalisation_is_refused():
    def work(rank):
        rows = prepared("class", valid=0.2)
        width = rows.spec.flat_width
        module = nn.Sequential(nn.Linear(width, width), nn.Linear(width, 2))
        training = sl.Training(sl.Flat(rows.spec, module), rows, epochs=2, device="cpu")
        if rank == 0:
            training.state.waiting.append(sl.Replace("module.0", f"BatchNorm1d({width})"))
        for _ in training.steps():
            pass
        return curve(training)

    first, second = together(2, work)
    assert "BatchNorm1d, and on a CPU PyTorch has none" in first["said"][0]
    assert first["stopped"] == second["stopped"] == "all 2 epochs done"


def test_what_process_0_refuses_ends_the_others():
    def work(rank):
        def make():
            raise OptionError("no", "yes")

        current().decide(make)

    first, second = together(2, work)
    assert (type(first), type(second)) == (OptionError, SystemExit)
    assert second.code == 2


def test_steps_that_differ_are_a_bug():
    def work(rank):
        network = nn.Linear(1, 1)
        zero = torch.zeros(())
        current().sum_gradients(network, rank, zero, lambda: zero)

    refused(2, work, InternalError)


def test_alone_nothing_is_sent(monkeypatch):
    assert current() == Processes()
    assert launched() == 0
    monkeypatch.setattr(torch.distributed, "broadcast", None)
    monkeypatch.setattr(torch.distributed, "all_reduce", None)
    assert current().says(True)
    assert current().decide(lambda: 3) == 3
    assert current().sum(1.0, 2.0) == [1.0, 2.0]
    with joined(None) as alone:
        assert alone.size == 1


# ------------------------------------------------------------- what is lost


def test_a_killed_process_is_named_in_one_line():
    def kill(training, step, rank):
        if rank == 1 and step.number == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    processes_, pipes = started(2, functools.partial(train, of_classes, before=kill), "runs/with space")  # fmt: skip
    error = received(pipes[0])
    for process in processes_:
        process.join(SECONDS)
    assert type(error) is RunError
    assert re.match(
        r"Process 0 of 2 has lost another one: .*Connection (closed|reset) by peer", str(error)
    )
    assert str(error).endswith("sightline resume 'runs/with space'")
    assert processes_[1].exitcode == -signal.SIGKILL


def test_a_process_that_shows_no_sign_of_life_is_named(monkeypatch, capfd):
    monkeypatch.setattr(processes, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(processes, "LOST_SECONDS", 1.5)

    def stop(training, step, rank):
        if rank == 1 and step.number == 3:
            os.kill(os.getpid(), signal.SIGSTOP)

    processes_, _ = started(2, functools.partial(train, of_classes, before=stop))
    processes_[0].join(SECONDS)
    processes_[1].kill()
    processes_[1].join()
    assert processes_[0].exitcode == 2
    assert "Error: Process 0 of 2 has lost another one: process 1 shows no sign of life" in capfd.readouterr().err  # fmt: skip


def test_a_slow_process_0_is_waited_for(monkeypatch):
    monkeypatch.setattr(processes, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(processes, "LOST_SECONDS", 1.0)

    def pause(training, step, rank):
        if rank == 0 and step.number == 3:
            time.sleep(3)

    for result in together(2, functools.partial(train, of_classes, before=pause)):
        assert result["stopped"] == "all 4 epochs done"


def test_a_checkpoint_of_two_processes_is_continued_by_one(tmp_path):
    def interrupted(rank):
        training = of_classes(rank, batch_size=16)
        checkpoints = Checkpoints(training, tmp_path) if rank == 0 else None
        for step in training.steps():
            if step.number == 17:  # in the middle of epoch 2
                break
        if checkpoints is not None:
            checkpoints.save()

    together(2, interrupted)
    resumed = sl.Training.resume(tmp_path, of_classes().prepared)
    assert resumed.progress.steps == 17
    for _ in resumed.steps():
        pass
    check_same(curve(resumed), train(functools.partial(of_classes, batch_size=16)))


class SlowStore:
    """A store of which each answer takes a while."""

    def __init__(self):
        self.inside = False
        self.values = {}

    def clone(self):
        return self

    def set(self, name, value):
        self.inside = True
        time.sleep(0.2)
        self.values[name] = value.encode()
        self.inside = False

    def get(self, name):
        return self.values.get(name, b"0")


def test_no_thread_is_inside_pytorch_when_a_process_leaves(monkeypatch):
    monkeypatch.setattr(processes, "BEAT_SECONDS", 0.01)
    store, heartbeat = SlowStore(), processes._Heartbeat()
    heartbeat.begin(Processes(1, 2), store)
    while not store.inside:
        time.sleep(0.001)
    heartbeat.end()
    assert not store.inside
    threads = [one for one in threading.enumerate() if "_beat" in one.name or "_watch" in one.name]
    assert threads == []
