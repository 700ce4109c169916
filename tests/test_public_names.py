import importlib
import inspect
import subprocess
import sys

import pytest

import sightline as sl


def python(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", sl.__all__)
def test_every_name_is_there_and_documented(name):
    value = getattr(importlib.import_module(f"sightline.{sl._PLACES[name]}"), name)
    assert callable(getattr(sl, name))
    if name != "prepare":  # the room of that name stands for the function, see the last test
        assert getattr(sl, name) is value
    documentation = inspect.getdoc(value)
    assert "Example:" in documentation
    assert ">>> " in documentation


def test_the_list_is_the_one_agreed():
    assert sorted(sl.__all__) == dir(sl)
    assert set(sl.__all__) == set(sl._PLACES)
    assert len(set(sl.__all__)) == len(sl.__all__)


def test_importing_is_light():
    heavy = [
        "torch",
        "numpy",
        "pyarrow",
        "duckdb",
        "sklearn",
        "rich",
        "click",
        "pandas",
        "safetensors",
    ]
    assert python(f"import sightline, sys; print([m for m in {heavy} if m in sys.modules])") == "[]"


def test_help_imports_nothing_heavy():
    program = (
        "import sys; sys.argv = ['sightline', '--help']\n"
        "from sightline.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'numpy', 'pyarrow', 'rich') if m in sys.modules])"
    )
    assert python(program).endswith("[]")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("trainig", ""), ("Trainig", "Did you mean 'Training'?"), ("reed", "Did you mean 'read'?")],
)
def test_a_misspelt_name_suggests(name, hint):
    with pytest.raises(AttributeError, match=f"'sightline' has no attribute '{name}'") as caught:
        getattr(sl, name)
    assert hint in str(caught.value)


def test_a_name_is_imported_once():
    assert sl.Model is vars(sl)["Model"]


@pytest.mark.parametrize(
    "first",
    ["import sightline as sl", "import sightline.prepare.prepared as x\nimport sightline as sl",
     "import sightline as sl\nsl.Training\nsl.prepare\nimport sightline.prepare.transform",
     "from sightline import prepare\nimport sightline as sl\nassert callable(prepare)"],
)  # fmt: skip
def test_prepare_is_callable_whichever_import_came_first(first):
    program = (
        f"{first}\n"
        "import sightline.prepare.prepared as room\n"
        "table = sl.read({'x': [1.5, 2.5, 3.5, 4.5] * 10, 'y': list('abab') * 10})\n"
        "print(type(sl.prepare(sl.split(table, target='y'))) is room.Prepared)"
    )
    assert python(program) == "True"
