"""Hot reload with real files: what fits carries over, what does not is told of."""

import copy
import os
import re
from pathlib import Path

import pytest
import torch

import sightline as sl
from sightline.build.networks import make_network, source_of
from sightline.contracts import Reload
from sightline.errors import NetworkError, OptionError
from sightline.train import watch as module
from sightline.train.optimizers import state_by_name
from sightline.train.watch import Watch
from tests.train.test_training import same, train, weights

CODE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.norm = nn.BatchNorm1d(len(spec.numeric))
        self.first = nn.Linear(len(spec.numeric), {width})
        self.last = nn.Linear({width}, {outputs})
{more}
    def forward(self, numeric, categorical):
        return self.last(torch.{activation}(self.first(self.norm(numeric))))
"""


def code(width=6, outputs="spec.outputs", activation="relu", more=""):
    return CODE.format(width=width, outputs=outputs, activation=activation, more=more)


def saved(path, text):
    """Save a file as an editor does; its time differs from that of the last save in any case."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text)
    if path.stat().st_mtime_ns <= before:
        os.utime(path, ns=(before + 10**6, before + 10**6))


class Watched:
    def __init__(self, prepared, folder, **options):
        self.path = folder / "net.py"
        saved(self.path, code())
        torch.manual_seed(0)
        made = make_network(f"{self.path}:Net", prepared.spec)
        self.training = train(prepared, made, **{"epochs": 20, "precision": "float32", **options})
        self.watch = Watch(self.training, f"{self.path}:Net", folder / "sources")
        self.go_on(4)

    def go_on(self, steps=1):
        for step in self.training.steps():
            steps -= 1
            if not steps:
                return step
        raise AssertionError(self.training.stopped)

    def save(self, text):
        saved(self.path, text)
        self.watch.look()

    def events(self):
        return [e for e in self.training.events if e.type in ("edit", "refused")]


@pytest.fixture
def watched(species, tmp_path):
    return Watched(species, tmp_path)


def test_a_file_that_is_not_saved_does_nothing(watched):
    watched.watch.look()
    os.utime(watched.path, ns=(1, 1))
    watched.watch.look()
    saved(watched.path, code())
    watched.watch.look()
    watched.go_on()
    assert watched.events() == []
    assert watched.training.progress.edits == []


@pytest.mark.parametrize("optimizer", ["adamw", "muon", torch.optim.RAdam])
def test_a_good_save_carries_everything_over(species, tmp_path, optimizer):
    watched = Watched(species, tmp_path, optimizer=optimizer, ema=0.9)
    training = watched.training
    old = copy.deepcopy(state_by_name(training.optimizer, training.network))
    values = copy.deepcopy(weights(training))
    averages = {name: v.clone() for name, v in training.average.values.items()}
    watched.save(code(activation="tanh"))
    assert watched.events() == []
    training._apply_edits()
    assert same(weights(training), values), "the BatchNorm's means and counts too"
    assert int(weights(training)["norm.num_batches_tracked"]) == 4
    for name, state in state_by_name(training.optimizer, training.network).items():
        for key, value in state.items():
            assert torch.equal(value, old[name][key])
    assert all(torch.equal(v, averages[n]) for n, v in training.average.values.items())
    (event,) = watched.events()
    assert set(event.details["parameters"].values()) == {"kept"}
    assert event.details["gone"] == []
    assert event.said == f"{watched.path}:Net reloaded: parameters 6 kept"
    watched.go_on(3)
    batch = training.prepared.valid
    training.network.eval()
    hidden = torch.tanh(training.network.first(training.network.norm(batch.numeric)))
    assert torch.equal(
        training.network(batch.numeric, batch.categorical), training.network.last(hidden)
    )


