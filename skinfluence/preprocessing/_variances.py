"""VarianceThreshold: which columns still vary without rows."""

from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.feature_selection import VarianceThreshold

from skinfluence._array import to_numpy
from skinfluence.preprocessing._base import (
    AbstractState,
    Deciding,
    NotFollowed,
    Rule,
    StepColumns,
)
from skinfluence.preprocessing._fitted import refuse_other_rows
from skinfluence.preprocessing._guards import GuardedState
from skinfluence.preprocessing._registry import register_transformer

_REASON = "it may choose other columns when a row leaves"
# A variance that is so near the threshold, in parts of both, may lie on either side of it.
_NEAR = 1e-9
_ENTRIES = 2**22  # of X that are read at a time


def _choosing(
    selector: VarianceThreshold, step: StepColumns, weight: Any
) -> AbstractState:
    """A column is chosen where its variance exceeds the threshold."""
    if step.given is None:
        raise NotFollowed(_REASON)
    X, threshold = step.given.rows, selector.threshold
    X = X.tocsr() if issparse(X) else np.asarray(X, dtype=float)
    (n, p), chosen = X.shape, selector.get_support()
    size = max(_ENTRIES // max(n, 1), 1)
    pieces = [slice(first, min(first + size, p)) for first in range(0, p, size)]
    mean, scatter, count, span = np.zeros((4, p))
    for piece in pieces:
        x = _dense(X[:, piece])
        count[piece] = np.sum(~np.isnan(x), axis=0)
        mean[piece] = np.nansum(x, axis=0) / np.maximum(count[piece], 1)
        scatter[piece] = np.nansum((x - mean[piece]) ** 2, axis=0)
        span[piece] = np.fmax.reduce(x, axis=0) - np.fmin.reduce(x, axis=0)
    variance = scatter / np.maximum(count, 1)
    varies = span > 0  # what is constant stays so
    fitted = selector.variances_[varies]
    seen = np.minimum(variance, span) if threshold == 0 else variance
    refuse_other_rows(seen[varies], fitted)

    def others(n_left: np.ndarray, left: np.ndarray, piece: slice) -> np.ndarray:
        """Columns that a scatter left (b, q) of so many entries chooses otherwise."""
        left = left / np.maximum(n_left, 1)
        near = np.abs(left - threshold) <= _NEAR * (variance[piece] + threshold)
        other = near | ((left > threshold) != chosen[piece])
        return other & varies[piece]

    deciding = np.zeros(n, dtype=bool)
    for piece in pieces:
        d = _dense(X[:, piece]) - mean[piece]
        has, m = ~np.isnan(d), count[piece]
        leaving = np.where(has, d**2 * m / np.maximum(m - 1, 1), 0.0)
        left = np.maximum(scatter[piece] - leaving, 0.0)
        deciding |= np.any(others(m - has, left, piece), axis=1)

    def changed(Z: Any, rows: Any) -> np.ndarray:
        d = _dense(X[to_numpy(rows)]) - mean
        n_left = count - np.sum(~np.isnan(d), axis=0)
        left = scatter - np.nansum(d**2, axis=0)
        left = left - np.nansum(d, axis=0) ** 2 / np.maximum(n_left, 1)
        other = others(n_left, np.maximum(left, 0.0), slice(None))
        return np.full(len(step.own), bool(np.any(other)))

    return GuardedState(changed, Deciding(deciding, _REASON))


def _dense(X: Any) -> np.ndarray:
    return X.toarray() if issparse(X) else X


def _rule(selector: VarianceThreshold) -> Rule:
    # The scale of a column matters to any other threshold.
    is_free = selector.threshold == 0
    return Rule(_choosing, absorbs_shifts=True, absorbs_scales=is_free, decides=True)


register_transformer(VarianceThreshold, _rule)
