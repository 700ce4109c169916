"""One step of a run's training in plain PyTorch, with the run's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightline.contracts import Target
from sightline.lesson.source import call, is_own, literal, network_lines

Body = Mapping[str, Any]


def plain_step(network: Body, seed: int, details: Body) -> list[str]:
    """Write a training loop whose steps give the same weights as `sl.Training`, bit for bit.

    Args:
        network: How the network is built: the field `again` of `build/network`.
        seed: Seed of the run.
        details: As in `code.train`.
    """
    plan, settings = details["plan"], details["settings"]
    scheduled = not is_own(settings["schedule"]) and (
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
        *network_lines(network, seed),
    ]
    if device != "cpu":
        lines.append(f"network.to({literal(device)})")
    lines += _optimizer(settings, device, network["class"])
    if scheduled:
        arguments = [literal(settings["schedule"]), f"warm_up={literal(settings['warm_up'])}"]
        lines += call("factor = make_schedule", arguments)
    size = f"batch_size={plan['batch_size']}, seed={seed}"
    draws = bool(network.get("config", {}).get("dropout"))
    lines += [
        *_class_weights(settings["class_weights"], details["target"]),
        *_source(details, size),
        *(["from sightline.train.randomness import mixed", "", "step = 0"] if draws else []),
        f"for epoch in range(1, {plan['epochs'] + 1}):  # or until early stopping",
        "    network.train()",
        *(["    rows = 0"] if scheduled else []),
        "    for batch in source.batches(epoch):  # the order depends on seed and epoch alone",
    ]
    if draws:
        lines += [
            f"        torch.manual_seed(mixed({seed}, step))  # dropout depends on seed and step alone",
            "        step += 1",
        ]
    return [*lines, *(f"        {line}" for line in _body(details, scheduled))]


def _class_weights(weights: Any, target: Target) -> list[str]:
    """Write the tensor of class weights."""
    if weights is None:
        return []
    if weights == "balanced":
        return [
            f"counts = torch.bincount(prepared.train.target, minlength={len(target.classes)}).double()",
            f"class_weight = (counts.sum() / ({len(target.classes)} * counts.clamp(min=1))).float()",
        ]
    given = {target.find(label): weight for label, weight in weights}
    by_class = [float(given.get(number, 1.0)) for number in range(len(target.classes))]
    return call("class_weight = torch.tensor", [literal(by_class)])


def _source(details: Body, size: str) -> list[str]:
    """Write the source of batches; with folds, row weights of 0 hide each member's fold from it."""
    if not details.get("folds"):
        return [f"source = prepared.source({size})"]
    return [
        "from sightline.load.batches import TensorSource",
        "from sightline.train.evaluation import hold_out",
        "",
        f"folds = torch.from_numpy(splits.folds)  # each member leaves out one of {details['folds']} folds",
        f"source = TensorSource(hold_out(prepared.train, folds, members={details['outputs'][1]}), {size})",
    ]


def _optimizer(settings: Body, device: str, network: str) -> list[str]:
    kind, rate = settings["optimizer"], literal(settings["learning_rate"])
    decay = literal(settings["weight_decay"])
    if is_own(kind):
        return ["optimizer = ...  # your own"]
    if kind == "muon":
        arguments = ["'muon'", "network", "prepared.spec.outputs", rate, decay]
        return [
            "# Muon for hidden matrices, AdamW for everything else",
            *call("optimizer = make_optimizer", arguments),
        ]
    name, keywords = {
        "adamw": ("AdamW", "fused=True" if device in ("cpu", "cuda") else ""),
        "sgd": ("SGD", "momentum=0.9, nesterov=True, foreach=True"),
    }[kind]
    if network == "Ensemble":  # whose biases have a row for each member
        return [
            "named = list(network.named_parameters())",
            f"optimizer = torch.optim.{name}(",
            f"    [{{'params': [p for n, p in named if not n.endswith('bias')], 'weight_decay': {decay}}},",
            "     {'params': [p for n, p in named if n.endswith('bias')], 'weight_decay': 0.0}],",
            f"    lr={rate},{' ' + keywords + ',' if keywords else ''}",
            ")",
        ]
    return [
        "parameters = list(network.parameters())",
        f"optimizer = torch.optim.{name}(",
        f"    [{{'params': [p for p in parameters if p.dim() >= 2], 'weight_decay': {decay}}},",
        "     {'params': [p for p in parameters if p.dim() < 2], 'weight_decay': 0.0}],  # biases",
        f"    lr={rate},{' ' + keywords + ',' if keywords else ''}",
        ")",
    ]


