"""The summary of the fits that `benchmarks.quality` measured: ranks, loss ratios, times, intervals.

    python -m benchmarks.quality --summary-only [FILE.csv ...] [--systems ours,...] [--seeds 0-2] [--version V]

Which fits count: of ours those of one version, the newest commit measured or the one named; of each other
system its newest version. Scores may come from any processor. Times count only from one: the one with the
most fits, or the one named.

- `mean_rank`: by the mean loss (log loss or RMSE) over a table's seeds, on the tables and seeds that every
  system has tried; a failed or stopped fit ranks last. One of ours at a time: "ours", or the first measured;
  another of ours is ranked in its place.
- `against`: for one of ours and a peer, the log ratio of their losses, paired by seed, its mean over a
  table's seeds, then over the tables that both were fitted on, as percent: -3 means 3 % less loss. The 95 % interval
  is that of 10,000 bootstrap draws of the tables. "within" says that its lower end is not above 2 %.
- `loss_to`: each system's mean loss ratio to one of ours, the same way.
- `fit_to_catboost`, `memory_to_catboost`, `predict_to_lightgbm`: the ratio on each table, and of the totals.
  Memory is the peak of the whole process; prediction is in seconds per row.
- `incomplete`: the kinds of models that AutoGluon's time limit left out.
- `intervals`: how many of ours' 90 % intervals and sets contain the truth, by tenth of the predictions or by class.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from benchmarks.quality_fits import DEVELOPMENT, DISTRIBUTIONS, OURS, Fit, label

Fits = dict[str, dict[str, dict[int, Fit]]]  # table -> system -> seed -> fit
Losses = Mapping[str, Mapping[int, float]]  # table -> seed -> loss

DRAWS, ALLOWED = 10_000, 2.0  # percent
SMALL = 5_000  # rows
GROUPS: dict[str, Callable[[Fit], bool]] = {
    "all": lambda _: True,
    "regression": lambda fit: fit["task"] == "regression",
    "two classes": lambda fit: fit["classes"] == 2,
    "many classes": lambda fit: fit["classes"] > 2,
    "all categorical": lambda fit: fit["numeric"] == 0,
    f"below {SMALL:,} rows": lambda fit: fit["rows"] < SMALL,
}
RATIOS: dict[str, tuple[str, Callable[[Fit], float]]] = {  # name -> the peer, what is compared
    "fit_to_catboost": ("catboost", lambda fit: fit["fit_seconds"]),
    "predict_to_lightgbm": ("lightgbm", lambda fit: fit["predict_seconds"] / fit["predict_rows"]),
    "memory_to_catboost": ("catboost", lambda fit: fit["memory_mb"]),
}
TIMES = ("fit_to_catboost", "predict_to_lightgbm")


def ours(name: str) -> bool:
    """Say whether a system, as the command line writes it, is one of ours."""
    return name.partition("@")[0] in OURS


# ------------------------------------------------------------------------ which fits count


def choose(fits: Iterable[Fit], version: str | None, processor: str | None) -> tuple[Fits, str]:
    """Choose one fit for each table, system and seed; return them and the processor whose times count."""
    fits = list(fits)
    mine = [fit for fit in fits if fit["system"] in OURS]
    if mine and version is None:
        version = max(mine, key=lambda fit: (fit.get("commit_date", ""), fit["when"]))["version"]
    elif version is not None and version not in {fit["version"] for fit in mine}:
        there = ", ".join(sorted({fit["version"] for fit in mine})) or "none"
        raise ValueError(f"No fit of ours has version {version}; measured are: {there}.")
    newest: dict[str, Fit] = {}
    for fit in sorted(fits, key=lambda fit: fit["when"]):
        newest[label(fit)] = fit
    fits = [
        fit for fit in fits
        if fit["version"] == (version if fit["system"] in OURS else newest[label(fit)]["version"])
    ]  # fmt: skip
    counts = Counter(fit["processor"] for fit in fits)
    if processor is not None and processor not in counts:
        raise ValueError(f"No fit was measured on {processor}; there are: {', '.join(counts)}.")
    processor = processor or max(counts, key=lambda name: (counts[name], name))
    chosen: Fits = {}
    for fit in sorted(fits, key=lambda fit: (fit["processor"] == processor, fit["when"])):
        by_seed = chosen.setdefault(fit["table"], {}).setdefault(label(fit), {})
        by_seed[fit["seed"]] = fit
    same_rows(chosen)
    return chosen, processor


def same_rows(chosen: Fits) -> None:
    """Raise if two systems were measured on different rows."""
    for table, by_system in chosen.items():
        seen: dict[int, tuple[str, str]] = {}
        for name, by_seed in by_system.items():
            for seed, fit in by_seed.items():
                if "fingerprint" in fit:
                    other, rows = seen.setdefault(seed, (name, fit["fingerprint"]))
                    if rows != fit["fingerprint"]:
                        raise ValueError(
                            f"{table}, seed {seed}: {name} and {other} were measured on different rows. "
                            "Measure one of them again with --redo."
                        )


# ---------------------------------------------------------------------------- the statistics


def ranks(losses: Mapping[str, float]) -> dict[str, float]:
    """Rank from 1, the lowest loss; equals share their mean rank."""
    lower = {a: sum(other < mine for other in losses.values()) for a, mine in losses.items()}
    same = {a: sum(other == mine for other in losses.values()) for a, mine in losses.items()}
    return {a: lower[a] + (same[a] + 1) / 2 for a in losses}


def mean_ranks(losses: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return mean ranks over tables; one of ours at a time competes with all peers."""
    names = {name: None for by_system in losses.values() for name in by_system}
    standing: dict[str, list[float]] = {}
    first = "ours" if "ours" in names else next(filter(ours, names), None)
    for mine in [first, *(name for name in names if ours(name) and name != first)]:
        for by_system in losses.values():
            among = {name: loss for name, loss in by_system.items() if name == mine or not ours(name)}  # fmt: skip
            for name, rank in ranks(among).items():
                if name == mine or mine == first:
                    standing.setdefault(name, []).append(rank)
    means = {name: round(statistics.mean(each), 3) for name, each in standing.items()}
    return dict(sorted(means.items(), key=lambda item: item[1]))


