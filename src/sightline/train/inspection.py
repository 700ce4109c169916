"""A close look at the first step of an epoch: one step in full, and the doctor's numbers."""

from __future__ import annotations

from sightline.contracts import Step
from sightline.train.doctor import STEPS_BETWEEN, Examination
from sightline.train.state import TrainingState
from sightline.train.step_detail import StepDetail


class Inspection:
    """Watches the first step of each epoch; the doctor skips some epochs if they are short.

    Example:
        >>> import sightline as sl
        >>> from sightline.train.inspection import Inspection
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training, inspection = sl.Training(sl.MLP(prepared.spec), prepared), Inspection()
        >>> inspection.before_step(training.state)
        >>> inspection.cancel()
    """

    def __init__(self) -> None:
        self._detail: StepDetail | None = None
        self._examination: Examination | None = None

    def before_step(self, state: TrainingState) -> None:
        """Start watching, if this is the first step of an epoch."""
        progress = state.progress
        if progress.rows:
            return
        self._detail = StepDetail.before(state.network, state.optimizer)
        due = progress.doctor_at is None or progress.steps - progress.doctor_at >= STEPS_BETWEEN
        if state.settings.doctor and due and self._examination is None:
            self._examination = Examination(state.network)

    def after_step(self, state: TrainingState, step: Step) -> None:
        """Keep the results, if this step was watched."""
        if self._detail is not None:
            state.keep_step_detail(self._detail.after(state.network, state.optimizer), step)
            self._detail = None
        if self._examination is not None:
            layers = self._examination.layers()
            self._examination = None
            state.progress.doctor_at = state.progress.steps
            state.layers = layers
            state.tell(
                "layers", f"each layer in step {state.progress.steps:,}",
                {"layers": [layer.to_json() for layer in layers]},
            )  # fmt: skip

    def cancel(self) -> None:
        """Stop watching: the step failed and is repeated."""
        self._detail = None
        if self._examination is not None:
            self._examination.close()
            self._examination = None
