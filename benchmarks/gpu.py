"""Sightline on a GPU, in one command of less than 8 minutes: is it right, and how fast is it?

    python -m benchmarks.gpu [--device cuda] [--rows 10000000] [--minutes 7.5] [--checks-only] [--name gpu/NAME]

Checks, each passed or failed with what was seen:
- a fit of the penguins, its model's probabilities on the device and on the CPU (at most 1e-5 apart);
- a training that is stopped in the middle of an epoch and restored from its checkpoint: the same weights bit for bit;
- edits of the network while it trains: what it predicts stays the same where the edit promises so;
- a batch that does not fit into the memory: training goes on in parts (on a GPU, whose memory can be limited);
- one process of a group that NCCL connects (gloo on a CPU): the steps are those of a process without a group.

Measures:
- rows a second of a network of 3 x 512 on 28 synthetic numbers with batches of 16,384: `sl.Training`, and the bare loop (one
  `randperm` an epoch, an `X[index]` gather, fused AdamW) as it is, compiled, and as a CUDA graph;
- seconds of the default model on tables like adult (48,842 x 14) and of a million rows, on the device and on two CPU threads.

Goals: 1.0 times the bare loop; 1.5 times it with CUDA graphs or `torch.compile`. Nothing of this has an exit code for speed: it is 1
only if a check fails. Without a GPU, `--device cpu --rows 200000` runs what a CPU can.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import sightline as sl
from benchmarks.common import save

BATCH, FEATURES, HIDDEN = 16_384, 28, [512] * 3
PENGUINS = Path(__file__).parent.parent / "examples" / "penguins.csv"


class Clock:
    """The time that is left."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes

    def has(self, seconds: float) -> bool:
        return time.monotonic() + seconds < self.end


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--minutes", type=float, default=7.5)
    parser.add_argument("--checks-only", action="store_true")
    parser.add_argument("--name", default="gpu")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("There is no CUDA device: give --device cpu --rows 200000 to run what a CPU can.")
    clock = Clock(options.minutes)
    checks = {name: checked(check, device) for name, check in CHECKS.items()}
    measures: dict[str, Any] = {}
    if not options.checks_only:
        measures["training"] = training_speed(device, options.rows, clock)
        measures["default model"] = default_model(device, clock)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    save(options.name, {
        "device": name, "rows": options.rows, "batch": BATCH, "hidden": HIDDEN, "checks": checks, "measures": measures,
    })  # fmt: skip
    if any("failed" in check for check in checks.values()):
        sys.exit(1)


def checked(
    check: Callable[[torch.device], dict[str, Any]], device: torch.device
) -> dict[str, Any]:
    """Run a check; what it raises is its result, so that the others run too."""
    began = time.perf_counter()
    try:
        found = check(device)
    except Exception:  # noqa: BLE001 - the report says it, and the exit code
        found = {"failed": traceback.format_exc()[-2000:]}
    found = {**found, "seconds": time.perf_counter() - began}
    print(check.__name__, found, flush=True)
    return found


def expect(holds: bool, said: str) -> None:
    if not holds:
        raise AssertionError(said)


# ------------------------------------------------------------- checks


def prepared_penguins() -> Any:
    return sl.prepare(sl.split(sl.read(PENGUINS), target="species"))


def fit_and_predict(device: torch.device) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        run = sl.fit(PENGUINS, "species", device=device.type, run=f"{folder}/run", report=False, quiet=True)  # fmt: skip
        expect(run.metrics["accuracy"] > 0.9, f"accuracy {run.metrics['accuracy']}")
        cpu = run.model.predict_proba(PENGUINS)
        reader = run.model.encoder.open(run.table)
        encoded = reader(np.arange(run.table.rows))
        with torch.inference_mode():
            numbers, codes = run.model.inputs(encoded)
            modules = [copy.deepcopy(module).to(device).eval() for module in run.model.modules]
            network = modules[0]
            there = run.model.task.head(network(numbers.to(device), codes.to(device))).cpu().numpy()
            here = run.model.task.head(run.model.network.eval()(numbers, codes)).numpy()
    difference = float(np.abs(there - here).max())
    expect(difference <= 1e-5, f"the network's probabilities differ by {difference}")
    return {"accuracy": run.metrics["accuracy"], "rows": len(cpu), "largest_difference": difference}


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: values.detach().cpu().clone() for name, values in network.state_dict().items()}


def exact_resume(device: torch.device) -> dict[str, Any]:
    from sightline.train.training import Training

    prepared = prepared_penguins()

    def begin() -> Any:
        torch.manual_seed(0)
        return sl.Training(sl.MLP(prepared.spec, hidden=[64, 64], dropout=0.2), prepared, epochs=6, device=device.type)  # fmt: skip

    whole = begin()
    for _ in whole.steps():
        pass
    with tempfile.TemporaryDirectory() as folder:
        stopped = begin()
        checkpoints = sl.Checkpoints(stopped, folder)
        for step in stopped.steps():
            if step.number == 25:
                break
        checkpoints.save()
        resumed = Training.resume(folder, prepared)
        for _ in resumed.steps():
            pass
    a, b = weights(whole.network), weights(resumed.network)
    different = [name for name in a if not torch.equal(a[name], b[name])]
    expect(not different, f"weights differ after a resume: {different}")
    return {"steps": whole.progress.steps, "identical": True}


