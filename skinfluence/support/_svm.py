"""Rows of linear support vector machines with squared losses."""

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.svm import LinearSVC, LinearSVR
from sklearn.utils.class_weight import compute_class_weight

from skinfluence.losses import AbstractLoss, SquaredEpsilonInsensitive, SquaredHinge
from skinfluence.support._table import (
    SupportRow,
    numbers,
    register,
    signs,
    weighs_outputs,
)


def _hinge(estimator: Any) -> AbstractLoss:
    return SquaredHinge()


def _insensitive(estimator: Any) -> AbstractLoss:
    return SquaredEpsilonInsensitive(float(estimator.epsilon))


def _inverse_C(estimator: Any) -> float:
    return 1 / float(estimator.C)


def _intercept_strength(estimator: Any) -> float:
    """Liblinear penalises the intercept as the weight of a constant column."""
    return _inverse_C(estimator) / float(estimator.intercept_scaling) ** 2


def _class_weights(estimator: Any, y: Any, sample_weight: Any) -> Any:
    """Weight of each class, (n_classes,), balanced by sums of sample weights."""
    return compute_class_weight(
        estimator.class_weight,
        classes=estimator.classes_,
        y=y,
        sample_weight=sample_weight,
    )


def _weight(estimator: Any, y: Any, sample_weight: Any) -> Any:
    if estimator.class_weight is None or weighs_outputs(estimator):
        return sample_weight
    values = _class_weights(estimator, y, sample_weight)
    return sample_weight * values[np.searchsorted(estimator.classes_, y)]


def _output_weight(estimator: Any) -> Any:
    """With more than two classes, liblinear weighs a class where it is the one only."""
    if not weighs_outputs(estimator):
        return None

    def weights(y: Any, sample_weight: Any) -> Any:
        own = np.asarray(y)[:, None] == estimator.classes_
        return np.where(own, _class_weights(estimator, y, sample_weight), 1.0)

    return weights


def _refuse_classifier(estimator: Any) -> str | None:
    if estimator.multi_class != "ovr":
        return (
            "the loss of multi_class='crammer_singer' is not twice differentiable; use "
            "multi_class='ovr'"
        )
    if estimator.loss != "squared_hinge":
        return (
            "its loss, 'hinge', is not twice differentiable; use loss='squared_hinge', "
            "or LogisticRegression"
        )
    if estimator.penalty != "l2":
        return (
            "its L1 penalty falls on the intercept too; use penalty='l2', or "
            "LogisticRegression(l1_ratio=1, solver='saga')"
        )
    return None


def _refuse_regressor(estimator: Any) -> str | None:
    if estimator.loss != "squared_epsilon_insensitive":
        return (
            f"its loss, {estimator.loss!r}, is not twice differentiable; use "
            "loss='squared_epsilon_insensitive', or HuberRegressor"
        )
    return None


def _held(estimator: Any) -> Any:
    return clone(estimator).set_params(class_weight=None)


register(
    SupportRow(
        LinearSVC,
        _hinge,
        signs,
        strength=_inverse_C,
        intercept_strength=_intercept_strength,
        weight=_weight,
        output_weight=_output_weight,
        held=_held,
        refusal=_refuse_classifier,
    )
)
register(
    SupportRow(
        LinearSVR,
        _insensitive,
        numbers,
        strength=_inverse_C,
        intercept_strength=_intercept_strength,
        refusal=_refuse_regressor,
    )
)
