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
