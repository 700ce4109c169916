"""Stage 2, prepare: typed columns become tensors, fitted on the training rows alone.

`encode` (texts and dates to numbers and codes) is plain data; `transform` (numbers to scaled
features) is an `nn.Module`; `fit` fits both; `prepared` applies them and describes what happens to
each column.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.contracts import Scaling
    from sightline.load.split import Splits
    from sightline.prepare.kept import Kept
    from sightline.prepare.prepared import Prepared


class _CallablePackage(ModuleType):
    """This package, made callable.

    The package and the public function `sightline.prepare` share a name, and Python binds the name to
    the package whenever one of its modules is imported. Calling either does the same.
    """

    def __call__(
        self, splits: Splits, *, numeric: Scaling | None = None, kept: Kept | None = None
    ) -> Prepared:
        from sightline.prepare.prepared import prepare

        return prepare(splits, numeric=numeric, kept=kept)


sys.modules[__name__].__class__ = _CallablePackage
