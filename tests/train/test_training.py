import copy
import itertools
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sightline as sl
from sightline.errors import NetworkError, OptionError
from sightline.train.evaluation import evaluate

CLOCK = ("seconds", "rows_per_second", "validation_seconds")


def network(prepared, **options):
    torch.manual_seed(0)
    return sl.MLP(prepared.spec, **{"hidden": [16], **options})


def train(prepared, made=None, **options):
    options = {"epochs": 3, "batch_size": 50, "device": "cpu", **options}
    return sl.Training(made or network(prepared), prepared, **options)


def weights(training):
    return training.network.state_dict()


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def numbers(training):
    """All of a history that no clock decides."""
    return [
        (e.number, e.train_loss, e.valid_loss, e.observation,
         {k: v for k, v in e.metrics.items() if k not in CLOCK})
        for e in training.history
    ]  # fmt: skip


def divided(penguins, **options):
    return sl.prepare(sl.split(sl.read(penguins), target="species", seed=0, **options))


# ------------------------------------------------------------- the loop


@pytest.mark.parametrize("table", ["species", "weight"])
def test_the_loop_is_the_plain_pytorch_loop(table, request):
    prepared = request.getfixturevalue(table)
    training = train(prepared, learning_rate=0.01, weight_decay=0.1, precision="float32")
    history = list(training)

    plain = network(prepared)
    matrices = [p for p in plain.parameters() if p.dim() > 1]
    others = [p for p in plain.parameters() if p.dim() == 1]  # biases have no weight decay
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.01, fused=True)
    values = prepared.train.target.double()
    center, scale = float(values.mean()), float(values.std(correction=0))
    for epoch in (1, 2, 3):
        total, right, rows = 0.0, 0.0, 0
        for batch in prepared.source(batch_size=50, seed=0).batches(epoch):
            logits = plain(batch.numeric, batch.categorical)
            if table == "species":
                loss = F.cross_entropy(logits, batch.target)
                right += int((logits.argmax(1) == batch.target).sum())
            else:
                loss = F.mse_loss(logits[:, 0], ((batch.target - center) / scale).float())
                guess = logits[:, 0].detach() * scale + center
                right += float((guess - batch.target).double().square().sum())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(batch.row)
            rows += len(batch.row)
        record = history[epoch]
        assert rows == len(prepared.train.row)
        assert record.train_loss == pytest.approx(total / rows, rel=1e-12)
        if table == "species":
            assert record.metrics["train_accuracy"] == right / rows
        else:
            assert record.metrics["train_rmse"] == pytest.approx(math.sqrt(right / rows), rel=1e-6)
    assert same(weights(training), plain.state_dict())
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in plain.parameters()))
    assert record.metrics["gradient_norm"] == pytest.approx(norm, rel=1e-6)
    assert record.metrics["learning_rate"] == 0.01


def test_epoch_0_is_the_untrained_network(species):
    training = train(species)
    first = next(iter(training))
    untrained = network(species).eval()
    with torch.no_grad():
        logits = untrained(species.train.numeric, species.train.categorical)
    assert first.number == 0
    assert first.train_loss == pytest.approx(float(F.cross_entropy(logits, species.train.target)))
    right = (logits.argmax(1) == species.train.target).double().mean()
    assert first.metrics["train_accuracy"] == pytest.approx(float(right))
    assert first.metrics["gradient_norm"] == 0.0
    assert first.metrics["rows_per_second"] == 0.0


def test_a_step_is_what_its_batch_said(species):
    training = train(species, epochs=1, batch_size=100, precision="float32")
    before = copy.deepcopy(training.network)
    steps = list(training.steps())
    assert [(step.number, step.epoch, step.rows) for step in steps] == [
        (1, 1, 100), (2, 1, 100), (3, 1, 76),
    ]  # fmt: skip
    first = steps[0]
    logits = before(first.batch.numeric, first.batch.categorical)
    assert torch.equal(first.logits, logits)
    assert not first.logits.requires_grad
    assert torch.equal(first.loss, F.cross_entropy(logits, first.batch.target))
    rows = torch.cat([step.batch.row for step in steps])
    assert sorted(rows.tolist()) == sorted(species.train.row.tolist())


