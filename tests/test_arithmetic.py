"""The arithmetic of another processor is really in force, or the run fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.arithmetic import ARITHMETICS, DOCS, PATHS, main

ROOT = Path(__file__).parent.parent


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("test", "plans", "code"),
    [
        (
            "test_training.py::test_epoch_0_is_the_untrained_network",
            "Plans that chose bfloat16: 1",
            0,
        ),
        ("test_plan.py::test_a_seed_fits_every_generator", "Plans that chose bfloat16: 0", 1),
    ],
)
def test_a_run_in_bfloat16_without_a_plan_in_bfloat16_fails(
    test: str, plans: str, code: int
) -> None:
    done = run("--bfloat16", f"tests/train/{test}")
    assert (done.returncode, "1 passed" in done.stdout) == (code, True), done.stdout + done.stderr
    assert plans in done.stdout
    assert "precision 'auto' is always bfloat16" in done.stdout


def test_the_header_names_what_is_in_force() -> None:
    done = run("tests/train/test_plan.py", "-k", "seed_fits", ATEN_CPU_CAPABILITY="default",
               OMP_NUM_THREADS="2")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("arithmetic: "))
    assert line.startswith(f"arithmetic: DEFAULT, at most 2 of {os.cpu_count()} threads")
    assert line.endswith("precision 'auto' chooses for itself")


def test_a_name_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["avx3"]) == 2
    said = capsys.readouterr().out
    assert said.startswith("There is no arithmetic avx3. Choose among sse4, ")
    assert all(name in said for name in ARITHMETICS)


@pytest.mark.parametrize("path", [*PATHS, DOCS])
def test_the_paths_are_there(path: str) -> None:
    assert (ROOT / path).exists()
