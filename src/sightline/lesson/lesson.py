"""The lesson of a run: what each stage did, in sentences made of this run's own numbers.

Every function takes bodies of records and returns the body of a new one; `docs/trace.md` lists
them. The terminal, the page and the report only render these.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from sightline.errors import counted, listed, shorten
from sightline.lesson.facts import held_out

Body = Mapping[str, Any]
WORDS = 650
"""About how many words a lesson has, quiz included; a test holds it to a quarter."""
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
            f"({_listed(target['classes'])})"
        )
    else:
        goal = f"to predict the number {name} for each row"
    paragraph = (
        f"Deep learning on a table takes five stages: load the rows, prepare them as numbers, build a "
        f"network, train it, and predict with it. Here they are done for real on {table['name']}: "
        f"{counted(table['rows'], 'row')} and {counted(features, 'feature')}, from which a "
        f"network learns {goal}. Every number below comes from this very run."
    )
    title = f"How a network learns to predict {name}"
    return {"title": title, "paragraph": paragraph, "minutes": round(WORDS / WORDS_A_MINUTE)}


def begin(name: str) -> dict[str, Any]:
    """Head a stage: its number, name and title.

    Example:
        >>> from sightline.lesson import lesson
        >>> lesson.begin("build")
        {'number': 3, 'name': 'build', 'title': 'Features in, logits out'}
    """
    return {"number": list(STAGES).index(name) + 1, "name": name, "title": STAGES[name]}


def load_stage(table: Body, split: Body, batch: Body) -> dict[str, Any]:
    """Tell stage 1.

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
            "Test rows are set aside before anything is learned from the data; out of fold, each "
            "training row is judged by members that did not learn from it, in place of validation rows."
        )
    else:
        aside = "Validation and test rows are set aside before anything is learned from the data."
    done = (
        f"Each column was read whole and given a kind ({_and([f'{n} {k}' for k, n in kinds.items()])}). "
        f"The rows were then divided: {split['sentence']}. {aside} A PyTorch DataLoader hands the training rows over in "
        "batches, in a new order each epoch."
    )
    if ignored:
        done += f" Left out as no help: {_listed(ignored)}."
    return _stage(
        "load",
        came_in=f"{table['name']}: {counted(table['rows'], 'row')} x {counted(len(table['columns']), 'column')}",
        done=done,
        came_out=f"{counted(split['train'], 'row')} x {counted(features, 'feature')} -> batches of {batch['batch_size']}",
        caption=f"One batch: {batch['sentence']}. {batch['batches']:,} of them make an epoch.",
    )  # fmt: skip


def prepare_stage(prepared: Body, split: Body) -> dict[str, Any]:
    """Tell stage 2.

    Example:
        >>> from sightline.lesson import lesson
        >>> prepared = {"scaling": "minmax", "numbers": 1, "codes": 0, "flags": 0, "columns_in": 1,
        ...             "notes": []}
        >>> lesson.prepare_stage(prepared, {"train": 7})["caption"]
        'Normalised to 0..1 on the training rows.'
    """
    how = {
        "minmax": "normalised to 0..1", "standard": "standardised (mean 0, deviation 1)",
        "robust": "centred on the median and scaled by the interquartile range",
        "quantile": "mapped by rank to a normal distribution",
    }[prepared["scaling"]]  # fmt: skip
    numbers, codes, flags = prepared["numbers"], prepared["codes"], prepared["flags"]
    done = []
    if numbers:
        done.append(f"Numbers were {how}")
    if flags:
        done.append(f"missing ones filled in and flagged in {counted(flags, 'column')}")
    if codes:
        done.append(f"{counted(codes, 'categorical column')} turned into codes")
    sentence = (
        f"{', '.join(done)}. Every statistic comes from the {split['train']:,} training rows alone: the "
        "network must not get a glimpse of the rows that it is tested on."
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
        caption=(f"{how[0].upper() + how[1:]}" if numbers else "Each category has a code of its own, given")
        + " on the training rows."
        + (f" {notes}" if notes else ""),
    )  # fmt: skip


