"""Killed processes, full disks, signals: each resumed run ends as if nothing had happened.

One process imports everything once and forks a child for each life of a run: a fit, a resume.
Children die of real SIGKILLs; a run of 60 steps and its checkpoints takes them half a second.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sightline as sl
from sightline.train.checkpoints import CHECKPOINTS_FOLDER

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked and killed")

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

DRIVER = '''
"""Reads lives as JSON lines, forks a child for each, answers with how it ended."""
import contextlib, importlib, json, os, signal, sys, threading, warnings
warnings.simplefilter("ignore")
import torch
torch.set_num_threads(1)
import sightline as sl
from sightline import archive
from sightline.trace import records
from sightline.train import checkpoints


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class Killer:
    """Dies at a place: after some seconds of training, or at the nth of what happens on the disk."""

    def __init__(self, kill):
        self.kill, self.seen = kill, 0
        for name in ("fsync", "replace"):
            setattr(os, name, self.around(getattr(os, name)))
        checkpoints.archive.zipfile.ZipFile.writestr = self.around(archive.zipfile.ZipFile.writestr)
        write = records.Trace._write

        def half(trace, data):  # a torn line
            if self.due("disk") or self.due("line"):
                trace._file.write(data[: len(data) // 2])
                die()
            write(trace, data)

        records.Trace._write = half

    def around(self, real):
        def act(*given, **named):
            if self.due("disk"):
                die()
            return real(*given, **named)
        return act

    def due(self, what):
        self.seen += what in self.kill
        return what in self.kill and self.seen > self.kill[what]

    def step(self, done, total):
        if "seconds" in self.kill and done == 1 + self.kill.get("after", 0):
            threading.Timer(self.kill["seconds"], die).start()
        if done == self.kill.get("step"):
            die()

    def __call__(self, record):
        pass

    close = __call__

    def close(self):
        pass


def live(life):
    signal.alarm(60)  # no child outlives its test
    os.chdir(life["folder"])
    # Saving that takes long is done less often; here, at every step.
    checkpoints.Checkpoints.after_step = lambda self: self.save()
    killer = Killer(life.get("kill", {}))
    if life["do"] == "fit":
        net = {"network": life.get("network", "MLP")}
        sl.fit(life["table"], "species", run="r", view=killer, **net, **life["settings"])
    else:
        sl.resume("r", view=killer)
    with open("seen", "w") as file:
        json.dump([killer.seen, sorted(sys.modules)], file)


for line in sys.stdin:
    life = json.loads(line)
    child = os.fork()
    if not child:
        try:
            live(life)
        except sl.UserError as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(2)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if "warm" in life:  # what a first life has imported need not be imported by each
        for name in json.load(open(life["folder"] + "/seen"))[1]:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)
'''

NETWORK = """
import sightline as sl
from torch import nn


class Net(nn.Module):
    def __init__(self, spec):
        super().__init__()
        layers = [nn.Linear(spec.flat_width, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3),
                  nn.Linear(8, spec.outputs)]
        self.flat = sl.Flat(spec, nn.Sequential(*layers))

    def forward(self, numeric, categorical):
        return self.flat(numeric, categorical)
"""

SETTINGS = {
    "epochs": 4,
    "ema": 0.9,
    "schedule": "cosine",
    "optimizer": "muon",
    "learning_rate": 0.01,
}


class Lives:
    """Runs whose processes are killed."""

    def __init__(self, folder, penguins):
        self.folder, self.made = folder, 0
        shutil.copy(penguins, folder / "penguins.csv")
        (folder / "net.py").write_text(NETWORK)
        with (folder / "errors").open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                text=True, stderr=errors, env=ENVIRONMENT,
            )  # fmt: skip

    def new(self):
        self.made += 1
        where = self.folder / str(self.made)
        where.mkdir()
        return where

    def live(self, where, do, **more):
        life = {"do": do, "folder": str(where), "table": str(self.folder / "penguins.csv"),
                "settings": SETTINGS, "network": str(self.folder / "net.py") + ":Net", **more}  # fmt: skip
        print(json.dumps(life), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def errors(self):
        return (self.folder / "errors").read_text()


@pytest.fixture(scope="module")
def lives(tmp_path_factory, penguins):
    made = Lives(tmp_path_factory.mktemp("lives"), penguins)
    yield made
    made.process.stdin.close()
    assert made.process.wait(60) == 0
    made.process.stdout.close()


def plain(value):
    """A record's body without times."""
    if isinstance(value, dict):
        times = ("seconds", "rows_per_second", "validation_seconds")
        return {name: plain(item) for name, item in value.items() if name not in times}
    if isinstance(value, list):  # the facts of a stage tell its time as ["time", "0.03 s"]
        return [plain(item) for item in value if not isinstance(item, list) or item[:1] != ["time"]]
    return value


