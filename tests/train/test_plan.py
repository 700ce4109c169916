import copy
import dataclasses
import inspect
import itertools
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import sightline as sl
from sightline.build.modes import threads_set
from sightline.contracts import Batch, Target
from sightline.contracts.rules import check_seed, check_whole
from sightline.errors import OptionError
from sightline.predict.task import Task
from sightline.train import epochs as epochs_module
from sightline.train import plan as plans
from sightline.train import state as states
from sightline.train import training as trainings
from sightline.train.plan import (
    PlanRequest,
    Trial,
    autocast,
    check_device,
    choose_batch_size,
    choose_device,
    choose_threads,
    make_plan,
    settle_batch_size,
)

TASK = Task(Target("y", "classification", ("a", "b", "c")))


def rows(n):
    target = torch.arange(n) % 3
    return Batch(torch.randn(n, 4), torch.zeros(n, 0).int(), target, None, torch.arange(n))


class Net(nn.Module):
    """With dropout and a BatchNorm, of some width."""

    def __init__(self, width=8):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, width), nn.BatchNorm1d(width), nn.Dropout(0.5), nn.Linear(width, 3)
        )

    def forward(self, numeric, categorical):
        return self.layers(numeric)


def request(**given):
    usual = {"device": "cpu", "precision": "float32", "epochs": 3, "batch_size": None,
             "accumulate": 1, "time_limit": None}  # fmt: skip
    return PlanRequest(**{**usual, **given})


def planned(n=1000, network=None, valid=100, **given):
    return make_plan(request(**given), network or Net(), TASK, rows(n), rows(valid))


@pytest.fixture
def own_choice(monkeypatch):
    """Let "auto" choose its precision by itself, also where --bfloat16 chooses for it."""
    monkeypatch.setattr(plans, "choose_precision", inspect.unwrap(plans.choose_precision))


# ------------------------------------------------------------- device, sizes, checks


