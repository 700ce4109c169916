"""Tools that some tests need and pip does not install, each with the command that installs it."""

import os
from collections import Counter
from collections.abc import Iterable

import pytest

COMMANDS = {
    "chromium": "apt-get install chromium",
    "axe-core": "npm install --no-package-lock --prefix tests/page",
    "postgresql": "apt-get install postgresql",
    "iproute2": "apt-get install iproute2",
    "moto": "make .venv-moto/.installed",
}
"""Commands for Debian; npm itself comes with `apt-get install npm`."""


def missing(tool: str) -> None:
    """Skip a test whose tool is not installed; in CI that is a failure."""
    reason = f"{tool} is not installed: {COMMANDS[tool]}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def reason_of(longrepr: object) -> str:
    """Return why a test was skipped, of the `longrepr` of its report: with pytest-xdist it is a list."""
    reason = longrepr[-1] if isinstance(longrepr, tuple | list) else longrepr
    return str(reason).removeprefix("Skipped: ")


def summary(reasons: Iterable[str]) -> list[str]:
    """Say in a sentence for each missing tool, and for each other reason, how many tests were skipped."""
    where = {"postgresql": "databases", "moto": "object stores", "iproute2": "several hosts"}
    tools: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for reason in reasons:
        tool = next((tool for tool in COMMANDS if f"{tool} is not installed" in reason), None)
        if tool is None:
            others[" ".join(reason.split())] += 1
        else:
            tools[tool] += 1
    return [
        *(f"{_tests(count)} did not run: {reason}" for reason, count in others.items()),
        *(
            f"{_tests(count)} of {where.get(tool, 'the page')} did not run, because {tool} is not "
            f"installed; to install it on Debian, type: {COMMANDS[tool]}"
            for tool, count in tools.items()
        ),
    ]


def _tests(count: int) -> str:
    return f"{count} test{'s' if count > 1 else ''}"
