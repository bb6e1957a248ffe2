"""Direct solver: ``inv(H) = T T'`` from a Cholesky factor, or from the QR of the rows."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, final

import numpy as np

from skinfluence._array import (
    Array,
    Rows,
    array_namespace,
    device_of,
    of_group,
)
from skinfluence._kernels import (
    GatheredForms,
    densified,
    is_sparse,
    kernels,
    squared_row_norms,
)
from skinfluence._tolerances import MOST_CONDITION
from skinfluence.curvature import AbstractCurvature, Shifts
from skinfluence.solvers._base import (
    AbstractFactor,
    AbstractSolver,
    Solution,
    negative_direction,
)
from skinfluence.solvers._pair_forms import PairForms

# A singular value of the equilibrated root this small, per column, is rounding.
_RANK_TOLERANCE = 1e-13
# Entries of the product of a block of sparse rows with the root.
_PRODUCT_ENTRIES = 2**23
# The blocks of inv(H) for pairs of outputs lose digits with the condition number, the
# root with its square root: beyond this condition number the root is used.
_MOST_FORM_CONDITION = 1e4
# The blocks are formed for groups of at most this many entries (16 MiB each), when this
# many times the rows of a block are more than those entries.
_MOST_FORM_SIZE, _ROWS_TO_FORM = 2048, 4
# Triangles of so few columns are not multiplied in half the time of a square.
_MOST_INVERSE = 128
# Multiplications to spend on an estimate from some of the rows.
_SPENT_ON_ESTIMATES = 10**8


@final
@dataclass(frozen=True)
class Cholesky(AbstractSolver):
    """Factor the matrix once; multiply by the inverse triangular factor ever after.

    Columns are equilibrated first, so their units do not matter. Nearly dependent
    columns are solved by the QR decomposition of the weighted rows, whose error grows
    with the condition number of X and not with its square; a loss that is not convex has
    no such root, and its H is solved by eigenvalues. Cost: ``n D**2`` flops for H,
    ``D**3 / 3`` for each factor.
    """

    name: ClassVar[str] = "direct"
    reads_matrix: ClassVar[bool] = True

    def prepare(self, curvature: AbstractCurvature) -> "InverseRoot":
        parts, share = _parts_of(curvature), curvature.objective.penalty.share
        # Transposed twice: the column order that BLAS wants.
        stacked = [root.T[None, ...] for root in _padded([part.root for part in parts])]
        xp = array_namespace(stacked[0])
        root = stacked[0] if len(parts) == 1 else xp.concat(stacked)
        root, shrinkage = curvature.on_moving(xp.matrix_transpose(root)), None
        if share:
            root, shrinkage = _diagonalised(root, curvature.shared_penalty)
        triangular = not share and all(part.triangular for part in parts)
        n_alike = curvature.layout.n_groups / len(parts)
        rank = sum(part.rank for part in parts) * n_alike
        condition = max(part.condition for part in parts)
        n_held = 0 if curvature.shifts is None else curvature.shifts.n_held
        known = _Known(condition, rank, rank + n_held < curvature.n_seen)
        return InverseRoot(curvature, root, triangular, known, shrinkage)


class _Known(NamedTuple):
    """What was found about H on the way to its root."""

    condition: float
    rank: float  # shifts apart, over all groups
    deficient: bool


@final
@dataclass(frozen=True, eq=False)
class InverseRoot(AbstractFactor):
    """``inv(H) = root root'``, with one root for all groups if they are equal.

    The root leaves out the shifts, whose part of ``inv(H)`` is known.
    """

    has_leverages: ClassVar[bool] = True
    root: Any  # (G or 1, D, r)
    triangular: bool
    known: _Known
    shrinkage: Any = None  # (G or 1, r) diagonal of root' penalty'' root, in mean form

    @property
    def affordable(self) -> int:  # type: ignore[override]
        """Solves that cost less than the factor did, where that is large."""
        size = max(int(self.root.shape[-2] * self.root.shape[-1]), 1)
        return min(1000, max(100, _SPENT_ON_ESTIMATES // size))

    @property
    def inverse_root(self) -> Any:
        return self.root

    @cached_property
    def condition(self) -> float:
        return self.known.condition

    @cached_property
    def effective_dof(self) -> float:
        xp, n_groups = array_namespace(self.root), self.layout.n_groups
        penalised = self.curvature.diagonal_part * xp.sum(self.root**2, axis=-1)
        return (
            self.known.rank - float(xp.sum(penalised)) * n_groups / penalised.shape[0]
        )

    @cached_property
    def rank_deficient(self) -> bool:
        return self.known.deficient

    def solve(self, rhs: Array) -> Solution:
        return Solution.exact(self._shared_solve(rhs, None))

    def _shared_solve(self, columns: Array, share: Array | None) -> Any:
        seen, shifts = self._seen_solve(columns, share), self.curvature.shifts
        return seen if shifts is None else seen + shifts.solved(columns, share)

    def _seen_solve(self, columns: Array, share: Array | None) -> Any:
        """The same apart from the shifts."""
        xp = array_namespace(columns)
        half = xp.matmul(xp.matrix_transpose(self.root), columns)  # (G, r, m)
        if share is not None:
            half = half / (1 - self.shrinkage[..., None] * share)
        return xp.matmul(self.root, half)

    def loss_steps(self, rows: Array, share: Array | None = None) -> Any:
        if self.curvature.shifts is None:
            return self.steps(rows, share)
        xp = array_namespace(rows)
        columns = xp.permute_dims(rows, (1, 2, 0))
        return xp.permute_dims(self._seen_solve(columns, share), (2, 0, 1))

    def steps(self, rows: Array, share: Array | None = None) -> Any:
        if not self.triangular or share is not None:
            return super().steps(rows, share)
        # Row by row in memory: what comes out lies as what went in.
        times, n_groups = kernels(rows).times_inverse, rows.shape[1]
        steps = [
            rows[:, g, :] @ of_group(self._inverse, g)
            if self._inverse_pays(rows.shape[0])
            else times(rows[:, g, :], of_group(self.root, g), triangular=True)
            for g in range(n_groups)
        ]
        if n_groups == 1:
            return steps[0][:, None, :]
        return array_namespace(rows).stack(steps, axis=1)

    def _inverse_pays(self, n_rows: int) -> bool:
        """Whether ``inv(H)`` is worth forming: one product beats two by small triangles."""
        near = self.condition <= _MOST_FORM_CONDITION
        return near and self.root.shape[-1] <= min(_MOST_INVERSE, n_rows)

    @cached_property
    def _inverse(self) -> Any:
        xp = array_namespace(self.root)
        return xp.matmul(self.root, xp.matrix_transpose(self.root))

    def norm(self, vectors: Array) -> Any:
        xp = array_namespace(vectors)
        half = xp.matmul(xp.matrix_transpose(self.root), vectors)  # (G, r, m)
        squared, shifts = xp.sum(half**2, axis=(0, 1)), self.curvature.shifts
        if shifts is not None:
            squared = squared + xp.sum(shifts.solved(vectors) * vectors, axis=(0, 1))
        return xp.sqrt(squared)

    def row_blocks_of_inverse(
        self, block: Array, share: Array | None = None, rows: Rows | None = None
    ) -> Any:
        if self.curvature.shifts is None:
            return self.loss_blocks(block, share, rows)
        return super().row_blocks_of_inverse(block, share, rows)

    def loss_blocks(
        self, block: Array, share: Array | None = None, rows: Rows | None = None
    ) -> Any:
        if not is_sparse(block):
            return self._by_products(block, share)
        return self._gathered(
            lambda forms: forms.of(block),
            lambda part, own: self._by_few_products(block[part], own),
            share,
        )

    def row_steps(self, block: Array, slope: Array, share: Array | None = None) -> Any:
        if not is_sparse(block):
            return super().row_steps(block, slope, share)
        by_products = super().row_steps
        return self._gathered(
            lambda forms: forms.steps(block, slope),
            lambda part, own: by_products(block[part], slope[part], own),
            share,
        )

    def _gathered(
        self,
        ask: Callable[[GatheredForms], Any],
        otherwise: Callable[[Rows, Array | None], Any],
        share: Array | None,
    ) -> Any:
        """What gathered entries give, and ``otherwise`` for the rows that they leave."""
        forms = self._forms_of(share)
        values = None if forms is None else ask(forms)
        if values is None:
            return otherwise(slice(None), share)
        lost = np.flatnonzero(np.isnan(values.reshape(len(values), -1)[:, 0]))
        if len(lost):
            own = None if share is None else share[lost]
            values[lost, ...] = otherwise(lost, own)
        return values

    def _by_few_products(self, block: Array, share: Array | None) -> Any:
        """Products of as many rows at a time as fit the memory."""
        size = max(_PRODUCT_ENTRIES // (self.root.shape[0] * self.layout.size), 16)
        parts, forms = [], self._forms_of(None)
        assert forms is not None
        for first in range(0, max(block.shape[0], 1), size):
            part = slice(first, first + size)
            kept = None if share is None else share[part]
            parts.append(self._from_halves(forms.halves(block[part]), kept))
        return array_namespace(self.root).concat(parts, axis=0)

    def _forms_of(self, share: Array | None) -> GatheredForms | None:
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
            forms = GatheredForms(
                root, self.layout.group_size, triangular=self.triangular
            )
            if len(self._forms) > 1:  # one for the whole penalty, one for what is left
                self._forms.clear()
            self._forms[kept] = forms
        return self._forms[kept]

    @cached_property
    def _forms(self) -> dict[float, GatheredForms]:
        return {}

    def _by_products(self, block: Array, share: Array | None) -> Any:
        """The same from dense rows times the root."""
        xp = array_namespace(block)
        root, Kb = self.root, self.layout.group_size
        if Kb == 1 and share is None:
            columns = [
                squared_row_norms(block, root[g, ...], triangular=self.triangular)
                for g in range(root.shape[0])
            ]
            return xp.stack(columns, axis=1)[:, :, None, None]
        if Kb > 1 and share is None and self._forms_pay(block.shape[0]):
            if Kb not in self._pairs:
                self._pairs[Kb] = PairForms.of(root, Kb)
            return self._pairs[Kb].of_rows(densified(block))
        parts = xp.reshape(root, (root.shape[0] * Kb, self.layout.width, -1))
        halves = xp.matmul(densified(block)[None, :, :], parts)
        return self._from_halves(halves, share)

    def _from_halves(self, halves: Array, share: Array | None) -> Any:
        """From rows times the root, (G Kb, b, r)."""
        xp, G = array_namespace(halves), self.root.shape[0]
        Kb = self.layout.group_size
        if Kb == 1 and share is None:
            return xp.sum(halves**2, axis=2).T[:, :, None, None]
        half = xp.reshape(halves, (G, Kb, *halves.shape[1:]))
        half = xp.permute_dims(half, (2, 0, 1, 3))  # (b, G, Kb, r)
        other = half
        if share is not None:
            kept = 1 - self.shrinkage * share[:, None, None]  # (b, G, r)
            other = half / kept[:, :, None, :]
        return xp.matmul(half, xp.matrix_transpose(other))

    def _forms_pay(self, n_rows: int) -> bool:
        """Whether all pairs of outputs are worth forming, for ``D**3`` flops, once."""
        size = self.root.shape[1]
        near = self.condition <= _MOST_FORM_CONDITION
        return near and size <= _MOST_FORM_SIZE and _ROWS_TO_FORM * n_rows >= size

    @cached_property
    def _pairs(self) -> dict[int, PairForms]:
        return {}


class _Part(NamedTuple):
    """The root of one group."""

    root: Any  # (D, r)
    condition: float
    rank: int  # shifts apart
    triangular: bool


def _parts_of(curvature: AbstractCurvature) -> list[_Part]:
    """The root of each group, or one for all if they are equal."""
    H, moving = curvature.as_matrix(), curvature.moving
    parts = []
    for g in range(H.shape[0]):
        moves = None if moving is None else of_group(moving, g)
        part = _from_matrix(H[g, ...], _shifts_of(curvature, g), moves)
        if part is None:
            break
        parts.append(part)
    if len(parts) == H.shape[0]:
        return parts
    if not curvature.objective.loss.convex:
        each = range(H.shape[0])
        return [_from_eigenvalues(H[g, ...], _shifts_of(curvature, g)) for g in each]
    R = curvature.upper_root()
    return [_from_root(R[g, ...], _shifts_of(curvature, g)) for g in range(R.shape[0])]


def _shifts_of(curvature: AbstractCurvature, g: int) -> Shifts | None:
    return None if curvature.shifts is None else curvature.shifts.of_group(g)


def _from_matrix(H: Array, shifts: Shifts | None, moves: Array | None) -> _Part | None:
    """Root of one group from its matrix; None if too many digits are lost in it."""
    xp, rank = array_namespace(H), H.shape[0]
    diagonal = xp.linalg.diagonal(H)
    if shifts is not None:
        diagonal = shifts.lowered(diagonal)
    if moves is not None:  # 1 for entries at rest, whose rows and columns are zero
        resting = xp.astype(~moves, H.dtype)
        diagonal, rank = diagonal + resting, rank - int(xp.sum(resting))
    if not bool(xp.all(diagonal > 0)):
        return None
    scale = xp.sqrt(diagonal)
    scaled = H / scale[:, None]
    scaled /= scale
    if moves is not None:
        scaled = kernels(H).with_diagonal(scaled, resting)
    if shifts is not None:
        scaled = shifts.lifted(scaled, scale)
    factored = kernels(H).inverse_cholesky(scaled)
    if factored is None or factored[1] * MOST_CONDITION < 1:
        return None
    root, rcond = factored
    root /= scale[:, None]
    if shifts is not None:
        root, rank = _apart(root, shifts), rank - shifts.count
    return _Part(root, 1 / rcond, rank, shifts is None)


def _apart(columns: Array, shifts: Shifts) -> Any:
    """Columns (D, r) of one group without their part along the shifts."""
    return shifts.without(columns[None, ...])[0, ...]


def _from_root(R: Any, shifts: Shifts | None) -> _Part:
    """Root of one group from ``R'R = H``; the null space is left out, minimum norm."""
    xp = array_namespace(R)
    if shifts is not None:
        R = _apart(R.T, shifts).T
    norms = xp.sqrt(xp.sum(R**2, axis=0))
    scale = xp.where(norms > 0, norms, xp.ones_like(norms))
    _, values, rows = xp.linalg.svd(R / scale, full_matrices=False)
    kept = values > _RANK_TOLERANCE * R.shape[0] * values[0]
    # Singular values come in falling order.
    rank = int(xp.count_nonzero(kept))
    root = rows[:rank, :].T / values[:rank] / scale[:, None]
    null = rows[rank:, :].T / scale[:, None]
    if shifts is not None:
        # Shifts are known; their computed copies lean towards the weakest direction.
        root, null = _apart(root, shifts), _apart(null, shifts)
        n_null = null.shape[1] - shifts.count
        null = xp.linalg.svd(null, full_matrices=False)[0][:, : max(n_null, 0)]
    if null.shape[1]:
        Q, _ = xp.linalg.qr(null)
        root = root - Q @ (Q.T @ root)
    condition = float(values[0] / values[rank - 1]) ** 2 if rank else 1.0
    return _Part(root, condition, root.shape[1], False)