def edits(device: torch.device) -> dict[str, Any]:
    prepared = prepared_penguins()
    torch.manual_seed(0)
    training = sl.Training(sl.MLP(prepared.spec, hidden=[32, 32]), prepared, epochs=6, device=device.type)  # fmt: skip
    numbers = prepared.test.numeric.to(device)
    codes = prepared.test.categorical.to(device)
    largest, changes = (
        0.0,
        [sl.Widen("hidden.0", 48), sl.Deepen("hidden.1"), sl.Freeze("embeddings")],
    )
    for step in training.steps():
        if changes and step.number % 10 == 0:
            training.edit(changes.pop(0))
            with torch.no_grad():
                before = training.network.eval()(numbers, codes)
                training._apply_edits()
                after = training.network.eval()(numbers, codes)
            training.network.train()
            largest = max(largest, float((before - after).abs().max()))
    expect(not changes, f"{len(changes)} edits were not made")
    expect(largest < 1e-4, f"an edit changed the logits by {largest}")
    return {"edits": 3, "largest_change_of_logits": largest}


def little_memory(device: torch.device) -> dict[str, Any]:
    if device.type != "cuda":
        return {"left out": "the memory of a CPU cannot be limited from inside"}
    prepared = synthetic(400_000)
    total = torch.cuda.get_device_properties(device).total_memory
    torch.manual_seed(0)
    network = sl.MLP(prepared.spec, hidden=[4096, 4096])
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, 3e9 / total))
    try:
        training = sl.Training(network, prepared, epochs=1, batch_size=131_072, device="cuda", patience=None)  # fmt: skip
        for step in training.steps():
            if step.number == 3:
                break
        said = [event.said for event in training.events if event.type == "memory"]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    expect(bool(said), "no event says that memory ran out")
    return {"said": said}


def one_of_a_group(device: torch.device) -> dict[str, Any]:
    """Sum the gradients of a step over a group of this process alone: nothing may change, and nothing may be lost."""
    import socket

    import torch.distributed as dist

    from sightline.train.processes import Processes, backends

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    backend = backends(device.type == "cuda")
    dist.init_process_group(backend, init_method=place, rank=0, world_size=1)
    try:
        processes = Processes(group=dist.new_group(backend=backend))
        batch = torch.randn(4096, FEATURES, device=device)
        network = nn.Sequential(
            nn.Linear(FEATURES, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 1)
        ).to(device)  # fmt: skip
        if device.type == "cuda":  # `synchronised` does this for several processes
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network, processes.group)
        loss = network(batch).square().mean()
        loss.backward()
        own = [p.grad.clone() for p in network.parameters() if p.grad is not None]
        summed, score = processes._sum(network, 3, loss.detach(), torch.ones((), device=device))
        same = all(torch.equal(p.grad, g) for p, g in zip(network.parameters(), own, strict=True) if p.grad is not None)  # fmt: skip
        expect(same, "the gradients differ")
        expect(torch.equal(summed, loss.detach()), f"the loss {loss} became {summed}")
        expect(float(score or 0) == 1, f"the score 1 became {score}")
        box: list[Any] = [{"from": "process 0"}]
        dist.broadcast_object_list(box, 0, group=processes.group, device=torch.device("cpu"))
        expect(box == [{"from": "process 0"}], f"an object became {box}")
    finally:
        dist.destroy_process_group()
    return {"backend": backend, "gradients": len(own)}


CHECKS: dict[str, Callable[[torch.device], dict[str, Any]]] = {
    "fit, and predict as on the CPU": fit_and_predict, "exact resume": exact_resume, "edits": edits,
    "too little memory": little_memory, "one process of a group": one_of_a_group,
}  # fmt: skip


# ------------------------------------------------------------- measures


def synthetic(rows: int) -> Any:
    """Prepare a small table, and put many rows of standard normal numbers in its place."""
    random = np.random.default_rng(0)
    columns = {f"x{j}": random.normal(size=2000).astype(np.float32) for j in range(FEATURES)}
    label = (columns["x0"] + columns["x1"] * columns["x2"] > 0).astype(int)
    table = sl.read({**columns, "y": label})
    prepared = sl.prepare(sl.split(table, target="y", test=0, valid=200), numeric="standard")
    generator = torch.Generator().manual_seed(0)
    numeric = torch.randn(rows, FEATURES, generator=generator)
    target = (numeric[:, 0] + numeric[:, 1] * numeric[:, 2] > 0).long()
    train = prepared.train._replace(
        numeric=numeric, categorical=torch.zeros(rows, 0, dtype=torch.int32), target=target, row=torch.arange(rows)
    )  # fmt: skip
    return replace(prepared, train=train)


