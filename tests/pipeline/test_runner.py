"""Fits that are cut and gone on with, edited and replayed, inside this process."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow.csv
import pytest
import torch

import sightline as sl
from sightline.contracts import Deepen, Freeze, SetBatchSize, SetLearningRate, Stop, Widen
from sightline.errors import DataError, Interrupted, NetworkError, OptionError, RunError
from sightline.pipeline.control import control_and_wait, send_and_wait
from sightline.pipeline.recorder import Recorder
from sightline.pipeline.runner import edits_of, signals_caught
from sightline.trace.records import TRACE_FILE, Trace
from sightline.train.checkpoints import CHECKPOINTS_FOLDER, FIRST, read_newest
from sightline.train.commands import send, write_command


class Cut(BaseException):
    """The process is killed: nobody catches this."""


class View:
    """Does things after some steps."""

    def __init__(self, **at):
        self.at = {int(name[1:]): act for name, act in at.items()}

    def __call__(self, record):
        pass

    def step(self, done, total):
        self.at.get(done, lambda: None)()

    def close(self):
        pass


def cut():
    raise Cut


def edit(*edits, run="r"):
    return lambda: send(Path(run), edits)


def fit(run="r", source="penguins.csv", view=None, **options):
    options = {
        "network": "MLP",
        "baselines": False,
        "epochs": 3,
        "device": "cpu",
        "learning_rate": 0.01,
        **options,
    }
    return sl.fit(source, "species", run=run, view=view, quiet=True, **options)


def cut_fit(after=14, **options):
    """A fit that is killed after some steps, with a checkpoint after each epoch."""
    with pytest.raises(Cut):
        fit(view=View(**{f"_{after}": cut}), checkpoint_epochs=1, **options)


@pytest.fixture(autouse=True)
def commands_are_read_at_once(monkeypatch):
    monkeypatch.setattr("sightline.train.commands.SECONDS_BETWEEN_READS", 0.0)


@pytest.fixture
def here(tmp_path, monkeypatch, penguins):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "penguins.csv").write_bytes(penguins.read_bytes())
    return tmp_path


def plain(value):
    if isinstance(value, dict):
        times = ("seconds", "rows_per_second", "validation_seconds")
        places = ("bundle", "run", "next", "report")
        return {name: plain(item) for name, item in value.items() if name not in times + places}
    if isinstance(value, list):  # without the facts of a stage that its clock told
        return [
            plain(item) for item in value if not (isinstance(item, list) and item[:1] == ["time"])
        ]
    return value


def told(run, without=()):
    """A run's records, but for those of its checkpoints: a resume writes one of its own."""
    records = [r for r in sl.Run(run).records if r.type not in ("checkpoint", *without)]
    return [(r.stage, r.type, plain(r.body)) for r in records]


def test_a_cut_fit_goes_on_as_if_nothing_had_happened(here):
    whole = fit("whole")
    cut_fit()
    assert not (here / "r" / "model.sightline").exists()
    run = sl.resume("r", quiet=True)
    assert told("r") == told("whole")
    assert run.metrics == whole.metrics
    assert {record.attempt for record in run.records} == {1, 2}
    assert [record.seq for record in run.records] == list(range(len(run.records)))
    probabilities = [made.model.predict_proba("penguins.csv") for made in (run, whole)]
    assert (probabilities[0] == probabilities[1]).all()


def test_checkpoints_of_a_fit(here):
    run = fit(checkpoint_epochs=1, epochs=6)
    assert sorted(path.name for path in (run.folder / CHECKPOINTS_FOLDER).iterdir()) == [
        FIRST, *(f"step-{step:012}.checkpoint" for step in (36, 45, 54)),
    ]  # fmt: skip
    only_ends = fit("s")
    assert sorted(path.name for path in (only_ends.folder / CHECKPOINTS_FOLDER).iterdir()) == [
        FIRST, f"step-{27:012}.checkpoint",
    ]  # fmt: skip


def checkpoints(run):
    """The records of a run's checkpoints: steps, and what is on the disk of each newest one."""
    bodies = [record.body for record in sl.Run(run).find("train", "checkpoint")]
    sizes = {
        f"{CHECKPOINTS_FOLDER}/{path.name}": path.stat().st_size
        for path in Path(run, CHECKPOINTS_FOLDER).iterdir()
    }
    newest = {body["file"]: body["bytes"] for body in bodies}
    assert sizes.items() <= newest.items()  # older ones were removed
    return [body["step"] for body in bodies]


