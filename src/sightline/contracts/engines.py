"""Where a fit, a tuning or predictions run, other than in this process."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

from sightline.errors import OptionError


@dataclass(frozen=True)
class Ray:
    """The processes of a Ray cluster (extra `ray`).

    Attributes:
        workers: How many processes train one network together, predict, or fit the trials of a tuning; (least, most)
            lets a training go on with fewer when machines are lost, and take more when they come.
        cpus: Processors of each process; also a share of one.
        gpus: GPUs of each process.
        failures: How often a training is started again from its last checkpoint when a process is lost.
        address: The cluster, such as "ray://host:10001" or "auto"; None takes the one that the environment names
            (RAY_ADDRESS), else starts Ray on this machine for as long as it is needed.

    Raises:
        OptionError: An invalid value.

    Example:
        >>> import sightline as sl
        >>> sl.Ray(workers=8), sl.Ray.parse("2-8").workers
        (Ray(workers=8, cpus=1, gpus=0, failures=3, address=None), (2, 8))
    """

    workers: int | tuple[int, int] = 2
    cpus: float = 1
    gpus: float = 0
    failures: int = 3
    address: str | None = None

    def __post_init__(self) -> None:
        several = self.workers if isinstance(self.workers, tuple) else (self.workers, self.workers)
        whole = all(isinstance(one, int) and not isinstance(one, bool) for one in several)
        if len(several) != 2 or not whole or not 1 <= several[0] <= several[1]:
            raise OptionError(
                f"workers is {self.workers!r}.", "Give a whole number from 1, or (least, most)."
            )
        for name, least in (("cpus", 0), ("gpus", 0), ("failures", -1)):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not least <= value < math.inf or (name == "cpus" and value == 0):
                rule = "a number above 0" if name == "cpus" else f"a number from {least}"
                raise OptionError(f"{name} of Ray is {value!r}.", f"Give {rule}.")

    @classmethod
    def parse(cls, workers: str | None) -> Self:
        """Read the number of workers as the command line has it: "8", or "2-8".

        Raises:
            OptionError: It is neither.
        """
        if workers is None:
            return cls()
        least, dash, most = workers.partition("-")
        if not least.isdecimal() or (dash and not most.isdecimal()):
            raise OptionError(
                f"--workers is {workers!r}.",
                "Give a number such as 8, or the least and the most: 2-8.",
            )
        return cls((int(least), int(most)) if dash else int(least))

    @property
    def most_workers(self) -> int:
        """How many processes there are at most."""
        return self.workers[1] if isinstance(self.workers, tuple) else self.workers

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        workers = list(self.workers) if isinstance(self.workers, tuple) else self.workers
        return {**vars(self), "workers": workers}
