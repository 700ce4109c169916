"""Folds: members that hold out rows, and what is measured on these."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import sightline as sl
from sightline.contracts import Batch
from sightline.errors import DataError, NetworkError, OptionError
from sightline.predict.task import Task
from sightline.train.evaluation import evaluate_folds, hold_out


def prepared_in(folds, penguins, target="species", **options):
    return sl.prepare(sl.split(sl.read(penguins), target=target, valid=0, folds=folds, **options))


def ensemble(prepared, members=6, **options):
    torch.manual_seed(0)
    return sl.Ensemble(prepared.spec, members=members, hidden=[16], **options)


def training_in(folds, penguins, members=6, **options):
    prepared = prepared_in(folds, penguins)
    options = {"epochs": 3, "device": "cpu", "learning_rate": 0.005, **options}
    return sl.Training(ensemble(prepared, members), prepared, **options)


# ------------------------------------------------------------- the split


def test_folds_are_equal_and_stratified(penguins):
    splits = sl.split(sl.read(penguins), target="species", valid=0, folds=5)
    assert splits.fold_count == 5
    assert np.ptp(np.bincount(splits.folds)) <= 1
    shares = [np.bincount(splits.labels(splits.train[splits.folds == fold])) for fold in range(5)]
    assert np.ptp(shares, axis=0).max() <= 1
    assert "310 training rows (90 %) in 5 folds, 34 test rows" in splits.describe()
    again = sl.split(sl.read(penguins), target="species", valid=0, folds=5)
    assert (again.folds == splits.folds).all()


def test_a_number_is_divided_at_random(penguins):
    splits = sl.split(sl.read(penguins), target="body_mass_g", valid=0, folds=4)
    means = [splits.labels(splits.train[splits.folds == fold]).mean() for fold in range(4)]
    assert np.ptp(means) < 300


def test_groups_stay_whole(penguins):
    table = sl.read(penguins)
    splits = sl.split(table, target="species", valid=0, test=0, folds=3, group="island")
    islands = np.array([table.cells("island", int(row)) for row in splits.train])
    for island in set(islands):
        assert len(set(splits.folds[islands == island])) == 1
    with pytest.raises(DataError, match="has 3 groups in the training rows, too few for 4 folds"):
        sl.split(table, target="species", valid=0, test=0, folds=4, group="island")


@pytest.mark.parametrize("folds", [1, -1, 2.0, True, "3"])
def test_a_number_of_folds_that_makes_no_sense(penguins, folds):
    with pytest.raises(OptionError, match="folds is"):
        sl.split(sl.read(penguins), target="species", folds=folds)


def test_too_few_rows_for_the_folds():
    table = sl.read({"x": [1.0, 2.0, 3.0], "y": ["a", "b", "a"]})
    with pytest.raises(DataError, match="3 training rows are too few for 4 folds"):
        sl.split(table, target="y", valid=0, test=0, folds=4)


# ------------------------------------------------------------- holding out


def test_members_hold_out_their_fold(penguins):
    training = training_in(3, penguins)
    weight, folds = training.source.batch.weight, training.prepared.splits.folds
    assert list(weight.shape) == [310, 6]
    for member in range(6):
        assert (weight[:, member].numpy() == (folds != member % 3)).all()


def test_the_weights_of_rows_stay(penguins):
    rows = Batch(torch.zeros(4, 1), torch.zeros(4, 0).int(), torch.zeros(4),
                 torch.tensor([1.0, 2.0, 0.0, 3.0]), torch.arange(4))  # fmt: skip
    held = hold_out(rows, torch.tensor([0, 1, 0, 1]), members=2)
    assert held.weight.tolist() == [[0, 1], [2, 0], [0, 0], [3, 0]]


def test_what_a_member_holds_out_changes_nothing_in_it(penguins):
    """Other labels in fold 0: the members that hold it out stay bit for bit the same."""
    prepared = prepared_in(3, penguins)
    held = torch.from_numpy(prepared.splits.folds == 0)
    target = torch.where(held, (prepared.train.target + 1) % 3, prepared.train.target)
    other = sl.Training(
        ensemble(prepared, dropout=0.0),
        replace(prepared, train=prepared.train._replace(target=target)), epochs=2, device="cpu",
        patience=None,
    )  # fmt: skip
    first = sl.Training(
        ensemble(prepared, dropout=0.0), prepared, epochs=2, device="cpu", patience=None
    )
    list(first), list(other)
    mine, theirs = first.network.output.weight, other.network.output.weight
    assert torch.equal(mine[[0, 3]], theirs[[0, 3]])
    assert not torch.equal(mine[[1, 2, 4, 5]], theirs[[1, 2, 4, 5]])


def test_fewer_members_than_folds_are_refused(penguins):
    with pytest.raises(NetworkError, match="2 members for 3 folds"):
        training_in(3, penguins, members=2)
    prepared = prepared_in(3, penguins)
    with pytest.raises(NetworkError, match="1 member for 3 folds"):
        sl.Training(sl.MLP(prepared.spec), prepared)


# ------------------------------------------------------------- measuring


@pytest.mark.parametrize("target", ["species", "body_mass_g"])
def test_each_row_is_measured_by_the_members_that_never_saw_it(penguins, target):
    prepared = prepared_in(3, penguins, target)
    network, task = ensemble(prepared), Task.fit(prepared.spec.target, prepared.train.target)
    folds = torch.from_numpy(prepared.splits.folds)
    loss, metric, values = evaluate_folds(network, task, prepared.train, folds)
    network.eval()
    with torch.no_grad():
        members = task.member_values(network(prepared.train.numeric, prepared.train.categorical))
    for row in (0, 7, 300):
        mine = [m for m in range(6) if m % 3 == folds[row]]
        assert torch.allclose(values[row], members[row, mine].mean(dim=0))
    losses = task.value_losses(values, prepared.train.target)
    assert loss == pytest.approx(losses.mean().item())
    assert metric == pytest.approx(
        task.mean_score(float(task.score(values, prepared.train.target)), len(values))
    )


def test_measuring_weighs_rows(penguins):
    prepared = prepared_in(2, penguins)
    weight = torch.zeros(310)
    weight[5] = 2.0
    rows = prepared.train._replace(weight=weight)
    task, folds = Task(prepared.spec.target), torch.from_numpy(prepared.splits.folds)
    network = ensemble(prepared)
    loss, _, values = evaluate_folds(network, task, hold_out(rows, folds, 6), folds)
    assert loss == pytest.approx(-values[5, rows.target[5]].log().item(), rel=1e-5)


def test_the_validation_loss_is_out_of_fold(penguins):
    training = training_in(3, penguins)
    list(training)
    assert training.history[0].valid_loss == pytest.approx(np.log(3), abs=0.2)
    assert training.history[-1].valid_loss < training.history[0].valid_loss
    assert "valid_accuracy" in training.history[-1].metrics
    best = min(training.history, key=lambda epoch: epoch.valid_loss).number
    assert training.best_epoch == best


def test_a_training_in_folds_is_taken_up_to_the_last_bit(penguins, tmp_path):
    whole = training_in(3, penguins, epochs=4)
    list(whole)
    cut = training_in(3, penguins, epochs=4)
    checkpoints = sl.Checkpoints(cut, tmp_path, epochs=1)
    for step in cut.steps():
        checkpoints.after_step()
        if step.number == 25:
            checkpoints.save()
            break
    resumed = sl.Training.resume(tmp_path, cut.prepared)
    list(resumed)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


# ------------------------------------------------------------- plateaus


def test_a_plateau_goes_back_and_lowers_the_rate(penguins):
    training = training_in(
        3, penguins, epochs=200, schedule="plateau", patience=2, learning_rate=0.02
    )
    list(training)
    left = [event for event in training.events if event.type == "plateau"]
    assert len(left) == 3
    assert [event.details["learning_rate"] for event in left] == pytest.approx(
        [0.02 * 0.3**n for n in (1, 2, 3)]
    )
    assert "no better out-of-fold loss for 2 epochs: back to the weights of epoch" in left[0].said
    assert "stopped early" in training.stopped
    losses = [epoch.valid_loss for epoch in training.history]
    assert training.best_epoch == int(np.argmin(losses))
    for event in left:  # the first step after it starts from the best weights so far
        number = event.epoch - 1 if event.epoch > len(losses) else event.epoch
        assert event.details["epoch"] == int(np.argmin(losses[:number]))


def test_a_plateau_is_taken_up_to_the_last_bit(penguins, tmp_path):
    options = {"epochs": 30, "schedule": "plateau", "patience": 1, "learning_rate": 0.02}
    whole = training_in(3, penguins, **options)
    list(whole)
    cut = training_in(3, penguins, **options)
    checkpoints = sl.Checkpoints(cut, tmp_path, seconds=None)
    for _ in cut.steps():
        if cut.progress.drops == 2:
            checkpoints.save()
            break
    resumed = sl.Training.resume(tmp_path, cut.prepared)
    list(resumed)
    assert [e.valid_loss for e in resumed.history] == [e.valid_loss for e in whole.history]


# ------------------------------------------------------------- what decides which epoch is best


def test_another_metric_decides(penguins):
    training = training_in(3, penguins, epochs=6, eval_metric="balanced_accuracy", patience=None)
    list(training)
    found = [epoch.metrics["valid_balanced_accuracy"] for epoch in training.history]
    assert training.best_epoch == int(np.argmax(found))  # the first of equals
    assert 0 <= min(found) <= max(found) <= 1


def test_a_metric_of_validation_rows(weight):
    training = sl.Training(sl.MLP(weight.spec), weight, epochs=5, eval_metric="mae", patience=None)
    list(training)
    found = [epoch.metrics["valid_mae"] for epoch in training.history]
    assert training.best_epoch == int(np.argmin(found))


@pytest.mark.parametrize(
    ("name", "message"), [("rmse", "rmse"), ("balanced", "balanced_accuracy"), (3, "3")]
)
def test_a_metric_that_does_not_fit(species, name, message):
    with pytest.raises(OptionError, match=message):
        sl.Training(sl.MLP(species.spec), species, eval_metric=name)


def test_a_metric_never_keeps_the_untrained_network():
    random = np.random.default_rng(0)
    x = random.normal(size=600)
    table = {"x": x, "y": np.where(random.random(600) < 0.03, "yes", "no").tolist()}
    prepared = sl.prepare(sl.split(sl.read(table), "y", valid=100, test=0))
    training = sl.Training(
        sl.MLP(prepared.spec), prepared, epochs=3, eval_metric="f1", patience=None
    )
    for _ in training.steps():
        pass
    assert training.best_epoch > 0
    losses = [epoch.valid_loss for epoch in training.history[1:]]
    scores = [epoch.metrics["valid_f1"] for epoch in training.history[1:]]
    assert max(scores) == min(scores) == 0.0  # all alike: the loss decides
    assert training.best_epoch == 1 + losses.index(min(losses))


class Wrapped(torch.nn.Module):
    """An ensemble that always computes all of its members, as one of your own does."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, numeric, codes):
        return self.inner(numeric, codes)