def test_each_checkpoint_has_its_record(here):
    run = fit(checkpoint_epochs=1)
    assert checkpoints("r") == [0, 9, 18, 27]
    first, second = [record.body for record in run.find("train", "checkpoint")][:2]
    assert (first["epoch"], second["epoch"]) == (0, 1)
    assert second["file"] == f"{CHECKPOINTS_FOLDER}/step-{9:012}.checkpoint"
    assert second["said"] == "a checkpoint, from which the run can be resumed after step 9"
    kinds = [record.type for record in run.records]
    assert kinds.index("checkpoint") == kinds.index("plan") + 1


def test_a_cut_run_has_one_record_of_each_checkpoint(here):
    cut_fit()
    assert checkpoints("r") == [0, 9]
    sl.resume("r", quiet=True)
    assert checkpoints("r") == [0, 9, 18, 27]
    attempts = [record.attempt for record in sl.Run("r").find("train", "checkpoint")]
    assert attempts == [1, 2, 2, 2]  # what goes on from a checkpoint writes it again


@pytest.mark.parametrize("nth", [1, 2, 4])
def test_cut_between_a_checkpoint_and_its_record(here, monkeypatch, nth):
    """Before training, in it and behind it; and again in the first save of the life that follows."""
    whole = fit("whole", checkpoint_epochs=1)
    real, left = Recorder.checkpoint, [nth]

    def checkpoint(recorder, training, path):
        left[0] -= 1
        if not left[0]:
            raise Cut
        real(recorder, training, path)

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "checkpoint", checkpoint)
        with pytest.raises(Cut):
            fit(checkpoint_epochs=1)
        for _ in range(2):
            left[0] = 1
            with pytest.raises(Cut):
                sl.resume("r", quiet=True, checkpoint_epochs=1)
    run = sl.resume("r", quiet=True, checkpoint_epochs=1)
    assert told("r") == told("whole")
    assert run.metrics == whole.metrics
    assert checkpoints("r") == checkpoints("whole") == [0, 9, 18, 27]


def test_a_checkpoint_that_could_not_be_written_has_no_record(here, monkeypatch):
    from sightline.train import checkpoints as module

    real = module.write

    def write(training, path, *more):
        if training.progress.steps == 9:
            raise OSError(28, "No space left on device")
        real(training, path, *more)

    monkeypatch.setattr(module, "write", write)
    run = fit(checkpoint_epochs=1)
    assert checkpoints("r") == [0, 18, 27]
    assert [record.body["step"] for record in run.find("train", "warning")] == [9]


def test_a_resumed_run_writes_checkpoints_as_often_as_it_was_asked_to(here):
    cut_fit(13, checkpoint_seconds=None)
    sl.resume("r", quiet=True)
    assert sorted(set(checkpoints("r"))) == [0, 9, 18, 27]
    options = sl.Run("r").find("run", "start")[0].body["options"]
    assert (options["run"]["checkpoint_epochs"], options["run"]["checkpoint_seconds"]) == (1, None)
    again = sl.replay("r", to="again", quiet=True)
    assert again.find("run", "start")[0].body["options"]["run"]["run"] == "again"


