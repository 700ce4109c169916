"""Arguments by the names of other tools: the function says what they are called here."""

import inspect
import re

import pytest

import sightline as sl
from sightline.contracts import FitOptions
from sightline.errors import OptionError

TABLE = {"x": [1.0, 2.0] * 20, "y": ["a", "b"] * 20}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sl.fit(TABLE, label="y"), "There is no option 'label'. Did you mean 'target'?"),
        (lambda: sl.fit(TABLE, "y", lr=0.1), "There is no option 'lr'. Did you mean 'learning_rate'?"),
        (lambda: sl.fit(TABLE, "y", max_epochs=3), "Did you mean 'epochs'?"),
        (lambda: sl.fit(TABLE, "y", random_state=3), "Did you mean 'seed'?"),
        (lambda: sl.fit(TABLE, "y", cv=5), "There is no option for the number of folds"),
        (lambda: sl.fit(TABLE, "y", gpu=True), "There is no option 'gpu'. Write device='cuda'."),
        (lambda: sl.fit(TABLE, "y", qualty="best"), "Did you mean 'quality'? The options are: "),
        (lambda: sl.tune(TABLE, "y", n_trials=3), "Did you mean 'trials'?"),
        (lambda: sl.tune(TABLE, "y", output="runs/t"), "Did you mean 'folder' or 'run'?"),
        (lambda: sl.read("x.csv", sep=";"), "The separator of a text file is recognised"),
        (lambda: sl.split(sl.read(TABLE), label="y"), "Did you mean 'target'?"),
        (lambda: sl.split(sl.read(TABLE), "y", cv=5), "Did you mean 'folds'?"),
        (lambda: sl.resume("runs/x", epochs=5), "There is no option 'epochs'. "),
        (lambda: sl.replay("runs/x", output="runs/y"), "Did you mean 'run' or 'to'?"),
        (lambda: sl.SightlineClassifier(lr=1), "Did you mean 'learning_rate'?"),
        (lambda: sl.SightlineRegressor(seed=1), "Did you mean 'random_state'?"),
        (lambda: sl.Training(None, None, bs=3), "Did you mean 'batch_size'?"),
        (lambda: FitOptions.of("y", lr=0.1), "Did you mean 'learning_rate'?"),
    ],
)  # fmt: skip
def test_the_name_of_another_tool_leads_to_ours(call, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        call()


def test_a_missing_argument_is_a_mistake_of_the_call():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'target'"):
        sl.fit(TABLE)


def test_signatures_are_shown_as_written():
    assert list(inspect.signature(sl.fit).parameters)[:2] == ["source", "target"]
    assert "learning_rate" in sl.SightlineClassifier().get_params()


def test_a_function_by_the_name_of_another_tool():
    # `sl.train` is the room of that name, once a module of it is imported.
    with pytest.raises(AttributeError, match=r"no attribute 'learn'\. Did you mean 'fit'\?"):
        _ = sl.learn
    with pytest.raises(AttributeError, match=r"no attribute 'read_csv'\. Did you mean 'read'\?"):
        _ = sl.read_csv