def test_the_same_seed_makes_the_same_training(species):
    first, second, other = train(species), train(species), train(species, seed=1)
    for training in (first, second, other):
        list(training)
    assert same(weights(first), weights(second))
    assert numbers(first) == numbers(second)
    assert not same(weights(first), weights(other))


@pytest.mark.parametrize("stop", [1, 2, 5, 6, 7, 17])
def test_break_and_go_on_is_one_training(species, stop):
    """Six steps an epoch: in its middle, at its end, just after it, before the very last step."""
    whole = train(species)
    list(whole)
    broken = train(species)
    for step in broken.steps():
        if step.number == stop:
            break
    list(broken.steps())
    assert same(weights(whole), weights(broken))
    assert numbers(whole) == numbers(broken)
    assert whole.detailed_steps == broken.detailed_steps
    assert whole.best_epoch == broken.best_epoch


def test_epochs_may_be_left_and_taken_up_again(species):
    whole, broken = train(species), train(species)
    records = list(whole)
    seen = []
    for _ in range(10):  # a new iterator each time, and more of them than there are epochs
        for record in broken:
            seen.append(record)
            break
    assert [r.number for r in seen] == [r.number for r in records] == [0, 1, 2, 3]
    assert same(weights(whole), weights(broken))
    assert list(broken) == []
    assert broken.stopped == "all 3 epochs done"


def test_steps_then_epochs(species):
    training = train(species)
    for step in training.steps():
        if step.number == 3:
            break
    assert [record.number for record in training] == [1, 2, 3]
    assert [record.number for record in training.history] == [0, 1, 2, 3]


def test_a_batch_larger_than_the_rows(species):
    training = train(species, batch_size=10_000, epochs=2)
    assert training.plan.batch_size == 276
    assert [step.rows for step in training.steps()] == [276, 276]


def test_batches_of_one_row(species):
    training = train(species, batch_size=1, epochs=1)
    assert sum(1 for _ in training.steps()) == 276
    assert 0 <= training.history[-1].metrics["train_accuracy"] <= 1


# ------------------------------------------------------------- the best weights and stopping


def test_the_best_weights_are_kept(species):
    training = train(species, epochs=12, learning_rate=0.3, patience=None)
    list(training)
    losses = [epoch.valid_loss for epoch in training.history]
    assert training.best_epoch == losses.index(min(losses))
    assert training.best_epoch < 12, "the last epoch must not be the best one for this test"
    valid = species.valid
    for best, number in ((True, training.best_epoch), (False, 12)):
        model = training.model(best=best)
        with torch.no_grad():
            logits = model.network(valid.numeric, valid.categorical)
        loss = float(F.cross_entropy(logits, valid.target))
        assert loss == pytest.approx(losses[number], rel=1e-6)


def test_a_model_does_not_change_when_training_goes_on(species):
    training = train(species, epochs=4)
    next(iter(training.steps()))
    model = training.model(best=False)
    kept = copy.deepcopy(model.network.state_dict())
    list(training)
    assert same(kept, model.network.state_dict())
    assert not same(kept, weights(training))


@pytest.mark.parametrize("patience", [1, 3])
def test_patience(species, patience):
    training = train(species, epochs=200, learning_rate=0.1, patience=patience)
    list(training)
    last = training.history[-1].number
    assert last < 200
    assert last - training.best_epoch == patience
    assert training.stopped == (
        f"stopped early after epoch {last}: no better validation loss for {patience} epochs"
    )
    best = training.history[training.best_epoch].valid_loss
    assert all(epoch.valid_loss >= best for epoch in training.history[training.best_epoch :])
    assert list(training.steps()) == []


def test_without_patience_all_epochs_are_made(species):
    training = train(species, epochs=15, learning_rate=0.3, patience=None)
    assert list(training)[-1].number == 15
    losses = [epoch.valid_loss for epoch in training.history]
    assert any(b > a for a, b in itertools.pairwise(losses)), "patience 1 would stop"