def build_stage(network: Body, target: Body) -> dict[str, Any]:
    """Tell stage 3.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", network="MLP", epochs=1, quiet=True)
        >>> run.find("lesson", "stage")[2].body["came_out"]  # what this gave
        '32 rows x 3 classes'
    """
    layers = [layer["name"] for layer in network["layers"][1:]]
    named = (
        f"{len(layers)} parts: {_and([shorten(name, 60) for name in layers[:6]])}"
        if layers
        else "one part"
    )
    what = f"{network['outputs']} classes" if target["task"] == "classification" else "1 number"
    width = f"{network['inputs']} {inputs_word(network)}"
    return _stage(
        "build",
        came_in=f"{network['batch']} rows x {width}",
        done=(
            f"The network, {network['class']}, was built of {named}. It has {network['parameters']:,} parameters, "
            "numbers that training is going to change; at first they are random."
        ),
        came_out=f"{network['batch']} rows x {what}",
        caption=(
            f"{network['batch']} rows x {width} -> {network['batch']} rows x {what}."
        ),
    )  # fmt: skip


def inputs_word(network: Body) -> str:
    """Features, unless the network takes more or fewer numbers than there are feature columns.

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
    """Tell stage 4; the split tells whether it was judged out of fold.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", network="MLP", epochs=1, quiet=True)
        >>> run.find("lesson", "stage")[3].body["came_in"]  # what this gave
        'batches of 32 rows, 9 an epoch'
    """
    first, last, best = epochs[0], epochs[-1], epochs[end["best_epoch"]]
    name = "accuracy" if target["task"] == "classification" else "rmse"
    done = (
        f"Batch by batch the network guessed, the loss said how wrong it was, automatic "
        f"differentiation gave each weight's share of the blame, and the optimizer moved every weight a "
        f"little: {counted(end['steps'], 'update')} in "
        f"{counted(last['number'], 'epoch')}, on {plan['device']} ({plan['device_reason']})."
    )
    if seen is not None:
        done += (
            f" In step {seen['step']:,}, for example, {seen['weight']} was "
            f"{float(seen['weight_before']):.5f}, its gradient {float(seen['gradient']):.5f}, and it "
            f"became {float(seen['weight_after']):.5f}."
        )
        if float(seen["update"]) * float(seen["gradient"]) > 0:
            done += (
                " (It moved with its gradient, not against it: the optimizer remembers the steps before, whose "
                "gradients pointed the other way.)"
            )
    shown = f"valid_{name}" if f"valid_{name}" in best["metrics"] else f"train_{name}"
    part = held_out(split) if shown.startswith("valid") else "training"
    measure = f"{part} {'accuracy' if name == 'accuracy' else 'RMSE'}"
    caption = (
        f"Training loss went from {_short(first['train_loss'])} before training to "
        f"{_short(last['train_loss'])} in epoch {last['number']}, "
    )
    if best is first:
        caption += f"but no epoch was better than the {measure} {_short(best['metrics'][shown])} "
        caption += "before training, whose weights were kept."
    else:
        caption += (
            f"{measure} from {_short(first['metrics'][shown])} to {_short(best['metrics'][shown])} in "
            f"epoch {best['number']}, whose weights were kept."
        )
    return _stage(
        "train",
        came_in=f"batches of {plan['batch_size']} rows, {plan['steps_per_epoch']:,} an epoch",
        done=done,
        came_out=f"{end['parameters']:,} trained parameters ({end['stopped']})",
        caption=caption,
    )  # fmt: skip


def predict_stage(
    example: Body, metrics: Body | None, target: Body, network: Body
) -> dict[str, Any]:
    """Tell stage 5.

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
            names = [f"{shorten(str(explained['classes'][i]), 30)} {values[i]}" for i in top]
            out += f", the largest {_and(names)}"
        right = explained["prediction"] == example["truth"]
        answer = (
            f"{shorten(str(explained['prediction']), 40)} ({'right' if right else 'wrong'}: it is "
            + (f"{shorten(str(example['truth']), 40)})")
        )
        turn = "softmax turned its logits into probabilities that add up to 1"
    else:
        out = f"1 row x 1 number: {_short(explained['prediction'])}"
        answer = f"{_short(explained['prediction'])} (it is {_short(example['truth'])})"
        turn = "its output was brought back to the target's own unit"
    caption = f"Row {example['row']:,}, {example['part']}: predicted {answer}."
    if metrics is not None:
        caption += f" {_score(metrics, example['part'])}"
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
    """Write the key insight.

    Example:
        >>> from sightline.lesson import lesson
        >>> lesson.insight()["title"]
        'Key insight'
    """
    return {
        "title": "Key insight",
        "text": (
            "A network is ordinary code. Its graph is dynamic, built anew by every forward pass, so "
            "changing it is changing a line and running on. Automatic differentiation keeps each step "
            "clear: forward, loss, backward, update, with no gradient written by hand. And what was "
            "trained here is what runs in production: the same preparation and the same weights, in "
            "one file."
        ),
    }


