"""The training rows as the linear model saw them in its fit, where steps cross-fit."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from skinfluence._warn import listed, warn
from skinfluence.exceptions import NotStationaryWarning
from skinfluence.preprocessing import Followed
from skinfluence.solvers import expand, solver_for
from skinfluence.support import TrainingOutput, WholeFit, recorders

# At the rows that it was fitted to, a model is nearer its minimum than by this part of
# how far it is at others.
_SAW = 0.03


class RowsOfFit(NamedTuple):
    """Rows that a linear model was fitted to, as far as they are known."""

    X: Any  # (n, p); None: those that the fitted steps give now
    outputs: Mapping[str, TrainingOutput]  # of steps that cross-fit, by name
    unknown: tuple[str, ...] = ()  # those whose output in the fit is not known

    def naming_unknown(self, followed: Followed) -> Followed:
        """The same steps, those of unknown output held, with that as their reason."""
        reason = (
            "in its fit it gave the model other rows than it gives now, and those are "
            "not known"
        )
        return followed.holding(dict.fromkeys(self.unknown, reason))

    def warn_of_unknown(self, stationarity: float) -> None:
        """Say which steps have shown the model rows that are not known.

        Unless the fit is no farther from its minimum than a deletion moves it.
        """
        if self.unknown and stationarity > 1:
            warn(
                f"The steps {listed(self.unknown)} gave the model other rows in the fit "
                "than they give now, as steps that cross-fit do. Those rows are not "
                "known: the same steps, fitted to the training rows again, do not give "
                "them. What follows explains a model of the rows that they give now. "
                "Use prefit=False, or give steps that draw at random a seed before the "
                "fit.",
                NotStationaryWarning,
            )


def rows_of_fit(
    whole: WholeFit, outputs: Mapping[str, TrainingOutput] | None
) -> RowsOfFit:
    """What the model of a fitted estimator saw.

    ``outputs`` are those of its steps that cross-fit, if they were recorded. If not,
    clones of the steps are fitted again: where they always give the same, and the
    gradient is zero there, that is what the model saw.
    """
    if outputs:
        return RowsOfFit(whole.recording(outputs).as_fitted().X, outputs)
    if outputs is not None or not recorders(whole.estimator):
        return RowsOfFit(None, {})
    seen, outputs = whole.recorded()
    if not outputs:
        return RowsOfFit(None, {})
    now, then = _distance(whole, whole.as_fitted().X), _distance(whole, seen.X)
    if now <= _SAW * then:
        return RowsOfFit(None, {})
    again = whole.recorded()[1]
    drawn = tuple(
        name for name, given in outputs.items() if not given.is_like(again.get(name))
    )
    if drawn or then > _SAW * now:
        return RowsOfFit(None, {}, drawn or tuple(outputs))
    return RowsOfFit(whole.recording(outputs).as_fitted().X, outputs)


def _distance(whole: WholeFit, X: Any) -> float:
    """How far the model is from its minimum on these rows, by the curvature there."""
    objective, theta = whole.model.objective(X, whole.y, whole.weight, whole.offset)
    return expand(objective, theta, solver_for("auto", objective)).distance