def test_without_validation_rows(penguins):
    prepared = divided(penguins, valid=0)
    training = train(prepared, epochs=3, patience=1)
    records = list(training)
    assert [record.number for record in records] == [0, 1, 2, 3]
    assert all(record.valid_loss is None for record in records)
    assert not any(name.startswith("valid") for name in records[-1].metrics)
    assert training.best_epoch == 3
    assert same(training.model().network.state_dict(), weights(training))


def test_losses_that_are_no_number_roll_back_and_then_stop(species):
    training = train(species, epochs=9, learning_rate=1e30)
    records = list(training)
    assert [record.number for record in records] == [0, 1, 2]
    kinds = [event.type for event in training.events if event.type != "layers"]
    assert kinds == ["skipped", "rollback", "skipped"]
    (rollback,) = [event for event in training.events if event.type == "rollback"]
    assert rollback.details == {"epoch": 0, "learning_rate": pytest.approx(1e29)}
    assert records[-1].metrics["learning_rate"] == pytest.approx(1e29)
    said = r"stopped in epoch 2: 5 steps in a row had no finite loss, a second time; rows \d+, .*; the columns "
    assert re.match(said, training.stopped)
    assert same(training.model().network.state_dict(), network(species).state_dict())
    assert same(training.model(best=False).network.state_dict(), network(species).state_dict())


def test_weights_whose_loss_is_no_number_make_no_model(penguins):
    training = train(divided(penguins, valid=0), epochs=9, learning_rate=1e30)
    records = list(training)
    assert not math.isfinite(records[-1].train_loss)
    assert records[-1].observation.startswith("diverging: the loss is not a finite number")
    with pytest.raises(NetworkError, match=r"epoch 2 is not a finite number.*lower learning rate"):
        training.model(best=False)


class Poisoned(nn.Module):
    """An MLP whose logits are no numbers in some of its training calls."""

    def __init__(self, inner, calls):
        super().__init__()
        self.inner, self.calls, self.called = inner, calls, 0

    def forward(self, numeric, categorical):
        logits = self.inner(numeric, categorical)
        if self.training:
            self.called += 1
            if self.called in self.calls:
                return logits * math.nan
        return logits


def test_one_step_without_a_loss_changes_nothing(species):
    training = train(species, Poisoned(network(species), {3}), precision="float32", epochs=2)
    seen = {}
    for step in training.steps():
        seen[step.number] = {k: v.clone() for k, v in weights(training).items()}
    losses = [not math.isfinite(step) for step in (training.history[1].train_loss,)]
    assert losses == [False], "the step is left out of the epoch's mean"
    assert same(seen[2], seen[3])
    assert not same(seen[3], seen[4])
    (event,) = [e for e in training.events if e.type == "skipped"]
    assert event.step == 3
    assert "step 3 has a loss that is not a finite number" in event.said
    assert training.progress.skipped == 1
    assert training.stopped == "all 2 epochs done"


# ------------------------------------------------------------- numbers of an epoch


def test_accuracy_is_that_of_the_same_forward_passes(species):
    training = train(species, batch_size=7, epochs=1)  # 40 steps: summed in several parts
    steps = list(training.steps())
    right = sum(int((step.logits.argmax(1) == step.batch.target).sum()) for step in steps)
    loss = sum(float(step.loss) * step.rows for step in steps)
    record = training.history[-1]
    assert record.metrics["train_accuracy"] == right / 276
    assert record.train_loss == pytest.approx(loss / 276, rel=1e-9)


def test_dropout_trains_and_does_not_disturb_validation(species):
    training = train(species, network(species, dropout=0.5), epochs=1)
    record = list(training)[-1]
    again = evaluate(training.network, training.task, training.valid)
    assert again[0] == record.valid_loss
    assert training.network.training


