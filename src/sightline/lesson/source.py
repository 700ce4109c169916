"""Pieces of Python source: literals, calls, and the lines that build a network.

Names and paths come from the user, so they are always written as literals.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from sightline.errors import shorten

Body = Mapping[str, Any]
LINE_WIDTH = 92
"""A longer call has one argument per line."""
TEXT_LENGTH = 300
"""A longer text is replaced by `...`, and a comment says so."""
NETWORK_DEFAULTS: dict[str, dict[str, Any]] = {
    "MLP": {"hidden": [64], "activation": "relu", "dropout": 0.0, "residual": [], "replaced": {}},
    "Ensemble": {
        "members": 10, "hidden": [64, 64], "activation": "relu", "dropout": 0.1, "bins": True,
        "waves": 0, "pieces": True,
    },
}  # fmt: skip


def literal(value: Any) -> str:
    """Write a value as Python source; a text longer than 300 characters becomes `...`.

    Example:
        >>> from sightline.lesson.source import literal
        >>> literal(["a'b", 1.5]), literal("x" * 1000)
        ('["a\\'b", 1.5]', '...')
    """
    if isinstance(value, str):
        return repr(value) if len(value) <= TEXT_LENGTH else "..."
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    if isinstance(value, bool) or value is None:
        return repr(value)
    return repr(float(value) if isinstance(value, float) else int(value))


def changed(options: Body, defaults: Body) -> dict[str, Any]:
    """Return the options that differ from their defaults; options without a default are left out.

    Example:
        >>> from sightline.lesson.source import changed
        >>> changed({"test": 0.2, "valid": 0.1}, {"test": 0.1, "valid": 0.1})
        {'test': 0.2}
    """
    return {
        name: options[name] for name in defaults if name in options and options[name] != defaults[name]
    }  # fmt: skip


def named(options: Body) -> list[str]:
    """Write options as keyword arguments.

    Example:
        >>> from sightline.lesson.source import named
        >>> named({"target": "y", "seed": 0})
        ["target='y'", 'seed=0']
    """
    return [f"{name}={literal(value)}" for name, value in options.items()]


def is_own(value: Any) -> bool:
    """Return whether a setting stands for an object of the user: it is recorded as "(your own)".

    Example:
        >>> from sightline.lesson.source import is_own
        >>> is_own("(your own)"), is_own("adamw")
        (True, False)
    """
    return isinstance(value, str) and value.startswith("(")


def call(head: str, arguments: Sequence[str]) -> list[str]:
    """Write a call on one line, or with one argument per line where that is too long.

    Example:
        >>> from sightline.lesson.source import call
        >>> call("table = sl.read", ["'t.csv'"])
        ["table = sl.read('t.csv')"]
    """
    line = f"{head}({', '.join(arguments)})"
    lines = (
        [line] if len(line) <= LINE_WIDTH else [f"{head}(", *(f"    {a}," for a in arguments), ")"]
    )
    if any(
        isinstance(node, ast.Constant) and node.value is ... for node in ast.walk(ast.parse(line))
    ):
        lines.insert(0, "# ... stands for a text too long to be written here.")
    return lines


def comment(text: str) -> str:
    """Write a text for a comment, without line breaks.

    Example:
        >>> from sightline.lesson.source import comment
        >>> print(comment("two\\nlines"))
        'two\\nlines'
    """
    return repr(shorten(text))


def network_lines(network: Body, seed: int) -> list[str]:
    """Write the lines that build a network.

    Args:
        network: How it is built: the field `again` of `build/network`.
        seed: Seed of the first weights.

    Example:
        >>> from sightline.lesson.source import network_lines
        >>> network_lines({"class": "Net", "built_in": False}, 0)
        ["network = ...  # your own network, 'Net': the run does not know how it was built"]
    """
    name = network["class"]
    draw = f"torch.manual_seed({seed})  # the first weights are drawn from the seed"
    if network["built_in"]:
        config = changed(network["config"], NETWORK_DEFAULTS[name])
        lines = call(f"network = sl.{name}", ["prepared.spec", *named(config)])
        if network["drawn"]:
            return [draw, *lines]
        return ["# The network was given as a module with its weights: these lines draw other ones.",
                draw, *lines]  # fmt: skip
    if "source" in network and name.isidentifier():
        return [f"# {name} is a class of your own. The run keeps its source:",
                f"# sources/{network['source']}.py", draw,
                f"network = {name}(prepared.spec)"]  # fmt: skip
    return [
        f"network = ...  # your own network, {comment(name)}: the run does not know how it was built"
    ]
