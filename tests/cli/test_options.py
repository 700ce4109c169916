"""Every option is declared once: what derives from the declarations, and what is held to them here."""

import dataclasses
import inspect
import json
import re
from typing import Any, get_type_hints

import click
import numpy as np
import pytest

import sightline as sl
from sightline.cli.main import cli
from sightline.contracts import CUSTOM, FitOptions, Ray, TrainingOverrides, TrainingSettings
from sightline.contracts.request import declared
from sightline.errors import OptionError, RunError
from sightline.estimators import SightlineClassifier, SightlineRegressor

DECLARED = declared()
BESIDES = {"source", "target", "model", "warm_start", "as_json", "balanced", "workers"}
"""What `sightline fit` takes besides the declared options."""


def parameters(function):
    return {
        name: one for name, one in inspect.signature(function).parameters.items()
        if name not in ("self", "settings", "view", "source", "target", "plan", "network_", "prepared")
    }  # fmt: skip


# ------------------------------------------------------------- sl.fit


def test_fit_takes_every_declared_option_with_its_default():
    signature = parameters(sl.fit)
    training = {
        name for name, one in DECLARED.items() if one.group == "training" and name != "seed"
    }
    assert set(signature) == set(DECLARED) - training
    for name, one in signature.items():
        default = {} if name == "kinds" and one.default is None else one.default
        assert default == DECLARED[name].default, name


def test_fit_has_the_declared_types():
    hints = get_type_hints(sl.fit, include_extras=True)
    for name in parameters(sl.fit):
        if name in ("kinds", "network", "valid", "test"):  # None stands for {}; a module, a table
            continue
        assert hints[name] == DECLARED[name].type, name


OTHER_VALUES = {
    "kinds": {"a": "text"}, "drop": ("b",), "missing": ("-",), "encoding": "cp1252",
    "on_bad_rows": "skip", "task": "regression", "positive": "yes", "valid": 0.3, "test": 0.2,
    "engine": Ray(3), "query": "t", "hidden": (8, 4), "dropout": 0.2, "keep_data": False, "memory_limit": 10**9, "decimal": ",", "thousands": ".", "dates": "day-first", "header": 3, "sheet": "S", "group": "g", "time": "t", "time_feature": True, "weight": "w", "numeric": "minmax", "quality": "fast", "network": "MLP",
    "second_network": False, "trees": False, "symmetric_trees": False, "forest": False, "kernel": False, "neighbors": False, "calibrate": True, "threshold": 0.3, "baselines": False, "epochs": 3,
    "batch_size": 7, "accumulate": 2, "learning_rate": 0.5, "weight_decay": 0.25, "optimizer": "sgd",
    "schedule": "cosine", "warm_up": 0.2, "clip_norm": 1.0, "ema": 0.9, "label_smoothing": 0.1,
    "class_weights": "balanced", "patience": None, "eval_metric": "f1", "time_limit": 9.0,
    "precision": "float32", "doctor": False, "seed": 5, "device": "cpu", "watch": True,
    "checkpoint_seconds": 1.0, "checkpoint_epochs": 2, "run": "runs/other", "live": True,
    "report": False, "quiet": True,
}  # fmt: skip


class Reached(Exception):
    """The options have come to where a run begins."""


def asked_for(options, name):
    if name in ("seed", "target"):
        return getattr(options, name)
    group = getattr(options, DECLARED[name].group)
    return (
        group.get(name, "not given") if DECLARED[name].group == "training" else getattr(group, name)
    )


@pytest.mark.parametrize("name", DECLARED)
def test_fit_passes_every_option_on(name, monkeypatch):
    def begin(source, options, *more):
        raise Reached(options)

    value = OTHER_VALUES[name]
    assert value != DECLARED[name].default
    monkeypatch.setattr("sightline.pipeline.runs.Fresh", begin)
    monkeypatch.setattr("sightline.pipeline.fit.fit_on_ray", begin)
    source = "sqlite:///t.db" if name == "query" else "t.csv"
    with pytest.raises(Reached) as caught:
        sl.fit(source, "y", **{name: value})
    assert asked_for(caught.value.args[0], name) == value


