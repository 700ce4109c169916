"""Made-up histories for every rule of the table in `observations`, on both sides of its bounds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.train.observations import EpochNumbers, Yardstick, observe

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
PLATEAU = "plateau: the loss has stood still for 5 epochs, no better than the baseline"
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
    if "rising" in text:
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
