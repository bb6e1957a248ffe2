"""The rows that the benchmarks share."""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression


def rows(n: int, p: int, classes: int = 2) -> tuple[Any, Any]:
    """Normal features, and classes of a noisy linear score."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    score = X @ rng.normal(size=(p, classes)) / np.sqrt(p)
    return X, np.argmax(score + rng.gumbel(size=(n, classes)), axis=1)


def sparse_rows(n: int, p: int) -> tuple[Any, Any]:
    """Twenty entries a row, and two classes."""
    rng = np.random.default_rng(0)
    X = sparse.random(n, p, density=min(20 / p, 0.5), random_state=0, format="csr")
    return X, (X @ rng.normal(size=p) + rng.logistic(size=n) > 0).astype(int)


def fitted(X: Any, y: Any) -> LogisticRegression:
    """A model close to its minimum."""
    return LogisticRegression(tol=1e-6, max_iter=1000).fit(X, y)