def test_regression_is_measured_in_the_unit_of_the_target(weight):
    training = train(weight, epochs=2)
    record = list(training)[-1]
    model = training.model(best=False)
    with torch.no_grad():
        logits = model.network(weight.valid.numeric, weight.valid.categorical)
    guess = model.task.head(logits)[:, 0].double().numpy()
    truth = weight.valid.target.double().numpy()
    rmse = float(np.sqrt(((guess - truth) ** 2).mean()))
    assert record.metrics["valid_rmse"] == pytest.approx(rmse, rel=1e-6)
    r2 = 1 - ((guess - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    assert record.metrics["valid_r2"] == pytest.approx(r2, rel=1e-6)
    assert "valid_accuracy" not in record.metrics


def test_r2_of_a_constant_target_is_no_number():
    table = sl.read(
        {"x": np.arange(40.0) % 7.5, "y": np.r_[np.linspace(0, 1, 30), np.full(10, 0.5)]}
    )
    last = {"x": np.arange(5.0), "y": np.full(5, 0.5)}
    splits = sl.split(table, target="y", task="regression", valid=last, test=0)
    record = list(train(sl.prepare(splits), epochs=1))[-1]
    assert math.isnan(record.metrics["valid_r2"])


def test_a_class_never_predicted_is_named(species):
    class Always(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.tensor([9.0, 0.0, 0.0]))

        def forward(self, numeric, categorical):
            return self.bias.expand(len(numeric), 3)

    first = next(iter(train(species, Always())))
    assert first.observation.endswith("classes Chinstrap, Gentoo are never predicted")


# ------------------------------------------------------------- networks


class Members(nn.Module):
    """Four linear models side by side: [B, 4, K]."""

    def __init__(self, spec):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(len(spec.numeric), 4 * spec.outputs) * 0.1)
        self.outputs = spec.outputs

    def forward(self, numeric, categorical):
        return (numeric @ self.weight).view(len(numeric), 4, self.outputs)


@pytest.mark.parametrize("table", ["species", "weight"])
def test_members_train(table, request):
    prepared = request.getfixturevalue(table)
    torch.manual_seed(0)
    training = train(prepared, Members(prepared.spec), epochs=4, learning_rate=0.05)
    records = list(training)
    assert records[-1].train_loss < records[0].train_loss
    whole = train(prepared, Members(prepared.spec), epochs=1, batch_size=276, precision="float32")
    (step,) = whole.steps()
    assert step.logits.shape == (step.rows, 4, prepared.spec.outputs)
    if table == "species":
        each = [F.cross_entropy(step.logits[:, m], step.batch.target) for m in range(4)]
        assert float(step.loss) == pytest.approx(float(torch.stack(each).mean()), rel=1e-5)


def test_a_network_of_your_own(species):
    spec = species.spec
    torch.manual_seed(0)
    own = sl.Flat(spec, nn.Sequential(nn.Linear(spec.flat_width, 8), nn.Tanh(), nn.Linear(8, 3)))
    records = list(train(species, own, learning_rate=0.02))
    assert records[-1].train_loss < 0.8 * records[0].train_loss


def test_frozen_weights_stay(species):
    made = network(species)
    made.hidden[0].linear.weight.requires_grad_(False)
    before = made.hidden[0].linear.weight.clone()
    training = train(species, made)
    list(training)
    assert torch.equal(before, training.network.hidden[0].linear.weight)


def test_a_network_that_does_not_fit_is_refused_before_training(species):
    wrong = sl.Flat(species.spec, nn.Linear(species.spec.flat_width, 2))
    with pytest.raises(NetworkError, match=r"\[3, 2\].*\[3, 3\]"):
        train(species, wrong)


# ------------------------------------------------------------- settings


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "0.1", None])
def test_rates_are_numbers_from_0_up(species, name, value):
    with pytest.raises(OptionError, match=f"{name} is {value!r}. Give a number from 0 up."):
        train(species, **{name: value})


@pytest.mark.parametrize("value", [0, -3, 1.5, "4", True])
def test_patience_is_whole(species, value):
    with pytest.raises(OptionError, match=f"patience is {value!r}. Give a whole number from 1"):
        train(species, patience=value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32}, "seed is 4294967296"),
        ({"device": "abacus"}, "The device 'abacus' cannot be used"),
    ],
)
def test_settings_that_make_no_sense(species, setting, message):
    with pytest.raises(OptionError, match=message):
        train(species, **setting)


