"""`sightline export`, and the commands that take its file."""

import csv
import json

import pytest

import sightline as sl


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ship")
    run = sl.fit("examples/penguins.csv", "species", quality="fast", quiet=True, report=False,
                 baselines=False, run=folder / "run")  # fmt: skip
    return folder, run


def test_export_predict_and_evaluate(made, sightline, tmp_path):
    folder, run = made
    said = sightline("export", str(folder / "run"), "-o", str(tmp_path / "m.onnx"))
    assert said.code == 0
    assert "differs from the model by at most" in said.out
    said = sightline(
        "predict", str(tmp_path / "m.onnx"), "examples/penguins.csv", "-o", str(tmp_path / "p.csv")
    )
    assert said.code == 0
    with (tmp_path / "p.csv").open(encoding="utf-8") as file:
        assert [row["prediction"] for row in csv.DictReader(file)] == run.model.predict(
            "examples/penguins.csv"
        ).tolist()
    ours = json.loads(
        sightline("evaluate", str(tmp_path / "m.onnx"), "examples/penguins.csv", "--json").out
    )
    theirs = json.loads(
        sightline("evaluate", str(folder / "run"), "examples/penguins.csv", "--json").out
    )
    assert ours["log_loss"] == pytest.approx(theirs["log_loss"], rel=1e-4)


def test_into_the_bundle(made, sightline, tmp_path):
    folder, run = made
    path = tmp_path / "copy.sightline"
    said = sightline("export", str(folder / "run"), "--into-bundle", "-o", str(path), "--json",
                   "--check", "examples/penguins.csv", "--alpha", "0.2")  # fmt: skip
    assert said.code == 0
    body = json.loads(said.out)
    assert body["largest_difference"] <= 1e-5
    assert body["rows"] > 1344
    assert sl.OnnxModel.load(path).metadata["alpha"] == 0.2
    run.model.save(tmp_path / "own.sightline")
    assert (
        sightline("export", str(tmp_path / "own.sightline"), "--into-bundle", "--quiet").out == ""
    )
    assert sl.OnnxModel.load(tmp_path / "own.sightline").classes == run.model.classes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export", "{run}"], "Give -o model.onnx, or --into-bundle"),
        (["export", "{model}", "-o", "{model}"], "which the export would overwrite"),
        (["export", "{run}", "-o", "{run}/model.sightline"], "which the export would overwrite"),
        (["export", "{run}", "-o", "{folder}/none/m.onnx"], "none/m.onnx"),
        (["export", "{run}", "-o", "{folder}/m.onnx", "--alpha", "2"], "alpha is 2"),
        (["export", "nowhere", "-o", "{folder}/m.onnx"], "does not exist"),
        (["explain", "{onnx}", "examples/penguins.csv"], "needs the .sightline file"),
        (["export", "{onnx}", "-o", "{folder}/m.onnx"], "needs the .sightline file"),
        (["evaluate", "{onnx}"], "does not know its test rows"),
        (["predict", "{onnx}", "examples/penguins.csv", "--network", "a.py:B"], "needs no --network"),
    ],
)  # fmt: skip
def test_what_is_refused(made, sightline, tmp_path, arguments, words):
    folder, run = made
    run.model.save(tmp_path / "m.sightline")
    run.model.to_onnx(tmp_path / "x.onnx")
    names = {
        "run": folder / "run",
        "folder": tmp_path,
        "model": tmp_path / "m.sightline",
        "onnx": tmp_path / "x.onnx",
    }
    said = sightline(*[argument.format(**names) for argument in arguments])
    assert said.code == 2
    assert words in said.err


def test_a_requirement_decides_the_exit_code(made, sightline, tmp_path):
    folder, run = made
    model, rows = str(folder / "run"), "examples/penguins.csv"
    assert (
        sightline(
            "evaluate", model, rows, "--require", "accuracy>=0.5", "--require", "log_loss<=2"
        ).code
        == 0
    )
    said = sightline(
        "evaluate",
        model,
        rows,
        "--require",
        "accuracy>=0.5",
        "--require",
        "accuracy>=1.5",
        "--json",
    )
    assert said.code == 1
    assert json.loads(said.out)["accuracy"] <= 1
    assert "Not met: accuracy must be at least 1.5, but is " in said.err
    said = sightline("evaluate", model, "nowhere.csv", "--require", "accuracy>0.5")
    assert said.code == 2
    assert "METRIC>=NUMBER" in said.err
    run.model.to_onnx(tmp_path / "m.onnx")
    assert (
        sightline("evaluate", str(tmp_path / "m.onnx"), rows, "--require", "log_loss<=0").code == 1
    )