def told(run):
    """A run's records. Here checkpoints follow the steps, not the clock: theirs are the same too.

    Their files' sizes are not: how many digits a time has is in them.
    """
    records = sl.Run(run).records
    for record in records:
        if record.type == "checkpoint":
            del record.body["bytes"]
    return [(r.seq, r.stage, r.type, plain(r.body)) for r in records]


@pytest.fixture(scope="module")
def whole(lives):
    """The run that nobody disturbed: its records, and how much it did on the disk."""
    where = lives.new()
    assert lives.live(where, "fit", kill={"disk": 1_000_000}, warm=True) == 0, lives.errors()
    return told(where / "r"), json.loads((where / "seen").read_text())[0]


def cut_in_training(run):
    records = sl.Run(run).records
    types = [(r.stage, r.type) for r in records]
    return ("train", "plan") in types and ("run", "end") not in types


def ends_the_same(lives, whole, where):
    assert lives.live(where, "resume") == 0, lives.errors()
    assert told(where / "r") == whole[0]


def test_twenty_kills_at_random_moments(lives, whole):
    import random

    draw = random.Random(5)
    landed, between = 0, set()
    for _ in range(60):
        where = lives.new()
        kill = {"after": draw.randrange(32), "seconds": draw.uniform(0, 0.05)}
        if lives.live(where, "fit", kill=kill) != -signal.SIGKILL:
            continue  # it was done before
        assert cut_in_training(where / "r")
        between.add(max(p.name for p in (where / "r" / CHECKPOINTS_FOLDER).glob("step-*")))
        ends_the_same(lives, whole, where)
        shutil.rmtree(where)
        landed += 1
        if landed == 20:
            break
    assert landed == 20
    assert len(between) > 10  # all over the run


def test_twenty_kills_inside_saves_and_records(lives, whole):
    """At a file's bytes, its fsync, its rename, its folder's fsync, and in half a record's line."""
    import random

    draw = random.Random(7)
    torn = half = 0
    for place in draw.sample(range(120, whole[1] - 20), 20):
        where = lives.new()
        assert lives.live(where, "fit", kill={"disk": place}) == -signal.SIGKILL
        assert cut_in_training(where / "r")
        torn += not (where / "r" / "trace.jsonl").read_bytes().endswith(b"\n")
        half += any((where / "r" / CHECKPOINTS_FOLDER).glob(".*.tmp"))
        ends_the_same(lives, whole, where)
        shutil.rmtree(where)
    assert half >= 10


def test_a_torn_record_then_another_kill(lives, whole):
    """The first of the two lives that follow dies before its first record."""
    where = lives.new()
    assert lives.live(where, "fit", kill={"line": 18}) == -signal.SIGKILL
    for again in (0, 4):
        assert not (where / "r" / "trace.jsonl").read_bytes().endswith(b"\n")
        assert cut_in_training(where / "r")
        assert lives.live(where, "resume", kill={"line": again}) == -signal.SIGKILL
    ends_the_same(lives, whole, where)
    assert len(sl.Run(where / "r").notes) == 3


def test_two_kills_in_one_epoch_and_one_in_the_next(lives, whole):
    where = lives.new()
    assert lives.live(where, "fit", kill={"step": 12}) == -signal.SIGKILL
    for step in (14, 17, 21):
        assert lives.live(where, "resume", kill={"step": step}) == -signal.SIGKILL
        newest = max((where / "r" / CHECKPOINTS_FOLDER).glob("step-*"))
        assert newest.name == f"step-{step - 1:012}.checkpoint"
    ends_the_same(lives, whole, where)


def test_killed_behind_its_training(lives, whole):
    """In the last save, and while the model is written."""
    for place in (whole[1] - 12, whole[1] - 6, whole[1] - 2):
        where = lives.new()
        assert lives.live(where, "fit", kill={"disk": place}) == -signal.SIGKILL
        ends_the_same(lives, whole, where)