def test_a_learning_rate_of_zero_changes_nothing(species):
    training = train(species, learning_rate=0, epochs=1)
    list(training)
    assert same(weights(training), network(species).state_dict())


def test_going_on_with_dropout_is_bit_identical(species):
    """A new DataLoader must not draw from the generator that dropout draws from."""

    def weights(stops):
        torch.manual_seed(3)
        network = sl.MLP(species.spec, hidden=[16], dropout=0.5)
        training = sl.Training(network, species, epochs=2, batch_size=32)
        for stop in [*stops, None]:
            for step in training.steps():
                if step.number == stop:
                    break
        return [p.detach().clone() for p in training.network.parameters()]

    whole, broken = weights([]), weights([2, 5, 11])
    assert all(torch.equal(a, b) for a, b in zip(whole, broken, strict=True))


def test_a_target_far_from_zero_is_learned_all_the_same():
    """Seconds since 1970: float32 would round them to some hundred seconds."""
    x = np.arange(600.0) % 100
    prepared = sl.prepare(
        sl.split(sl.read({"x": x, "y": 1.7e9 + x}), target="y", task="regression")
    )
    torch.manual_seed(0)
    training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=30, learning_rate=0.01)
    *_, last = training
    assert last.metrics["valid_r2"] > 0.95
    found = training.model().predict({"x": [10.0, 90.0]})
    assert found - 1.7e9 == pytest.approx([10, 90], abs=10)


# ------------------------------------------------------------- parts of a batch


def close(first, second, atol=2e-5):
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=1e-4, atol=atol, msg=name)


def weighted(prepared):
    """The same rows with weights, some of them zero."""
    rows = len(prepared.train.row)
    weight = torch.rand(rows, generator=torch.Generator().manual_seed(0)) * 3
    weight[::7] = 0
    return replace(prepared, train=prepared.train._replace(weight=weight))


@pytest.mark.parametrize("table", ["species", "weight"])
@pytest.mark.parametrize("weights_too", [False, True])
@pytest.mark.parametrize("size", [16, 23])
def test_accumulated_gradients_are_those_of_one_batch(table, weights_too, size, request):
    prepared = request.getfixturevalue(table)
    prepared = weighted(prepared) if weights_too else prepared
    options = {"epochs": 2, "precision": "float32", "optimizer": "sgd", "learning_rate": 0.05}
    parts = train(prepared, batch_size=size, accumulate=4, **options)
    whole = train(prepared, batch_size=4 * size, **options)
    assert (parts.plan.batch_size, parts.plan.micro_batch) == (4 * size, size)
    assert (whole.plan.batch_size, whole.plan.micro_batch) == (4 * size, 4 * size)
    for a, b in zip(parts.steps(), whole.steps(), strict=True):
        assert a.rows == b.rows
        assert torch.equal(a.batch.row, b.batch.row)
        torch.testing.assert_close(a.loss, b.loss, rtol=1e-4, atol=1e-5)
        assert a.logits.shape == b.logits.shape
        torch.testing.assert_close(a.logits, b.logits, rtol=1e-3, atol=1e-4)
    close(weights(parts), weights(whole))
    for a, b in zip(parts.history, whole.history, strict=True):
        assert a.train_loss == pytest.approx(b.train_loss, rel=1e-4)


SHORT = torch.OutOfMemoryError("CUDA out of memory")


class Small(nn.Module):
    """An MLP on a device with room for some rows alone."""

    def __init__(self, inner, room, error=SHORT):
        super().__init__()
        self.inner, self.room, self.error, self.largest = inner, room, error, 0

    def forward(self, numeric, categorical):
        if self.training and len(numeric) > self.room:
            raise self.error
        if self.training:
            self.largest = max(self.largest, len(numeric))
        return self.inner(numeric, categorical)


def short_of_memory(prepared, room, *error, **options):
    options = {"epochs": 2, "precision": "float32", "learning_rate": 0.01, **options}
    made = Small(network(prepared), 10**9, *error)
    training = train(prepared, made, **options)
    training.network.room = room  # there was enough while the plan was made
    return training


