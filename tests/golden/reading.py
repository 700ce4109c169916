"""Write a run, a killed run and their model in `tests/golden/reading_1`, read by the first reading rules.

    python -m tests.golden.reading FOLDER

They were written by Sightline 0.1.0 when a table was read by the first rules, which know no decimal
commas: this table is another one by later rules. Do not write them again. New reading rules get a folder of
their own.
"""

import json
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import sightline as sl
from tests.golden.kill import Killer, machine

OPTIONS = {
    "network": "MLP", "epochs": 6, "batch_size": 16, "learning_rate": 0.01, "precision": "float32", "patience": None,
    "device": "cpu", "checkpoint_epochs": 2, "report": False, "quiet": True,
}  # fmt: skip
KILLED_AT = 17


def table():
    """Return a German table: by the first rules `umsatz` is 950 and 1.234, `quote` a text."""
    lines = ["umsatz;quote;klasse"]
    for n in range(96):
        sales = f"{100 + (n * 7919) % 60_000:,}".replace(",", ".")
        lines.append(f"{sales};0,{n % 7};{'hoch' if n % 7 > 3 else 'tief'}")
    return "\n".join(lines) + "\n"


def outcome(run, source):
    """Return what a run ended with."""
    return {
        "metrics": {name: value for name, value in run.metrics.items() if name != "part"},
        "train_losses": [epoch.train_loss for epoch in run.epochs],
        "probabilities": run.model.predict_proba(source)[::8].tolist(),
        "kinds": {c.name: c.kind for c in run.model.encoder.schema.columns},
    }


def main(folder):
    os.chdir(folder)  # no record has its path
    path = Path("table.csv")
    path.write_text(table(), encoding="utf-8")
    source = replace(sl.read(path), name="table.csv", paths=())
    whole = sl.fit(source, "klasse", run="whole", **OPTIONS)
    expected = {"machine": machine(), **outcome(whole, path)}
    if not os.fork():
        view = Killer(Path("killed"), KILLED_AT, {})
        sl.fit(source, "klasse", run="killed", view=view, **OPTIONS)
    _, status = os.wait()
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    for run in ("whole", "killed"):  # the first checkpoint and the newest one
        kept = sorted((folder / run / "checkpoints").iterdir())
        for path in kept[1:-1]:
            path.unlink()
        for name in ("commands", "views", "trace.lock"):
            shutil.rmtree(folder / run / name, ignore_errors=True)
    text = json.dumps(expected, indent=1) + "\n"
    (folder / "expected.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
