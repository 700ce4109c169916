"""Our model compared with the best models for tables: same splits, default settings, one process per fit.

    python -m pip install -e . -r benchmarks/quality-requirements.txt
    python -m benchmarks.quality FILE.csv[.gz][:target] ... [--systems ours,ours-best@120,lightgbm,...]
        [--seeds 0-2] [--limit 600] [--threads 2] [--categories FILE] [--redo ours,...]
        [--autogluon-python PATH] [--folder benchmarks/results]
    python -m benchmarks.quality --summary-only [FILE ...] [--systems ...] [--seeds ...] [--version V]

Each table is a CSV file; its target is the last column, or the one named after the colon. Each fit has
a file of its own, `benchmarks/results/quality/TABLE/...json` (`benchmarks/quality_fits.py` says how it is named): what
has one is not measured again. --redo measures some systems again; a failed fit is always tried again.
At the end the fits of the systems and tables that the command names are summarised on the terminal. --summary-only writes
`quality_summary.json` and `.png` from all files, or those that it names, so that fits measured on different days
combine (`benchmarks/quality_summary.py`); with development seeds, `quality_summary_development.json` and `.png`.

A system may have a time limit for fitting: `ours-best@120` has 120 s. AutoGluon needs one, and
an environment of its own (`benchmarks/autogluon_peer.py`).

Splits: seeds below 100 are the splits of the figures, 80 % for training and 20 % for the test. Seeds
from 100 on are for development: seed k cuts the training rows of the figures' split k % 3 in the same way, and
never touches that split's test rows (it may have those of other figures' splits). Without --seeds, tables below 5,000 rows get seeds 0-9, and others 0-2.

A fit that exceeds --limit (twice its own time limit if that is longer) is stopped and ranked last on that table,
as is a fit that fails. A system that exceeds it on a table is not fitted there with the other seeds. A stopped
fit counts as measured: after a longer --limit, name the system with --redo.

Times are meaningful only on an idle machine. OpenMP's threads spin while they wait for each other, and if they
share a core with other work, a fit of 0.1 s takes 15 s; so every fit has OMP_WAIT_POLICY=PASSIVE. Scores do not
depend on the load, except those of a system with a time limit. Each fit records its threads, its limit and the
machine's load.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, machine
from benchmarks.quality_fits import (
    AUTOGLUON,
    DEVELOPMENT,
    DISTRIBUTIONS,
    Fit,
    Key,
    System,
    label,
    measured,
    seeds_of,
    slug,
    stored,
    version_of,
    write,
)

HERE = Path(__file__).resolve().parent
PREDICT_ROWS = 100_000
FEW_ROWS, MANY_SEEDS, FEW_SEEDS = 5_000, 10, 3

# The process that starts fits imports nothing large: a child's peak memory starts at its parent's.


def fit(job: Mapping[str, Any], python: str, module: str) -> Fit:
    """Run one fit in a new process; a failure is an outcome too."""
    threads = str(job["threads"])
    python_path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {
        **os.environ, **dict.fromkeys(names, threads), "CUDA_VISIBLE_DEVICES": "", "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), *(str(Path(p).resolve()) for p in python_path if p)]),
    }  # fmt: skip
    if module == "benchmarks.autogluon_peer":  # other packages are those of its own environment
        environment["PYTHONPATH"] = str(HERE.parent)
    with (
        tempfile.TemporaryDirectory() as folder
    ):  # some models write files into the working directory
        try:
            done = subprocess.run(
                [python, "-m", module, json.dumps(job)],
                env=environment, cwd=folder, capture_output=True, text=True,
                timeout=2 * job["limit"] + 300,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            return {"failed": f"reading, fitting and predicting took over {error.timeout:g} s"}
    if done.returncode == -signal.SIGALRM:
        return {"cut": f"the fit took over {job['limit']} s"}
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if last.startswith("{"):
        return dict(json.loads(last))
    if done.returncode < 0:
        return {"failed": f"killed by {signal.Signals(-done.returncode).name}"}
    return {"failed": done.stderr.strip()[-500:] or f"exit code {done.returncode}"}


def tables(given: Iterable[str], categories: Mapping[str, list[str]]) -> dict[str, dict[str, Any]]:
    """Read FILE[:target] from the command line: name -> path, rows, and what identifies the table."""
    result = {}
    for text in given:
        name, target = (text, None) if Path(text).exists() else (text.rpartition(":")[::2])
        path = Path(name)
        if not path.is_file():
            raise ValueError(f"{text}: the file does not exist.")
        table = path.name.split(".")[0]
        if table in result:
            raise ValueError(f"Two files are called {table}; rename one.")
        content = path.read_bytes()
        plain = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
        source = {
            "sha256": hashlib.sha256(content).hexdigest(), "target": target,
            "categories": categories.get(table, []),
        }  # fmt: skip
        rows = sum(map(bool, csv.reader(plain.splitlines(keepends=True)))) - 1
        result[table] = {"path": str(path.resolve()), "rows": rows, "source": source}
    return result


def seeds_for(rows: int) -> list[int]:
    """Return the seeds of a table for which none are named."""
    return list(range(MANY_SEEDS if rows < FEW_ROWS else FEW_SEEDS))


def wanted(fits: Iterable[Fit], given: argparse.Namespace) -> list[Fit]:
    """Return the stored fits that the command line asks for; the figures' splits if it names no seeds."""
    names = {Path(text.rpartition(":")[0] or text).name.split(".")[0] for text in given.files}
    systems = {str(system) for system in given.systems or ()}
    return [
        fit for fit in fits
        if (fit["seed"] in given.seeds if given.seeds else fit["seed"] < DEVELOPMENT)
        and (not names or fit["table"] in names) and (not systems or label(fit) in systems)
    ]  # fmt: skip


