"""The contract of a solver: prepare once, solve for many columns."""

import abc
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

from skinfluence._array import Array, Rows, array_namespace, device_of
from skinfluence._kernels import densified
from skinfluence._layout import Layout
from skinfluence.curvature import RowwiseCurvature

# Shares of the penalty that leave with a row are about 1 / n: few rounds suffice.
_MOST_ROUNDS, _ROUNDING = 200, 1e-15


class Solution(NamedTuple):
    """Columns x of ``H x = rhs`` with an honest word on how they were reached."""

    value: Any  # (G, D, m)
    n_iter: int
    converged: Any  # (m,) bool


@final
@dataclass(eq=False)
class Residuals:
    """What iterations left over, ``|H x - rhs|`` against ``|rhs|``, over all columns."""

    largest: float = 0.0
    n_columns: int = 0
    n_late: int = 0  # columns that stopped before their tolerance

    def add(self, relative: Any, converged: Array) -> None:
        """Take note of the columns of one solve, (m,) each."""
        xp = array_namespace(relative)
        if relative.shape[0] == 0:
            return
        self.largest = max(self.largest, float(xp.max(relative)))
        self.n_columns += relative.shape[0]
        self.n_late += int(xp.sum(xp.astype(~converged, xp.int64)))


class AbstractFactor(abc.ABC):
    """What a solver has prepared: ``inv(H)`` as an operator, on the quotient by the gauge.

    Where H is singular, a symmetric generalised inverse stands for the inverse.
    """

    inverse_root: Any = (
        None  # (G or 1, D, r), ``inv(H) = root root'``, where there is one
    )
    affordable: ClassVar[int] = 1000  # solves to spend on an estimate
    has_leverages: ClassVar[bool] = False  # ``row_blocks_of_inverse`` without a solve
    condition: float  # of H with unit diagonal, gauge apart
    effective_dof: float  # sum of the leverages, trace of inv(H) (H - penalty'')
    rank_deficient: bool  # unpenalised directions that the rows do not determine

    @abc.abstractmethod
    def solve(self, rhs: Array) -> Solution:
        """``inv(H) @ rhs`` for right-hand sides (G, D, m)."""

    def norm(self, vectors: Array) -> Any:
        """Length ``sqrt(g' inv(H) g)`` of gradients (G, D, m) as Newton steps, (m,)."""
        xp = array_namespace(vectors)
        squared = xp.sum(vectors * self.solve(vectors).value, axis=(0, 1))
        return xp.sqrt(xp.where(squared > 0, squared, xp.zeros_like(squared)))

    def row_norms(self, block: Array, slope: Array, layout: Layout, rows: Rows) -> Any:
        """``norm`` of ``X~_i' c`` for slopes c (b, G, Kb) of training rows, (b,)."""
        if self.has_leverages and layout.group_size == 1:
            squared = self.squared_lengths(block, slope, layout, rows)
            return array_namespace(slope).sqrt(squared)
        lifted = layout.lifted(block, slope)  # (b, G, D)
        return self.norm(array_namespace(slope).permute_dims(lifted, (1, 2, 0)))

    def row_blocks_of_inverse(
        self,
        block: Array,
        layout: Layout,
        share: Array | None = None,
        rows: Rows | None = None,
    ) -> Any:
        """``A_i = X~_i inv(H) X~_i'`` for working rows (b, q), (b, G, Kb, Kb).

        With a ``share`` (b,) of the penalty that leaves with each row, H is
        ``H - share_i penalty''`` here and in ``steps``. ``rows``, a slice or indices,
        says that these are training rows, which some factors know by heart.
        """
        block = densified(block)
        xp = array_namespace(block)
        shape = (block.shape[0], layout.n_groups, layout.group_size)
        eye = xp.eye(layout.group_size, dtype=block.dtype, device=device_of(block))
        columns = []
        for k in range(layout.group_size):  # output k of all groups at once
            unit = xp.broadcast_to(eye[k, :], shape)
            steps = self.steps(layout.lifted(block, unit), share)  # (b, G, D)
            parts = xp.reshape(steps, (*shape, layout.width))
            columns.append(xp.matmul(parts, block[:, None, :, None])[..., 0])
        return xp.stack(columns, axis=-1)

    def squared_lengths(
        self, block: Array, slope: Array, layout: Layout, rows: Rows | None = None
    ) -> Any:
        """``c' X~_i inv(H) X~_i' c`` for slopes c (b, G, Kb) of working rows, (b,)."""
        xp = array_namespace(slope)
        A = self.row_blocks_of_inverse(block, layout, rows=rows)
        return xp.sum(slope * xp.matmul(A, slope[..., None])[..., 0], axis=(-2, -1))

    def steps(self, rows: Array, share: Array | None = None) -> Any:
        """``inv(H)`` applied to one vector per row: (b, G, D) to (b, G, D)."""
        xp = array_namespace(rows)
        columns = xp.permute_dims(rows, (1, 2, 0))
        return xp.permute_dims(self._shared_solve(columns, share), (2, 0, 1))

    def row_steps(
        self, block: Array, slope: Array, layout: Layout, share: Array | None = None
    ) -> Any:
        """``inv(H) X~_i' c_i`` for slopes c (b, G, Kb) of working rows, (b, G, D)."""
        return self.steps(layout.lifted(block, slope), share)

    def _shared_solve(self, columns: Array, share: Array | None) -> Any:
        """``solve`` for (G, D, b), the shares of the penalty taken out of H."""
        found = self.solve(columns).value
        if share is None:
            return found
        # (H - share P) x = c by x = inv(H) (c + share P x): shares are far below 1.
        xp, first = array_namespace(columns), found
        change = float("inf")
        for _ in range(_MOST_ROUNDS):
            before, last = found, change
            pull = share * self.shared_penalty[..., None] * found
            found = first + self.solve(pull).value
            change = float(xp.max(xp.abs(found - before)))
            size = float(xp.max(xp.abs(found)))
            if not _ROUNDING * size < change < 0.9 * last:
                break
        return found

    @property
    def shared_penalty(self) -> Any:
        """Second derivative of the penalty of which rows carry shares, (G or 1, D)."""
        raise NotImplementedError


class AbstractSolver(abc.ABC):
    """Solver in two halves, so that one factorisation serves many solves."""

    name: ClassVar[str]
    residuals: Residuals | None = None  # None where nothing is iterated
    polishes: ClassVar[bool] = True  # exact enough for steps to a minimum
    reuses: ClassVar[bool] = True  # a solve costs less than to prepare

    @abc.abstractmethod
    def prepare(self, curvature: RowwiseCurvature) -> AbstractFactor:
        """Do all work that needs only the curvature."""
