"""The options and decisions of a fit, kept in `run/start` and in every checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from sightline.contracts import FitOptions
from sightline.pipeline.recipe import Recipe


@dataclass(frozen=True)
class Decisions:
    """The options of a fit, and what was decided from the table and the quality.

    Resume and replay take the decisions from here, because a later version may decide differently.

    Attributes:
        options: The options of the fit.
        origin: Where the table is and how it was split, from `origin.provenance`.
        recipe: Folds, trees, calibration.
        settings: All settings of the training, as JSON.
    """

    options: FitOptions
    origin: Mapping[str, Any]
    recipe: Recipe
    settings: Mapping[str, Any]

    def into(self, folder: Path) -> Self:
        """Return the same decisions for a run that is made again in another folder, and watches no file."""
        run = replace(self.options.run, run=str(folder), watch=False, live=False)
        return replace(self, options=replace(self.options, run=run))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values.

        `numeric`, `report` and `baselines` are also in `options`. They are repeated here because
        records have always had them.
        """
        return {
            "origin": dict(self.origin), "numeric": self.options.model.numeric,
            "settings": dict(self.settings), "report": self.options.run.report,
            "recipe": self.recipe.to_json(), "baselines": self.options.model.baselines,
            "options": self.options.to_json(),
        }  # fmt: skip

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote, or what an older checkpoint has.

        Raises:
            RunError: The options are of a newer version, or damaged.
        """
        plain = Recipe(quality=None).to_json()  # the oldest checkpoints have no recipe
        kept = {"report": True, "recipe": plain, "baselines": False, **kept}
        complete = "options" in kept
        options = FitOptions.from_json(kept["options"]) if complete else FitOptions.of_older(kept)
        return cls(options, kept["origin"], Recipe(**kept["recipe"]), kept["settings"])
