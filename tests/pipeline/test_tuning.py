"""Many fits on one split, compared on rows that they did not learn from."""

import json
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest

import sightline as sl
from sightline.errors import DataError, NetworkError, OptionError, RunError
from sightline.page.tuning import tuning_page
from sightline.pipeline.beginnings import Fresh
from sightline.pipeline.tuning import Choice, Range, parse_space, parse_vary

QUICK = {"quality": "fast", "epochs": 3, "report": False, "baselines": False, "trees": False, "quiet": True}  # fmt: skip
SPACE = {
    "learning_rate": (1e-4, 1e-2),
    "hidden": [[8], [16, 16]],
    "numeric": ["robust", "quantile"],
}


@pytest.fixture
def rows(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=(240, 2))
    frame = pd.DataFrame({"x": x[:, 0], "z": x[:, 1], "y": np.where(x[:, 0] * x[:, 1] > 0, "a", "b")})  # fmt: skip
    frame.to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path / "rows.csv"


def tune(rows, folder, trials=6, **options):
    return sl.tune(rows, "y", trials=trials, folder=folder, space=options.pop("space", SPACE), **{**QUICK, **options})  # fmt: skip


def test_the_first_trial_is_the_default_and_the_best_one_is_fitted_again(rows, tmp_path):
    # By default 3 epochs are too few at this rate, so that other trials are better.
    tuned = tune(rows, tmp_path / "t", prune=False, space={**SPACE, "learning_rate": (4e-3, 3e-2)})
    assert [trial.number for trial in tuned.trials] == list(range(6))
    assert tuned.trials[0].values == {}
    assert all(set(trial.values) == set(SPACE) for trial in tuned.trials[1:])
    for trial in tuned.trials[1:]:
        assert 4e-3 <= trial.values["learning_rate"] <= 3e-2
        assert trial.values["hidden"] in SPACE["hidden"]
        assert trial.state == "complete"
        assert trial.epochs == 3
    assert tuned.best.loss == min(trial.loss for trial in tuned.trials)
    run = tuned.run
    options = run.find("run", "start")[-1].body["options"]
    assert tuned.best.values  # not the default options
    assert options["training"]["learning_rate"] == tuned.best.values["learning_rate"]
    assert run.model.network.config()["hidden"] == list(tuned.best.values["hidden"])
    assert run.model.transform.scaling == tuned.best.values["numeric"]
    assert run.metrics["part"] == "test"
    # The last fit is that of the trial: its loss on held-out rows is the same.
    assert min(e.valid_loss for e in run.epochs) == pytest.approx(tuned.best.loss, rel=0.1)
    assert json.loads((tmp_path / "t" / "trials.json").read_text())["best"]["number"] == tuned.best.number  # fmt: skip


def test_the_default_trial_is_an_ordinary_fit(rows, tmp_path):
    tuned = tune(rows, tmp_path / "t", trials=1, trees=True)
    run = sl.fit(rows, "y", run=tmp_path / "r", **{**QUICK, "trees": True})
    assert tuned.best.values == {}
    assert tuned.run.metrics["log_loss"] == run.metrics["log_loss"]
    assert tuned.sentences()[-1] == "The default options are the best."


def test_the_same_seed_gives_the_same_trials(rows, tmp_path):
    first, second = tune(rows, tmp_path / "a", trials=4), tune(rows, tmp_path / "b", trials=4)
    assert [(t.values, t.loss) for t in first.trials] == [(t.values, t.loss) for t in second.trials]
    other = tune(rows, tmp_path / "c", trials=4, seed=1)
    assert [t.values for t in other.trials] != [t.values for t in first.trials]


def test_trials_that_are_worse_than_most_are_pruned(rows, tmp_path):
    space = {"learning_rate": [1e-6, 5e-3]}
    tuned = tune(rows, tmp_path / "t", trials=16, space=space, epochs=6)
    pruned = [trial for trial in tuned.trials if trial.state == "pruned"]
    assert pruned
    assert all(trial.loss is None and trial.epochs < 6 for trial in pruned)
    assert all(trial.values["learning_rate"] == 1e-6 for trial in pruned)


