"""Made-up histories for every rule of the table in `observations`, on both sides of its bounds."""

import json
import math
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.train.observations import EpochNumbers, LayerNumbers, Yardstick, observe

THREE = Yardstick(classification=True, guess_loss=1.0, baseline=0.4)
NUMBER = Yardstick(classification=False, guess_loss=1.0, baseline=10.0)
NAN, INF = math.nan, math.inf


def history(train, valid=None, metric=0.5):
    """Epochs from two lists of losses; no `valid` means no validation rows."""
    valid = [None] * len(train) if valid is None else valid
    return [EpochNumbers(t, v, metric) for t, v in zip(train, valid, strict=True)]


def said(train, valid=None, metric=0.5, yardstick=THREE):
    return observe(history(train, valid, metric), yardstick)


HIGH = "learning rate too high: the training loss is rising"
TWICE = "diverging: the training loss is over twice that of the untrained network"
PLATEAU = "plateau: the loss has hardly changed for 5 epochs, and is no better than the baseline"
FALL = [1.0, 0.9, 0.8, 0.7, 0.6]


@pytest.mark.parametrize(
    ("train", "valid", "expected"),
    [
        # epoch 0
        ([1.25], [1.25], "starting with moderate loss"),
        ([1.26], [1.26], "starting with high loss"),
        ([9.0], [1.0], "starting with moderate loss"),
        ([1.0], None, "starting with moderate loss"),
        ([NAN], None, "starting with a loss that is not a finite number"),
        ([1.0], [INF], "starting with a loss that is not a finite number"),
        # diverging
        ([1.0, NAN], [1.0, 1.0], "diverging: the loss is not a finite number"),
        ([1.0, 0.5], [1.0, INF], "diverging: the loss is not a finite number"),
        ([1.0, 2.01], [1.0, 0.1], TWICE),
        ([1.0, 1.9, 2.01], None, TWICE),
        # learning rate too high
        ([1.0, 1.51], None, HIGH),
        ([1.0, 0.021, 0.04], [1.0, 0.5, 0.5], HIGH),
        ([1.0, 0.010, 0.019], [1.0, 0.5, 0.5], "stable"),
        ([1.0, 1.49], None, "training loss rose from 1 to 1.49"),
        ([1.0, 1.06, 1.12], [1.0, 0.5, 0.1], HIGH),
        ([1.0, 1.06, 1.0, 1.06], [1.0, 0.9, 0.8, 0.1], HIGH),
        ([1.0, 1.04, 1.08], [1.0, 0.5, 0.1], "loss is falling fast"),
        ([1.0, 1.06, 1.12, 0.9], [1.0, 0.9, 0.8, 0.1], "loss is falling fast"),
        ([1.0, 1.06, 1.0, 0.99, 1.05], [1.0, 0.9, 0.8, 0.7, 0.1], "loss is falling fast"),
        # overfitting: 3 epochs above the best, over 2 % above it, training loss below
        (FALL, [1.0, 0.5, 0.52, 0.53, 0.54], "overfitting since epoch 2"),
        (FALL[:4], [1.0, 0.5, 0.52, 0.53], "stable"),
        (FALL, [1.0, 0.5, 0.51, 0.51, 0.51], "stable"),
        (FALL, [1.0, 0.5, 0.5, 0.5, 0.52], "validation loss rose from 0.5 to 0.52"),
        (FALL, [1.0, 0.5, 0.9, 0.8, 0.7], "overfitting since epoch 2"),
        ([1.0, 0.9, 0.91, 0.92, 0.93], [1.0, 0.5, 0.52, 0.53, 0.54], "stable"),
        ([1.0, 0.9, 0.8, 0.7], [0.5, 0.6, 0.7, 0.8], "overfitting since epoch 1"),
        # finite again
        ([1.0, 0.9, 0.8], [1.0, INF, 0.9], "the loss is a finite number again"),
        # by how much the watched loss fell
        ([1.0, 0.75], None, "loss is falling fast"),
        ([1.0, 0.76], None, "good progress"),
        ([1.0, 0.919], None, "good progress"),
        ([1.0, 0.921], None, "converging"),
        ([1.0, 0.979], None, "converging"),
        ([1.0, 0.981], None, "stable"),
        ([1.0, 1.01], None, "stable"),
        ([1.0, 1.03], None, "training loss rose from 1 to 1.03"),
        ([1.0, 0.5], [1.0, 1.03], "validation loss rose from 1 to 1.03"),
        ([1.0, 0.99], [1.0, 0.7], "loss is falling fast"),
        ([1.0, 0.9], [0.0, 0.5], "validation loss rose from 0 to 0.5"),
        ([1.0, 0.9], [0.0, 0.0], "stable"),
    ],
)  # fmt: skip
def test_rules_and_their_bounds(train, valid, expected):
    assert said(train, valid).startswith(expected)