@pytest.mark.parametrize("target", ["species", "body_mass_g"])
@pytest.mark.parametrize("members", [3, 7])
def test_only_the_members_that_hold_a_row_out_are_computed(penguins, target, members):
    prepared = prepared_in(3, penguins, target)
    network = ensemble(prepared, members=members, waves=4)
    folds, task = torch.from_numpy(prepared.splits.folds), Task(prepared.spec.target)
    some = evaluate_folds(network, task, prepared.train, folds)
    every = evaluate_folds(Wrapped(network), task, prepared.train, folds)
    torch.testing.assert_close(some[2], every[2], rtol=1e-5, atol=1e-6)
    assert some[:2] == pytest.approx(every[:2], rel=1e-5)


def test_an_epoch_0_that_was_measured_on_some_rows_is_never_the_best(monkeypatch, penguins):
    monkeypatch.setattr("sightline.train.epochs.UNTRAINED_ROWS", 155)  # every other row
    prepared = prepared_in(3, penguins, "body_mass_g")
    prepared.train.target[1::2] *= torch.where(torch.arange(154) == 70, 1e4, 1.0)  # not among them
    training = sl.Training(ensemble(prepared), prepared, epochs=2, device="cpu", learning_rate=1e-3)
    history = list(training)
    assert history[0].valid_loss < min(epoch.valid_loss for epoch in history[1:])
    assert training.best_epoch > 0