def test_inspect_says_what_the_file_holds(made, sightline, tmp_path):
    _, run = made
    run.model.to_onnx(tmp_path / "m.onnx")
    said = sightline("inspect", str(tmp_path / "m.onnx"))
    assert said.code == 0
    assert "an ONNX model, written by Sightline" in " ".join(said.out.split())
    assert "Predicts species, classification: Adelie, Chinstrap, Gentoo." in said.out
    assert "bill_length_mm" in said.out
    body = json.loads(sightline("inspect", str(tmp_path / "m.onnx"), "--json").out)
    assert [value["name"] for value in body["outputs"]][:2] == ["label", "probabilities"]
    assert body["inputs"][0] == {"name": "island", "type": "tensor(string)", "shape": ["rows", 1]}


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    """A model of two classes, and the same fit with a threshold."""
    folder = tmp_path_factory.mktemp("threshold")
    fit = {"quality": "fast", "quiet": True, "report": False, "baselines": False}
    for name, threshold in (("plain", None), ("given", 0.37)):
        sl.fit("examples/penguins.csv", "sex", run=folder / name, threshold=threshold, **fit)
    return folder


def test_a_threshold_by_hand_is_that_of_a_fit_with_it(binary, sightline, tmp_path):
    path = tmp_path / "new.sightline"
    said = sightline("threshold", str(binary / "plain"), "0.37", "-o", str(path))
    assert said.code == 0
    assert "at least 0.37, as requested." in said.out
    assert "It was 0.5 in" in said.out
    given, plain, new = (sl.Model.load(p) for p in (binary / "given", binary / "plain", path))
    rows = "examples/penguins.csv"
    assert (new.predict(rows) == given.predict(rows)).all()
    assert (new.predict(rows) != plain.predict(rows)).any()
    assert (new.predict_proba(rows) == plain.predict_proba(rows)).all()
    assert new.threshold == given.threshold
    assert new.provenance["options"]["model"] == given.provenance["options"]["model"]
    assert new.card.count("Changed after the fit") == 1
    assert "type: accuracy" in plain.card
    assert "accuracy" not in new.card.split("---")[1]  # programs read it there
    assert "log_loss" in new.card.split("---")[1]
    said = sightline(
        "threshold", str(path), "0.4", "-o", str(tmp_path / "newer.sightline"), "--json"
    )
    assert json.loads(said.out)["before"] == 0.37
    newer = sl.Model.load(tmp_path / "newer.sightline")
    assert newer.card.count("Changed after the fit") == 1
    assert "is now 0.4." in newer.card
    assert json.loads(sightline("evaluate", str(path), "--json").out)["accuracy"] == pytest.approx(
        json.loads(sightline("evaluate", str(binary / "given"), "--json").out)["accuracy"]
    )


def test_a_model_with_onnx_inside_keeps_it(binary, sightline, tmp_path):
    own, new = tmp_path / "own.sightline", tmp_path / "new.sightline"
    sl.Model.load(binary / "plain").save(own, onnx=True, alpha=0.2)
    assert sightline("threshold", str(own), "0.37", "-o", str(new), "--quiet").out == ""
    onnx = sl.OnnxModel.load(new)
    assert onnx.metadata["alpha"] == 0.2
    assert onnx.threshold.value == 0.37


@pytest.mark.parametrize(
    ("value", "words"),
    [("f1", "f1 is a metric"), ("often", "'often' is not a number"), ("0", "between 0 and 1"), ("1.5", "between 0 and 1")],
)  # fmt: skip
def test_thresholds_that_are_refused(binary, sightline, tmp_path, value, words):
    said = sightline("threshold", str(binary / "plain"), value, "-o", str(tmp_path / "t.sightline"))
    assert said.code == 2
    assert words in said.err
    assert not (tmp_path / "t.sightline").exists()


def test_a_threshold_needs_two_classes_and_another_file(made, binary, sightline, tmp_path):
    folder, _ = made
    said = sightline("threshold", str(folder / "run"), "0.3", "-o", str(tmp_path / "t.sightline"))
    assert "has 3 classes: a threshold is for two classes" in said.err
    own = binary / "plain" / "model.sightline"
    before = own.read_bytes()
    said = sightline("threshold", str(binary / "plain"), "0.3", "-o", str(own))
    assert "is the model itself, which is kept" in said.err
    assert own.read_bytes() == before
