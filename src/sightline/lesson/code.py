"""The Python that does each stage of a run, with the run's own settings.

Every function returns blocks, `{"title", "code"}`; the first block of each of the five stages, one
after the other, is a program that makes the run's model again, bit for bit. Names and paths come
from the user: they are written as literals, never as they are.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sightline.errors import shorten

Body = Mapping[str, Any]
Blocks = list[dict[str, str]]
WIDTH = 92
LONGEST = 300
"""A longer text is not written out, and a comment says so."""
READ: dict[str, Any] = {
    "kinds": {},
    "drop": [],
    "missing": None,
    "encoding": None,
    "on_bad_rows": "error",
}
SPLIT = {"valid": 0.1, "test": 0.1, "group": None, "time": None, "weight": None, "folds": 0}
NETWORKS: dict[str, dict[str, Any]] = {
    "MLP": {"hidden": [64], "activation": "relu", "dropout": 0.0, "residual": [], "replaced": {}},
    "Ensemble": {
        "members": 10, "hidden": [64, 64], "activation": "relu", "dropout": 0.1, "bins": True,
        "waves": 0,
    },
}  # fmt: skip
RECIPE = {"quality": "default", "folds": 0, "trees": False, "calibrate": False, "threshold": None}
OURS = "With Sightline"
PLAIN = "The same step in plain PyTorch"


def load(start: Body, source: str | None, task: str | None) -> Blocks:
    """Write stage 1.

    Args:
        start: The body of `run/start`.
        source: The path of the table, or None where it was in memory.
        task: The task, where it was asked for.

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
    first = "data"
    if source is None:
        lines += [
            f"# {_comment(start['source'])}: this table was in memory, or a part of its split was.",
            "data = ...  # put it here: a DataFrame, or a dict of columns",
        ]
    else:
        first = literal(source)
    lines += _call("table = sl.read", [first, *_named(_changed(origin["read"], READ))])
    options = {**SPLIT, **origin["split"]}
    asked: dict[str, Any] = {} if task is None else {"task": task}
    if target["positive"] is not None and target["positive"] != target["classes"][-1]:
        asked["positive"] = target["positive"]
    asked |= _changed(options, SPLIT)
    arguments = {"target": target["name"], **asked, "seed": start["seed"]}
    lines += _call("splits = sl.split", ["table", *_named(arguments)])
    return [_block(OURS, lines)]


def prepare(start: Body) -> Blocks:
    """Write stage 2.

    Example:
        >>> from sightline.lesson import code
        >>> code.prepare({"numeric": "minmax"})[0]["code"]
        "prepared = sl.prepare(splits, numeric='minmax')"
    """
    asked = {} if start["numeric"] is None else {"numeric": start["numeric"]}
    lines = _call("prepared = sl.prepare", ["splits", *_named(asked)])
    if recipe := _recipe(start):
        lines += [
            "", "from sightline.pipeline.finish import finish", "from sightline.pipeline.recipe import Recipe, set_apart", "", *recipe,
            "prepared, apart = set_apart(prepared, recipe)  # rows for calibration, where there are no folds",
        ]  # fmt: skip
    return [_block(OURS, lines)]


def build(network: Body, seed: int) -> Blocks:
    """Write stage 3.

    Args:
        network: How the network is built again, as in `build/network` under `again`; `drawn` says
            whether its first weights are those that the seed draws.
        seed: Of the run.

    Example:
        >>> from sightline.lesson import code
        >>> described = {"class": "MLP", "built_in": True, "config": {"hidden": [8]}, "drawn": True}
        >>> print(code.build(described, 7)[0]["code"])
        import torch
        <BLANKLINE>
        torch.manual_seed(7)  # the first weights are drawn from the seed
        network = sl.MLP(prepared.spec, hidden=[8])
    """
    return [_block(OURS, ["import torch", "", *_network(network, seed)])]