def test_options_that_cannot_be_fitted_fail_alone(rows, tmp_path, monkeypatch):
    class Picky(Fresh):
        def load(self):
            if self.options.model.dropout == 0.4:
                raise DataError("This table does not like dropout <0.4>.", "Leave it out.")
            return super().load()

    monkeypatch.setattr("sightline.pipeline.tuning.Fresh", Picky)
    tuned = tune(rows, tmp_path / "t", trials=9, space={"dropout": [0.1, 0.4]})
    failed = [trial for trial in tuned.trials if trial.state == "failed"]
    assert failed
    assert all("does not like" in trial.error and trial.values["dropout"] == 0.4 for trial in failed)  # fmt: skip
    assert len(tuned.trials) == 9
    assert "dropout &lt;0.4&gt;" in (tmp_path / "t" / "tuning.html").read_text()


def test_default_options_that_cannot_be_fitted_are_an_error_at_once(rows, tmp_path):
    with pytest.raises((OptionError, DataError), match="nope"):
        sl.tune(rows, "nope", trials=3, folder=tmp_path / "t", **QUICK)
    with pytest.raises(OptionError, match="no held-out rows"):
        tune(rows, tmp_path / "u", valid=0)


@pytest.mark.parametrize(
    ("options", "metric"),
    [({}, "out-of-fold loss"), ({"valid": 0.2}, "validation loss"), ({"eval_metric": "roc_auc"}, "out-of-fold roc_auc"),
     ({"network": "MLP"}, "validation loss")],
)  # fmt: skip
def test_what_is_compared(rows, tmp_path, options, metric):
    space = {"learning_rate": (1e-4, 1e-2)}
    tuned = tune(rows, tmp_path / "t", trials=3, space=space, **options, **({"quality": None} if "network" in options else {}))  # fmt: skip
    assert tuned.metric == metric
    assert tuned.run.metrics["accuracy"] > 0
    if "eval_metric" in options:
        assert all(trial.loss is None or trial.loss < 0 for trial in tuned.trials)  # 1 is best


# ------------------------------------------------------------- going on


def test_it_goes_on_where_it_was(rows, tmp_path):
    first = tune(rows, tmp_path / "t", trials=3)
    more = tune(rows, tmp_path / "t", trials=7)
    assert more.trials[:3] == first.trials
    assert len(more.trials) == 7
    assert more.run.folder.name == f"trial-{more.best.number}"
    again = tune(rows, tmp_path / "t", trials=7)
    assert again.trials == more.trials
    assert again.run.metrics == more.run.metrics


def test_killed_it_tries_the_unfinished_trial_again(rows, tmp_path):
    program = f"""
import os, signal, sightline as sl
from sightline.train.training import Training
steps, fits = Training.steps, []
def dies(self):
    fits.append(self)
    for step in steps(self):
        yield step
        if len(fits) == 3 and step.number == 4: os.kill(os.getpid(), signal.SIGKILL)
Training.steps = dies
sl.tune({str(rows)!r}, "y", trials=5, folder={str(tmp_path / "t")!r}, space={SPACE!r}, prune=False, **{QUICK!r})
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    whole = tune(rows, tmp_path / "whole", trials=5, prune=False)
    tuned = tune(rows, tmp_path / "t", trials=5, prune=False)
    assert len(tuned.trials) == 5
    assert [t.values for t in tuned.trials][:3] == [t.values for t in whole.trials][:3]
    assert [t.loss for t in tuned.trials][:3] == [t.loss for t in whole.trials][:3]


def test_another_tuning_in_the_folder_is_refused(rows, tmp_path):
    tune(rows, tmp_path / "t", trials=2)
    for change in (
        {"epochs": 4},
        {"space": {"dropout": (0.0, 0.2)}},
        {"prune": False},
        {"seed": 3},
    ):
        with pytest.raises(RunError, match="holds another tuning"):
            tune(rows, tmp_path / "t", trials=2, **change)
    rows.write_text(rows.read_text().replace("a\n", "c\n", 1))
    with pytest.raises(RunError, match="has changed since the first trials"):
        tune(rows, tmp_path / "t", trials=3)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(RunError, match="is not empty"):
        tune(rows, tmp_path / "other", trials=2)


def test_two_processes_do_not_tune_in_one_folder(rows, tmp_path):
    program = f"""
