"""A design: rows of X in coordinates that lose no digits, and the way back.

A working row is ``x~ = [x - centre, 1]`` (without the 1, and without centring, where
there is no free intercept). X itself is never copied: blocks are made when asked for.
"""

from dataclasses import dataclass, replace
from typing import Any, final

from skinfluence._array import array_namespace, device_of, is_numpy_namespace


@final
@dataclass(frozen=True, eq=False)
class Design:
    """Rows of X, dense or sparse, with their intercept column and centre.

    ``B`` (q, K) are parameters in working coordinates, ``coef`` (K, p) and
    ``intercept`` (K,) those of the estimator: ``B = [coef', intercept + centre'coef']``.
    """

    X: Any  # (n, p)
    centre: Any  # (p,) zero where the intercept is not free
    has_intercept: bool

    @property
    def n_rows(self) -> int:
        """Number of rows n."""
        return self.X.shape[0]

    @property
    def n_features(self) -> int:
        """Number of features p."""
        return self.X.shape[1]

    @property
    def width(self) -> int:
        """Number of working columns q."""
        return self.n_features + self.has_intercept

    def of(self, X: Any) -> "Design":
        """Other rows in the same coordinates."""
        return replace(self, X=X)

    def block(self, rows: Any, scratch: Any = None) -> Any:
        """Working rows ``x~`` of a slice or index array, dense float64, (b, q).

        ``scratch`` (>= b, q) may be overwritten and returned: memory that is already in
        the cache is twice as fast as new memory.
        """
        xp = array_namespace(self.centre)
        X = _dense_rows(self.X, rows, xp)
        if not self.has_intercept:
            return xp.astype(X, xp.float64, copy=False)
        if is_numpy_namespace(xp):  # one pass, no temporary
            empty = xp.empty((X.shape[0], self.width)) if scratch is None else scratch
            block = empty[: X.shape[0], :]
            xp.subtract(X, self.centre, out=block[:, :-1])
            block[:, -1] = 1.0
            return block
        ones = xp.ones((X.shape[0], 1), dtype=xp.float64, device=device_of(X))
        return xp.concat([xp.astype(X, xp.float64) - self.centre, ones], axis=1)

    def centred_by(self, weight: Any) -> "Design":
        """The same rows, centred by a weighted mean where the intercept is free."""
        return replace(self, centre=weighted_mean(self.X, weight))

    def to_working(self, coef: Any, intercept: Any) -> Any:
        """Parameters of the estimator, (K, p) and (K,), as ``B`` (q, K)."""
        xp = array_namespace(self.centre)
        if not self.has_intercept:
            return coef.T
        return xp.concat([coef.T, (intercept + coef @ self.centre)[None, :]], axis=0)

    def to_estimator(self, B: Any) -> tuple[Any, Any]:
        """``(..., K, q)`` to coefficients ``(..., K, p)`` and intercepts ``(..., K)``."""
        xp = array_namespace(B)
        if not self.has_intercept:
            return B, xp.zeros(B.shape[:-1], dtype=B.dtype, device=device_of(B))
        coef = B[..., :-1]
        return coef, B[..., -1] - coef @ self.centre


def weighted_mean(X: Any, weight: Any) -> Any:
    """Weighted mean of the columns, (p,); plain mean where all weights are zero."""
    xp = array_namespace(weight)
    total = xp.sum(weight)
    share = weight / total if float(total) > 0 else xp.ones_like(weight) / len(weight)
    if is_numpy_namespace(xp):  # a float32 X is promoted by blocks, a sparse one stays
        return xp.asarray(share @ X, dtype=float).ravel()
    return share @ xp.astype(X, xp.float64)


def _dense_rows(X: Any, rows: Any, xp: Any) -> Any:
    if hasattr(X, "tocsr"):
        return X.tocsr()[rows].toarray()
    if isinstance(rows, slice):
        return X[rows, :]
    return xp.take(X, rows, axis=0)
