import copy

import pytest
import torch
from torch import nn

import sightline as sl
from sightline.build.parts import CategoryEmbeddings
from sightline.errors import OptionError
from sightline.train.optimizers import (
    AdamW,
    MuonAdamW,
    group_options,
    make_optimizer,
    orthogonal,
    set_group_options,
    set_state_by_name,
    state_by_name,
)

SHAPES = [(5, 3), (5,), (2, 4, 3), ()]


def parameters(seed=0, shapes=SHAPES):
    random = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=random)) for shape in shapes]


def groups(params):
    return [
        {"params": params[:2], "weight_decay": 0.1},
        {"params": params[2:], "weight_decay": 0.0},
    ]


def give_gradients(step, *lists, skip=()):
    random = torch.Generator().manual_seed(1000 + step)
    for place, several in enumerate(zip(*lists, strict=True)):
        gradient = torch.randn(several[0].shape, generator=random)
        for p in several:
            p.grad = None if place in skip else gradient.clone()


def equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def states(optimizer):
    return [
        {key: value.clone() for key, value in optimizer.state[p].items()}
        for group in optimizer.param_groups for p in group["params"]
    ]  # fmt: skip


# ------------------------------------------------------------- AdamW


def test_adamw_is_torchs_bit_for_bit():
    """Gradients missing, frozen and thawed parameters, other rates, states there and back."""
    ours, theirs = parameters(), parameters()
    mine = AdamW(groups(ours), lr=0.1)
    plain = torch.optim.AdamW(groups(theirs), lr=0.1, fused=True)
    for step in range(60):
        skip = {0} if step % 3 == 1 else {1, 2} if step % 7 == 2 else set()
        skip |= {3} if 10 <= step < 20 else set()  # frozen, then thawed
        if step == 5:
            skip = set(range(4))  # nobody has a gradient
        give_gradients(step, ours, theirs, skip=skip)
        if step % 10 == 0:
            for group in [*mine.param_groups, *plain.param_groups]:
                group["lr"] = 0.1 / (1 + step)
        if step == 30:
            again = AdamW(groups(ours), lr=9.0)
            again.load_state_dict(copy.deepcopy(mine.state_dict()))
            mine = again
        mine.step()
        plain.step()
        mine.zero_grad()
        assert all(p.grad is None for p in ours)
        assert equal(ours, theirs)
    assert mine.param_groups[0]["lr"] == plain.param_groups[0]["lr"]
    for p, q in zip(ours, theirs, strict=True):
        for key, value in plain.state[q].items():
            assert torch.equal(mine.state[p][key], value)


@pytest.mark.parametrize("direction", ["into torch's", "from torch's"])
def test_adamw_states_go_over_to_torch_and_back(direction):
    ours, theirs = parameters(), parameters()
    mine, plain = AdamW(groups(ours)), torch.optim.AdamW(groups(theirs), fused=True)
    for step in range(3):
        give_gradients(step, ours, theirs)
        mine.step()
        plain.step()
    taken = parameters()
    with torch.no_grad():
        for p, q in zip(taken, ours, strict=True):
            p.copy_(q)
    if direction == "into torch's":
        other = torch.optim.AdamW(groups(taken), fused=True)
        other.load_state_dict(mine.state_dict())
    else:
        other = AdamW(groups(taken))
        other.step()  # its lists are made, and must be forgotten
        other.load_state_dict(copy.deepcopy(plain.state_dict()))
    for step in range(3, 6):
        give_gradients(step, taken, theirs)
        other.step()
        plain.step()
        assert equal(taken, theirs)


def test_a_copied_adamw_steps_its_own_parameters():
    network = nn.Linear(3, 2)
    optimizer = AdamW(network.parameters(), lr=0.1)
    give_gradients(0, list(network.parameters()))
    optimizer.step()
    other, copied = copy.deepcopy((network, optimizer))
    before = copy.deepcopy(network)
    give_gradients(1, list(other.parameters()))
    copied.step()
    assert equal(network.parameters(), before.parameters())
    assert not equal(other.parameters(), before.parameters())


