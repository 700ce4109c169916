"""Public functions that say what an argument is called here, where it is given by the name of another tool."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from sightline.contracts.other_names import no_option
from sightline.contracts.request import declared

P = ParamSpec("P")
R = TypeVar("R")


def names_checked(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function that is given an argument by another name say what it is called here.

    Raises:
        OptionError: By the function, instead of Python's TypeError.

    Example:
        >>> from sightline.contracts.arguments import names_checked
        >>> @names_checked
        ... def train(learning_rate=0.1):
        ...     return learning_rate
        >>> try:
        ...     train(lr=0.2)
        ... except ValueError as error:
        ...     print(error)
        There is no option 'lr'. Did you mean 'learning_rate'?
    """
    parameters = inspect.signature(function).parameters
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    own = [one.name for one in parameters.values() if one.kind in named and one.name != "self"]
    more = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if not kwargs.keys() <= set(own):
            known = [*own, *(name for name in declared() if more and name not in own)]
            for name in kwargs:
                if name not in known:
                    raise no_option(name, known)
        return function(*args, **kwargs)

    return checked
