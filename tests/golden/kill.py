"""Write the killed runs in `tests/golden/killed`, and what resuming them must give.

    python -m tests.golden.kill FOLDER

The runs that are kept were written by Sightline 0.1.0 with checkpoints of version 2, before
checkpoints had a version of their own. Do not write them again: runs like them exist elsewhere, and
these stand for them. A new checkpoint version gets a folder of its own.
"""

import hashlib
import json
import os
import platform
import shutil
import signal
import sys
from pathlib import Path

import torch

import sightline as sl
from sightline.train import commands

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "penguins.csv"


def narrow(spec):
    """Build the network of the run `mlp`."""
    return sl.MLP(spec, hidden=[8])


RUNS = {
    # name: options of `sl.fit`, the step that kills it, commands by the step that sends them
    "mlp": (
        {
            "network": narrow, "epochs": 8, "batch_size": 16, "ema": 0.9, "learning_rate": 0.01,
            "schedule": "cosine",
        },
        20,
        {
            7: {"edit": "Widen", "name": "hidden.0", "width": 12},
            12: {"edit": "SetLearningRate", "value": 0.005},
        },
    ),
    "fast": ({"quality": "fast", "batch_size": 32}, 16, {}),
}  # fmt: skip


class Killer:
    """Watches a fit: sends its edits, and kills the process at a step."""

    def __init__(self, run, step, edits):
        self.run, self.last, self.edits = run, step, edits

    def step(self, done, total):
        if done in self.edits:
            commands.write_command(self.run, {"edits": [self.edits[done]]})
        if done == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def __call__(self, record):
        pass

    def close(self):
        pass


def machine():
    """Name what decides the last bits of a float32 training."""
    processor = platform.processor()
    if Path("/proc/cpuinfo").is_file():
        core = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
        named = dict(line.split("\t: ", 1) for line in core.splitlines() if "\t: " in line)
        named = {name.strip(): value for name, value in named.items()}
        flags = hashlib.sha256(named.get("flags", "").encode()).hexdigest()[:12]
        names = ("model name", "model", "stepping", "cache size")
        processor = ", ".join([*(named.get(name, "?") for name in names), f"flags {flags}"])
    return {
        "processor": processor,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }


def outcome(run, table):
    """What a resumed run ended with."""
    end, metrics = run.find("train", "end")[-1].body, run.metrics
    names = ("weights", "best_weights", "steps", "edits", "stopped", "best_epoch")
    return {
        **{name: end[name] for name in names},
        "metrics": {name: metrics[name] for name in ("accuracy", "log_loss", "rows")},
        "train_losses": [epoch.train_loss for epoch in run.epochs],
        "valid_losses": [epoch.valid_loss for epoch in run.epochs],
        "probabilities": run.model.predict_proba(table)[:5].tolist(),
    }


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    os.chdir(folder)  # no record holds the path of a folder
    table = Path("table.csv")
    header, *rows = EXAMPLE.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join([header, *rows[::4]]) + "\n", encoding="utf-8")
    commands.SECONDS_BETWEEN_READS = 0.0  # look for commands after every step
    torch.set_num_threads(1)
    expected = {"machine": machine()}
    for name, (options, step, edits) in RUNS.items():
        run = Path(name)
        if not os.fork():
            sl.fit(
                sl.read(table), "species", run=run, view=Killer(run, step, edits), device="cpu",
                checkpoint_epochs=1, checkpoint_seconds=None, precision="float32", **options,
            )  # fmt: skip
            os._exit(1)  # it was not killed
        os.wait()
        _, *between, _ = sorted((run / "checkpoints").iterdir())
        for path in between:
            path.unlink()
        again = shutil.copytree(run, f"{name}-resumed")
        expected[name] = outcome(sl.resume(again, source=table, quiet=True), table)
        shutil.rmtree(again)
    text = json.dumps(expected, indent=1) + "\n"
    Path("expected.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
