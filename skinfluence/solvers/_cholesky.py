"""Direct solver: ``inv(H) = T T'`` from a Cholesky factor, or from the QR of the rows."""

from dataclasses import dataclass
from typing import Any, NamedTuple, final

from skinfluence._array import array_namespace
from skinfluence._kernels import kernels
from skinfluence._layout import Layout
from skinfluence.curvature import RowwiseCurvature
from skinfluence.solvers._base import AbstractFactor, AbstractSolver, Solution

# Beyond this condition number H has lost too many digits: its root is made from the rows.
_MOST_CONDITION = 1e6
# A singular value of the equilibrated root this small, per column, is rounding.
_RANK_TOLERANCE = 1e-13


@final
@dataclass(frozen=True)
class Cholesky(AbstractSolver):
    """Factor the matrix once; multiply by the inverse triangular factor ever after.

    Columns are equilibrated first, so their units do not matter. Nearly dependent
    columns are solved by the QR decomposition of the weighted rows, whose error grows
    with the condition number of X and not with its square. Cost: ``n D**2`` flops for H,
    ``D**3 / 3`` for each factor.
    """

    def prepare(self, curvature: RowwiseCurvature) -> "InverseRoot":
        H = curvature.as_matrix()
        gauge = curvature.gauge
        xp = array_namespace(H)
        tried = [_from_matrix(H[g, ...], gauge) for g in range(H.shape[0])]
        parts = [part for part in tried if part is not None]
        definite = len(parts) == len(tried)
        if not definite:
            R = curvature.upper_root()
            parts = [_from_root(R[g, ...], gauge) for g in range(R.shape[0])]
        roots = xp.stack([root.T for root in _padded([part.root for part in parts])])
        n_groups = curvature.objective.layout.n_groups
        ridge = curvature.diagonal_part
        rank = sum(part.rank for part in parts) * n_groups / len(parts)
        penalised = _broadcast_sum(ridge * xp.sum(roots**2, axis=-2), n_groups)
        n_gauge = 0 if gauge is None else gauge.shape[-1] * n_groups
        return InverseRoot(
            xp.matrix_transpose(roots),  # in the column order that BLAS wants
            triangular=gauge is None and definite,
            condition=max(part.condition for part in parts),
            effective_dof=rank - penalised,
            rank_deficient=rank < n_groups * curvature.size - n_gauge,
        )


@final
@dataclass(frozen=True, eq=False)
class InverseRoot(AbstractFactor):
    """``inv(H) = root root'``, with one root for all groups if they are equal."""

    root: Any  # (G or 1, D, r)
    triangular: bool
    condition: float
    effective_dof: float
    rank_deficient: bool

    def solve(self, rhs: Any) -> Solution:
        xp = array_namespace(rhs)
        value = xp.matmul(self.root, xp.matmul(xp.matrix_transpose(self.root), rhs))
        return Solution(value, 0, xp.ones(rhs.shape[-1], dtype=xp.bool))

    def norm(self, vectors: Any) -> Any:
        xp = array_namespace(vectors)
        half = xp.matmul(xp.matrix_transpose(self.root), vectors)  # (G, r, m)
        return xp.sqrt(xp.sum(half**2, axis=(0, 1)))

    def row_blocks_of_inverse(self, block: Any, layout: Layout) -> Any:
        xp = array_namespace(block)
        root, Kb = self.root, layout.group_size
        if Kb == 1:  # squared norms, by the kernel that knows its BLAS
            squared = kernels(block).squared_row_norms
            columns = [
                squared(block, root[g, ...], triangular=self.triangular)
                for g in range(root.shape[0])
            ]
            return xp.stack(columns, axis=1)[:, :, None, None]
        parts = xp.reshape(root, (root.shape[0] * Kb, layout.width, -1))
        half = xp.matmul(block[None, :, :], parts)  # (G Kb, b, r)
        half = xp.reshape(half, (root.shape[0], Kb, *half.shape[1:]))
        half = xp.permute_dims(half, (2, 0, 1, 3))  # (b, G, Kb, r)
        return xp.matmul(half, xp.matrix_transpose(half))


class _Part(NamedTuple):
    root: Any  # (D, r)
    condition: float
    rank: int  # gauge apart


def _from_matrix(H: Any, gauge: Any) -> _Part | None:
    """Root of one group from its matrix; None if too many digits are lost in it."""
    xp = array_namespace(H)
    diagonal = xp.linalg.diagonal(H)
    if not bool(xp.all(diagonal > 0)):
        return None
    scale = xp.sqrt(diagonal)
    scaled = H / scale[:, None] / scale[None, :]
    if gauge is not None:
        # On the gauge the curvature is zero: any positive value there leaves solutions
        # of right-hand sides orthogonal to it as they are, which all gradients are.
        Q, _ = xp.linalg.qr(scale[:, None] * gauge)
        scaled = scaled + Q @ Q.T
    found = kernels(H).inverse_cholesky(scaled)
    if found is None or found[1] * _MOST_CONDITION < 1:
        return None
    root = found[0] / scale[:, None]
    rank = H.shape[0]
    if gauge is not None:
        root = root - gauge @ (gauge.T @ root)
        rank -= gauge.shape[-1]
    return _Part(root, 1 / found[1], rank)


def _from_root(R: Any, gauge: Any) -> _Part:
    """Root of one group from ``R'R = H``; the null space is left out, minimum norm."""
    xp = array_namespace(R)
    if gauge is not None:
        R = R - (R @ gauge) @ gauge.T
    norms = xp.sqrt(xp.sum(R**2, axis=0))
    scale = xp.where(norms > 0, norms, xp.ones_like(norms))
    _, values, rows = xp.linalg.svd(R / scale, full_matrices=False)
    kept = values > _RANK_TOLERANCE * R.shape[0] * values[0]
    root = rows[kept, :].T / values[kept] / scale[:, None]
    null = rows[~kept, :].T / scale[:, None]
    if gauge is not None:
        # The gauge is known; its computed copy leans towards the weakest direction.
        root, null = (part - gauge @ (gauge.T @ part) for part in (root, null))
        n_null = null.shape[1] - gauge.shape[1]
        null = xp.linalg.svd(null, full_matrices=False)[0][:, : max(n_null, 0)]
    if null.shape[1]:
        Q, _ = xp.linalg.qr(null)
        root = root - Q @ (Q.T @ root)
    condition = float(values[0] / values[kept][-1]) ** 2
    return _Part(root, condition, root.shape[1])


def _padded(roots: list[Any]) -> list[Any]:
    """Roots with zero columns added, so that they stack."""
    xp = array_namespace(roots[0])
    width = max(root.shape[1] for root in roots)

    def padded(root: Any) -> Any:
        gap = xp.zeros((root.shape[0], width - root.shape[1]), dtype=root.dtype)
        return xp.concat([root, gap], axis=1)

    return [padded(root) for root in roots]


def _broadcast_sum(values: Any, n_groups: int) -> float:
    """Sum over all groups of values that may be given once for all of them."""
    total = float(array_namespace(values).sum(values))
    return total * n_groups / values.shape[0]
