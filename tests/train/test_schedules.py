import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import lr_scheduler as torchs

import sightline as sl
from sightline.errors import OptionError
from sightline.train.schedules import SCHEDULES, WARM_UP, LearningRate, make_schedule

shares = st.floats(0, 1)
warm_ups = st.one_of(st.none(), st.floats(0, 0.99))
names = st.sampled_from(SCHEDULES)


@pytest.mark.parametrize(
    ("name", "warm_up", "expected"),
    [
        ("constant", None, {0: 1, 0.5: 1, 1: 1}),
        ("constant", 0.5, {0: 0.04, 0.25: 0.52, 0.5: 1, 1: 1}),
        ("warm-up", None, {0: 0.04, 0.025: 0.52, 0.05: 1, 1: 1}),
        ("warm-up", 0.2, {0.1: 0.52, 0.2: 1}),
        ("cosine", None, {0: 1, 0.25: (1 + math.sqrt(0.5)) / 2, 0.5: 0.5, 1: 0}),
        ("cosine", 0.2, {0: 0.04, 0.1: 0.52, 0.2: 1, 0.6: 0.5, 1: 0}),
        ("one-cycle", None, {0: 1 / 25, 0.15: 0.52, 0.3: 1, 0.65: 0.50005, 1: 1e-4}),
        ("one-cycle", 0.5, {0: 1 / 25, 0.25: 0.52, 0.5: 1, 1: 1e-4}),
        ("cosine", None, {-1: 1, 2: 0}),  # before its start, after its end
    ],
)
def test_values(name, warm_up, expected):
    schedule = make_schedule(name, warm_up)
    for done, value in expected.items():
        assert schedule(done) == pytest.approx(value, abs=1e-12)


@given(names, warm_ups, shares, shares)
def test_a_schedule_rises_then_falls_within_0_and_1(name, warm_up, a, b):
    schedule = make_schedule(name, warm_up)
    a, b = sorted((a, b))
    rise = WARM_UP[name] if warm_up is None else warm_up
    assert 0 <= schedule(a) <= 1
    if b < rise:
        assert schedule(a) <= schedule(b) + 1e-12
    if a >= rise:
        assert schedule(a) >= schedule(b) - 1e-12


@given(names, st.one_of(st.none(), st.just(0.0), st.floats(0.01, 0.99)), shares)
def test_a_schedule_does_not_jump(name, warm_up, done):
    schedule = make_schedule(name, warm_up)
    assert abs(schedule(done) - schedule(done + 1e-6)) < 1e-6 * 200


def test_one_cycle_is_pytorchs():
    steps = 1000
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    theirs = torchs.OneCycleLR(optimizer, 1.0, total_steps=steps + 1, final_div_factor=400)
    ours = make_schedule("one-cycle")
    for step in range(steps + 1):
        done = step / steps
        assert ours(done) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-2)
        optimizer.step()
        if step < steps:
            theirs.step()


@pytest.mark.parametrize(
    ("name", "warm_up", "said"),
    [
        ("cosin", None, "There is no schedule 'cosin'. Did you mean 'cosine'?"),
        ("cosine", 1, "warm_up is 1."),
        ("cosine", -0.1, "warm_up is -0.1."),
        ("cosine", math.nan, "warm_up is nan."),
    ],
)
def test_bad_schedules(name, warm_up, said):
    with pytest.raises(OptionError) as caught:
        make_schedule(name, warm_up)
    assert str(caught.value).startswith(said)


# ------------------------------------------------------------- the learning rate


def an_optimizer(lr=0.1, **options):
    weights = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    return torch.optim.SGD([{"params": [weight]} for weight in weights], lr=lr, **options)


def rate_of(schedule, lr=0.1, warm_up=None, **options):
    optimizer = an_optimizer(lr, **options)
    rate = LearningRate(schedule, warm_up, lr)
    rate.follow(optimizer)
    return rate, optimizer