def log_ratios(mine: Losses, theirs: Losses) -> dict[str, float]:
    """Return each table's mean log ratio of losses, over the seeds that both have; a loss of 0 has none."""
    result = {}
    for table in mine:
        pairs = [(mine[table][seed], theirs[table][seed]) for seed in mine[table] if seed in theirs.get(table, {})]  # fmt: skip
        if pairs and all(a > 0 and b > 0 for a, b in pairs):
            result[table] = statistics.mean(math.log(a / b) for a, b in pairs)
    return result


def interval(values: Iterable[float], draws: int = DRAWS) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a mean; the draws are the same every time."""
    values_T = np.fromiter(values, float)
    draw_DT = np.random.default_rng(0).integers(len(values_T), size=(draws, len(values_T)))
    low, high = np.quantile(values_T[draw_DT].mean(1), [0.025, 0.975])
    return float(low), float(high)


def percent(log_ratio: float) -> float:
    return round(100 * math.expm1(log_ratio), 3)


def compare(by_table: Mapping[str, float]) -> dict[str, Any]:
    """Return the mean of log ratios as percent, with its interval."""
    low, high = (percent(end) for end in interval(by_table.values()))
    return {
        "percent": percent(statistics.mean(by_table.values())), "low": low, "high": high,
        "within": low <= ALLOWED, "tables": len(by_table),
    }  # fmt: skip


def against(mine: Losses, theirs: Losses, facts: Mapping[str, Fit]) -> dict[str, Any]:
    """Compare two systems' losses, by group of tables and on each."""
    every = log_ratios(mine, theirs)
    result: dict[str, Any] = {}
    for group, belongs in GROUPS.items():
        if some := {table: every[table] for table in every if belongs(facts[table])}:
            result[group] = compare(some)
    return result | {"by_table": {table: percent(value) for table, value in every.items()}}


def ratio(mine: Mapping[str, Mapping[int, float]], theirs: Mapping[str, Mapping[int, float]]) -> dict[str, Any]:  # fmt: skip
    """Compare times or memory: on each table over the common seeds, and the totals."""
    pairs = {}
    for table in mine:
        if common := mine[table].keys() & theirs.get(table, {}).keys():
            pairs[table] = [statistics.mean(each[table][s] for s in common) for each in (mine, theirs)]  # fmt: skip
    if not pairs:
        return {}
    total, other = (sum(pair[k] for pair in pairs.values()) for k in (0, 1))
    return {
        "total": round(total / other, 3),
        "by_table": {table: round(a / b, 3) for table, (a, b) in pairs.items()},
    }


