"""Rows of logistic regression, binary and multinomial."""

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

from skinfluence.losses import AbstractLoss, HalfBinomialLoss, HalfMultinomialLoss
from skinfluence.support._table import class_weights, indicator, register


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


def strength(estimator: Any) -> float:
    """Strength of the squared penalty."""
    return _inverse_C(estimator) * (1 - _l1_ratio(estimator))


def l1(estimator: Any) -> float:
    """Strength of the L1 penalty."""
    return _inverse_C(estimator) * _l1_ratio(estimator)


def _intercept_strength(estimator: Any) -> float:
    return strength(estimator) * _as_column(estimator) ** 2


def _intercept_l1(estimator: Any) -> float:
    return l1(estimator) * _as_column(estimator)


def _as_column(estimator: Any) -> float:
    """What the intercept weighs: liblinear penalises it as that of a constant column."""
    liblinear = estimator.solver == "liblinear"
    return 1 / float(estimator.intercept_scaling) if liblinear else 0.0


def _refuse_many(estimator: Any) -> str | None:
    """More than one penalty: the classes of one-versus-rest searched apart."""
    for name in ("C_", "l1_ratio_"):
        values = np.ravel(getattr(estimator, name, 1.0))
        if not np.all(values == values[0]):
            return f"it has a different penalty for each class ({name}={values})"
    return None


def logistic(estimator: Any, **settings: Any) -> LogisticRegression:
    """An unfitted model of the same penalty, by the optimiser of these settings."""
    inverse_C = _inverse_C(estimator)
    return LogisticRegression(
        C=1 / inverse_C if inverse_C else np.inf,
        l1_ratio=_l1_ratio(estimator) if inverse_C else 0.0,
        fit_intercept=estimator.fit_intercept,
        **settings,
    )


_OPTIMISER = ("solver", "dual", "intercept_scaling", "tol", "max_iter", "random_state")


def _held(estimator: Any) -> LogisticRegression:
    return logistic(
        estimator, **{name: getattr(estimator, name) for name in _OPTIMISER}
    )


# "balanced" goes by sums of sample weights.
row_weight, _ = class_weights(by_weight=True, one_against_rest=False)


for _class in (LogisticRegression, LogisticRegressionCV):
    register(
        _class,
        log_loss,
        indicator,
        strength=strength,
        l1=l1,
        intercept_strength=_intercept_strength,
        intercept_l1=_intercept_l1,
        weight=row_weight,
        balanced="weight",
        held=_held,
        refusal=_refuse_many,
    )