def summarise(given: argparse.Namespace) -> None:
    """Print the summary of the files that the command line asks for; write it too if it asks for that alone."""
    from benchmarks.quality_summary import show, summarise

    summary = summarise(wanted(stored(given.folder), given), given.version, given.processor)
    show(summary)
    if given.summary_only:
        from benchmarks.quality_picture import draw

        name = "quality_summary" + "_development" * (summary["splits"] == "development")
        path = given.folder / f"{name}.json"
        write(path, {"benchmark": name, **summary})
        draw(summary, path.with_suffix(".png"))
        print(f"{path}, {path.with_suffix('.png')}")


def measure(given: argparse.Namespace) -> None:
    """Measure what has no file yet; systems take turns, so that slow hours affect all of them."""
    categories = json.loads((HERE / "categories.json").read_text(encoding="utf-8"))
    if given.categories:
        categories |= json.loads(given.categories.read_text(encoding="utf-8"))
    requested = tables(given.files, categories)
    systems = given.systems or [System(name) for name in DISTRIBUTIONS if name not in AUTOGLUON]
    if absent := [str(system) for system in given.redo if system not in systems]:
        raise ValueError(f"--redo {','.join(absent)}: --systems must name it too.")
    versions = {system: version_of(system, given.autogluon_python) for system in systems}
    seeds = {table: given.seeds or seeds_for(about["rows"]) for table, about in requested.items()}
    here = machine()
    for seed in sorted({seed for each in seeds.values() for seed in each}):
        for table in (table for table in requested if seed in seeds[table]):
            for system in systems:
                key = Key(system, versions[system]["version"], table, seed, slug(here["processor"]))
                path, source = key.path(given.folder), requested[table]["source"]
                if measured(path, source) and system not in given.redo:
                    continue
                limit = max(given.limit, 2 * (system.budget or 0))
                load = round(os.getloadavg()[0], 2)  # shows later which times are reliable
                at = {
                    **key.fields(), **versions[system], "threads": given.threads, "limit": limit,
                    "load_before": load, "when": datetime.now(UTC).isoformat(timespec="seconds"),
                    "source": source, "machine": {k: here[k] for k in ("processor", "cores", "system")},
                }  # fmt: skip
                if too_slow(key, given.folder, seeds[table], given.redo):
                    outcome: Fit = {"cut": "with another seed, so that it was not tried with this one"}  # fmt: skip
                else:
                    job = {
                        "model": system.name, "path": requested[table]["path"], **source, "seed": seed,
                        "threads": given.threads, "limit": limit, "predict_rows": PREDICT_ROWS,
                        "budget": system.budget,
                    }  # fmt: skip
                    del job["sha256"]
                    outside = system.name in AUTOGLUON
                    outcome = fit(
                        job, given.autogluon_python if outside else sys.executable,
                        "benchmarks.autogluon_peer" if outside else "benchmarks.peers",
                    )  # fmt: skip
                write(path, at | outcome)
                text = f"{outcome['score']:.5g} in {outcome['fit_seconds']} s" if "score" in outcome else outcome  # fmt: skip
                print(f"{table} seed {seed} {system}: {text}", flush=True)


def too_slow(key: Key, folder: Path, seeds: Iterable[int], redo: Iterable[System]) -> bool:
    """Say whether the system was stopped on this table with an earlier seed of this command."""
    for seed in seeds:
        path = key._replace(seed=seed).path(folder)
        earlier = seed < key.seed or key.system not in redo
        if earlier and path.exists() and "cut" in json.loads(path.read_text(encoding="utf-8")):
            return True
    return False


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""

    def read(what: Callable[[str], Any]) -> Callable[[str], Any]:
        def checked(text: str) -> Any:
            try:
                return what(text)
            except ValueError as error:
                raise argparse.ArgumentTypeError(str(error)) from None

        return checked

    systems = read(lambda text: [System.of(one) for one in text.split(",")])
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("files", nargs="*", metavar="FILE[:target]", help="CSV files; the target is the last column, or the one after the colon")  # fmt: skip
    add("--systems", type=systems, help="comma-separated systems, each with @SECONDS if it has a time limit")  # fmt: skip
    add("--seeds", type=read(seeds_of), help="splits such as 0-2, or development splits such as 100-104")  # fmt: skip
    add("--limit", type=int, default=600, help="seconds after which a fit is stopped")
    add("--threads", type=int, default=os.cpu_count(), help="threads per fit")
    add("--categories", type=Path, help="JSON file with the categorical columns of further tables")
    add("--redo", type=systems, default=[], help="comma-separated systems to measure again")
    add("--autogluon-python", help="the interpreter of AutoGluon's environment")
    add("--folder", type=Path, default=RESULTS, help="where the results are")
    add("--summary-only", action="store_true", help="summarise the files, measure nothing")
    add("--version", help="the version of ours in the summary; without it the newest commit")
    add("--processor", help="the processor whose times count in the summary")
    given = parser.parse_args(words)
    if not (given.files or given.summary_only):
        parser.error("name the CSV files to measure, or give --summary-only")
    return given


def main() -> None:
    """Measure, summarise, draw."""
    given = parse()
    try:
        if not given.summary_only:
            measure(given)
        summarise(given)
    except ValueError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
