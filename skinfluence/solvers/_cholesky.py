"""Direct solver: ``inv(H) = T T'`` from a Cholesky factor, or from the QR of the rows."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, final

from skinfluence._array import Array, Rows, array_namespace, device_of, masked
from skinfluence._kernels import (
    GatheredForms,
    densified,
    is_sparse,
    kernels,
)
from skinfluence._layout import Layout
from skinfluence._objective import Objective
from skinfluence._tolerances import MOST_CONDITION
from skinfluence.curvature import RowwiseCurvature
from skinfluence.exceptions import IndefiniteCurvatureError
from skinfluence.solvers._base import AbstractFactor, AbstractSolver, Solution
from skinfluence.solvers._pair_forms import PairForms

# A singular value of the equilibrated root this small, per column, is rounding.
_RANK_TOLERANCE = 1e-13
# Numbers of a product of some sparse rows with the root.
_PRODUCT_ENTRIES = 2**23
# Beyond this condition A is made from the root, which loses half as many digits; and the
# most columns of H whose blocks are kept (16 MiB), and rows in blocks that ask for them.
_MOST_FORM_CONDITION, _MOST_FORM_SIZE, _ROWS_TO_FORM = 1e4, 2048, 4
# Multiplications to spend on an estimate from some of the rows.
_SPENT_ON_ESTIMATES = 10**8


@final
@dataclass(frozen=True)
class Cholesky(AbstractSolver):
    """Factor the matrix once; multiply by the inverse triangular factor ever after.

    Columns are equilibrated first, so their units do not matter. Nearly dependent
    columns are solved by the QR decomposition of the weighted rows, whose error grows
    with the condition number of X and not with its square. Cost: ``n D**2`` flops for H,
    ``D**3 / 3`` for each factor.
    """

    name: ClassVar[str] = "direct"

    def prepare(self, curvature: RowwiseCurvature) -> "InverseRoot":
        objective, gauge = curvature.objective, curvature.gauge
        H = curvature.as_matrix()
        xp = array_namespace(H)
        masks = _masks(objective, H.shape[0])
        tried = [
            _from_matrix(
                _restricted(H[min(g, H.shape[0] - 1), ...], mask), _seen(gauge, mask)
            )
            for g, mask in enumerate(masks)
        ]
        parts = [part for part in tried if part is not None]
        if len(parts) < len(masks) and not objective.loss.convex:
            parts = [
                _from_eigenvalues(_restricted(H[min(g, H.shape[0] - 1), ...], mask))
                for g, mask in enumerate(masks)
            ]
        elif len(parts) < len(masks):
            R = curvature.upper_root()
            parts = [
                _from_root(
                    _columns(R[min(g, R.shape[0] - 1), ...], mask), _seen(gauge, mask)
                )
                for g, mask in enumerate(masks)
            ]
        roots = [_embedded(p.root, m) for p, m in zip(parts, masks, strict=True)]
        # Transposed twice: the column order that BLAS wants.
        stacked = [root.T[None, ...] for root in _padded(roots)]
        root = xp.matrix_transpose(
            stacked[0] if len(roots) == 1 else xp.concat(stacked)
        )
        n_alike = objective.layout.n_groups / len(parts)
        n_free = sum(int(p.n_free) for p in parts) * n_alike
        rank = sum(p.rank for p in parts) * n_alike
        n_gauge = 0 if gauge is None else gauge.shape[-1] * objective.layout.n_groups
        penalised = curvature.diagonal_part * xp.sum(root**2, axis=-1)
        dof = rank - float(xp.sum(penalised)) * objective.layout.n_groups / max(
            penalised.shape[0], 1
        )
        shrinkage = None
        if objective.penalty.share:
            root, shrinkage = _diagonalised(root, objective.penalty.hessian_diagonal)
        return InverseRoot(
            root,
            triangular=_is_triangular(parts, objective) and shrinkage is None,
            shrinkage=shrinkage,
            condition=max(p.condition for p in parts),
            effective_dof=dof,
            rank_deficient=rank < n_free - n_gauge,
        )


@final
@dataclass(frozen=True, eq=False)
class InverseRoot(AbstractFactor):
    """``inv(H) = root root'``, with one root for all groups if they are equal."""

    has_leverages: ClassVar[bool] = True
    root: Any  # (G or 1, D, r)
    triangular: bool
    condition: float
    effective_dof: float
    rank_deficient: bool
    shrinkage: Any = None  # (G or 1, r) diagonal of root' penalty'' root, in mean form

    @property
    def inverse_root(self) -> Any:
        """The root itself."""
        return self.root

    @property
    def affordable(self) -> int:  # type: ignore[override]
        """Solves that cost less than the factor did, where that is large."""
        size = int(self.root.shape[-2] * self.root.shape[-1])
        return min(1000, max(100, _SPENT_ON_ESTIMATES // size))

    def solve(self, rhs: Array) -> Solution:
        xp = array_namespace(rhs)
        value = self._shared_solve(rhs, None)
        finished = xp.ones(rhs.shape[-1], dtype=xp.bool, device=device_of(rhs))
        return Solution(value, 0, finished)

    def _shared_solve(self, columns: Array, share: Array | None) -> Any:
        xp = array_namespace(columns)
        half = xp.matmul(xp.matrix_transpose(self.root), columns)  # (G, r, m)
        if share is not None:
            half = half / (1 - self.shrinkage[..., None] * share)
        return xp.matmul(self.root, half)

    def steps(self, rows: Array, share: Array | None = None) -> Any:
        if not self.triangular or share is not None:
            return super().steps(rows, share)
        # Row by row in memory: what comes out lies as what went in.
        times, n_groups = kernels(rows).times_inverse, rows.shape[1]
        roots = [self.root[g % self.root.shape[0], ...] for g in range(n_groups)]
        found = [
            times(rows[:, g, :], root, triangular=True) for g, root in enumerate(roots)
        ]
        if n_groups == 1:
            return found[0][:, None, :]
        return array_namespace(rows).stack(found, axis=1)

    def norm(self, vectors: Array) -> Any:
        xp = array_namespace(vectors)
        half = xp.matmul(xp.matrix_transpose(self.root), vectors)  # (G, r, m)
        return xp.sqrt(xp.sum(half**2, axis=(0, 1)))

    def row_blocks_of_inverse(
        self,
        block: Array,
        layout: Layout,
        share: Array | None = None,
        rows: Rows | None = None,
    ) -> Any:
        if not is_sparse(block):
            return self._by_products(block, layout, share)
        forms = self._forms_of(layout, share)
        found = None if forms is None else forms.of(block)
        if found is None:
            return self._by_few_products(block, layout, share)
        xp = array_namespace(found)
        lost = xp.nonzero(xp.isnan(found[:, 0, 0, 0]))[0]
        if lost.shape[0]:
            kept = None if share is None else share[lost]
            found[lost, ...] = self._by_few_products(block[lost], layout, kept)
        return found

    def row_steps(
        self, block: Array, slope: Array, layout: Layout, share: Array | None = None
    ) -> Any:
        if not is_sparse(block):
            return super().row_steps(block, slope, layout, share)
        forms = self._forms_of(layout, share)
        found = None if forms is None else forms.steps(block, slope)
        if found is None:
            return super().row_steps(block, slope, layout, share)
        xp = array_namespace(found)
        lost = xp.nonzero(xp.isnan(found[:, 0, 0]))[0]
        if lost.shape[0]:
            kept = None if share is None else share[lost]
            found[lost, ...] = super().row_steps(block[lost], slope[lost], layout, kept)
        return found

    def _by_few_products(
        self, block: Array, layout: Layout, share: Array | None
    ) -> Any:
        """Products of as many rows at a time as fit the memory."""
        size = max(_PRODUCT_ENTRIES // (self.root.shape[0] * layout.size), 16)
        found, forms = [], self._forms_of(layout, None)
        assert forms is not None
        for first in range(0, max(len(block), 1), size):
            part = slice(first, first + size)
            kept = None if share is None else share[part]
            found.append(self._from_halves(forms.halves(block[part]), layout, kept))
        return array_namespace(self.root).concat(found, axis=0)

    def _forms_of(self, layout: Layout, share: Array | None) -> GatheredForms | None:
        """Entries of ``inv(H)``, if there is one for all these rows."""
        kept = 0.0
        if share is not None:
            if share.shape[0] == 0 or bool((share != share[0]).any()):
                return None
            kept = float(share[0])
        if kept not in self._forms:
            root = self.root
            if kept:
                root = root / (1 - self.shrinkage * kept)[:, None, :] ** 0.5
            forms = GatheredForms(root, layout.group_size, triangular=self.triangular)
            if len(self._forms) > 1:  # one for the whole penalty, one for what is left
                self._forms.clear()
            self._forms[kept] = forms
        return self._forms[kept]

    @cached_property
    def _forms(self) -> dict[float, GatheredForms]:
        return {}

    def _by_products(self, block: Array, layout: Layout, share: Array | None) -> Any:
        """The same from dense rows times the root."""
        xp = array_namespace(block)
        root, Kb = self.root, layout.group_size
        if (
            Kb == 1 and share is None
        ):  # squared norms, by the kernel that knows its BLAS
            squared = kernels(block).squared_row_norms
            columns = [
                squared(block, root[g, ...], triangular=self.triangular)
                for g in range(root.shape[0])
            ]
            return xp.stack(columns, axis=1)[:, :, None, None]
        if Kb > 1 and share is None and self._forms_pay(block.shape[0]):
            if Kb not in self._pairs:
                self._pairs[Kb] = PairForms.of(root, Kb)
            return self._pairs[Kb].of_rows(densified(block))
        parts = xp.reshape(root, (root.shape[0] * Kb, layout.width, -1))
        halves = xp.matmul(densified(block)[None, :, :], parts)
        return self._from_halves(halves, layout, share)

    def _from_halves(self, halves: Array, layout: Layout, share: Array | None) -> Any:
        """From rows times the root, (G Kb, b, r)."""
        xp, G = array_namespace(halves), self.root.shape[0]
        if layout.group_size == 1 and share is None:
            return xp.sum(halves**2, axis=2).T[:, :, None, None]
        half = xp.reshape(halves, (G, layout.group_size, *halves.shape[1:]))
        half = xp.permute_dims(half, (2, 0, 1, 3))  # (b, G, Kb, r)
        other = half
        if share is not None:
            kept = 1 - self.shrinkage * share[:, None, None]  # (b, G, r)
            other = half / kept[:, :, None, :]
        return xp.matmul(half, xp.matrix_transpose(other))

    def _forms_pay(self, n_rows: int) -> bool:
        """Whether all pairs of outputs are worth forming: they cost ``D**3``, once."""
        size = self.root.shape[1]
        near = self.condition <= _MOST_FORM_CONDITION
        return near and size <= _MOST_FORM_SIZE and _ROWS_TO_FORM * n_rows >= size

    @cached_property
    def _pairs(self) -> dict[int, PairForms]:
        return {}


class _Part(NamedTuple):
    root: Any  # (D, r) on the free entries
    condition: float
    rank: int  # gauge apart
    n_free: int
    triangular: bool


def _from_matrix(H: Array, gauge: Array) -> _Part | None:
    """Root of one group from its matrix; None if too many digits are lost in it."""
    xp = array_namespace(H)
    diagonal = xp.linalg.diagonal(H)
    if not bool(xp.all(diagonal > 0)):
        return None
    scale = xp.sqrt(diagonal)
    scaled = H / scale[:, None]
    scaled /= scale
    if gauge is not None:
        # On the gauge the curvature is zero: any positive value there leaves solutions
        # of right-hand sides orthogonal to it as they are, which all gradients are.
        Q, _ = xp.linalg.qr(scale[:, None] * gauge)
        scaled = scaled + kernels(Q).products_of_rows(Q)
    found = kernels(H).inverse_cholesky(scaled)
    if found is None or found[1] * MOST_CONDITION < 1:
        return None
    root = found[0]
    root /= scale[:, None]
    rank = H.shape[0]
    if gauge is not None:
        root = root - gauge @ (gauge.T @ root)
        rank -= gauge.shape[-1]
    return _Part(root, 1 / found[1], rank, H.shape[0], gauge is None)


def _from_root(R: Any, gauge: Array) -> _Part:
    """Root of one group from ``R'R = H``; the null space is left out, minimum norm."""
    xp = array_namespace(R)
    if gauge is not None:
        R = R - (R @ gauge) @ gauge.T
    norms = xp.sqrt(xp.sum(R**2, axis=0))
    scale = xp.where(norms > 0, norms, xp.ones_like(norms))
    _, values, rows = xp.linalg.svd(R / scale, full_matrices=False)
    kept = values > _RANK_TOLERANCE * R.shape[0] * values[0]
    # Singular values come in falling order.
    rank = int(xp.count_nonzero(kept))
    root = rows[:rank, :].T / values[:rank] / scale[:, None]
    null = rows[rank:, :].T / scale[:, None]
    if gauge is not None:
        # The gauge is known; its computed copy leans towards the weakest direction.
        root, null = (part - gauge @ (gauge.T @ part) for part in (root, null))
        n_null = null.shape[1] - gauge.shape[1]
        null = xp.linalg.svd(null, full_matrices=False)[0][:, : max(n_null, 0)]
    if null.shape[1]:
        Q, _ = xp.linalg.qr(null)
        root = root - Q @ (Q.T @ root)
    condition = float(values[0] / values[rank - 1]) ** 2 if rank else 1.0
    return _Part(root, condition, root.shape[1], R.shape[1], False)


def _from_eigenvalues(H: Array) -> _Part:
    """Root of one group whose rows bend both ways; the null space is left out."""
    xp = array_namespace(H)
    size = xp.sqrt(xp.abs(xp.linalg.diagonal(H)))
    scale = xp.where(size > 0, size, xp.ones_like(size))
    values, vectors = xp.linalg.eigh(H / scale[:, None] / scale[None, :])
    least = _RANK_TOLERANCE * H.shape[0] * values[-1]
    if float(values[0]) < -float(abs(least)) or not float(values[-1]) > 0:
        raise IndefiniteCurvatureError(
            "The objective bends downwards in some direction: its loss is not convex, "
            "and these parameters are not at a minimum (least eigenvalue of the Hessian "
            f"with unit diagonal {float(values[0]):.1e}). Fit the model to a tighter "
            "tolerance, penalise it more, or choose a family and link whose loss is "
            "convex, such as Poisson or Gamma with link='log'."
        )
    kept = int(xp.count_nonzero(values > least))
    root = vectors[:, -kept:] / xp.sqrt(values[-kept:]) / scale[:, None]
    return _Part(root, float(values[-1] / values[-kept]), kept, H.shape[0], False)


def _padded(roots: list[Any]) -> list[Any]:
    """Roots with zero columns added, so that they stack."""
    xp = array_namespace(roots[0])
    width = max(root.shape[1] for root in roots)

    def padded(root: Array) -> Any:
        if root.shape[1] == width:
            return root
        shape = (root.shape[0], width - root.shape[1])
        gap = xp.zeros(shape, dtype=root.dtype, device=device_of(root))
        return xp.concat([root, gap], axis=1)

    return [padded(root) for root in roots]


def _masks(objective: Objective, n_groups: int) -> list[Any]:
    """Free entries of each group that needs a factor of its own; None for all."""
    if objective.free is None:
        return [None] * n_groups
    rows = [objective.free[g, ...] for g in range(objective.free.shape[0])]
    return rows if len(rows) >= n_groups else rows * n_groups


def _is_triangular(parts: list[_Part], objective: Objective) -> bool:
    """Whether the embedded roots are; zero rows among theirs move entries down."""
    return objective.free is None and all(part.triangular for part in parts)


def _restricted(H: Array, mask: Array) -> Any:
    return H if mask is None else _columns(_columns(H, mask).T, mask)


def _columns(matrix: Array, mask: Array) -> Any:
    """The free columns of a matrix."""
    if mask is None:
        return matrix
    xp = array_namespace(matrix)
    return xp.take(matrix, xp.nonzero(mask)[0], axis=1)


def _seen(gauge: Array, mask: Array) -> Any:
    """The gauge on the free entries, outside of which it is zero."""
    return gauge if gauge is None or mask is None else masked(gauge, mask)


def _embedded(root: Array, mask: Array) -> Any:
    """Rows of the free entries among zero rows of the others."""
    if mask is None:
        return root
    xp = array_namespace(root)
    # Where the mask holds, its running count is the number of the free row.
    above = xp.concat([xp.zeros_like(root[:1, :]), root], axis=0)
    places = xp.cumulative_sum(xp.astype(mask, xp.int64)) * xp.astype(mask, xp.int64)
    return xp.take(above, places, axis=0)


def _diagonalised(root: Array, ridge: Array) -> tuple[Any, Any]:
    """The root turned so that ``root' diag(ridge) root`` is diagonal, and that."""
    xp = array_namespace(root)
    inner = xp.matmul(xp.matrix_transpose(root), ridge[..., None] * root)
    values, vectors = xp.linalg.eigh(inner)
    return xp.matmul(root, vectors), values
