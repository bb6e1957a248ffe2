"""Rows of logistic regression, binary and multinomial."""

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.utils.class_weight import compute_class_weight

from skinfluence.losses import AbstractLoss, HalfBinomialLoss, HalfMultinomialLoss
from skinfluence.support._table import classes_of, indicator, register


def log_loss(estimator: Any) -> AbstractLoss:
    """Binomial for two classes, multinomial for more."""
    binary = len(estimator.classes_) == 2
    return HalfBinomialLoss() if binary else HalfMultinomialLoss()


def _inverse_C(estimator: Any) -> float:
    """Strength of the penalty, 1 / C; 0 where nothing is penalised."""
    if estimator.penalty is None or estimator.penalty == "none":
        return 0.0
    C = estimator.C_ if hasattr(estimator, "C_") else estimator.C
    return float(1.0 / np.ravel(C)[0])


def _l1_ratio(estimator: Any) -> float:
    """Share of the L1 norm in the penalty, whichever way it was asked for."""
    if estimator.penalty in ("l1", "l2"):
        return float(estimator.penalty == "l1")
    ratio = getattr(estimator, "l1_ratio_", getattr(estimator, "l1_ratio", 0.0))
    return float(np.ravel(ratio)[0] or 0.0)


def _strength(estimator: Any) -> float:
    return _inverse_C(estimator) * (1 - _l1_ratio(estimator))


def _l1(estimator: Any) -> float:
    return _inverse_C(estimator) * _l1_ratio(estimator)


def _intercept_strength(estimator: Any) -> float:
    """Liblinear penalises the intercept as the weight of a constant column."""
    if estimator.solver != "liblinear":
        return 0.0
    return _strength(estimator) / float(estimator.intercept_scaling) ** 2


def _intercept_l1(estimator: Any) -> float:
    if estimator.solver != "liblinear":
        return 0.0
    return _l1(estimator) / float(estimator.intercept_scaling)


def _refuse_many(estimator: Any) -> str | None:
    """More than one penalty: the classes of one-versus-rest searched apart."""
    for name in ("C_", "l1_ratio_"):
        values = np.ravel(getattr(estimator, name, 1.0))
        if not np.all(values == values[0]):
            return f"it has a different penalty for each class ({name}={values})"
    return None


def balanced_on_weight(estimator: Any, y: Any, weight: Any) -> Any:
    """Class weights of logistic regression: balanced by sums of sample weights."""
    if estimator.class_weight is None:
        return weight
    classes = classes_of(estimator)
    values = compute_class_weight(
        estimator.class_weight, classes=classes, y=y, sample_weight=weight
    )
    return weight * values[np.searchsorted(classes, y)]


def _held_logistic(estimator: Any) -> Any:
    strength = _inverse_C(estimator)
    return LogisticRegression(
        C=1 / strength if strength else np.inf,
        l1_ratio=_l1_ratio(estimator) if strength else 0.0,
        fit_intercept=estimator.fit_intercept,
        intercept_scaling=estimator.intercept_scaling,
        solver=estimator.solver,
        dual=estimator.dual,
        tol=estimator.tol,
        max_iter=estimator.max_iter,
        random_state=estimator.random_state,
    )


for _class in (LogisticRegression, LogisticRegressionCV):
    register(
        _class,
        log_loss,
        indicator,
        strength=_strength,
        l1=_l1,
        intercept_strength=_intercept_strength,
        intercept_l1=_intercept_l1,
        weight=balanced_on_weight,
        held=_held_logistic,
        refusal=_refuse_many,
    )
