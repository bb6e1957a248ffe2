"""Logistic problems that several contests share."""

from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression


def binary_rows(n: int, p: int, seed: int = 0) -> tuple[Any, Any]:
    """Normal features, and labels of a logistic model with two coefficients."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    return X, (X[:, 0] + X[:, 1] + rng.logistic(size=n) > 0).astype(int)


def at_minimum(X: Any, y: Any, C: float = 1.0) -> LogisticRegression:
    """A model at the minimum of its objective to rounding."""
    return LogisticRegression(C=C, solver="newton-cholesky", tol=1e-14).fit(X, y)


def theta_of(model: Any) -> Any:
    """Coefficients, then the intercept."""
    return np.append(model.coef_[0], model.intercept_)


def with_ones(X: Any) -> Any:
    """The design: the intercept is the last column."""
    return np.column_stack([X, np.ones(len(X))])


def ridge_of(model: Any) -> Any:
    """Second derivative of the penalty: 1 / C, and 0 for the intercept."""
    return np.append(np.full(model.coef_.shape[1], 1 / model.C), 0.0)


def minimum(Z: Any, y: Any, ridge: Any, weight: Any, start: Any, tol: float) -> Any:
    """Newton's method in plain NumPy."""
    theta = start.copy()
    for _ in range(100):
        mu = expit(Z @ theta)
        gradient = Z.T @ (weight * (mu - y)) + ridge * theta
        scaled = Z * np.sqrt(weight * mu * (1 - mu))[:, None]
        H = scaled.T @ scaled + np.diag(ridge)
        step = np.linalg.solve(H, gradient)
        theta = theta - step
        if np.abs(step).max() <= tol * np.abs(theta).max():
            return theta
    raise RuntimeError("Newton's method has not converged")


def without(Z: Any, y: Any, ridge: Any, row: int, theta: Any, tol: float) -> Any:
    """Change of the parameters by a refit without one row, started at all rows'."""
    weight = np.ones(len(Z))
    weight[row] = 0.0
    return minimum(Z, y, ridge, weight, theta, tol) - theta
