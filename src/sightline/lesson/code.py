"""Each stage of a run as Python, with the run's own settings.

Every function returns blocks, `{"title", "code"}`. The first blocks of the five stages, in order, are a
program that reproduces the run's model, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sightline.contracts import Target
from sightline.lesson.plain import plain_step
from sightline.lesson.source import call, changed, comment, is_own, literal, named, network_lines

Body = Mapping[str, Any]
Blocks = list[dict[str, str]]
READ_DEFAULTS: dict[str, Any] = {
    "kinds": {},
    "drop": [],
    "missing": None,
    "encoding": None,
    "on_bad_rows": "error",
}
SPLIT_DEFAULTS = {
    "valid": 0.1,
    "test": 0.1,
    "group": None,
    "time": None,
    "time_feature": False,
    "weight": None,
    "folds": 0,
}
RECIPE_DEFAULTS = {
    "quality": "default",
    "folds": 0,
    "second_network": False,
    "trees": False,
    "symmetric_trees": False,
    "forest": False,
    "kernel": False,
    "neighbors": False,
    "asked": [],
    "calibrate": False,
    "whole_groups": False,
    "statistics": False,
    "threshold": None,
    "hidden": None,
    "dropout": None,
}
LARGE_IMPORTS = [
    "from sightline.contracts import ReadOptions",
    "from sightline.load.large import LargeTable",
    "from sightline.load.limits import Budget",
    "from sightline.load.split_large import split_large",
]
"""Of a table larger than memory."""
SIGHTLINE_TITLE = "With Sightline"
PLAIN_TITLE = "The same step in plain PyTorch"


def load(start: Body, source: str | None, task: str | None, earlier: str | None = None) -> Blocks:
    """Write stage 1.

    Args:
        start: The body of `run/start`.
        source: Path of the table; None for a table in memory.
        task: The task that was asked for; None if it was inferred.
        earlier: Path of the model that a warm start began with; None without one.

    Example:
        >>> from sightline.lesson import code
        >>> start = {"source": "a.csv", "target": {"name": "y", "classes": [], "positive": None},
        ...          "seed": 0, "origin": {"read": {}, "split": {}}}
        >>> print(code.load(start, "a.csv", None)[0]["code"])
        import sightline as sl
        <BLANKLINE>
        table = sl.read('a.csv')
        splits = sl.split(table, target='y', seed=0)
    """
    origin, target = start["origin"], start["target"]
    lines = ["import sightline as sl", ""]
    if earlier is not None:
        lines[1:] = [
            "from sightline.pipeline.warm_start import WarmStart", "",
            f"start = WarmStart.of(sl.Model.load({literal(earlier)}))",
        ]  # fmt: skip
    first = "data"
    if source is None:
        lines += [
            f"# {comment(start['source'])}: this table was in memory, or a part of its split was.",
            "data = ...  # the table: a DataFrame, or a dict of columns",
        ]
    else:
        first = literal(source)
    large, read = origin.get("memory_limit"), named(changed(origin["read"], READ_DEFAULTS))
    if large is None:
        lines += call("table = sl.read", [first, *read])
    else:
        lines[1:1] = LARGE_IMPORTS
        lines += call("options = ReadOptions", read)
        lines += call("table = LargeTable.open", [first, "options", f"Budget({large})"])
    options = {**SPLIT_DEFAULTS, **origin["split"]}
    given: dict[str, Any] = {} if task is None else {"task": task}
    if target["positive"] is not None:
        usual = Target(target["name"], "classification", tuple(target["classes"])).usual_positive
        given |= {} if target["positive"] == usual else {"positive": target["positive"]}
    given |= changed(options, SPLIT_DEFAULTS)
    arguments = {"target": target["name"], **given, "seed": start["seed"]}
    kept = [] if earlier is None else ["earlier=start.earlier"]
    divide = "sl.split" if large is None else "split_large"
    lines += call(f"splits = {divide}", ["table", *named(arguments), *kept])
    return [_block(SIGHTLINE_TITLE, lines)]


def prepare(start: Body) -> Blocks:
    """Write stage 2.

    Example:
        >>> from sightline.lesson import code
        >>> code.prepare({"numeric": "minmax"})[0]["code"]
        "prepared = sl.prepare(splits, numeric='minmax')"
    """
    given = {} if start["numeric"] is None else {"numeric": start["numeric"]}
    kept = ["kept=start.kept"] if start.get("origin", {}).get("warm_start") else []
    lines = call("prepared = sl.prepare", ["splits", *named(given), *kept])
    if recipe := _recipe(start):
        lines += [
            "", "from sightline.pipeline.finish import finish", "from sightline.pipeline.recipe import Recipe, set_apart", "", *recipe,
            "prepared, apart = set_apart(prepared, recipe)  # without folds, these rows are for calibration",
        ]  # fmt: skip
    return [_block(SIGHTLINE_TITLE, lines)]


def build(network: Body, seed: int, warm: bool = False) -> Blocks:
    """Write stage 3.

    Args:
        network: How the network is built: the field `again` of `build/network`.
        seed: Seed of the run.
        warm: Whether it is that of an earlier model.

    Example:
        >>> from sightline.lesson import code
        >>> described = {"class": "MLP", "built_in": True, "config": {"hidden": [8]}, "drawn": True}
        >>> print(code.build(described, 7)[0]["code"])
        import torch
        <BLANKLINE>
        torch.manual_seed(7)  # the first weights are drawn from the seed
        network = sl.MLP(prepared.spec, hidden=[8])
    """
    if warm:
        lines = ["network = start.network(prepared.spec)  # with the weights of the earlier model"]
        return [_block(SIGHTLINE_TITLE, lines)]
    return [_block(SIGHTLINE_TITLE, ["import torch", "", *network_lines(network, seed)])]


def train(settings: Body, network: Body, seed: int, details: Body) -> Blocks:
    """Write stage 4: with Sightline, then one step of it in plain PyTorch.

    Args:
        settings: The settings of `sl.Training` that differ from its defaults.
        network: As in `build`.
        seed: Seed of the run.
        details: `plan` (the body of `train/plan`), `settings` (all of them), `outputs` (shape of a batch's
            logits), `center` and `scale` (of a regression's target, else None), `weighted` (whether
            rows have weights), `target` (a `Target`), `folds` (how many, or 0).

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", network="MLP", epochs=1, quiet=True)
        >>> ours, plain = run.find("lesson", "begin")[3].body["code"]  # what this gave
        >>> print(ours["code"].splitlines()[0])
        training = sl.Training(network, prepared, epochs=1, seed=0)
    """
    given = {name: value for name, value in settings.items() if name != "seed"}
    if isinstance(given.get("class_weights"), list):
        given["class_weights"] = dict(given["class_weights"])
    own = [name for name in ("optimizer", "schedule") if is_own(given.get(name))]
    lines = [f"{name} = ...  # your own" for name in own]
    arguments = [*named({k: v for k, v in given.items() if k not in own}),
                 *(f"{name}={name}" for name in own), f"seed={seed}"]  # fmt: skip
    lines += call("training = sl.Training", ["network", "prepared", *arguments])
    lines += [
        "for epoch in training:  # an ordinary loop: after a break, a new loop continues the training",
        "    print(epoch.number, epoch.train_loss, epoch.valid_loss, epoch.observation)",
    ]
    if "time_limit" in given:
        lines.insert(0, f"# In that run the time limit allowed {details['plan']['epochs']} epochs.")
    return [_block(SIGHTLINE_TITLE, lines), _block(PLAIN_TITLE, plain_step(network, seed, details))]


def _recipe(start: Body) -> list[str]:
    """Write the recipe of a model with several parts or calibration; nothing for a single network."""
    recipe = start.get("recipe", {})
    if not recipe.get("calibrate"):
        return []
    return call("recipe = Recipe", named(changed(recipe, RECIPE_DEFAULTS)))


def predict(part: str, row: int, edits: int, start: Body | None = None) -> Blocks:
    """Write stage 5.

    Args:
        part: "test", "validation" or "training": which rows were measured.
        row: Number of the example row.
        edits: How many edits were made during training.
        start: The body of `run/start`; None for a model that is only a network.

    Example:
        >>> from sightline.lesson import code
        >>> print(code.predict("test", 17, edits=0)[0]["code"])
        from sightline.pipeline.origin import measure_rows
        <BLANKLINE>
        model = training.model()  # the weights of the best epoch
        metrics = measure_rows(model, splits, splits.test)
        explanation = model.explain_rows(splits.table, [17])[0]
        model.save('model.sightline')
    """
    rows = {"test": "test", "validation": "valid", "training": "train"}[part]
    lines = ["from sightline.pipeline.origin import measure_rows", ""]
    if edits:
        were = "edit was" if edits == 1 else "edits were"
        lines.append(f"# {edits} {were} made during training: sl.replay makes them again.")
    if start is not None and _recipe(start):
        model = "model = finish(training, recipe, apart).model  # the best epoch's weights, the trees, calibration"
    else:
        model = "model = training.model()  # the weights of the best epoch"
    lines += [
        model,
        f"metrics = measure_rows(model, splits, splits.{rows})",
        f"explanation = model.explain_rows(splits.table, [{row}])[0]",
        f"model.save({literal('model.sightline')})",
    ]
    return [_block(SIGHTLINE_TITLE, lines)]


def _block(title: str, lines: Iterable[str]) -> dict[str, str]:
    return {"title": title, "code": "\n".join(lines)}
