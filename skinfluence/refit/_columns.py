"""The columns that steps make of some rows, beside those that they make of all."""

import copy
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from sklearn.base import BaseEstimator

from skinfluence.support import AbstractModel

# Fitted attributes with one entry per column that a refit of the model reads.
_BY_COLUMN = ("coef_", "lambda_")


@final
@dataclass(frozen=True)
class Columns:
    """The columns that a linear model reads, and their names, where steps give any."""

    width: int
    names: tuple[str, ...] | None

    @classmethod
    def of(cls, model: AbstractModel, width: int) -> "Columns":
        """Those that the fitted steps of a model make."""
        if model.transformer is None:
            return cls(width, None)
        try:
            names = model.transformer.get_feature_names_out()
        except (AttributeError, ValueError):  # some step names nothing
            return cls(width, None)
        return cls(width, tuple(names) if len(names) == width else None)

    def places_in(self, other: "Columns") -> np.ndarray | None:
        """Where each column is among the other ones, -1 where it is not.

        None where the others are not some of these.
        """
        if self.names is None or other.names is None or self.names == other.names:
            return np.arange(self.width) if self.width == other.width else None
        place = {name: i for i, name in enumerate(other.names)}
        unique = len(place) == other.width and len(set(self.names)) == self.width
        if not unique or not place.keys() <= set(self.names):
            return None
        return np.array([place.get(name, -1) for name in self.names])


def with_columns(
    model: AbstractModel, places: np.ndarray | None, width: int
) -> AbstractModel:
    """The model at ``width`` other columns; coefficients of new ones are zero."""
    n_columns = model.parameters[0].shape[1]
    if places is not None and np.array_equal(places, np.arange(width)):
        return model
    places = np.full(n_columns, -1) if places is None else places

    def moved(estimator: BaseEstimator) -> BaseEstimator:
        other = copy.copy(estimator)
        for name in _BY_COLUMN:
            values = np.asarray(getattr(estimator, name, 0.0))
            if values.ndim and values.shape[-1] == n_columns:
                moved_values = np.zeros((*values.shape[:-1], width))
                moved_values[..., places[places >= 0]] = values[..., places >= 0]
                setattr(other, name, moved_values)
        return other

    estimator = moved(model.estimator)
    if hasattr(estimator, "estimators_"):
        estimator.estimators_ = [moved(member) for member in estimator.estimators_]
    return replace(model, estimator=estimator)