def train(settings: Body, network: Body, seed: int, how: Body) -> Blocks:
    """Write stage 4: the lines with Sightline, and one step of them in plain PyTorch.

    Args:
        settings: Those settings of `sl.Training` that differ from its defaults.
        network: As in `build`.
        seed: Of the run.
        how: `plan` (as in `train/plan`), `settings` (all of them), `outputs` (the shape of a
            batch's logits), `center` and `scale` of a regression's target (else None), `weighted`
            (whether rows have weights).

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", network="MLP", epochs=1, quiet=True)
        >>> ours, plain = run.find("lesson", "begin")[3].body["code"]  # what this gave
        >>> print(ours["code"].splitlines()[0])
        training = sl.Training(network, prepared, epochs=1, seed=0)
    """
    asked = {name: value for name, value in settings.items() if name != "seed"}
    if isinstance(asked.get("class_weights"), list):
        asked["class_weights"] = dict(asked["class_weights"])
    own = [name for name in ("optimizer", "schedule") if _is_own(asked.get(name))]
    lines = [f"{name} = ...  # your own one" for name in own]
    arguments = [*_named({k: v for k, v in asked.items() if k not in own}),
                 *(f"{name}={name}" for name in own), f"seed={seed}"]  # fmt: skip
    lines += _call("training = sl.Training", ["network", "prepared", *arguments])
    lines += [
        "for epoch in training:  # an ordinary loop: break leaves it, and it can be taken up again",
        "    print(epoch.number, epoch.train_loss, epoch.valid_loss, epoch.observation)",
    ]
    if "time_limit" in asked:
        lines.insert(0, f"# The clock allowed {how['plan']['epochs']} epochs that time.")
    return [_block(OURS, lines), _block(PLAIN, _plain(network, seed, how))]


def _recipe(start: Body) -> list[str]:
    """Write what a model is made of besides its network; nothing where it is the network alone."""
    recipe = start.get("recipe", {})
    if not recipe.get("calibrate"):
        return []
    return _call("recipe = Recipe", _named(_changed(recipe, RECIPE)))


