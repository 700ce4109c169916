"""Training speed: Sightline, a bare PyTorch loop, and other libraries with default settings.

    pip install lightning skorch pytorch_tabular requests    # sides that are not installed are skipped
    python -m benchmarks.train_speed [--sizes small medium large huge] [--repeats 5]

"bare" is the 12-line loop: the same network, one `randperm` an epoch, an `X[index]` gather, fused
AdamW, float32; the better of one thread and of all. Order and gather are counted on both sides,
validation on neither. Sightline runs as it does for a user: records and doctor on, checkpoints
every 30 seconds, its own choice of threads and precision. The sides take turns in every round; a
ratio is the median of the rounds' ratios. Others train the same network on the same tensors with
AdamW and the same batch size, and only the time between an epoch's start and its end counts.

Targets (ratio to bare, at most; better in parentheses): small 1.0 (0.8), medium 0.9 (0.7), large 0.6 and
huge 0.4 with bfloat16 hardware, 1.0 without. Others on medium and large: Lightning 3 x slower or
more, skorch 2 x, pytorch_tabular 3 x, a plain DataLoader loop 2 x. Doctor and records together under
2 % on the middle sizes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import sightline as sl
from benchmarks.common import interleaved, ratio, save

GOALS = {"small": 1.0, "medium": 0.9, "large": 0.6, "huge": 0.4}
OTHERS = {"lightning": 3.0, "skorch": 2.0, "pytorch_tabular": 3.0, "dataloader": 2.0}


@dataclass(frozen=True)
class Size:
    """A table, a network and how long to train it."""

    name: str
    rows: int
    features: int
    hidden: list[int]
    batch_size: int
    epochs: int


SIZES = {
    "small": Size("small", 1_000, 10, [32], 32, 20),
    "medium": Size("medium", 20_000, 10, [32], 32, 3),
    "large": Size("large", 100_000, 28, [256] * 3, 256, 1),
    "huge": Size("huge", 200_000, 54, [512] * 3, 1024, 1),
}


class Sides:
    """The libraries and loops that train one size; each returns the seconds of its epochs."""

    def __init__(self, size: Size, folder: str) -> None:
        random = np.random.default_rng(0)
        held = size.rows // 10
        values = random.normal(size=(size.rows + held, size.features)).astype(np.float32)
        noise = random.normal(size=len(values))
        label = (values[:, 0] + values[:, 1] * values[:, 2] + noise > 0).astype(int)
        columns = {f"x{j}": values[:, j] for j in range(size.features)}
        splits = sl.split(sl.read({**columns, "y": label}), target="y", valid=held, test=0)
        self.prepared = sl.prepare(splits, numeric="standard")
        self.size, self.folder = size, folder
        self.plan: Any = None
        self.plan_seconds = 0.0
        self.X, self.y = self.prepared.train.numeric, self.prepared.train.target

    def network(self) -> nn.Module:
        """Make the network, the same weights each time."""
        torch.manual_seed(0)
        return sl.MLP(self.prepared.spec, hidden=self.size.hidden)

    def flat(self) -> nn.Module:
        """Make the same network for libraries that pass one tensor."""
        return _OneInput(self.network())

    def sightline(self, doctor: bool = True) -> float:
        """Train as a user does."""
        began = time.perf_counter()
        training = sl.Training(
            self.network(), self.prepared, epochs=self.size.epochs, patience=None,
            batch_size=self.size.batch_size, device="cpu", doctor=doctor,
        )  # fmt: skip
        self.plan, self.plan_seconds = training.plan, time.perf_counter() - began
        checkpoints = sl.Checkpoints(training, tempfile.mkdtemp(dir=self.folder))
        next(iter(training))  # the untrained network's record: the bare loop has none
        began = time.perf_counter()
        for _ in training.steps():
            checkpoints.after_step()
        seconds = time.perf_counter() - began
        return seconds - sum(e.metrics["validation_seconds"] for e in training.history[1:])

    def bare(self, threads: int) -> float:
        """Train with the 12-line loop."""
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        model, size = self.network(), self.size.batch_size
        X, y, nothing = self.X, self.y, torch.zeros(size, 0, dtype=torch.int32)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        began = time.perf_counter()
        for _ in range(self.size.epochs):
            order = torch.randperm(len(X))
            for start in range(0, len(X), size):
                index = order[start : start + size]
                loss = nn.functional.cross_entropy(model(X[index], nothing), y[index])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        seconds = time.perf_counter() - began
        torch.set_num_threads(before)
        return seconds

    def dataloader(self) -> float:
        """Train with PyTorch's DataLoader over a TensorDataset."""
        model, nothing = self.network(), torch.zeros(self.size.batch_size, 0, dtype=torch.int32)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        loader = DataLoader(
            TensorDataset(self.X, self.y), batch_size=self.size.batch_size, shuffle=True
        )
        began = time.perf_counter()
        for _ in range(self.size.epochs):
            for x, target in loader:
                loss = nn.functional.cross_entropy(model(x, nothing), target)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return time.perf_counter() - began

    def skorch(self) -> float:
        """Train with skorch, without a validation split."""
        from skorch import NeuralNetClassifier

        net = NeuralNetClassifier(
            self.flat(), criterion=nn.CrossEntropyLoss, optimizer=torch.optim.AdamW, lr=1e-3,
            max_epochs=self.size.epochs, batch_size=self.size.batch_size, train_split=None,
            iterator_train__shuffle=True,
        )  # fmt: skip
        with _quiet():
            net.fit(self.X, self.y)
        return float(sum(net.history[:, "dur"]))

    def lightning(self) -> float:
        """Train with Lightning, without a validation loader."""
        import lightning

        class Module(lightning.LightningModule):
            def __init__(self, network: nn.Module) -> None:
                super().__init__()
                self.network = network

            def training_step(self, batch: Any, _: int) -> Any:
                return nn.functional.cross_entropy(self.network(batch[0]), batch[1])

            def configure_optimizers(self) -> Any:
                return torch.optim.AdamW(self.parameters(), lr=1e-3)

        clock = _clock(lightning.Callback)
        loader = DataLoader(
            TensorDataset(self.X, self.y), batch_size=self.size.batch_size, shuffle=True
        )
        with _quiet():
            trainer = lightning.Trainer(
                max_epochs=self.size.epochs, callbacks=[clock], default_root_dir=self.folder,
                accelerator="cpu",
            )  # fmt: skip
            trainer.fit(Module(self.flat()), loader)
        return float(clock.seconds)

    def pytorch_tabular(self) -> float:
        """Train pytorch_tabular's own MLP of the same widths (its input has a BatchNorm more)."""
        import pandas as pd
        from pytorch_lightning import Callback
        from pytorch_tabular import TabularModel
        from pytorch_tabular.config import DataConfig, OptimizerConfig, TrainerConfig
        from pytorch_tabular.models import CategoryEmbeddingModelConfig

        names = [f"x{j}" for j in range(self.size.features)]
        frame = pd.DataFrame(self.X.numpy(), columns=names).assign(y=self.y.numpy())
        clock = _clock(Callback)
        with _quiet():
            model = TabularModel(
                data_config=DataConfig(target=["y"], continuous_cols=names, normalize_continuous_features=False),
                model_config=CategoryEmbeddingModelConfig(
                    task="classification", layers="-".join(map(str, self.size.hidden))
                ),
                optimizer_config=OptimizerConfig(optimizer="AdamW"),
                trainer_config=TrainerConfig(
                    batch_size=self.size.batch_size, max_epochs=self.size.epochs, early_stopping=None,
                    checkpoints=None, load_best=False, accelerator="cpu", trainer_kwargs={"default_root_dir": self.folder},
                ),
                verbose=False,
            )  # fmt: skip
            model.fit(train=frame, validation=frame[:100], callbacks=[clock])
        return float(clock.seconds)


