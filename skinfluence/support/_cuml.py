"""Rows of cuML's linear models, named and not imported: RAPIDS need not be installed.

Their objectives are read from its documentation and its solvers, which have changed
before: ``stationarity_`` tells whether a fit agrees, and the polish goes to the minimum.
Predictions and refits are those of scikit-learn's model of the same objective.
"""

from typing import Any

from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from skinfluence._array import to_numpy
from skinfluence.losses import HalfSquaredError
from skinfluence.support._logistic import l1, log_loss, logistic, row_weight, strength
from skinfluence.support._table import indicator, numbers, register


def _alpha(estimator: Any) -> Any:
    alpha = to_numpy(estimator.alpha)
    return float(alpha) if alpha.size == 1 else alpha.reshape(-1)


def _linear(estimator: Any) -> Any:
    return LinearRegression(fit_intercept=estimator.fit_intercept)


def _ridge(estimator: Any) -> Any:
    return Ridge(alpha=_alpha(estimator), fit_intercept=estimator.fit_intercept)


def _logistic(estimator: Any) -> LogisticRegression:
    solver = "saga" if l1(estimator) else "lbfgs"
    return logistic(estimator, solver=solver, tol=1e-6, max_iter=10_000)


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
    strength=strength,
    l1=l1,
    weight=row_weight,
    balanced="weight",
    held=_logistic,
    reader=_logistic,
)
