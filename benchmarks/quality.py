"""Our model compared with the best models for tables: same splits, default settings, one process per fit.

    python -m pip install -e . -r benchmarks/quality-requirements.txt
    python -m benchmarks.quality FILE.csv[.gz][:target] ... [--seeds 3] [--models ours,lightgbm,...]
        [--limit 600] [--categories FILE] [--out NAME] [--resume] [--redo ours,...]

Each table is a CSV file; its target is the last column, or the one named after the colon. A fit that
exceeds the time limit is stopped and ranked last on that table, as is a fit that fails. Each result
is written into the JSON file at once: --resume continues an interrupted measurement (and retries
failed fits), --redo measures some models again and keeps the other fits.

A model that exceeds the limit on a table is not fitted on it with the other seeds: it ranks last there.
Scores do not depend on the load of the machine, so slow models may be measured on one thread beside
other work (--threads 1, with its own limit) and the others on an idle machine; each fit records its
threads, its limit and the machine's load.

The score is log loss or RMSE, lower is better. A model's rank on a table is that of its mean over
the seeds, among the peers and "ours"; a variant of ours ("ours-fast", ...) is ranked in ours' place.
Only tables and seeds that all of them have tried count.

Times are meaningful only on an idle machine: OpenMP's threads wait for each other, and if they share a
core with other work, a fit of 0.05 s takes 20 s. --threads 1 avoids that.

Targets: the best mean rank; on every table within 2 % (or .005 of log loss) of the best
trees; total fit time at most CatBoost's.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, machine

OURS = ("ours", "ours-fast", "ours-best", "ours-network")
TREES = ("lightgbm", "xgboost", "catboost", "hgb")
MODELS = (*OURS, *TREES, "mlp", "realmlp-td-s", "realmlp-td", "tabm-d")
HERE = Path(__file__).resolve().parent
PREDICT_ROWS = 100_000
Cells = dict[str, dict[str, dict[str, Any]]]  # table -> model -> means over the seeds

# The process that starts fits imports nothing large: a child's peak memory starts at its parent's.


def fit(job: dict[str, Any]) -> dict[str, Any]:
    """Run one fit in a new process; a failure is an outcome too."""
    threads = str(job["threads"])
    python_path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {
        **os.environ, **dict.fromkeys(names, threads), "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), *(str(Path(p).resolve()) for p in python_path if p)]),
    }  # fmt: skip
    with (
        tempfile.TemporaryDirectory() as folder
    ):  # some models write files into the working directory
        try:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.peers", json.dumps(job)],
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


# ---------------------------------------------------------------------------------- the summary


def mean(values: Iterable[float]) -> float:
    return statistics.mean(values)


def ranks(scores: dict[str, float]) -> dict[str, float]:
    """Rank from 1, the lowest score; equals share their mean rank."""
    lower = {a: sum(other < mine for other in scores.values()) for a, mine in scores.items()}
    same = {a: sum(other == mine for other in scores.values()) for a, mine in scores.items()}
    return {a: lower[a] + (same[a] + 1) / 2 for a in scores}


def tabulate(fits: list[dict[str, Any]]) -> Cells:
    """Average each table's and model's fits over the seeds that all ranked models have tried."""
    cells: Cells = {}
    ranked = {f["model"] for f in fits if f["model"] == "ours" or f["model"] not in OURS}
    for table in dict.fromkeys(f["table"] for f in fits):
        tried: dict[str, dict[int, dict[str, Any]]] = {}
        for outcome in (f for f in fits if f["table"] == table):
            tried.setdefault(outcome["model"], {})[outcome["seed"]] = outcome
        seeds = set.intersection(*(set(tried.get(name, ())) for name in ranked or tried))
        for name, by_seed in tried.items():
            if not seeds or not seeds <= by_seed.keys():
                continue
            outcomes = [by_seed[seed] for seed in sorted(seeds)]
            bad = [f.get("cut") or f.get("failed") for f in outcomes if "score" not in f]
            numbers = [k for k, v in outcomes[0].items() if isinstance(v, float)] if not bad else []
            cell: dict[str, Any] = {key: mean(f[key] for f in outcomes) for key in numbers}
            cell |= {"task": outcomes[0].get("task"), "seeds": len(seeds), "ranked_last": bad}
            if bad and all("cut" in f or "score" in f for f in outcomes):
                cell["fit_seconds"] = mean(f.get("fit_seconds", f["limit"]) for f in outcomes)
            cells.setdefault(table, {})[name] = cell
    return cells


def mean_ranks(cells: Cells, ours: str = "ours", without: str = "") -> dict[str, float]:
    """Return mean ranks among the peers and one of ours, over the tables that this one has tried."""
    ranks_of: dict[str, list[float]] = {}
    for table, by_model in cells.items():
        if table == without or (ours != "ours" and ours not in by_model):
            continue
        among = {m: c.get("score", math.inf) for m, c in by_model.items() if m not in OURS or m == ours}  # fmt: skip
        for name, rank in ranks(among).items():
            ranks_of.setdefault(name, []).append(rank)
    return {name: round(mean(rank), 3) for name, rank in ranks_of.items()}


def against(cells: Cells, ours: str) -> dict[str, Any]:
    """Compare one of our models with the best trees, CatBoost's time, LightGBM's, and the default."""
    result: dict[str, Any] = {"gap_to_best_trees": {}, "percent_to_default": {}, "calibration": {}}
    times: dict[str, dict[str, float]] = {"fit_to_catboost": {}, "predict_to_lightgbm": {}}
    totals = {name: [0.0, 0.0] for name in times}
    for table, by_model in cells.items():
        mine = by_model.get(ours, {})
        if "score" not in mine:
            continue
        trees = {m: by_model[m]["score"] for m in TREES if "score" in by_model.get(m, {})}
        if trees:
            best = min(trees, key=trees.__getitem__)
            gap = mine["score"] - trees[best]
            absolute = 0.005 if mine["task"] == "classification" else 0.0  # RMSE has a unit
            allowed = max(0.02 * trees[best], absolute)
            result["gap_to_best_trees"][table] = {
                "best": best, "gap": gap, "relative": gap / trees[best], "within": gap <= allowed,
            }  # fmt: skip
        if "score" in by_model.get("ours", {}):
            result["percent_to_default"][table] = 100 * (mine["score"] / by_model["ours"]["score"] - 1)  # fmt: skip
        kept = ("ece", "ece_perfect", "coverage", "mean_size")
        result["calibration"][table] = {key: mine[key] for key in kept if key in mine}
        for name in times:
            key, peer = f"{name.split('_')[0]}_seconds", name.split("_to_")[1]
            theirs = by_model.get(peer, {}).get(key)
            if theirs:
                times[name][table] = mine[key] / theirs
                totals[name] = [totals[name][0] + mine[key], totals[name][1] + theirs]
    gaps = result["gap_to_best_trees"].values()
    result["tables_within"] = f"{sum(gap['within'] for gap in gaps)} of {len(gaps)}"
    if result["percent_to_default"]:
        result["mean_percent_to_default"] = mean(result["percent_to_default"].values())
    for name, by_table in times.items():
        total = {"total": totals[name][0] / totals[name][1]} if by_table else {}
        result[name] = total | by_table
    return result


def summarise(result: dict[str, Any]) -> dict[str, Any]:
    """Summarise all fits so far."""
    cells = tabulate(result["fits"])
    order = {m: None for m in MODELS if any(m in by_model for by_model in cells.values())}
    mean_rank = mean_ranks(cells)
    mean_rank |= {m: mean_ranks(cells, m)[m] for m in order if m in OURS and m != "ours"}
    totals = {m: [by_model[m].get("fit_seconds") for by_model in cells.values() if m in by_model] for m in order}  # fmt: skip
    return {
        "tables_counted": list(cells),
        "mean_rank": {m: mean_rank[m] for m in sorted(order, key=mean_rank.__getitem__)},
        "mean_rank_without": {t: mean_ranks(cells, without=t) for t in cells}
        if len(cells) > 1
        else {},
        "total_fit_seconds": {m: round(sum(filter(None, each)), 2) for m, each in totals.items()},
        "tables_timed": {m: len([x for x in each if x is not None]) for m, each in totals.items()},
        "ours": {m: against(cells, m) for m in order if m in OURS},
        "cells": cells,
    }


def show(summary: dict[str, Any]) -> None:
    """Print a table: one line for each model, one column for each data set."""
    cells, timed = summary["cells"], summary["tables_timed"]
    print(
        f"\n{'model':<14}{'mean rank':>10}{'fit, s':>10}" + "".join(f"{t[:12]:>13}" for t in cells)
    )
    for name, rank in summary["mean_rank"].items():
        scores = [by_model.get(name, {}) for by_model in cells.values()]
        words = [f"{c['score']:.5g}" if "score" in c else "last" if c else "-" for c in scores]
        seconds = f"{summary['total_fit_seconds'][name]:.1f}" if timed[name] else "-"
        seconds += "*" * (timed[name] < len(cells))
        print(f"{name:<14}{rank:>10.2f}{seconds:>10}" + "".join(f"{word:>13}" for word in words))
    if any(count < len(cells) for count in timed.values()):
        print("* without the tables on which it failed, or that it has not tried")
    for name, comparison in summary["ours"].items():
        print(
            f"{name}: within the limit of the best trees on {comparison['tables_within']}", end=""
        )
        for key in ("fit_to_catboost", "predict_to_lightgbm"):
            if comparison[key]:
                print(f"; {key.replace('_', ' ')} {comparison[key]['total']:.2f}", end="")
        print()


def draw(summary: dict[str, Any], path: Path) -> None:
    """Draw score against time; the lower left is best."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    times = {m: s for m, s in summary["total_fit_seconds"].items() if s}
    for count, (name, seconds) in enumerate(sorted(times.items(), key=lambda x: x[1])):
        rank = summary["mean_rank"][name]
        whole = summary["tables_timed"][name] == len(summary["cells"])
        colour = "#c2410c" if name in OURS else "#475569"
        axes.scatter(seconds, rank, s=60, color=colour, facecolor=colour if whole else "none", zorder=2)  # fmt: skip
        weight = "bold" if name == "ours" else "normal"
        axes.annotate(name, (seconds, rank), (0, -16 if count % 2 else 8), textcoords="offset points", ha="center", color=colour, weight=weight)  # fmt: skip
    axes.set_xscale("log")
    for ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        ticks(lambda x, _: f"{x:g}" if f"{x:e}"[0] in "125" else "")
    axes.margins(x=0.12, y=0.12)
    axes.grid(color="#e2e8f0", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("seconds to fit all tables once (log scale)")
    axes.set_ylabel("mean rank by log loss or RMSE (1 is best)")
    counted = len(summary["cells"])
    axes.set_title(f"{counted} tables, every model's defaults. Hollow: without the tables it failed on", fontsize=10)  # fmt: skip
    figure.savefig(path, dpi=150)


# --------------------------------------------------------------------------------------- the run


def tables(given: list[str]) -> dict[str, dict[str, Any]]:
    """Read FILE[:target] from the command line: name -> path, target, sha256."""
    result = {}
    for text in given:
        name, target = (text, None) if Path(text).exists() else (text.rpartition(":")[::2])
        path = Path(name)
        if not path.is_file():
            raise SystemExit(f"{text}: the file does not exist")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        table = path.name.split(".")[0]
        if table in result:
            raise SystemExit(f"two files are called {table}; rename one")
        result[table] = {"path": str(path.resolve()), "target": target, "sha256": digest}
    return result


def opened(path: Path, given: argparse.Namespace, requested: dict[str, dict[str, Any]]) -> dict[str, Any]:  # fmt: skip
    """Start a result file, or read the existing one."""
    settings = {"predict_rows": PREDICT_ROWS}
    kept = {
        name: {k: v for k, v in table.items() if k != "path"} for name, table in requested.items()
    }
    if not path.exists():
        when = datetime.now(UTC).date().isoformat()
        return {"benchmark": path.stem, "when": when, "machine": machine(), "settings": settings,
                "tables": kept, "summary": {}, "fits": []}  # fmt: skip
    if not (given.resume or given.redo):
        raise SystemExit(f"{path} exists already. Give --resume to continue it, or --out NAME.")
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    changed = [name for name in kept if result["tables"].get(name, kept[name]) != kept[name]]
    if changed or result["settings"] != settings:
        what = ", ".join(changed) or f"settings: {result['settings']}, not {settings}"
        raise SystemExit(f"{path} was measured with other {what}. Give --out NAME.")
    result["tables"] |= kept
    result["fits"] = [
        f for f in result["fits"] if f["model"] not in given.redo or f["table"] not in requested
    ]
    return result


def write(path: Path, result: dict[str, Any]) -> None:
    """Write the result atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)


def main() -> None:
    """Measure, save, draw."""

    def names(text: str) -> list[str]:
        models = text.split(",")
        if unknown := [name for name in models if name not in MODELS]:
            raise argparse.ArgumentTypeError(f"no model {unknown[0]!r}; there are {', '.join(MODELS)}")  # fmt: skip
        return models

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE[:target]",
        help="CSV files; the target is the last column, or the one after the colon",
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds (splits) per table")
    parser.add_argument("--models", type=names, default=list(MODELS), help="comma-separated models")
    parser.add_argument("--limit", type=int, default=600, help="seconds that a fit may take")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads per fit")
    parser.add_argument(
        "--categories",
        type=Path,
        default=HERE / "categories.json",
        help="JSON file with the categorical columns of each table",
    )
    parser.add_argument("--out", default="quality", help="benchmarks/results/NAME.json, or a path.json")  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true", help="continue an interrupted result and retry failed fits"
    )
    parser.add_argument(
        "--redo", type=names, default=[], help="comma-separated models to measure again"
    )
    given = parser.parse_args()
    path = Path(given.out) if given.out.endswith(".json") else RESULTS / f"{given.out}.json"
    requested, codes = tables(given.files), json.loads(given.categories.read_text(encoding="utf-8"))
    result = opened(path, given, requested)
    stored = {(f["table"], f["seed"], f["model"]): f for f in result["fits"]}
    for seed in range(given.seeds):  # models take turns, so that slow hours affect all of them
        for table, source in requested.items():
            for model in given.models:
                if "failed" not in stored.get((table, seed, model), {"failed": "not tried"}):
                    continue
                load = round(os.getloadavg()[0], 2)  # shows later which times are reliable
                before = [f for (t, _, m), f in stored.items() if (t, m) == (table, model)]
                if any("cut" in f for f in before):
                    outcome = {"cut": "with another seed, so that it was not tried with this one"}
                else:
                    outcome = fit({
                        "model": model, "path": source["path"], "target": source["target"],
                        "categories": codes.get(table, []), "seed": seed, "threads": given.threads,
                        "limit": given.limit, "predict_rows": PREDICT_ROWS,
                    })  # fmt: skip
                at = {
                    "table": table, "seed": seed, "model": model,
                    "threads": given.threads, "limit": given.limit, "load_before": load,
                }  # fmt: skip
                stored[table, seed, model] = {**at, **outcome}
                result["fits"] = list(stored.values())
                result["summary"] = summarise(result)
                write(path, result)
                text = f"{outcome['score']:.5g} in {outcome['fit_seconds']} s" if "score" in outcome else outcome  # fmt: skip
                print(f"{table} seed {seed} {model}: {text}", flush=True)
    result["summary"] = summarise(result)
    write(path, result)
    show(result["summary"])
    draw(result["summary"], path.with_suffix(".png"))
    print(f"{path}, {path.with_suffix('.png')}")


if __name__ == "__main__":
    main()
