"""What goes wrong, as lessons: the words of seven faults, and three questions on each.

Everything that is said of a run is read from its records by `fault_records.py`; `pipeline/lessons.py` makes the runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sightline.errors import OptionError, did_you_mean, readable
from sightline.lesson.fault_records import (
    ACCURACY,
    BALANCED,
    BEST_VALID,
    FIRST_GRADIENT,
    LAST_TRAINED,
    LAST_VALID,
    LATER,
    MAJORITY,
    PRECISION,
    RECALL,
    TRAINED,
    Fault,
    FaultName,
    LessonBody,
    Observed,
    Side,
)

# ------------------------------------------------------------- the questions


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _loss(value: float) -> str:
    return readable(value, 3) if math.isfinite(value) else "not a finite number"


def _lowest(one: Side) -> tuple[int, float]:
    """Return the epoch with the lowest validation loss, and that loss."""
    losses = [(n, valid) for n, _, valid in one["epochs"] if valid is not None and math.isfinite(valid)]  # fmt: skip
    return min(losses, key=lambda pair: pair[1])


def _overfitting(sides: Sequence[Side]) -> list[tuple[str, str]]:
    fault, cure, small = (one["measured"] for one in sides)
    epoch, lowest = _lowest(sides[0])
    return [
        (
            "From which epoch on does the first network get worse, and on which curve is it seen?",
            f"From epoch {epoch + 1} on: the validation loss is lowest in epoch {epoch}, {_loss(lowest)}, and ends at "
            f"{_loss(fault[LAST_VALID])}. The training loss shows nothing: it falls to {_loss(fault[LAST_TRAINED])}.",
        ),
        (
            "Why does early stopping help, although it teaches the network nothing new?",
            f"What is learned last here is what holds for the 150 training rows only. Training ends with a validation loss of "
            f"{_loss(cure[LAST_VALID])} instead of {_loss(fault[LAST_VALID])}. Sightline keeps the weights of the best epoch in "
            "any case; early stopping saves the other epochs.",
        ),
        (
            "The third run has 8 hidden units, of which half are dropped in each step, and as many epochs as the first. Why does it "
            "not learn the rows by heart?",
            f"It has a few hundred weights instead of some 20,000, and no unit can rely on another one. After all epochs it is right "
            f"for {_percent(small[TRAINED])} of its training rows, and its validation loss is {_loss(small[LAST_VALID])}. More rows would "
            "help the large network in the same way.",
        ),
    ]  # fmt: skip


def _learning_rate(sides: Sequence[Side]) -> list[tuple[str, str]]:
    fault, cure, small = sides
    first = fault["epochs"][0][1]
    highest = max((loss for _, loss, _ in fault["epochs"] if math.isfinite(loss)), default=math.nan)
    return [
        (
            f"The untrained network has a loss of {_loss(first)}. How can a network be worse than that after training?",
            f"Each step goes downhill, but too far: it lands higher up on the other side of the valley. With a learning rate of 3 the "
            f"training loss reached {_loss(highest)}.",
        ),
        (
            "The loss of the third run never jumps. What is wrong with it all the same?",
            f"Its steps are a thousand times as short: after {small['epochs'][-1][0]} epochs its validation loss is "
            f"{_loss(small['measured'][LAST_VALID])}, where a learning rate of 0.003 reached {_loss(cure['measured'][LAST_VALID])}.",
        ),
        (
            "Which learning rates should be tried first with a network of your own?",
            "Steps of ten times, such as 0.1, 0.01, 0.001: the largest one with which the training loss falls evenly is usually good. "
            "sightline tune tries them for you.",
        ),
    ]  # fmt: skip


def _leakage(sides: Sequence[Side]) -> list[tuple[str, str]]:
    fault, cure = (one["measured"] for one in sides)
    return [
        (
            f"The first model is right for {_percent(fault[ACCURACY])} of the test rows. Why is that no reason to trust it?",
            "The test rows come from the same table, and in it a refund is paid to nobody but customers who have left. When the "
            "prediction is needed, nobody has left yet, and the refund is 0 for all.",
        ),
        (
            f"What does the first model do with new customers, and why is it right for {_percent(fault[LATER])} of them?",
            "It sees a refund of 0 and says that they stay, whatever else their row says. It is right for those who do stay: "
            "that is what predicting the same class for all would give. Without the column, a model is right for "
            f"{_percent(cure[LATER])}.",
        ),
        (
            "How can such a column be found before the model is used?",
            "Ask of each column when its value is known: before the target, or only with it. And be suspicious of a score that is "
            "too good: Sightline tries each column alone, and names those that predict the target on their own.",
        ),
    ]  # fmt: skip


def _imbalance(sides: Sequence[Side]) -> list[tuple[str, str]]:
    fault, cure = (one["measured"] for one in sides)
    return [
        (
            f"The first model is right for {_percent(fault[ACCURACY])} of the test rows. How good is it?",
            f"It finds {_percent(fault[RECALL])} of the faulty parts. Calling every part good is right for {_percent(fault[MAJORITY])} "
            "too, without any model: where one class is rare, accuracy says little.",
        ),
        (
            f"With class weights the accuracy falls to {_percent(cure[ACCURACY])}. Why is that model better?",
            f"It finds {_percent(cure[RECALL])} of the faulty parts, and its balanced accuracy, the mean of both classes' recall, is "
            f"{_percent(cure[BALANCED])} instead of {_percent(fault[BALANCED])}.",
        ),
        (
            f"Of the parts that the second model calls faulty, {_percent(cure[PRECISION])} are. When is that good enough?",
            "That depends on the costs: a second look at a good part may be cheap, and a faulty part that is sold dear. The decision "
            "threshold (threshold=) sets this without training again.",
        ),
    ]  # fmt: skip


def _vanishing(sides: Sequence[Side]) -> list[tuple[str, str]]:
    fault, cure = (one["measured"] for one in sides)
    return [
        (
            "Why is the gradient of the first of eight sigmoid layers so small?",
            "The backward pass multiplies by the slope of the activation in each layer, and the slope of a sigmoid is at most 1/4: "
            f"eight of them make less than 1/65,000. Here the first layer's gradient is {fault[FIRST_GRADIENT]:.1e} times the last one's.",
        ),
        (
            f"The first network is right for {_percent(fault[ACCURACY])} of the test rows. What has it learned?",
            f"Hardly more than the share of the classes: the most frequent one makes {_percent(fault[MAJORITY])}. Its last layer learns, "
            "but the first ones hand it the same for all rows.",
        ),
        (
            "What do ReLU and residual connections change?",
            "The slope of a ReLU is 1 wherever it is not 0, and a residual connection adds a layer's input to its output, so that "
            f"the gradient also goes around the layer. The ratio is {cure[FIRST_GRADIENT]:.2g}, and {_percent(cure[ACCURACY])} of the "
            "test rows are predicted correctly.",
        ),
    ]  # fmt: skip


def _unscaled(sides: Sequence[Side]) -> list[tuple[str, str]]:
    fault, cure = (one["measured"] for one in sides)
    return [
        (
            "The target depends on all four columns. Why can the first network hardly use the column damp?",
            "A weight is multiplied by its input: a price of 250,000 moves every unit, and a damp of 0.5 none. To use it, the network "
            "would need a weight some 100,000 times as large, and the steps of the optimizer are of the same size for all weights.",
        ),
        (
            f"The losses of the first run begin at {_loss(sides[0]['epochs'][0][1])}. What would guessing give?",
            "For two classes that are equally frequent, ln 2 = 0.693. Large inputs make large logits: the untrained network is sure of "
            "what it cannot know.",
        ),
        (
            "Why must the statistics of the scaling come from the training rows alone?",
            "Else the model would know something of the rows that it is tested on. With numbers scaled, "
            f"{_percent(cure[ACCURACY])} of the test rows are right instead of {_percent(fault[ACCURACY])}.",
        ),
    ]  # fmt: skip


def _label_noise(sides: Sequence[Side]) -> list[tuple[str, str]]:
    fault, cure = (one["measured"] for one in sides)
    return [
        (
            f"The first network is right for {_percent(fault[TRAINED])} of its training rows, of which 30 in 100 have a wrong label. "
            "What has it learned?",
            "The wrong labels too, row by row: no rule of the columns gives them. Of new rows, compared with their true labels, it is "
            f"right for {_percent(fault[LATER])}; the second network for {_percent(cure[LATER])}.",
        ),
        (
            "Why does early stopping help against wrong labels?",
            "What most rows agree on is learned first, and single exceptions last. The second network is stopped before them: it is "
            f"right for {_percent(cure[TRAINED])} of its training rows, about as many as have a right label.",
        ),
        (
            f"On the test rows, whose labels are as bad, the second network reaches only {_percent(cure[ACCURACY])}. Is it that bad?",
            "No: a row with a wrong label counts against a right prediction. No model can do better than about 70 % on such labels, "
            "so look at the rows with the largest errors first: many of them have a wrong label.",
        ),
    ]  # fmt: skip


# ------------------------------------------------------------- the lessons

FAULTS: Mapping[FaultName, Fault] = {
    "overfitting": Fault(
        "Overfitting",
        "A network with far more weights than rows learns its training rows by heart. The training loss goes on falling, "
        "while the loss on rows that it has not learned from rises.",
        "Stop when the validation loss no longer falls (patience=), use a smaller network or dropout, or get more rows.",
        [("train", "epoch", "overfitting since epoch")],
        (LAST_VALID, BEST_VALID, LAST_TRAINED, TRAINED, ACCURACY),
        _overfitting,
    ),
    "learning-rate": Fault(
        "A learning rate that is too high, or too low",
        "The learning rate says how far a step goes against the gradient. Too far, and the loss jumps instead of falling; "
        "not far enough, and it hardly moves.",
        "Divide it by ten until the training loss falls evenly (learning_rate=).",
        [("train", "epoch", "diverging"), ("train", "epoch", "learning rate too high")],
        (LAST_VALID, LAST_TRAINED, ACCURACY, MAJORITY),
        _learning_rate,
    ),
    "leakage": Fault(
        "A column that knows the answer",
        "One column is known only after the target is, here a refund that is paid to customers who have left. The test score "
        "is wonderful, and the model useless when it is needed.",
        "Leave the column out (drop=).",
        [("prepare", "columns", "alone predicts")],
        (LATER, ACCURACY, MAJORITY),
        _leakage,
        "Later rows: 500 new customers, whose refund is 0, because none of them has left yet.",
    ),
    "imbalance": Fault(
        "A rare class",
        "Only 2 in 100 parts are faulty. A model that calls all of them good is right for 98 % of the rows, and finds none "
        "of those that it was made for.",
        "Weigh the classes (class_weights='balanced') or move the decision threshold (threshold=), and measure the recall.",
        [("predict", "metrics", "No row is predicted as")],
        (BALANCED, RECALL, PRECISION, ACCURACY, MAJORITY),
        _imbalance,
    ),
    "vanishing": Fault(
        "Gradients that vanish",
        "In a deep network of sigmoid layers the gradient shrinks from layer to layer on its way back. The first layers get "
        "next to none, and do not learn.",
        "Use ReLU or a relative of it, residual connections or normalisation, or fewer layers.",
        [("train", "epoch", "gradients vanish")],
        (ACCURACY, MAJORITY, FIRST_GRADIENT, LAST_TRAINED),
        _vanishing,
    ),
    "unscaled": Fault(
        "Numbers that are not scaled",
        "A price is some 100,000 times as large as a share. Fed to a network as they are, the large numbers drown the small ones, "
        "and the loss begins far above that of guessing.",
        "Scale the numbers: Sightline does, unless it is told not to (numeric=).",
        [("prepare", "columns", "numbers are not scaled")],
        (ACCURACY, MAJORITY, LAST_TRAINED, LAST_VALID),
        _unscaled,
    ),
    "label-noise": Fault(
        "Wrong labels, learned by heart",
        "30 in 100 labels were swapped when they were written down. A large network that is trained for long learns them too, "
        "row by row, and then predicts them.",
        "Watch rows held out and stop early (valid=, patience=), smooth the labels (label_smoothing=), and have the rows with the "
        "largest errors looked at. The sentence about the labels stays: they are still wrong.",
        [("predict", "baselines", "Labels may be wrong")],
        (LATER, ACCURACY, TRAINED, LAST_TRAINED),
        _label_noise,
        "Later rows: 1,000 new rows with their true labels.",
    ),
}  # fmt: skip


def find_fault(name: str) -> tuple[FaultName, Fault]:
    """Return a lesson by its name.

    Raises:
        OptionError: There is no such lesson.

    Example:
        >>> from sightline.lesson.faults import find_fault
        >>> find_fault("leakage")[1].title
        'A column that knows the answer'
    """
    for known, fault in FAULTS.items():
        if known == name:
            return known, fault
    raise OptionError(
        f"There is no lesson {name!r} (lesson, --lesson).",
        did_you_mean(str(name), FAULTS, "lessons"),
    )


def lines(body: LessonBody) -> list[str]:
    """Return a lesson in short, for the terminal.

    Example:
        >>> from sightline.lesson.faults import lines
        >>> body = {"title": "Overfitting", "fault": "It learns by heart.", "cure": "Stop early.", "sides": [],
        ...         "changed": {}, "better": {}, "later": "", "questions": [], "page": "runs/a/lesson.html", "others": ["leakage"]}
        >>> lines(body)[0]
        'Overfitting. It learns by heart.'
    """
    said = [f"{body['title']}. {body['fault']}", ""]
    for one in body["sides"]:
        said.append(f"{one['name']}: {one['title']}")
        said += [f"  {what}: {shown(value)}" for what, value in one["measured"].items()]
        said += (
            [f"  {where_observed(one['observed'])}: {one['observed']['said']}"]
            if one["observed"]
            else []
        )
        said += [f"  last epoch: {one['last']}", ""]
    said += [body["later"], ""] if body["later"] else []
    said += [
        f"changed: {name}: {' -> '.join(map(str, values))}"
        for name, values in body["changed"].items()
    ]
    said += [f"Cure: {body['cure']}", ""]
    said += [f"{i}. {one['question']}" for i, one in enumerate(body["questions"], 1)]
    said += ["", f"Both runs side by side, and the answers: {body['page']}"]
    return [*said, f"Other lessons: sightline demo --lesson {' | '.join(body['others'])}"]


def shown(value: float) -> str:
    """Write a measure: four digits, or in words where it is not a finite number.

    Example:
        >>> from sightline.lesson.faults import shown
        >>> shown(0.12345), shown(float("nan"))
        ('0.1235', 'not a finite number')
    """
    return readable(value) if math.isfinite(value) else "not a finite number"


def where_observed(one: Observed) -> str:
    """Say which record has an observation.

    Example:
        >>> from sightline.lesson.faults import where_observed
        >>> where_observed({"record": "train/epoch", "epoch": 7, "said": "stable"})
        'observed in epoch 7 (train/epoch)'
    """
    return (
        f"observed in epoch {one['epoch']} ({one['record']})"
        if "epoch" in one
        else f"observed ({one['record']})"
    )
