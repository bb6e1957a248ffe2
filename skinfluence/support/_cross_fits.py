"""Steps that give the model other rows in a fit than later, and which these were.

A step that cross-fits, as ``TargetEncoder`` does, has a ``fit_transform`` which is not
``transform`` after ``fit``. Whether one does is seen by what it gives.
"""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import TransformerMixin, clone
from sklearn.utils import get_tags

from skinfluence.exceptions import InvalidDataError
from skinfluence.support._by_row import take_rows

# Two fits of a step to the same rows differ by less, relative to its largest output,
# unless it draws at random: sums over threads need not have one order.
_SAME = 1e-9


class TrainingOutput(NamedTuple):
    """What a step gives for the rows that it is fitted to."""

    fitted: Any  # (n, q) in the fit: what the next step saw
    later: Any  # (n, q) by ``transform``

    def is_like(self, other: "TrainingOutput | None") -> bool:
        """Whether another fit has given the same."""
        return other is not None and alike(self.fitted, other.fitted)


def may_cross_fit(step: Any) -> bool:
    """Whether a step has a ``fit_transform`` of its own that may depend on targets.

    Vectorizers of texts have one to read them once.
    """
    own = getattr(type(step), "fit_transform", TransformerMixin.fit_transform)
    if own is TransformerMixin.fit_transform or isinstance(step, _StandIn):
        return False
    return "y" in signature(own).parameters and get_tags(step).input_tags.two_d_array


class _StandIn:
    """Takes the place of a step in an estimator, and is that step for all but fits."""

    def __init__(self, step: Any) -> None:
        self.step = step

    def __getattr__(self, name: str) -> Any:
        if name == "step" or name.startswith("__"):  # not there before unpickling
            raise AttributeError(name)
        return getattr(self.step, name)

    def __sklearn_tags__(self) -> Any:
        return get_tags(self.step)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Those of the step."""
        return self.step.get_params(deep=deep)


class Recorder(_StandIn):
    """A step that keeps what it gives in a fit, if that is not what it gives later."""

    output: TrainingOutput | None = None

    def __sklearn_clone__(self) -> Self:
        return type(self)(clone(self.step))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """The step itself: a deep copy of an estimator has no recorders."""
        return copy.deepcopy(self.step, memo)

    def __sklearn_is_fitted__(self) -> bool:
        return self.output is not None or hasattr(self.step, "n_features_in_")

    def set_params(self, **params: Any) -> Self:
        """Those of the step."""
        self.step.set_params(**params)
        return self

    def fit_transform(self, X: Any, y: Any = None, **params: Any) -> Any:
        """What the step gives."""
        fitted = self.step.fit_transform(X, y, **params)
        later = self.step.transform(X)
        self.output = None if alike(fitted, later) else TrainingOutput(fitted, later)
        return fitted


class AsSeen(_StandIn):
    """A fitted step that is held: a fit to some training rows gives what it gave then."""

    def __init__(
        self, step: Any, output: TrainingOutput, rows: np.ndarray | None = None
    ) -> None:
        super().__init__(step)
        self.output, self.rows = output, rows  # all training rows by default
        self.in_fit = False  # whether ``transform`` reads training rows

    def at(self, rows: np.ndarray) -> Self:
        """The same for fits to some of the training rows."""
        return type(self)(self.step, self.output, rows)

    def __sklearn_clone__(self) -> Self:
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Nothing is fitted."""
        return self

    def fit_transform(self, X: Any, y: Any = None, **params: Any) -> Any:
        """What the step gave for these training rows in its fit."""
        fitted, later = self.output
        if self.rows is not None:
            fitted, later = take_rows(fitted, self.rows), take_rows(later, self.rows)
        if not alike(self.step.transform(X), later):
            raise InvalidDataError(
                f"These are not the rows that the {type(self.step).__name__} was fitted "
                "to. Give the training rows, in their order."
            )
        return fitted

    def transform(self, X: Any) -> Any:
        """What the step gives for rows X; for training rows, what it gave in the fit."""
        return self.fit_transform(X) if self.in_fit else self.step.transform(X)


@contextmanager
def in_fit(held: Iterable[AsSeen], rows: np.ndarray) -> Iterator[None]:
    """Held steps read these training rows as in their fit."""
    parts = list(held)
    before = [part.rows for part in parts]
    for part in parts:
        part.rows, part.in_fit = rows, True
    try:
        yield
    finally:
        for part, own in zip(parts, before, strict=True):
            part.rows, part.in_fit = own, False


def alike(one: Any, other: Any) -> bool:
    """Whether two tables hold the same up to the rounding of sums."""
    one, other = _table(one), _table(other)
    if one.shape != other.shape:
        return False
    if issparse(one):
        largest = abs(one).max() if np.prod(one.shape) else 0.0
        return bool(abs(one - other).max() <= _SAME * largest)
    if one.dtype.kind != "f" or other.dtype.kind != "f":
        return np.array_equal(one, other)
    largest = np.nanmax(np.abs(one), initial=0.0)
    return np.allclose(one, other, rtol=0.0, atol=_SAME * largest, equal_nan=True)


def _table(values: Any) -> Any:
    if issparse(values):
        return values
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError):  # categories
        return np.asarray(values)
