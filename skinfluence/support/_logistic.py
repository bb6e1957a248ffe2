"""Rows of logistic regression, binary and multinomial."""

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.utils.class_weight import compute_class_weight

from skinfluence.losses import AbstractLoss, HalfBinomialLoss, HalfMultinomialLoss
from skinfluence.support._table import SupportRow, indicator, register


def _log_loss(estimator: Any) -> AbstractLoss:
    binary = len(estimator.classes_) == 2
    return HalfBinomialLoss() if binary else HalfMultinomialLoss()


def _inverse_C(estimator: Any) -> float:
    """Strength of the squared penalty, 1 / C; 0 where nothing is penalised."""
    if estimator.penalty is None or estimator.penalty == "none":
        return 0.0
    C = estimator.C_ if hasattr(estimator, "C_") else estimator.C
    return float(1.0 / np.ravel(C)[0])


def _intercept_strength(estimator: Any) -> float:
    """Liblinear penalises the intercept as the weight of a constant column."""
    if estimator.solver != "liblinear":
        return 0.0
    return _inverse_C(estimator) / float(estimator.intercept_scaling) ** 2


def _refuse_l1(estimator: Any) -> str | None:
    ratio = np.ravel(getattr(estimator, "l1_ratio_", getattr(estimator, "l1_ratio", 0)))
    penalty = getattr(estimator, "penalty", "deprecated")
    mixed = penalty in ("l1", "elasticnet") or (
        penalty == "deprecated" and any(r not in (0, None) for r in ratio)
    )
    if mixed:
        return "its L1 penalty is not differentiable where coefficients are zero"
    C = np.ravel(getattr(estimator, "C_", 1.0))
    if not np.all(C == C[0]):
        return f"it has a different C for each class (C_={C})"
    return None


def _balanced_on_weight(estimator: Any, y: Any, weight: Any) -> Any:
    """Class weights of logistic regression: balanced by sums of sample weights."""
    if estimator.class_weight is None:
        return weight
    classes = estimator.classes_
    values = compute_class_weight(
        estimator.class_weight, classes=classes, y=y, sample_weight=weight
    )
    return weight * values[np.searchsorted(classes, y)]


def _held_logistic(estimator: Any) -> Any:
    strength = _inverse_C(estimator)
    return LogisticRegression(
        C=1 / strength if strength else np.inf,
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
        SupportRow(
            _class,
            _log_loss,
            indicator,
            strength=_inverse_C,
            intercept_strength=_intercept_strength,
            weight=_balanced_on_weight,
            held=_held_logistic,
            refusal=_refuse_l1,
        )
    )
