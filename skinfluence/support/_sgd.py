"""Rows of stochastic gradient descent with smooth losses, rarely at their minimum.

Each step shrinks the coefficients by ``alpha``, whatever the row weighs: the penalty
counts rows, ``n alpha / 2 |w|**2`` in sum form, and each row carries one n-th of it.
"""

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.utils.class_weight import compute_class_weight

from skinfluence.losses import (
    AbstractLoss,
    HalfBinomialLoss,
    HalfSquaredError,
    HuberLoss,
    ModifiedHuber,
    SquaredEpsilonInsensitive,
    SquaredHinge,
)
from skinfluence.support._table import (
    SupportRow,
    indicator,
    numbers,
    register,
    signs,
    weighs_outputs,
)

_LOSSES = {
    "log_loss": lambda estimator: HalfBinomialLoss(),
    "modified_huber": lambda estimator: ModifiedHuber(),
    "squared_hinge": lambda estimator: SquaredHinge(),
    "squared_error": lambda estimator: HalfSquaredError(),
    "huber": lambda estimator: HuberLoss(float(estimator.epsilon)),
    "squared_epsilon_insensitive": lambda estimator: SquaredEpsilonInsensitive(
        float(estimator.epsilon)
    ),
}
_SMOOTH = {
    "hinge": "squared_hinge",
    "perceptron": "squared_hinge",
    "epsilon_insensitive": "squared_epsilon_insensitive",
}
_CONVERGED = {"tol": 1e-6, "max_iter": 2000, "early_stopping": False}


def _loss(estimator: Any) -> AbstractLoss:
    return _LOSSES[estimator.loss](estimator)


def _labels(estimator: Any, y: Any) -> Any:
    """0/1 for the log loss, -1/+1 for the others."""
    coded = indicator if estimator.loss == "log_loss" else signs
    return coded(estimator, y)


def _strength(estimator: Any) -> float:
    return 0.0 if estimator.penalty is None else float(estimator.alpha)


def _counts(estimator: Any, weight: Any) -> Any:
    return np.ones_like(weight)


def _class_weights(estimator: Any, y: Any) -> Any:
    """Weight of each class, (n_classes,), balanced by counts of rows."""
    return compute_class_weight(estimator.class_weight, classes=estimator.classes_, y=y)


def _weight(estimator: Any, y: Any, sample_weight: Any) -> Any:
    if estimator.class_weight is None or weighs_outputs(estimator):
        return sample_weight
    values = _class_weights(estimator, y)
    return sample_weight * values[np.searchsorted(estimator.classes_, y)]


def _output_weight(estimator: Any) -> Any:
    """With more than two classes, a class is weighed where it is the one only."""
    if not weighs_outputs(estimator):
        return None

    def weights(y: Any, sample_weight: Any) -> Any:
        own = np.asarray(y)[:, None] == estimator.classes_
        return np.where(own, _class_weights(estimator, y), 1.0)

    return weights


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


register(
    SupportRow(
        SGDClassifier,
        _loss,
        _labels,
        strength=_strength,
        mean_form=True,
        counts=_counts,
        weight=_weight,
        output_weight=_output_weight,
        held=_held_classifier,
        refusal=_refusal,
    )
)
register(
    SupportRow(
        SGDRegressor,
        _loss,
        numbers,
        strength=_strength,
        mean_form=True,
        counts=_counts,
        held=_held_regressor,
        refusal=_refusal,
    )
)
