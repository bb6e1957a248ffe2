"""Rows of least squares: plain, ridge, and ridge classification."""

from operator import attrgetter
from typing import Any

from sklearn.linear_model import (
    LinearRegression,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
)
from sklearn.utils.class_weight import compute_sample_weight

from skinfluence.losses import HalfSquaredError
from skinfluence.support._table import numbers, register, signs


def _positive(estimator: Any) -> bool:
    return bool(getattr(estimator, "positive", False))


def _held_ridge(estimator: Any) -> Any:
    return Ridge(alpha=estimator.alpha_, fit_intercept=estimator.fit_intercept)


def _balanced_on_rows(estimator: Any, y: Any, weight: Any) -> Any:
    """Class weights of the ridge classifiers: balanced by counts of rows."""
    if not estimator.class_weight:
        return weight
    return weight * compute_sample_weight(estimator.class_weight, y)


def _held_ridge_classifier(estimator: Any) -> Any:
    alpha = estimator.alpha_ if hasattr(estimator, "alpha_") else estimator.alpha
    return RidgeClassifier(
        alpha=alpha,
        fit_intercept=estimator.fit_intercept,
        positive=_positive(estimator),
    )


register(LinearRegression, HalfSquaredError(), numbers, positive=_positive)
register(
    Ridge, HalfSquaredError(), numbers, strength=attrgetter("alpha"), positive=_positive
)
register(
    RidgeCV,
    HalfSquaredError(),
    numbers,
    strength=attrgetter("alpha_"),
    held=_held_ridge,
)
for _class, _attribute in ((RidgeClassifier, "alpha"), (RidgeClassifierCV, "alpha_")):
    register(
        _class,
        HalfSquaredError(),
        signs,
        strength=attrgetter(_attribute),
        positive=_positive,
        weight=_balanced_on_rows,
        balanced="row",
        held=_held_ridge_classifier,
    )