def training_speed(device: torch.device, rows: int, clock: Clock) -> dict[str, Any]:
    """Rows a second of an epoch after a first one, of each side in turn."""
    prepared = synthetic(rows)
    X, y = prepared.train.numeric.to(device), prepared.train.target.to(device)
    sides: dict[str, Callable[[], float]] = {
        "sightline": lambda: ours(prepared, device), "bare loop": lambda: bare(prepared, X, y, "eager"),
        "bare loop, compiled": lambda: bare(prepared, X, y, "compiled"),
    }  # fmt: skip
    if device.type == "cuda":
        sides["bare loop, CUDA graph"] = lambda: bare(prepared, X, y, "graph")
    found: dict[str, list[float]] = {name: [] for name in sides}
    left_out = []
    for number in range(3):
        for name, side in sides.items():
            if not clock.has(60):
                left_out.append(f"{name}, round {number}")
                continue
            found[name].append(rows / side())
            print(name, round(found[name][-1]), "rows a second", flush=True)
    medians = {name: statistics.median(speeds) for name, speeds in found.items() if speeds}
    ratios = {name: medians["sightline"] / speed for name, speed in medians.items() if name != "sightline"}  # fmt: skip
    return {
        "rows_a_second": medians,
        "rounds": found,
        "sightline_times_side": ratios,
        "left_out": left_out,
    }


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def ours(prepared: Any, device: torch.device) -> float:
    torch.manual_seed(0)
    training = sl.Training(
        sl.MLP(prepared.spec, hidden=HIDDEN), prepared, epochs=2, batch_size=BATCH, patience=None, device=device.type,
    )  # fmt: skip
    for _ in training.steps():
        pass
    last = training.history[-1].metrics
    return float(last["seconds"] - last["validation_seconds"])


def bare(prepared: Any, X: Tensor, y: Tensor, how: str) -> float:
    device = X.device
    torch.manual_seed(0)
    model: nn.Module = sl.MLP(prepared.spec, hidden=HIDDEN).to(device)
    nothing = torch.zeros(BATCH, 0, dtype=torch.int32, device=device)
    captured = how == "graph"
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True, capturable=captured)
    forward = torch.compile(model) if how == "compiled" else model

    def step(x: Tensor, target: Tensor) -> None:
        loss = nn.functional.cross_entropy(forward(x, nothing), target)
        optimizer.zero_grad(set_to_none=not captured)
        loss.backward()
        optimizer.step()

    graph, x0, y0 = None, X[:BATCH].clone(), y[:BATCH].clone()
    if captured:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step(x0, y0)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step(x0, y0)
    seconds = 0.0
    for _ in range(2):  # the first epoch warms up
        wait(device)
        began = time.perf_counter()
        order = torch.randperm(len(X), device=device)
        for start in range(0, len(X) - BATCH + 1, BATCH):
            index = order[start : start + BATCH]
            if graph is None:
                step(X[index], y[index])
            else:
                x0.copy_(X[index])
                y0.copy_(y[index])
                graph.replay()
        wait(device)
        seconds = time.perf_counter() - began
    return seconds


def default_model(device: torch.device, clock: Clock) -> dict[str, Any]:
    """Seconds of whole fits of the default model."""
    found: dict[str, Any] = {}
    for name, rows, numbers, texts in (
        ("like adult", 48_842, 6, 8),
        ("a million rows", 1_000_000, 20, 8),
    ):
        table = made(rows, numbers, texts)
        for where, needed in (
            (device.type, 60 if rows < 100_000 else 150),
            ("cpu", 60 if rows < 100_000 else 400),
        ):
            if where in found.get(name, {}):
                continue
            if not clock.has(needed):
                found.setdefault(name, {})[where] = "left out: no time"
                continue
            before = torch.get_num_threads()
            torch.set_num_threads(2 if where == "cpu" else before)
            began = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                run = sl.fit(table, "y", device=where, run=f"{folder}/run", report=False, baselines=False, quiet=True)  # fmt: skip
                ends = {"training": run.find("train", "end")[-1].body["seconds"]}
                if trees := run.find("train", "trees"):
                    ends["trees"] = trees[-1].body["seconds"]
            torch.set_num_threads(before)
            seconds = {
                "all": time.perf_counter() - began,
                **ends,
                "log_loss": run.metrics["log_loss"],
            }
            found.setdefault(name, {})[where] = seconds
            print(name, where, {key: round(value, 3) for key, value in seconds.items()}, flush=True)
    return found


def made(rows: int, numbers: int, texts: int) -> Any:
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {f"x{j}": random.normal(size=rows) for j in range(numbers)}
    codes = random.integers(0, 12, size=(texts, rows))
    words = np.array([f"word {i}" for i in range(12)])
    columns |= {f"c{j}": words[code] for j, code in enumerate(codes)}
    score = columns["x0"] * columns["x1"] + columns["x2"] + (codes[0] % 3 - 1) * columns["x3"]
    columns["y"] = np.where(score + random.normal(size=rows) > 1, "yes", "no")
    return sl.read(columns)


if __name__ == "__main__":
    main()
