"""Whole models as ONNX: the same answers, every output, in one file."""

import json

import numpy as np
import onnx
import pytest

import sightline as sl
from sightline.errors import ExportError, NetworkError, OptionError
from sightline.predict import parity
from sightline.predict.parts import PARTS, Part
from tests.export.test_networks import Branching, Normed
from tests.predict.tables import columns, train

RANDOM = np.random.default_rng(0)
ROWS = 240
KINDS = {"city": "categorical", "note": "text", "paid": "boolean"}


def table(task):
    x = RANDOM.normal(size=ROWS)
    heavy = np.exp(RANDOM.normal(size=ROWS) * 6)
    city = RANDOM.choice(["Oslo", "Wien", "3", "007"], ROWS)
    days = np.datetime64("2020-01-01", "us") + RANDOM.integers(0, 900, ROWS) * np.timedelta64(
        1, "D"
    )
    note = [" ".join(RANDOM.choice(["red", "old", "fine", "Äpfel"], 3)) for _ in range(ROWS)]
    score = x + (city == "Wien") + np.array(["red" in text for text in note])
    y = {"number": score * 1000 + 5e4, "two": np.where(score > 1, "yes", "no"),
         "three": np.digitize(score, [0.3, 1.5]), "flag": score > 1}[task]  # fmt: skip
    return {
        "x": np.where(RANDOM.random(ROWS) < 0.1, np.nan, x), "heavy": heavy,
        "city": [None if i % 23 == 0 else str(c) for i, c in enumerate(city)], "day": days, "note": note,
        "paid": [None if i % 29 == 0 else bool(i % 3) for i in range(ROWS)], "y": y.tolist(),
    }  # fmt: skip


FITS = {
    "two": {}, "three": {}, "number": {}, "flag": {"threshold": "f1"}, "balanced": {"class_weights": "balanced"},
    "best": {"quality": "default", "epochs": 3}, "network": {"trees": False}, "mlp": {"network": "MLP"},
    "own": {"network": Normed}, "number mlp": {"network": "MLP", "numeric": "robust"},
}  # fmt: skip
TASKS = {
    "balanced": "two",
    "best": "number",
    "network": "three",
    "mlp": "three",
    "own": "two",
    "number mlp": "number",
}


@pytest.fixture(scope="module", params=FITS)
def exported(request, tmp_path_factory):
    """A model, its export, and the table."""
    folder = tmp_path_factory.mktemp("onnx")
    data = table(TASKS.get(request.param, request.param))
    options = {"quality": "fast", "epochs": 2, **FITS[request.param]}
    if "network" in options:
        del options["quality"]
    run = sl.fit(
        data,
        "y",
        kinds=KINDS,
        quiet=True,
        report=False,
        baselines=False,
        run=folder / "run",
        **options,
    )
    result = run.model.to_onnx(folder / "m.onnx", check=data)
    return run.model, sl.OnnxModel.load(folder / "m.onnx"), data, result


def test_it_answers_alike(exported):
    model, onnx_model, data, result = exported
    assert result["largest_difference"] <= 1e-5
    assert result["rows"] > parity.USUAL_ROWS + ROWS
    ours, theirs = onnx_model.predictions(data), model.predictions(data)
    scale = 1 if model.task.classification else model.task.scale
    np.testing.assert_allclose(ours.values / scale, theirs.values / scale, rtol=0, atol=1e-5)
    if model.task.classification:
        assert (ours.labels == theirs.labels).all()
        assert ours.labels.dtype == theirs.labels.dtype
    for what in ("missing", "unseen", "out_of_range"):
        assert getattr(ours, what) == getattr(theirs, what)
    own, other = onnx_model.evaluate(data), model.evaluate(data)
    for name, value in other.items():
        if isinstance(value, float):
            assert own[name] == pytest.approx(value, rel=1e-4, abs=1e-5)


