"""Kernels for NumPy arrays: symmetric and triangular BLAS and LAPACK from SciPy."""

from typing import final

import numpy as np
from scipy.linalg import lapack, qr
from scipy.sparse.linalg import LinearOperator, onenormest

from skinfluence._kernels import _blas
from skinfluence._kernels._blas import (
    add_own_product,
    in_cache,
    multiply_triangular,
    scratch,
    scratch_copy,
)
from skinfluence._kernels._generic import AbstractKernels


@final
class NumpyKernels(AbstractKernels[np.ndarray]):
    """Symmetric and triangular BLAS and LAPACK on blocks that fit the cache."""

    def empty_gram(self, width: int, like: np.ndarray) -> np.ndarray:
        """A zero (width, width) total in the order that BLAS adds into."""
        return np.zeros((width, width), order="F")

    def add_gram(
        self, total: np.ndarray, block: np.ndarray, weight: np.ndarray
    ) -> np.ndarray:
        """``total + block' diag(weight) block`` into the upper triangle, in place."""
        sign = sign_of(weight)
        if not sign:
            total += block.T @ (weight[:, None] * block)
            return total
        root = np.sqrt(np.abs(weight))
        for rows in in_cache(block):
            scaled = scratch(block[rows].shape)
            np.multiply(block[rows], root[rows, None], out=scaled)
            add_own_product(total, scaled, sign)
        return total

    def finished_gram(self, total: np.ndarray) -> np.ndarray:
        """The total as a full symmetric matrix; it is overwritten."""
        whole = total.T if total.flags.f_contiguous else total.T.copy()
        mirror(whole)
        return whole

    def with_diagonal(self, matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
        """``matrix + diag(values)``, in place."""
        matrix.flat[:: len(matrix) + 1] += values
        return matrix

    def inverse_cholesky(self, matrix: np.ndarray) -> tuple[np.ndarray, float] | None:
        """The same, T upper triangular."""
        if len(matrix) > _blas.MOST_WHOLE:
            return _inverse_cholesky_by_blocks(matrix)
        L, info = lapack.dpotrf(matrix, lower=True)
        if info != 0:
            return None
        rcond, _ = lapack.dpocon(L, np.linalg.norm(matrix, 1), uplo="L")
        inverse, info = lapack.dtrtri(L, lower=True)
        if info != 0 or not rcond > 0:
            return None
        return np.tril(inverse).T, float(rcond)

    def framed_identity(
        self, gram: np.ndarray, root: np.ndarray, *, overwrite: bool
    ) -> np.ndarray:
        """``I + diag(root) gram diag(root)``; ``overwrite`` gives the Gram matrix away."""
        framed = np.multiply(gram, root[:, None], out=gram if overwrite else None)
        framed *= root
        framed.flat[:: len(root) + 1] += 1.0
        return framed

    def inverse_root_in_place(self, matrix: np.ndarray) -> np.ndarray | None:
        """T, upper triangular, ``T T' = inv(matrix)``, in the matrix's own memory.

        None unless it is positive definite.
        """
        if len(matrix) > _blas.MOST_WHOLE:
            return _inverse_root_by_blocks(matrix)
        # A symmetric matrix in C order is the same in Fortran's, without a copy.
        own = matrix if matrix.flags.f_contiguous else matrix.T
        L, info = lapack.dpotrf(own, lower=True, clean=True, overwrite_a=True)
        if info != 0:
            return None
        inverse, info = lapack.dtrtri(L, lower=True, overwrite_c=True)
        return inverse.T if info == 0 else None

    def squared_row_norms(
        self, block: np.ndarray, T: np.ndarray, *, triangular: bool
    ) -> np.ndarray:
        """Squared norms of the rows of ``block @ T``, (b,); T may be upper triangular."""
        norms = np.empty(len(block))
        for rows in in_cache(block):
            part = scratch_copy(block[rows]) if triangular else block[rows]
            norms[rows] = norms_of(part, T, triangular=triangular)
        return norms

    def times_inverse(
        self, rows: np.ndarray, T: np.ndarray, *, triangular: bool
    ) -> np.ndarray:
        """``rows @ T @ T'``, a new array in C order; T may be upper triangular."""
        if not triangular:
            return (rows @ T) @ T.T
        product = np.array(rows, dtype=float, order="C")
        multiply_triangular(product, T)
        multiply_triangular(product, T, transposed=True)
        return product

    def upper_factor(self, rows: np.ndarray) -> np.ndarray:
        """R of the QR decomposition of ``rows``."""
        return qr(rows, mode="r", check_finite=False)[0][: rows.shape[1]]

    def largest(self, scores: np.ndarray, k: int) -> np.ndarray:
        """Columns of the k largest scores of each row, in any order, (m, min(k, b))."""
        if k >= scores.shape[1]:
            return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
        return np.sort(np.argpartition(scores, -k, axis=1)[:, -k:], axis=1)

    def contenders(
        self, values: np.ndarray, least: np.ndarray, direction: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where a row (m, b) has scores above its least one, and which columns those are.

        Scores are ``direction * values``, or absolute values for direction 0. Returns the
        indices of such rows (r,), and their columns (r, c), filled up with -1.
        """
        # Reductions first: few rows go on, and only they are written to and searched.
        if direction > 0:
            best = values.max(axis=1)
        elif direction < 0:
            best = -values.min(axis=1)
        else:
            best = np.maximum(values.max(axis=1), -values.min(axis=1))
        rows = np.flatnonzero(~(best <= least))  # NaN goes on
        scores = values[rows]
        if direction:
            scores *= direction
        else:
            np.abs(scores, out=scores)
        above = scores > least[rows, None]
        flat = np.flatnonzero(above)
        i, j = np.divmod(flat, above.shape[1])
        counts = np.bincount(i, minlength=len(rows))
        columns = np.full((len(rows), counts.max(initial=0)), -1)
        first = np.cumsum(counts) - counts
        columns[i, np.arange(len(i)) - first[i]] = j
        return rows, columns

    def products_of_rows(self, rows: np.ndarray) -> np.ndarray:
        return _blas.products_of_rows(rows)


NUMPY = NumpyKernels()


# Rows of a triangle that are mirrored at a time.
_MIRRORED = 256


def sign_of(weight: np.ndarray) -> float:
    """1.0 where no weight is negative, -1.0 where none is positive, else 0.0."""
    least, most = weight.min(), weight.max()
    return 0.0 if least < 0 < most else 1.0 if least >= 0 else -1.0


def mirror(whole: np.ndarray) -> None:
    """Write the lower triangle above the diagonal too, in place."""
    for rows in mirrored_blocks(len(whole)):
        own = np.tril(whole[rows, rows])
        whole[rows, rows] = own + np.tril(own, -1).T
        whole[: rows.start, rows] = whole[rows, : rows.start].T


def mirrored_blocks(size: int) -> list[slice]:
    """Rows of a triangle that are mirrored at a time."""
    return [slice(k, min(k + _MIRRORED, size)) for k in range(0, size, _MIRRORED)]


def _inverse_cholesky_by_blocks(matrix: np.ndarray) -> tuple[np.ndarray, float] | None:
    T = _inverse_root_by_blocks(np.array(matrix))
    if T is None:
        return None

    def inverse(vectors: np.ndarray) -> np.ndarray:
        return T @ (T.T @ vectors)

    as_operator = LinearOperator(
        matrix.shape, inverse, rmatvec=inverse, matmat=inverse, dtype=matrix.dtype
    )
    return T, float(1 / (np.linalg.norm(matrix, 1) * onenormest(as_operator)))


def _inverse_root_by_blocks(matrix: np.ndarray) -> np.ndarray | None:
    """The same from matrix products and LAPACK on blocks of the diagonal."""
    L = matrix
    blocks = _blas.blocks_of(len(L))
    inverses = []
    for k, own in enumerate(blocks):  # Cholesky: L L' = matrix, in the lower triangle
        inverse = NUMPY.inverse_cholesky(L[own, own])
        if inverse is None:
            return None
        inverses.append(inverse[0].T)
        for below in blocks[k + 1 :]:
            L[below, own] = L[below, own] @ inverse[0]
        for j, column in enumerate(blocks[k + 1 :], k + 1):
            for row in blocks[j:]:
                L[row, column] -= L[row, own] @ L[column, own].T
    for i, row in enumerate(blocks):  # rows above are inverted already
        for j, column in enumerate(blocks[:i]):
            total = sum(L[row, part] @ L[part, column] for part in blocks[j:i])
            # Later columns of this row still want L: the result waits above them.
            L[column, row] = (-inverses[i] @ total).T
        for column in blocks[:i]:
            L[row, column] = L[column, row].T
            L[column, row] = 0.0
        L[row, row] = inverses[i]
    return L.T


def norms_of(rows: np.ndarray, T: np.ndarray, *, triangular: bool) -> np.ndarray:
    """The same of few rows, overwritten where T is triangular."""
    if triangular:  # half the work of a product
        multiply_triangular(rows, T)
    product = rows if triangular else np.dot(rows, T)
    np.square(product, out=product)
    return np.dot(product, np.ones(T.shape[1]))  # twice as fast as an einsum