def predict(part: str, row: int, edits: int, start: Body | None = None) -> Blocks:
    """Write stage 5.

    Args:
        part: "test", "validation" or "training": the rows that were measured.
        row: The example's row.
        edits: How many edits were made while it trained.
        start: The body of `run/start`; None of a model that is its network alone.

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
        lines.append(f"# {edits} {were} made while it trained: sl.replay makes them again.")
    if start is not None and _recipe(start):
        limit = start.get("trees_limit")
        asked = ["training", "recipe", "apart", *([] if limit is None else [literal(limit)])]
        made = f"model = finish({', '.join(asked)}).model  # the best epoch's weights; trees; calibration"
    else:
        made = "model = training.model()  # the weights of the best epoch"
    lines += [
        made,
        f"metrics = measure_rows(model, splits, splits.{rows})",
        f"explanation = model.explain_rows(splits.table, [{row}])[0]",
        f"model.save({literal('model.sightline')})",
    ]
    return [_block(OURS, lines)]


def literal(value: Any) -> str:
    """Write a value as Python; a text that is too long becomes `...`, which `_call` comments on.

    Example:
        >>> from sightline.lesson.code import literal
        >>> literal(["a'b", 1.5]), literal("x" * 1000)
        ('["a\\'b", 1.5]', '...')
    """
    if isinstance(value, str):
        return repr(value) if len(value) <= LONGEST else "..."
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    if isinstance(value, bool) or value is None:
        return repr(value)
    return repr(float(value) if isinstance(value, float) else int(value))


# ------------------------------------------------------------- the network


def _network(network: Body, seed: int) -> list[str]:
    name = network["class"]
    draw = f"torch.manual_seed({seed})  # the first weights are drawn from the seed"
    if network["built_in"]:
        config = _changed(network["config"], NETWORKS[name])
        lines = _call(f"network = sl.{name}", ["prepared.spec", *_named(config)])
        if network["drawn"]:
            return [draw, *lines]
        return ["# The network was handed over, its first weights with it: these lines draw others.",
                draw, *lines]  # fmt: skip
    if "source" in network and name.isidentifier():
        return [f"# {name} is a class of your own; the run keeps its source:",
                f"# sources/{network['source']}.py", draw,
                f"network = {name}(prepared.spec)"]  # fmt: skip
    return [f"network = ...  # your own one, {_comment(name)}; the run cannot tell how it was made"]


# ------------------------------------------------------------- plain PyTorch


def _plain(network: Body, seed: int, how: Body) -> list[str]:
    plan, settings = how["plan"], how["settings"]
    scheduled = not _is_own(settings["schedule"]) and (
        settings["schedule"] not in ("constant", "plateau") or bool(settings["warm_up"])
    )
    device = plan["device"]
    lines = ["import torch", "from torch.nn import functional as F"]
    if scheduled:
        lines.append("from sightline.train.schedules import make_schedule")
    if settings["optimizer"] == "muon":
        lines.append("from sightline.train.optimizers import make_optimizer")
    lines += [
        "",
        f"torch.set_num_threads({plan['threads']})  # as in the plan",
        *_network(network, seed),
    ]
    if device != "cpu":
        lines.append(f"network.to({literal(device)})")
    lines += _optimizer(settings, device, network["class"])
    if scheduled:
        asked = [literal(settings["schedule"]), f"warm_up={literal(settings['warm_up'])}"]
        lines += _call("factor = make_schedule", asked)
    size = f"batch_size={plan['batch_size']}, seed={seed}"
    draws = bool(network.get("config", {}).get("dropout"))
    lines += [
        *_class_weights(settings["class_weights"], how["classes"]),
        *_source(how, size),
        *(["from sightline.train.randomness import mixed", "", "step = 0"] if draws else []),
        f"for epoch in range(1, {plan['epochs'] + 1}):  # or until it is stopped early",
        "    network.train()",
        *(["    rows = 0"] if scheduled else []),
        "    for batch in source.batches(epoch):  # in an order drawn from seed and epoch",
    ]
    if draws:
        lines += [
            f"        torch.manual_seed(mixed({seed}, step))  # what dropout draws, from seed and step",
            "        step += 1",
        ]
    return [*lines, *(f"        {line}" for line in _body(how, scheduled))]


def _class_weights(asked: Any, classes: Sequence[Any]) -> list[str]:
    """Write the weight of each class, by its number."""
    if asked is None:
        return []
    if asked == "balanced":
        return [
            f"counts = torch.bincount(prepared.train.target, minlength={len(classes)}).double()",
            f"class_weight = (counts.sum() / ({len(classes)} * counts.clamp(min=1))).float()",
        ]
    given = {str(label): weight for label, weight in asked}
    weights = [float(given.get(str(label), 1.0)) for label in classes]
    return _call("class_weight = torch.tensor", [literal(weights)])


def _source(how: Body, size: str) -> list[str]:
    """Write where batches come from; with folds each member's own weights hold its fold out."""
    if not how.get("folds"):
        return [f"source = prepared.source({size})"]
    return [
        "from sightline.load.batches import TensorSource",
        "from sightline.train.evaluation import hold_out",
        "",
        f"folds = torch.from_numpy(splits.folds)  # a member never learns from one of {how['folds']}",
        f"source = TensorSource(hold_out(prepared.train, folds, members={how['outputs'][1]}), {size})",
    ]


def _optimizer(settings: Body, device: str, network: str) -> list[str]:
    kind, rate = settings["optimizer"], literal(settings["learning_rate"])
    decay = literal(settings["weight_decay"])
    if _is_own(kind):
        return ["optimizer = ...  # your own one"]
    if kind == "muon":
        arguments = ["'muon'", "network", "prepared.spec.outputs", rate, decay]
        return [
            "# Muon for hidden matrices, AdamW for everything else",
            *_call("optimizer = make_optimizer", arguments),
        ]
    name, more = {
        "adamw": ("AdamW", "fused=True" if device in ("cpu", "cuda") else ""),
        "sgd": ("SGD", "momentum=0.9, nesterov=True, foreach=True"),
    }[kind]
    if network == "Ensemble":  # whose biases have a row for each member
        return [
            "named = list(network.named_parameters())",
            f"optimizer = torch.optim.{name}(",
            f"    [{{'params': [p for n, p in named if not n.endswith('bias')], 'weight_decay': {decay}}},",
            "     {'params': [p for n, p in named if n.endswith('bias')], 'weight_decay': 0.0}],",
            f"    lr={rate},{' ' + more + ',' if more else ''}",
            ")",
        ]
    return [
        "parameters = list(network.parameters())",
        f"optimizer = torch.optim.{name}(",
        f"    [{{'params': [p for p in parameters if p.dim() >= 2], 'weight_decay': {decay}}},",
        "     {'params': [p for p in parameters if p.dim() < 2], 'weight_decay': 0.0}],  # biases",
        f"    lr={rate},{' ' + more + ',' if more else ''}",
        ")",
    ]


def _body(how: Body, scheduled: bool) -> list[str]:
    plan, settings = how["plan"], how["settings"]
    lines = []
    if plan["device"] != "cpu":
        where = f"torch.device({literal(plan['device'])})"
        lines.append(f"batch = batch._make(None if x is None else x.to({where}) for x in batch)")
    if scheduled:
        lines += [
            f"done = (epoch - 1 + rows / source.rows) / {plan['epochs']}",
            "for group in optimizer.param_groups:",
            f"    group['lr'] = {literal(settings['learning_rate'])} * factor(done)",
            "rows += len(batch.row)",
        ]
    if plan["micro_batch"] < plan["batch_size"]:
        lines.append(f"# (in parts of {plan['micro_batch']} rows, whose gradients are added up)")
    lines.append("optimizer.zero_grad()")
    shape = f"# forward: {list(how['outputs'])}"
    if plan["precision"] == "float32":
        lines.append(f"logits = network(batch.numeric, batch.categorical)  {shape}")
    else:
        lines += [
            f"with torch.autocast({literal(plan['device'].split(':')[0])}, torch.bfloat16):",
            f"    logits = network(batch.numeric, batch.categorical)  {shape}",
            "logits = logits.float()",
        ]
    lines += [*_loss(how), "loss.backward()  # autograd: a gradient for each weight"]
    if settings["clip_norm"] is not None:
        norm = literal(settings["clip_norm"])
        lines.append(f"torch.nn.utils.clip_grad_norm_(network.parameters(), {norm})")
    lines.append("optimizer.step()  # every weight moves a little")
    if settings["schedule"] == "plateau":
        lines.append(
            "# (and on a plateau: back to the best weights, with 0.3 times the learning rate)"
        )
    if _is_own(settings["schedule"]):
        lines.append("# then your own schedule's step()")
    if settings["ema"] is not None:
        lines.append(
            f"# then the moving average of the weights (ema={literal(settings['ema'])}), which is kept"
        )
    return lines


def _loss(how: Body) -> list[str]:
    outputs, settings = how["outputs"], how["settings"]
    members = outputs[1] if len(outputs) == 3 else None
    folds = bool(how.get("folds"))
    weighted = how["weighted"] or folds or settings["class_weights"] is not None
    more = ", reduction='none'" if weighted else ""
    lines = []
    if settings["class_weights"] is not None:
        lines.append("own = class_weight[batch.target]  # each row's weight by its class")
    if how["scale"] is None:
        if settings["label_smoothing"]:
            more += f", label_smoothing={literal(settings['label_smoothing'])}"
        said, truth = "logits", "batch.target"
        if members:  # every member is scored by itself
            said, truth = "logits.flatten(0, 1)", f"batch.target.repeat_interleave({members})"
        loss = f"F.cross_entropy({said}, {truth}{more})"
    else:
        center, scale = literal(how["center"]), literal(how["scale"])
        lines.append(f"scaled = ((batch.target - {center}) / {scale}).float()")
        said, truth = "logits[:, 0]", "scaled"
        if members:
            said, truth = "logits.flatten()", f"scaled.repeat_interleave({members})"
        loss = f"F.mse_loss({said}, {truth}{more})"
    if not weighted:
        return [*lines, f"loss = {loss}"]
    weight = "batch.weight" if how["weighted"] or folds else "own"
    if (how["weighted"] or folds) and settings["class_weights"] is not None:
        weight = "(batch.weight * own[:, None])" if folds else "(batch.weight * own)"
    weight += ".flatten()" if folds else f".repeat_interleave({members})" if members else ""
    return [*lines, f"losses = {loss}", f"weight = {weight}",
            "loss = (losses * weight).sum() / weight.sum()"]  # fmt: skip


# ------------------------------------------------------------- helpers


def _block(title: str, lines: Iterable[str]) -> dict[str, str]:
    return {"title": title, "code": "\n".join(lines)}


def _changed(options: Body, defaults: Body) -> dict[str, Any]:
    return {
        name: options[name] for name in defaults if name in options and options[name] != defaults[name]
    }  # fmt: skip


def _named(options: Body) -> list[str]:
    return [f"{name}={literal(value)}" for name, value in options.items()]


def _is_own(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("(")  # "(your own)": no name is written so


def _call(head: str, arguments: Sequence[str]) -> list[str]:
    """Write a call on one line, or an argument a line where it is long."""
    line = f"{head}({', '.join(arguments)})"
    lines = [line] if len(line) <= WIDTH else [f"{head}(", *(f"    {a}," for a in arguments), ")"]
    if any(
        isinstance(node, ast.Constant) and node.value is ... for node in ast.walk(ast.parse(line))
    ):
        lines.insert(0, "# ... stands for a text too long to be written here.")
    return lines


def _comment(text: str) -> str:
    """Write a text so that it stays in its comment's line."""
    return repr(shorten(text))
