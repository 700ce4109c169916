"""Exact resume inside one process: whatever is kept, wherever it is cut, nothing differs after."""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import shutil
import zipfile
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import sightline as sl
from sightline import archive, contracts
from sightline.build.networks import load_class
from sightline.errors import DataError, NetworkError, OptionError, RunError
from sightline.train import checkpoints as room
from sightline.train.checkpoints import (
    CHECKPOINTS_FOLDER,
    FIRST,
    Checkpoints,
    data_fingerprint,
    read,
    read_first,
    read_newest,
    weights_fingerprint,
    write,
)
from sightline.train.training import restore

EPOCHS = 3
STEPS = 9  # of an epoch: 276 rows in batches of 32

OWN = '''
import sightline as sl
import torch
from torch import nn


class Normed(nn.Module):
    """Keeps buffers, and a number drawn at the start that is in no state."""

    def __init__(self, spec):
        super().__init__()
        layers = nn.Sequential(
            nn.Linear(spec.flat_width, 8), nn.BatchNorm1d(8), nn.RReLU(), nn.Linear(8, spec.outputs)
        )
        self.flat = sl.Flat(spec, layers)
        self.register_buffer("drawn", torch.rand(()), persistent=False)

    def forward(self, numeric, categorical):
        return self.flat(numeric, categorical) * (1 + self.drawn)


class Brittle(nn.Module):
    """Gives NaN in training as soon as a weight is large: a high learning rate breaks it."""

    most = 1.1

    def __init__(self, spec):
        super().__init__()
        self.flat = sl.Flat(spec, nn.Linear(spec.flat_width, spec.outputs))

    def forward(self, numeric, categorical):
        logits = self.flat(numeric, categorical)
        large = self.flat.module.weight.detach().abs().max() > self.most
        return logits * float("nan") if self.training and large else logits


class Hopeless(Brittle):
    most = 0.0
'''


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A file with networks, and the folder in which a run would keep it."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "net.py").write_text(OWN)
    kept = hashlib.sha256(OWN.encode()).hexdigest()
    (folder / f"{kept}.py").write_text(OWN)
    return folder


@pytest.fixture(scope="module")
def tables(penguins, species, weight, own):
    table = sl.read(penguins)
    weighted = sl.prepare(sl.split(table, target="species", weight="year", seed=0))
    no_valid = sl.prepare(sl.split(table, target="species", valid=0, seed=0))
    names = ["species", "body_mass_g"]
    numbers = sl.read({name: [table.cells(name, row) for row in range(344)] for name in names})
    plain = sl.prepare(sl.split(numbers, target="species", seed=0))
    return {"species": species, "weight": weight, "weighted": weighted, "no validation": no_valid,
            "one number": plain}  # fmt: skip


def step_lr(optimizer):
    return torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.7)


def one_cycle(optimizer):
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.02, total_steps=EPOCHS * STEPS)


def plateau(optimizer):
    return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.5)


def chained(optimizer):
    rate = torch.optim.lr_scheduler
    return rate.SequentialLR(
        optimizer, [rate.LinearLR(optimizer), rate.CosineAnnealingLR(optimizer, 20)], [5]
    )


@dataclasses.dataclass
class Case:
    """One training: its table, network, settings, and edits after some steps."""

    options: dict
    table: str = "species"
    network: object = None
    edits: dict = dataclasses.field(default_factory=dict)


