"""Numbers against those computed by hand, and that looking changes nothing."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

import sightline as sl
from sightline.build.parts import HiddenLayer
from sightline.train.doctor import STEPS_BETWEEN, Examination

X = torch.tensor([[1.0, -2.0], [3.0, 0.5], [-1.0, 4.0], [2.0, 2.0]])


def look(network, x=X, rate=0.1, target=None):
    """One step of plain gradient descent under the doctor's eyes."""
    examination = Examination(network)
    out = network(x)
    loss = (out if target is None else out - target).square().mean()
    loss.backward()
    with torch.no_grad():
        for p in network.parameters():
            if p.grad is not None:
                p -= rate * p.grad
    return {layer.name: layer for layer in examination.layers()}


def hooks(network):
    return sum(len(module._forward_hooks) for module in network.modules())


def rms(tensors):
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    return float(flat.square().mean().sqrt())


def norm(tensors):
    return float(torch.cat([tensor.flatten() for tensor in tensors]).norm())


def test_numbers_by_hand():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        network[0].bias[1] = -100.0  # a dead unit
        before = [p.clone() for p in network[0].parameters()]
        first = network[0](X)
    layers = look(network)
    assert list(layers) == ["0", "1", "2"]
    linear, relu = layers["0"], layers["1"]
    assert linear.mean == pytest.approx(float(first.mean()))
    assert linear.deviation == pytest.approx(float(first.std(correction=0)))
    assert (linear.zero, linear.dead, linear.saturated) == (0.0, 0.0, None)
    active = first.clamp(min=0)
    assert relu.zero == pytest.approx(float((active == 0).float().mean()))
    assert relu.dead == pytest.approx(float((active == 0).all(0).float().mean()))
    assert relu.dead >= 0.33
    assert (relu.weight_norm, relu.gradient, relu.update, relu.frozen) == (0.0, 0.0, 0.0, False)
    parameters = list(network[0].parameters())
    assert linear.gradient == pytest.approx(rms([p.grad for p in parameters]))
    assert linear.weight_norm == pytest.approx(norm([p.detach() for p in parameters]))
    changes = [p.detach() - old for p, old in zip(parameters, before, strict=True)]
    assert linear.update == pytest.approx(norm(changes) / linear.weight_norm)
    assert linear.title == "0: Linear"


@pytest.mark.parametrize(
    ("activation", "values", "share"),
    [
        (nn.Tanh(), [-5.0, 5.0, 0.0, 1.0], 0.5),
        (nn.Tanh(), [math.atanh(0.961), -math.atanh(0.961), math.atanh(0.959), 0.0], 0.5),
        (nn.Sigmoid(), [-9.0, 9.0, 9.0, 0.0], 0.75),
        (nn.Sigmoid(), [math.log(0.981 / 0.019), math.log(0.979 / 0.021), 0.0, 1.0], 0.25),
        (nn.Softsign(), [-1000.0, 1000.0, 1.0, 0.0], 0.5),
    ],
)
def test_saturation_is_near_the_bounds(activation, values, share):
    network = nn.Sequential(nn.Linear(1, 1, bias=False), activation, nn.Linear(1, 1))
    with torch.no_grad():
        network[0].weight.fill_(1.0)
    layers = look(network, torch.tensor(values)[:, None])
    assert layers["1"].saturated == pytest.approx(share)
    assert layers["0"].saturated is None


class Hidden(nn.Module):
    """A hidden layer of ours, and an output layer."""

    def __init__(self, activation, dropout=0.0, residual=False, width=2):
        super().__init__()
        self.hidden = HiddenLayer(2, width, activation, dropout, residual)
        self.output = nn.Linear(width, 1)

    def layers(self):
        return [("hidden", self.hidden), ("output", self.output)]

    def forward(self, x):
        return self.output(self.hidden(x))


