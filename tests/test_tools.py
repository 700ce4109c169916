"""A run of the tests without a browser says so at its end; in CI it fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import COMMANDS, missing, reason_of, summary

ROOT = Path(__file__).parent.parent
PAGE = "tests/page/test_browser.py::test_strange_addresses_open_the_page_all_the_same"


def pytest_without_a_browser(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "CI"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, PAGE],
        cwd=ROOT, env={**inherited, "PATH": "/nowhere", **environment}, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["one process", "two workers"])
def test_skipped_tests_of_the_page_are_counted_in_the_last_lines(options: list[str]) -> None:
    done = pytest_without_a_browser(*options)
    assert done.returncode == 0, done.stdout + done.stderr
    *_, sentence, total = done.stdout.splitlines()
    assert sentence == (
        "8 tests of the page did not run, because chromium is not installed; to install it on "
        "Debian, type: apt-get install chromium"
    )
    assert total.startswith("8 skipped")


def test_in_ci_a_missing_browser_is_a_failure() -> None:
    done = pytest_without_a_browser(CI="true")
    assert done.returncode == 1
    assert "chromium is not installed: apt-get install chromium" in done.stdout
    assert "8 errors" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("tool", COMMANDS)
def test_each_tool_is_named_with_its_command(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception) as skipped:
        missing(tool)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="is not installed"):
        missing(tool)
    (sentence,) = summary([str(skipped.value)])
    where = {"postgresql": "databases", "moto": "object stores", "iproute2": "several hosts"}.get(
        tool, "the page"
    )
    assert sentence.startswith(f"1 test of {where} did not run, because {tool} is not installed;")
    assert sentence.endswith(f": {COMMANDS[tool]}")


def test_other_reasons_are_counted_too() -> None:
    reasons = [
        "needs a GPU",
        "needs a\n GPU",
        "moto is not installed: make x",
        "Windows cannot tell",
    ]
    assert summary(reasons) == [
        "2 tests did not run: needs a GPU",
        "1 test did not run: Windows cannot tell",
        "1 test of object stores did not run, because moto is not installed; to install it on Debian, type: "
        "make .venv-moto/.installed",
    ]
    assert summary([]) == []


@pytest.mark.parametrize("longrepr", [("a.py", 3, "Skipped: no GPU"), ["a.py", 3, "Skipped: no GPU"], "no GPU"])  # fmt: skip
def test_the_reason_of_a_report(longrepr: object) -> None:
    assert reason_of(longrepr) == "no GPU"


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["one process", "two workers"])
def test_a_reason_is_shown_at_the_end(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(
        "import pytest\n\n\n@pytest.mark.skip(reason='this machine has no GPU')\n"
        "@pytest.mark.parametrize('n', [1, 2])\ndef test_x(n):\n    pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "tests.conftest", f"--rootdir={tmp_path}",
         *options, str(tmp_path / "test_x.py")],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 tests did not run: this machine has no GPU" in done.stdout.splitlines()[-2:][0]