import sightline as sl
sl.tune({str(rows)!r}, "y", trials=200, folder={str(tmp_path / "t")!r}, space={SPACE!r}, **{QUICK!r})
"""
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "t" / "study.db").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with pytest.raises(RunError, match="Another process tunes"):
            tune(rows, tmp_path / "t", trials=200)
    finally:
        process.kill()
        process.wait()


def test_several_processes(rows, tmp_path):
    tuned = tune(rows, tmp_path / "t", trials=7, workers=2)
    assert len(tuned.trials) == 7
    (default,) = [trial for trial in tuned.trials if trial.default]
    assert default.values == {}
    assert (tmp_path / "t" / "study.journal").exists()
    single = tune(rows, tmp_path / "u", trials=1)
    assert default.loss == pytest.approx(single.trials[0].loss, rel=1e-4)  # the same split
    with pytest.raises(OptionError, match="no column 'nope'"):
        sl.tune(rows, "nope", trials=3, workers=2, folder=tmp_path / "v", **QUICK)


def test_rows_in_memory_and_of_a_database(rows, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    frame = pd.read_csv(rows)
    tuned = tune(frame, tmp_path / "t", trials=2)
    with duckdb.connect(str(tmp_path / "d.duckdb")) as connection:
        connection.execute(f"CREATE TABLE rows AS SELECT * FROM '{rows}'")
    of_query = tune(f"duckdb:///{tmp_path}/d.duckdb", tmp_path / "q", trials=2, query="rows")
    assert [t.loss for t in of_query.trials] == pytest.approx([t.loss for t in tuned.trials])
    (tmp_path / "d.duckdb").unlink()
    assert of_query.run.table.rows == 240


# ------------------------------------------------------------- the space


def test_spaces_are_read():
    space = parse_space({"dropout": (0, 0.3), "accumulate": (1, 4), "learning_rate": (1e-4, 1e-2), "hidden": [[8], [4, 4]]})  # fmt: skip
    assert space == {
        "dropout": Range(0, 0.3), "accumulate": Range(1, 4, whole=True), "learning_rate": Range(1e-4, 1e-2, log=True),
        "hidden": Choice(((8,), (4, 4))),
    }  # fmt: skip
    assert parse_vary([]) is None


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({}, "is empty"), ({"droput": (0, 1)}, "Did you mean 'dropout'"), ({"target": ["a"]}, "cannot be tuned"), ({"seed": (0, 9)}, "cannot be tuned"),
        ({"dropout": (0.3, 0.1)}, "is \\(0.3, 0.1\\)"), ({"dropout": (0,)}, "Give \\(low, high\\)"), ({"dropout": []}, "a list of one value"),
        ({"dropout": (0, float("inf"))}, "Give \\(low, high\\)"), ({"dropout": 0.1}, "a list of one value"),
        ({"drop": [[], ["x"]]}, "cannot be tuned"), ({"kinds": [{}]}, "cannot be tuned"), ({"threshold": [0.3]}, "cannot be tuned"),
    ],
)  # fmt: skip
def test_wrong_spaces(space, said):
    with pytest.raises(OptionError, match=said):
        parse_space(space)


@pytest.mark.parametrize(
    "space",
    [{"batch_size": (8.5, 64.0)}, {"hidden": (16, 64)}, {"hidden": [32, 64]}, {"numeric": ["best"]}, {"dropout": [0.1, 1.5]},
     {"learning_rate": [0.1, -1]}, {"numeric": (0, 1)}],
)  # fmt: skip
def test_values_that_no_fit_takes_are_refused_before_any_trial(rows, tmp_path, space):
    with pytest.raises(OptionError):
        tune(rows, tmp_path / "t", space=space)
    assert not (tmp_path / "t").exists()


def test_a_worker_that_is_killed_loses_no_trial(rows, tmp_path, monkeypatch):
    import multiprocessing.process

    start, started = multiprocessing.process.BaseProcess.start, []

    def kill_when_trials_are_made(process):
        journal, until = tmp_path / "t" / "study.journal", time.monotonic() + 60
        while not journal.exists() or journal.read_bytes().count(b"\n") < 40:
            assert time.monotonic() < until
            time.sleep(0.02)
        process.kill()

    def kills_the_first(self):
        start(self)
        started.append(self)
        if len(started) == 1:
            threading.Thread(target=kill_when_trials_are_made, args=[self]).start()

    monkeypatch.setattr("multiprocessing.process.BaseProcess.start", kills_the_first)
    with pytest.warns(RuntimeWarning, match="some ended early"):
        tuned = tune(rows, tmp_path / "t", trials=40, workers=2, epochs=6)
    assert len(tuned.trials) == 40
    assert sum(trial.default for trial in tuned.trials) == 1


def test_what_was_refused_can_be_tried_again(rows, tmp_path):
    network = tmp_path / "net.py"
    options = {"network": f"{network}:Net", "quality": None, "space": {"learning_rate": (1e-4, 1e-2)}, "workers": 2}  # fmt: skip
    with pytest.raises((OptionError, NetworkError), match="does not exist"):
        tune(rows, tmp_path / "t", trials=2, **options)
    network.write_text(
        "import sightline as sl\n\n\ndef Net(spec):\n    return sl.MLP(spec, hidden=[4])\n"
    )
    assert len(tune(rows, tmp_path / "t", trials=2, **options).trials) == 2


def test_more_trials_are_other_trials(rows, tmp_path):
    tune(rows, tmp_path / "t", trials=4)
    more = tune(rows, tmp_path / "t", trials=8)
    rates = [trial.values["learning_rate"] for trial in more.trials[1:]]
    assert len(set(rates)) == 7


def test_wrong_calls(rows, tmp_path, monkeypatch):
    for options in ({"trials": 0}, {"workers": 0}, {"trials": True}):
        with pytest.raises(OptionError, match="Give a whole number from 1"):
            sl.tune(rows, "y", folder=tmp_path / "t", **options)
    for text in ("dropout", "dropout=a..b", "=1..2"):
        with pytest.raises(OptionError, match="of neither form"):
            parse_vary([text])
    for options in ({"hidden": []}, {"hidden": [0]}, {"hidden": "64"}, {"dropout": 1.0}, {"dropout": "x"},
                    {"hidden": [8], "network": "MLP"}, {"dropout": 0.1, "network": "MLP"}):  # fmt: skip
        with pytest.raises(OptionError, match=r"hidden|dropout"):
            sl.fit(rows, "y", **options)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(OptionError, match=r'pip install "sightline\[tune\]"'):
        sl.tune(rows, "y", trials=2)


def test_the_command_line(rows, tmp_path, sightline):
    said = sightline(
        "tune", rows, "--target", "y", "--trials", "9", "--quality", "fast", "--epochs", "2", "--no-trees", "--no-report",
        "--no-baselines", "--no-prune", "--vary", "learning_rate=0.0001..0.01", "--vary", "hidden=8|16,16", "--folder", tmp_path / "t", "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    body = json.loads(said.out)
    assert len(body["trials"]) == 9
    assert sum(body["importances"].values()) == pytest.approx(1)
    assert body["metrics"]["part"] == "test"
    page = (tmp_path / "t" / "tuning.html").read_text()
    assert "What mattered" in page
    assert "<script" not in page
    assert sightline("tune", rows, "--target", "y", "--run", "x").code == 2
    assert "--hidden" in sightline("fit", rows, "--target", "y", "--hidden", "8,x").err


def test_names_on_the_page_are_text():
    trial = {"number": 0, "state": "failed<b>", "values": {"x<i>": "<u>"}, "loss": 0.5, "epochs": 1, "seconds": 1.0, "error": "<script>"}  # fmt: skip
    page = tuning_page({"metric": "loss", "trials": [trial], "importances": {"x<i>": 1.0}}, ["<p>"])
    assert not any(f"<{tag}>" in page.replace("</u>", "") for tag in ("b", "i", "u", "script"))
