"""Losses that are not finite, on the path of processors and on the one that GPUs take."""

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn

import sightline as sl
from sightline.errors import NetworkError
from sightline.train import health
from sightline.train.progress import STEPS_TOGETHER

BATCH = 10  # 276 rows: 27 batches of 10, and one of 6
STEPS = 28
NAN = math.nan


class Poisoned(nn.Module):
    """Gives NaN, in training alone, as long as `poison` is set."""

    def __init__(self, network, norm=False):
        super().__init__()
        self.network, self.poison = network, False
        self.norm = nn.BatchNorm1d(3) if norm else None
        self.scale = 1.0

    def forward(self, numeric, categorical):
        bad = self.poison and self.training
        logits = self.network(numeric * (NAN if bad else 1.0), categorical)
        if self.norm is not None:
            logits = self.norm(logits)
        if self.scale != 1.0 and self.training:
            logits.register_hook(lambda gradient: gradient * self.scale)
        return logits


def train(prepared, norm=False, asks=True, **options):
    torch.manual_seed(0)
    network = Poisoned(sl.MLP(prepared.spec, hidden=[8]), norm)
    options = {"epochs": 2, "batch_size": BATCH, "device": "cpu", "learning_rate": 0.01, **options}
    training = sl.Training(network, prepared, **options)
    assert training._reads_loss
    training._reads_loss = asks
    return training


def run(training, bad, each=None):
    """Train with NaN in some steps."""
    training.network.poison = 1 in bad
    for step in training.steps():
        if each is not None:
            each(step)
        training.network.poison = step.number + 1 in bad