def test_auto_takes_the_best_device_and_says_why(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device() == ("cpu", "no GPU is available")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == ("mps", "an Apple GPU is available")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    assert choose_device("auto") == ("cuda", "a CUDA device is available: Some GPU")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", "", "cpu gpu"])
def test_a_device_that_cannot_compute_is_refused(device):
    with pytest.raises(OptionError, match="cannot be used") as caught:
        choose_device(device)
    assert repr(device) in caught.value.problem
    with pytest.raises(OptionError, match="cannot be used"):
        check_device(device)


@pytest.mark.parametrize(
    ("cuda", "mps", "fix"),
    [(False, False, "Use 'auto' or 'cpu'."), (True, False, "Use 'auto', 'cuda' or 'cpu'."),
     (False, True, "Use 'auto', 'mps' or 'cpu'.")],
)  # fmt: skip
def test_a_refusal_offers_what_the_machine_has(monkeypatch, cuda, mps, fix):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    with pytest.raises(OptionError) as caught:
        choose_device("gpu")
    assert (
        caught.value.problem
        == "The device 'gpu' cannot be used: PyTorch knows no device of this name."
    )
    assert caught.value.fix == fix


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_refused_cuda_is_not_offered():
    with pytest.raises(OptionError) as caught:
        choose_device("cuda")
    assert "'cuda'" not in caught.value.fix


@pytest.mark.parametrize("device", [None, 0, 1.5, torch.device("cpu")])
def test_a_device_is_a_name(device):
    with pytest.raises(OptionError, match="device is "):
        choose_device(device)


@pytest.mark.parametrize(
    ("rows", "size"),
    [(1, 32), (1_999, 32), (2_000, 64), (4_999, 64), (5_000, 128), (19_999, 128), (20_000, 256),
     (99_999, 256), (100_000, 512), (10**9, 512)],
)  # fmt: skip
def test_batch_size_by_rows(rows, size):
    assert choose_batch_size(rows) == size


@pytest.mark.parametrize(("asked", "n", "size"), [(None, 500, 32), (64, 10, 10), (64, 100, 64)])
def test_batch_size_is_at_most_the_rows(asked, n, size):
    assert settle_batch_size(asked, n) == size


@pytest.mark.parametrize(
    ("n", "asked", "accumulate", "size", "micro", "steps"),
    [(1000, 32, 1, 32, 32, 32), (1000, None, 1, 32, 32, 32), (10, 32, 1, 10, 10, 1),
     (33, 32, 1, 32, 32, 1), (34, 32, 1, 32, 32, 2), (7, 1, 1, 1, 1, 7), (1000, 32, 4, 128, 32, 8),
     (100, 32, 4, 100, 32, 1)],
)  # fmt: skip
def test_the_plan_counts_its_steps(n, asked, accumulate, size, micro, steps):
    plan = planned(n, batch_size=asked, accumulate=accumulate)
    assert (plan.batch_size, plan.micro_batch, plan.steps_per_epoch) == (size, micro, steps)
    assert (plan.device, plan.device_reason) == ("cpu", "as requested")
    assert (plan.precision, plan.precision_reason) == ("float32", "as requested")
    assert plan.epochs == 3


@pytest.mark.parametrize("seed", [-1, 1.0, "a", None, False])
def test_a_seed_is_whole(seed):
    with pytest.raises(OptionError, match=f"seed is {seed!r}. Give a whole number from 0 up."):
        check_seed(seed)


def test_a_seed_fits_every_generator():
    check_seed(2**32 - 1)
    with pytest.raises(OptionError, match="Give one below 4,294,967,296"):
        check_seed(2**32)


def test_the_least_is_said():
    check_whole("rows", 2, least=2)
    with pytest.raises(OptionError, match=r"rows is 1. Give a whole number from 2 up."):
        check_whole("rows", 1, least=2)


# ------------------------------------------------------------- threads


@pytest.fixture
def two_threads(monkeypatch):
    """PyTorch as it is where it was given two."""
    now = [2]
    monkeypatch.setattr(torch, "get_num_threads", lambda: now[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: now.__setitem__(0, count))
    return now


def no_probe(monkeypatch):
    def refused(*_):
        raise AssertionError("it was measured")

    for name in ("seconds", "loss", "evaluation_seconds"):
        monkeypatch.setattr(Trial, name, refused)


def test_threads_are_set_and_put_back(two_threads):
    with threads_set(1):
        assert two_threads == [1]
    assert two_threads == [2]
    with pytest.raises(KeyError), threads_set(1):
        raise KeyError
    assert two_threads == [2]


def test_a_small_network_takes_one_thread(two_threads, own_choice, monkeypatch):
    no_probe(monkeypatch)
    plan = planned(precision="auto")
    assert (plan.threads, plan.threads_reason) == (1, "small steps run faster on one")
    assert plan.precision_reason == "the matrices are too small for bfloat16 to gain"
    assert two_threads == [2]


def test_a_large_network_takes_all_threads(two_threads, monkeypatch):
    no_probe(monkeypatch)
    monkeypatch.setattr(plans, "THREAD_WORK", 1.0)
    plan = planned()
    assert (plan.threads, plan.threads_reason) == (2, "large steps use all that PyTorch has")


@pytest.mark.parametrize(
    ("work", "threads"), [(0, 1), (1.99e7, 1), (2e7, 2), (3.99e7, 3), (4e7, 4), (1e12, 4)]
)
def test_threads_by_the_work_of_a_step(monkeypatch, work, threads):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    chosen, reason = choose_threads(work, "cpu")
    assert chosen == threads
    if threads == 3:
        assert reason == "steps of this size do not use all 4 that PyTorch has"
    assert choose_threads(work, "cuda") == (4, "all that PyTorch has")


def test_work_is_counted_by_matrices(monkeypatch):
    trial = Trial(Net(16), TASK, rows(10), torch.device("cpu"))
    assert trial.work == 6 * 10 * (4 * 16 + 16 * 3)


def test_one_thread_given_is_one_thread(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert planned().threads_reason == "PyTorch has one"


def test_training_runs_on_the_plans_threads(species, two_threads):
    training = sl.Training(sl.MLP(species.spec, hidden=[4]), species, epochs=1, device="cpu")
    assert training.plan.threads == 1
    seen = []
    for _ in training.steps():
        seen.append(two_threads[0])
    assert set(seen) == {1}
    assert two_threads == [2]


# ------------------------------------------------------------- precision


@pytest.fixture
def probed(monkeypatch, own_choice):
    """Everything that speaks for bfloat16; a test changes one thing."""
    said = {"hardware": True, "loss": {"float32": 1.0, "bfloat16": 1.009}}
    monkeypatch.setattr(plans, "BFLOAT16_WORK", 1.0)
    monkeypatch.setattr(plans, "has_bfloat16", lambda _: said["hardware"])
    monkeypatch.setattr(Trial, "seconds", lambda *_: pytest.fail("it was timed"))
    monkeypatch.setattr(Trial, "loss", lambda _, precision: said["loss"][precision])
    return said


def test_auto_takes_bfloat16_where_everything_speaks_for_it(probed):
    plan = planned(precision="auto", batch_size=64)
    assert plan.precision == "bfloat16"
    assert (
        plan.precision_reason == "large steps are faster in it, and the loss is the same within 1 %"
    )


@pytest.mark.parametrize(
    ("what", "value", "reason"),
    [
        ("hardware", False, "the hardware has no fast bfloat16 matrix products"),
        ("loss", {"float32": 1.0, "bfloat16": 1.011}, "the losses differ: 1 in float32, 1.011 in"),
        ("loss", {"float32": 1.0, "bfloat16": 0.989}, "the losses differ"),
        ("loss", {"float32": 1.0, "bfloat16": float("nan")}, "the losses differ"),
    ],
)  # fmt: skip
def test_auto_stays_with_float32_where_one_thing_speaks_against_it(probed, what, value, reason):
    probed[what] = value
    plan = planned(precision="auto", batch_size=64)
    assert plan.precision == "float32"
    assert plan.precision_reason.startswith(reason)


def test_auto_stays_with_float32_for_small_networks_and_small_batches(probed, monkeypatch):
    assert planned(precision="auto", batch_size=63).precision == "float32"
    monkeypatch.setattr(plans, "BFLOAT16_WORK", 1e9)
    assert planned(precision="auto", batch_size=64).precision == "float32"


def test_each_thread_needs_enough_work_for_bfloat16(probed, monkeypatch):
    trial = Trial(Net(), TASK, rows(64), torch.device("cpu"))
    monkeypatch.setattr(plans, "BFLOAT16_WORK", trial.work / 2)
    chosen = {threads: plans.choose_precision(trial, "cpu", threads)[0] for threads in (1, 2, 3)}
    assert chosen == {1: "bfloat16", 2: "bfloat16", 3: "float32"}


@pytest.mark.parametrize("most", [1, 2])
@pytest.mark.parametrize(
    ("width", "batch"), [(8, 32), (200, 128), (800, 128), (1000, 512)],
    ids=["one thread", "two threads", "bfloat16", "far above"],
)  # fmt: skip
def test_the_clock_decides_nothing(own_choice, monkeypatch, width, batch, most):
    """Sizes below, between and above the limits: whatever time seems to pass, plan and weights are equal."""
    monkeypatch.setattr(plans, "has_bfloat16", lambda _: True)
    monkeypatch.setattr(torch, "get_num_threads", lambda: most)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    table = {f"x{j}": torch.linspace(-1, 1, 700).roll(97 * j).tolist() for j in range(4)}
    prepared = sl.prepare(sl.split(sl.read({**table, "y": ["a", "b"] * 350}), target="y", test=0))

    def trained(clock):
        for module in (plans, trainings, epochs_module):
            monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=clock))
        torch.manual_seed(0)
        network = sl.MLP(prepared.spec, hidden=[width, width])
        training = sl.Training(network, prepared, epochs=1, batch_size=batch, device="cpu")
        list(training)
        return training.plan, network.state_dict()

    fast, slow, odd = itertools.count(), itertools.count(0, 1e6), itertools.cycle([0.0, 1e9, -7.0])
    plan, weights = trained(lambda: next(fast) * 1e-9)
    for clock in (slow, odd):
        other_plan, other_weights = trained(lambda clock=clock: next(clock))
        assert other_plan == plan
        assert all(torch.equal(weights[name], other_weights[name]) for name in weights)
    assert plan.precision == ("bfloat16" if width >= 800 else "float32")
    assert plan.threads == (1 if width == 8 else most)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_precision_by_name_is_obeyed(monkeypatch, precision):
    no_probe(monkeypatch)
    plan = planned(precision=precision)
    assert (plan.precision, plan.precision_reason) == (precision, "as requested")


def test_has_bfloat16_asks_the_hardware(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)  # slower than float32
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert not plans.has_bfloat16("cpu")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert plans.has_bfloat16("cpu")
    asked = {}
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda **options: asked.update(options) or True
    )
    assert plans.has_bfloat16("cuda")
    assert asked == {"including_emulation": False}


