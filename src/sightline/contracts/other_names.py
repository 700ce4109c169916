"""Names that other tools use, and what Sightline calls the same: only to suggest it, nothing is accepted silently.

`OPTIONS` and `COMMANDS` are from our name to theirs; a name may stand for several of ours, such as `output`, and the
command or function that was called decides which it has. A test compares our names with the real ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sightline.errors import OptionError, did_you_mean

OPTIONS: Mapping[str, tuple[str, ...]] = {
    # the table and its split
    "target": ("label", "labels", "y", "target_column", "target_col", "label_column", "label_col", "outcome", "response", "t"),
    "kinds": ("kind", "type", "types", "dtype", "dtypes", "categorical", "cat_features", "cat_columns", "categorical_columns", "column_types"),
    "drop": ("ignore", "exclude", "ignore_columns", "drop_columns", "exclude_columns", "id", "id_column", "skip_columns"),
    "missing": ("na_values", "na", "null", "nan", "missing_values"),
    "encoding": ("charset",),
    "query": ("sql",),
    "on_bad_rows": ("on_bad_lines", "bad_rows", "skip_bad_rows", "errors"),
    "header": ("skiprows", "header_row"),
    "sheet": ("sheet_name",),
    "task": ("problem_type", "objective", "mode", "problem", "task_type", "type"),
    "positive": ("pos_label", "positive_class", "pos_class"),
    "valid": ("val", "validation", "val_split", "validation_split", "val_size", "valid_size", "eval_set", "dev", "validation_size"),
    "test": ("test_size", "test_split", "holdout", "test_fraction", "test_file", "test_data", "split"),
    "folds": ("cv", "kfold", "k_fold", "n_splits", "n_folds", "num_folds"),
    "group": ("groups", "group_column", "group_by", "group_col"),
    "time": ("time_column", "date", "date_column", "timestamp", "time_col"),
    "weight": ("sample_weight", "weights", "weight_column", "sample_weights"),
    # the model
    "numeric": ("scaling", "scaler", "normalize", "standardize", "normalization"),
    "quality": ("preset", "presets", "fast", "best"),
    "network": ("architecture", "arch", "module", "net"),
    "hidden": ("layers", "hidden_layers", "hidden_size", "hidden_sizes", "units", "hidden_units", "hidden_dim", "hidden_layer_sizes"),
    "dropout": ("dropout_rate",),
    "trees": ("boosting", "gbdt", "boosted_trees"),
    "calibrate": ("calibration",),
    "threshold": ("cutoff", "decision_threshold"),
    "baselines": ("baseline",),
    # training
    "epochs": ("epoch", "max_epochs", "n_epochs", "num_epochs", "num_train_epochs", "max_iter", "iterations", "n"),
    "batch_size": ("bs", "batch", "batchsize", "train_batch_size"),
    "accumulate": ("gradient_accumulation_steps", "grad_accum", "accumulate_grad_batches"),
    "learning_rate": ("lr", "eta", "learning_rate_init", "rate"),
    "weight_decay": ("wd", "l2", "decay", "regularization"),
    "optimizer": ("optim", "opt", "solver"),
    "schedule": ("scheduler", "lr_schedule", "lr_scheduler"),
    "warm_up": ("warmup", "warmup_ratio", "warmup_steps"),
    "clip_norm": ("clip", "grad_clip", "clip_grad", "clip_grad_norm", "gradient_clip_val", "max_grad_norm"),
    "ema": ("ema_decay", "swa"),
    "label_smoothing": ("smoothing",),
    "class_weights": ("class_weight", "scale_pos_weight"),
    "patience": ("early_stopping", "early_stopping_rounds", "early_stop", "early_stopping_patience"),
    "eval_metric": ("metric", "metrics", "monitor", "scoring", "eval_metrics"),
    "time_limit": ("timeout", "max_time", "time_budget", "budget", "max_runtime", "limit"),
    "precision": ("amp", "fp16", "bf16", "mixed_precision"),
    "seed": ("random_state", "random_seed", "rng"),
    "random_state": ("seed", "random_seed"),
    "device": ("gpu", "gpus", "use_gpu", "cuda", "cpu", "mps", "accelerator"),
    # the run
    "run": ("output", "out", "o", "output_dir", "out_dir", "save_dir", "log_dir", "logdir", "run_name", "run_dir", "save", "experiment", "name", "folder", "to"),
    "folder": ("output", "out", "o", "output_dir", "out_dir", "save_dir", "study", "name"),
    "to": ("output", "out", "o", "output_dir", "run", "table", "database"),
    "checkpoint_seconds": ("checkpoint", "checkpoint_interval", "save_every"),
    "memory_limit": ("memory", "max_memory"),
    "live": ("dashboard", "ui", "browser", "show"),
    "browser": ("open", "show"),
    "report": ("html",),
    "quiet": ("silent", "q", "verbosity", "verbose", "v"),
    "engine": ("ray", "distributed", "backend"),
    "workers": ("jobs", "n_jobs", "processes", "parallel", "num_workers", "j"),
    "trials": ("n_trials", "num_trials", "iterations", "n_iter", "n"),
    "vary": ("space", "search_space", "grid", "param", "params", "param_grid"),
    # commands that use models and runs
    "output": ("out", "output_file", "out_file", "outfile", "save", "file", "to"),
    "keep": ("id", "id_column", "columns", "keep_columns", "passthrough"),
    "alpha": ("interval", "intervals", "confidence", "coverage", "conformal"),
    "require": ("metric", "min", "minimum", "fail_under", "threshold", "assert"),
    "row": ("index", "i", "n"),
    "repeats": ("n_repeats", "permutations"),
    "fail": ("strict", "exit_code"),
    "as_json": ("format", "json_output"),
    "model": ("from_model", "base_model"),
    "warm_start": ("finetune", "fine_tune", "pretrained"),
    "port": ("p",),
    "host": ("bind", "address", "ip"),
    "api_keys": ("api_key", "token", "auth", "key"),
    "png": ("plot", "plots", "pictures", "figures"),
    "page": ("html", "report"),
}  # fmt: skip
"""From the name of an argument or option to the names that other tools give it."""

ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "source": ("data", "input", "in", "file", "csv", "dataset", "path", "train", "train_data", "train_file", "data_path", "i", "f", "d", "rows", "x"),
    "model": ("model", "checkpoint", "model_path", "bundle", "m", "run"),
    "models": ("model", "model_path", "m", "run"),
    "run": ("run", "model", "folder", "checkpoint", "r"),
    "runs": ("run", "runs"),
    "target": (),
}  # fmt: skip
"""From an argument of a command that has no dashes to options by which other tools take it."""

ELSEWHERE: Mapping[str, str] = {
    **dict.fromkeys(
        ("cv", "folds", "kfold", "k_fold", "n_splits", "n_folds", "num_folds"),
        "There is no option for the number of folds: the training rows are cross-validated by themselves, unless valid "
        "(--valid) gives validation rows.",
    ),
    **dict.fromkeys(
        ("sep", "delimiter", "separator"), "The separator of a text file is recognised; there is no option for it.",
    ),
    **dict.fromkeys(
        ("features", "feature_columns", "columns", "use_columns", "usecols", "predictors"),
        "All columns but the target are used; drop (--drop) leaves some out.",
    ),
    **dict.fromkeys(
        ("stratify", "stratified", "shuffle"),
        "Rows are split at random, each class in equal shares; group (--group) or time (--time) split in another way.",
    ),
    **dict.fromkeys(
        ("overwrite", "force", "exist_ok"), "A run folder is never overwritten: give another one with run (--run).",
    ),
    **dict.fromkeys(
        ("threads", "n_threads", "num_threads", "nthread"),
        "The number of threads is chosen for the size of a step; the environment variable OMP_NUM_THREADS limits it.",
    ),
    **dict.fromkeys(
        ("n_estimators", "max_depth", "num_leaves", "num_boost_round"),
        "Boosted trees have no options of their own: quality (--quality) chooses them, trees=False (--no-trees) leaves them out.",
    ),
    **dict.fromkeys(
        ("proba", "probabilities", "probs", "predict_proba"), "The output has the probability of each class already.",
    ),
    "loss": "The loss follows from the target: cross entropy for classes, squared error for a number; class_weights "
    "(--class-weights) weigh it, and eval_metric (--eval-metric) chooses the best epoch.",
    "config": "There is no file of options: write them behind the command.",
    "resume": "An interrupted run goes on with another command: sightline resume RUN.",
}  # fmt: skip
"""What Sightline does where other tools have an option."""

VALUES: Mapping[str, str] = {
    "gpu": "cuda", "use_gpu": "cuda", "cuda": "cuda", "cpu": "cpu", "mps": "mps", "bf16": "bfloat16",
    "fast": "fast", "best": "best",
}  # fmt: skip
"""Names of other tools' switches that are values of an option here."""

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "fit": ("train", "learn", "build", "run", "new", "start", "train-model"),
    "predict": ("score", "infer", "inference", "apply", "classify", "forecast", "transform"),
    "evaluate": ("score", "eval", "test", "validate", "measure", "metrics"),
    "check": ("drift", "validate", "monitor"),
    "inspect": ("describe", "info", "head", "columns", "schema", "profile", "summary", "show", "read", "cat"),
    "tune": ("search", "optimize", "optimise", "hpo", "sweep", "hyperopt", "grid-search"),
    "resume": ("continue", "restart", "restore"),
    "replay": ("reproduce", "repeat", "rerun"),
    "runs": ("ls", "list", "history", "experiments", "leaderboard"),
    "report": ("plot", "plots", "html", "visualize", "show"),
    "live": ("watch", "dashboard", "ui", "view", "open", "tensorboard"),
    "importance": ("features", "feature-importance", "importances"),
    "explain": ("shap", "why", "interpret"),
    "distill": ("compress", "shrink", "student", "distil", "distillation"),
    "export": ("onnx", "convert", "save"),
    "serve": ("api", "deploy", "server"),
    "compare": ("diff",),
    "edit": ("change", "pause", "stop", "modify"),
    "demo": ("example", "tutorial", "hello"),
    "card": ("model-card", "modelcard"),
    "read": ("load", "read_csv", "read_table", "open_csv"),
    "Model": ("load_model",),
    "SightlineClassifier": ("Classifier", "TabularClassifier"),
    "SightlineRegressor": ("Regressor", "TabularRegressor"),
}  # fmt: skip
"""From the name of a command or public function to the names that other tools give it."""

