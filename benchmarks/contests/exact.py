"""Exact leave-one-out deltas of a logistic regression, beside refits.

Ours answers for all rows; those who refit answer for 100 and are extrapolated.
"""

from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from contests._contest import Contest, Contestant
from contests._logistic import (
    at_minimum,
    binary_rows,
    ridge_of,
    theta_of,
    with_ones,
)
from contests.deletion import parameters
from skinfluence import InfluenceExplainer

SAMPLE = 100


def problem(n: int, p: int) -> dict[str, Any]:
    """A logistic regression as scikit-learn penalises it."""
    X, y = binary_rows(n, p)
    return dict(X=X, y=y, model=at_minimum(X, y))


def some_of(n: int) -> Any:
    """Evenly spaced rows, 100 of them."""
    return np.arange(0, n, max(n // SAMPLE, 1))[:SAMPLE]


def newton(given: dict[str, Any], tol: float) -> Any:
    """Newton's method in NumPy without each of some rows, from the minimum of all.

    As one would write it for speed: no copy of the rows, one array for the scaled ones,
    and a symmetric product (NumPy sees that ``S.T @ S`` is one). A row is done after a
    step so short that the next, by quadratic convergence, were below ``tol`` of its delta.
    """
    Z, model = with_ones(given["X"]), given["model"]
    theta, ridge, rows = theta_of(model), np.diag(ridge_of(model)), some_of(len(Z))
    scaled = np.empty_like(Z)
    return np.array([refit(Z, given["y"], ridge, i, theta, tol, scaled) for i in rows])


def refit(
    Z: Any, y: Any, ridge: Any, row: int, start: Any, tol: float, scaled: Any
) -> Any:
    """Change of the parameters by Newton steps without one row; ``scaled`` is scratch."""
    delta = np.zeros_like(start)
    for _ in range(50):
        theta = start + delta
        mu = expit(Z @ theta)
        slope, root = mu - y, np.sqrt(mu * (1 - mu))
        slope[row] = root[row] = 0.0
        np.multiply(Z, root[:, None], out=scaled)
        H = scaled.T @ scaled
        H += ridge
        gradient = slope @ Z + ridge @ theta
        step = np.linalg.solve(H, gradient)
        delta -= step
        if np.abs(step).max() <= tol**0.5 * np.abs(delta).max():
            return delta
    raise RuntimeError("Newton's method has not converged")


def definition(given: dict[str, Any]) -> Any:
    """Until steps are below 1e-11 of each delta: the last one ends in rounding."""
    return newton(given, 1e-22)


def of_explainer(deletion: str) -> Any:
    """All rows to 1e-8 of their deltas, the fit included."""

    def prepare(given: dict[str, Any]) -> Any:
        def run() -> Any:
            explainer = InfluenceExplainer(given["model"], deletion=deletion, tol=1e-8)
            return explainer.fit(given["X"], given["y"]).loo_params()

        return run

    return prepare


def by_newton(given: dict[str, Any]) -> Any:
    """Refits in NumPy from a warm start."""
    return lambda: newton(given, 1e-8)


def by_refits(**options: Any) -> Any:
    """scikit-learn's own refits; their base is its own fit of all rows."""

    def prepare(given: dict[str, Any]) -> Any:
        X, y = given["X"], given["y"]
        model = LogisticRegression(**options).fit(X, y)

        def run() -> Any:
            base, kept, found = theta_of(model), np.ones(len(X), dtype=bool), []
            for i in some_of(len(X)):
                kept[i] = False
                found.append(theta_of(clone(model).fit(X[kept], y[kept])) - base)
                kept[i] = True
            return np.array(found)

        return run

    return prepare


def sampled(found: Any) -> Any:
    """The rows that were refitted."""
    deltas = parameters(found)
    return deltas[some_of(len(deltas))]


def share(sizes: Any) -> float:
    """All rows for each that was refitted."""
    return len(range(sizes["n"])) / len(some_of(sizes["n"]))


NOTE = f"Extrapolated from {SAMPLE} refits."
CONTESTANTS = [
    Contestant('skinfluence, deletion="exact"', of_explainer("exact"), sampled),
    Contestant(
        'skinfluence, deletion="newton"',
        of_explainer("newton"),
        sampled,
        note="One step, not exact.",
    ),
    Contestant("NumPy, Newton's method", by_newton, note=NOTE, extrapolate=share),
    Contestant(
        "scikit-learn, newton-cholesky, tol=1e-10",
        by_refits(solver="newton-cholesky", tol=1e-10),
        note=NOTE,
        extrapolate=share,
    ),
    Contestant(
        "scikit-learn, newton-cholesky, default tol=1e-4",
        by_refits(solver="newton-cholesky"),
        note=NOTE,
        extrapolate=share,
    ),
    Contestant(
        "scikit-learn, default",
        by_refits(),
        note=f"{NOTE} Its optimisation error exceeds the effect of a row.",
        extrapolate=share,
    ),
]
CONTESTS = [
    Contest(
        f"n{n}",
        "Exact leave-one-out deltas of the coefficients, all n rows, logistic regression",
        problem,
        definition,
        dict(n=n, p=p),
        dict(n=200, p=3),
        CONTESTANTS,
        judged=f"error, {SAMPLE} rows",
    )
    for n, p in ((2_000, 20), (20_000, 50))
]
