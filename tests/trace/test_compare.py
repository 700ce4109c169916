"""Runs side by side, from their records alone."""

import io
import json

import pytest

import sightline as sl
from sightline.errors import RunError
from sightline.trace.compare import compare
from sightline.trace.records import TRACE_FILE, Trace
from sightline.views.terminal import TerminalView


@pytest.fixture(scope="module")
def runs(tmp_path_factory, penguins):
    folder = tmp_path_factory.mktemp("compared")
    options = {"network": "MLP", "baselines": False, "epochs": 2, "device": "cpu", "quiet": True}
    sl.fit(penguins, "species", run=folder / "a", **options)
    sl.fit(penguins, "species", run=folder / "same", **options)
    sl.fit(penguins, "species", run=folder / "b", learning_rate=0.01, ema=0.9, numeric="minmax",
           **{**options, "network": lambda spec: sl.MLP(spec, hidden=[8, 8])})  # fmt: skip
    (folder / "cut").mkdir()
    lines = (folder / "a" / TRACE_FILE).read_bytes().splitlines(keepends=True)
    until = next(n for n, line in enumerate(lines) if b'"type": "epoch"' in line)
    (folder / "cut" / TRACE_FILE).write_bytes(b"".join(lines[: until + 1]))
    return folder


def test_what_differs_and_how_well_each_did(runs):
    found = compare(runs / "a", runs / "b")
    assert found["runs"] == [str(runs / "a"), str(runs / "b")]
    assert found["settings"] == {
        "numeric": [None, "minmax"], "learning_rate": [0.001, 0.01], "ema": [None, 0.9],
        "network.hidden": [[64], [8, 8]],
    }  # fmt: skip
    assert found["same"] > 30
    for place, name in enumerate("ab"):
        run = sl.Run(runs / name)
        metrics = {key: values[place] for key, values in found["metrics"].items()}
        end = run.find("train", "end")[0].body
        assert metrics["accuracy"] == run.metrics["accuracy"]
        assert metrics["part"] == "test"
        assert metrics["valid_loss"] == run.epochs[end["best_epoch"]].valid_loss
        assert (metrics["epochs"], metrics["steps"], metrics["edits"]) == (2, 18, 0)
        assert metrics["parameters"] == end["parameters"]
    json.dumps(found, allow_nan=False)


def test_the_same_settings_give_the_same_numbers(runs):
    found = compare(runs / "a", runs / "same")
    assert found["settings"] == {}
    same = {name: values for name, values in found["metrics"].items() if name != "seconds"}
    assert all(one == two for one, two in same.values())


def made(folder, name, start, metrics):
    trace = Trace()
    trace.save_to(folder / name)
    trace.write("run", "start", start)
    trace.write("predict", "metrics", metrics)
    trace.close()
    return folder / name


START = {
    "target": {"name": "y"},
    "origin": {"fingerprint": "f"},
    "split": {"seed": 0, "folds": 5, "test": 0.1},
}


def test_the_better_value_of_each_metric(tmp_path):
    first = {
        "part": "test",
        "accuracy": 0.8,
        "log_loss": 0.4,
        "rmse": 2.0,
        "r2": None,
        "roc_auc": 0.9,
    }
    other = {
        "part": "test",
        "accuracy": 0.9,
        "log_loss": 0.5,
        "rmse": 1.0,
        "r2": 0.5,
        "roc_auc": 0.9,
    }
    one, two = made(tmp_path, "one", START, first), made(tmp_path, "two", START, other)
    three = made(tmp_path, "three", START, first | {"rmse": "NaN"})
    found = compare(one, two, three)
    assert found["better"] == {"accuracy": [1], "log_loss": [0, 2], "rmse": [1]}
    assert found["warnings"] == []
    TerminalView(file := io.StringIO()).compared(found)
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in file.getvalue().splitlines()
    ]
    assert ["accuracy", "0.800", "0.900 *", "0.800"] in lines
    assert ["log_loss", "0.400 *", "0.500", "0.400 *"] in lines
    assert "* the best value of a metric." in file.getvalue()