def _body(details: Body, scheduled: bool) -> list[str]:
    plan, settings = details["plan"], details["settings"]
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
        lines.append(
            f"# (in micro-batches of {plan['micro_batch']} rows, whose gradients are summed)"
        )
    lines.append("optimizer.zero_grad()")
    shape = f"# forward: {list(details['outputs'])}"
    if plan["precision"] == "float32":
        lines.append(f"logits = network(batch.numeric, batch.categorical)  {shape}")
    else:
        lines += [
            f"with torch.autocast({literal(plan['device'].split(':')[0])}, torch.bfloat16):",
            f"    logits = network(batch.numeric, batch.categorical)  {shape}",
            "logits = logits.float()",
        ]
    lines += [*_loss(details), "loss.backward()  # autograd: computes a gradient for each weight"]
    if settings["clip_norm"] is not None:
        norm = literal(settings["clip_norm"])
        lines.append(f"torch.nn.utils.clip_grad_norm_(network.parameters(), {norm})")
    lines.append("optimizer.step()  # changes every weight a little")
    if settings["schedule"] == "plateau":
        lines.append("# (on a plateau: back to the best weights, with 0.3 times the learning rate)")
    if is_own(settings["schedule"]):
        lines.append("# then your own schedule's step()")
    if settings["ema"] is not None:
        lines.append(
            f"# then update the moving average of the weights (ema={literal(settings['ema'])}), which is kept"
        )
    return lines


def _loss(details: Body) -> list[str]:
    outputs, settings = details["outputs"], details["settings"]
    members = outputs[1] if len(outputs) == 3 else None
    folds = bool(details.get("folds"))
    weighted = details["weighted"] or folds or settings["class_weights"] is not None
    arguments = ", reduction='none'" if weighted else ""
    lines = []
    if settings["class_weights"] is not None:
        lines.append("own = class_weight[batch.target]  # each row has the weight of its class")
    if details["scale"] is None:
        if settings["label_smoothing"]:
            arguments += f", label_smoothing={literal(settings['label_smoothing'])}"
        predicted, truth = "logits", "batch.target"
        if members:  # the loss is that of each member, not of their mean
            predicted, truth = "logits.flatten(0, 1)", f"batch.target.repeat_interleave({members})"
        loss = f"F.cross_entropy({predicted}, {truth}{arguments})"
    else:
        center, scale = literal(details["center"]), literal(details["scale"])
        lines.append(f"scaled = ((batch.target - {center}) / {scale}).float()")
        predicted, truth = "logits[:, 0]", "scaled"
        if members:
            predicted, truth = "logits.flatten()", f"scaled.repeat_interleave({members})"
        loss = f"F.mse_loss({predicted}, {truth}{arguments})"
    if not weighted:
        return [*lines, f"loss = {loss}"]
    weight = "batch.weight" if details["weighted"] or folds else "own"
    if (details["weighted"] or folds) and settings["class_weights"] is not None:
        weight = "(batch.weight * own[:, None])" if folds else "(batch.weight * own)"
    weight += ".flatten()" if folds else f".repeat_interleave({members})" if members else ""
    return [*lines, f"losses = {loss}", f"weight = {weight}",
            "loss = (losses * weight).sum() / weight.sum()"]  # fmt: skip
