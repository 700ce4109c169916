from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sightline as sl
from sightline.train.step_detail import StepDetail


def network(prepared, hidden=(8,)):
    torch.manual_seed(0)
    return sl.MLP(prepared.spec, hidden=list(hidden))


def seen_first_step(prepared):
    training = sl.Training(network(prepared), prepared, epochs=1, precision="float32", device="cpu")
    detail = StepDetail.before(training.network)
    step = next(training.steps())
    return detail.after(training.network).describe(step), step


@pytest.mark.parametrize("table", ["species", "weight"])
def test_the_step_tells_the_truth(table, request):
    prepared = request.getfixturevalue(table)
    seen, step = seen_first_step(prepared)
    batch = step.batch
    assert seen["weight_after"] == seen["weight_before"] + seen["update"]
    assert seen["update"] != 0
    assert seen["weight"].startswith("output.weight[")

    # The same weight's gradient, by autograd alone, on a network with the same first weights.
    again = network(prepared)
    logits = again(batch.numeric, batch.categorical)
    if table == "species":
        loss = F.cross_entropy(logits, batch.target)
    else:
        values = prepared.train.target.double()
        scaled = (batch.target - float(values.mean())) / float(values.std(correction=0))
        loss = F.mse_loss(logits[:, 0], scaled.float())
    (gradient,) = torch.autograd.grad(loss, again.output.weight)
    place = tuple(int(i) for i in seen["weight"].split("[")[1].rstrip("]").split(","))
    assert seen["gradient"] == float(gradient[place])
    assert abs(seen["gradient"]) == float(gradient.abs().max())
    assert seen["weight_before"] == float(again.output.weight.detach()[place])
    assert seen["loss"] == float(loss.detach())

    assert seen["rows"] == len(batch.row) == 32
    assert seen["first_rows"] == batch.row[:4].tolist()
    assert seen["first_targets"] == batch.target[:4].tolist()
    assert seen["logits_shape"] == list(logits.shape)
    assert seen["numeric_shape"] == list(batch.numeric.shape)
    assert seen["categorical_shape"] == list(batch.categorical.shape)
    assert seen["first_logits"][0] == [round(float(x), 4) for x in logits[0].detach()]
    assert seen["first_numeric"][3] == [round(float(x), 4) for x in batch.numeric[3, :8]]


def test_first_and_last_epoch_are_kept(species):
    training = sl.Training(network(species), species, epochs=4, batch_size=100, device="cpu")
    list(training)
    assert sorted(training.detailed_steps) == [1, 4]
    steps = training.plan.steps_per_epoch
    assert training.detailed_steps[1]["step"] == 1
    assert training.detailed_steps[4]["step"] == 3 * steps + 1
    for seen in training.detailed_steps.values():
        assert seen["weight_after"] == seen["weight_before"] + seen["update"]


def test_asking_between_epochs_changes_nothing(species):
    asked, left = (
        sl.Training(network(species), species, epochs=4, batch_size=100, device="cpu")
        for _ in range(2)
    )
    epochs = [sorted(asked.detailed_steps) for _ in asked]
    assert epochs == [[], [1], [1, 2], [1, 3], [1, 4]]
    list(left)
    assert asked.detailed_steps == left.detailed_steps


def test_a_step_detail_follows_its_matrix_through_an_edit(species):
    training = sl.Training(network(species), species, epochs=2, batch_size=100, device="cpu")
    for step in training.steps():
        if step.number == 2:
            training.edit(sl.Widen("hidden.0", 12))
    assert training.detailed_steps[2]["weight"].startswith("output.weight[")
    assert training.detailed_steps[2]["update"] != 0


def test_one_epoch_is_first_and_last(species):
    training = sl.Training(network(species), species, epochs=1, batch_size=100, device="cpu")
    list(training)
    assert list(training.detailed_steps) == [1]


def test_a_matrix_is_chosen_and_frozen_weights_are_not():
    frozen = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 4))
    frozen[1].weight.requires_grad_(False)
    assert StepDetail.before(frozen).name == "0.weight"


class Shift(nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, numeric, categorical):
        return self.bias.expand(len(numeric), 3)


def test_a_network_without_a_matrix(species):
    training = sl.Training(Shift(), species, epochs=1, batch_size=100, device="cpu")
    list(training)
    assert training.detailed_steps[1]["weight"].startswith("bias[")


class Unused(Shift):
    def __init__(self):
        super().__init__()
        self.never = nn.Linear(2, 2, bias=False)


def test_a_weight_without_gradient_stays(species):
    training = sl.Training(Unused(), species, epochs=1, batch_size=100, device="cpu")
    list(training)
    seen = training.detailed_steps[1]
    assert seen["weight"].startswith("never.weight[")
    assert (seen["gradient"], seen["update"]) == (0.0, 0.0)


def test_the_first_row_of_probabilities_adds_up_to_its_loss(species):
    shares = F.one_hot(species.train.target, 3) * 0.7 + 0.1
    soft = replace(
        species, train=species.train._replace(target=shares), valid=species.valid._replace(target=F.one_hot(species.valid.target, 3).float()),
    )  # fmt: skip
    training = sl.Training(network(soft), soft, epochs=1, batch_size=32, device="cpu")
    step = next(training.steps())
    first = training.detailed_steps[1]["first_row"]
    wanted = F.cross_entropy(step.logits[:1], step.batch.target[:1])
    assert first["loss"] == pytest.approx(float(wanted), rel=1e-5)
    assert first["target"] == float(step.batch.target[0].argmax())
    list(training)
    assert training.model().predictions_of(species.splits.table).values.shape == (344, 3)