@pytest.mark.parametrize(
    ("other", "part", "warning"),
    [
        (START | {"target": {"name": "z"}}, "test", "The runs predict different targets"),
        (START | {"origin": {"fingerprint": "g"}}, "test", "The tables of the runs differ"),
        (START | {"split": {"seed": 1, "test": 0.1}}, "test", "The runs were split differently (seed)"),
        (START | {"split": {"seed": 1, "test": 0.2}}, "test", "The runs were split differently (seed, test)"),
        (START, "validation", "The metrics are of different parts"),
    ],
)  # fmt: skip
def test_metrics_of_other_rows_are_not_compared(tmp_path, other, part, warning):
    one = made(tmp_path, "one", START, {"part": "test", "accuracy": 0.8})
    two = made(tmp_path, "two", other, {"part": part, "accuracy": 0.9})
    found = compare(one, two)
    assert found["better"] == {}
    (sentence,) = found["warnings"]
    assert sentence.startswith(warning)
    TerminalView(file := io.StringIO()).compared(found)
    assert f"Warning: {warning}" in " ".join(file.getvalue().split())


def test_runs_with_other_folds_have_the_same_test_rows(tmp_path):
    one = made(tmp_path, "one", START, {"part": "test", "accuracy": 0.8})
    two = made(tmp_path, "two", START | {"split": {"seed": 0, "folds": 0, "valid": 0.1, "test": 0.1}},
               {"part": "test", "accuracy": 0.9})  # fmt: skip
    assert compare(one, two)["better"] == {"accuracy": [1]}


def test_a_run_alone_and_three(runs):
    assert compare(runs / "a")["settings"] == {}
    three = compare(runs / "a", runs / "b", runs / "same")
    assert three["settings"]["learning_rate"] == [0.001, 0.01, 0.001]


def test_a_run_that_was_cut_off_has_what_it_has(runs):
    found = compare(runs / "a", runs / "cut")
    assert found["settings"] == {}
    assert found["metrics"]["accuracy"][1] is None
    assert found["metrics"]["epochs"] == [2, 0]


def test_edits_are_settings(runs, tmp_path):
    for name, said in (("one", "learning rate 0.1 -> 0.2"), ("two", None)):
        trace = Trace()
        trace.save_to(tmp_path / name)
        if said:
            trace.write("train", "edit", {"step": 1234, "said": said})
        trace.close()
    found = compare(tmp_path / "one", tmp_path / "two")
    assert found["settings"] == {"edits": [["after step 1,234: learning rate 0.1 -> 0.2"], []]}


def test_no_run(runs, tmp_path):
    with pytest.raises(RunError, match="is no run folder"):
        compare(runs / "a", tmp_path)


def test_on_the_command_line(runs, sightline, monkeypatch):
    monkeypatch.chdir(runs)
    said = sightline("compare", "a", "b", "--json")
    assert (said.code, said.err) == (0, "")
    assert json.loads(said.out) == json.loads(json.dumps(compare("a", "b")))
    said = sightline("compare", "a", "b")
    assert said.code == 0
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in said.out.splitlines()]
    assert ["learning_rate", "0.001", "0.010"] in rows
    assert ["network.hidden", "[64]", "[8, 8]"] in rows
    assert ["ema", "-", "0.900"] in rows
    assert any(row[:1] == ["accuracy"] for row in rows)
    assert f"{compare('a', 'b')['same']} settings are the same." in said.out
    assert "Settings that differ: none." in sightline("compare", "a", "same").out
    assert sightline("compare").code == 2
    refused = sightline("compare", "a", "nowhere")
    assert refused.code == 2
    assert "nowhere is no run folder" in refused.err


def test_names_are_shown_not_obeyed():
    evil = "x\x1b[31m[red]"
    view = TerminalView(file := io.StringIO())
    said = {"runs": [evil, "b"], "settings": {evil: [evil, None]}, "metrics": {"accuracy": [0.5, None]},
            "same": 3}  # fmt: skip
    view.compared(said)
    assert "\x1b" not in file.getvalue()
    assert "[red]" in file.getvalue()
    assert "3 settings are the same." in file.getvalue()


def test_the_parts_of_the_model_and_the_threshold_are_settings(penguins, tmp_path):
    for name, options in (("a", {}), ("b", {"threshold": 0.3}), ("c", {"trees": False})):
        sl.fit(
            penguins,
            "sex",
            quality="fast",
            epochs=1,
            run=tmp_path / name,
            quiet=True,
            report=False,
            baselines=False,
            **options,
        )
    assert sl.compare(tmp_path / "a", tmp_path / "b")["settings"] == {
        "recipe.threshold": [None, 0.3]
    }
    assert sl.compare(tmp_path / "a", tmp_path / "c")["settings"]["recipe.trees"] == [True, False]
