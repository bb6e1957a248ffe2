"""The contract of a solver: prepare once, solve for many columns."""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self, final

import numpy as np

from skinfluence._array import Array, Rows, array_namespace, device_of, like
from skinfluence._kernels import densified
from skinfluence._layout import Layout
from skinfluence._rows import row_blocks
from skinfluence.curvature import AbstractCurvature
from skinfluence.exceptions import IndefiniteCurvatureError
from skinfluence.solvers._condition import extreme_eigenvalues

# Columns of ``inv(H)`` at once.
_COLUMNS = 512
# Shares of the penalty that leave with a row are about 1 / n: few rounds suffice, until
# a solution changes by no more than rounding, or by hardly less than in the last round.
_MOST_ROUNDS, _LAST_CHANGE, _LEAST_GAIN = 200, 1e-15, 0.9
# Of ``|g| |x|``: a squared length ``g' x`` below minus this is no rounding.
_LENGTH_NOISE = 1e-8
# Random vectors, and what H inv(H) leaves of one of N entries where H has full rank,
# against 1 / sqrt(N): the part of a random vector along one lost direction.
_PROBES, _MOST_LEFT = 4, 1e-3


class Solution(NamedTuple):
    """Columns x of ``H x = rhs``, how many iterations they took, which are right."""

    value: Any  # (G, D, m)
    n_iter: int
    converged: Any  # (m,) bool

    @classmethod
    def exact(cls, value: Array) -> Self:
        """Of a solver that does not iterate."""
        xp = array_namespace(value)
        ones = xp.ones(value.shape[-1], dtype=xp.bool, device=device_of(value))
        return cls(value, 0, ones)


@final
@dataclass(eq=False)
class Residuals:
    """What iterations left over, ``|H x - rhs|`` against ``|rhs|``, over all columns."""

    largest: float = 0.0
    n_columns: int = 0
    n_late: int = 0  # columns that stopped before their tolerance

    def add(self, relative: Array, converged: Array) -> None:
        """Take note of the columns of one solve, (m,) each."""
        xp = array_namespace(relative)
        if relative.shape[0] == 0:
            return
        self.largest = max(self.largest, float(xp.max(relative)))
        self.n_columns += relative.shape[0]
        self.n_late += int(xp.sum(xp.astype(~converged, xp.int64)))


