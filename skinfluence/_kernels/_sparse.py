"""Rows of a sparse X in working coordinates, never densified, and the kernels on them."""

from typing import Any, final

import numpy as np
from scipy.sparse import csr_array, diags_array

from skinfluence._kernels._centred import AbstractCentredRows

# Numbers of a dense temporary: 64 MiB.
_ENTRIES = 2**23
# A column with entries in so many rows is multiplied faster as a dense one.
_FREQUENT = 1 / 16


@final
class SparseRows(AbstractCentredRows):
    """The same of a CSR array in float64, never densified."""

    def dense(self) -> Any:
        if not self.has_intercept:
            return self.X.toarray()
        dense = np.empty(self.shape)
        dense[:, -1] = 1.0
        dense[:, :-1] = self.X.toarray()
        dense[:, :-1] -= self.centre
        return dense


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