def lrs(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


def test_a_schedule_by_name_sets_all_groups():
    rate, optimizer = rate_of("cosine", 0.2)
    for done in (0.0, 0.3, 0.9):
        rate.before_step(done)
        assert lrs(optimizer) == [0.2 * make_schedule("cosine")(done)] * 2
        assert rate.now == lrs(optimizer)[0]


@given(st.floats(0.05, 0.95), st.floats(1e-6, 10), shares)
def test_setting_the_rate_rescales_what_is_left(done, value, later):
    rate, optimizer = rate_of("cosine", 0.2)
    rate.before_step(done)
    rate.set(value)
    assert rate.now == pytest.approx(value)
    assert lrs(optimizer)[0] == rate.now
    rate.before_step(max(done, later))
    cosine = make_schedule("cosine")
    assert rate.now == pytest.approx(value * cosine(max(done, later)) / cosine(done), abs=1e-12)


def test_setting_the_rate_where_the_schedule_is_zero_sets_its_base():
    rate, _ = rate_of("cosine")
    rate.before_step(1.0)
    rate.set(0.4)
    assert rate.now == 0
    rate.before_step(0.5)
    assert rate.now == pytest.approx(0.2)


def test_more_epochs_stretch_what_is_left_without_a_jump():
    rate, _ = rate_of("cosine")
    rate.at(8, 10)
    before = rate.now
    rate.stretch(8)
    rate.at(8, 20)
    assert rate.now == before
    rate.at(14, 20)  # half of what was left
    assert rate.done == pytest.approx(0.9)
    again, _ = rate_of("cosine")
    again.from_json(json.loads(json.dumps(rate.to_json())))
    again.at(17, 20)
    rate.at(17, 20)
    assert again.now == rate.now


MAKERS = {
    "StepLR": lambda o: torchs.StepLR(o, 4, 0.5),
    "MultiStepLR": lambda o: torchs.MultiStepLR(o, [3, 9], 0.5),
    "OneCycleLR": lambda o: torchs.OneCycleLR(o, 0.5, total_steps=40),
    "CosineAnnealingLR": lambda o: torchs.CosineAnnealingLR(o, 30, eta_min=0.01),
    "LambdaLR": lambda o: torchs.LambdaLR(o, lambda step: 1 / (1 + step)),
    "CyclicLR": lambda o: torchs.CyclicLR(o, 0.01, 0.1, step_size_up=5),
    "SequentialLR": lambda o: torchs.SequentialLR(
        o, [torchs.LinearLR(o, 0.1, total_iters=5), torchs.CosineAnnealingLR(o, 20)], [5]
    ),
    "ChainedScheduler": lambda o: torchs.ChainedScheduler(
        [torchs.StepLR(o, 4, 0.5), torchs.ConstantLR(o, 0.5, 3)]
    ),
}
MOMENTUM = {"momentum": 0.9}


def plain_rates(maker, steps=20):
    optimizer = an_optimizer(**MOMENTUM)
    scheduler = maker(optimizer)
    told = []
    for _ in range(steps):
        told.append((lrs(optimizer)[0], optimizer.param_groups[0]["momentum"]))
        optimizer.step()
        scheduler.step()
    return told


def go_on(rate, optimizer, steps):
    told = []
    for _ in range(steps):
        rate.before_step(0.0)
        assert rate.now == lrs(optimizer)[0]
        told.append((lrs(optimizer)[0], optimizer.param_groups[0]["momentum"]))
        optimizer.step()
        rate.after_step()
        rate.after_epoch(1.0)  # means nothing to these
    return told


@pytest.mark.parametrize("name", MAKERS)
def test_pytorchs_schedulers_do_what_they_do(name):
    rate, optimizer = rate_of(MAKERS[name], **MOMENTUM)
    assert go_on(rate, optimizer, 20) == plain_rates(MAKERS[name])


@pytest.mark.parametrize("name", MAKERS)
def test_pytorchs_schedulers_go_on_from_json(name):
    """With the optimizer's groups from a checkpoint, as `checkpoints.restore` has them."""
    rate, optimizer = rate_of(MAKERS[name], **MOMENTUM)
    go_on(rate, optimizer, 8)
    said = json.loads(json.dumps(rate.to_json()))
    groups = optimizer.state_dict()["param_groups"]
    again, other = rate_of(MAKERS[name], lr=7.0, **MOMENTUM)
    other.load_state_dict({"state": {}, "param_groups": groups})
    again.from_json(said)
    assert go_on(again, other, 12) == plain_rates(MAKERS[name])[8:]
    assert (again.base, again.done) == (0.1, 0.0)


@pytest.mark.parametrize("name", MAKERS)
def test_pytorchs_schedulers_follow_a_new_optimizer(name):
    """As after an edit of the network's structure."""
    rate, optimizer = rate_of(MAKERS[name], **MOMENTUM)
    go_on(rate, optimizer, 8)
    other = an_optimizer(**MOMENTUM)
    rate.follow(other)
    assert go_on(rate, other, 12) == plain_rates(MAKERS[name])[8:]


@pytest.mark.parametrize("name", MAKERS)
def test_setting_the_rate_rescales_pytorchs_schedulers(name):
    rate, optimizer = rate_of(MAKERS[name], **MOMENTUM)
    go_on(rate, optimizer, 8)
    rate.set(3 * rate.now)
    told = [lr for lr, _ in go_on(rate, optimizer, 12)]
    assert told == pytest.approx([3 * lr for lr, _ in plain_rates(MAKERS[name])[8:]])


def test_a_plateau_is_seen_after_epochs():
    def maker(optimizer):
        return torchs.ReduceLROnPlateau(optimizer, factor=0.1, patience=1)

    rate, optimizer = rate_of(maker, 1.0)
    told = []
    for loss in (1.0, 0.5, 0.5, 0.5, 0.4):
        for _ in range(3):
            rate.before_step(0.0)
            optimizer.step()
            rate.after_step()
        rate.after_epoch(loss)
        told.append(rate.now)
    assert told == [1.0, 1.0, 1.0, 0.1, 0.1]
    rate.set(0.4)
    assert lrs(optimizer) == [pytest.approx(0.4)] * 2
    said = json.loads(json.dumps(rate.to_json()))
    again, other = rate_of(maker, 0.4)
    again.from_json(said)
    for _ in range(2):
        again.after_epoch(0.5)
    assert lrs(other) == [pytest.approx(0.04)] * 2


def test_a_rate_of_zero_can_be_set():
    rate, optimizer = rate_of(lambda o: torchs.LambdaLR(o, lambda step: 0.0))
    assert rate.now == 0
    rate.set(0.3)
    assert lrs(optimizer) == [0.3, 0.3]


@pytest.mark.parametrize("made", [None, 3, nn.Linear(1, 1)])
def test_a_function_that_makes_something_else_is_refused(made):
    with pytest.raises(OptionError, match=f"The schedule is a {type(made).__name__}."):
        rate_of(lambda optimizer: made)


def test_a_schedule_by_name_goes_on_from_json():
    rate, _ = rate_of("cosine", 0.2)
    rate.before_step(0.4)
    rate.set(0.1)
    again, optimizer = rate_of("cosine", 0.2)
    again.from_json(json.loads(json.dumps(rate.to_json())))
    again.before_step(0.6)
    rate.before_step(0.6)
    assert again.now == rate.now == lrs(optimizer)[0]


@pytest.mark.parametrize("name", ["StepLR", "OneCycleLR", "CosineAnnealingLR", "LambdaLR"])
def test_in_training_the_rates_are_those_of_plain_pytorch(species, name):
    torch.manual_seed(0)
    training = sl.Training(
        sl.MLP(species.spec, hidden=[4]), species, epochs=3, batch_size=50, learning_rate=0.1,
        optimizer=lambda groups, lr: torch.optim.SGD(groups, lr, momentum=0.9),
        schedule=MAKERS[name], device="cpu",
    )  # fmt: skip
    plain = [lr for lr, _ in plain_rates(MAKERS[name], 19)]
    told = []
    for step in training.steps():
        told.append(training.optimizer.param_groups[0]["lr"])  # of the next step
        assert told[-1] == plain[step.number]
    assert len(told) == 18


def test_in_training_the_rate_lives_through_a_new_structure(species):
    torch.manual_seed(0)
    training = sl.Training(
        sl.MLP(species.spec, hidden=[4]), species, epochs=3, batch_size=50, learning_rate=0.1,
        schedule=MAKERS["StepLR"], device="cpu",
    )  # fmt: skip
    for step in training.steps():
        if step.number == 6:
            training.edit(sl.Widen("hidden.0", 8))
        if step.number == 7:
            assert training.learning_rate.now == 0.05
            break


def test_groups_with_rates_of_their_own_stay_in_proportion(species):
    training = sl.Training(
        sl.MLP(species.spec, hidden=[4]), species, epochs=2, device="cpu", learning_rate=0.01,
        optimizer=lambda groups, lr: torch.optim.AdamW([{**groups[0], "lr": lr / 10}, *groups[1:]], lr=lr),
    )  # fmt: skip
    next(training.steps())
    assert lrs(training.optimizer) == pytest.approx([0.001, 0.01])
    training.edit(learning_rate=0.002)
    next(training.steps())
    assert lrs(training.optimizer) == pytest.approx([0.0002, 0.002])
