"""Rows of cuML's linear models, named and not imported: RAPIDS need not be installed.

Their objectives are read from its documentation and its solvers, which have changed
before: ``stationarity_`` tells whether a fit agrees, and the polish goes to the minimum.
Predictions and refits are those of scikit-learn's model of the same objective.
"""

from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from skinfluence._array import to_numpy
from skinfluence.losses import HalfSquaredError
from skinfluence.support._logistic import balanced_on_weight, log_loss
from skinfluence.support._table import indicator, numbers, register


def _alpha(estimator: Any) -> Any:
    alpha = to_numpy(estimator.alpha)
    return float(alpha) if alpha.size == 1 else alpha.reshape(-1)


def _linear(estimator: Any) -> Any:
    return LinearRegression(fit_intercept=estimator.fit_intercept)


def _ridge(estimator: Any) -> Any:
    return Ridge(alpha=_alpha(estimator), fit_intercept=estimator.fit_intercept)


def _inverse_C(estimator: Any) -> float:
    return 0.0 if estimator.penalty in (None, "none") else 1.0 / float(estimator.C)


def _l1_ratio(estimator: Any) -> float:
    if estimator.penalty == "elasticnet":
        return float(estimator.l1_ratio)
    return float(estimator.penalty == "l1")


def _strength(estimator: Any) -> float:
    return _inverse_C(estimator) * (1 - _l1_ratio(estimator))


def _l1(estimator: Any) -> float:
    return _inverse_C(estimator) * _l1_ratio(estimator)


def _logistic(estimator: Any) -> Any:
    strength, l1_ratio = _inverse_C(estimator), _l1_ratio(estimator)
    penalised = bool(strength)
    return LogisticRegression(
        C=1 / strength if penalised else np.inf,
        l1_ratio=l1_ratio if penalised else 0.0,
        solver="saga" if penalised and l1_ratio else "lbfgs",
        fit_intercept=estimator.fit_intercept,
        tol=1e-6,
        max_iter=10_000,
    )


register(
    "cuml.LinearRegression", HalfSquaredError(), numbers, held=_linear, reader=_linear
)
register(
    "cuml.Ridge",
    HalfSquaredError(),
    numbers,
    strength=_alpha,
    held=_ridge,
    reader=_ridge,
)
register(
    "cuml.LogisticRegression",
    log_loss,
    indicator,
    strength=_strength,
    l1=_l1,
    weight=balanced_on_weight,
    held=_logistic,
    reader=_logistic,
)
