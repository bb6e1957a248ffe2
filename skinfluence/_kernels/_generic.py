"""Kernels in plain array API operations, for any namespace."""

from typing import Any

from skinfluence._array import Array, array_namespace, device_of
from skinfluence._kernels._senders import PlainSender


def free_bytes(like: Array) -> float:
    """Memory that arrays beside ``like`` can have: unknown."""
    return float("inf")


def block_entries(like: Array) -> int | None:
    """Numbers in a block of rows; None for blocks that suit the host's cache."""
    return None


def out_of_memory() -> tuple[type[BaseException], ...]:
    """What is raised where a device has no memory left: unknown."""
    return ()


def release() -> None:
    """Give memory that is held for later back to the device."""


def sender(like: Array) -> PlainSender:
    """The way from the host to the device of ``like``."""
    return PlainSender(like)


def empty_gram(width: int, like: Array) -> Any:
    """A zero (width, width) total for ``add_gram``."""
    xp = array_namespace(like)
    return xp.zeros((width, width), dtype=xp.float64, device=device_of(like))


def add_gram(total: Any, block: Array, weight: Array) -> Any:
    """``total + block' diag(weight) block``; weights may have any sign."""
    return total + block.T @ (weight[:, None] * block)


def finished_gram(total: Array) -> Any:
    """The total as a full symmetric matrix."""
    return total


def with_diagonal(matrix: Array, values: Array) -> Any:
    """``matrix + diag(values)``; the matrix is given away."""
    xp = array_namespace(matrix)
    eye = xp.eye(matrix.shape[0], dtype=matrix.dtype, device=device_of(matrix))
    return matrix + values * eye


def inverse_cholesky(matrix: Array) -> tuple[Any, float] | None:
    """``(T, rcond)`` with ``T T' = inv(matrix)``; None unless positive definite."""
    xp = array_namespace(matrix)
    try:
        L = xp.linalg.cholesky(matrix)
    except Exception:  # each namespace has an exception of its own for this
        return None
    if not bool(xp.all(xp.isfinite(L))):
        return None
    T = xp.linalg.inv(L).T
    inverse = T @ T.T
    return T, 1.0 / float(norm1(matrix) * norm1(inverse))


def squared_row_norms(block: Array, T: Array, *, triangular: bool) -> Any:
    """Squared norms of the rows of ``block @ T``, (b,); T may be upper triangular."""
    xp = array_namespace(block)
    return xp.sum((block @ T) ** 2, axis=1)


def products_of_rows(rows: Array) -> Any:
    """``rows rows'``, (b, b)."""
    return rows @ rows.T


def times_inverse(rows: Array, T: Array, *, triangular: bool) -> Any:
    """``rows @ T @ T'``; T may be upper triangular."""
    return (rows @ T) @ T.T


def upper_factor(rows: Array) -> Any:
    """R of the QR decomposition of ``rows``."""
    return array_namespace(rows).linalg.qr(rows, mode="reduced")[1]


def squared_columns(block: Array, weight: Array) -> Any:
    """``sum_i weight_ik x~_ij**2``, (K, q), for weights (b, K)."""
    return weight.T @ block**2


def framed_identity(gram: Array, root: Array, *, overwrite: bool) -> Any:
    """``I + diag(root) gram diag(root)``; ``overwrite`` gives the Gram matrix away."""
    xp = array_namespace(gram)
    eye = xp.eye(gram.shape[0], dtype=gram.dtype, device=device_of(gram))
    return eye + root[:, None] * gram * root


def inverse_root_in_place(matrix: Array) -> Any | None:
    """T with ``T T' = inv(matrix)``; None unless positive definite. Matrix is lost."""
    found = inverse_cholesky(matrix)
    return None if found is None else found[0]


def norm1(matrix: Array) -> Any:
    """Largest sum of magnitudes of a column."""
    xp = array_namespace(matrix)
    return xp.max(xp.sum(xp.abs(matrix), axis=0))


def largest(scores: Array, k: int) -> Any:
    """Columns of the k largest scores of each row, in any order, (m, min(k, b))."""
    xp = array_namespace(scores)
    return xp.argsort(scores, axis=1, descending=True, stable=True)[:, :k]