def test_plateau_needs_five_still_epochs_and_a_metric_no_better_than_the_baseline():
    assert said([1.0] * 6, metric=0.4) == PLATEAU
    assert said([1.0] * 5, metric=0.4) == "stable"
    assert said([1.0] * 6, metric=0.41) == "stable"
    assert said([1.04, *[1.0] * 5], metric=0.4) == "stable"
    assert said([1.02, *[1.0] * 5], metric=0.4) == PLATEAU
    assert said([1.0] * 6, metric=10.0, yardstick=NUMBER) == PLATEAU
    assert said([1.0] * 6, metric=9.9, yardstick=NUMBER) == "stable"


@pytest.mark.parametrize(
    ("metric", "yardstick", "expected"),
    [
        (0.9, THREE, "stable with strong performance"),
        (0.89, THREE, "stable"),
        (0.9, Yardstick(True, 1.0, 0.9), "stable"),  # no better than always guessing the majority
        (0.91, Yardstick(True, 1.0, 0.9), "stable with strong performance"),
        (10 * math.sqrt(0.2) - 1e-9, NUMBER, "stable with strong performance"),
        (10 * math.sqrt(0.2) + 1e-9, NUMBER, "stable"),
        (0.0, Yardstick(False, 1.0, 0.0), "stable"),
    ],
)
def test_strong_performance(metric, yardstick, expected):
    assert said([1.0, 1.0], metric=metric, yardstick=yardstick) == expected


def test_below_the_baseline_is_added():
    assert said([1.0, 1.0], metric=0.39).endswith("; below the majority baseline")
    assert "baseline" not in said([1.0, 1.0], metric=0.4)
    assert said([1.0, 1.0], metric=10.1, yardstick=NUMBER).endswith(
        "; worse than the mean baseline"
    )
    assert "baseline" not in said([1.0, 1.0], metric=10.0, yardstick=NUMBER)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("a",), "class a is never predicted"),
        (("a", "b"), "classes a, b are never predicted"),
        (tuple("abcde"), "classes a, b, c and 2 more are never predicted"),
        (("x" * 100,), f"class {'x' * 40}... (100 characters) is never predicted"),
    ],
)
def test_classes_never_predicted(names, expected):
    assert observe([EpochNumbers(1.0, 1.0, 0.5, names)], THREE).endswith(f"; {expected}")


def test_the_example_run_of_the_design():
    train, accuracy = [1.1, 0.8, 0.5, 0.3, 0.28, 0.279], [0.33, 0.7, 0.8, 0.9, 0.92, 0.93]
    numbers = [EpochNumbers(t, t, a) for t, a in zip(train, accuracy, strict=True)]
    assert [observe(numbers[: n + 1], THREE).split(";")[0] for n in range(6)] == [
        "starting with moderate loss", "loss is falling fast", "loss is falling fast",
        "loss is falling fast", "converging", "stable with strong performance",
    ]  # fmt: skip


losses = st.one_of(st.floats(0, 10), st.floats(0.9, 1.1), st.just(0.0), st.just(INF), st.just(NAN))
epochs = st.lists(
    st.builds(
        lambda t, v, m, n: (t, v, m, n),
        losses, losses, st.one_of(st.floats(0, 20), st.just(NAN)),
        st.lists(st.text(max_size=5), max_size=5).map(tuple),
    ),
    min_size=1, max_size=12,
)  # fmt: skip