MLP = partial(sl.MLP, hidden=[16, 8])
STRUCTURE = {
    3: [sl.Widen("hidden.0", 24)],
    7: [sl.Deepen("hidden.0"), contracts.SetLearningRate(0.02)],
    12: [sl.Replace("hidden.0.activation", "GELU()"), sl.Freeze("embeddings")],
    13: [sl.Unfreeze("embeddings"), sl.Freeze("hidden.1"), contracts.SetBatchSize(50)],
    16: [contracts.SetMicroBatch(20), contracts.SetWeightDecay(0.3), contracts.SetEpochs(4)],
}  # fmt: skip
CASES = {
    "plain": Case({}),
    "dropout": Case({}, network=partial(sl.MLP, hidden=[16, 8], dropout=0.5)),
    "average": Case({"ema": 0.9}),
    "cosine": Case({"schedule": "cosine", "warm_up": 0.2}),
    "one-cycle": Case({"schedule": "one-cycle"}),
    "StepLR": Case({"schedule": step_lr}),
    "OneCycleLR": Case({"schedule": one_cycle}),
    "OneCycleLR, SGD": Case({"schedule": one_cycle, "optimizer": "sgd"}),
    "ReduceLROnPlateau": Case({"schedule": plateau}),
    "SequentialLR": Case({"schedule": chained}),
    "muon": Case({"optimizer": "muon"}),
    "sgd": Case({"optimizer": "sgd", "learning_rate": 0.1}),
    "RAdam": Case({"optimizer": torch.optim.RAdam}),
    "class weights": Case({"class_weights": "balanced", "label_smoothing": 0.1}),
    "sample weights": Case({"class_weights": {"Gentoo": 3}}, table="weighted"),
    "accumulate": Case({"accumulate": 3, "batch_size": 16}),
    "clip": Case({"clip_norm": 0.1}),
    "bfloat16": Case({"precision": "bfloat16"}),
    "regression": Case({}, table="weight"),
    "no validation rows": Case({}, table="no validation"),
    "one number alone": Case({}, table="one number"),
    "BatchNorm of your own": Case({}, network="Normed"),
    "no doctor": Case({"doctor": False, "patience": None}),
    "lone last rows": Case({"batch_size": 55}, network="Normed"),
    "edits": Case({}, edits=STRUCTURE),
    "edits with everything": Case(
        {"ema": 0.8, "schedule": "cosine", "optimizer": "muon", "clip_norm": 1.0},
        network=partial(sl.MLP, hidden=[16, 8], dropout=0.2), edits=STRUCTURE,
    ),
    "edits under RAdam and StepLR": Case(
        {"optimizer": torch.optim.RAdam, "schedule": step_lr}, edits=STRUCTURE
    ),
    "the best weights have another structure": Case(
        {"patience": 3}, edits={9: [contracts.SetLearningRate(5.0)], 12: [sl.Widen("hidden.1", 16)],
                                20: [sl.Deepen("hidden.0")]},
    ),
    "better weights follow of another structure": Case(
        {"epochs": 8, "learning_rate": 0.001},
        edits={9: [contracts.SetLearningRate(1.0)], 12: [sl.Widen("hidden.1", 16)],
               18: [contracts.SetLearningRate(0.03)]},
    ),
    "stopped by an edit": Case({}, edits={14: [contracts.Stop("enough")]}),
    "stopped early": Case({"patience": 1, "learning_rate": 3.0}),
    "rollback": Case({"learning_rate": 0.1}, network="Brittle"),
    "a second rollback stops": Case({"epochs": 5}, network="Hopeless"),
}  # fmt: skip


def started(case, tables, own):
    prepared = tables[case.table]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = case.network or MLP
        if isinstance(network, str):
            network = load_class(f"{own / 'net.py'}:{network}")
        built = network(prepared.spec)
        options = {"epochs": EPOCHS, "learning_rate": 0.01, **case.options}
        return sl.Training(built, prepared, **options)


def go_on(training, case, each=lambda training: None):
    for step in training.steps():
        training.edit(*case.edits.get(step.number, ()))
        each(training)
    each(training)
    return training


def without_times(records):
    times = ("seconds", "rows_per_second", "validation_seconds")
    return [
        {**vars(record), "metrics": {k: v for k, v in record.metrics.items() if k not in times}}
        for record in records
    ]


