"""Load for minutes, with flat memory and no failed request: `make soak`, or `python -m tests.serve.soak --minutes 15`."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import sightline as sl
from tests.serve.load import Load
from tests.serve.served import serving
from tests.serve.test_faults import resident

MOST_GROWTH = 30e6
"""Bytes, from the second minute on."""
PENGUINS = Path(__file__).parent.parent.parent / "examples" / "penguins.csv"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=15)
    minutes = parser.parse_args().minutes
    table = sl.read(PENGUINS)
    rows = {"rows": [table.row(number) for number in range(3)]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.sightline"
        sl.fit(PENGUINS, "species", quality="fast", run=Path(folder) / "run", report=False, quiet=True).model.save(path, onnx=True)  # fmt: skip
        with (
            serving(path, "--drain", 0) as server,
            Load(server, "predict", rows, clients=4) as load,
        ):
            (worker,) = server.workers()
            sizes = []
            end = time.monotonic() + 60 * minutes
            while time.monotonic() < end:
                time.sleep(min(30, 60 * minutes / 4))
                sizes.append(resident(worker))
                sys.stdout.write(
                    f"{sum(load.statuses.values()):,} requests, {sizes[-1] / 1e6:.1f} MB\n"
                )
                sys.stdout.flush()
    growth = max(sizes[1:]) - sizes[1]
    failed = {status: count for status, count in load.statuses.items() if status != 200}
    if failed or growth > MOST_GROWTH:
        sys.exit(f"failed requests: {failed}; the memory grew by {growth / 1e6:.1f} MB")
    sys.stdout.write(
        f"{load.statuses[200]:,} requests, none failed; the memory grew by {growth / 1e6:.1f} MB\n"
    )


if __name__ == "__main__":
    main()