@given(epochs, st.booleans(), st.sampled_from([THREE, NUMBER]))
def test_it_never_says_what_the_numbers_do_not(made, validated, yardstick):
    numbers = [EpochNumbers(t, v if validated else None, m, n) for t, v, m, n in made]
    text = observe(numbers, yardstick)
    now = numbers[-1]
    before = numbers[-2] if len(numbers) > 1 else None
    assert text.startswith("starting") == (before is None)
    finite = math.isfinite(now.watched) and math.isfinite(now.train_loss)
    assert ("not a finite number" in text) == (not finite)
    if "falling fast" in text or "progress" in text or "converging" in text:
        assert now.watched < before.watched
    if "loss rose" in text:
        assert now.watched > before.watched
    if text.startswith("stable"):
        assert abs(now.watched - before.watched) <= 0.02 * before.watched + 1e-12
    if "is rising" in text:
        assert now.train_loss > before.train_loss
    if "over twice" in text:
        assert now.train_loss > 2 * numbers[0].train_loss
    if "overfitting" in text:
        best = int(text.split("epoch ")[1].split(":")[0]) - 1
        assert now.watched > numbers[best].watched
        assert now.train_loss < numbers[best].train_loss
        assert all(not n.watched <= numbers[best].watched for n in numbers[best + 1 :])
    if "plateau" in text or "strong" in text:
        assert yardstick.beaten_by(now.metric) == ("strong" in text)
    if "below" in text or "worse than" in text:
        assert not yardstick.beaten_by(now.metric)
    assert ("never predicted" in text) == bool(now.never_predicted)


# ------------------------------------------------------------- memorising, noise


def test_memorising():
    text = "memorising: the training loss is under a third of the validation loss"
    assert said([1.0, 0.5, 0.17], [1.0, 0.5, 0.52]).endswith(f"; {text}")
    assert "memorising" not in said([1.0, 0.5, 0.18], [1.0, 0.5, 0.52])  # over a third
    assert "memorising" not in said([1.0, 0.5, 0.16], [1.0, 0.5, 0.509])  # within 2 % of the best
    assert "memorising" not in said([1.0, 0.5, 0.1])  # no validation rows


def test_noisy_validation():
    text = "validation is noisy: its loss goes up and down by 5 % or more"
    up_and_down = [1.0, 0.5, 0.53, 0.5, 0.53, 0.5, 0.53]
    train = [1.0 - 0.1 * n for n in range(7)]
    assert text in said(train, up_and_down)
    assert "noisy" not in said(train[1:], up_and_down[1:])  # epoch 0 is not one of the six
    assert "noisy" not in said(train, [1.0, 0.5, 0.52, 0.5, 0.52, 0.5, 0.52])  # under 5 %
    assert "noisy" not in said(train, [1.0, 0.5, 0.53, 0.5, 0.53, 0.5, 0.47])  # three turns
    assert "noisy" not in said(train, [1.0, 0.5, NAN, 0.5, 0.53, 0.5, 0.53])


# ------------------------------------------------------------- the doctor's numbers


def layer(name="hidden.0", **numbers):
    usual = {
        "title": name, "mean": 0.1, "deviation": 1.0, "zero": 0.4, "dead": 0.0, "saturated": None,
        "weight_norm": 1.0, "gradient": 0.01, "update": 0.01, "frozen": False,
    }  # fmt: skip
    return LayerNumbers(name=name, **{**usual, **numbers})


def health(*layers, before=(), loss=0.9, yardstick=THREE):
    """What is said of one epoch's layers, those of other epochs having been `before`."""
    epochs = [EpochNumbers(loss, loss, 0.5, layers=tuple(seen)) for seen in (*before, layers)]
    main, *more = observe([EpochNumbers(loss, loss, 0.5), *epochs], yardstick).split("; ")
    assert main == "stable"
    return more


OUTPUT = layer("output")


def test_healthy_layers_are_not_talked_of():
    assert health(layer(), OUTPUT) == []
    assert health() == []