def test_found_inf_changes_nothing():
    ours, theirs = parameters(), parameters()
    mine, other = AdamW(groups(ours), lr=0.1), AdamW(groups(theirs), lr=0.1)
    for step in range(6):
        give_gradients(step, ours, theirs)
        if step == 3:
            before, kept = copy.deepcopy(ours), states(mine)
            for p in ours:
                p.grad.fill_(float("nan"))
            mine.step(found_inf=torch.tensor(1.0))
            assert equal(ours, before)
            for now, then in zip(states(mine), kept, strict=True):
                assert now.keys() == then.keys() == {"step", "exp_avg", "exp_avg_sq"}
                assert all(torch.equal(now[key], then[key]) for key in now)
            continue
        mine.step(found_inf=torch.tensor(0.0))
        other.step()
    assert equal(ours, theirs)


# ------------------------------------------------------------- Muon


def muon(params, lr=0.1):
    return MuonAdamW([{"params": params, "muon": True, "weight_decay": 0.1}], lr=lr)


@pytest.mark.parametrize("shape", [(8, 8), (16, 5), (5, 16)])
def test_muon_is_torchs_within_bfloat16(shape):
    (ours,), (theirs,) = parameters(shapes=[shape]), parameters(shapes=[shape])
    start = ours.detach().clone()
    mine = muon([ours])
    plain = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(5):
        give_gradients(step, [ours], [theirs])
        mine.step()
        plain.step()
        moved = (theirs - start).norm()
        assert (ours - theirs).norm() < 0.02 * moved


@pytest.mark.parametrize("shape", [(3, 8, 4), (3, 4, 8)])
def test_members_of_an_ensemble_go_as_separate_matrices(shape):
    (together,) = parameters(shapes=[shape])
    apart = [nn.Parameter(matrix.detach().clone()) for matrix in together]
    one, several = muon([together]), muon(apart)
    for step in range(5):
        give_gradients(step, [together])
        for p, gradient in zip(apart, together.grad, strict=True):
            p.grad = gradient.clone()
        one.step()
        several.step()
    assert torch.allclose(together, torch.stack(list(apart)), rtol=1e-5, atol=1e-6)


def test_orthogonal_brings_singular_values_near_1():
    for shape in [(1, 6, 6), (4, 9, 3), (2, 3, 9)]:
        matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 1e3
        values = torch.linalg.svdvals(orthogonal(matrices))
        assert 0.3 < values.min() <= values.max() < 1.3
    assert torch.equal(orthogonal(torch.zeros(1, 3, 3)), torch.zeros(1, 3, 3))


class Everything(nn.Module):
    """A module of each sort."""

    def __init__(self):
        super().__init__()
        self.embeddings = CategoryEmbeddings([5])
        self.first = nn.Linear(4, 8)
        self.norm = nn.LayerNorm(8)
        self.square = nn.LayerNorm([2, 4])
        self.batch = nn.BatchNorm1d(8)
        self.members = nn.Parameter(torch.randn(3, 8, 8))
        self.bias_of_members = nn.Parameter(torch.randn(3, 8))
        self.output = nn.Linear(8, 3)


PLAIN = {"first.bias", "norm.weight", "norm.bias", "square.weight", "square.bias", "batch.weight",
         "batch.bias", "bias_of_members", "output.bias"}  # fmt: skip


def by_option(optimizer, network, option):
    names = {id(p): name for name, p in network.named_parameters()}
    return {
        names[id(p)]: group.get(option) for group in optimizer.param_groups for p in group["params"]
    }


def function(params, lr):
    return torch.optim.RMSprop(params, lr=lr, alpha=0.5)


@pytest.mark.parametrize(
    "kind",
    ["adamw", "sgd", "muon", torch.optim.RAdam, torch.optim.Adagrad, torch.optim.NAdam,
     torch.optim.SGD, function],
)  # fmt: skip
def test_biases_and_norms_do_not_decay(kind):
    network = Everything()
    optimizer = make_optimizer(kind, network, 3, 0.1, 0.25)
    decay = by_option(optimizer, network, "weight_decay")
    assert decay.keys() == dict(network.named_parameters()).keys()
    assert {name for name, value in decay.items() if value == 0} == PLAIN
    assert {value for name, value in decay.items() if name not in PLAIN} == {0.25}
    assert all(group["lr"] == 0.1 for group in optimizer.param_groups)