METRICS: Mapping[str, tuple[str, ...]] = {
    "log_loss": ("logloss", "cross_entropy", "nll", "ce", "neg_log_loss", "binary_crossentropy"),
    "roc_auc": ("auc", "auroc", "roc", "roc_auc_score"),
    "average_precision": ("ap", "auprc", "aucpr", "pr_auc", "prauc", "average_precision_score", "map"),
    "accuracy": ("acc", "accuracy_score"),
    "balanced_accuracy": ("bacc", "balanced_acc", "balanced_accuracy_score"),
    "f1": ("f1_score", "f_1", "fscore", "f1_macro"),
    "brier": ("brier_score", "brier_score_loss"),
    "rmse": ("mse", "root_mean_squared_error", "mean_squared_error", "l2"),
    "mae": ("mean_absolute_error", "l1"),
    "r2": ("r2_score", "r_squared", "r^2"),
}  # fmt: skip
"""From the name of a metric to the names that other tools give it, or to one that chooses the same."""


def plain_name(name: str) -> str:
    """Return a name as the tables have it: without leading dashes, in lower case, with underscores.

    Example:
        >>> from sightline.contracts.other_names import plain_name
        >>> plain_name("--Max-Epochs")
        'max_epochs'
    """
    return name.lstrip("-").replace("-", "_").lower()


