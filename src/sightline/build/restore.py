"""Modules made of what a file holds, whatever it holds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from sightline.errors import BundleError

Module = TypeVar("Module", bound=nn.Module)


def restored(
    make: Callable[[], Module], tensors: Mapping[str, Tensor], source: str | Path, name: str,
    infinite: Collection[str] = (),
) -> Module:  # fmt: skip
    """Make a module and give it a file's tensors.

    Args:
        make: Makes an empty module of the file's settings.
        tensors: What the file holds, from `state_dict`.
        source: The file, for the error.
        name: What the module is, for the error.
        infinite: The tensors that may hold infinity.

    Raises:
        BundleError: The tensors have other sizes or types than the settings say, or are not finite, or the module
            refuses them with a ValueError.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from sightline.build.restore import restored
        >>> layer = restored(lambda: nn.Linear(1, 1), nn.Linear(1, 1).state_dict(), "a.sightline", "layer")
        >>> restored(lambda: nn.Linear(2, 1), layer.state_dict(), "a.sightline", "layer")
        Traceback (most recent call last):
        sightline.errors.BundleError: a.sightline's layer is damaged: its tensors are not those of its settings. Use another copy, or save the model again.
    """
    # First without memory: sizes that a file has made up would take all there is.
    with torch.device("meta"):
        planned = make().state_dict()
    sizes = {key: (tuple(tensor.shape), tensor.dtype) for key, tensor in planned.items()}
    if sizes != {key: (tuple(tensor.shape), tensor.dtype) for key, tensor in tensors.items()}:
        raise damaged(source, name, "its tensors are not those of its settings")
    if any(
        bool((tensor.isnan() if key in infinite else ~tensor.isfinite()).any())
        for key, tensor in tensors.items()
    ):
        raise damaged(source, name, "not all of its numbers are finite")
    module = make()
    try:
        module.load_state_dict(dict(tensors))
    except ValueError as error:
        raise damaged(source, name, str(error)) from error
    return module


def damaged(source: str | Path, name: str, problem: str) -> BundleError:
    """Return the error for a module that a file holds and that cannot be right."""
    return BundleError(
        f"{source}'s {name} is damaged: {problem}.", "Use another copy, or save the model again."
    )
