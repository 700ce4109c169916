"""Run the tests whose results depend on arithmetic as other processors would: `make test-arithmetic`.

    python -m tests.arithmetic [NAME ...] [-- PYTEST OPTIONS]

Processors differ in their instructions and in the order in which they add, so the last digits of a
loss differ too. No test, and nothing that a reader is told to type, may depend on them. Each
arithmetic gets a process of its own, because PyTorch chooses its kernels when it is imported; the
header of pytest names what is in force.
"""

import functools
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from sightline.train import plan

PATHS = [
    "tests/build", "tests/prepare", "tests/train", "tests/predict", "tests/golden",
    "tests/metrics", "tests/evaluate", "tests/lesson", "tests/flow/test_reference_run.py",
    "tests/pipeline/test_recipe.py", "tests/pipeline/test_folder.py", "tests/pipeline/test_lessons.py", "tests/test_docstrings.py",
]  # fmt: skip
"""The tests that depend on arithmetic and are quick."""
DOCS = "tests/test_docs.py"


class Arithmetic(NamedTuple):
    """The environment and the options of pytest that make an arithmetic.

    Without `docs` the blocks of the documentation are left out: they run in processes of their own,
    where the arithmetic is the one in which `make test` has run them.
    """

    environment: dict[str, str]
    options: tuple[str, ...] = ()
    docs: bool = True


ARITHMETICS = {
    "sse4": Arithmetic(
        {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41",
         "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "OPENBLAS_CORETYPE": "Nehalem"}
    ),
    "avx2": Arithmetic(
        {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2",
         "MKL_ENABLE_INSTRUCTIONS": "AVX2", "OPENBLAS_CORETYPE": "Haswell"}
    ),
    "bfloat16": Arithmetic({}, ("--bfloat16",), docs=False),
    "one-thread": Arithmetic({"OMP_NUM_THREADS": "1"}, docs=False),
    # Passive: workers that outnumber the processors must not wait for each other at full speed.
    "two-threads": Arithmetic({"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}),
}  # fmt: skip


def in_force(bfloat16: bool) -> str:
    """Name what this process really computes with."""
    return (
        f"{torch.backends.cpu.get_cpu_capability()}, at most {torch.get_num_threads()} of "
        f"{os.cpu_count()} threads, precision 'auto' "
        + ("is always bfloat16" if bfloat16 else "chooses for itself")
    )


class Bfloat16:
    """A plugin of pytest: "auto" chooses bfloat16 at every size where it is used at all, and at least one plan must.

    Subprocesses that tests start choose for themselves. A test of the choice itself takes the
    function back with `inspect.unwrap(plan.choose_precision)`.
    """

    def __init__(self) -> None:
        self.plans = 0
        original = plan.choose_precision

        @functools.wraps(original)
        def choose_precision(trial: plan.Trial, device: str, threads: int) -> tuple[str, str]:
            if device not in ("cpu", "cuda"):
                return original(trial, device, threads)
            self.plans += 1
            return "bfloat16", "the tests were started with --bfloat16"

        plan.choose_precision = choose_precision

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        """Add the plans of a worker of pytest-xdist, which ended."""
        self.plans += getattr(node, "workeroutput", {}).get("bfloat16_plans", 0)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["bfloat16_plans"] = self.plans
        elif session.testscollected and not self.plans:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.write_line(f"Plans that chose bfloat16: {self.plans}")


def main(arguments: list[str]) -> int:
    names, options = arguments, []
    if "--" in arguments:
        at = arguments.index("--")
        names, options = arguments[:at], arguments[at + 1 :]
    unknown = sorted(set(names) - set(ARITHMETICS))
    if unknown:
        print(f"There is no arithmetic {unknown[0]}. Choose among {', '.join(ARITHMETICS)}.")  # noqa: T201
        return 2
    failed = []
    for name in names or ARITHMETICS:
        environment, more, docs = ARITHMETICS[name]
        words = [f"{key}={value}" for key, value in environment.items()]
        print("\n===", name, *words, *more, flush=True)  # noqa: T201
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-v", *more, *options, *PATHS, *([DOCS] if docs else [])],
            cwd=Path(__file__).parent.parent, env={**os.environ, **environment},
        )  # fmt: skip
        print(f"=== {name}: {time.monotonic() - began:.0f} s", flush=True)  # noqa: T201
        if done.returncode:
            failed.append(name)
    print(f"\nFailed: {', '.join(failed)}" if failed else "\nThe tests pass under each arithmetic.")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
