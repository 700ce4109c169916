"""Which type each record's body has, by (stage, type).

`docs/trace.md` is made from these types, and a test compares the records of whole fits with them.
A `float` may be one of the texts "NaN", "Infinity" and "-Infinity" in the file, because JSON has no
such numbers.
"""

from collections.abc import Mapping
from typing import Any

from sightline.contracts.records import build, lesson, load, predict, prepare, run, train

BODIES: Mapping[tuple[str, str], type[Any]] = {
    ("run", "start"): run.RunStart,
    ("lesson", "opening"): lesson.LessonOpening,
    ("lesson", "begin"): lesson.LessonBegin,
    ("load", "table"): load.LoadTable,
    ("load", "split"): load.LoadSplit,
    ("load", "batch"): load.LoadBatch,
    ("prepare", "columns"): prepare.PrepareColumns,
    ("build", "network"): build.BuildNetwork,
    ("train", "plan"): train.TrainPlan,
    ("train", "edit"): train.TrainEdit,
    ("train", "refused"): train.TrainRefused,
    ("train", "skipped"): train.TrainSkipped,
    ("train", "rollback"): train.TrainRollback,
    ("train", "plateau"): train.TrainPlateau,
    ("train", "memory"): train.TrainMemory,
    ("train", "warning"): train.TrainWarning,
    ("train", "checkpoint"): train.TrainCheckpoint,
    ("train", "paused"): train.TrainPaused,
    ("train", "continued"): train.TrainContinued,
    ("train", "layers"): train.TrainLayers,
    ("train", "epoch"): train.TrainEpoch,
    ("train", "step"): train.TrainStep,
    ("train", "end"): train.TrainEnd,
    ("train", "second_network"): train.TrainSecondNetwork,
    ("train", "trees"): train.TrainTrees,
    ("train", "symmetric_trees"): train.TrainSymmetricTrees,
    ("train", "forest"): train.TrainForest,
    ("train", "kernel"): train.TrainKernel,
    ("train", "neighbors"): train.TrainNeighbors,
    ("train", "time_limit"): train.TrainTimeLimit,
    ("train", "replay"): train.TrainReplay,
    ("predict", "example"): predict.PredictExample,
    ("predict", "metrics"): predict.PredictMetrics,
    ("predict", "calibration"): predict.PredictCalibration,
    ("predict", "sets"): predict.PredictSets,
    ("predict", "threshold"): predict.PredictThreshold,
    ("predict", "thresholds"): predict.PredictThresholds,
    ("predict", "baselines"): predict.PredictBaselines,
    ("predict", "curves"): predict.PredictCurves,
    ("predict", "worst"): predict.PredictWorst,
    ("predict", "rows"): predict.PredictRows,
    ("predict", "importance"): predict.PredictImportance,
    ("predict", "dependence"): predict.PredictDependence,
    ("predict", "slices"): predict.PredictSlices,
    ("predict", "time_limit"): predict.PredictTimeLimit,
    ("predict", "asked"): predict.PredictAsked,
    ("lesson", "stage"): lesson.LessonStage,
    ("lesson", "insight"): lesson.LessonInsight,
    ("lesson", "quiz"): lesson.LessonQuiz,
    ("lesson", "result"): lesson.LessonResult,
    ("run", "end"): run.RunEnd,
}
TYPES: Mapping[type[Any], tuple[str, str]] = {body: key for key, body in BODIES.items()}
