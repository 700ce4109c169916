"""Sightline: deep learning on tables with PyTorch, every stage in sight.

    import sightline as sl

    run = sl.fit("flowers.csv", target="species")

Names are imported when first used, so that `import sightline` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sightline.build.ensemble import Ensemble
    from sightline.build.flat import Flat
    from sightline.build.mlp import MLP
    from sightline.contracts import (
        Batch,
        Column,
        Deepen,
        EpochRecord,
        Event,
        Freeze,
        Ray,
        Record,
        Replace,
        Schema,
        Spec,
        Step,
        Stop,
        Unfreeze,
        Widen,
    )
    from sightline.errors import SightlineError, UserError
    from sightline.estimators import SightlineClassifier, SightlineRegressor
    from sightline.load.databases import Query
    from sightline.load.split import Splits, split
    from sightline.load.table import Table, read
    from sightline.pipeline.demo import demo
    from sightline.pipeline.distill import Distilled, distill
    from sightline.pipeline.fit import fit, replay
    from sightline.pipeline.folder import Run
    from sightline.pipeline.lessons import teach
    from sightline.pipeline.origin import slices
    from sightline.pipeline.refit import refit
    from sightline.pipeline.runs import resume
    from sightline.pipeline.tuning import tune
    from sightline.predict.model import Model
    from sightline.predict.onnx_model import OnnxModel
    from sightline.prepare.prepared import Prepared, prepare
    from sightline.trace.compare import compare
    from sightline.trace.listing import runs
    from sightline.train.checkpoints import Checkpoints
    from sightline.train.training import Training

_PLACES = {
    "fit": "pipeline.fit", "demo": "pipeline.demo", "teach": "pipeline.lessons", "refit": "pipeline.refit", "tune": "pipeline.tuning", "distill": "pipeline.distill", "Distilled": "pipeline.distill", "resume": "pipeline.runs", "replay": "pipeline.fit",
    "slices": "pipeline.origin", "Run": "pipeline.folder", "compare": "trace.compare", "runs": "trace.listing",
    "read": "load.table", "Query": "load.databases", "Table": "load.table", "split": "load.split", "Splits": "load.split",
    "prepare": "prepare.prepared", "Prepared": "prepare.prepared",
    "MLP": "build.mlp", "Flat": "build.flat", "Ensemble": "build.ensemble",
    "Training": "train.training", "Checkpoints": "train.checkpoints", "Model": "predict.model",
    "OnnxModel": "predict.onnx_model",
    "Widen": "contracts", "Deepen": "contracts", "Replace": "contracts", "Freeze": "contracts",
    "Unfreeze": "contracts", "Stop": "contracts", "Event": "contracts",
    "Batch": "contracts", "Column": "contracts", "EpochRecord": "contracts", "Record": "contracts",
    "Schema": "contracts", "Spec": "contracts", "Step": "contracts", "Ray": "contracts",
    "SightlineClassifier": "estimators", "SightlineRegressor": "estimators",
    "SightlineError": "errors", "UserError": "errors",
}  # fmt: skip

__all__ = [  # noqa: RUF022 - in the order in which a reader meets them
    "fit", "resume", "refit", "replay", "tune", "distill", "Distilled", "slices", "Ray", "compare", "runs", "demo", "teach", "Run", "read", "Query", "Table", "split", "Splits", "prepare",
    "Prepared", "Ensemble", "MLP", "Flat", "Training", "Checkpoints", "Widen", "Deepen", "Replace", "Freeze",
    "Unfreeze", "Stop", "Model", "OnnxModel", "Batch", "Column", "EpochRecord", "Event", "Record", "Schema", "Spec",
    "Step", "SightlineClassifier", "SightlineRegressor",
    "SightlineError", "UserError",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        import difflib

        from sightline.contracts.other_names import COMMANDS, ours

        close = ours(name, _PLACES, COMMANDS) or difflib.get_close_matches(name, _PLACES, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise AttributeError(f"module 'sightline' has no attribute {name!r}.{hint}")
    value = getattr(importlib.import_module(f"sightline.{_PLACES[name]}"), name)
    # The import may have bound a room of the same name (prepare): it stays, being callable itself,
    # so that `import sightline.prepare.prepared` works before and after.
    return globals().setdefault(name, value)


def __dir__() -> list[str]:
    return sorted(__all__)