def test_a_hidden_layers_activation_is_looked_at():
    """Dropout stretches it, and what a residual layer adds to lies beyond its bounds."""
    for network in (Hidden("tanh"), Hidden("tanh", dropout=0.5), Hidden("tanh", residual=True)):
        with torch.no_grad():
            network.hidden.linear.weight.fill_(0.1)
            network.hidden.linear.bias.zero_()
            expected = torch.tanh(X @ network.hidden.linear.weight.T)
        seen = look(network)["hidden"]
        assert seen.saturated == 0.0
        assert seen.mean == pytest.approx(float(expected.mean()))
        assert seen.zero == 0.0
        with torch.no_grad():
            network.hidden.linear.weight.fill_(100.0)
        assert look(network)["hidden"].saturated == 1.0


def test_all_units_dead():
    network = Hidden("relu", width=4)
    with torch.no_grad():
        network.hidden.linear.bias.fill_(-1000.0)
    seen = look(network)["hidden"]
    assert (seen.dead, seen.zero, seen.gradient) == (1.0, 1.0, 0.0)


def test_a_frozen_layer():
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    for p in network[0].parameters():
        p.requires_grad_(False)
    layers = look(network)
    assert (layers["0"].frozen, layers["0"].gradient, layers["0"].update) == (True, 0.0, 0.0)
    assert not layers["1"].frozen
    network[0].bias.requires_grad_(True)
    assert not look(network)["0"].frozen


def test_layers_that_are_not_called_or_give_no_tensor_are_left_out():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused, self.used, self.pair = nn.Linear(2, 2), nn.Linear(2, 1), nn.LSTM(2, 2)

        def forward(self, x):
            self.pair(x)
            return self.used(x)

    assert list(look(Odd())) == ["used"]


def test_hooks_are_gone_after_looking_and_after_closing():
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    examination = Examination(network)
    assert hooks(network) == 2
    examination.close()
    assert hooks(network) == 0
    assert examination.layers() == []
    look(network)
    assert hooks(network) == 0


# ------------------------------------------------------------- in training


def stack(spec, sizes, activation):
    """A network of plain layers over the numbers."""
    widths = [len(spec.numeric), *sizes]
    layers = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), activation()]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.output = nn.Sequential(*layers), nn.Linear(widths[-1], spec.outputs)

        def forward(self, numeric, categorical):
            return self.output(self.body(numeric))

    torch.manual_seed(0)
    return Net()


def first_epoch(prepared, network, **options):
    training = sl.Training(
        network, prepared, epochs=1, device="cpu", **{"learning_rate": 0.001, **options}
    )
    return list(training)[1].observation, training


def test_dead_units_are_told(species):
    network = stack(species.spec, [8], nn.ReLU)
    with torch.no_grad():
        network.body[0].bias[:6] = -1e3
    said, _ = first_epoch(species, network)
    assert "; 75 % of body.1's units are dead" in said
    with torch.no_grad():
        network = stack(species.spec, [8], nn.ELU)
        network.body[0].bias[:6] = -1e3
    assert "dead" not in first_epoch(species, network)[0]


def test_saturated_units_are_told(species):
    network = stack(species.spec, [8], nn.Tanh)
    with torch.no_grad():
        network.body[0].weight *= 1e4
    assert "body.1 is saturated: " in first_epoch(species, network)[0]
    assert "saturated" not in first_epoch(species, stack(species.spec, [8], nn.Tanh))[0]


def test_vanishing_gradients_are_told(species):
    deep = first_epoch(species, stack(species.spec, [8] * 8, nn.Sigmoid))[0]
    assert "gradients vanish: that of body.0 is " in deep
    assert "gradients vanish" not in first_epoch(species, stack(species.spec, [8], nn.Sigmoid))[0]


def test_exploding_gradients_are_told(species):
    network = stack(species.spec, [8, 8], nn.ReLU)
    with torch.no_grad():
        network.output.weight *= 1e3
    assert "gradients explode: that of body.0 is " in first_epoch(species, network)[0]


def test_a_layer_that_hardly_moves_is_told(species):
    """Plain descent: its step is as small as its gradient."""
    network = stack(species.spec, [8], nn.Identity)
    with torch.no_grad():
        network.output.weight *= 1e-7
    said, _ = first_epoch(species, network, optimizer=torch.optim.SGD, weight_decay=0.0)
    assert "body.0 does not move: a step changes its weights by " in said


