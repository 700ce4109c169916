import json
import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest

from sightline.contracts import (
    EDITS,
    BadRow,
    CategoricalFeature,
    Column,
    Deepen,
    Edit,
    EpochRecord,
    Event,
    Freeze,
    NumericFeature,
    Reload,
    Replace,
    Schema,
    SetBatchSize,
    SetEpochs,
    SetLearningRate,
    SetMicroBatch,
    SetWeightDecay,
    Spec,
    Stop,
    Target,
    Unfreeze,
    Widen,
    edit_from_json,
)

AGE = Column("age", "numeric", "feature", "numbers", "integer")
DAY = Column("day", "datetime", "feature", "dates", "datetime", "%d.%m.%Y")
KIND = Column("kind", "categorical", "target", "the target", "string")
TARGET = Target("kind", "classification", ("a", "b"), "b")


def through_json(values):
    return json.loads(json.dumps(values, allow_nan=False))


@pytest.mark.parametrize(("kind", "role"), [("number", "feature"), ("numeric", "input")])
def test_a_column_refuses_unknown_words(kind, role):
    with pytest.raises(ValueError, match=f"'age': kind '{kind}', role '{role}'"):
        Column("age", kind, role, "", "integer")


def test_a_column_is_frozen():
    with pytest.raises(FrozenInstanceError):
        AGE.name = "other"


def test_a_schema_refuses_two_columns_of_one_name():
    with pytest.raises(ValueError, match=r"unique.*'age', 'age'"):
        Schema((AGE, AGE))


def test_a_schema_finds_its_columns():
    schema = Schema((AGE, DAY, KIND))
    assert schema["day"] is DAY
    assert "day" in schema
    assert "Day" not in schema
    assert schema.features == (AGE, DAY)


def test_with_column_replaces_one_column_alone():
    other = Column("age", "numeric", "ignored", "one value", "integer")
    assert Schema((AGE, DAY)).with_column(other).columns == (other, DAY)


@pytest.mark.parametrize("missing", [None, (), ("?", "-1")])
def test_a_schema_comes_back_from_json(missing):
    schema = Schema(
        (AGE, DAY, KIND), missing, {"age": (0.1, 3.0)}, {"kind": ('q"uo,te\n', "emoji 😀")}
    )
    assert Schema.from_json(through_json(schema.to_json())) == schema


@pytest.mark.parametrize("classes", [(), ("a",)])
def test_a_classification_needs_two_classes(classes):
    with pytest.raises(ValueError, match="'y': classification with classes"):
        Target("y", "classification", classes)


def test_a_regression_has_no_classes():
    with pytest.raises(ValueError, match="'y': regression with classes"):
        Target("y", "regression", (1, 2))


@pytest.mark.parametrize("targets", [(), (TARGET, TARGET)])
def test_a_spec_has_one_target(targets):
    with pytest.raises(ValueError, match=f"one target, got {len(targets)}"):
        Spec((), (), targets)


@pytest.mark.parametrize(
    "target",
    [
        TARGET,
        Target("y", "regression"),
        Target("y", "classification", (False, True), True),
        Target("y", "classification", (0.5, 1.5, 2.5)),
    ],
)
def test_a_spec_comes_back_from_json(target):
    spec = Spec(
        (NumericFeature("age", "age", (0.0, 0.1, 1.0)), NumericFeature("age is missing", "age")),
        (CategoricalFeature("kind", "kind", 4),),
        (target,),
    )
    again = Spec.from_json(through_json(spec.to_json()))
    assert again == spec
    assert [type(label) for label in again.target.classes] == [
        type(label) for label in target.classes
    ]


def test_a_spec_counts_its_inputs_and_outputs():
    categories = (CategoricalFeature("a", "a", 4), CategoricalFeature("b", "b", 3))
    spec = Spec((NumericFeature("x", "x"),), categories, (TARGET,))
    assert (spec.outputs, spec.cardinalities, spec.flat_width) == (2, (4, 3), 8)
    assert Spec((), (), (Target("y", "regression"),)).outputs == 1


def test_an_epoch_record_is_plain_json():
    record = EpochRecord(1, 0.5, None, {"train_accuracy": 0.9}, "converging")
    assert through_json(record.to_json())["metrics"] == {"train_accuracy": 0.9}


def test_a_bad_row_unpacks():
    row, error = BadRow(3, "two cells where three are due")
    assert (row, error) == (3, "two cells where three are due")


def test_reading_the_contracts_imports_neither_torch_nor_pyarrow():
    code = "import sys, sightline.contracts; print({'torch', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


ONE_OF_EACH = [
    SetLearningRate(0.1), SetWeightDecay(0.0), SetBatchSize(32), SetMicroBatch(8), SetEpochs(9),
    Freeze("hidden.0"), Unfreeze("embeddings"), Widen("hidden.0", 128), Deepen("hidden.0"),
    Replace("hidden.0", "GELU()"), Reload("net.py:Net", "0" * 64), Stop(), Stop("enough"),
]  # fmt: skip


def test_there_is_one_of_each_edit():
    assert {type(edit) for edit in ONE_OF_EACH} == set(EDITS.values())
    assert all(issubclass(kind, Edit) for kind in EDITS.values())


@pytest.mark.parametrize("edit", ONE_OF_EACH, ids=lambda edit: type(edit).__name__)
def test_an_edit_comes_back_from_json(edit):
    assert edit_from_json(through_json(edit.to_json())) == edit
    with pytest.raises(FrozenInstanceError):
        edit.anything = 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "no edit None; the edits are SetLearningRate, "),
        ({"edit": "Edit"}, "no edit 'Edit'"),
        ({"edit": "Enlarge", "name": "x"}, "no edit 'Enlarge'"),
        ({"edit": "Freeze"}, "Freeze has the fields name: name is missing"),
        (
            {"edit": "Freeze", "name": "x", "width": 3},
            "Freeze has the fields name: 'width' is unknown",
        ),
    ],
)
def test_what_is_no_edit_is_refused(data, said):
    before = dict(data)
    with pytest.raises(ValueError, match=said):
        edit_from_json(data)
    assert data == before


def test_a_module_is_taken_by_its_text():
    class Layer:
        def __repr__(self):
            return "Tanh()"

    assert Replace("hidden.0.activation", Layer()) == Replace("hidden.0.activation", "Tanh()")


def test_an_event_is_plain_json():
    event = Event("edit", 3, 1, "said", {"edit": Freeze("x").to_json()})
    assert Event(**through_json(event.to_json())) == event