def all_of(training):
    """Everything that a training holds, in a form that is equal when every bit is."""

    def bits(values):
        return {
            key: bits(value) if isinstance(value, dict)
            else str((value.dtype, value.flatten().tolist())) if isinstance(value, torch.Tensor)
            else value
            for key, value in values.items()
        }  # fmt: skip

    progress = training.progress.to_json()
    for name in ("seconds", "elapsed", "history", "glasses"):
        progress.pop(name)
    said = {
        "progress": progress,
        "history": without_times(training.history),
        "rate": training.learning_rate.to_json(),
        "groups": [{k: v for k, v in g.items() if k != "params"}
                   for g in training.optimizer.param_groups],
        "plan": dataclasses.asdict(training.plan),
        "structure": str(training.network),
        "learns": [name for name, p in training.network.named_parameters() if p.requires_grad],
    }  # fmt: skip
    return {
        # NaN and tuples are equal to themselves as text; JSON has no other keys than text.
        **{key: json.dumps(value, default=str) for key, value in said.items()},
        "glasses": json.dumps({str(n): seen for n, seen in training.detailed_steps.items()}),
        "weights": weights_fingerprint(training.network),
        "best": weights_fingerprint(training.best.network),
        "good": weights_fingerprint(training.state.good.network),
        "optimizer": bits(training.optimizer.state_dict()["state"]),
        "average": bits({} if training.average is None else training.average.values),
    }


def own_settings(case):
    return {
        name: value for name in ("optimizer", "schedule")
        if not isinstance(value := case.options.get(name), str)
    }  # fmt: skip


MOMENTS = (0, 1, 8, 9, 10, 13, 14, 17, 22)


@pytest.mark.parametrize("name", CASES)
def test_a_training_cut_anywhere_goes_on_to_the_same_bits(name, tables, own, tmp_path):
    case = CASES[name]
    whole = all_of(go_on(started(case, tables, own), case))

    # The same once more, a checkpoint after every step: writing them changes nothing.
    training = started(case, tables, own)
    keeper = Checkpoints(training, tmp_path, keep=1000, seconds=None)
    keeper.save()
    assert all_of(go_on(training, case, lambda training: keeper.save())) == whole

    files = {int(p.name[5:17]): p for p in (tmp_path / CHECKPOINTS_FOLDER).iterdir()}
    assert len(files) == training.progress.steps + 1
    for moment in sorted({*MOMENTS, max(files)} & files.keys()):
        saved = read(files[moment])
        resumed = restore(saved, training.prepared, sources=own, **own_settings(case))
        assert resumed.progress.steps == moment
        assert all_of(go_on(resumed, case)) == whole, moment


def test_the_cases_do_what_they_are_named_for(tables, own):
    """A guard of the test above: rollbacks, early stops and edits do happen in it."""
    ended = {
        name: go_on(started(CASES[name], tables, own), CASES[name])
        for name in ("rollback", "a second rollback stops", "edits", "stopped early",
                     "the best weights have another structure", "better weights follow of another structure", "ReduceLROnPlateau", "bfloat16")
    }  # fmt: skip
    rolled = ended["rollback"]
    assert (rolled.progress.rollbacks, rolled.progress.skipped) == (1, 5)
    assert rolled.progress.steps == EPOCHS * STEPS
    assert "a second time" in ended["a second rollback stops"].stopped
    assert len(ended["edits"].progress.edits) == sum(map(len, STRUCTURE.values()))
    assert not [event for event in ended["edits"].events if event.type == "refused"]
    assert ended["stopped early"].stopped.startswith("stopped early after epoch")
    best = ended["the best weights have another structure"]
    assert best.best_epoch == 1
    assert str(best.best.network) != str(best.network)
    better = ended["better weights follow of another structure"]
    losses = [epoch.valid_loss for epoch in better.history]
    assert losses[2] > losses[1]  # so at step 18 the best are those of before the edit
    assert better.best_epoch > 2
    assert losses[better.best_epoch] < losses[1]
    assert ended["ReduceLROnPlateau"].history[-1].metrics["learning_rate"] < 0.01
    assert ended["bfloat16"].plan.precision == "bfloat16"


