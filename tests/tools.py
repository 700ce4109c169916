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


def summary(reasons: Iterable[str]) -> list[str]:
    """Say in one sentence for each missing tool how many tests were skipped for want of it."""
    counts = Counter(
        tool for reason in reasons for tool in COMMANDS if f"{tool} is not installed" in reason
    )
    where = {"postgresql": "databases", "moto": "object stores", "iproute2": "several hosts"}
    return [
        f"{count} test{'s' if count > 1 else ''} of {where.get(tool, 'the page')} did not run, because {tool} is not "
        f"installed; to install it on Debian, type: {COMMANDS[tool]}"
        for tool, count in counts.items()
    ]
