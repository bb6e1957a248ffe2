"""The operations that array libraries do differently, in plain array API operations."""

import abc
from typing import Any, Generic, TypeVar, final

from skinfluence._array import Array, array_namespace, device_of
from skinfluence._kernels._senders import PlainSender, Sender

A = TypeVar("A", bound=Array)


class AbstractKernels(abc.ABC, Generic[A]):
    """Operations on arrays of one library; a library overrides what it does better."""

    def free_bytes(self, like: A) -> float:
        """Memory that arrays beside ``like`` can have: unknown."""
        return float("inf")

    def block_entries(self, like: A) -> int | None:
        """Entries of a block of rows; None for blocks that suit the host's cache."""
        return None

    def out_of_memory(self) -> tuple[type[BaseException], ...]:
        """What is raised where a device has no memory left: unknown."""
        return ()

    def release(self) -> None:
        """Give memory that is held for later back to the device."""

    def sender(self, like: A) -> Sender:
        """The way from the host to the device of ``like``."""
        return PlainSender(like)

    def empty_gram(self, width: int, like: A) -> Any:
        """A zero (width, width) total for ``add_gram``."""
        xp = array_namespace(like)
        return xp.zeros((width, width), dtype=xp.float64, device=device_of(like))

    def add_gram(self, total: A, block: A, weight: A) -> Any:
        """``total + block' diag(weight) block``; weights may have any sign."""
        return total + block.T @ (weight[:, None] * block)

    def finished_gram(self, total: A) -> Any:
        """The total as a full symmetric matrix."""
        return total

    def with_diagonal(self, matrix: A, values: A) -> Any:
        """``matrix + diag(values)``; the matrix is given away."""
        xp = array_namespace(matrix)
        eye = xp.eye(matrix.shape[0], dtype=matrix.dtype, device=device_of(matrix))
        return matrix + values * eye

    def inverse_cholesky(self, matrix: A) -> tuple[A, float] | None:
        """``(T, rcond)`` with ``T T' = inv(matrix)``; None unless it is definite."""
        T = self.inverse_root_in_place(matrix)
        if T is None:
            return None
        return T, 1.0 / float(_norm1(matrix) * _norm1(T @ T.T))

    def inverse_root_in_place(self, matrix: A) -> A | None:
        """T alone; the matrix may be overwritten."""
        xp = array_namespace(matrix)
        try:
            L = xp.linalg.cholesky(matrix)
        except Exception:  # each namespace has an exception of its own for this
            return None
        return xp.linalg.inv(L).T if bool(xp.all(xp.isfinite(L))) else None

    def squared_row_norms(self, block: A, T: A, *, triangular: bool) -> Any:
        """Squared norms of the rows of ``block @ T``, (b,); T may be upper triangular."""
        xp = array_namespace(block)
        return xp.sum((block @ T) ** 2, axis=1)

    def products_of_rows(self, rows: A) -> Any:
        """``rows rows'``, (b, b)."""
        return rows @ rows.T

    def times_inverse(self, rows: A, T: A, *, triangular: bool) -> Any:
        """``rows @ T @ T'``; T may be upper triangular."""
        return (rows @ T) @ T.T

    def upper_factor(self, rows: A) -> Any:
        """R of the QR decomposition of ``rows``."""
        return array_namespace(rows).linalg.qr(rows, mode="reduced")[1]

    def framed_identity(self, gram: A, root: A, *, overwrite: bool) -> Any:
        """``I + diag(root) gram diag(root)``; ``overwrite`` gives the Gram matrix away."""
        xp = array_namespace(gram)
        eye = xp.eye(gram.shape[0], dtype=gram.dtype, device=device_of(gram))
        return eye + root[:, None] * gram * root

    def contenders(self, values: A, least: A, direction: float) -> Any:
        """Scores (m, b) above the least one of their row; None where nobody looks.

        See ``NumpyKernels``. An accelerator sorts faster than it picks out.
        """
        return None

    def largest(self, scores: A, k: int) -> Any:
        """Columns of the k largest scores of each row, in any order, (m, min(k, b))."""
        xp = array_namespace(scores)
        return xp.argsort(scores, axis=1, descending=True, stable=True)[:, :k]


@final
class PortableKernels(AbstractKernels[Array]):
    """For any library that keeps the array API standard."""


def _norm1(matrix: Array) -> Any:
    """Largest sum of magnitudes of a column."""
    xp = array_namespace(matrix)
    return xp.max(xp.sum(xp.abs(matrix), axis=0))