def test_autocast():
    linear, x = nn.Linear(4, 4), torch.ones(2, 4)
    with autocast(torch.device("cpu"), "bfloat16"):
        assert linear(x).dtype == torch.bfloat16
    with autocast(torch.device("cpu"), "float32"):
        assert linear(x).dtype == torch.float32


def test_bfloat16_training_multiplies_in_bfloat16_and_validates_in_float32(species):
    def train(precision):
        torch.manual_seed(0)
        network = sl.MLP(species.spec, hidden=[32, 32])
        seen = {True: set(), False: set()}
        network.hidden[1].linear.register_forward_hook(
            lambda module, _, output: seen[module.training].add(output.dtype)
        )
        training = sl.Training(
            network, species, epochs=4, precision=precision, device="cpu",
            doctor=False,
        )  # fmt: skip
        seen[True].clear()
        assert training.plan.precision == precision
        return list(training)[-1], seen, training

    exact, seen, _ = train("float32")
    assert seen == {True: {torch.float32}, False: {torch.float32}}
    rounded, seen, training = train("bfloat16")
    assert seen == {True: {torch.bfloat16}, False: {torch.float32}}
    assert all(p.dtype == torch.float32 for p in training.network.parameters())
    assert rounded.train_loss != exact.train_loss
    assert rounded.train_loss == pytest.approx(exact.train_loss, rel=0.01)
    assert rounded.valid_loss == pytest.approx(exact.valid_loss, rel=0.01)