def test_what_grew_is_padded_and_what_is_new_starts_fresh(watched):
    training = watched.training
    values = copy.deepcopy(weights(training))
    old = copy.deepcopy(state_by_name(training.optimizer, training.network))
    plain = "nn.BatchNorm1d(len(spec.numeric), affine=False)"
    watched.save(code(width=9).replace("nn.BatchNorm1d(len(spec.numeric))", plain))
    training._apply_edits()
    (event,) = watched.events()
    ways = event.details["parameters"]
    D = len(training.prepared.spec.numeric)
    assert ways == {
        "first.weight": f"grown from [6, {D}] to [9, {D}]", "first.bias": "grown from [6] to [9]",
        "last.weight": "grown from [3, 6] to [3, 9]", "last.bias": "kept",
    }  # fmt: skip
    assert event.details["gone"] == ["norm.weight", "norm.bias"]
    assert "parameters 3 grown, 1 kept, 2 removed (first.weight grown from" in event.said
    now = weights(training)
    assert torch.equal(now["first.weight"][:6], values["first.weight"])
    assert torch.equal(now["last.weight"][:, :6], values["last.weight"])
    assert torch.equal(now["norm.running_mean"], values["norm.running_mean"])
    assert (now["last.weight"][:, 6:] != 0).all(), "a file's own new weights, not zeros"
    state = state_by_name(training.optimizer, training.network)
    assert torch.equal(state["last.weight"]["exp_avg"][:, :6], old["last.weight"]["exp_avg"])
    assert (state["last.weight"]["exp_avg"][:, 6:] == 0).all()
    assert state["last.weight"]["step"] == 4
    watched.go_on(3)

    watched.save(code(width=9, more="        self.extra = nn.Parameter(torch.zeros(3))\n"))
    training._apply_edits()
    ways = watched.events()[-1].details["parameters"]
    assert {n for n, way in ways.items() if way == "fresh"} == {"norm.weight", "norm.bias", "extra"}
    assert "extra" not in state_by_name(training.optimizer, training.network)
    watched.go_on(3)


def test_what_shrinks_starts_fresh(watched):
    watched.save(code(width=3))
    watched.training._apply_edits()
    ways = watched.events()[0].details["parameters"]
    assert {n for n, way in ways.items() if way == "fresh"} == {
        "first.weight", "first.bias", "last.weight",
    }  # fmt: skip
    assert weights(watched.training)["first.weight"].shape[0] == 3
    watched.go_on(3)


BROKEN = [
    (code() + "\n    def forward(self, x:\n", r"raised SyntaxError: .*net\.py, line \d+\)"),
    (code(outputs=7), r"Net returns logits of shape \[3, 7\] on .*instead of \[3, 3\]"),
    (code().replace("class Net", "class Nets"), r"has no 'Net'\. Did you mean 'Nets'"),
    (
        code(activation="relux"),
        "forward raised AttributeError .*module 'torch' has no attribute 'relux'",
    ),
    (code() + "\nraise SystemExit(1)\n", "raised SystemExit"),
    (code() + "\nimport nowhere_at_all\n", "raised ModuleNotFoundError"),
    (code(more="        1 / 0\n"), r"Net\(spec\) raised ZeroDivisionError"),
    ("", "has no 'Net'"),
    ("\0\0\0", "raised (SyntaxError|ValueError)"),
]


@pytest.mark.parametrize(("text", "said"), BROKEN)
def test_a_save_that_cannot_be_used_is_told_of(watched, species, tmp_path, text, said):
    (tmp_path / "plain").mkdir()
    plain = Watched(species, tmp_path / "plain")
    watched.save(text)
    (event,) = watched.events()
    assert event.type == "refused"
    assert event.said.startswith(f"{watched.path}:Net is not used: ")
    told(event, said)
    assert "sources" not in event.said, "the file is named as its owner knows it"
    assert event.details["edit"]["edit"] == "Reload"
    watched.watch.look()
    assert len(watched.events()) == 1, "said once"
    for one in (watched, plain):
        one.go_on(5)
    assert same(weights(watched.training), weights(plain.training))
    watched.save(code(width=8))
    watched.go_on(1)
    assert [event.type for event in watched.events()] == ["refused", "edit"]


def told(event, said):
    assert re.search(said, event.said, re.S), f"{said} is not in the text {event.said}"


def test_a_line_is_named(watched):
    watched.save("import torch\n\nclass Net(:\n")
    told(watched.events()[0], r"net\.py, line 3\)")


