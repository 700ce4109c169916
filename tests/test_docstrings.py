"""Every example in every docstring runs, in a folder of its own that has the penguins."""

import doctest
import functools
import importlib
import inspect
import io
import pkgutil
import shutil
from pathlib import Path

import pytest

import sightline

MODULES = [
    "sightline",
    *sorted(found.name for found in pkgutil.walk_packages(sightline.__path__, "sightline.")),
]


def examples(name):
    module = importlib.import_module(name)
    return [test for test in doctest.DocTestFinder().find(module, name) if test.examples]


def test_the_modules_are_found():
    assert {"sightline.cli.main", "sightline.train.training", "sightline.load.table"} <= set(
        MODULES
    )


SHOWN = ["sightline.contracts.schema", "sightline.contracts.batch", "sightline.contracts.options", "sightline.contracts.request", "sightline.contracts.rules", "sightline.contracts.plan",
    "sightline.contracts.edits", "sightline.contracts.records.record", "sightline.predict.task", "sightline.lesson.lesson"] + [
    f"sightline.train.{name}"
    for name in ("plan", "optimizers", "schedules", "doctor", "observations",
                 "evaluation", "health")
]  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_every_public_function_and_class_has_an_example(name):
    module = importlib.import_module(name)
    public = {
        f"{name}.{own}" for own, thing in vars(module).items()
        if not own.startswith("_") and (inspect.isclass(thing) or inspect.isfunction(thing))
        and thing.__module__ == name
    }  # fmt: skip
    assert public
    assert public <= {test.name for test in examples(name)}


def test_a_wrong_example_would_be_noticed():
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    assert doctest.DocTestRunner(verbose=False).run(wrong, out=io.StringIO().write).failed == 1


FITTED = {}
"""The folders of runs that examples have made, by what they asked for."""


def once(fit):
    """Share a fit among the examples that ask for the same one and only look at it.

    Examples of one module get the same run, those of another a copy of it, opened anew in their own folder.
    """
    made = {}

    @functools.wraps(fit)
    def shared(*given, **options):
        asked = repr((given, options))
        if asked in made:
            return made[asked]
        if asked in FITTED:
            folder = Path("runs") / f"{FITTED[asked].name}-{len(made)}"
            shutil.copytree(FITTED[asked], folder)
            made[asked] = sightline.Run(folder)
        else:
            made[asked] = fit(*given, **options)
            if isinstance(given[0], str):  # other sources may look alike
                FITTED[asked] = made[asked].folder.absolute()
        return made[asked]

    return shared


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch, penguins):
    (tmp_path / "examples").mkdir()
    shutil.copy(penguins, tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sightline, "fit", once(sightline.fit))
    said = io.StringIO()
    runner = doctest.DocTestRunner(
        verbose=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    for test in examples(name):
        runner.run(test, out=said.write)
    assert not runner.failures, said.getvalue()