@pytest.mark.parametrize("schedule", ["warm-up", "one-cycle", "cosine"])
def test_the_first_step_of_a_schedule_blames_no_layer(species, schedule):
    said, training = first_epoch(species, stack(species.spec, [8], nn.ReLU), schedule=schedule)
    assert len([event for event in training.events if event.type == "layers"]) == 1
    assert "does not move" not in said


def test_a_frozen_layer_is_not_talked_of(species):
    network = stack(species.spec, [8], nn.ReLU)
    network.body[0].requires_grad_(False)
    assert "does not move" not in first_epoch(species, network)[0]


def weights(training):
    return training.network.state_dict()


@pytest.mark.parametrize(
    "options", [{}, {"batch_size": 20, "accumulate": 3}, {"clip_norm": 0.1, "ema": 0.9}]
)
def test_looking_changes_no_bit(species, options):
    made = []
    for doctor in (True, False):
        torch.manual_seed(0)
        network = sl.MLP(species.spec, hidden=[8], dropout=0.3)
        training = sl.Training(
            network, species, epochs=3, device="cpu", doctor=doctor, **{"batch_size": 50, **options}
        )
        list(training)
        made.append(training)
    with_, without = made
    assert [event.type for event in with_.events] == ["layers"]
    assert without.events == []
    assert all(torch.equal(weights(with_)[name], value) for name, value in weights(without).items())
    assert [e.train_loss for e in with_.history] == [e.train_loss for e in without.history]
    assert hooks(with_.network) == 0


def test_it_looks_now_and_then(species):
    torch.manual_seed(0)
    training = sl.Training(
        sl.MLP(species.spec, hidden=[4]), species, epochs=12, batch_size=10, device="cpu"
    )
    list(training)
    steps = [event.step for event in training.events if event.type == "layers"]
    per = training.plan.steps_per_epoch
    assert steps[0] == 1
    assert len(steps) > 3
    assert all(step % per == 1 for step in steps)
    assert all(b - a >= STEPS_BETWEEN for a, b in pairwise(steps))


def test_what_it_sees_is_of_the_step(species):
    torch.manual_seed(0)
    network = sl.MLP(species.spec, hidden=[8])
    before = [p.detach().clone() for p in network.hidden[0].parameters()]
    training = sl.Training(network, species, epochs=1, device="cpu")
    next(training.steps())
    (event,) = training.events
    (layer,) = [said for said in event.details["layers"] if said["name"] == "hidden.0"]
    parameters = list(network.hidden[0].parameters())
    changes = [p.detach() - old for p, old in zip(parameters, before, strict=True)]
    assert layer["update"] == pytest.approx(norm(changes) / norm([p.detach() for p in parameters]))
    assert layer["gradient"] == pytest.approx(rms([p.grad for p in parameters]))
    assert event.said == "each layer in step 1"


class Fails(nn.Module):
    """Raises in training."""

    def __init__(self, spec, error):
        super().__init__()
        self.first, self.linear = nn.Linear(len(spec.numeric), 4), nn.Linear(4, spec.outputs)
        self.error = error

    def forward(self, numeric, categorical):
        x = self.first(numeric)
        if self.training and self.error is not None:
            raise self.error
        return self.linear(x)


@pytest.mark.parametrize("error", [RuntimeError("mine"), ValueError("mine")])
def test_hooks_are_gone_after_an_error(species, error):
    network = Fails(species.spec, None)
    training = sl.Training(network, species, epochs=1, device="cpu")
    network.error = error
    with pytest.raises(type(error)):
        list(training.steps())
    assert hooks(network) == 0


def test_hooks_are_gone_where_memory_is_short(species):
    class Short(sl.MLP):
        def forward(self, numeric, categorical):
            if self.training and len(numeric) > 20:
                raise torch.OutOfMemoryError("short")
            return super().forward(numeric, categorical)

    network = Short(species.spec, hidden=[4])
    network.train(False)
    training = sl.Training(network, species, epochs=1, batch_size=32, device="cpu")
    next(training.steps())
    assert training.plan.micro_batch == 16
    assert hooks(network) == 0
    assert [event.type for event in training.events] == ["memory", "edit", "layers"]