def _from_eigenvalues(H: Array, shifts: Shifts | None) -> _Part:
    """Root of one group whose loss is not convex; the null space is left out."""
    xp = array_namespace(H)
    if shifts is not None:
        H = _apart(H, shifts)
    size = xp.sqrt(xp.abs(xp.linalg.diagonal(H)))
    scale = xp.where(size > 0, size, xp.ones_like(size))
    values, vectors = xp.linalg.eigh(H / scale[:, None] / scale[None, :])
    least = _RANK_TOLERANCE * H.shape[0] * values[-1]
    if float(values[0]) < -float(abs(least)) or not float(values[-1]) > 0:
        least_seen = f"{float(values[0]):.1e}"
        raise negative_direction(
            f"least eigenvalue of the Hessian with unit diagonal {least_seen}"
        )
    kept = int(xp.count_nonzero(values > least))
    root = vectors[:, -kept:] / xp.sqrt(values[-kept:]) / scale[:, None]
    if shifts is not None:
        root = _apart(root, shifts)
    return _Part(root, float(values[-1] / values[-kept]), kept, False)


def _padded(roots: list[Any]) -> list[Any]:
    """Roots with zero columns added, so that they stack."""
    xp = array_namespace(roots[0])
    widths = [root.shape[1] for root in roots]
    if min(widths) == max(widths):
        return roots
    size, device = (roots[0].shape[0], max(widths)), device_of(roots[0])
    gap = xp.zeros(size, dtype=roots[0].dtype, device=device)
    return [xp.concat([root, gap[:, root.shape[1] :]], axis=1) for root in roots]


def _diagonalised(root: Array, ridge: Array) -> tuple[Any, Any]:
    """The root turned so that ``root' diag(ridge) root`` is diagonal, and that."""
    xp = array_namespace(root)
    inner = xp.matmul(xp.matrix_transpose(root), ridge[..., None] * root)
    values, vectors = xp.linalg.eigh(inner)
    return xp.matmul(root, vectors), values
