"""Work the equations of a lesson out again, from their text alone."""

import math
import re

NAMES = {"exp": math.exp, "log": math.log, "sqrt": math.sqrt, "tanh": math.tanh,
         "max": max, "abs": abs, "ceil": math.ceil, "floor": math.floor}  # fmt: skip
NUMBER = r"[\d.]+(?:e[+-]\d+)?"


def python(text):
    """Translate a formula of numbers into Python."""
    text = text.replace("−", "-").replace("×", "*").replace("²", "**2")
    text = re.sub(r"⌈(.*?)⌉", r"ceil(\1)", text)
    text = re.sub(r"⌊(.*?)⌋", r"floor(\1)", text)
    text = re.sub(r"\|(.*?)\|", r"abs(\1)", text)
    text = re.sub(rf"√({NUMBER})", r"sqrt(\1)", text).replace("√(", "sqrt(")
    text = re.sub(rf"e\^({NUMBER}|\(-?{NUMBER}\))", r"exp(\1)", text)
    return text.replace("ln(", "log(")


def work_out(numbers):
    """Return what the left-hand side gives, what is claimed, and whether it claims to be exact."""
    left, sign, right = re.fullmatch(r"(.*) ([=≈]) (\S+)", numbers).groups()
    found = eval(python(left), {"__builtins__": {}}, NAMES)
    return found, float(right.replace("−", "-")), sign == "="


def largest(numbers):
    """Return the largest number in a formula."""
    return max(float(x) for x in re.findall(NUMBER, numbers.replace("e^", " ")) if x.strip("."))