def quiz(
    plan: Body,
    split: Body,
    epochs: Sequence[Body],
    end: Body,
    example: Body,
    target: Body,
    seed: int,
) -> dict[str, Any]:
    """Ask three questions about this run, each with four answers and an explanation.

    Which questions are asked, and the order of their answers, follow from the seed alone: they are
    the same on every processor, however it rounds a loss.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", network="MLP", epochs=1, quiet=True)
        >>> asked = run.find("lesson", "quiz")[0].body["questions"][0]  # what this gave
        >>> asked["answers"][asked["right"]]
        '9'
    """
    dice = random.Random(seed)  # noqa: S311 - the order of answers is no secret
    questions = [
        _steps_question(plan, split),
        _graph_question(),
        _best_question(epochs, end, held_out(split))
        if dice.random() < 0.5 and _lowest(epochs, end)
        else _answer_question(example, target),
    ]
    return {"questions": [_shuffled(*question, dice) for question in questions]}


# ------------------------------------------------------------- questions


def _steps_question(plan: Body, split: Body) -> tuple[str, str, list[str], str]:
    steps, rows, size = plan["steps_per_epoch"], split["train"], plan["batch_size"]
    wrong = [f"{n:,}" for n in (rows, 1, size, steps * 2, steps + 7, steps + 13) if n != steps]
    return (
        f"There are {rows:,} training rows, in batches of {size}. How often were the weights updated in "
        "one epoch?",
        f"{steps:,}",
        list(dict.fromkeys(wrong))[:3],
        f"The weights move once per batch, and {rows:,} rows make "
        f"{counted(steps, 'batch', 'batches')} of up to {size}.",
    )


def _graph_question() -> tuple[str, str, list[str], str]:
    return (
        "PyTorch's graphs are dynamic. Why does that matter here?",
        "The graph is built anew by each forward pass, so the network can be changed between two steps",
        [
            "The graph is compiled once before training, and must not change afterwards",
            "It lets the network be trained without any gradients",
            "It makes sure that the loss falls in every epoch",
        ],
        "Each forward pass runs ordinary Python and notes what was computed; backward walks that note "
        "once. The next pass may take another path: a layer can be widened, frozen or replaced while "
        "training goes on.",
    )


def _lowest(epochs: Sequence[Body], end: Body) -> bool:
    """Tell whether the loss chose the best epoch; another metric may have been asked to."""
    losses = [one["valid_loss"] for one in epochs if one["valid_loss"] is not None]
    return not losses or float(epochs[end["best_epoch"]]["valid_loss"]) <= min(map(float, losses))