def ours(
    name: str, known: Iterable[str], names: Mapping[str, tuple[str, ...]] = OPTIONS
) -> list[str]:
    """Return those of some known names that other tools call by another name; of several, the one that begins with it.

    Example:
        >>> from sightline.contracts.other_names import COMMANDS, ours
        >>> ours("lr", ["epochs", "learning_rate"]), ours("score", ["predict", "evaluate"], COMMANDS)
        (['learning_rate'], ['predict', 'evaluate'])
    """
    found = [own for own in known if name in names.get(own, ())]
    return [own for own in found if own.startswith(name)] or found


def no_option(name: str, known: Iterable[str]) -> OptionError:
    """Return the error for an argument that does not exist: it names the one that was meant, if that is known.

    Args:
        name: As it was written.
        known: The arguments that exist.

    Example:
        >>> from sightline.contracts.other_names import no_option
        >>> print(no_option("lr", ["epochs", "learning_rate"]))
        There is no option 'lr'. Did you mean 'learning_rate'?
    """
    known, plain = list(known), plain_name(name)
    meant = ours(plain, known)
    problem = f"There is no option {name!r}."
    if plain in VALUES and len(meant) == 1:
        return OptionError(problem, f"Write {meant[0]}={VALUES[plain]!r}.")
    if plain in ELSEWHERE and not meant:
        return OptionError(problem, ELSEWHERE[plain])
    return OptionError(problem, did_you_mean(name, known, "options", meant))
