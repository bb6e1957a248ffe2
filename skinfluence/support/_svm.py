"""Rows of linear support vector machines with squared losses."""

from typing import Any

from sklearn.base import clone
from sklearn.svm import LinearSVC, LinearSVR

from skinfluence.losses import AbstractLoss, SquaredEpsilonInsensitive, SquaredHinge
from skinfluence.support._table import class_weights, numbers, register, signs


def _insensitive(estimator: Any) -> AbstractLoss:
    return SquaredEpsilonInsensitive(float(estimator.epsilon))


def _inverse_C(estimator: Any) -> float:
    return 1 / float(estimator.C)


def _intercept_strength(estimator: Any) -> float:
    """Liblinear penalises the intercept as the weight of a constant column."""
    return _inverse_C(estimator) / float(estimator.intercept_scaling) ** 2


_weight, _output_weight = class_weights(by_weight=True)


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
    LinearSVC,
    SquaredHinge(),
    signs,
    strength=_inverse_C,
    intercept_strength=_intercept_strength,
    weight=_weight,
    output_weight=_output_weight,
    balanced="weight",
    held=_held,
    refusal=_refuse_classifier,
)
register(
    LinearSVR,
    _insensitive,
    numbers,
    strength=_inverse_C,
    intercept_strength=_intercept_strength,
    refusal=_refuse_regressor,
)