@dataclass(frozen=True, eq=False)
class AbstractFactor(abc.ABC):
    """What a solver has prepared: ``inv(H)`` as an operator on a curvature's vectors.

    Only ``solve`` has to be written. All else follows from it and from the curvature, and
    a solver that knows a cheaper form may override it. Where H is singular, a symmetric
    generalised inverse stands for the inverse.
    """

    affordable: ClassVar[int] = 1000  # solves to spend on an estimate
    has_leverages: ClassVar[bool] = False  # ``loss_blocks`` without a solve

    curvature: AbstractCurvature

    @abc.abstractmethod
    def solve(self, rhs: Array) -> Solution:
        """``inv(H) @ rhs`` for right-hand sides (G, D, m).

        Parts of ``rhs`` along the gauge, along shifts and in entries at rest may be
        ignored. The methods below know such parts of the solution.
        """

    def _within(self, rhs: Array) -> Any:
        """``solve``, with exact zeros for the entries that may not move."""
        seen, shifts = self._seen(rhs), self.curvature.shifts
        return seen if shifts is None else seen + shifts.solved(rhs)

    def _seen(self, rhs: Array) -> Any:
        """The same apart from the shifts."""
        seen = self.curvature.seen
        return seen(self.solve(seen(rhs)).value)

    @property
    def layout(self) -> Layout:
        """Groups and outputs of the objective."""
        return self.curvature.layout

    @property
    def inverse_root(self) -> Any:
        """A root T of ``inv(H) = T T'``, (G or 1, D, r), if it is at hand, else None.

        Apart from the shifts, which T leaves out.
        """
        return None

    # --- properties of H --------------------------------------------------------------

    @cached_property
    def condition(self) -> float:
        """Condition number of H with unit diagonal, shifts apart: within some per cent."""
        least, largest = extreme_eigenvalues(self.curvature, self._seen)
        return max(largest / least, 1.0) if least > 0 else 1.0

    @cached_property
    def effective_dof(self) -> float:
        """Sum of the leverages, trace of ``inv(H) (H - penalty'')``."""
        layout, design = self.layout, self.curvature.objective.design
        total = 0.0
        for rows in row_blocks(design.n_rows, layout.n_groups * layout.size):
            M = self.curvature.row_hessians(rows)
            A = self.loss_blocks(design.block(rows), rows=rows)
            xp, shape = array_namespace(M), (M.shape[0], layout.n_groups, *M.shape[2:])
            total += float(xp.sum(M * xp.broadcast_to(A, shape)))
        return total

    @cached_property
    def rank_deficient(self) -> bool:
        """Whether there are unpenalised directions that the rows do not determine."""
        curvature = self.curvature
        if curvature.n_seen == 0:
            return False
        diagonal = curvature.diagonal()
        xp = array_namespace(diagonal)
        positive = xp.where(diagonal > 0, diagonal, xp.ones_like(diagonal))
        scale = xp.sqrt(positive)[..., None]  # the units of columns do not matter
        shape = (*diagonal.shape, _PROBES)
        random = like(np.random.default_rng(0).normal(size=shape), diagonal)
        rhs = curvature.within(scale * random)
        left = (curvature.matvec(self._within(rhs)) - rhs) / scale
        squared = xp.sum(left**2, axis=(0, 1)) / xp.sum((rhs / scale) ** 2, axis=(0, 1))
        return float(xp.max(squared)) * curvature.n_seen > _MOST_LEFT**2

    def diagonal_of_inverse(self) -> Any:
        """Diagonals of ``inv(H)`` of each group, (G, D), shifts apart."""
        xp, D = array_namespace(self.curvature.theta), self.layout.size
        entries = xp.arange(D, device=device_of(self.curvature.theta))
        parts = []
        for first in range(0, D, _COLUMNS):
            columns = slice(first, min(first + _COLUMNS, D))
            units = entries[:, None] == entries[None, columns]
            units = xp.astype(units, self.curvature.theta.dtype)  # (D, m)
            shape = (self.layout.n_groups, *units.shape)
            inverse = self.solve(xp.broadcast_to(units, shape)).value
            parts.append(xp.linalg.diagonal(inverse[:, columns, :]))
        return xp.concat(parts, axis=1)

    # --- lengths ----------------------------------------------------------------------

    def norm(self, vectors: Array) -> Any:
        """Length ``sqrt(g' inv(H) g)`` of gradients (G, D, m) as Newton steps, (m,)."""
        squared = squared_lengths(vectors, self._within(vectors))
        return array_namespace(squared).sqrt(squared)

    def row_norms(self, block: Array, slope: Array, rows: Rows) -> Any:
        """``norm`` of ``X~_i' c`` for slopes c (b, G, Kb) of training rows, (b,)."""
        xp = array_namespace(slope)
        if self.has_leverages and self.layout.group_size == 1:
            return xp.sqrt(self.squared_lengths(block, slope, rows))
        lifted = self.layout.lifted(block, slope)  # (b, G, D)
        return self.norm(xp.permute_dims(lifted, (1, 2, 0)))

    def squared_lengths(
        self, block: Array, slope: Array, rows: Rows | None = None
    ) -> Any:
        """``c' X~_i inv(H) X~_i' c`` for slopes c (b, G, Kb) of losses, (b,)."""
        xp = array_namespace(slope)
        A = self.loss_blocks(block, rows=rows)
        return xp.sum(slope * xp.matmul(A, slope[..., None])[..., 0], axis=(-2, -1))

    # --- rows -------------------------------------------------------------------------

    def row_blocks_of_inverse(
        self, block: Array, share: Array | None = None, rows: Rows | None = None
    ) -> Any:
        """``A_i = X~_i inv(H) X~_i'`` for working rows (b, q), (b, G or 1, Kb, Kb).

        With a ``share`` (b,) of the penalty that leaves with each row, H is
        ``H - share_i penalty''`` here and in ``steps``. ``rows``, a slice or indices,
        says that these are training rows, for which some factors have it stored.
        """
        return self._blocks(self.steps, block, share)

    def loss_blocks(
        self, block: Array, share: Array | None = None, rows: Rows | None = None
    ) -> Any:
        """``A_i`` as second derivatives ``M_i`` and gradients of losses see it.

        Without what shifts add to all its entries alike, and perhaps more that neither
        sees: a large column adds much, and digits would be lost in ``M_i A_i``.
        """
        if self.curvature.shifts is None:
            return self.row_blocks_of_inverse(block, share, rows)
        return self._blocks(self.loss_steps, block, share)

    def _blocks(
        self, steps_of: Callable[..., Any], block: Array, share: Array | None
    ) -> Any:
        layout, block = self.layout, densified(block)
        xp = array_namespace(block)
        shape = (block.shape[0], layout.n_groups, layout.group_size)
        eye = xp.eye(layout.group_size, dtype=block.dtype, device=device_of(block))
        columns = []
        for k in range(layout.group_size):  # output k of all groups at once
            unit = xp.broadcast_to(eye[k, :], shape)
            steps = steps_of(layout.lifted(block, unit), share)  # (b, G, D)
            parts = xp.reshape(steps, (*shape, layout.width))
            columns.append(xp.matmul(parts, block[:, None, :, None])[..., 0])
        return xp.stack(columns, axis=-1)

    def steps(self, rows: Array, share: Array | None = None) -> Any:
        """``inv(H)`` applied to one vector per row: (b, G, D) to (b, G, D)."""
        xp = array_namespace(rows)
        columns = xp.permute_dims(rows, (1, 2, 0))
        return xp.permute_dims(self._shared_solve(columns, share), (2, 0, 1))

    def loss_steps(self, rows: Array, share: Array | None = None) -> Any:
        """The same for gradients of losses, which have no part along shifts."""
        seen = self.curvature.seen_rows
        return seen(self.steps(seen(rows), share))

    def row_steps(self, block: Array, slope: Array, share: Array | None = None) -> Any:
        """``inv(H) X~_i' c_i`` for slopes c (b, G, Kb) of losses of rows, (b, G, D)."""
        return self.loss_steps(self.layout.lifted(block, slope), share)

    def _shared_solve(self, columns: Array, share: Array | None) -> Any:
        """``solve`` for (G, D, b), the shares of the penalty taken out of H."""
        solution = self._within(columns)
        if share is None:
            return solution
        # (H - share P) x = c by x = inv(H) (c + share P x): shares are far below 1.
        xp, first, change = array_namespace(columns), solution, float("inf")
        pull = share * self.curvature.shared_penalty[..., None]
        for _ in range(_MOST_ROUNDS):
            before, last = solution, change
            solution = first + self._within(pull * solution)
            change = float(xp.max(xp.abs(solution - before)))
            size = float(xp.max(xp.abs(solution)))
            if not _LAST_CHANGE * size < change < _LEAST_GAIN * last:
                break
        return solution