def weights(training):
    return {name: value.clone() for name, value in training.network.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def of_type(training, type_):
    return [event for event in training.events if event.type == type_]


def finite(training):
    return all(value.isfinite().all() for value in weights(training).values())


PATHS = pytest.mark.parametrize("asks", [True, False], ids=["asking", "not asking"])


@PATHS
def test_one_bad_batch_is_skipped(species, asks):
    training = train(species, asks=asks)
    seen = {}
    run(training, {5}, lambda step: seen.update({step.number: (step, weights(training))}))
    assert same(seen[4][1], seen[5][1])
    assert not same(seen[5][1], seen[6][1])
    assert math.isnan(float(seen[5][0].loss))
    assert training.progress.skipped == 1
    assert training.progress.rollbacks == training.progress.bad_in_a_row == 0
    assert training.stopped == "all 2 epochs done"
    assert len(of_type(training, "skipped")) == 1
    history = training.history
    assert all(math.isfinite(e.train_loss) and math.isfinite(e.valid_loss) for e in history)
    assert history[2].valid_loss < history[0].valid_loss
    kept = [float(seen[n][0].loss) * seen[n][0].rows for n in range(1, STEPS + 1) if n != 5]
    assert history[1].train_loss == pytest.approx(sum(kept) / (276 - BATCH))
    training.model()


@pytest.mark.parametrize("asks", [True, False])
def test_the_event_names_step_and_rows(species, asks):
    training = train(species, asks=asks)
    seen = {}
    run(training, {5}, lambda step: seen.update({step.number: step}))
    (event,) = of_type(training, "skipped")
    assert event.epoch == 1
    if asks:
        assert event.said == "step 5 has a loss that is not a finite number: skipped"
        assert event.step == 5
    assert event.details == {"rows": seen[5].batch.row[:5].tolist()}


def test_a_skipped_step_is_as_if_the_optimizer_had_not_been_called(species):
    """Both paths end with the same weights as plain PyTorch that leaves the batch out."""
    ends = []
    for asks in (True, False):
        training = train(species, asks=asks, epochs=1, precision="float32")
        run(training, {3, 20})
        ends.append(weights(training))
    plain = train(species).network
    plain.train()
    optimizer = torch.optim.AdamW(plain.parameters(), lr=0.01, weight_decay=0.0, fused=True)
    for group in (optimizer.param_groups[0],):
        params = group["params"]
        optimizer = torch.optim.AdamW(
            [{"params": [p for p in params if p.dim() > 1], "weight_decay": 0.01},
             {"params": [p for p in params if p.dim() < 2], "weight_decay": 0.0}],
            lr=0.01, fused=True,
        )  # fmt: skip
    for number, batch in enumerate(species.source(batch_size=BATCH, seed=0).batches(1), 1):
        if number in (3, 20):
            continue
        optimizer.zero_grad()
        logits = plain(batch.numeric, batch.categorical)
        nn.functional.cross_entropy(logits, batch.target).backward()
        optimizer.step()
    assert same(ends[0], plain.state_dict())
    assert same(ends[1], plain.state_dict())


def test_metrics_leave_skipped_rows_out(species, weight):
    for prepared, metric in ((species, "train_accuracy"), (weight, "train_rmse")):
        training = train(prepared, epochs=1)
        seen = []
        run(training, {5}, seen.append)
        values = [
            training.task.score(training.task.head(step.logits), step.batch.target)
            for step in seen if step.number != 5
        ]  # fmt: skip
        rows = len(prepared.train.row) - BATCH
        expected = training.task.mean_score(float(sum(values)), rows)
        assert training.history[1].metrics[metric] == pytest.approx(expected, rel=1e-6)


@PATHS
def test_batchnorms_buffers_are_mended(species, asks):
    training = train(species, norm=True, asks=asks)
    run(training, {5})
    assert finite(training)
    assert not training.progress.rollbacks
    assert all(math.isfinite(epoch.valid_loss) for epoch in training.history)


def test_a_batchnorm_is_mended_at_once(species):
    training = train(species, norm=True)
    spoiled = []
    run(training, {5}, lambda step: spoiled.append(not finite(training)))
    assert not any(spoiled)


@pytest.mark.parametrize("asks", [True, False])
def test_a_bad_batch_near_an_epochs_end_is_counted(species, asks):
    training = train(species, norm=True, asks=asks)
    run(training, {STEPS - 1})
    assert training.progress.skipped == 1
    assert not training.progress.rollbacks
    assert finite(training)


def test_five_in_a_row_go_back_to_the_last_good_epoch(species):
    training = train(species, epochs=3)
    bad = set(range(STEPS + 4, STEPS + 9))
    seen = {}

    def note(step):
        seen[step.number] = weights(training)
        if step.number == STEPS + 8:
            assert not training.optimizer.state
            assert training.learning_rate.now == pytest.approx(0.001)

    run(training, bad, note)
    assert not same(seen[STEPS], seen[STEPS + 3])
    assert same(seen[STEPS + 3], seen[STEPS + 7])
    assert same(seen[STEPS], seen[STEPS + 8])
    (event,) = of_type(training, "rollback")
    assert event.said == (
        "5 steps in a row had no finite loss: back to the weights of epoch 1, learning rate 0.001"
    )
    assert event.details == {"epoch": 1, "learning_rate": pytest.approx(0.001)}
    assert training.history[-1].metrics["learning_rate"] == pytest.approx(0.001)
    assert (training.progress.skipped, training.progress.rollbacks) == (5, 1)
    assert len(of_type(training, "skipped")) == 1  # one event for all in a row
    assert training.stopped == "all 3 epochs done"
    assert training.history[-1].valid_loss < training.history[0].valid_loss


def test_four_in_a_row_do_not(species):
    training = train(species)
    run(training, {4, 5, 6, 7, 9, 10, 11, 12})
    assert (training.progress.skipped, training.progress.rollbacks) == (8, 0)
    assert len(of_type(training, "skipped")) == 2


def test_not_asking_goes_back_within_16_steps(species):
    training = train(species, asks=False, epochs=3)
    first = STEPS + 4
    seen = {}
    run(
        training,
        set(range(first, first + 5)),
        lambda step: seen.update({step.number: weights(training)}),
    )
    assert (training.progress.skipped, training.progress.rollbacks) == (5, 1)
    (event,) = of_type(training, "rollback")
    assert first + 4 <= event.step < first + 4 + STEPS_TOGETHER
    assert same(seen[event.step], seen[STEPS])
    assert training.learning_rate.now == pytest.approx(0.001)
    assert training.stopped == "all 3 epochs done"


@pytest.mark.parametrize("ema", [None, 0.9])
def test_momentum_and_average_are_forgotten(species, ema):
    training = train(species, ema=ema)
    run(training, set(range(4, 9)), lambda step: None)
    steps = {int(state["step"]) for state in training.optimizer.state.values()}
    assert steps == {2 * STEPS - 8}


@PATHS
def test_all_bad_stops_and_names_rows_and_columns(species, asks):
    training = train(species, asks=asks)
    before = weights(training)
    run(training, set(range(1, 1000)))
    assert training.progress.rollbacks == 1
    said = training.stopped
    assert said.startswith(
        "stopped in epoch 1: 5 steps in a row had no finite loss, a second time;"
    )
    assert "rows " in said
    assert "the columns " in said
    assert any(feature.name in said for feature in species.spec.numeric)
    assert same(before, weights(training))
    assert training.best_epoch == 0
    assert training.history[-1].number == 1
    assert math.isnan(training.history[-1].train_loss)


def test_all_bad_stops_after_ten_steps(species):
    training = train(species)
    run(training, set(range(1, 1000)))
    assert training.progress.steps == 10


class Never(nn.Module):
    """NaN always."""

    def __init__(self, spec):
        super().__init__()
        self.linear = nn.Linear(len(spec.numeric), spec.outputs)

    def forward(self, numeric, categorical):
        return self.linear(numeric) * NAN


@PATHS
def test_a_network_that_was_never_finite_makes_no_model(species, asks):
    training = sl.Training(Never(species.spec), species, batch_size=BATCH, device="cpu")
    training._reads_loss = asks
    list(training)
    assert training.stopped.startswith("stopped in epoch 1")
    with pytest.raises(NetworkError, match="is not a finite number") as caught:
        training.model()
    assert training.stopped in str(caught.value)


def test_fit_raises_where_no_epoch_was_finite(penguins, tmp_path):
    with pytest.raises(NetworkError, match="stopped in epoch "):
        sl.fit(penguins, "species", network=Never, run=tmp_path / "a", quiet=True, device="cpu")


def test_the_best_epoch_is_kept_where_one_was_finite(species):
    training = train(species, epochs=5)
    seen = {}
    run(
        training,
        set(range(2 * STEPS + 1, 1000)),
        lambda s: seen.update({s.number: weights(training)}),
    )
    assert training.stopped.startswith("stopped in epoch 3: 5 steps in a row")
    assert training.best_epoch == 2
    model = training.model()
    assert same(seen[2 * STEPS], model.network.state_dict())


# ------------------------------------------------------------- gradients, validation


@pytest.mark.parametrize("asks", [True, False])
def test_infinite_gradients_lead_back_to_good_weights(species, asks):
    training = train(species, epochs=3, asks=asks)

    def note(step):
        training.network.scale = math.inf if step.number == STEPS + 2 else 1.0

    run(training, set(), note)
    assert training.progress.rollbacks == 1
    assert training.stopped == "all 3 epochs done"
    assert finite(training)
    assert training.history[-1].valid_loss < training.history[0].valid_loss


def test_infinite_gradients_in_the_last_step_are_found_by_validation(species):
    training = train(species, epochs=2)

    def note(step):
        training.network.scale = math.inf if step.number == STEPS - 1 else 1.0

    run(training, set(), note)
    (event,) = of_type(training, "rollback")
    assert event.said.startswith("the validation loss of epoch 1 is not a finite number: back to")
    assert event.details["epoch"] == 0
    assert training.best_epoch == 2
    assert finite(training)


def test_infinite_gradients_in_the_last_step_without_validation_rows(penguins):
    prepared = sl.prepare(sl.split(sl.read(penguins), target="species", valid=0, test=0))
    training = train(prepared, epochs=2)
    last = training.plan.steps_per_epoch

    def note(step):
        training.network.scale = math.inf if step.number == last - 1 else 1.0

    run(training, set(), note)
    assert all(value.isfinite().all() for value in training.model().network.state_dict().values())


def test_a_validation_loss_that_is_not_finite_twice_stops(species):
    rows = species.valid._replace(numeric=species.valid.numeric.clone())
    prepared = dataclasses.replace(species, valid=rows)
    training = train(prepared, epochs=9)
    training.valid.numeric[0, 0] = NAN
    list(training)
    assert training.stopped == (
        "stopped in epoch 3: the validation loss of epoch 2 is not a finite number, a second time"
    )
    assert [e.said.split(":")[0] for e in of_type(training, "rollback")] == [
        "the validation loss of epoch 1 is not a finite number"
    ]
    with pytest.raises(NetworkError):
        training.model()


# ------------------------------------------------------------- name_bad_rows, buffers, memory


@pytest.fixture
def training(species):
    torch.manual_seed(0)
    made = sl.Training(sl.MLP(species.spec, hidden=[8]), species, device="cpu")
    made.network.train()
    return made


def some(prepared, rows=8):
    return copy.deepcopy(prepared.train)._replace(
        **{name: getattr(prepared.train, name)[:rows].clone() for name in ("numeric", "categorical", "target", "row")}
    )  # fmt: skip


def test_blame_names_the_rows_and_columns_that_are_not_finite(species, training):
    batch = some(species)
    batch.numeric[2, 1] = math.inf
    batch.numeric[6, 3] = NAN
    names = [feature.name for feature in species.spec.numeric]
    assert health.name_bad_rows(training.state, batch) == (
        f"rows {int(batch.row[2]):,}, {int(batch.row[6]):,} whose loss is not a finite number; "
        f"the columns {names[1]}, {names[3]} have numbers that are not finite"
    )
    assert training.network.training  # as it was


def test_blame_names_five_rows_and_the_largest_numbers(species, training):
    batch = some(species)
    batch.numeric[:, 2] = 3e38
    batch.numeric[:, 4] = -2e38
    with torch.no_grad():
        training.network.hidden[0].linear.weight.fill_(10.0)
    said = health.name_bad_rows(training.state, batch)
    names = [feature.name for feature in species.spec.numeric]
    rows = ", ".join(f"{int(row):,}" for row in batch.row[:5])
    assert said.startswith(f"rows {rows} and 3 more whose loss is not a finite number; ")
    assert f"the columns {names[2]}, {names[4]}, " in said
    assert said.endswith(" have their largest numbers")


def test_blame_of_rows_that_are_fine_one_by_one(species, training):
    assert "of the batch, each of which alone has a finite loss" in health.name_bad_rows(
        training.state, some(species)
    )


def test_blame_with_members(species):
    class Members(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(len(species.spec.numeric), 3)

        def forward(self, numeric, categorical):
            return torch.stack([self.linear(numeric), self.linear(numeric) / 2], dim=1)

    made = sl.Training(Members(), species, device="cpu")
    batch = some(species)
    batch.numeric[1, 0] = NAN
    assert health.name_bad_rows(made.state, batch).startswith(f"rows {int(batch.row[1])} whose")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ..."), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_out_of_memory(error, expected):
    assert health.out_of_memory(error) == expected
