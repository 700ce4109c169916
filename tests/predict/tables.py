"""Made-up tables with columns of every kind."""

from datetime import date, timedelta

import torch

import sightline as sl

ROWS = 60
KINDS = {
    "size": "numeric", "city": "categorical", "paid": "boolean", "day": "datetime", "note": "text",
}  # fmt: skip


def columns(target=("no", "yes")):
    return {
        "size": [None if i % 9 == 0 else i / 4 + 0.1 for i in range(ROWS)],
        "city": [None if i % 11 == 0 else f"c{i % 5}" for i in range(ROWS)],
        "paid": [i % 2 == 0 for i in range(ROWS)],
        "day": [(date(1969, 1, 1) + timedelta(17 * i)).isoformat() for i in range(ROWS)],
        "note": [f"red w{i % 7} number {i}" for i in range(ROWS)],
        "y": [target[i % len(target)] for i in range(ROWS)],
    }


def train(data, *, numeric=None, network=None, kinds=None, **options):
    """All the stages in two epochs."""
    kinds = {name: kind for name, kind in (kinds or KINDS).items() if name in data}
    prepared = sl.prepare(
        sl.split(sl.read(data, kinds=kinds), target="y", **options), numeric=numeric
    )
    torch.manual_seed(0)
    made = network(prepared.spec) if network else sl.MLP(prepared.spec, hidden=[8])
    training = sl.Training(made, prepared, epochs=2)
    assert len(list(training)) == 3
    return training.model()


def row(data, number):
    return {name: values[number] for name, values in data.items() if name != "y"}