def test_a_complete_run_is_returned_as_it_is(here):
    run = fit()
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    assert sl.resume("r").metrics == run.metrics
    assert {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before


def test_cut_behind_its_training(here, monkeypatch):
    fit("whole")
    with monkeypatch.context() as patch:
        patch.setattr("sightline.pipeline.recorder.Recorder.evaluated", lambda *_, **__: cut())
        with pytest.raises(Cut):
            fit()
    assert sl.Run("r").find("train", "end")
    sl.resume("r", quiet=True)
    assert told("r") == told("whole")


def test_a_model_is_there_before_it_is_looked_at(here, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(
            "sightline.evaluate.evaluation.measure_importance", lambda *_, **__: cut(), raising=True
        )
        with pytest.raises(Cut):
            fit()
    assert len(sl.Model.load("r/model.sightline").predict("penguins.csv")) == 344


def test_a_report_that_was_not_written_any_more_is_written_by_resume(here):
    fit()
    (here / "r" / "report.html").unlink()
    sl.resume("r", quiet=True)
    assert (here / "r" / "report.html").is_file()


def test_cut_before_its_first_checkpoint(here, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("sightline.pipeline.runner.Runner.steps", lambda *_: cut())
        with pytest.raises(Cut):
            fit()
    with pytest.raises(RunError, match=r"r has no checkpoint to resume from\. .*fit again"):
        sl.resume("r")


def test_no_run(here):
    for command in (sl.resume, sl.replay):
        with pytest.raises(RunError, match="nowhere is no run folder"):
            command("nowhere")
    with pytest.raises(OptionError, match="checkpoint_seconds is -1"):
        fit(checkpoint_seconds=-1)
    assert not (here / "r").exists()


def test_a_run_that_is_being_made(here):
    cut_fit()
    pytest.importorskip("fcntl", reason="Windows keeps other writers out by itself")
    trace = Trace.resume(here / "r", 1)
    try:
        with pytest.raises(RunError, match=r"Another process is making the run r\. Wait"):
            sl.resume("r", quiet=True)
    finally:
        trace.close()
    sl.resume("r", quiet=True)


# ------------------------------------------------------------- what must be there again


def test_data_that_changed_is_refused(here):
    cut_fit()
    text = (here / "penguins.csv").read_text()
    trace = (here / "r" / TRACE_FILE).read_bytes()
    (here / "penguins.csv").write_text(text.replace("39.1", "39.2", 1))
    with pytest.raises(
        DataError, match=r"penguins.csv has changed since the model was trained on it"
    ):
        sl.resume("r", quiet=True)
    (here / "penguins.csv").write_text("\n".join(text.splitlines()[:-1]) + "\n")
    with pytest.raises(DataError, match="has changed"):
        sl.resume("r", quiet=True)
    (here / "penguins.csv").unlink()
    with pytest.raises(DataError, match=r"penguins.csv, .* does not exist any more\. Put it back"):
        sl.resume("r", quiet=True)
    assert (here / "r" / TRACE_FILE).read_bytes() == trace
    (here / "penguins.csv").write_text(text)
    sl.resume("r", quiet=True)


def test_a_table_in_memory_is_given_again(here):
    table = sl.read("penguins.csv")
    fit("whole", source=table)
    cut_fit(source=table)
    with pytest.raises(DataError, match=r"a table in memory, .*Give the table again \(source=\)"):
        sl.resume("r", quiet=True)
    other = sl.read({"species": ["a", "b"] * 30, "x": [1.5, 2.0] * 30})
    with pytest.raises(DataError, match="has changed since"):
        sl.resume("r", source=other, quiet=True)
    sl.resume("r", source=table, quiet=True)
    assert told("r") == told("whole")
    again = sl.replay("r", source=table, quiet=True)
    assert again.find("train", "replay")[0].body["identical"] is True


@pytest.mark.parametrize("part", ["valid", "test"])
def test_held_out_rows_in_memory_cannot_be_read_again(here, part):
    cut_fit(**{part: pyarrow.csv.read_csv("penguins.csv")})
    for source in (None, "penguins.csv"):
        with pytest.raises(
            DataError, match=f"The rows of {part}= were a table in memory.* Fit again"
        ):
            sl.resume("r", source=source, quiet=True)


NETWORK = """
import sightline as sl
from torch import nn

class Mine(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.flat = sl.Flat(spec, nn.Sequential(
            nn.Linear(spec.flat_width, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, spec.outputs)))

    def forward(self, numeric, categorical):
        return self.flat(numeric, categorical)
"""


def test_the_next_commands_name_the_network_and_run(here):
    (here / "net.py").write_text(NETWORK)
    run = fit(network="net.py:Mine", epochs=1)
    commands = run.find("run", "end")[0].body["next"]
    evaluate, predict, explain = commands[:3]
    for command in (evaluate, predict, explain):
        assert command.endswith(" --network net.py:Mine")
        words = [sys.executable, "-m", *shlex.split(command)]
        done = subprocess.run(words, cwd=here, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    plain = fit("s", network="MLP", epochs=1).find("run", "end")[0].body["next"]
    assert not any("--network" in command for command in plain)


def test_a_network_of_your_own_comes_from_the_kept_source(here):
    (here / "net.py").write_text(NETWORK)
    fit("whole", network="net.py:Mine")
    cut_fit(network="net.py:Mine")
    (here / "net.py").write_text(NETWORK.replace("0.2", "0.5"))
    (kept,) = (here / "r" / "sources").iterdir()
    hidden = kept.rename(here / "hidden.py")
    with pytest.raises(
        NetworkError,
        match=r"Mine is one of your own, and its source file was not kept.*--network file.py:Mine",
    ):
        sl.resume("r", quiet=True)
    hidden.rename(kept)
    sl.resume("r", quiet=True)
    assert told("r") == told("whole")
    assert sl.replay("r", quiet=True).find("train", "replay")[0].body["identical"]


def rate(optimizer):
    return torch.optim.lr_scheduler.StepLR(optimizer, 5)


def test_functions_are_given_again(here):
    own = {"optimizer": torch.optim.RAdam, "schedule": rate}
    fit("whole", **own)
    cut_fit(**own)
    with pytest.raises(
        OptionError, match=r"The optimizer was your own and is not saved\. Give it again"
    ):
        sl.resume("r", schedule=rate, quiet=True)
    with pytest.raises(
        OptionError, match=r"The schedule was your own and is not saved\. Give it again"
    ):
        sl.resume("r", optimizer=torch.optim.RAdam, quiet=True)
    sl.resume("r", **own, quiet=True)
    assert told("r") == told("whole")
    assert sl.replay("r", **own, quiet=True).find("train", "replay")[0].body["identical"]


def test_a_damaged_newest_checkpoint(here):
    whole = fit("whole")
    cut_fit(after=20)
    newest = max((here / "r" / CHECKPOINTS_FOLDER).iterdir())
    newest.write_bytes(newest.read_bytes()[:-1])
    run = sl.resume("r", quiet=True)
    (warning,) = run.find("train", "warning")
    assert warning.body["said"].startswith(f"{newest.name} cannot be used, so an older one is: ")
    ends = [plain(made.find("train", "end")[0].body) for made in (run, whole)]
    assert ends[0] == ends[1]
    assert told("r", without=["warning"]) == told("whole")


def test_every_checkpoint_damaged(here):
    cut_fit()
    for path in (here / "r" / CHECKPOINTS_FOLDER).iterdir():
        path.write_bytes(b"no")
    with pytest.raises(RunError, match=r"no checkpoint to resume from .*is not a Sightline file"):
        sl.resume("r", quiet=True)


# ------------------------------------------------------------- edits


FIVE = {
    "_3": edit(Widen("hidden.0", 80)),
    "_8": edit(SetLearningRate(0.003), Freeze("embeddings")),
    "_12": edit(Deepen("hidden.0")),
    "_20": edit(SetBatchSize(64)),
}


def test_a_replay_with_five_edits_is_the_same_to_the_bit(here):
    first = fit(view=View(**FIVE), ema=0.9, schedule="cosine")
    assert [(step, type(edit).__name__) for step, edit in edits_of(first.records)] == [
        (3, "Widen"), (8, "SetLearningRate"), (8, "Freeze"), (12, "Deepen"), (20, "SetBatchSize"),
    ]  # fmt: skip
    again = sl.replay("r", to="again", quiet=True)
    (said,) = again.find("train", "replay")
    assert said.body["identical"] is True
    assert said.body["edits"] == 5
    stages = [[r for r in told(run) if r[0] in ("build", "train", "predict") and r[1] != "replay"]
              for run in ("r", "again")]  # fmt: skip
    assert stages[0] == stages[1]
    assert len(stages[0]) > 15
    sl.replay("again", to="twice", quiet=True)  # a replay can be replayed
    assert told("twice") == told("again")


EDITS = {"_3": [Widen("hidden.0", 80)], "_12": [Deepen("hidden.0"), Deepen("hidden.0")]}


def test_edits_behind_the_checkpoint_are_made_again_at_their_steps(here):
    fit("whole", view=View(**{n: edit(*edits, run="whole") for n, edits in EDITS.items()}))
    view = View(**{n: edit(*edits) for n, edits in EDITS.items()}, _24=cut)
    with pytest.raises(Cut):
        fit(view=view)  # its one checkpoint is of the start
    # Cut again before the last edits, of which the records of this attempt know nothing yet.
    for after in (10, 17):
        with pytest.raises(Cut):
            sl.resume("r", view=View(**{f"_{after}": cut}))
    left = read_newest("r").more["later"]
    assert [step for step, _ in left] == [3, 12, 12]
    sl.resume("r", quiet=True)
    assert told("r") == told("whole")


def test_new_edits_in_a_second_attempt(here):
    with pytest.raises(Cut):
        fit(view=View(_12=edit(Deepen("hidden.0")), _16=cut))
    with pytest.raises(Cut):
        sl.resume("r", view=View(_5=edit(Widen("hidden.0", 80)), _10=cut))
    run = sl.resume("r", quiet=True)
    assert [(step, type(edit).__name__) for step, edit in edits_of(run.records)] == [
        (5, "Widen"), (12, "Deepen"),
    ]  # fmt: skip
    again = sl.replay("r", quiet=True)
    assert again.find("train", "replay")[0].body["identical"] is True


def test_an_edit_that_waits_at_a_signal_is_not_lost(here):
    def stop_and_edit():
        edit(Widen("hidden.0", 80))()
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted) as caught:
        fit(view=View(_13=stop_and_edit))
    assert (caught.value.signal, caught.value.step) == (signal.SIGINT, 13)
    assert "sightline resume r" in str(caught.value)
    run = sl.resume("r", quiet=True)
    assert [(step, edit.width) for step, edit in edits_of(run.records)] == [(13, 80)]


def test_an_edit_that_waits_and_is_then_recorded_is_made_once(here):
    with pytest.raises(Interrupted):
        fit(
            view=View(_13=lambda: (edit(Deepen("hidden.0"))(), signal.raise_signal(signal.SIGTERM)))
        )
    with pytest.raises(Cut):
        sl.resume("r", view=View(_16=cut))
    assert len(edits_of(sl.Run("r").records)) == 1
    run = sl.resume("r", quiet=True)
    assert len(edits_of(run.records)) == 1
    assert run.find("train", "end")[0].body["edits"] == 1


def test_an_interrupted_replay_goes_on_with_its_edits(here):
    fit(view=View(**FIVE))
    with pytest.raises(Cut):
        sl.replay("r", to="again", view=View(_10=cut))
    sl.resume("again", quiet=True)
    ends = [plain(sl.Run(run).find("train", "end")[0].body) for run in ("r", "again")]
    assert ends[0] == ends[1]


def test_a_run_that_a_clock_stopped_is_replayed(here):
    first = fit(epochs=100_000, time_limit=0.4, patience=None)
    body = first.find("train", "end")[0].body
    stops = [edit for _, edit in edits_of(first.records)]
    planned = first.find("train", "plan")[0].body["epochs"]
    assert planned < 100_000
    assert stops == [] or (len(stops) == 1 and isinstance(stops[0], Stop))
    again = sl.replay("r", to="again", quiet=True)
    assert again.find("train", "replay")[0].body["identical"] is True
    assert again.find("train", "end")[0].body["steps"] == body["steps"]


def test_a_time_limit_in_mid_epoch_is_replayed(here, monkeypatch):
    monkeypatch.setattr("sightline.train.plan.SHARE_OF_LIMIT", 1e9)  # plans too much
    first = fit(epochs=1000, time_limit=0.3, patience=None)
    ((step, stop),) = edits_of(first.records)
    assert stop.why.endswith("s for the training is reached")
    again = sl.replay("r", to="again", quiet=True)
    assert again.find("train", "replay")[0].body["identical"] is True
    assert again.find("train", "end")[0].body["steps"] == step


def test_a_replay_with_another_result_says_so(here, sightline):
    first = fit()
    weights = first.find("train", "end")[0].body["weights"]
    path = here / "r" / TRACE_FILE
    path.write_text(path.read_text().replace(weights, "0" * 64))
    again = sl.replay("r", to="again", quiet=True)
    (said,) = again.find("train", "replay")
    assert said.body["identical"] is False
    assert "gave weights other than the first time's" in said.body["said"]
    assert again.metrics == first.metrics
    found = sightline("replay", "r", "--to", "third", "--json")
    assert found.code == 1
    assert json.loads(found.out)["identical"] is False


def test_what_cannot_be_replayed(here):
    cut_fit()
    with pytest.raises(
        RunError, match=r"The training of r did not end\. Resume it: sightline resume r"
    ):
        sl.replay("r", quiet=True)
    sl.resume("r", quiet=True)
    first = here / "r" / CHECKPOINTS_FOLDER / FIRST
    data = first.read_bytes()
    first.write_bytes(data[:-9])
    with pytest.raises(sl.UserError, match="is damaged"):
        sl.replay("r", quiet=True)
    first.unlink()
    with pytest.raises(RunError, match=r"A replay starts from .*, which does not exist"):
        sl.replay("r", quiet=True)
    assert not (here / "runs").exists()


# ------------------------------------------------------------- send_and_wait


def answers(here, edits, fitted_after=0.0, seconds=20.0):
    """Send edits from another thread to a fit in this one."""
    found = []

    def ask():
        try:
            found.append(send_and_wait(here / "r", edits, seconds))
        except RunError as error:
            found.append(error)

    other = threading.Thread(target=ask)
    view = View(_5=other.start)
    view.step = lambda done, total: (View.step(view, done, total), done > 5 and other.join(0.01))
    fit(view=view, epochs=100_000, patience=None)
    other.join()
    return found[0]


def test_a_command_is_answered(here):
    said, refused = answers(here, [Widen("hidden.0", 80), Stop("enough")])
    assert [sentence.split(":")[0] for sentence in said] == [
        "hidden.0 widened to 80 units",
        "enough",
    ]
    assert refused is False
    assert sl.Run("r").find("train", "end")[0].body["stopped"].startswith("enough in epoch ")


def test_a_refused_command_is_answered(here, monkeypatch):
    done = []
    monkeypatch.setattr("sightline.pipeline.runner.time.sleep", lambda seconds: None)

    def ask():
        done.append(send_and_wait(here / "r", [Widen("hidden.9", 80), SetLearningRate(0.1)], 20))
        send_and_wait(here / "r", [Stop()], 20)

    other = threading.Thread(target=ask)
    view = View(_5=other.start)
    run = fit(view=view, epochs=100_000, patience=None)
    other.join()
    ((said, refused),) = done
    assert refused is True
    assert "has no hidden layer 'hidden.9'" in said[0]
    assert [type(edit) for _, edit in edits_of(run.records)] == [Stop]  # all of a command, or none


def test_nobody_makes_the_run(here):
    fit()
    pytest.importorskip("fcntl", reason="Windows cannot tell")
    with pytest.raises(
        RunError, match=r"No process is training the run .*r\. Send edits while the run trains"
    ):
        send_and_wait(here / "r", [Stop()], 1)
    with pytest.raises(RunError, match="is no run folder"):
        send_and_wait(here / "nowhere", [Stop()], 1)
    assert not (here / "r" / "commands").exists()


def test_a_run_that_does_not_answer(here):
    cut_fit()
    trace = Trace.resume(here / "r", 1)  # written by a process, this one, that does not train
    try:
        with pytest.raises(RunError, match=r"did not answer within 0\.2 s"):
            send_and_wait(here / "r", [Stop()], 0.2)
    finally:
        trace.close()
    assert list((here / "r" / "commands").iterdir()) == []


# ------------------------------------------------------------- signals


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_collected_and_a_second_one_stops(number):
    before = signal.getsignal(number)
    with signals_caught() as signals:
        signal.raise_signal(number)
        assert signals == [number]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert signal.getsignal(number) == before
    assert signal.getsignal(number) == before


def test_handlers_are_put_back_whatever_happens():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ZeroDivisionError), signals_caught():
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_another_thread_has_no_handlers(here):
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work():
        with signals_caught() as signals:
            seen.append((signals, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [([], before)]


def test_a_signal_at_the_last_step_changes_nothing(here):
    run = fit(view=View(_27=lambda: signal.raise_signal(signal.SIGTERM)))
    assert run.metrics["rows"] == 34


NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.hidden = nn.Linear(len(spec.numeric), {width})
        self.output = nn.Linear({width}, spec.outputs)

    def forward(self, numeric, categorical):
        return self.output(torch.{activation}(self.hidden(numeric)))
"""


def save_net(**how):
    return lambda: Path("net.py").write_text(
        NET.format(**{"width": 8, "activation": "relu", **how})
    )


def test_a_watched_file_of_a_fit_that_is_cut_resumed_and_replayed(here, monkeypatch):
    monkeypatch.setattr("sightline.train.watch.SECONDS_BETWEEN_LOOKS", 0.0)
    save_net()()
    acts = {
        "_4": save_net(activation="tanh"),  # good
        "_8": lambda: Path("net.py").write_text("class Net(:"),  # broken
        "_11": save_net(activation="tanh", width=12),  # of another shape
        "_20": cut,
    }
    with pytest.raises(Cut):
        fit(view=View(**acts), network="net.py:Net", watch=True, epochs=5, checkpoint_epochs=1)
    view = View(_30=save_net(activation="sigmoid", width=12))
    run = sl.resume("r", watch="net.py:Net", view=view, quiet=True)
    edits = [record.body for record in run.find("train", "edit")]
    assert [body["edit"]["edit"] for body in edits] == ["Reload"] * 3
    assert edits[1]["parameters"]["hidden.weight"].startswith("grown from [8, ")
    assert "SyntaxError" in run.find("train", "refused")[0].body["said"]
    assert "net.py, line 1" in run.find("train", "refused")[0].body["said"]
    assert len(list((here / "r" / "sources").iterdir())) == 5  # every text there was
    assert run.model.network.hidden.out_features == 12
    Path("net.py").unlink()  # the run keeps what it used
    again = sl.replay("r", to="again", quiet=True)
    assert again.find("train", "replay")[0].body["identical"]


OWN = """
from torch import nn

class Net(nn.Module):
    def __init__(self, spec, dropout=0.0):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(len(spec.numeric), 8), nn.Dropout(dropout), nn.Linear(8, spec.outputs)
        )

    def forward(self, numeric, categorical):
        return self.body(numeric)
"""


def test_a_network_that_a_function_made_is_asked_for_again(here):
    from sightline.build.networks import load_class

    Path("own.py").write_text(OWN)
    kind = load_class("own.py:Net")
    with pytest.raises(Cut):
        fit(view=View(_14=cut), checkpoint_epochs=1, network=lambda spec: kind(spec, dropout=0.5))
    with pytest.raises(NetworkError, match="Give it again"):
        sl.resume("r", quiet=True)
    with pytest.raises(NetworkError, match="The network differs from that of"):
        sl.resume("r", quiet=True, network=kind)  # dropout 0.0: the weights would fit
    fit("whole", network=lambda spec: kind(spec, dropout=0.5))
    sl.resume("r", quiet=True, network=lambda spec: kind(spec, dropout=0.5))
    assert told("r") == told("whole")


def test_an_interruption_says_when_no_checkpoint_could_be_written(here, monkeypatch):
    def interrupt():
        monkeypatch.setattr(
            "sightline.train.checkpoints.write",
            lambda *_: (_ for _ in ()).throw(OSError(28, "No space")),
        )
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="no checkpoint could be written"):
        fit(view=View(_14=interrupt))
    warned = sl.Run("r").find("train", "warning")
    assert [record.body["step"] for record in warned] == [14]


# ------------------------------------------------------------- held, asked, gone on with


def ask(*commands, run="r"):
    return lambda: [write_command(Path(run), command) for command in commands]


def later(seconds, *acts):
    """Do things from another thread, each some time after the one before."""

    def work():
        for act in acts:
            time.sleep(seconds)
            act()

    return lambda: threading.Thread(target=work, daemon=True).start()


def controls(run="r"):
    return [
        (record.type, record.body["step"]) for record in sl.Run(run).records
        if record.type in ("paused", "continued")
    ]  # fmt: skip


def test_a_pause_changes_nothing_but_the_record_of_it(here):
    whole = fit("whole")
    began = time.monotonic()
    run = fit(view=View(
        _4=ask({"pause": True}), _5=lambda: None,
        _3=later(0.5, ask({"continue": True})),
    ))  # fmt: skip
    assert time.monotonic() - began >= 0.4
    assert controls() == [("paused", 4), ("continued", 4)]
    assert told("r", without=("paused", "continued")) == told("whole")
    assert run.metrics == whole.metrics


def test_one_epoch_at_a_time(here):
    steps = [ask({"one_epoch": True}), ask({"one_epoch": True}), ask({"continue": True})]
    fit(view=View(_4=ask({"pause": True}), _3=later(0.6, *steps)), epochs=4)
    assert controls() == [
        ("paused", 4), ("continued", 4), ("paused", 9), ("continued", 9), ("paused", 18), ("continued", 18),
    ]  # fmt: skip
    said = [record.body["said"] for record in sl.Run("r").find("train", "continued")]
    assert said == [
        "continues to the end of epoch 1, then pauses", "continues to the end of epoch 2, then pauses",
        "continues",
    ]  # fmt: skip


def test_one_epoch_that_is_the_last_ends_in_no_pause(here):
    run = fit(view=View(_20=ask({"one_epoch": True})))
    assert controls() == [("continued", 20)]
    assert run.find("run", "end")


def test_a_pause_after_one_epoch_was_asked_for_holds_at_once(here):
    fit(
        view=View(
            _4=ask({"one_epoch": True}, {"pause": True}), _3=later(0.4, ask({"continue": True}))
        )
    )
    assert controls() == [("continued", 4), ("paused", 4), ("continued", 4)]


def test_edits_wait_for_the_end_of_a_pause_and_stop_ends_it(here):
    view = View(
        _4=ask({"pause": True}),
        _3=later(0.3, edit(SetLearningRate(0.5)), edit(Widen("hidden.7", 9)), edit(Stop("enough"))),
    )
    run = fit(view=view)
    types = [
        (r.type, r.body["step"]) for r in run.records
        if r.type in ("paused", "continued", "edit", "refused")
    ]  # fmt: skip
    assert types == [("paused", 4), ("refused", 4), ("continued", 4), ("edit", 4), ("edit", 4)]
    assert run.find("train", "continued")[0].body["said"] == "continues, to stop"
    assert run.find("train", "end")[0].body["stopped"].startswith("enough")


def test_a_pause_does_not_count_for_the_time_limit(here):
    view = View(_2=ask({"pause": True}), _1=later(3.0, ask({"continue": True})))
    run = fit(view=view, time_limit=60.0, epochs=3, patience=None)
    assert run.find("train", "end")[0].body["stopped"] == "all 3 epochs done"
    seconds = run.find("run", "end")[0].body["seconds"]
    assert seconds > 3.0
    assert run.find("train", "time_limit")[0].body["seconds"] < seconds - 2.5


def test_a_paused_fit_that_is_interrupted_goes_on_when_it_is_resumed(here):
    whole = fit("whole")
    stop = later(0.5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted, match="after step 14; a checkpoint is written"):
        fit(view=View(_14=ask({"pause": True}), _13=stop))
    run = sl.resume("r", quiet=True)
    assert controls() == [("paused", 14)]
    assert told("r", without=("paused",)) == told("whole")
    assert run.metrics == whole.metrics


def test_a_pause_is_no_part_of_a_replay(here):
    fit(
        view=View(
            _4=ask({"pause": True}),
            _3=later(0.4, edit(SetLearningRate(0.02)), ask({"continue": True})),
        )
    )
    again = sl.replay("r", to="again", quiet=True)
    assert controls("again") == []
    assert again.find("train", "replay")[0].body["identical"]
    assert [r.body["step"] for r in again.find("train", "edit")] == [4]


def test_a_file_saved_while_it_is_paused_is_used_when_it_goes_on(here, monkeypatch):
    monkeypatch.setattr("sightline.train.watch.SECONDS_BETWEEN_LOOKS", 0.0)
    save_net()()
    view = View(
        _4=ask({"pause": True}), _3=later(0.4, save_net(activation="tanh"), ask({"continue": True}))
    )
    run = fit(view=view, network="net.py:Net", watch=True)
    assert [r.body["step"] for r in run.find("train", "edit")] == [4]


ROW = {"island": "Dream", "bill_length_mm": 46.5, "bill_depth_mm": 17.9, "flipper_length_mm": 192,
       "body_mass_g": 3500, "sex": None, "year": 2007}  # fmt: skip


def question(id_, row):
    return {"explain": {"id": id_, "row": row}}


def test_rows_are_explained_while_it_trains(here):
    fit("whole")
    bad = {"missing": {"island": "Dream"}, "unreadable": {**ROW, "year": "soon"},
           "huge": {**ROW, "year": 10**400}}  # fmt: skip
    asked = [question("1", ROW), *(question(name, row) for name, row in bad.items())]
    run = fit(view=View(_5=ask(*asked), _26=ask(question("2", ROW)), _27=ask(question("3", ROW))))
    answers = {record.body["id"]: record.body for record in run.find("predict", "asked")}
    assert list(answers) == ["1", *bad, "2", "3"]
    assert {name: (body["step"], body["epoch"]) for name, body in answers.items()} == {
        "1": (5, 1), "missing": (5, 1), "unreadable": (5, 1), "huge": (5, 1), "2": (26, 3), "3": (27, 4),
    }  # fmt: skip
    for name, row in bad.items():
        assert answers[name]["row"] == row
        assert answers[name]["explanation"] is None
        assert answers[name]["error"]
    assert "bill_length_mm" in answers["missing"]["error"]
    assert "soon" in answers["unreadable"]["error"]
    assert answers["1"]["error"] is None
    assert (
        answers["1"]["explanation"]["probabilities"] != answers["2"]["explanation"]["probabilities"]
    )
    assert told("r", without=("asked",)) == told("whole")  # nothing drawn, nothing changed
    last = run.model.explain(ROW).to_json()  # the best epoch is the last one here
    assert run.find("train", "end")[0].body["best_epoch"] == 3
    assert answers["3"]["explanation"]["probabilities"] == pytest.approx(
        last["probabilities"], rel=1e-4
    )


def test_a_pause_and_its_end_from_another_process(here):
    answers = []

    def talk():
        for control in ("pause", "one_epoch", "continue"):
            answers.append(control_and_wait(Path("r"), control, 30))
            if control == "pause":
                answers.append(send_and_wait(Path("r"), [SetLearningRate(0.5)], 30))
                answers.append(send_and_wait(Path("r"), [Widen("hidden.7", 9)], 30))
        answers.append(send_and_wait(Path("r"), [Stop("enough")], 30))

    talker = threading.Thread(target=talk)
    # No step is taken before the pause is there: it trains slowly until it has been asked for.
    slow = {f"_{step}": lambda: time.sleep(0.05) for step in range(3, 400)}
    fit(view=View(_2=talker.start, **slow), epochs=30, patience=None)
    talker.join(60)
    assert answers == [
        (["paused; edits that are sent now are applied when it continues"], False),
        (["the run is paused: the edits are applied when it continues"], False),
        ([answers[2][0][0]], True),
        ([answers[3][0][0]], False),
        (["continues"], False),
        (["enough"], False),
    ]
    assert "hidden.7" in answers[2][0][0]
    assert answers[3][0][0].endswith(", then pauses")
    with pytest.raises(RunError, match="No process is training the run r"):
        control_and_wait(Path("r"), "pause", 1)