def coverage(by_seed: Mapping[int, Fit]) -> dict[str, Any]:
    """Average the coverage of ours on one table over its seeds."""
    fits = list(by_seed.values())
    result: dict[str, Any] = {
        key: round(statistics.mean(fit[key] for fit in fits), 4) for key in ("coverage", "mean_size")
    }  # fmt: skip
    if "coverage_by_tenth" in fits[0]:
        columns = zip(*(fit["coverage_by_tenth"] for fit in fits), strict=False)
        result["by_tenth"] = [round(statistics.mean(each), 4) for each in columns]
    else:
        names = {name: None for fit in fits for name in fit["coverage_by_class"]}
        result["by_class"] = {}
        for name in names:
            parts = [fit["coverage_by_class"].get(name, {"coverage": 0, "rows": 0}) for fit in fits]
            rows = sum(part["rows"] for part in parts)
            inside = sum(part["coverage"] * part["rows"] for part in parts)
            result["by_class"][name] = {"coverage": round(inside / rows, 4), "rows": rows}
    return result


# ------------------------------------------------------------------------------- the summary


def values(chosen: Fits, name: str, what: Callable[[Fit], float], processor: str | None = None) -> dict[str, dict[int, float]]:  # fmt: skip
    """Return a number of a system's scored fits: table -> seed -> number; of one processor if it is named."""
    return {
        table: {
            seed: what(fit) for seed, fit in by_system[name].items()
            if "score" in fit and processor in (None, fit["processor"])
        }
        for table, by_system in chosen.items() if name in by_system
    }  # fmt: skip


def common_losses(chosen: Fits) -> tuple[dict[str, dict[str, float]], dict[str, list[int]]]:
    """Average losses over the seeds that every system has tried; tables without such a seed are left out."""
    names = {name for by_system in chosen.values() for name in by_system}
    losses, seeds = {}, {}
    for table, by_system in chosen.items():
        tried = set.intersection(*(set(by_system.get(name, ())) for name in names))
        if not tried:
            continue
        seeds[table] = sorted(tried)
        losses[table] = {
            name: statistics.mean(by_seed[seed].get("score", math.inf) for seed in seeds[table])
            for name, by_seed in by_system.items()
        }
    return losses, seeds


def incomplete(fits: Iterable[Fit]) -> dict[str, dict[str, list[str]]]:
    """Return which kinds of models AutoGluon's time limit left out: system -> table -> kinds."""
    result: dict[str, dict[str, list[str]]] = {}
    for fit in fits:
        if kinds := fit.get("skipped"):
            known = result.setdefault(label(fit), {}).setdefault(fit["table"], [])
            known += [kind for kind in kinds if kind not in known]
    return result


def seconds(chosen: Fits, name: str, counted: Iterable[str], processor: str) -> dict[str, Any]:
    """Return the seconds to fit all counted tables once, and how many of them have a time."""
    times = values(chosen, name, lambda fit: fit["fit_seconds"], processor)
    means = [statistics.mean(times[table].values()) for table in counted if times.get(table)]
    return {"total": round(sum(means), 2), "tables": len(means)}