class _OneInput(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x, x.new_zeros((len(x), 0), dtype=torch.int32))


def _clock(kind: Any) -> Any:
    """Make a callback that measures epochs, of Lightning's or pytorch_lightning's own class."""

    class Clock(kind):
        seconds = 0.0
        began = 0.0

        def on_train_epoch_start(self, *_: Any) -> None:
            self.began = time.perf_counter()

        def on_train_epoch_end(self, *_: Any) -> None:
            self.seconds += time.perf_counter() - self.began

    return Clock()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    logging.disable(logging.NOTSET)


def measure(size: Size, repeats: int, others: bool) -> dict[str, Any]:
    """Measure one size."""
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        sides = Sides(size, folder)
        variants: dict[str, Callable[[], Any]] = {
            "sightline": sides.sightline,
            "sightline without doctor": lambda: sides.sightline(doctor=False),
        }
        for count in sorted({1, threads}):
            variants[f"bare, {count} threads"] = lambda count=count: sides.bare(count)
        missing = []
        if others:
            for name in OTHERS:
                if name == "dataloader" or find_spec(name) is not None:
                    variants[name] = getattr(sides, name)
                else:
                    missing.append(name)
        for run in variants.values():
            run()  # the first run of each fills caches
        seconds = interleaved(variants, repeats)
    bare = {name: sorted(times)[len(times) // 2] for name, times in seconds.items() if name.startswith("bare")}  # fmt: skip
    best = min(bare, key=lambda name: bare[name])
    plan = sides.plan
    return {
        "rows": size.rows, "features": size.features, "hidden": size.hidden,
        "batch_size": size.batch_size, "epochs": size.epochs,
        "plan": {"threads": plan.threads, "threads_reason": plan.threads_reason,
                 "precision": plan.precision, "precision_reason": plan.precision_reason,
                 "seconds_to_settle": sides.plan_seconds},
        "bare": best,
        "ratio": ratio(seconds, "sightline", best), "ratio_goal": GOALS[size.name],
        "doctor": ratio(seconds, "sightline", "sightline without doctor"), "doctor_goal": 1.02,
        "others": {name: {**ratio(seconds, name, "sightline"), "goal": goal}
                   for name, goal in OTHERS.items() if name in seconds},
        "not_installed": missing, "seconds": seconds,
    }  # fmt: skip


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sizes", nargs="+", choices=list(SIZES), default=list(SIZES), help="sizes to measure"
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds")
    given = parser.parse_args()
    results = {
        name: measure(SIZES[name], given.repeats, others=name in ("medium", "large"))
        for name in given.sizes
    }
    whole = set(given.sizes) == set(SIZES)
    save("train_speed" if whole else f"train_speed_{'_'.join(given.sizes)}", {"sizes": results})


if __name__ == "__main__":
    main()