@pytest.mark.parametrize("kind", [SightlineClassifier, SightlineRegressor])
def test_an_estimator_passes_every_parameter_on(kind, monkeypatch):
    def begin(source, options):
        raise Reached(options)

    monkeypatch.setattr("sightline.estimators.Fresh", begin)
    names = set(parameters(kind.__init__)) - {"random_state", "kinds"}
    assert len(names) >= 10
    values = OTHER_VALUES | ({"eval_metric": "mae"} if kind is SightlineRegressor else {})
    for name in names:
        with pytest.raises(Reached) as caught:
            kind(**{name: values[name]}).fit([[1.0], [2.0], [3.0]], [0, 1, 1])
        assert asked_for(caught.value.args[0], name) == values[name]


def test_overrides_are_the_settings_of_a_training_less_the_seed():
    settings, overrides = (get_type_hints(kind) for kind in (TrainingSettings, TrainingOverrides))
    settings.pop("seed")
    assert overrides == settings
    assert list(overrides) == list(settings)


# ------------------------------------------------------------- sl.Training


def test_a_training_takes_every_setting_with_its_default():
    signature = parameters(sl.Training.__init__)
    signature.pop("network")
    settings = {name: one for name, one in DECLARED.items() if one.group == "training"}
    assert list(signature) == list(settings)
    for name, one in signature.items():
        assert one.default == settings[name].default, name


def test_a_training_has_the_declared_types():
    hints = get_type_hints(sl.Training.__init__, include_extras=True)
    for name, one in DECLARED.items():
        if one.group == "training" and name not in (
            "optimizer",
            "schedule",
        ):  # functions of torch's
            assert hints[name] == one.type, name


# ------------------------------------------------------------- the estimators


@pytest.mark.parametrize("kind", [SightlineClassifier, SightlineRegressor])
def test_the_parameters_of_an_estimator_are_declared_options(kind):
    names = set(parameters(kind.__init__)) - {"random_state"}
    assert names <= set(DECLARED)
    hints = get_type_hints(kind.__init__)
    for name in names:
        if name in ("network", "valid", "device", "kinds"):
            continue
        assert hints[name] == DECLARED[name].type | None, name


# ------------------------------------------------------------- the command line


def parameters_of(command):
    made = cli.commands[command]
    # The declared options are made when they are first needed; Click keeps the help option that it makes here.
    made.get_params(click.Context(made, help_option_names=["-h", "--help"]))
    return made.params


def fit_parameters():
    return {one.name: one for one in parameters_of("fit")}


def test_the_command_line_has_every_declared_option():
    assert set(fit_parameters()) == {*DECLARED, *BESIDES}


@pytest.mark.parametrize("name", DECLARED)
def test_an_option_of_the_command_line_has_the_declared_choices_and_default(name):
    option, one = fit_parameters()[name], DECLARED[name]
    if one.choices and not one.option.form:
        assert isinstance(option.type, click.Choice)
        assert tuple(option.type.choices) == one.choices
    if one.choices and one.option.form:
        assert all(str(choice) in f"{option.help} {option.metavar}" for choice in one.choices)
    if one.group == "training" and name != "seed" and not option.multiple:
        assert option.default is None  # the quality chooses it
    elif option.is_flag and not option.secondary_opts:
        assert one.default is False
    elif not option.multiple:
        assert option.default == one.default


@pytest.mark.parametrize("command", [*cli.commands])
def test_every_option_says_what_it_does(command):
    for one in parameters_of(command):
        if isinstance(one, click.Option) and not one.hidden:
            assert one.help is not None, one.name
            assert re.match(r"[A-Zf].*[.\])]$", one.help, re.DOTALL), (one.name, one.help)


@pytest.mark.parametrize("name", DECLARED)
def test_a_declared_option_that_takes_a_value_shows_an_example_or_its_choices(name):
    one = DECLARED[name]
    shown = "e.g. " in one.option.help or re.search(r"\(\d|auto, cpu", one.option.help)
    assert shown or one.choices or bool in one.plain_types, one.option.help


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["--class-weights", "balanced"], "balanced"), (["--balanced"], "balanced"),
        (["--balanced", "--class-weights", "balanced"], "balanced"),
        (["--class-weights", "a=2", "--class-weights", "b=c=0.5"], {"a": 2.0, "b=c": 0.5}), ([], None),
    ],
)  # fmt: skip
def test_class_weights(sightline, monkeypatch, arguments, value):
    given: dict[str, Any] = {}
    monkeypatch.setattr("sightline.pipeline.fit.fit", lambda *_, **options: given.update(options))
    sightline("fit", "t.csv", "--target", "y", *arguments)
    assert given.get("class_weights") == value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--class-weights", "balance"], "'balance' is neither balanced nor of the form CLASS=WEIGHT"),
        (["--class-weights", "=2"], "'=2' is neither"), (["--class-weights", "a=x"], "'a=x' is neither"),
        (["--class-weights", "balanced", "--class-weights", "a=1"], "'balanced' is neither"),
        (["--balanced", "--class-weights", "a=1"], "are given together"),
    ],
)  # fmt: skip
def test_class_weights_that_make_no_sense(sightline, arguments, message):
    answer = sightline("fit", "t.csv", "--target", "y", *arguments)
    assert answer.code == 2
    assert message in answer.err