def test_a_damaged_newest_checkpoint_after_a_kill(lives, whole):
    where = lives.new()
    assert lives.live(where, "fit", kill={"step": 25}) == -signal.SIGKILL
    newest = max((where / "r" / CHECKPOINTS_FOLDER).glob("step-*"))
    newest.write_bytes(newest.read_bytes()[:-50])
    assert lives.live(where, "resume") == 0, lives.errors()
    warnings = [body for _, stage, type_, body in told(where / "r") if type_ == "warning"]
    assert len(warnings) == 1
    assert f"{newest.name} cannot be used, so an older one is" in warnings[0]["said"]
    ends = [next(body for _, _, type_, body in records if type_ == "end")
            for records in (told(where / "r"), whole[0])]  # fmt: skip
    assert (ends[0]["weights"], ends[0]["best_weights"]) == (
        ends[1]["weights"],
        ends[1]["best_weights"],
    )


def test_cut_before_the_first_checkpoint(lives):
    where = lives.new()
    assert lives.live(where, "fit", kill={"disk": 22}) == -signal.SIGKILL
    assert (
        not list((where / "r" / CHECKPOINTS_FOLDER).glob("step-*"))
        if (where / "r").exists()
        else True
    )
    assert lives.live(where, "resume") == 2
    assert "r has no checkpoint to resume from" in lives.errors().splitlines()[-1]


# ------------------------------------------------------------- a full disk


def test_a_full_disk_stops_no_training(small_disk, penguins):
    """The checkpoint is not written, the records wait; later there is room for both."""
    disk = small_disk("2m")

    class Filler:
        def __call__(self, record):
            pass

        def step(self, done, total):
            if done == 10:
                with (disk / "stuff").open("wb", buffering=0) as file:
                    for size in (4096, 512, 64, 8, 1):
                        try:
                            while file.write(bytes(size)):
                                pass
                        except OSError:
                            continue
                during.append((disk / "r" / "trace.jsonl").read_bytes())
            if done == 29:
                during.append((disk / "r" / "trace.jsonl").read_bytes())
                (disk / "stuff").unlink()

        def close(self):
            pass

    during = []
    run = sl.fit(penguins, "species", network="MLP", epochs=4, checkpoint_epochs=1, device="cpu", quiet=True,
                 run=disk / "r", view=Filler())  # fmt: skip
    before, after = during
    assert after.startswith(before)
    assert len(after) - len(before) < 4096  # at most what the last page had room for
    assert after.endswith(b"\n")
    assert run.notes == []
    assert [record.seq for record in run.records] == list(range(len(run.records)))
    assert [epoch.number for epoch in run.epochs] == [0, 1, 2, 3, 4]
    said = [record.body["said"] for record in run.find("train", "warning")]
    assert said == [
        f"no checkpoint at step {step}: No space left on device; older checkpoints are kept"
        for step in (18, 27)
    ]  # fmt: skip
    assert sorted(p.name for p in (run.folder / CHECKPOINTS_FOLDER).iterdir()) == [
        f"step-{step:012}.checkpoint" for step in (0, 9, 36)
    ]  # fmt: skip


# ------------------------------------------------------------- the real command line


FIT = ["fit", "penguins.csv", "--target", "species", "--network", "MLP", "--epochs", "40", "--patience", "1000", "--device",
       "cpu", "--learning-rate", "0.003", "--ema", "0.99"]  # fmt: skip
SLOW = """
import sys, time
from sightline.cli.main import main
from sightline.pipeline import runner
steps = runner.Runner.steps
def slowly(self, training, inner):
    for step in steps(self, training, inner):
        time.sleep(0.01)
        yield step
runner.Runner.steps = slowly
sys.argv[0] = "sightline"
main()
"""


@pytest.fixture
def here(tmp_path, monkeypatch, penguins):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "penguins.csv").write_bytes(penguins.read_bytes())
    return tmp_path


def start(here, *arguments):
    """Start the command, a hundredth of a second slower at every step."""
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, *arguments], cwd=here, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, env=ENVIRONMENT,
    )  # fmt: skip


def until(condition):
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def epochs_done(run):
    path = run / "trace.jsonl"
    return path.read_bytes().count(b'"type": "epoch"') if path.is_file() else 0


def command(here, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "sightline", *arguments], cwd=here, capture_output=True, text=True,
        env=ENVIRONMENT, timeout=120, check=False,
    )  # fmt: skip


