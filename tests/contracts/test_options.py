import json
import math

import numpy as np
import pytest
import torch

import sightline as sl
from sightline.contracts.options import TrainingSettings
from sightline.errors import OptionError

WHOLE = [0, -1, 1.5, "3", True, math.nan]
SHARES = [-0.1, 1, 1.5, "x", True, math.nan]
NUMBERS = [-1, math.inf, math.nan, "x", None, True]
POSITIVE = [0, 0.0, -1, math.inf, math.nan, "x", True]

BAD = [
    *(("epochs", value, "Give a whole number from 1 up.") for value in [*WHOLE, None]),
    *(("accumulate", value, "Give a whole number from 1 up.") for value in [*WHOLE, None]),
    *(("batch_size", value, "Give a whole number from 1 up.") for value in WHOLE),
    *(("patience", value, "Give a whole number from 1 up.") for value in WHOLE),
    *(("learning_rate", value, "Give a number from 0 up.") for value in NUMBERS),
    *(("weight_decay", value, "Give a number from 0 up.") for value in NUMBERS),
    *(("clip_norm", value, "Give a number above 0.") for value in POSITIVE),
    *(("time_limit", value, "Give a number above 0.") for value in POSITIVE),
    *(
        ("ema", value, "Give a number from 0 up to, but not including, 1, such as 0.999.")
        for value in SHARES
    ),
    *(
        ("label_smoothing", value, "Give a number from 0 up to, but not including, 1.")
        for value in SHARES
    ),
    ("optimizer", "adam", "Did you mean 'adamw'?"),
    ("optimizer", None, "The values of optimizer are: 'adamw', 'sgd', 'muon'."),
    ("optimizer", 3, "The values of optimizer are"),
    ("schedule", "cosin", "Did you mean 'cosine'?"),
    ("schedule", None, "The values of schedule are"),
    ("precision", "bfloat", "Did you mean 'bfloat16'?"),
    ("precision", len, "The values of precision are: 'auto', 'float32', 'bfloat16'."),
    ("warm_up", 1, "Give a number from 0 up to, but not including, 1."),
    ("warm_up", -0.5, "Give a number from 0 up to, but not including, 1."),
    ("class_weights", "balance", 'Give "balanced", or a weight per class.'),
    ("class_weights", 2.0, 'Give "balanced", or a weight per class.'),
    ("class_weights", True, 'Give "balanced", or a weight per class.'),
    ("class_weights", [1.0, 2.0], 'Give "balanced", or a weight per class.'),
    ("doctor", "no", "Give True or False."),
    ("doctor", None, "Give True or False."),
    ("seed", -1, "Give a whole number from 0 up."),
    ("seed", 2**32, "Give one below 4,294,967,296."),
    ("seed", None, "Give a whole number from 0 up."),
    ("device", None, "Give its name, such as 'auto' or 'cpu'."),
    ("device", torch.device("cpu"), "Give its name, such as 'auto' or 'cpu'."),
]


@pytest.mark.parametrize(("name", "value", "fix"), BAD)
def test_every_rule(name, value, fix):
    with pytest.raises(OptionError) as caught:
        TrainingSettings(**{name: value})
    assert name in caught.value.problem
    assert repr(value) in caught.value.problem
    assert fix in caught.value.fix


def test_the_bounds_are_allowed():
    TrainingSettings(
        epochs=1, accumulate=1, batch_size=1, patience=1, learning_rate=0, weight_decay=0.0, ema=0,
        label_smoothing=0.99, warm_up=0.0, clip_norm=1e-9, time_limit=1, seed=2**32 - 1, device="cpu",
    )  # fmt: skip


def test_a_warm_up_goes_with_a_name():
    with pytest.raises(OptionError, match="warm_up needs a schedule that is given by name"):
        TrainingSettings(schedule=torch.optim.lr_scheduler.StepLR, warm_up=0.1)


def test_training_holds_its_settings_to_the_rules(species):
    with pytest.raises(OptionError, match="ema is 2"):
        sl.Training(sl.MLP(species.spec), species, ema=2)


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_before_training(species, penguins, device):
    for refused in (
        lambda: sl.Training(sl.MLP(species.spec), species, device=device),
        lambda: sl.fit(penguins, "species", device=device, quiet=True),
    ):
        with pytest.raises(OptionError, match=f"The device '{device}' cannot be used"):
            refused()


def test_settings_by_name():
    assert TrainingSettings.of({"epochs": 7}) == TrainingSettings(epochs=7)
    with pytest.raises(OptionError, match=r"There is no setting 'epoch'. Did you mean 'epochs'\?"):
        TrainingSettings.of({"epoch": 7})
    with pytest.raises(OptionError, match="epochs is 0"):
        TrainingSettings.of({"epochs": 0})


def round_trip(settings, **own):
    return TrainingSettings.from_json(json.loads(json.dumps(settings.to_json())), **own)


@pytest.mark.parametrize(
    "settings",
    [
        TrainingSettings(),
        TrainingSettings(
            epochs=3, batch_size=7, accumulate=2, learning_rate=0.5, weight_decay=0.0,
            optimizer="muon", schedule="cosine", warm_up=0.1, clip_norm=1.0, ema=0.9,
            label_smoothing=0.1, class_weights="balanced", patience=None, time_limit=9.0,
            precision="bfloat16", doctor=False, seed=5, device="cpu",
        ),
        TrainingSettings(class_weights={"a": 1.0, "b": 2}),
        TrainingSettings(class_weights={1: 0.5, 2: 3.0}),
        TrainingSettings(class_weights={True: 0.5, False: 3.0}),
    ],
)  # fmt: skip
def test_settings_come_back_from_json(settings):
    again = round_trip(settings)
    assert again == settings
    if isinstance(settings.class_weights, dict):
        assert [type(k) for k in again.class_weights] == [type(k) for k in settings.class_weights]


@pytest.mark.parametrize(
    ("name", "own"),
    [("optimizer", torch.optim.RAdam), ("schedule", torch.optim.lr_scheduler.StepLR)],
)
def test_what_is_your_own_must_be_given_again(name, own):
    settings = TrainingSettings(**{name: own})
    with pytest.raises(
        OptionError, match=f"The {name} was your own and is not saved. Give it again: {name}=..."
    ):
        round_trip(settings)
    assert round_trip(settings, **{name: own}) == settings


@pytest.mark.parametrize("target", [[1, 2], np.zeros(3), None, ["a", "b"]])
def test_a_target_that_is_no_name_is_refused(target):
    with pytest.raises(OptionError, match="the name of a column") as raised:
        sl.fit({"a": [1, 2, 3], "b": [1, 2, 3]}, target)
    assert "SightlineClassifier" in str(raised.value)