def test_every_moment_of_a_short_training(species, tmp_path):
    case = Case({}, network=partial(sl.MLP, hidden=[8], dropout=0.3))
    training = started(case, {"species": species}, None)
    keeper = Checkpoints(training, tmp_path, keep=1000, seconds=None)
    keeper.save()
    whole = all_of(go_on(training, case, lambda training: keeper.save()))
    for path in (tmp_path / CHECKPOINTS_FOLDER).iterdir():
        assert all_of(go_on(restore(read(path), species), case)) == whole


def test_two_cuts_in_one_epoch(species, tmp_path):
    case = CASES["dropout"]
    tables = {"species": species}
    whole = all_of(go_on(started(case, tables, None), case))
    training = started(case, tables, None)
    for stop in (11, 14, 16):
        for step in training.steps():
            if step.number == stop:
                break
        Checkpoints(training, tmp_path).save()
        training = sl.Training.resume(tmp_path, species)
        assert training.progress.steps == stop
    assert all_of(go_on(training, case)) == whole


def test_many_blocks_of_rows(tmp_path, species, monkeypatch):
    """Blocks begin elsewhere in a resumed epoch; its batches must not."""
    monkeypatch.setattr("sightline.load.batches.BLOCK_ROWS", 64)
    case = Case({"batch_size": 25}, network="Normed")  # 276 = 11 x 25 + 1, a lone last row
    (tmp_path / "net.py").write_text(OWN)
    tables = {"species": species}
    training = started(case, tables, tmp_path)
    keeper = Checkpoints(training, tmp_path, keep=1000, seconds=None)
    whole = all_of(go_on(training, case, lambda training: keeper.save()))
    assert training.plan.steps_per_epoch == 11
    for moment in (1, 2, 3, 9, 10, 11, 12):
        saved = read(tmp_path / CHECKPOINTS_FOLDER / f"step-{moment:012}.checkpoint")
        resumed = restore(saved, species, network=load_class(f"{tmp_path / 'net.py'}:Normed"))
        assert all_of(go_on(resumed, case))["history"] == whole["history"], moment


def test_the_untrained_record_is_not_made_twice(species, tmp_path):
    training = started(CASES["plain"], {"species": species}, None)
    records = iter(training)
    assert next(records).number == 0
    Checkpoints(training, tmp_path).save()
    resumed = sl.Training.resume(tmp_path, species)
    assert [epoch.number for epoch in resumed] == [1, 2, 3]
    assert [epoch.number for epoch in resumed.history] == [0, 1, 2, 3]


def test_an_edit_that_waits_is_kept(species, tmp_path):
    training = started(CASES["plain"], {"species": species}, None)
    next(training.steps())
    training.edit(sl.Widen("hidden.0", 32), learning_rate=0.5)
    Checkpoints(training, tmp_path).save()
    resumed = sl.Training.resume(tmp_path, species)
    next(resumed.steps())
    assert resumed.network.config()["hidden"] == [32, 8]
    assert [event.said.split(":")[0] for event in resumed.events if event.type == "edit"] == [
        "hidden.0 widened to 32 units", "learning rate 0.01 -> 0.5",
    ]  # fmt: skip


def test_restoring_draws_nothing_from_the_generator(species, tmp_path):
    training = started(CASES["dropout"], {"species": species}, None)
    Checkpoints(training, tmp_path).save()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    sl.Training.resume(tmp_path, species)
    assert torch.equal(torch.get_rng_state(), before)


# ------------------------------------------------------------- the files


def names(run):
    return sorted(path.name for path in (run / CHECKPOINTS_FOLDER).iterdir())


def step_name(number):
    return f"step-{number:012}.checkpoint"


def saved_at(species, run, *moments, **options):
    """Train to the last of some moments, with a checkpoint at each."""
    training = started(Case(options), {"species": species}, None)
    keeper = Checkpoints(training, run, seconds=None)
    if 0 in moments:
        keeper.save()
    for step in training.steps():
        if step.number in moments:
            keeper.save()
        if step.number == max(moments):
            break
    return training, keeper


def test_the_newest_three_and_the_first_are_kept(species, tmp_path):
    saved_at(species, tmp_path, 0, 1, 2, 3, 4, 5)
    assert names(tmp_path) == [FIRST, *map(step_name, (3, 4, 5))]
    assert read_newest(tmp_path).state["progress"]["steps"] == 5
    assert read_first(tmp_path).state["progress"]["steps"] == 0