# ------------------------------------------------------------- the trial leaves no trace


@pytest.mark.parametrize("mode", [True, False])
def test_the_trial_leaves_the_network_as_it_was(mode, monkeypatch):
    monkeypatch.setattr(plans, "BFLOAT16_WORK", 1.0)
    monkeypatch.setattr(plans, "BFLOAT16_ROWS", 1)
    monkeypatch.setattr(plans, "has_bfloat16", lambda _: True)
    network = Net().train(mode)
    before = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    train, valid = rows(1000), rows(100)
    state = torch.get_rng_state()
    make_plan(request(precision="auto", time_limit=10.0), network, TASK, train, valid)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert all(p.grad is None for p in network.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_trial_draws_dropout_and_moves_buffers_of_its_copy():
    """Otherwise the test before could not fail."""
    calls = []

    class Noted(Net):
        def forward(self, numeric, categorical):
            out = super().forward(numeric, categorical)
            calls.append((self.training, int(self.layers[1].num_batches_tracked)))
            return out

    trial = Trial(Noted(), TASK, rows(20), torch.device("cpu"))
    assert trial.seconds("float32") > 0
    assert calls == [(True, n + 1) for n in range(plans.TRIAL_STEPS)]


# ------------------------------------------------------------- time limit


@pytest.mark.parametrize(
    ("limit", "epochs", "expected"),
    [(10.0, 100, 4), (10.0, 3, 3), (0.001, 100, 1), (1000.0, 100, 100)],
)
def test_as_many_epochs_as_fit(monkeypatch, limit, epochs, expected):
    """An epoch: 1000 rows / 100 x 0.2 s and 500 validation rows / 100 x 0.02 s; 0.9 x 10 s / 2.1 s."""
    monkeypatch.setattr(Trial, "seconds", lambda *_: 0.2)
    monkeypatch.setattr(Trial, "evaluation_seconds", lambda *_: 0.02)
    plan = planned(1000, valid=500, batch_size=100, time_limit=limit, epochs=epochs)
    assert plan.epochs == expected


def test_without_a_limit_nothing_is_measured(monkeypatch):
    no_probe(monkeypatch)
    assert planned(epochs=1000).epochs == 1000


def test_the_limit_ends_training_in_mid_epoch(species, monkeypatch):
    monkeypatch.setattr(Trial, "seconds", lambda *_: 1e-9)
    monkeypatch.setattr(Trial, "evaluation_seconds", lambda *_: 1e-9)
    training = sl.Training(
        sl.MLP(species.spec, hidden=[4]), species, epochs=50, batch_size=50, time_limit=100.0,
        device="cpu",
    )  # fmt: skip
    assert training.plan.epochs == 50
    now = [0.0]

    def clock():
        now[0] += 1.0
        return now[0]

    for module in (trainings, epochs_module):  # the clock of the steps, and that of validation
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=clock))
    steps = list(training.steps())
    assert training.progress.elapsed <= 100.0 + 2.0
    assert len(steps) % 6
    assert training.stopped.startswith(
        "the time limit of 100 s for the training is reached in epoch "
    )
    step, edit = training.progress.edits[-1]
    assert (step, edit["edit"]) == (len(steps), "Stop")
    assert training.events[-1].type == "edit"
    assert training.history[-1].number == -(-len(steps) // 6)
    assert training.history[-1].valid_loss is not None
    training.model()


# ------------------------------------------------------------- a plan that is given


def test_a_given_plan_is_obeyed_and_nothing_is_measured(species, monkeypatch):
    network = sl.MLP(species.spec, hidden=[4])
    plan = sl.Training(network, species, epochs=9, device="cpu").plan
    given = dataclasses.replace(
        plan, precision="bfloat16", epochs=2, batch_size=100, micro_batch=40, steps_per_epoch=3
    )
    no_probe(monkeypatch)
    monkeypatch.setattr(states, "make_plan", lambda *_: pytest.fail("a plan was made"))
    training = sl.Training(network, species, epochs=9, time_limit=1000.0, plan=given)
    steps = list(training.steps())
    assert training.plan == given
    assert [step.rows for step in steps] == [100, 100, 76] * 2
    assert steps[0].logits.dtype == torch.bfloat16
    assert training.stopped == "all 2 epochs done"
