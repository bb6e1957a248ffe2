"""Rows of generalized linear models."""

from operator import attrgetter
from typing import Any

from sklearn.linear_model import PoissonRegressor

from skinfluence.losses import AbstractLoss, HalfPoissonLoss
from skinfluence.support._table import SupportRow, numbers, register


def _poisson(estimator: Any) -> AbstractLoss:
    return HalfPoissonLoss()


register(
    SupportRow(
        PoissonRegressor,
        _poisson,
        numbers,
        strength=attrgetter("alpha"),
        mean_form=True,
    )
)