def test_keep_says_how_many(species, tmp_path):
    training = started(CASES["plain"], {"species": species}, None)
    keeper = Checkpoints(training, tmp_path, keep=1, seconds=None)
    go_on(training, CASES["plain"], lambda training: keeper.save())
    assert names(tmp_path) == [step_name(27)]
    with pytest.raises(OptionError, match="keep is 0"):
        Checkpoints(training, tmp_path, keep=0)


def test_nothing_is_pickled(species, tmp_path):
    _, keeper = saved_at(species, tmp_path, 12, ema=0.9)
    with zipfile.ZipFile(keeper.folder / step_name(12)) as file:
        assert sorted(file.namelist()) == [
            "average.safetensors", "best.safetensors", "good.safetensors", "manifest.json", "more.json",
            "network.safetensors", "optimizer.safetensors", "state.json", "sums.safetensors",
        ]  # fmt: skip
        for name in file.namelist():
            data = file.read(name)
            if name.endswith(".json"):
                json.loads(data)
            else:  # a header of JSON behind its length in 8 bytes, then plain numbers
                json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def test_the_rhythm_of_epochs(species, tmp_path):
    training = started(CASES["plain"], {"species": species}, None)
    keeper = Checkpoints(training, tmp_path, seconds=None, epochs=2)
    for step in training.steps():
        keeper.after_step()
        assert names(tmp_path) == ([step_name(18)] if step.number >= 18 else [])