@pytest.mark.parametrize(
    ("sick", "well", "expected"),
    [
        ({"dead": 0.5}, {"dead": 0.49}, "50 % of hidden.0's units are dead"),
        ({"dead": 0.5}, {"dead": 0.5, "frozen": True}, "50 % of hidden.0's units are dead"),
        ({"saturated": 0.51}, {"saturated": 0.5}, "hidden.0 is saturated: 51 % of its outputs are near a bound"),
        ({"gradient": 9e-6}, {"gradient": 1.1e-5}, "gradients vanish: that of hidden.0 is 9.0e-04 times that of output"),
        ({"gradient": 9e-6}, {"gradient": 0.0}, "gradients vanish: that of hidden.0 is 9.0e-04 times that of output"),
        ({"gradient": 9e-6}, {"gradient": 9e-6, "frozen": True},
         "gradients vanish: that of hidden.0 is 9.0e-04 times that of output"),
        ({"gradient": 10.1}, {"gradient": 10.0}, "gradients explode: that of hidden.0 is 10.1"),
        ({"gradient": INF}, {"gradient": 9.0}, "gradients explode: that of hidden.0 is inf"),
        ({"update": 9e-7}, {"update": 1e-6}, "hidden.0 does not move: a step changes its weights by 9.0e-07 of their norm"),
        ({"update": 0.0}, {"update": 0.0, "gradient": 0.0},
         "hidden.0 does not move: a step changes its weights by 0.0e+00 of their norm"),
        ({"update": 0.0}, {"update": 0.0, "frozen": True},
         "hidden.0 does not move: a step changes its weights by 0.0e+00 of their norm"),
        ({"update": 0.0}, {"update": 0.0, "weight_norm": 0.0},
         "hidden.0 does not move: a step changes its weights by 0.0e+00 of their norm"),
    ],
)  # fmt: skip
def test_a_layers_rules_and_their_bounds(sick, well, expected):
    assert health(layer(**sick), OUTPUT) == [expected]
    assert health(layer(**well), OUTPUT) == []


def test_dead_units_and_saturation_are_of_hidden_layers():
    assert health(layer(), layer("output", dead=1.0, saturated=1.0)) == []


def test_dead_activations_of_their_own_are_told():
    relu = layer("1", dead=0.6, weight_norm=0.0, gradient=0.0, update=0.0)
    assert health(layer("0"), relu, layer("2")) == ["60 % of 1's units are dead"]


def test_encodings_have_no_dead_units():
    bins = layer("bins", dead=0.9, weight_norm=0.0, gradient=0.0, update=0.0)
    assert health(bins, layer("0"), layer("2")) == []


def test_saturated_logits():
    text = ["saturated logits: their standard deviation is 15.1"]
    wide = layer("output", deviation=15.1)
    assert health(layer(), wide) == text
    assert health(layer(), layer("output", deviation=15.0)) == []
    assert health(layer(), wide, loss=0.51) == text
    assert health(layer(), wide, loss=0.5) == []  # certain, and right
    frozen = replace(wide, frozen=True)
    assert health(layer(), frozen) == text
    assert health(layer(deviation=15.1), replace(OUTPUT, frozen=True)) == []  # no logits
    first, second = (EpochNumbers(0.9, 0.9, 5.0, layers=(layer(), wide)) for _ in range(2))
    assert observe([first, second], NUMBER) == "stable"


@pytest.mark.parametrize(
    ("earlier", "gradient", "expected"),
    [
        ([0.01, 0.01, 0.01], 1.01, True),
        ([0.01, 0.01, 0.01], 0.99, False),
        ([0.01, 0.01], 1.01, False),
        ([0.01, 5.0, 0.01], 1.01, True),
        ([0.01, 5.0, 5.0], 1.01, False),
        ([0.0, 0.0, 0.0], 1.01, False),  # it was frozen, or its scale was zero
        ([NAN, 0.01, 0.01, 0.01], 1.01, True),
    ],
)
def test_gradients_explode_against_the_looks_before(earlier, gradient, expected):
    before = [[layer(gradient=value), layer("other", gradient=1e-9)] for value in earlier]
    told = health(layer(gradient=gradient), layer("other", gradient=1e-2), before=before)
    assert ("gradients explode: that of hidden.0 is 1.01" in told) == expected


def test_where_nothing_moves_no_layer_is_blamed():
    """The first step of a warm-up, or one that was skipped."""
    assert health(layer(update=0.0), layer("output", update=0.0)) == []


def test_not_more_than_three_things_are_said():
    sick = [layer(f"hidden.{n}", dead=0.9) for n in range(5)]
    assert len(health(*sick, OUTPUT)) == 3


def test_numbers_come_back_from_json():
    numbers = EpochNumbers(NAN, INF, 0.5, ("a", "b"), None, (layer(saturated=0.5), OUTPUT))
    again = EpochNumbers.from_json(json.loads(json.dumps(asdict(numbers))))
    assert math.isnan(again.train_loss)
    assert replace(again, train_loss=0.0) == replace(numbers, train_loss=0.0)
