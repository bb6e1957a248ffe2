"""Fits of a search that start where the one before them ended."""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Self, final

from sklearn.base import clone
from sklearn.pipeline import Pipeline

# Between candidates that differ in these only, a fit is a good start for the next.
_STRENGTHS = ("C", "alpha")


def last_step(estimator: Any) -> Any:
    """The model itself: what stands at the end of a pipeline, or alone."""
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return estimator


def starts_warm(estimator: Any) -> bool:
    """Whether the model can start from a given place, and is not told to already."""
    model = last_step(estimator)
    parameters = model.get_params(deep=False)
    if hasattr(model, "partial_fit"):  # a random order of rows forgets its start
        return False
    starts = parameters.get("warm_start") is False
    return starts and parameters.get("solver") != "liblinear"  # that one ignores it


@final
@dataclass
class Starts:
    """Fitted attributes by the parameters that are no strength of a penalty."""

    n_left: int  # fits that are candidates; the last fit of all starts afresh
    found: dict[Any, dict[str, Any]] = field(default_factory=dict)
    needless: bool = False  # whether the candidates' scores are known without a fit


@final
class WarmStarted:
    """An estimator that starts each fit from that of a candidate of another strength.

    Its parameters, its methods and what it learns are those of the estimator inside.
    Clones share their starts.
    """

    def __init__(self, estimator: Any, starts: Starts, chosen: Any = ()) -> None:
        self.estimator = estimator
        self.starts = starts
        self.chosen = chosen

    def __sklearn_clone__(self) -> "WarmStarted":
        return WarmStarted(clone(self.estimator), self.starts)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__sklearn_tags__":
            raise AttributeError(name)  # copies and pickles ask before there is any
        return getattr(vars(self)["estimator"], name)

    def set_params(self, **parameters: Any) -> Self:
        """Set parameters of the estimator inside, and remember them."""
        self.estimator.set_params(**parameters)
        others = (
            (name, repr(value))
            for name, value in sorted(parameters.items())
            if name.split("__")[-1] not in _STRENGTHS
        )
        self.chosen = tuple(others)
        return self

    def fit(self, X: Any, y: Any, **params: Any) -> Self:
        """Fit the estimator inside."""
        model, starts = last_step(self.estimator), self.starts
        start = starts.found.get(self.chosen) if starts.n_left > 0 else None
        starts.n_left -= 1
        if starts.needless and starts.n_left >= 0:
            return self
        if start is None or not starts_warm(self.estimator):
            self.estimator.fit(X, y, **params)
        else:
            vars(model).update(deepcopy(start))
            model.set_params(warm_start=True)
            try:
                self.estimator.fit(X, y, **params)
            finally:
                model.set_params(warm_start=False)
        starts.found[self.chosen] = {
            name: value for name, value in vars(model).items() if name.endswith("_")
        }
        return self
