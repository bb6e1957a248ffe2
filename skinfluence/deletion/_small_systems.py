"""Small systems of the rows that leave: ``I - M A`` of a row's outputs, or a group's."""

from typing import Any

from skinfluence._array import Array, array_namespace, device_of
from skinfluence._tolerances import LEAST_REMAINDER
from skinfluence.solvers import Point, RowTerms


def downdated_inverse(
    point: Point, terms: RowTerms, A: Array | None = None
) -> tuple[Any, Any]:
    """``inv(I - s_i M_i A_i)`` (b, G, Kb, Kb), NaN and True where it does not exist."""
    if A is None:
        A = point.factor.loss_blocks(terms.block, terms.share, terms.rows)
    xp, bend = array_namespace(A), terms.bend
    if A.shape[-1] == 1:  # plain division then, many times faster
        remainder = 1 - bend * A
        lost = xp.abs(remainder) < LEAST_REMAINDER
        nothing = xp.asarray(xp.nan, dtype=A.dtype, device=device_of(A))
        inverse = 1 / xp.where(lost, nothing, remainder)
        return inverse, xp.any(lost[..., 0, 0], axis=1)
    eye = xp.eye(A.shape[-1], dtype=A.dtype, device=device_of(A))
    inverse, lost = inverse_of(eye - xp.matmul(bend, A))
    return inverse, xp.any(lost, axis=1)


def inverse_of(matrices: Array) -> tuple[Any, Any]:
    """Inverses (..., m, m), and where they are lost to rounding: NaN there, and True."""
    xp = array_namespace(matrices)
    eye = xp.eye(matrices.shape[-1], dtype=matrices.dtype, device=device_of(matrices))
    nothing = xp.asarray(xp.nan, dtype=matrices.dtype, device=device_of(matrices))
    singular = xp.linalg.slogdet(matrices)[0] == 0
    inverse = xp.linalg.inv(xp.where(singular[..., None, None], eye, matrices))
    largest = xp.max(xp.abs(inverse), axis=(-2, -1))
    lost = singular | ~(largest * LEAST_REMAINDER <= 1)
    return xp.where(lost[..., None, None], nothing, inverse), lost


def stretch_of(inverse: Array, share: Array | None) -> Any:
    """How much longer inv(H) is at most without groups, (b,), from their ``inverse``.

    The eigenvalues of ``inv(I - M A)``, (b, G, m, m), are at least 1; the largest is how
    much inv(H) grows along the group's rows.
    """
    xp, excess = array_namespace(inverse), inverse.shape[-1] - 1
    trace = xp.linalg.trace(inverse) if excess else inverse[..., 0, 0]
    largest = xp.max(trace, axis=1) - excess
    if share is not None:
        largest = largest / (1 - share)
    return xp.where(largest > 1, largest, xp.ones_like(largest))


def pair_blocks(point: Point, block: Array, share: Array | None = None) -> Any:
    """``X~_i inv(H) X~_j'`` of all pairs of rows (m, q), (G, m, Kb, m, Kb)."""
    layout, xp = point.objective.layout, array_namespace(block)
    m, G, Kb = block.shape[0], layout.n_groups, layout.group_size
    eye = xp.eye(Kb, dtype=block.dtype, device=device_of(block))
    shares = None if share is None else xp.broadcast_to(share, (m,))
    columns = []
    for k in range(Kb):  # output k of all groups at once
        unit = xp.broadcast_to(eye[k, :], (m, G, Kb))
        steps = point.factor.row_steps(block, unit, shares)  # (m, G, D)
        parts = xp.reshape(steps, (m, G, Kb, layout.width))
        columns.append(xp.matmul(parts, block.T))  # (m, G, Kb, m)
    return xp.permute_dims(xp.stack(columns), (2, 4, 3, 1, 0))


def product(matrices: Array, vectors: Array) -> Any:
    """``matrices @ vectors`` for (b, G or 1, Kb, Kb) and (b, G, Kb)."""
    if vectors.shape[-1] == 1:  # many times faster
        return matrices[..., 0] * vectors
    return array_namespace(vectors).matmul(matrices, vectors[..., None])[..., 0]