def test_the_rhythm_of_seconds(species, tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(room.time, "monotonic", lambda: now[0])
    training = started(CASES["plain"], {"species": species}, None)
    keeper = Checkpoints(training, tmp_path, seconds=30)
    seen = []
    for step in training.steps():
        keeper.after_step()
        if step.number in (4, 5, 10):
            now[0] += 15.0
        if names(tmp_path) != seen:
            seen = names(tmp_path)
            assert step.number == 6
    assert seen == [step_name(6)]


def test_saving_that_takes_long_is_done_less_often(species, tmp_path, monkeypatch):
    now, write = [0.0], room.write

    def slow(*arguments):
        now[0] += 10.0
        write(*arguments)

    monkeypatch.setattr(room.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(room, "write", slow)
    training = started(Case({"epochs": 20}), {"species": species}, None)
    keeper = Checkpoints(training, tmp_path, seconds=0)
    saved = 0
    for _ in training.steps():
        now[0] += 1.0
        before = names(tmp_path)
        keeper.after_step()
        saved += names(tmp_path) != before
    assert saved == 2  # of 180 seconds of steps, one in ten saving


@pytest.mark.parametrize(
    ("options", "said"),
    [({"seconds": -1}, "checkpoint_seconds is -1"), ({"seconds": float("inf")}, "is inf"),
     ({"seconds": float("nan")}, "is nan"), ({"epochs": 0}, "checkpoint_epochs is 0"),
     ({"epochs": 1.5}, "is 1.5"), ({"epochs": True}, "is True")],
)  # fmt: skip
def test_a_rhythm_that_makes_no_sense(species, tmp_path, options, said):
    training = started(CASES["plain"], {"species": species}, None)
    with pytest.raises(OptionError, match=said):
        Checkpoints(training, tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_schedule_that_cannot_be_written_is_refused_at_once(species, tmp_path):
    class Odd(torch.optim.lr_scheduler.LambdaLR):
        def state_dict(self):
            return {"what": object()}

    case = Case({"schedule": lambda optimizer: Odd(optimizer, lambda step: 1.0)})
    training = started(case, {"species": species}, None)
    with pytest.raises(OptionError, match="The state of Odd cannot be written"):
        Checkpoints(training, tmp_path)


def test_state_that_is_no_tensor_is_refused(species, tmp_path):
    class Odd(nn.Module):
        def __init__(self, spec):
            super().__init__()
            self.flat = sl.Flat(spec, nn.Linear(spec.flat_width, spec.outputs))

        def forward(self, numeric, categorical):
            return self.flat(numeric, categorical)

        def get_extra_state(self):
            return {"a": 1}

        def set_extra_state(self, state):
            pass

    training = sl.Training(Odd(species.spec), species)
    with pytest.raises(
        NetworkError, match="'_extra_state' in its state_dict, which is not a tensor"
    ):
        Checkpoints(training, tmp_path).save()


# ------------------------------------------------------------- damage


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def halve(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def empty(path):
    path.write_bytes(b"")


def flip(place):
    def change(path):
        data = bytearray(path.read_bytes())
        data[int(place * (len(data) - 1))] ^= 0x10
        path.write_bytes(data)

    change.__name__ = f"flip at {place}"
    return change


def foreign(path):
    path.write_bytes(b"PNG, perhaps")


def another_zip(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.txt", "hello")


def a_bundle(path):
    archive.write(path, "model", {}, json_members={}, tensors={})


def no_state(path):
    archive.write(path, "checkpoint", {}, json_members={}, tensors={})


def newer(path):
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    manifest = json.loads(members["manifest.json"])
    members["manifest.json"] = json.dumps(
        {**manifest, "format_version": archive.version_of("checkpoint") + 1}
    )
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)


def test_checkpoints_of_a_newer_version_alone_are_refused_with_what_to_do(species, tmp_path):
    saved_at(species, tmp_path, 5)
    newer(tmp_path / CHECKPOINTS_FOLDER / step_name(5))
    with pytest.raises(RunError) as caught:
        sl.Training.resume(tmp_path, species)
    version = archive.version_of("checkpoint") + 1
    assert f"is a checkpoint of format version {version}" in str(caught.value)
    assert "pip install --upgrade sightline" in str(caught.value)


DAMAGES = [truncate, halve, empty, *map(flip, (0.0, 0.05, 0.3, 0.5, 0.7, 0.95)), foreign,
           another_zip, a_bundle, no_state, newer]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_newest_checkpoint_falls_back_and_says_so(species, tmp_path, damage):
    case = CASES["plain"]
    whole = all_of(go_on(started(case, {"species": species}, None), case))
    saved_at(species, tmp_path, 5, 12)
    damage(tmp_path / CHECKPOINTS_FOLDER / step_name(12))
    resumed = sl.Training.resume(tmp_path, species)
    assert resumed.progress.steps == 5
    (event,) = [event for event in resumed.events if event.type == "warning"]
    assert event.said.startswith(f"{step_name(12)} cannot be used, so an older one is: ")
    if damage is newer:
        assert "Install a newer Sightline" in event.said
    found = all_of(go_on(resumed, case))
    assert (found["weights"], found["best"]) == (whole["weights"], whole["best"])


def test_a_flipped_bit_anywhere_is_noticed(species, tmp_path):
    saved_at(species, tmp_path, 12)
    path = tmp_path / CHECKPOINTS_FOLDER / step_name(12)
    whole = path.read_bytes()
    good = read(path)
    random = np.random.default_rng(0)
    for place in random.integers(0, len(whole), 60):
        data = bytearray(whole)
        data[place] ^= 1 << random.integers(8)
        path.write_bytes(data)
        try:
            found = read(path)
        except sl.UserError:
            continue
        # In the zip's own dates and the like; never in what counts.
        assert found.state == good.state
        for member, tensors in good.tensors.items():
            for name, tensor in tensors.items():
                assert torch.equal(found.tensors[member][name], tensor)


def test_all_checkpoints_damaged(species, tmp_path):
    saved_at(species, tmp_path, 5, 12)
    for path in (tmp_path / CHECKPOINTS_FOLDER).iterdir():
        truncate(path)
    with pytest.raises(RunError, match=r"no checkpoint to resume from .*000012.* is damaged"):
        sl.Training.resume(tmp_path, species)


def test_no_checkpoint(species, tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RunError, match=r"no checkpoint to resume from\. Give the folder"):
            sl.Training.resume(folder, species)
    with pytest.raises(RunError, match=r"A replay starts from .*, which does not exist"):
        read_first(tmp_path)


def test_half_written_files_are_no_checkpoints(species, tmp_path):
    saved_at(species, tmp_path, 5)
    (tmp_path / CHECKPOINTS_FOLDER / ".step-000000000012.checkpoint.x1.tmp").write_bytes(b"half")
    assert sl.Training.resume(tmp_path, species).progress.steps == 5


@pytest.mark.parametrize(
    "gone", ["progress", "plan", "learning_rate", "groups", "frozen", "layers"]
)
def test_a_checkpoint_that_does_not_fit_together(species, tmp_path, gone):
    _, keeper = saved_at(species, tmp_path, 5)
    path = keeper.folder / step_name(5)
    found = archive.read(path, "checkpoint")
    state = {name: value for name, value in found.json["state"].items() if name != gone}
    archive.write(
        path, "checkpoint", {}, json_members={"state": state, "more": {}}, tensors=found.tensors,
        allow_nan=True,
    )  # fmt: skip
    with pytest.raises(RunError, match=f"do not fit together: KeyError: '{gone}'"):
        sl.Training.resume(tmp_path, species)


def test_a_full_disk_keeps_the_older_ones_and_training_goes_on(species, tmp_path, monkeypatch):
    case = CASES["plain"]
    whole = all_of(go_on(started(case, {"species": species}, None), case))
    training = started(case, {"species": species}, None)
    keeper = Checkpoints(training, tmp_path, seconds=None)

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def save(training):
        with monkeypatch.context() as patch:
            if training.progress.steps in (6, 7):
                patch.setattr(os, "fsync", full)
                assert keeper.save() is None
            elif training.progress.steps in (5, 8):
                assert keeper.save() == keeper.folder / step_name(training.progress.steps)

    found = all_of(go_on(training, case, save))
    assert found["weights"] == whole["weights"]
    assert names(tmp_path) == [step_name(5), step_name(8)]
    assert [(event.type, event.step, event.said) for event in training.events if event.type == "warning"] == [
        ("warning", step, f"no checkpoint at step {step}: No space left on device; older checkpoints are kept")
        for step in (6, 7)
    ]  # fmt: skip


def test_a_disk_that_is_really_full(species, small_disk):
    disk = small_disk("1m")
    training = started(CASES["plain"], {"species": species}, None)
    keeper = Checkpoints(training, disk, seconds=None)
    assert keeper.save()
    next(training.steps())
    stuff = disk / "stuff"
    with stuff.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    assert keeper.save() is None
    assert names(disk) == [FIRST]
    assert training.events[-1].said.startswith("no checkpoint at step 1: No space left on device")
    stuff.unlink()
    assert keeper.save()
    assert names(disk) == [FIRST, step_name(1)]
    assert sl.Training.resume(disk, species).progress.steps == 1


# ------------------------------------------------------------- what must be given again


def test_other_rows_are_refused(species, weight, penguins, tmp_path):
    saved_at(species, tmp_path, 5)
    table = sl.read(penguins)
    others = [
        sl.prepare(sl.split(table, target="species", seed=1)),
        sl.prepare(sl.split(table, target="species", seed=0), numeric="minmax"),
        sl.prepare(sl.split(table, target="species", seed=0, weight="year")),
        weight,
    ]
    for other in others:
        with pytest.raises(
            DataError, match=r"The prepared rows differ from those that .* was trained on"
        ):
            sl.Training.resume(tmp_path, other)


def test_one_changed_number_is_other_rows(species):
    before = data_fingerprint(species)
    for part in ("train", "valid"):
        number = getattr(species, part).numeric[3, 2]
        kept = number.item()
        try:
            number += 1e-6
            assert data_fingerprint(species) != before
        finally:
            number.fill_(kept)
    assert data_fingerprint(species) == before


def test_an_optimizer_and_a_schedule_of_your_own_are_needed_again(species, tmp_path):
    saved_at(species, tmp_path, 5, optimizer=torch.optim.RAdam, schedule=step_lr)
    with pytest.raises(
        OptionError,
        match=r"The optimizer was your own and is not saved\. Give it again: optimizer=",
    ):
        sl.Training.resume(tmp_path, species, schedule=step_lr)
    with pytest.raises(
        OptionError, match=r"The schedule was your own and is not saved\. Give it again: schedule="
    ):
        sl.Training.resume(tmp_path, species, optimizer=torch.optim.RAdam)


def test_a_network_of_your_own_needs_its_source(species, own, tmp_path):
    training = started(CASES["BatchNorm of your own"], {"species": species}, own)
    Checkpoints(training, tmp_path).save()
    with pytest.raises(
        NetworkError,
        match=r"Normed is one of your own, and its source file was not kept.*network=Normed",
    ):
        sl.Training.resume(tmp_path, species)
    shutil.copytree(own, tmp_path / "sources")
    assert type(sl.Training.resume(tmp_path, species).network).__name__ == "Normed"
    (kept,) = (tmp_path / "sources").glob("?" * 64 + ".py")
    kept.write_text(OWN + "\n# changed\n")
    with pytest.raises(NetworkError, match="has changed since it was kept"):
        sl.Training.resume(tmp_path, species)
    with pytest.raises(NetworkError, match="The network differs from that of"):
        sl.Training.resume(tmp_path, species, network=sl.MLP(species.spec))


def test_a_given_network_is_left_as_it_is(species, own, tmp_path):
    case = CASES["BatchNorm of your own"]
    training = started(case, {"species": species}, own)
    write(training.state, tmp_path / "a", data_fingerprint(species), {})
    given = load_class(f"{own / 'net.py'}:Normed")(species.spec)
    before = weights_fingerprint(given)
    go_on(restore(read(tmp_path / "a"), species, network=given), case)
    assert weights_fingerprint(given) == before


def test_equal_fingerprints_are_equal_bits():
    one, two = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    assert weights_fingerprint(one) == weights_fingerprint(two)
    two.num_batches_tracked += 1
    assert weights_fingerprint(one) != weights_fingerprint(two)
    zero, minus = nn.Linear(1, 1), nn.Linear(1, 1)
    for network, value in ((zero, 0.0), (minus, -0.0)):
        for p in network.parameters():
            p.data.fill_(value)
    assert weights_fingerprint(zero) != weights_fingerprint(minus)
    assert weights_fingerprint(zero) != weights_fingerprint(nn.Linear(1, 1).to(torch.float64))


def test_a_folder_of_another_training_is_refused(species, tmp_path):
    def training():
        return sl.Training(sl.MLP(species.spec, hidden=[4]), species, epochs=2, device="cpu")

    first = training()
    checkpoints = sl.Checkpoints(first, tmp_path, epochs=1)
    for _ in first.steps():
        checkpoints.after_step()
    before = sorted((tmp_path / "checkpoints").iterdir())
    with pytest.raises(OptionError, match="checkpoints of another training"):
        sl.Checkpoints(training(), tmp_path)
    assert sorted((tmp_path / "checkpoints").iterdir()) == before


def test_what_lies_beyond_a_new_checkpoint_goes(species, tmp_path):
    training = sl.Training(sl.MLP(species.spec, hidden=[4]), species, epochs=3, device="cpu")
    checkpoints = sl.Checkpoints(training, tmp_path, epochs=1, keep=1)
    for _ in training.steps():
        checkpoints.after_step()
        if training.progress.epoch == 3:
            break
    (newest,) = (tmp_path / "checkpoints").iterdir()
    damaged = newest.with_name("step-000000009999.checkpoint")
    damaged.write_bytes(newest.read_bytes()[:-100])
    (tmp_path / "checkpoints" / f".{newest.name}.abc.tmp").write_bytes(b"half")
    resumed = sl.Training.resume(tmp_path, species)
    path = sl.Checkpoints(resumed, tmp_path, keep=1).save()
    assert list((tmp_path / "checkpoints").iterdir()) == [path]