def summarise(fits: Iterable[Fit], version: str | None = None, processor: str | None = None) -> dict[str, Any]:  # fmt: skip
    """Summarise fits, which are all of the figures' splits or all of development splits."""
    fits = list(fits)
    if not fits:
        raise ValueError("No fit of these tables, systems and seeds has been measured yet.")
    chosen, processor = choose(fits, version, processor)
    counted = [fit for by_system in chosen.values() for by_seed in by_system.values() for fit in by_seed.values()]  # fmt: skip
    facts = {fit["table"]: fit for fit in counted if "score" in fit}
    order = {name: k for k, name in enumerate(DISTRIBUTIONS)}
    names = sorted({label(fit) for fit in counted}, key=lambda n: (order[n.partition("@")[0]], n))
    losses, seeds = common_losses(chosen)
    loss = {name: values(chosen, name, lambda fit: fit["score"]) for name in names}
    mine = [name for name in names if ours(name)]
    reference = mine[0] if mine else names[0]
    to_reference = {name: log_ratios(loss[name], loss[reference]).values() for name in names}
    ratios: dict[str, Any] = {}
    for key, (peer, what) in RATIOS.items():
        on = processor if key in TIMES else None
        base = values(chosen, peer, what, on)
        compared = {name: ratio(values(chosen, name, what, on), base) for name in names if name != peer}  # fmt: skip
        ratios[key] = {name: found for name, found in compared.items() if found}
    return {
        "splits": "development" if fits[0]["seed"] >= DEVELOPMENT else "figures",
        "newest_fit": max(fit["when"] for fit in counted),
        "when": datetime.now(UTC).date().isoformat(),
        "processor": processor,
        "threads": sorted({fit["threads"] for fit in counted}),
        "versions": {label(fit): fit["version"] for fit in counted},
        "left_out": sorted({f"{label(fit)} {fit['version']}" for fit in fits} - {f"{label(fit)} {fit['version']}" for fit in counted}),
        "incomplete": incomplete(counted),
        "not_ranked": [table for table in chosen if table not in losses],
        "seeds": seeds,
        "mean_rank": mean_ranks(losses),
        "fit_seconds": {name: seconds(chosen, name, losses, processor) for name in names},
        "loss_to": {
            "reference": reference,
            "percent": {name: percent(statistics.mean(each)) for name, each in to_reference.items() if each},
        },
        "against": {
            one: {
                other: found for other in names
                if other != one and len(found := against(loss[one], loss[other], facts)) > 1
            }
            for one in mine
        },
        **ratios,
        "intervals": {
            name: {
                table: coverage({seed: fit for seed, fit in by_system[name].items() if "score" in fit})
                for table, by_system in chosen.items() if values(chosen, name, len).get(table)
            }
            for name in mine
        },
        "losses": {
            table: {name: None if math.isinf(loss) else loss for name, loss in by_system.items()}
            for table, by_system in losses.items()
        },
        "without_score": [
            {"table": fit["table"], "system": label(fit), "seed": fit["seed"], "why": fit.get("cut") or fit.get("failed")}
            for fit in counted if "score" not in fit
        ],
    }  # fmt: skip


def plural(tables: int) -> str:
    return f"{tables} table{'s' * (tables != 1)}"


def show(summary: Mapping[str, Any]) -> None:
    """Print what the summary says, the most important first."""
    losses, timed = summary["losses"], summary["fit_seconds"]
    print(
        f"\n{plural(len(losses))}, {summary['splits']} splits, times of {summary['processor']}, threads per fit: {', '.join(map(str, summary['threads']))}"
    )
    print(f"{'system':<22}{'mean rank':>10}{'fit, s':>10}" + "".join(f"{t[:12]:>13}" for t in losses))  # fmt: skip
    for name, rank in summary["mean_rank"].items():
        row = [by_system[name] for by_system in losses.values()]
        cells = ["last" if loss is None else f"{loss:.5g}" for loss in row]
        time = f"{timed[name]['total']:.1f}" + "*" * (timed[name]["tables"] < len(losses))
        print(f"{name:<22}{rank:>10.2f}{time:>10}" + "".join(f"{cell:>13}" for cell in cells))
    if any(each["tables"] < len(losses) for each in timed.values()):
        print("* without tables that it failed on or that were timed on another processor")
    for one, others in summary["against"].items():
        first = one == next(iter(summary["against"]))  # the others' groups are in the file
        print(f"\n{one}: its loss compared with that of each other system")
        for other, groups in others.items():
            for group, found in groups.items():
                if group == "all" or (first and group != "by_table"):
                    words = "" if found["within"] else f", more than {ALLOWED:g} % above"
                    print(f"  {other if group == 'all' else '':<22}{group:<18}{found['percent']:+8.2f} % "
                          f"[{found['low']:+.2f}, {found['high']:+.2f}] on {plural(found['tables'])}{words}")  # fmt: skip
        for key in RATIOS:
            if one in summary[key]:
                print(f"  {key.replace('_', ' ')}: {summary[key][one]['total']:.2f}")
    for name, by_table in summary["incomplete"].items():
        print(f"{name} had no time for some kinds of models on {', '.join(by_table)}")
    notes = {
        "not_ranked": "not ranked, because a system has not tried it",
        "left_out": "other versions, left out",
    }
    for key, words in notes.items():
        if summary[key]:
            print(f"{words}: {', '.join(summary[key])}")
