"""Rows of a sparse X in working coordinates, never densified, and the kernels on them."""

from types import ModuleType
from typing import Any, final

import array_api_compat.numpy as compat_numpy
import numpy as np
from scipy.sparse import csr_array, diags_array

# Numbers of a dense temporary: 64 MiB.
_ENTRIES = 2**23
# A column with entries in so many rows is multiplied faster as a dense one.
_FREQUENT = 1 / 16


@final
class SparseRows:
    """``X~ = [X - 1 centre', 1]`` as an operator; X (b, p) stays as sparse as it is.

    It multiplies dense arrays from both sides, ``rows @ V`` and ``U @ rows``, and gives
    some of its rows. Whoever needs entries asks ``densified`` for few rows.
    """

    __array_ufunc__ = None  # ndarray @ rows: NumPy is to leave that to __rmatmul__
    ndim = 2

    def __init__(self, X: Any, centre: Any, has_intercept: bool) -> None:
        self.X = X  # CSR, float64
        self.centre = centre  # (p,)
        self.has_intercept = has_intercept

    @property
    def shape(self) -> tuple[int, int]:
        """Rows b and working columns q."""
        return self.X.shape[0], self.X.shape[1] + self.has_intercept

    def __array_namespace__(self, api_version: Any = None) -> ModuleType:
        return compat_numpy

    def __len__(self) -> int:
        return self.X.shape[0]

    def __getitem__(self, key: Any) -> "SparseRows":
        rows = key[0] if isinstance(key, tuple) else key
        return SparseRows(self.X[rows], self.centre, self.has_intercept)

    def __matmul__(self, vectors: Any) -> Any:
        if not self.has_intercept:
            return self.X @ vectors
        features = vectors[:-1]
        return self.X @ features + (vectors[-1] - self.centre @ features)

    def __rmatmul__(self, rows: Any) -> Any:
        product = self.X.T @ np.ascontiguousarray(rows.T)  # (p,) or (p, m)
        if not self.has_intercept:
            return product.T
        total = rows.sum(axis=-1)
        whole = np.empty((self.shape[1], *product.shape[1:]))
        np.multiply.outer(-self.centre, total, out=whole[:-1])
        whole[:-1] += product
        whole[-1] = total
        return whole.T

    def dense(self) -> Any:
        """The rows as an array (b, q)."""
        if not self.has_intercept:
            return self.X.toarray()
        dense = np.empty(self.shape)
        dense[:, -1] = 1.0
        dense[:, :-1] = self.X.toarray()
        dense[:, :-1] -= self.centre
        return dense


def densified(block: Any) -> Any:
    """Working rows as an array (b, q): for few rows, or where q is small."""
    return block.dense() if isinstance(block, SparseRows) else block


def as_csr(X: Any) -> Any:
    """A float64 CSR array of any sparse X, sharing its memory where it can."""
    return csr_array(X).astype(np.float64, copy=False)


def add_gram(total: Any, block: SparseRows, weight: Any) -> Any:
    """``total + block' diag(weight) block``, by a sparse product, in place."""
    X, centre = block.X, block.centre
    p = X.shape[1]
    gram = X.T @ (diags_array(weight) @ X)  # (p, p)
    total[:p, :p] += gram.toarray()
    if block.has_intercept:
        pull = X.T @ weight
        mass = weight.sum()
        total[:p, :p] -= centre[:, None] * (pull - mass * centre)
        total[:p, :p] -= pull[:, None] * centre
        total[:p, p] += pull - mass * centre
        total[p, :p] += pull - mass * centre
        total[p, p] += mass
    return total


def squared_columns(block: SparseRows, weight: Any) -> Any:
    """``sum_i weight_ik x~_ij**2``, (K, q), for weights (b, K)."""
    X, centre = block.X, block.centre
    squares = (X.multiply(X).T @ weight).T
    if not block.has_intercept:
        return squares
    mass = weight.sum(axis=0)[:, None]
    shift = centre * (mass * centre - 2 * (X.T @ weight).T)
    return np.concatenate([squares + shift, mass], axis=1)


def squared_row_norms(block: SparseRows, T: Any, *, triangular: bool) -> Any:
    """Squared norms of the rows of ``block @ T``, (b,)."""
    size = max(_ENTRIES // T.shape[1], 16)
    norms = np.empty(len(block))
    for first in range(0, len(block), size):
        product = block[first : first + size] @ T
        norms[first : first + size] = np.einsum("ij,ij->i", product, product)
    return norms


def row_gram(X: Any, centre: Any, weight: Any, constant: float) -> Any:
    """``(X - 1 c') diag(weight) (X - 1 c')' + constant 1 1'``, dense (n, n)."""
    n = X.shape[0]
    total = np.empty((n, n))
    frequent = np.bincount(X.indices, minlength=X.shape[1]) > _FREQUENT * n
    common, rare = X[:, frequent].toarray(), X[:, ~frequent]
    scaled = common * weight[frequent]
    scaled_rare = rare @ diags_array(weight[~frequent])
    transposed = rare.T.tocsr()
    pull = X @ (weight * centre)  # (n,)
    middle = centre @ (weight * centre) + constant
    size = max(_ENTRIES // (4 * n), 16)
    for first in range(0, n, size):
        rows = slice(first, first + size)
        part = total[rows]
        (scaled_rare[rows] @ transposed).toarray(out=part)
        part += scaled[rows] @ common.T
        part += middle - pull[rows, None]
        part -= pull
    return total