def test_muon_takes_hidden_matrices_alone():
    network = Everything()
    optimizer = make_optimizer("muon", network, 3, 0.1, 0.25)
    taken = {name for name, value in by_option(optimizer, network, "muon").items() if value}
    assert taken == {"first.weight", "members"}


def test_muon_finds_the_output_layer_behind_hidden_ones_of_its_width(species):
    network = sl.MLP(species.spec, hidden=[3, 3])
    optimizer = make_optimizer("muon", network, 3, 0.1, 0.0)
    taken = {name for name, value in by_option(optimizer, network, "muon").items() if value}
    assert taken == {"hidden.0.linear.weight", "hidden.1.linear.weight"}


def test_muons_state_goes_round():
    def made():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        return network, make_optimizer("muon", network, 3, 0.05, 0.1)

    (network, optimizer), (other, taken) = made(), made()
    for step in range(3):
        give_gradients(step, list(network.parameters()))
        optimizer.step()
    other.load_state_dict(network.state_dict())
    taken.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    third, named = made()
    third.load_state_dict(network.state_dict())
    set_state_by_name(named, third, copy.deepcopy(state_by_name(optimizer, network)))
    for step in range(3, 6):
        give_gradients(step, *(list(n.parameters()) for n in (network, other, third)))
        for each in (optimizer, taken, named):
            each.step()
    assert equal(network.parameters(), other.parameters())
    assert equal(network.parameters(), third.parameters())
    assert set(state_by_name(optimizer, network)["0.weight"]) == {"momentum"}
    assert set(state_by_name(optimizer, network)["2.weight"]) == {"step", "exp_avg", "exp_avg_sq"}


@pytest.mark.parametrize("kind", ["muon", "sgd", torch.optim.NAdam, torch.optim.Adagrad, function])
def test_it_trains(species, kind):
    torch.manual_seed(0)
    training = sl.Training(
        sl.MLP(species.spec, hidden=[16]), species, optimizer=kind, epochs=5, learning_rate=0.01,
        device="cpu",
    )  # fmt: skip
    history = list(training)
    assert history[-1].valid_loss < 0.75 * history[0].valid_loss


def test_muons_frozen_matrix_stays():
    params = parameters(shapes=[(4, 4), (4, 4)])
    optimizer = muon(params)
    give_gradients(0, params, skip={0})
    before = copy.deepcopy(params)
    optimizer.step()
    assert torch.equal(params[0], before[0])
    assert not torch.equal(params[1], before[1])


# ------------------------------------------------------------- any optimizer


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("adam", "There is no optimizer 'adam'. Did you mean 'adamw'?"),
        (torch.optim.LBFGS, "LBFGS calls a closure"),
        (lambda groups, lr: nn.Linear(1, 1), "The optimizer is a Linear"),
        (lambda groups, lr: None, "The optimizer is a NoneType"),
        (lambda groups: None, "The optimizer cannot be made: "),
        (torch.optim.Muon, "The optimizer cannot be made: Muon"),
    ],
)
def test_what_is_no_optimizer_is_refused(kind, said):
    with pytest.raises(OptionError) as caught:
        make_optimizer(kind, nn.Linear(2, 2), 2, 0.1, 0.0)
    assert str(caught.value).startswith(said)


def test_frozen_parameters_are_in_the_optimizer():
    network = nn.Linear(3, 2)
    network.weight.requires_grad_(False)
    optimizer = make_optimizer("adamw", network, 2, 0.1, 0.01)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 2


def test_group_options_come_back_from_json():
    import json

    first = make_optimizer("adamw", nn.Linear(3, 2), 2, 0.1, 0.01)
    second = make_optimizer("adamw", nn.Linear(3, 2), 2, 0.7, 0.9)
    set_group_options(second, json.loads(json.dumps(group_options(first))))
    assert group_options(second) == group_options(first)
    with pytest.raises(ValueError, match="zip"):
        set_group_options(second, group_options(first)[:1])
