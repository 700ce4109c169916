"""What a fit was asked for and what it decided: kept in `run/start` and in every checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from sightline.contracts import FitOptions
from sightline.pipeline.recipe import Recipe


@dataclass(frozen=True)
class Decisions:
    """The options of a fit, and what was decided by the table, the quality and the clock.

    A run that goes on, or is made again, takes the decisions from here: a later version may decide
    otherwise.

    Attributes:
        options: What was asked for.
        origin: Where the table is and how it was divided, from `origin.provenance`.
        recipe: Folds, trees, calibration.
        settings: All settings of the training, as JSON.
        trees_limit: Seconds that the trees may take; None for as long as it takes.
    """

    options: FitOptions
    origin: Mapping[str, Any]
    recipe: Recipe
    settings: Mapping[str, Any]
    trees_limit: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values.

        `numeric`, `report` and `baselines` stand beside `options`, which has them too, for readers of
        records that older versions wrote.
        """
        return {
            "origin": dict(self.origin), "numeric": self.options.model.numeric,
            "settings": dict(self.settings), "report": self.options.run.report,
            "recipe": self.recipe.to_json(), "baselines": self.options.model.baselines,
            "trees_limit": self.trees_limit, "options": self.options.to_json(),
        }  # fmt: skip

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote, or what a checkpoint of Sightline 0.1 kept.

        Raises:
            RunError: The options are of a newer version, or damaged.
        """
        plain = Recipe(quality=None).to_json()  # the oldest checkpoints knew no recipe
        kept = {"report": True, "recipe": plain, "baselines": False, "trees_limit": None, **kept}
        known = "options" in kept
        options = FitOptions.from_json(kept["options"]) if known else FitOptions.of_older(kept)
        return cls(
            options, kept["origin"], Recipe(**kept["recipe"]), kept["settings"], kept["trees_limit"]
        )