def _best_question(epochs: Sequence[Body], end: Body, held: str) -> tuple[str, str, list[str], str]:
    best = end["best_epoch"]
    if epochs[best]["valid_loss"] is None:
        return (
            "There were no validation rows in this run. What could not be noticed without them?",
            "That the network learns its training rows by heart and does worse on new ones",
            [
                "That the training loss falls",
                "How many parameters the network has",
                "How often the weights were updated",
            ],
            "Only rows that the weights were not fitted to can tell learning from memorising.",
        )
    return (
        f"The weights of epoch {best} were kept. Why those?",
        f"The {held} loss was lowest there, {_short(epochs[best]['valid_loss'])}",
        [
            "The training loss is always lowest there",
            "The weights of the last epoch are always kept",
            "The test rows were predicted best there",
        ],
        (
            "Out of fold, each row is judged by members that did not learn from it, which is why that "
            "loss may choose the epoch"
            if held == "out-of-fold"
            else "The validation rows choose the epoch because training does not fit them"
        )
        + "; the test rows must not choose anything, or they could no longer tell how good the model is.",
    )


def _answer_question(example: Body, target: Body) -> tuple[str, str, list[str], str]:
    explained = example["explanation"]
    if target["task"] == "classification":
        top = max(float(p) for p in explained["probabilities"])
        name = shorten(str(explained["prediction"]), 40)
        return (
            f"For row {example['row']:,} the network answered {name}. How did it get there?",
            f"{name} has the largest probability of all classes, {top:.2f}",
            [
                "It looked up the most similar training row",
                "A rule for this class was written by hand",
                "The class was drawn at random",
            ],
            "The output layer gives a logit per class, softmax turns logits into probabilities that add "
            "up to 1, and the class with the largest one is the answer.",
        )
    return (
        f"For row {example['row']:,} the network answered {_short(explained['prediction'])}. In which unit?",
        f"In the unit of {shorten(target['name'], 40)}, as it stands in the table",
        ["In standard deviations", "As a probability between 0 and 1", "As a class number"],
        "Training scales the target so that the loss is near 1 at first; prediction undoes that scaling.",
    )


def _shuffled(
    question: str, right: str, wrong: list[str], why: str, dice: random.Random
) -> dict[str, Any]:
    answers = [right, *wrong]
    dice.shuffle(answers)
    letters = "ABCD"
    return {
        "question": question,
        "answers": dict(zip(letters, answers, strict=True)),
        "right": letters[answers.index(right)],
        "why": why,
    }


# ------------------------------------------------------------- helpers


def _stage(name: str, **texts: str) -> dict[str, Any]:
    return {**begin(name), **texts}


def _beside(example: Body) -> str:
    """Say how the parts of a model are weighed, where it has several."""
    parts = example["explanation"].get("parts") or ()
    if len(parts) < 2:
        return ""
    total = sum(float(part["weight"]) for part in parts) or 1.0
    shares = [f"the {one['name']} at {100 * float(one['weight']) / total:.0f} %" for one in parts]
    return f" The answer weighs {_and(shares)}."


def _score(metrics: Body, part: str) -> str:
    base = metrics["baseline"]
    loss = "rmse" if "rmse" in metrics else "log_loss"
    useless = float(metrics[loss]) >= float(base[loss])
    verdict = f" By {loss.replace('_', ' ')} it is no better than guessing." if useless else ""
    rows = f"On the {counted(metrics['rows'], metrics['part'] + ' row')}"
    if "accuracy" in metrics:
        return (
            f"{rows} accuracy is {metrics['accuracy']:.3f}, where always guessing the most frequent "
            f"class would get {base['accuracy']:.3f}.{verdict}"
        )
    return (
        f"{rows} the root mean squared error is {_short(metrics['rmse'])}, where always guessing the "
        f"mean would get {_short(base['rmse'])}.{verdict}"
    )


def _short(value: Any) -> str:
    value = float(value)
    if not math.isfinite(value):
        return str(value)
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"


def _and(parts: Sequence[str]) -> str:
    return (
        parts[0]
        if len(parts) == 1
        else f"{', '.join(parts[:-1])} and {parts[-1]}"
        if parts
        else "none"
    )


def _listed(values: Sequence[Any], most: int = 6) -> str:
    return listed([shorten(str(value), 30) for value in values], most)
