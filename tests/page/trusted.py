"""Runs with every record on trust: calibration, simple models, sets, dependence, trees, parts.

They are put into a copy of a run by hand, so that what the page shows of them can be told from what
a fit makes of them.
"""

import json
import math
from dataclasses import asdict

from sightline.contracts import Record
from sightline.page.report import write_report
from sightline.trace.records import read_records

FOLDS = 5
OURS = {
    ("train", "trees"), *(("predict", type_) for type_ in
    ("calibration", "sets", "threshold", "baselines", "dependence")),
}  # fmt: skip
MEMBERS = 16
WEIGHTS = {"network": 0.44, "trees": 0.57}
SOURCE = "out-of-fold predictions of 276 training rows"


def softmax(values):
    raised = [math.exp(value - max(values)) for value in values]
    return [value / sum(raised) for value in raised]


def opened(explained):
    """Give an explanation of a network parts, members and calibration that add up."""
    if explained["error"]:
        return explained
    classed = bool(explained["probabilities"])
    network = explained["probabilities"] or [explained["prediction"]]
    if classed:
        trees = softmax([0.8 * math.log(max(p, 1e-9)) + 0.3 * i for i, p in enumerate(network)])
        total = sum(WEIGHTS.values())
        log = {
            name: [math.log(max(p, 1e-9)) for p in values]
            for name, values in (("network", network), ("trees", trees))
        }
        share = {name: [WEIGHTS[name] * value for value in log[name]] for name in log}
        logits = [a + b for a, b in zip(*share.values(), strict=True)]
        weights = WEIGHTS
        after = {
            "logits": logits, "probabilities": softmax(logits), "temperature": 1 / total,
            "uncalibrated": softmax([value / total for value in logits]),
        }  # fmt: skip
        after["prediction"] = explained["classes"][logits.index(max(logits))]
    else:
        trees, weights = [network[0] * 1.02], {"network": 0.4, "trees": 0.6}
        share = {"network": [0.4 * network[0]], "trees": [0.6 * trees[0]]}
        after = {
            "prediction": share["network"][0] + share["trees"][0],
            "temperature": None,
            "uncalibrated": None,
        }
    wobble = [1 + 0.03 * math.sin(7 * m) for m in range(MEMBERS)]
    values = [[min(p * by, 1.0) if classed else p * by for p in network] for by in wobble]
    mean = [sum(column) / MEMBERS for column in zip(*values, strict=True)]
    spread = [
        math.sqrt(sum((value - m) ** 2 for value in column) / MEMBERS)
        for column, m in zip(zip(*values, strict=True), mean, strict=True)
    ]
    parts = [
        {"name": name, "weight": weights[name], "values": said, "share": share[name]}
        for name, said in (("network", network), ("trees", trees))
    ]
    return {
        **explained, **after, "parts": parts,
        "members": {"mean": mean, "spread": spread, "values": values},
    }  # fmt: skip


def held(explained, empty=False):
    """Give a row a set, or an interval."""
    if not explained["probabilities"]:
        return {"interval": [explained["prediction"] - 500.0, explained["prediction"] + 520.0]}
    pairs = zip(explained["classes"], explained["probabilities"], strict=True)
    return {"set": [] if empty else [label for label, p in pairs if p > 0.1]}


def reliability(shift):
    return [
        {"low": i / 10, "high": (i + 1) / 10, "confidence": i / 10 + 0.06,
         "accuracy": min(1.0, i / 10 + 0.06 + shift), "rows": 4 + 3 * i}
        for i in range(4, 10)
    ]  # fmt: skip


def calibration(classed, parts=2):
    shares = [
        {"name": "network", "weight": 0.44, "share": 0.436},
        {"name": "trees", "weight": 0.57, "share": 0.564},
    ]
    if parts == 1:
        shares = [{"name": "network", "weight": 0.93, "share": 1.0}]
    said = {
        "source": SOURCE, "fitted_rows": 276, "parts": shares, "part": "test", "rows": 34,
        "said": f"Weighed on {SOURCE}: network 44 %, trees 56 %.",
    }  # fmt: skip
    if classed:
        said |= {
            "temperature": 0.99, "perfect_ece": 0.04,
            "before": {"ece": 0.061, "log_loss": 0.2712, "points": reliability(-0.12)},
            "after": {"ece": 0.031, "log_loss": 0.2533, "points": reliability(0.01)},
        }  # fmt: skip
    return said


def baselines(classed, left_out=True):
    metric, second = ("log_loss", "accuracy") if classed else ("rmse", "r2")
    scale = 1.0 if classed else 1000.0

    def model(name, score, value, seconds, note=None):
        return {
            "name": name, "score": score * scale, "low": 0.9 * score * scale, "high": 1.12 * score * scale,
            "second": {"name": second, "value": value}, "seconds": seconds, "note": note,
        }  # fmt: skip

    models = [
        model("this model", 0.253, 0.91, None), model("majority" if classed else "mean", 0.9, 0.44, 0.0),
        model("logistic regression" if classed else "ridge", 0.31, 0.88, 0.2, "it had not converged after 100 steps"),
        model("boosted trees, scikit-learn's defaults", 0.27, 0.9, 1.3),
    ]  # fmt: skip
    if left_out:
        models.append({
            "name": "nearest neighbours", "score": None, "low": None, "high": None, "second": None,
            "seconds": None, "note": "left out: 10,000 columns are too many",
        })  # fmt: skip
    return {
        "part": "test", "rows": 34, "metric": metric, "models": models,
        "differences": [
            {"name": one["name"], "mean": 0.253 * scale - one["score"],
             "low": 0.2 * scale - one["score"], "high": 0.28 * scale - one["score"]}
            for one in models[1:] if one["score"] is not None
        ],
        "verdict": "No clear difference to boosted trees, scikit-learn's defaults, which took 1.3 s.",
    }  # fmt: skip


