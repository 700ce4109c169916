"""Start-up: user and system time of `sightline --help` and `import sightline`.

    python -m benchmarks.startup [--repeats 9]

Target: under 0.3 s each.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

from benchmarks.common import save


def cost(command: list[str]) -> float:
    """Return a command's user + system seconds."""
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return (
        after.children_user - before.children_user + after.children_system - before.children_system
    )


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9, help="rounds")
    given = parser.parse_args()
    commands = {
        "sightline --help": [sys.executable, "-m", "sightline", "--help"],
        "import sightline": [sys.executable, "-c", "import sightline"],
    }
    seconds = {
        name: [cost(command) for _ in range(given.repeats)] for name, command in commands.items()
    }
    save(
        "startup",
        {
            "seconds": seconds,
            "median": {n: statistics.median(s) for n, s in seconds.items()},
            "goal": 0.3,
        },
    )


if __name__ == "__main__":
    main()
