"""Rows of stochastic gradient descent with smooth losses, rarely at their minimum.

Each step shrinks the coefficients by ``alpha``, whatever the row weighs: the penalty
counts rows, ``n alpha / 2 |w|**2`` in sum form, and each row carries one n-th of it.
"""

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import SGDClassifier, SGDRegressor

from skinfluence import losses
from skinfluence.losses import AbstractLoss
from skinfluence.support._table import (
    class_weights,
    indicator,
    numbers,
    register,
    signs,
)

_LOSSES = {
    "log_loss": lambda epsilon: losses.HalfBinomialLoss(),
    "modified_huber": lambda epsilon: losses.ModifiedHuber(),
    "squared_hinge": lambda epsilon: losses.SquaredHinge(),
    "squared_error": lambda epsilon: losses.HalfSquaredError(),
    "huber": losses.HuberLoss,
    "squared_epsilon_insensitive": losses.SquaredEpsilonInsensitive,
}
_SMOOTH = {
    "hinge": "squared_hinge",
    "perceptron": "squared_hinge",
    "epsilon_insensitive": "squared_epsilon_insensitive",
}
_CONVERGED = {"tol": 1e-6, "max_iter": 2000, "early_stopping": False}


def _loss(estimator: Any) -> AbstractLoss:
    return _LOSSES[estimator.loss](float(estimator.epsilon))


def _labels(estimator: Any, y: Any) -> Any:
    """0/1 for the log loss, -1/+1 for the others."""
    coded = indicator if estimator.loss == "log_loss" else signs
    return coded(estimator, y)


def _strength(estimator: Any) -> float:
    return 0.0 if estimator.penalty is None else float(estimator.alpha)


_weight, _output_weight = class_weights(by_weight=False)


def _refusal(estimator: Any) -> str | None:
    if estimator.loss in _SMOOTH:
        return (
            f"its loss, {estimator.loss!r}, is not twice differentiable; use "
            f"loss={_SMOOTH[estimator.loss]!r}"
        )
    if estimator.penalty not in ("l2", None):
        return (
            f"stochastic steps never settle at the corners of penalty="
            f"{estimator.penalty!r}; use penalty='l2', or ElasticNet or "
            "LogisticRegression(solver='saga') for an L1 penalty"
        )
    if estimator.early_stopping:
        return (
            "early_stopping=True holds out rows of its own choice, so it is not known "
            "which rows it was fitted to; use early_stopping=False"
        )
    if str(estimator.learning_rate) in ("pa1", "pa2"):
        return (
            "passive-aggressive steps are not those of an objective; use another "
            "learning_rate"
        )
    return None


def _held_classifier(estimator: Any) -> Any:
    return clone(estimator).set_params(class_weight=None, **_CONVERGED)


def _held_regressor(estimator: Any) -> Any:
    return clone(estimator).set_params(**_CONVERGED)


_SHARED: dict[str, Any] = {
    "strength": _strength,
    "mean_form": True,
    "counts": lambda estimator, weight: np.ones_like(weight),
    "refusal": _refusal,
}
register(
    SGDClassifier,
    _loss,
    _labels,
    weight=_weight,
    output_weight=_output_weight,
    balanced="row",
    held=_held_classifier,
    **_SHARED,
)
register(SGDRegressor, _loss, numbers, held=_held_regressor, **_SHARED)