def test_a_file_that_is_away_for_a_while(watched):
    text = watched.path.read_text()
    watched.path.unlink()
    watched.watch.look()
    watched.go_on(1)
    watched.path.mkdir()
    watched.watch.look()
    watched.path.rmdir()
    saved(watched.path, text)
    watched.watch.look()
    assert watched.events() == []
    watched.path.unlink()
    watched.watch.look()
    watched.save(code(width=8))
    watched.go_on(1)
    assert [event.type for event in watched.events()] == ["edit"]


def test_a_file_taken_away_between_the_look_and_the_reading(watched, monkeypatch):
    saved(watched.path, code(width=8))

    def gone(self):
        raise FileNotFoundError(self)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", gone)
        watched.watch.look()
    assert watched.events() == []
    watched.watch.look()
    watched.go_on(1)
    assert [event.type for event in watched.events()] == ["edit"]


def test_a_text_put_back(watched):
    first = code()
    watched.save("broken(")
    watched.save(first)
    watched.go_on(1)
    assert [event.type for event in watched.events()] == ["refused"], "it is in use already"
    watched.save(code(width=8))
    watched.go_on(1)
    watched.save(first)
    watched.go_on(1)
    assert [event.type for event in watched.events()] == ["refused", "edit", "edit"]
    assert weights(watched.training)["first.weight"].shape[0] == 6


def test_every_text_in_use_is_kept_and_known_by_its_digest(watched, tmp_path):
    watched.save(code(width=8))
    watched.go_on(1)
    ((_, said),) = watched.training.progress.edits
    kept = tmp_path / "sources" / f"{said['sha256']}.py"
    assert kept.read_text() == code(width=8)
    assert source_of(watched.training.network) == kept.read_bytes()
    saved(watched.path, code(width=10))
    watched.training.edit(Reload(said["network"], said["sha256"]))
    watched.training._apply_edits()
    assert weights(watched.training)["first.weight"].shape[0] == 8, "the kept text, not the file's"


@pytest.mark.parametrize("loss", ["gone", "changed"])
def test_a_kept_text_that_is_lost_is_refused(watched, tmp_path, loss):
    watched.save(code(width=8))
    watched.go_on(1)
    ((_, said),) = watched.training.progress.edits
    kept = tmp_path / "sources" / f"{said['sha256']}.py"
    saved(watched.path, code(width=10))
    if loss == "gone":
        kept.unlink()
    else:
        kept.write_text(code(width=12))
    with pytest.raises(NetworkError, match=r"The source .* is not at .*Restore the file"):
        watched.training.edit(Reload(said["network"], said["sha256"]))


def test_frozen_parameters_stay_frozen(watched):
    watched.training.edit(sl.Freeze("first"))
    watched.go_on(1)
    watched.save(code(activation="tanh"))
    watched.go_on(1)
    frozen = {n for n, p in watched.training.network.named_parameters() if not p.requires_grad}
    assert frozen == {"first.weight", "first.bias"}
    before = copy.deepcopy(weights(watched.training))
    watched.go_on(2)
    assert torch.equal(before["first.weight"], weights(watched.training)["first.weight"])
    assert not torch.equal(before["last.weight"], weights(watched.training)["last.weight"])


def test_a_reload_draws_the_same_whatever_else_was_drawn(species, tmp_path):
    found = []
    for noise in (0, 7):
        folder = tmp_path / str(noise)
        folder.mkdir()
        watched = Watched(species, folder)
        torch.rand(noise)
        watched.save(code(width=9))
        watched.go_on(3)
        found.append(weights(watched.training))
    assert same(*found)


def test_a_look_is_not_taken_at_each_step(watched, monkeypatch):
    now = [100.0]
    looks = []
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(watched.watch, "look", lambda: looks.append(now[0]))
    for now[0] in (100.0, 100.1, 100.25, 100.3, 100.5):
        watched.watch.after_step()
    assert looks == [100.0, 100.25, 100.5]


@pytest.mark.parametrize("place", ["net.py", "none.py:Net", ":Net", ""])
def test_what_cannot_be_watched(species, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match=r"cannot be watched.*net\.py:Net"):
        Watch(train(species), place, tmp_path / "sources")