def test_every_output_is_what_the_model_says(exported):
    model, onnx_model, data, _ = exported
    inputs = onnx_model.inputs(data)
    names = [output.name for output in onnx_model.session.get_outputs()]
    found = dict(zip(names, onnx_model.session.run(names, inputs), strict=True))
    values = model.predictions(data).values
    encoded = model.encoder.open(model.read(data))(slice(0, ROWS))
    parts = {
        name: part.detach().numpy() for name, part in model.parts(*model.inputs(encoded)).items()
    }
    if not model.task.classification:
        scale = model.task.scale
        np.testing.assert_allclose(found["value"], values[:, 0], rtol=0, atol=1e-5 * scale)
        for name, part in parts.items():
            np.testing.assert_allclose(
                found[f"value_{name}"], part[:, 0], rtol=0, atol=1e-5 * scale
            )
        if model.conformal is not None:
            np.testing.assert_allclose(
                found["interval"], model.predict_interval(data), rtol=0, atol=1e-5 * scale
            )
        return
    assert found["label"].tolist() == model.predict(data).tolist()
    np.testing.assert_allclose(found["probabilities"], values, rtol=0, atol=1e-5)
    for name, part in parts.items():
        np.testing.assert_allclose(found[f"probabilities_{name}"], np.exp(part), rtol=0, atol=1e-5)
    if model.conformal is not None:
        assert found["set"].tolist() == model.predict_set(data).tolist()
    if "probabilities_members" in found:
        np.testing.assert_allclose(
            found["probabilities_members"].mean(axis=1), found["probabilities_network"], atol=1e-6
        )


