"""A run of the tests without a browser says so at its end; in CI it fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import COMMANDS, missing, summary

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
        "4 tests of the page did not run, because chromium is not installed; to install it on "
        "Debian, type: apt-get install chromium"
    )
    assert total.startswith("4 skipped")


def test_in_ci_a_missing_browser_is_a_failure() -> None:
    done = pytest_without_a_browser(CI="true")
    assert done.returncode == 1
    assert "chromium is not installed: apt-get install chromium" in done.stdout
    assert "4 errors" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("tool", COMMANDS)
def test_each_tool_is_named_with_its_command(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception) as skipped:
        missing(tool)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="is not installed"):
        missing(tool)
    reasons = [str(skipped.value), "fcntl: Windows cannot tell"]
    (sentence,) = summary(reasons)
    where = {"postgresql": "databases", "moto": "object stores", "iproute2": "several hosts"}.get(
        tool, "the page"
    )
    assert sentence.startswith(f"1 test of {where} did not run, because {tool} is not installed;")
    assert sentence.endswith(f": {COMMANDS[tool]}")
    assert summary(["fcntl: Windows cannot tell"]) == []
