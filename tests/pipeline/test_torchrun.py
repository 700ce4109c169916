"""Fits that torchrun starts: as one process would make them, also where processes are killed and started again."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import sightline as sl
from sightline.cli.main import cli
from sightline.contracts import FitOptions
from sightline.errors import OptionError, RunError
from sightline.load.databases import Query
from sightline.pipeline.together import check_together, goes_on
from sightline.trace.records import find, read_records
from sightline.train.commands import send, write_command
from sightline.train.processes import Processes
from tests.tools import missing
from tests.train.test_processes import table

SECONDS = 90
PLAIN = {
    "quality": "fast", "dropout": 0.0, "epochs": 20, "batch_size": 32, "class_weights": "balanced", "device": "cpu",
    "precision": "float32", "baselines": False, "report": False,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table(301).drop(columns="number").to_csv("t.csv", index=False)
    return tmp_path


def arguments(**options):
    words = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        words += [f"--no-{flag}"] if value is False else [f"--{flag}", str(value)]
    return words


class Launched:
    """A fit of two processes that torchrun has started."""

    def __init__(self, folder, *words, restarts=0):
        self.run = folder / "run"
        self.log = (folder / "torchrun.log").open("w+")
        # torchrun would take --run for an abbreviation of its own --run-path, were it not for the "--".
        self.process = subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
             "--max-restarts", str(restarts), "-m", "--", "sightline", *words],
            cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=self.log, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip

    def records(self):
        return read_records(self.run)[0] if (self.run / "trace.jsonl").is_file() else []

    def wait_for(self, what, holds):
        until = time.monotonic() + SECONDS
        while not holds():
            assert time.monotonic() < until, f"no {what}:\n{self.said()}"
            assert self.process.poll() is None, f"ended before {what}:\n{self.said()}"
            time.sleep(0.02)

    def wait_for_record(self, type_, holds=lambda body: True):
        self.wait_for(type_, lambda: any(r.type == type_ and holds(r.body) for r in self.records()))

    def wait_for_epoch(self, number):
        self.wait_for_record("epoch", lambda body: body["number"] >= number)

    def workers(self):
        """The processes by rank."""
        found = {}
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():  # fmt: skip
            try:
                variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            except OSError:  # it has just ended
                continue
            ranks = [int(v[5:]) for v in variables if v.startswith(b"RANK=")]
            found.update(dict.fromkeys(ranks, int(child)))
        return found

    def kill(self, rank):
        """Kill a process, and wait until torchrun has started both again."""
        self.wait_for("workers", lambda: len(self.workers()) == 2)
        before = self.workers()
        os.kill(before[rank], signal.SIGKILL)
        self.wait_for("restart", lambda: len(now := self.workers()) == 2 and not set(now.values()) & set(before.values()))  # fmt: skip

    def end(self):
        return self.process.wait(SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            for pid in [*self.workers().values(), self.process.pid]:
                os.kill(pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()

    def said(self):
        self.log.seek(0)
        return self.log.read()


def curve(records):
    """The losses of each epoch; an accuracy may jump by a row where two processes round otherwise than one."""
    return [[e.body["number"], e.body["train_loss"], e.body["valid_loss"]] for e in find(records, "train", "epoch")]  # fmt: skip


def check_same(one, other):
    # Rounding grows in 60 epochs.
    assert np.array(curve(one)) == pytest.approx(np.array(curve(other)), rel=1e-2, abs=1e-3)


def test_a_run_whose_processes_are_killed_ends_as_if_nothing_had_happened(folder):
    alone = sl.fit("t.csv", "class", run="alone", quiet=True, **PLAIN)
    words = arguments(**PLAIN, run="run", checkpoint_epochs=1)
    with Launched(folder, "fit", "t.csv", "--target", "class", *words, restarts=4) as fit:
        fit.kill(1)  # while it is imported, or reads the table
        fit.wait_for_epoch(3)
        fit.kill(0)
        fit.wait_for_epoch(9)
        fit.kill(1)
        fit.wait_for_record("end")
        fit.kill(0)  # while the trees are grown
        assert fit.end() == 0, fit.said()
    records, _ = read_records(fit.run)
    check_same(records, alone.records)
    assert find(records, "train", "plan")[0].body["processes"] == 2
    assert len(find(records, "run", "end")) == len(find(records, "train", "end")) == 1
    assert records[-1].attempt == 4  # the first process 0 was killed before it wrote anything
    assert [record.seq for record in records] == list(range(len(records)))
    assert sl.Model.load(fit.run / "model.sightline").classes == ("no", "yes")


def test_a_run_of_two_processes_is_paused_edited_interrupted_and_resumed_by_one(folder):
    options = PLAIN | {"network": "MLP", "epochs": 60}
    del options["quality"], options["dropout"]
    words = arguments(**options, run="run")
    with Launched(folder, "fit", "t.csv", "--target", "class", *words) as fit:
        fit.wait_for_epoch(1)
        write_command(fit.run, {"pause": True})
        fit.wait_for_record("paused")
        send(fit.run, [sl.Widen("hidden.0", 96), sl.Deepen("hidden.0")])
        send(fit.run, [sl.Widen("hidden.9", 96)])
        time.sleep(0.5)
        assert not find(fit.records(), "train", "edit")
        write_command(fit.run, {"continue": True})
        fit.wait_for("edits", lambda: len(find(fit.records(), "train", "edit")) == 2)
        fit.wait_for_epoch(len(find(fit.records(), "train", "epoch")) + 1)
        fit.process.send_signal(signal.SIGINT)
        assert fit.end() != 0
        said = fit.said()
    records, _ = read_records(fit.run)
    assert not find(records, "train", "end")
    step = max(r.body["step"] for r in find(records, "train", "checkpoint"))
    assert f"Interrupted after step {step:,}; a checkpoint is written." in said
    assert "has lost" not in said
    resumed = sl.resume(fit.run, quiet=True)
    assert [len(find(resumed.records, "train", t)) for t in ("edit", "refused")] == [2, 1]
    check_same(resumed.records, sl.replay(fit.run, quiet=True).records)


def need_hosts():
    """Skip the test where hosts cannot be made of network namespaces."""
    if shutil.which("ip") is None:
        missing("iproute2")
    name = f"sightline-try-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True)
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    if made.returncode:
        pytest.skip("network namespaces need root")


RANK = """
import sys
from sightline.train import processes
processes.BEAT_SECONDS, processes.LOST_SECONDS = 0.2, 4.0
from sightline.cli.main import main
sys.argv[0] = "sightline"
main()
"""


def test_a_network_between_two_hosts_that_breaks_ends_in_one_line_and_a_run_to_resume(folder):
    need_hosts()
    hosts = [f"sightline-{os.getpid()}-{n}" for n in (0, 1)]
    links = [f"sl{os.getpid() % 100000}{n}" for n in (0, 1)]

    def ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        for host in hosts:
            ip("netns", "add", host)
            ip("-n", host, "link", "set", "lo", "up")
        ip("link", "add", links[0], "netns", hosts[0], "type", "veth", "peer", "name", links[1], "netns", hosts[1])  # fmt: skip
        for n, (host, link) in enumerate(zip(hosts, links, strict=True)):
            ip("-n", host, "addr", "add", f"10.77.0.{n + 1}/24", "dev", link)
            ip("-n", host, "link", "set", link, "up")
        options = PLAIN | {"network": "MLP", "epochs": 60, "run": "run", "checkpoint_epochs": 1}
        del options["quality"], options["dropout"]
        (folder / "rank.py").write_text(RANK)
        words = [sys.executable, "rank.py", "fit", "t.csv", "--target", "class", "--quiet", *arguments(**options)]  # fmt: skip
        environment = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "10.77.0.1", "MASTER_PORT": "29500", "OMP_NUM_THREADS": "1"}  # fmt: skip
        ranks = [
            subprocess.Popen(
                ["ip", "netns", "exec", host, *words], cwd=folder, stderr=subprocess.PIPE, text=True,
                env={**environment, "RANK": str(n), "LOCAL_RANK": "0", "GLOO_SOCKET_IFNAME": links[n]},
            ) for n, host in enumerate(hosts)
        ]  # fmt: skip
        run, until = folder / "run", time.monotonic() + SECONDS
        while not (run / "trace.jsonl").is_file() or len(find(read_records(run)[0], "train", "epoch")) < 3:  # fmt: skip
            assert time.monotonic() < until
            assert [rank.poll() for rank in ranks] == [None, None], ranks[0].communicate()[1]
            time.sleep(0.05)
        ip("-n", hosts[0], "link", "set", links[0], "down")
        for n, rank in enumerate(ranks):
            said = rank.communicate(timeout=SECONDS)[1]
            assert rank.returncode == 2
            (line,) = [
                line for line in said.splitlines() if not re.match(r"\[[WE]\d+", line)
            ]  # PyTorch's own
            assert line.startswith(f"Error: Process {n} of 2 has lost another one: ")
            assert line.endswith("go on with: sightline resume run")
    finally:
        for rank in locals().get("ranks", []):
            rank.kill()
        for host in hosts:
            subprocess.run(["ip", "netns", "del", host], capture_output=True)
    resumed = sl.resume(run, quiet=True)
    assert resumed.epochs[-1].number == 60
    check_same(resumed.records, sl.replay(run, quiet=True).records)


# ------------------------------------------------------------- what is refused, and what goes on


@pytest.mark.parametrize("command", ["tune", "replay", "demo", "distill"])
def test_commands_for_one_process_refuse_several(command, monkeypatch, folder):
    values = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    words = {
        "tune": ["t.csv", "--target", "class"],
        "replay": ["run"],
        "demo": [],
        "distill": ["run", "t.csv", "-o", "s.sightline"],
    }[command]
    with pytest.raises(OptionError, match=f"{command} is for one process, and torchrun has started 2"):  # fmt: skip
        cli([command, *words], standalone_mode=False)


def test_rows_that_are_read_only_once_are_refused(folder):
    two = Processes(0, 2)
    for source in ("-", Query("sqlite:///t.db", "t")):
        with pytest.raises(OptionError, match="read only once"):
            check_together(source, FitOptions.of("y"), two)
    with pytest.raises(OptionError, match="--watch"):
        check_together("t.csv", FitOptions.of("y", watch=True, network="n.py:Net"), two)
    check_together("t.csv", FitOptions.of("y"), two)
    check_together("-", FitOptions.of("y", watch=True, network="n.py:Net"), Processes())


def test_only_a_run_of_the_same_command_goes_on(folder, monkeypatch):
    options = FitOptions.of("class", run="run", **PLAIN | {"epochs": 2})
    processes = Processes(0, 2, "run")
    assert not goes_on("t.csv", options, Processes())
    assert not goes_on("t.csv", options, processes)
    Path("run").mkdir()
    assert not goes_on("t.csv", options, processes)
    Path("run/mine.txt").touch()
    with pytest.raises(RunError, match="exists already"):
        goes_on("t.csv", options, processes)
    shutil.rmtree("run")

    sl.fit("t.csv", "class", run="run", quiet=True, **PLAIN | {"epochs": 2})
    options = FitOptions.of("class", run="run", quiet=True, **PLAIN | {"epochs": 2})
    with pytest.raises(RunError, match="exists already"):  # it is complete
        goes_on("t.csv", options, processes)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert goes_on("t.csv", options, processes)  # process 0 was killed after its last record
    trace = Path("run/trace.jsonl")
    lines = [line for line in trace.read_text().splitlines() if json.loads(line)["stage"] != "run" or json.loads(line)["type"] == "start"]  # fmt: skip
    trace.write_text("\n".join(lines) + "\n")
    assert goes_on("t.csv", options, processes)
    for shown in ({"quiet": False}, {"live": True}, {"engine": "ray"}):
        options = FitOptions.of(
            "class", run="run", **{"quiet": True, **shown}, **PLAIN | {"epochs": 2}
        )
        assert goes_on("t.csv", options, processes)
    other = FitOptions.of("class", run="run", quiet=True, **PLAIN | {"epochs": 3})
    for source, asked in (("t.csv", other), ("other.csv", options)):
        with pytest.raises(RunError, match="exists already"):
            goes_on(source, asked, processes)
    shutil.rmtree("run/checkpoints")
    assert not goes_on("t.csv", options, processes)
    assert not Path("run").exists()
