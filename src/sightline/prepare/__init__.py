"""Stage 2, prepare: typed columns become tensors, fitted on the training rows alone.

`encode` (strings, dates -> numbers, codes) is declared as data; `transform` (numbers ->
features) is an `nn.Module`; `prepared` fits both and explains each column's way.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.contracts import Scaling
    from sightline.load.split import Splits
    from sightline.prepare.prepared import Prepared


class _Room(ModuleType):
    """This package, callable.

    The room and the function `sightline.prepare` share a name, and Python binds the room to it
    whenever a module in here is imported. Calling either does the same.
    """

    def __call__(self, splits: Splits, *, numeric: Scaling | None = None) -> Prepared:
        from sightline.prepare.prepared import prepare

        return prepare(splits, numeric=numeric)


sys.modules[__name__].__class__ = _Room
