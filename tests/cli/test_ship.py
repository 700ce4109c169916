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
