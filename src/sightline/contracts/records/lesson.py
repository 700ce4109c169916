"""Bodies of the lesson's records: what the terminal, the page and the report show in words."""

from typing import Annotated, TypedDict


class LessonOpening(TypedDict):
    """The lesson's title and first paragraph."""

    title: Annotated[str, "title of the lesson"]
    paragraph: Annotated[str, "what the run will do"]
    minutes: Annotated[int, "reading time"]


class CodeBlock(TypedDict):
    """Some Python."""

    title: Annotated[str, "what it shows"]
    code: Annotated[str, "Python source"]


class LessonBegin(TypedDict):
    """A stage begins. The first code blocks of the five stages, in order, rebuild the run's model."""

    number: Annotated[int, "1 to 5"]
    name: Annotated[str, '"load", "prepare", "build", "train" or "predict"']
    title: Annotated[str, "title of the stage"]
    code: Annotated[
        list[CodeBlock],
        "the stage as Python, with this run's settings; for training also one step in plain PyTorch",
    ]


class Equation(TypedDict):
    """A formula, and the same with this run's numbers, which is correct as written."""

    title: Annotated[str, "what is computed"]
    formula: Annotated[str, "in symbols"]
    numbers: Annotated[str, "in numbers"]
    said: Annotated[str, "what the symbols mean"]


class Term(TypedDict):
    """A technical term, explained."""

    term: Annotated[str, "the term"]
    text: Annotated[str, "one to three sentences"]


class LessonStage(TypedDict):
    """A stage is done: what it did."""

    number: Annotated[int, "1 to 5"]
    name: Annotated[str, "name of the stage"]
    title: Annotated[str, "title of the stage"]
    came_in: Annotated[str, "the stage's input"]
    done: Annotated[str, "what was done with it"]
    came_out: Annotated[str, "the stage's output"]
    caption: Annotated[str, "caption of the stage's picture"]
    facts: Annotated[list[tuple[str, str]], 'label and value; "time" is the stage\'s duration']
    shapes: Annotated[list[tuple[str, str]], "name and shape of each tensor"]
    maths: Annotated[list[Equation], "the stage's equations"]
    terms: Annotated[list[Term], "terms that the stage introduces"]


class LessonInsight(TypedDict):
    """The main message of the lesson."""

    title: Annotated[str, "heading"]
    text: Annotated[str, "the message"]


class Question(TypedDict):
    """A question with four answers."""

    question: Annotated[str, "the question"]
    answers: Annotated[dict[str, str], "answers by their letters A to D"]
    right: Annotated[str, "letter of the correct answer"]
    why: Annotated[str, "why it is correct"]


class NextStep(TypedDict):
    """Something to do with a finished model."""

    text: Annotated[str, "what to do"]
    command: Annotated[str | None, "the command, in the run folder; null without one"]
    block: Annotated[str | None, "the block of the page that shows it; null without one"]


class LessonResult(TypedDict):
    """The result of the run: what the page and the report begin with, and the terminal ends with."""

    headline: Annotated[str, "how good the model is, beside a prediction that ignores the features"]
    verdict: Annotated[str | None, "how it compares with simple models; null without a comparison"]
    cautions: Annotated[list[str], "what to be careful about"]
    next: Annotated[list[NextStep], "what to do next"]


class LessonQuiz(TypedDict):
    """Questions about this run; which are asked and their order depend on the seed alone."""

    questions: Annotated[list[Question], "three questions"]