def squared_lengths(vectors: Array, solution: Array) -> Any:
    """``g' inv(H) g`` of gradients (G, D, m) and their Newton steps, at least 0, (m,).

    What is negative beyond rounding raises: H has a negative direction.
    """
    xp = array_namespace(vectors)
    squared = xp.sum(vectors * solution, axis=(0, 1))
    sizes = xp.sum(vectors**2, axis=(0, 1)) * xp.sum(solution**2, axis=(0, 1))
    if bool(xp.any(squared < -_LENGTH_NOISE * xp.sqrt(sizes))):
        raise negative_direction("a gradient g has g' inv(H) g < 0")
    return xp.where(squared > 0, squared, xp.zeros_like(squared))


def negative_direction(seen: str) -> IndefiniteCurvatureError:
    """The error of a solver that meets negative curvature, and what showed it."""
    return IndefiniteCurvatureError(
        "The objective bends downwards in some direction: its loss is not convex, and "
        f"these parameters are not at a minimum ({seen}). Fit the model to a tighter "
        "tolerance, penalise it more, or choose a family and link whose loss is convex, "
        "such as Poisson or Gamma with link='log'."
    )


class AbstractSolver(abc.ABC):
    """Solver in two halves, so that one factorisation serves many solves.

    The class attributes say what a solver does and needs, so that no caller has to test
    its class.
    """

    name: ClassVar[str]
    residuals: Residuals | None = None  # what iterations leave over; None: none iterate
    polishes: ClassVar[bool] = True  # exact enough for steps to a minimum
    reuses: ClassVar[bool] = True  # a solve costs less than to prepare
    reads_matrix: ClassVar[bool] = False  # ``prepare`` asks for H as a matrix

    @abc.abstractmethod
    def prepare(self, curvature: AbstractCurvature) -> AbstractFactor:
        """Do all work that needs only the curvature."""