def end_of(run):
    return plain(dict(sl.Run(run).find("train", "end")[0].body))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, penguins):
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "penguins.csv").write_bytes(penguins.read_bytes())
    done = command(folder, *FIT, "--run", "r", "--quiet")
    assert done.returncode == 0, done.stderr
    return folder / "r"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_say_how_to_go_on(here, undisturbed, sightline, number, code):
    process = start(here, *FIT, "--run", "r", "--quiet")
    try:
        until(lambda: epochs_done(here / "r") > 2)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == code
    said = errors.decode().strip()
    step = int(max((here / "r" / CHECKPOINTS_FOLDER).iterdir()).name[5:17])
    assert 9 < step < 360
    assert said == (
        f"Interrupted after step {step:,}; a checkpoint is written. Go on with: sightline resume r"
    )
    done = sightline(*said.split("Go on with: sightline ")[1].split(), "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["epochs"] == 40
    assert end_of(here / "r") == end_of(undisturbed)


def test_a_second_ctrl_c_stops_at_once(here):
    program = SLOW.replace("main()\n", """
from sightline.train import checkpoints
write = checkpoints.write
def stuck(training, path, *more):
    if training.progress.steps:
        print("saving", flush=True)
        time.sleep(60)
    write(training, path, *more)
checkpoints.write = stuck
main()
""")  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", program, *FIT, "--run", "r", "--quiet"], cwd=here, env=ENVIRONMENT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        until(lambda: epochs_done(here / "r") > 2)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"saving\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert errors.decode().strip() == "Interrupted."
    assert [p.name for p in (here / "r" / CHECKPOINTS_FOLDER).iterdir()] == [
        f"step-{0:012}.checkpoint"
    ]


def test_kill_9_of_the_command_line_and_a_resume_while_it_lives(here, undisturbed, sightline):
    process = start(here, *FIT, "--run", "r", "--quiet", "--checkpoint-epochs", "1")
    try:
        until(lambda: epochs_done(here / "r") > 4)
        assert sightline("resume", "r") == (
            2, "", "Error: Another process is making the run r. Wait for its end, or stop it.\n"
        )  # fmt: skip
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert cut_in_training(here / "r")
    done = command(here, "resume", "r", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert end_of(here / "r") == end_of(undisturbed)
    assert sightline("resume", "r").err == "r is complete: there is nothing to continue.\n"


def test_edits_from_another_process_and_a_replay(here, sightline):
    """Five edits of different kinds, a sixth that is refused; the replay is the same to the bit."""
    process = start(here, *FIT, "--epochs", "100000", "--run", "r", "--quiet")
    try:
        until(lambda: epochs_done(here / "r") > 1)
        edits = command(here, "edit", "r", "--widen", "hidden.0=96", "--deepen", "hidden.0",
                        "--learning-rate", "0.001", "--freeze", "embeddings", "--batch-size", "48")  # fmt: skip
        refused = sightline("edit", "r", "--widen", "hidden.0=5")
        stopped = sightline("edit", "r", "--stop")
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (edits.returncode, edits.stderr) == (0, "")
    assert [line.split(" (")[0].split(":")[0] for line in edits.stdout.splitlines()] == [
        "hidden.0 widened to 96 units", "a layer inserted after hidden.0", "embeddings frozen",
        "learning rate 0.003 -> 0.001", "batch size 32 -> 48",
    ]  # fmt: skip
    assert refused.code == 2
    assert "hidden.0 cannot be widened from 96 units to 5" in refused.out
    assert stopped == (0, "stopped by an edit\n", "")
    assert (process.returncode, errors) == (0, b"")
    run = sl.Run(here / "r")
    assert run.find("train", "end")[0].body["edits"] == 6
    assert run.find("train", "end")[0].body["stopped"].startswith("stopped by an edit in epoch ")

    replayed = command(here, "replay", "r", "--to", "again", "--json")
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)["identical"] is True
    assert end_of(here / "again") == end_of(here / "r")
    losses = [[epoch.train_loss for epoch in sl.Run(here / name).epochs] for name in ("r", "again")]
    assert losses[0] == losses[1]

    # Another result is told apart: here, because the record of the first is another.
    path = Path(here / "r" / "trace.jsonl")
    weights = run.find("train", "end")[0].body["weights"]
    path.write_text(path.read_text().replace(weights, "0" * 64))
    other = sightline("replay", "r", "--to", "other")
    assert other.code == 1, other.err
    assert "gave weights other than the first time's" in other.out.replace("\n", " ")