def test_training_settings_that_are_not_given_are_left_to_the_quality(sightline, monkeypatch):
    given: dict[str, Any] = {}
    monkeypatch.setattr("sightline.pipeline.fit.fit", lambda *_, **options: given.update(options))
    sightline("fit", "t.csv", "--target", "y", "--epochs", "3")
    training = {name for name in given if DECLARED[name].group == "training"}
    assert training == {"epochs", "seed"}


# ------------------------------------------------------------- the JSON form


def test_every_option_survives_its_json_form():
    options = FitOptions.of(
        "y", kinds={"a": "text"}, drop=["b"], missing="-", valid=0.2, test=50, quality="fast",
        threshold=0.3, trees=False, epochs=3, class_weights={1: 0.5}, patience=None, seed=4,
        checkpoint_epochs=2, run="runs/x", report=False,
    )  # fmt: skip
    assert FitOptions.from_json(options.to_json()) == options


def test_what_json_cannot_hold_is_named():
    options = FitOptions.of("y", network=sl.MLP, valid={"x": [1]}, schedule=print).to_json()
    assert options["model"]["network"] == options["split"]["valid"] == CUSTOM
    assert options["training"]["schedule"] == CUSTOM
    again = FitOptions.from_json(options)
    assert (again.model.network, again.training["schedule"]) == (CUSTOM, CUSTOM)


def test_options_of_a_newer_version_are_refused():
    newer = {**FitOptions.of("y").to_json(), "version": 2}
    with pytest.raises(RunError, match="have version 2; this Sightline reads version 1"):
        FitOptions.from_json(newer)


@pytest.mark.parametrize("lost", ["target", "read", "training", "seed"])
def test_damaged_options_are_refused(lost):
    damaged = FitOptions.of("y").to_json()
    del damaged[lost]
    with pytest.raises(RunError, match="The options of the fit are damaged: KeyError"):
        FitOptions.from_json(damaged)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"report": "no"}, "report is 'no'"), ({"live": 1}, "live is 1"), ({"baselines": "x"}, "baselines is 'x'"),
     ({"on_bad_rows": "skp"}, "on_bad_rows is 'skp'"), ({"task": "classify"}, "task is 'classify'"),
     ({"numeric": "minmx"}, "numeric is 'minmx'"), ({"checkpoint_epochs": 0}, "checkpoint_epochs is 0"),
     ({"qualty": "fast"}, "no option 'qualty'. Did you mean 'quality'")],
)  # fmt: skip
def test_a_value_that_no_option_can_have_is_refused(options, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        FitOptions.of("y", **options)


def test_the_seed_is_not_a_training_setting():
    with pytest.raises(OptionError, match="seed is an option of its own"):
        FitOptions(target="y", training={"seed": 5})


def test_numbers_of_numpy_are_numbers():
    options = FitOptions.of(
        "y", epochs=np.int64(3), test=np.int64(20), positive=np.int64(1), seed=np.int64(4),
        threshold=np.float64(0.5), class_weights={np.int64(1): np.float64(2.0)},
    )  # fmt: skip
    assert FitOptions.from_json(json.loads(json.dumps(options.to_json()))) == options
    assert options.training == {"epochs": 3, "class_weights": {1: 2.0}}


def test_an_unknown_option_is_refused():
    with pytest.raises(OptionError, match=r"There is no option 'epoch'\. Did you mean 'epochs'"):
        FitOptions.of("y", epoch=3)


def test_a_run_records_what_it_was_asked_for(fitted):
    run = sl.Run(fitted / "runs" / "a")
    recorded = FitOptions.from_json(run.find("run", "start")[0].body["options"])
    assert recorded.target == "species"
    assert recorded.training == {"epochs": 12, "learning_rate": 0.01, "device": "cpu"}
    assert recorded.model.network == "MLP"


def test_options_are_frozen():
    options = FitOptions.of("y")
    for value, name in ((options, "target"), (options.read, "drop"), (options.run, "live")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, None)