def test_the_file_is_whole_and_holds_no_code(exported, tmp_path):
    model, onnx_model, _, _ = exported
    model.to_onnx(tmp_path / "m.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]
    proto = onnx.load(tmp_path / "m.onnx")
    assert not any(tensor.external_data for tensor in proto.graph.initializer)
    kinds = {(node.domain, node.op_type) for node in proto.graph.node}
    assert {domain for domain, _ in kinds} <= {"", "ai.onnx.ml"}
    assert not {kind for _, kind in kinds} & {
        "Loop",
        "Scan",
        "If",
        "SequenceConstruct",
        "RandomNormalLike",
    }
    assert not proto.functions
    metadata = onnx_model.metadata
    assert metadata["classes"] == list(model.spec.target.texts)
    assert metadata["versions"]["sightline"]
    assert metadata["inputs"]["x"] == {"how": "number", "type": "float64"}
    assert metadata["inputs"]["city"]["type"] == "string"
    assert metadata["inputs"]["paid"]["type"] == "bool"
    assert metadata["inputs"]["day"] == {"how": "date", "type": "int64"}
    json.dumps(metadata, allow_nan=False)


def test_every_kind_of_part_can_be_written():
    for part in PARTS.values():
        assert not part.__abstractmethods__
        assert any("write" in vars(one) for one in part.__mro__ if one is not Part)


def test_a_row_alone_and_in_a_crowd(exported):
    _, onnx_model, data, _ = exported
    whole = onnx_model.predictions(data).values
    for row in (0, 23, 29, 100):
        one = onnx_model.predictions({name: values[row] for name, values in data.items()}).values
        np.testing.assert_allclose(one[0], whole[row], rtol=1e-6)
    assert (
        onnx_model.predictions({name: values[:0] for name, values in data.items()}).values.shape[0]
        == 0
    )


@pytest.fixture(scope="module")
def every():
    return train(columns())


def test_columns_named_like_outputs(tmp_path):
    data = columns()
    data = {
        "label": data["size"],
        "probabilities": data["city"],
        "set": data["paid"],
        "y": data["y"],
    }
    model = train(
        data, kinds={"label": "numeric", "probabilities": "categorical", "set": "boolean"}
    )
    model.to_onnx(tmp_path / "m.onnx")
    again = sl.OnnxModel.load(tmp_path / "m.onnx")
    assert again.output_names["label"] == "output.label"
    np.testing.assert_allclose(again.predict_proba(data), model.predict_proba(data), atol=1e-6)


@pytest.mark.parametrize(
    "drop", [("city", "paid"), ("size", "day", "note"), ("size", "note", "city", "paid")]
)
def test_tables_with_few_kinds_of_columns(drop, tmp_path):
    data = {name: values for name, values in columns().items() if name not in drop}
    model = train(data)
    assert model.to_onnx(tmp_path / "m.onnx")["largest_difference"] <= 1e-5


def test_alpha_that_the_model_does_not_allow(tmp_path, species):
    run = sl.fit("examples/penguins.csv", "species", quality="fast", quiet=True, report=False,
                 baselines=False, run=tmp_path / "r")  # fmt: skip
    run.model.to_onnx(tmp_path / "m.onnx", alpha=0.3)
    again = sl.OnnxModel.load(tmp_path / "m.onnx")
    assert again.metadata["alpha"] == 0.3
    rows = "examples/penguins.csv"
    found = again.session.run(["set"], again.inputs(rows))[0]
    assert found.tolist() == run.model.predict_set(rows, 0.3).tolist()
    with pytest.raises(OptionError, match="no alpha below"):
        run.model.to_onnx(tmp_path / "n.onnx", alpha=1e-6)
    assert not (tmp_path / "n.onnx").exists()


def test_without_calibration_sets_are_left_out_and_said(tmp_path, every):
    every.to_onnx(tmp_path / "m.onnx")
    again = sl.OnnxModel.load(tmp_path / "m.onnx")
    assert "set" not in again.output_names
    assert "not calibrated" in again.metadata["left_out"]
    with pytest.raises(OptionError, match="not calibrated"):
        every.to_onnx(tmp_path / "n.onnx", alpha=0.1)


def test_a_network_that_branches_is_refused_and_writes_nothing(tmp_path):
    model = train(columns(), network=Branching)
    with pytest.raises(NetworkError, match="Branching"):
        model.to_onnx(tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_holds_both(tmp_path, every):
    every.save(tmp_path / "both.sightline", onnx=True)
    every.save(tmp_path / "alone.sightline")
    data = columns()
    again = sl.OnnxModel.load(tmp_path / "both.sightline")
    np.testing.assert_allclose(again.predict_proba(data), every.predict_proba(data), atol=1e-6)
    model = sl.Model.load(tmp_path / "both.sightline")
    np.testing.assert_array_equal(model.predict_proba(data), every.predict_proba(data))
    with pytest.raises(sl.SightlineError, match="--into-bundle"):
        sl.OnnxModel.load(tmp_path / "alone.sightline")


# ------------------------------------------------------------- the check


def altered(model, change):
    """Return the export of a model after a change of its graph."""
    from sightline.predict import to_onnx

    proto = to_onnx.build(model._contents())
    change(proto.graph)
    return proto


def check(model, proto):
    return parity.checked(model, model._contents(), proto)


def initializer(graph, shape, dtype):
    return next(t for t in graph.initializer if tuple(t.dims) == shape and t.data_type == dtype)


def test_a_graph_that_differs_is_refused_with_row_and_column(every):
    def weights(graph):
        found = next(
            t for t in graph.initializer if t.name.startswith("/network/") and len(t.dims) == 2
        )
        found.CopyFrom(
            onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(found) * 1.01, found.name)
        )

    with pytest.raises(
        ExportError, match=r"differs from the model by .* in row [\d,]+ \(|made-up row"
    ):
        check(every, altered(every, weights))


def test_a_difference_in_nasty_values_alone_names_the_column(every):
    def unseen(graph):
        node = next(n for n in graph.node if n.op_type == "LabelEncoder")
        default = next(a for a in node.attribute if a.name == "default_int64")
        default.i = 3  # what was never seen is taken for a known city

    with pytest.raises(ExportError, match="the column 'city' is 'never seen'"):
        check(every, altered(every, unseen))


def test_a_label_that_does_not_follow_is_refused(every):
    def labels(graph):
        node = next(n for n in graph.node if n.op_type == "ArgMax")
        node.op_type = "ArgMin"

    with pytest.raises(ExportError, match="output 'label' does not follow"):
        check(every, altered(every, labels))


def test_a_graph_that_cannot_be_run_is_refused(every):
    def fixed(graph):
        graph.node.insert(
            len(graph.node), onnx.helper.make_node("Expand", ["/features", "/three"], ["/e"])
        )
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([3, 1]), "/three"))
        output = next(n for n in graph.node if list(n.output) == ["probabilities"])
        graph.node.append(onnx.helper.make_node("ReduceSum", ["/e"], ["/s"], keepdims=0))
        graph.node.append(onnx.helper.make_node("Add", [output.input[0], "/s"], ["/t"]))
        output.input[0] = "/t"
        graph.node.remove(output)
        graph.node.append(output)

    with pytest.raises(ExportError, match="cannot run the graph on"):
        check(every, altered(every, fixed))


def test_ties_are_counted_and_other_decisions_refused(every):
    comparison = parity._Comparison(every, every._contents(), None)
    theirs = every.predictions(columns())
    other = theirs.labels.copy()
    other[0] = next(label for label in every.classes if label != other[0])
    from dataclasses import replace

    ours = replace(theirs, labels=other)
    with pytest.raises(ExportError, match="decides for"):
        comparison._ties(theirs, ours, np.arange(len(other)))
    even = replace(theirs, values=np.full_like(theirs.values, 0.5))
    assert comparison._ties(even, ours, np.arange(len(other))) == 1


# ------------------------------------------------------------- whole numbers, boundaries


def test_rows_read_already_keep_their_fractions():
    """A table read for the model, in whose training rows a column held integers alone."""
    data = {"x": list(range(60)), "y": ["a", "b"] * 30}
    model = train(data, kinds={"x": "numeric"})
    rows = {"x": [1.5, 2.0, None]}
    np.testing.assert_array_equal(model.predict_proba(model.read(rows)), model.predict_proba(rows))
