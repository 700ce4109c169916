"""What the tests share: the penguins, prepared tables, and the command line."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

import sightline as sl
from tests.arithmetic import Bfloat16, in_force
from tests.tools import reason_of, summary

# One thread: the networks are small, and the other cores run other tests.
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def pytest_addoption(parser):
    parser.addoption(
        "--bfloat16", action="store_true",
        help="let precision='auto' choose bfloat16 at every size, on every processor",
    )  # fmt: skip


def pytest_configure(config):
    if config.getoption("numprocesses", None):
        # The workers of pytest-xdist, and the processes that tests start, share the processors:
        # where each took all of them, they would wait for each other.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    if config.getoption("bfloat16"):
        config.pluginmanager.register(Bfloat16())


def pytest_report_header(config):
    return f"arithmetic: {in_force(config.getoption('bfloat16'))}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter):
    """Say last which tests did not run, why, and what would bring them."""
    result = yield
    skipped = terminalreporter.stats.get("skipped", [])
    for sentence in summary(reason_of(report.longrepr) for report in skipped):
        terminalreporter.write_line(sentence)
    return result


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def penguins():
    """The file that ships."""
    return Path(__file__).parent.parent / "examples" / "penguins.csv"


@pytest.fixture(scope="session")
def species(penguins):
    """The penguins, prepared to tell their species: 276 training and 34 validation rows."""
    return sl.prepare(sl.split(sl.read(penguins), target="species", seed=0))


@pytest.fixture(scope="session")
def weight(penguins):
    """The penguins, prepared to tell their body mass."""
    return sl.prepare(sl.split(sl.read(penguins), target="body_mass_g", seed=0))


@pytest.fixture
def sightline(monkeypatch):
    """Run the command inside this process: all of it but the start of Python.

    `stdin=None` is an input that is closed.
    """
    from sightline.cli.main import main

    def run(*arguments, stdin=None):
        out, err = io.BytesIO(), io.BytesIO()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["sightline", *map(str, arguments)])
            patch.setattr(sys, "stdin", None if stdin is None else io.StringIO(stdin))
            patch.setattr(sys, "stdout", io.TextIOWrapper(out, "utf-8", write_through=True))
            patch.setattr(sys, "stderr", io.TextIOWrapper(err, "utf-8", write_through=True))
            code = 0
            try:
                main()
            except SystemExit as end:
                code = end.code or 0
            text, errors = out.getvalue().decode(), err.getvalue().decode()
        return Said(code, text, errors)

    return run


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of a size such as "64k", and say where it is."""
    mounted = []

    def mount(size):
        if not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("mount"):
            pytest.skip("mounting a small file system needs root on Linux")
        disk = tmp_path / "disk"
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        done = subprocess.run(command, capture_output=True)
        if done.returncode:
            pytest.skip(f"mounting is not allowed here: {done.stderr.decode().strip()}")
        mounted.append(disk)
        return disk

    yield mount
    for disk in mounted:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture(scope="session")
def fitted(tmp_path_factory, penguins):
    """A folder with the penguins in it and a short run of them, `runs/a`; look, do not change."""
    folder = tmp_path_factory.mktemp("fitted")
    (folder / "penguins.csv").write_bytes(penguins.read_bytes())
    sl.fit(
        folder / "penguins.csv", "species", network="MLP", epochs=12, learning_rate=0.01, device="cpu",
        run=folder / "runs" / "a", quiet=True,
    )  # fmt: skip
    return folder