@pytest.mark.parametrize("error", [
    SHORT, MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
])  # fmt: skip
@pytest.mark.parametrize("room", [49, 20, 8])
def test_short_memory_makes_smaller_parts_of_the_same_batch(species, room, error):
    training = short_of_memory(species, room, error)
    steps = list(training.steps())
    plain = train(species, Small(network(species), 10**9), epochs=2, precision="float32", learning_rate=0.01)  # fmt: skip
    expected = list(plain.steps())
    assert [step.rows for step in steps] == [step.rows for step in expected]
    for a, b in zip(steps, expected, strict=True):
        assert torch.equal(a.batch.row, b.batch.row)
    close(weights(training), weights(plain), atol=1e-3)
    assert training.plan.batch_size == 50
    assert training.plan.micro_batch <= room
    assert training.network.largest <= room
    halves = [50]
    while halves[-1] > room:
        halves.append(-(-halves[-1] // 2))
    said = [e.said for e in training.events if e.type == "memory"]
    assert said == [f"out of memory with {rows} rows at once" for rows in halves[:-1]]
    assert training.plan.micro_batch == halves[-1]
    edits = [edit for _, edit in training.progress.edits]
    assert edits == [{"edit": "SetMicroBatch", "value": rows} for rows in halves[1:]]
    assert training.stopped == "all 2 epochs done"


def test_memory_that_becomes_short_in_mid_epoch(species):
    training = short_of_memory(species, 10**9)
    seen = []
    for step in training.steps():
        seen += step.batch.row.tolist()
        if step.number == 2:
            training.network.room = 12
        if step.number == 6:
            break
    assert sorted(seen) == sorted(species.train.row.tolist())
    assert training.plan.micro_batch == 7


def test_memory_that_is_short_for_one_row_is_an_error(species):
    training = short_of_memory(species, 0)
    with pytest.raises(torch.OutOfMemoryError):
        list(training.steps())
    assert training.plan.micro_batch == 1
    assert training.progress.steps == 0
    training.network.room = 10**9
    assert next(training.steps()).number == 1, "where there is room again it goes on"


def test_other_errors_of_a_network_are_passed_on(species):
    training = short_of_memory(species, 20, RuntimeError("a shape is wrong"))
    with pytest.raises(RuntimeError, match="a shape is wrong"):
        list(training.steps())
    assert [e for e in training.events if e.type == "memory"] == []
    assert training.plan.micro_batch == 50


# ------------------------------------------------------------- members, odd batches, norms


@pytest.mark.parametrize("size", [25, 55, 137, 275, 276])
@pytest.mark.parametrize("options", [{}, {"accumulate": 2}])
def test_members_and_uneven_last_batches(species, size, options):
    torch.manual_seed(0)
    training = train(species, Members(species.spec), batch_size=size, epochs=3, learning_rate=0.05, **options)  # fmt: skip
    steps = list(training.steps())
    assert all(step.logits.shape == (step.rows, 4, 3) for step in steps)
    assert min(step.rows for step in steps) > 1
    assert training.history[-1].train_loss < training.history[0].train_loss
    features = [column.name for column in species.encoder.schema.features]
    proba = training.model().predict_proba({name: [None] for name in features})
    assert proba.sum() == pytest.approx(1)


def test_weights_count_for_each_member(species):
    prepared = weighted(species)
    torch.manual_seed(0)
    training = train(
        prepared, Members(prepared.spec), epochs=1, batch_size=276, precision="float32"
    )
    (step,) = training.steps()
    w = step.batch.weight
    each = [F.cross_entropy(step.logits[:, m], step.batch.target, reduction="none") for m in range(4)]  # fmt: skip
    expected = sum((one * w).sum() / w.sum() for one in each) / 4
    assert float(step.loss) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("size", [25, 55, 275])
def test_a_batchnorm_meets_no_lone_row(species, size):
    """276 rows: 11 x 25 + 1, 5 x 55 + 1, 275 + 1."""
    width = species.spec.flat_width
    torch.manual_seed(0)
    made = sl.Flat(species.spec, nn.Sequential(nn.Linear(width, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)))  # fmt: skip
    training = train(species, made, batch_size=size, epochs=3, learning_rate=0.02)
    rows = [step.rows for step in training.steps()]
    assert rows == [*[size] * (276 // size - 1), size + 1] * 3
    assert training.plan.steps_per_epoch == 276 // size
    assert training.history[-1].train_loss < training.history[0].train_loss


# ------------------------------------------------------------- averages, smoothing, weights, clipping


def test_averages_are_validated_and_kept(species):
    training = train(species, epochs=2, ema=0.9, learning_rate=0.05)
    expected = {name: p.detach().clone() for name, p in training.network.named_parameters()}
    for step in training.steps():
        decay = min(0.9, (1 + step.number) / (10 + step.number))
        for name, p in training.network.named_parameters():
            expected[name].lerp_(p.detach(), 1 - decay)
    close(training.average.values, expected)
    own = copy.deepcopy(training.network)
    valid = training.valid
    averaged, plain = evaluate_with(own, expected, training), evaluate(own, training.task, valid)
    record = training.history[-1]
    assert record.valid_loss == pytest.approx(averaged[0], rel=1e-5)
    assert record.valid_loss != pytest.approx(plain[0], rel=1e-5)
    close(dict(training.model(best=False).network.named_parameters()), expected)
    assert training.best_epoch == 2
    close(dict(training.model().network.named_parameters()), expected)
    assert same(weights(training), own.state_dict()), "training goes on from the weights themselves"


def evaluate_with(made, values, training):
    made = copy.deepcopy(made)
    made.load_state_dict(values, strict=False)
    return evaluate(made, training.task, training.valid)


def test_smoothing_is_of_the_training_loss_alone(species):
    training = train(species, epochs=1, label_smoothing=0.2, precision="float32")
    step = next(training.steps())
    expected = F.cross_entropy(step.logits, step.batch.target, label_smoothing=0.2)
    assert float(step.loss) == pytest.approx(float(expected), rel=1e-6)
    assert float(step.loss) != pytest.approx(float(F.cross_entropy(step.logits, step.batch.target)), rel=1e-3)  # fmt: skip
    list(training.steps())
    record = training.history[-1]
    assert record.valid_loss == evaluate(training.network, training.task, training.valid)[0]


def test_class_weights_make_a_class_count(species):
    counts = torch.bincount(species.train.target)
    balanced = 276 / (3 * counts.double())
    for given, table in (("balanced", balanced), ({"Gentoo": 5.0}, torch.tensor([1.0, 1.0, 5.0]))):
        step = next(train(species, class_weights=given, precision="float32").steps())
        expected = F.cross_entropy(step.logits, step.batch.target, weight=table.float())
        assert float(step.loss) == pytest.approx(float(expected), rel=1e-5)


def test_class_and_sample_weights_multiply(species):
    prepared = weighted(species)
    step = next(train(prepared, class_weights={"Adelie": 2.0}).steps())
    own = prepared.train.weight[[prepared.train.row.tolist().index(r) for r in step.batch.row.tolist()]]  # fmt: skip
    factor = torch.tensor([2.0, 1.0, 1.0])[step.batch.target]
    assert torch.allclose(step.batch.weight, own * factor)


def test_a_class_that_weighs_nothing_is_not_learned(species):
    training = train(species, class_weights={"Gentoo": 0.0}, epochs=20, learning_rate=0.02)
    list(training)
    _, _, proba = evaluate(training.network, training.task, training.valid)
    assert set(proba.argmax(1).tolist()) == {0, 1}


@pytest.mark.parametrize("clip", [0.05, 1e9])
def test_gradients_are_clipped(species, clip):
    training = train(species, epochs=1, clip_norm=clip)
    norms = []
    for _ in training.steps():
        grads = [p.grad for p in training.network.parameters()]
        norms.append(math.sqrt(sum(float(g.square().sum()) for g in grads)))
    unclipped = train(species, epochs=1)
    next(unclipped.steps())
    first = math.sqrt(sum(float(p.grad.square().sum()) for p in unclipped.network.parameters()))
    assert first > 0.05
    assert norms[0] == pytest.approx(min(first, clip), rel=1e-4)
    assert max(norms) <= clip * 1.0001