def sets(classed):
    said = {"alpha": 0.1, "source": SOURCE, "part": "test", "rows": 34, "coverage": 0.912}
    if classed:
        return {
            **said, "mean_size": 1.3, "empty": 2 / 34, "sizes": [2, 22, 8, 2],
            "said": "In 9 of 10 rows the set holds the true class.",
        }  # fmt: skip
    return {
        **said, "mean_width": 1020.5, "median_width": 1001.25,
        "said": "In 9 of 10 rows the interval holds the true number.",
    }  # fmt: skip


def dependence(classes, rows=34):
    outputs = list(classes) or ["body_mass_g"]
    scale = 1.0 if classes else 1000.0

    def column(name, kind, grid, bars):
        points = range(len(grid))
        mean = [
            [scale * (0.2 + 0.6 * ((i + k) % len(grid)) / len(grid)) for k in range(len(outputs))]
            for i in points
        ]
        return {
            "column": name, "kind": kind, "grid": grid, "mean": mean,
            "low": [[value - 0.1 * scale for value in point] for point in mean],
            "high": [[value + 0.12 * scale for value in point] for point in mean],
            "share": [1 / len(grid)] * len(grid),
        }  # fmt: skip

    return {
        "part": "test", "rows": rows, "shown": len(outputs) - 1, "classes": list(classes) or None,
        "outputs": outputs,
        "columns": [
            column("flipper_length_mm", "numeric", [172.0, 181.0, 190.0, 197.0, 213.0, 231.0], False),
            column("year", "datetime", ["2007-01-01", "2008-01-01", "2009-01-01"], False),
            column("island", "categorical", ["Biscoe", "Dream", "Torgersen", "missing"], True),
            column("constant", "numeric", [1.0], False),
        ],
    }  # fmt: skip


TREES = {
    "ensembles": 5, "trees": 225, "leaves": 31, "iterations": 45, "learning_rate": 0.2, "seconds": 3.1,
    "history": [[5 * i, 0.25 + 0.2 / i + 0.002 * i] for i in range(1, 13)],
    "columns": [{"column": name, "gain": gain} for name, gain in (("flipper_length_mm", 0.51), ("island", 0.31), ("sex", 0.02))],
    "held_out_loss": 0.2783, "network_held_out_loss": 0.2803,
    "said": "225 boosted trees in 5 ensembles, 45 rounds each: held-out loss 0.2783, the network's 0.2803",
}  # fmt: skip


def added(records, *, folds=True, threshold=False, parts=2):
    """Return a run's records with those on trust among them, as a fit leaves them."""
    target = records[0].body["target"]
    classed = target["task"] == "classification"
    lines = []

    def add(stage, type_, body):
        lines.append((stage, type_, body))

    for record in records:
        body, kind = dict(record.body), (record.stage, record.type)
        if kind in OURS:  # a fit writes some of them itself
            continue
        if kind == ("load", "split") and folds:
            body |= {"valid": 0, "folds": FOLDS}
        if kind == ("train", "epoch") and folds:
            body["observation"] = body["observation"].replace("validation", "out-of-fold")
        if kind == ("predict", "example"):
            body["explanation"] = opened(body["explanation"])
            body |= held(body["explanation"])
        if kind == ("predict", "rows"):
            body["rows"] = [
                {
                    **row,
                    "explanation": (told := opened(row["explanation"])),
                    **held(told, empty=i == 1),
                }
                for i, row in enumerate(body["rows"])
            ]
        if kind == ("lesson", "insight"):
            add("predict", "calibration", calibration(classed, parts))
            add("predict", "sets", sets(classed))
            if threshold:
                add("predict", "threshold", {
                    "value": 0.31, "by": "f1", "score": 0.62, "score_at_half": 0.55, "rows": 276,
                    "said": "At 0.31 instead of 0.5: F1 0.62 instead of 0.55 on 276 held-out rows.",
                })  # fmt: skip
            add("predict", "baselines", baselines(classed))
            add("predict", "dependence", dependence(target["classes"]))
        add(*kind, body)
        if kind == ("train", "end"):
            add("train", "trees", TREES)
    return [
        Record(1, seq, 1, records[0].time, stage, type_, json.loads(json.dumps(body)))
        for seq, (stage, type_, body) in enumerate(lines)
    ]


def write(run, folder, **options):
    """Write such a run beside another one, with its report."""
    records = added(read_records(run)[0], **options)
    folder.mkdir(parents=True)
    (folder / "trace.jsonl").write_text(
        "".join(json.dumps(asdict(record)) + "\n" for record in records)
    )
    write_report(folder)
    return records
