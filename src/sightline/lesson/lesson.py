"""The lesson of a run: what each stage did, in sentences with this run's own numbers.

Every function takes bodies of records and returns the body of a new one; `docs/trace.md` lists
them. The terminal, the page and the report only show these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sightline.contracts.schema import written
from sightline.errors import counted, shorten, spelled
from sightline.lesson.facts import held_out
from sightline.lesson.wording import joined, names, short, shown_classes

Body = Mapping[str, Any]
WORDS = 650
"""Length of a lesson in words, quiz included; a test allows a quarter more or less."""
WORDS_A_MINUTE = 200
STAGES = {
    "load": "Rows become batches",
    "prepare": "Columns become tensors",
    "build": "Features in, logits out",
    "train": "Weights move, loss falls",
    "predict": "A row becomes an answer",
}


def opening(table: Body, target: Body) -> dict[str, Any]:
    """Write the title, the opening paragraph and the reading time.

    Example:
        >>> from sightline.lesson import lesson
        >>> table = {"name": "t.csv", "rows": 9, "columns": [{"role": "feature"}]}
        >>> lesson.opening(table, {"name": "y", "task": "regression"})["title"]
        'How a network learns to predict y'
    """
    features = sum(column["role"] == "feature" for column in table["columns"])
    name = shorten(target["name"], 40)
    if target["task"] == "classification":
        goal = (
            f"to give each row a probability for each of {len(target['classes'])} classes of {name} "
            f"({names(shown_classes(target))})"
        )
    else:
        goal = f"to predict the number {name} for each row"
    paragraph = (
        f"Deep learning on a table has five stages: load the rows, prepare them as tensors, build a "
        f"network, train it, and predict with it. This run did all five on {table['name']}, with "
        f"{counted(table['rows'], 'row')} and {counted(features, 'feature')}. The network learns "
        f"{goal}. Every number below comes from this run."
    )
    title = f"How a network learns to predict {name}"
    return {"title": title, "paragraph": paragraph, "minutes": round(WORDS / WORDS_A_MINUTE)}


def begin(name: str) -> dict[str, Any]:
    """Return the heading of a stage: its number, name and title.

    Example:
        >>> from sightline.lesson import lesson
        >>> lesson.begin("build")
        {'number': 3, 'name': 'build', 'title': 'Features in, logits out'}
    """
    return {"number": list(STAGES).index(name) + 1, "name": name, "title": STAGES[name]}


def load_stage(table: Body, split: Body, batch: Body) -> dict[str, Any]:
    """Describe stage 1: table, split and batches.

    Example:
        >>> from sightline.lesson import lesson
        >>> table = {"name": "t.csv", "rows": 9, "columns": [{"role": "feature", "kind": "numeric"}]}
        >>> split = {"train": 7, "sentence": "7 training rows, 2 validation rows"}
        >>> batch = {"batch_size": 7, "batches": 1, "sentence": "7 rows, each with 1 number"}
        >>> lesson.load_stage(table, split, batch)["came_out"]
        '7 rows x 1 feature -> batches of 7'
    """
    kinds: dict[str, int] = {}
    for column in table["columns"]:
        if column["role"] == "feature":
            kinds[column["kind"]] = kinds.get(column["kind"], 0) + 1
    ignored = [column["name"] for column in table["columns"] if column["role"] == "ignored"]
    features = sum(kinds.values())
    if split.get("folds"):
        aside = (
            "Test rows are set aside before anything is learned from the data. Instead of validation rows "
            "there are folds: each training row is predicted out of fold, by members that did not learn from it."
            f"{_in_time(split)}"
        )
    else:
        aside = "Validation and test rows are set aside before anything is learned from the data."
    done = (
        f"Each column got a kind from all of its values ({joined([f'{n} {k}' for k, n in kinds.items()])}). "
        f"The rows were then split: {split['sentence']}. {aside} A PyTorch DataLoader returns the training rows in "
        "batches, in a new random order each epoch."
    )
    if ignored:
        done += f" Columns left out as useless: {names(ignored)}."
    return _stage(
        "load",
        came_in=f"{table['name']}: {counted(table['rows'], 'row')} x {counted(len(table['columns']), 'column')}",
        done=done,
        came_out=f"{counted(split['train'], 'row')} x {counted(features, 'feature')} -> batches of {batch['batch_size']}",
        caption=f"One batch: {batch['sentence']}. An epoch has {counted(batch['batches'], 'batch', 'batches')}.",
    )  # fmt: skip


def _in_time(split: Body) -> str:
    """Say from when to when each fold goes, and which rows calibration is fitted on; nothing of other folds."""
    if "newest" not in split:
        return ""
    said = ""
    if blocks := split["blocks"]:
        each = [
            f"{one['first']} to {one['last']} ({counted(one['rows'], 'row')})" for one in blocks
        ]
        said = f" The folds follow each other in time: {', '.join(each)}."
    if split["newest"]:
        learned = (
            "since what predicts them has learned from older rows only"
            if split["newest_from_older"]
            else "although what predicts them has learned from newer rows, too"
        )
        said += (
            f" The {counted(split['newest'], 'newest training row')} stand for rows to come, {learned}: sets, intervals and "
            "the threshold are fitted on them alone, and for the weights of the model's parts and the temperature they "
            "count as much as all other rows together."
        )
    return said


def prepare_stage(prepared: Body, split: Body, warm: bool = False) -> dict[str, Any]:
    """Describe stage 2: columns to tensors; `warm` says that the preparation is that of an earlier model.

    Example:
        >>> from sightline.lesson import lesson
        >>> prepared = {"scaling": "minmax", "numbers": 1, "codes": 0, "flags": 0, "columns_in": 1,
        ...             "notes": []}
        >>> lesson.prepare_stage(prepared, {"train": 7})["caption"]
        'Normalised to 0..1 on the training rows.'
    """
    scaling = {
        "minmax": "normalised to 0..1", "standard": "standardised (mean 0, standard deviation 1)",
        "robust": "centred on the median and scaled by the interquartile range",
        "quantile": "mapped by rank to a normal distribution", "none": "not scaled",
    }[prepared["scaling"]]  # fmt: skip
    numbers, codes, flags = prepared["numbers"], prepared["codes"], prepared["flags"]
    done = []
    if numbers:
        done.append(f"Numbers were {scaling}")
    if flags:
        done.append(f"missing values were filled in and flagged in {counted(flags, 'column')}")
    if codes:
        done.append(f"{counted(codes, 'categorical column')} became codes")
    whose = "that the earlier model was fitted on" if warm else "alone"
    rows = "training rows" if warm else f"{split['train']:,} training rows"
    sentence = (
        f"{joined(done)}. Every statistic comes from the {rows} {whose}, so that the network learns nothing about the "
        "rows that it is tested on."
    )
    width = counted(numbers + flags, "number")
    if codes:
        width += f" + {counted(codes, 'code')}"
    notes = " ".join(f"{note}." for note in prepared["notes"])
    return _stage(
        "prepare",
        came_in=f"{counted(split['train'], 'row')} x {counted(prepared['columns_in'], 'column')}",
        done=sentence,
        came_out=f"{counted(split['train'], 'row')} x {width}, as tensors"
        + (" float32" if not codes else " float32 and int32"),
        caption=(f"{scaling[0].upper() + scaling[1:]}" if numbers else "Each category has a code of its own, assigned")
        + ("." if numbers and prepared["scaling"] == "none" else " on the training rows.")
        + (f" {notes}" if notes else ""),
    )  # fmt: skip


def build_stage(network: Body, target: Body, warm: bool = False) -> dict[str, Any]:
    """Describe stage 3: the network; `warm` says that its weights are those of an earlier model.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", network="MLP", epochs=1, quiet=True)
        >>> run.find("lesson", "stage")[2].body["came_out"]  # what this gave
        '32 rows x 3 classes'
    """
    layers = [layer["name"] for layer in network["layers"][1:]]
    named = (
        f"{len(layers)} parts: {joined([shorten(name, 60) for name in layers[:6]])}"
        if layers
        else "one part"
    )
    what = f"{network['outputs']} classes" if target["task"] == "classification" else "1 number"
    width = f"{network['inputs']} {inputs_word(network)}"
    return _stage(
        "build",
        came_in=f"{network['batch']} rows x {width}",
        done=(
            f"The network, {network['class']}, consists of {named}. It has {network['parameters']:,} parameters: "
            f"the numbers that training will change. At first they are {'those of the earlier model' if warm else 'random'}."
        ),
        came_out=f"{network['batch']} rows x {what}",
        caption=(
            f"{network['batch']} rows x {width} -> {network['batch']} rows x {what}."
        ),
    )  # fmt: skip


def inputs_word(network: Body) -> str:
    """Return "features", or "inputs" if the network has more or fewer inputs than feature columns.

    Example:
        >>> from sightline.lesson import lesson
        >>> lesson.inputs_word({"inputs": 3, "features": 2})
        'inputs'
    """
    return "features" if network["inputs"] == network["features"] else "inputs"


def train_stage(
    plan: Body,
    epochs: Sequence[Body],
    end: Body,
    target: Body,
    seen: Body | None,
    split: Body | None = None,
) -> dict[str, Any]:
    """Describe stage 4: the training.

    Args:
        plan, epochs, end: The bodies of `train/plan`, of all `train/epoch` and of `train/end`.
        target: What is predicted.
        seen: The body of a `train/step`; None if there was no step.
        split: The body of `load/split`, which says whether validation metrics are out-of-fold.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", network="MLP", epochs=1, quiet=True)
        >>> run.find("lesson", "stage")[3].body["came_in"]  # what this gave
        'batches of 32 rows, 9 an epoch'
    """
    done = (
        f"For each batch the network made predictions, the loss measured how wrong they were, automatic "
        f"differentiation computed a gradient for each weight, and the optimizer changed every weight a "
        f"little: {counted(end['steps'], 'update')} in "
        f"{counted(epochs[-1]['number'], 'epoch')}, on {plan['device']} ({plan['device_reason']})."
    )
    if seen is not None:
        done += f" {_one_weight(seen)}"
    return _stage(
        "train",
        came_in=f"batches of {plan['batch_size']} rows, {plan['steps_per_epoch']:,} an epoch",
        done=done,
        came_out=f"{end['parameters']:,} trained parameters ({end['stopped']})",
        caption=_progress(epochs, end, target, split),
    )  # fmt: skip


def predict_stage(
    example: Body, metrics: Body | None, target: Body, network: Body, *, weighted: bool = False
) -> dict[str, Any]:
    """Describe stage 5: one row's prediction, and the metrics; `weighted` if classes have weights.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", network="MLP", epochs=1, quiet=True)
        >>> run.find("lesson", "stage")[4].body["came_in"]  # what this gave
        '1 row x 11 inputs'
    """
    explained = example["explanation"]
    if target["task"] == "classification":
        values = [round(float(p), 2) for p in explained["probabilities"]]
        out = f"1 row x {len(values)} probabilities"
        if len(values) <= 6:
            out += f" {values}"
        else:  # too many to list: the largest, by name
            top = sorted(range(len(values)), key=lambda i: -values[i])[:3]
            largest = [f"{shorten(written(explained['classes'][i]), 30)} {values[i]}" for i in top]
            out += f", the largest {joined(largest)}"
        right = explained["prediction"] == example["truth"]
        answer = (
            f"{shorten(written(explained['prediction']), 40)} ({'right' if right else 'wrong'}: it is "
            + (f"{shorten(written(example['truth']), 40)})")
        )
        turn = "softmax turned its logits into probabilities that add up to 1"
    else:
        out = f"1 row x 1 number: {short(explained['prediction'])}"
        answer = f"{short(explained['prediction'])} (it is {short(example['truth'])})"
        turn = "its output was scaled back to the target's own unit"
    caption = f"Row {example['row']:,}, {example['part']}: predicted {answer}."
    if metrics is not None:
        caption += f" {_score(metrics, weighted)}"
    return _stage(
        "predict",
        came_in=f"1 row x {network['inputs']} {inputs_word(network)}",
        done=(
            f"One row that training never saw went through each layer, and {turn}."
            if example["part"] != "a training row"
            else f"One row went through each layer, and {turn}."
        )
        + _beside(example),
        came_out=out,
        caption=caption,
    )  # fmt: skip


def insight() -> dict[str, Any]:
    """Return the main message of the lesson.

    Example:
        >>> from sightline.lesson import lesson
        >>> lesson.insight()["title"]
        'Key insight'
    """
    return {
        "title": "Key insight",
        "text": (
            "A network is ordinary code. Its graph is dynamic: every forward pass builds it anew, so you "
            "can change a line of the network and continue training. Automatic differentiation keeps each "
            "step simple: forward, loss, backward, update, with no gradient derived by hand. And what "
            "was trained here is what runs in production: the same preparation and the same weights, in "
            "one file."
        ),
    }


# ------------------------------------------------------------- helpers


def _stage(name: str, **texts: str) -> dict[str, Any]:
    return {**begin(name), **texts}


def _one_weight(seen: Body) -> str:
    """Return a sentence about how one weight changed in a step."""
    sentence = (
        f"In step {seen['step']:,}, for example, {seen['weight']} was "
        f"{float(seen['weight_before']):.5f}, its gradient {float(seen['gradient']):.5f}, and it "
        f"became {float(seen['weight_after']):.5f}."
    )
    if float(seen["update"]) * float(seen["gradient"]) > 0:
        sentence += (
            " (It moved with its gradient, not against it: the optimizer also uses the gradients of earlier "
            "steps, which had the other sign.)"
        )
    return sentence


def _progress(epochs: Sequence[Body], end: Body, target: Body, split: Body | None) -> str:
    """Return a sentence about loss and metric, from the untrained network to the best epoch."""
    first, last, best = epochs[0], epochs[-1], epochs[end["best_epoch"]]
    name = "accuracy" if target["task"] == "classification" else "rmse"
    shown = f"valid_{name}" if f"valid_{name}" in best["metrics"] else f"train_{name}"
    part = held_out(split) if shown.startswith("valid") else "training"
    measure = f"{part} {'accuracy' if name == 'accuracy' else 'RMSE'}"
    sentence = (
        f"Training loss went from {short(first['train_loss'])} before training to "
        f"{short(last['train_loss'])} in epoch {last['number']}, "
    )
    if best is first:
        return sentence + (
            f"but no epoch was better than the {measure} {short(best['metrics'][shown])} "
            "before training, whose weights were kept."
        )
    return sentence + (
        f"{measure} from {short(first['metrics'][shown])} to {short(best['metrics'][shown])} in "
        f"epoch {best['number']}, whose weights were kept."
    )


def _beside(example: Body) -> str:
    """Return a sentence about the weights of the parts of a model, if it has several."""
    parts = example["explanation"].get("parts") or ()
    if len(parts) < 2:
        return ""
    total = sum(float(part["weight"]) for part in parts) or 1.0
    shares = [
        f"the {spelled(part['name'])} at {100 * float(part['weight']) / total:.0f} %"
        for part in parts
    ]
    return f" The prediction combines {joined(shares)}."


def _score(metrics: Body, weighted: bool) -> str:
    base = metrics["baseline"]
    loss = "rmse" if "rmse" in metrics else "log_loss"
    useless = float(metrics[loss]) >= float(base[loss])
    if weighted and metrics["roc_auc"] is not None:
        # Class weights change the probabilities on purpose; the log loss counts that as an error.
        loss, useless = "AUC", float(metrics["roc_auc"]) <= float(base["roc_auc"])
    verdict = f" By {loss.replace('_', ' ')} the model is no better than that." if useless else ""
    rows = f"On the {counted(metrics['rows'], metrics['part'] + ' row')}"
    if "accuracy" in metrics:
        return (
            f"{rows} accuracy is {metrics['accuracy']:.3f}, where always predicting the most frequent "
            f"class would give {base['accuracy']:.3f}.{verdict}"
        )
    return (
        f"{rows} the root mean squared error is {short(metrics['rmse'])}, where always predicting the "
        f"mean would give {short(base['rmse'])}.{verdict}"
    )
