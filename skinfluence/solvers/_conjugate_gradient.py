"""Preconditioned conjugate gradients on products with H, many columns at once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, final

import numpy as np

from skinfluence._array import Array, Rows, array_namespace, device_of, like, to_numpy
from skinfluence._layout import Layout
from skinfluence._rows import row_blocks
from skinfluence.curvature import RowwiseCurvature
from skinfluence.solvers._base import (
    AbstractFactor,
    AbstractSolver,
    Residuals,
    Solution,
)
from skinfluence.solvers._preconditioner import (
    AbstractPreconditioner,
    is_alike_across_outputs,
    mean_over_outputs,
    preconditioner_of,
)
from skinfluence.solvers._woodbury import Dual, row_roots

# Numbers in one of the five arrays of columns that are iterated together, 64 MiB.
_MOST_ENTRIES = 2**23
# Finished columns leave the iteration when they are this share of it.
_SHARE_TO_DROP = 0.125
# Leverages of so many rows cost as much as the dual factor that knows them all.
_SHARE_OF_ROWS = 0.02
_MOST_DUAL_ENTRIES = 2**29
# Squared lengths are solved to these powers of tol: they gain the digits back.
_LENGTH_POWER, _LEVERAGE_POWER = 0.5, 0.75
# Random signs: the relative error of the trace is below sqrt(2 / (probes dof)).
_PROBES = 16


@final
@dataclass(frozen=True, eq=False)
class ConjugateGradient(AbstractSolver):
    """Each column until its residual, in the norm of the preconditioner, is small.

    Cost: ``4 n p K`` flops per iteration and column, and memory for six columns of D
    numbers each. Errors of lengths ``g' inv(H) g`` are those of solutions squared, so
    they are solved to a root of ``tol`` only.

    References
    ----------
    .. [1] Hestenes & Stiefel (1952). Methods of conjugate gradients for solving linear
       systems. :doi:`10.6028/jres.049.044`.
    """

    tol: float = 1e-10
    max_iter: int = 1000
    residuals: Residuals = field(default_factory=Residuals)
    name: ClassVar[str] = "cg"
    reuses: ClassVar[bool] = False

    def prepare(self, curvature: RowwiseCurvature) -> "ConjugateGradientFactor":
        return ConjugateGradientFactor(curvature, preconditioner_of(curvature), self)


@final
@dataclass(frozen=True, eq=False)
class ConjugateGradientFactor(AbstractFactor):
    """``inv(H)`` by iteration, on the free entries and apart from the gauge."""

    curvature: RowwiseCurvature
    preconditioner: AbstractPreconditioner
    solver: ConjugateGradient
    affordable: ClassVar[int] = 32
    rank_deficient: bool = False  # not known: solutions are near those of least length

    def solve(self, rhs: Array) -> Solution:
        return self._solved(rhs, self.solver.tol, note=True)

    def _shared_solve(self, columns: Array, share: Array | None) -> Any:
        return self._solved(columns, self.solver.tol, share=share, note=True).value

    def norm(self, vectors: Array) -> Any:
        return array_namespace(vectors).sqrt(self._squared(vectors, _LENGTH_POWER))

    def _squared(self, vectors: Array, power: float) -> Any:
        """``g' inv(H) g``, whose error is that of the solution squared, (m,)."""
        xp = array_namespace(vectors)
        x = self._solved(vectors, self.solver.tol**power).value
        squared = xp.sum(vectors * x, axis=(0, 1))
        return xp.where(squared > 0, squared, xp.zeros_like(squared))

    def squared_lengths(
        self, block: Array, slope: Array, layout: Layout, rows: Rows | None = None
    ) -> Any:
        xp = array_namespace(slope)
        parts = []
        for part in row_blocks(slope.shape[0], layout.n_groups * layout.size):
            lifted = layout.lifted(block[part, ...], slope[part, ...])
            columns = xp.permute_dims(lifted, (1, 2, 0))
            parts.append(self._squared(columns, _LEVERAGE_POWER))
        return xp.concat(parts)

    def row_blocks_of_inverse(
        self,
        block: Array,
        layout: Layout,
        share: Array | None = None,
        rows: Rows | None = None,
    ) -> Any:
        self._asked[0] += block.shape[0]
        if share is None and self._dual_pays:
            return self._dual.row_blocks_of_inverse(block, layout, rows=rows)
        if layout.group_size > 1 or share is not None:
            return super().row_blocks_of_inverse(block, layout, share)
        xp = array_namespace(self.curvature.theta)
        theta = self.curvature.theta
        eye = xp.eye(layout.n_groups, dtype=theta.dtype, device=device_of(theta))
        columns = [
            self.squared_lengths(
                block,
                xp.broadcast_to(eye[g, :, None], (block.shape[0], *eye.shape[1:], 1)),
                layout,
            )
            for g in range(layout.n_groups)
        ]
        return xp.stack(columns, axis=1)[:, :, None, None]

    @cached_property
    def condition(self) -> float:  # type: ignore[override]
        """Condition number of the preconditioned H, by Lanczos' Ritz values."""
        start = np.random.default_rng(0).normal(size=(*self.curvature.theta.shape, 1))
        vectors = self._within(like(start, self.curvature.theta))
        found = self._iterate(vectors, self.solver.tol**_LENGTH_POWER, None)
        values = np.linalg.eigvalsh(found.lanczos) if len(found.lanczos) else np.ones(1)
        return float(values[-1] / max(values[0], np.finfo(float).tiny))

    @cached_property
    def effective_dof(self) -> float:  # type: ignore[override]
        """Sum of the leverages, trace of ``Z inv(H) Z'``, estimated with random signs."""
        objective, layout = self.curvature.objective, self.curvature.objective.layout
        outputs = self.curvature.first_order.outputs
        xp = array_namespace(outputs)
        M = objective.loss.hessian(objective.targets, outputs)
        M = objective.weight[:, None, None, None] * M  # (n, G or 1, Kb, Kb)
        shape = (outputs.shape[0], layout.n_groups, layout.group_size, _PROBES)
        signs = like(np.random.default_rng(0).choice([-1.0, 1.0], size=shape), outputs)
        roots = [row_roots(M[:, g, ...]) for g in range(M.shape[1])]
        slopes = [
            xp.matmul(roots[min(g, len(roots) - 1)], signs[:, g, :, :])
            for g in range(layout.n_groups)
        ]
        slope = xp.reshape(xp.stack(slopes, axis=1), (shape[0], -1, _PROBES))
        squared = self._squared(objective.lifted_sum(slope), _LENGTH_POWER)
        return float(xp.mean(squared))

    @property
    def shared_penalty(self) -> Any:
        return self.curvature.objective.penalty.hessian_diagonal

    # --- leverages of many rows ---------------------------------------------------

    @cached_property
    def _asked(self) -> list[int]:
        """Rows whose leverages were asked for so far."""
        return [0]

    @property
    def _dual_pays(self) -> bool:
        layout, n = self.curvature.objective.layout, self.curvature.objective.n_rows
        few = self._asked[0] <= _SHARE_OF_ROWS * n
        entries = (n * layout.group_size) ** 2 * layout.n_groups
        strength = self.curvature.diagonal_part
        xp = array_namespace(strength)
        border = xp.sum(xp.astype(strength == 0, xp.int64)) / strength.shape[0]
        small = n * layout.group_size < layout.size and entries <= _MOST_DUAL_ENTRIES
        return not few and small and int(border) <= 64

    @cached_property
    def _dual(self) -> AbstractFactor:
        return Dual().prepare(self.curvature)

    # --- the iteration --------------------------------------------------------------

    def _solved(
        self, rhs: Array, tol: float, *, share: Array | None = None, note: bool = False
    ) -> Solution:
        """Columns solved in blocks that fit the memory, apart from the gauge."""
        xp = array_namespace(rhs)
        size = max(_MOST_ENTRIES // (rhs.shape[0] * rhs.shape[1]), 1)
        parts = []
        for first in range(0, rhs.shape[-1], size):
            last = min(first + size, rhs.shape[-1])
            columns = self._free(rhs[..., first:last])
            own = None if share is None else share[first:last]
            alone, rest = self._split(columns, own)
            found = self._iterate(rest, tol, own)
            if note:
                self.solver.residuals.add(found.residual, found.converged)
            parts.append((self._within(found.value) + alone, found))
        value = xp.concat([value for value, _ in parts], axis=-1)
        converged = xp.concat([found.converged for _, found in parts])
        return Solution(value, max(found.n_iter for _, found in parts), converged)

    def _split(self, columns: Array, share: Array | None) -> tuple[Any, Any]:
        """The part of the solution that is known, and what is left to solve."""
        xp = array_namespace(columns)
        if not self._alike:
            return xp.zeros_like(columns), self._within(columns)
        # Along equal outputs a softmax has no curvature but its penalty.
        mean = mean_over_outputs(columns, self.curvature.objective.layout.group_size)
        strength = self.curvature.diagonal_part[..., None]
        if share is not None:
            strength = strength - share * self.shared_penalty[..., None]
        safe = xp.where(strength > 0, strength, xp.ones_like(strength))
        return xp.where(strength > 0, mean / safe, 0.0 * mean), columns - mean

    @cached_property
    def _alike(self) -> bool:
        return is_alike_across_outputs(self.curvature)

    def _within(self, columns: Array) -> Any:
        """The columns apart from the gauge, along which H vanishes.

        Of a softmax, apart from all that is equal for every class: there H is no more
        than its penalty, which the blocks of single classes do not know. With this
        projection before and after them about twenty iterations, without it hundreds.
        """
        if self._alike:
            K = self.curvature.objective.layout.group_size
            return columns - mean_over_outputs(columns, K)
        gauge = self.curvature.gauge
        return columns if gauge is None else columns - gauge @ (gauge.T @ columns)

    def _free(self, columns: Array) -> Any:
        free = self.curvature.objective.free
        xp = array_namespace(columns)
        return (
            columns
            if free is None
            else xp.astype(free, columns.dtype)[..., None] * columns
        )

    def _iterate(self, rhs: Array, tol: float, share: Array | None) -> "_Iterated":
        def matvec(p: Any, columns: Array) -> Any:
            Hp = self.curvature.matvec(p)
            if share is not None:
                own = array_namespace(share).take(share, columns)
                Hp = Hp - own * self.shared_penalty[..., None] * p
            return self._within(self._free(Hp))

        return _conjugate_gradients(
            matvec,
            lambda r: self._within(self._free(self.preconditioner.apply(r))),
            rhs,
            tol,
            self.solver.max_iter,
        )


class _Iterated(NamedTuple):
    value: Any  # (G, D, m)
    n_iter: int
    converged: Any  # (m,)
    residual: Any  # (m,) in the norm of the preconditioner, relative
    lanczos: Any  # (k, k) tridiagonal matrix of the first column


class _Columns(NamedTuple):
    """Columns that are still iterated."""

    index: Any  # (m,)
    x: Any  # (G, D, m)
    r: Any  # residual
    p: Any  # direction
    rz: Any  # (m,) squared length of the residual
    target: Any  # (m,) at which it is done
    start: Any  # (m,) squared length at the start


def _conjugate_gradients(
    matvec: Callable[[Any, Any], Any],  # of vectors, and which columns they are
    precondition: Callable[[Any], Any],
    rhs: Array,
    tol: float,
    max_iter: int,
) -> _Iterated:
    xp = array_namespace(rhs)
    z = precondition(rhs)
    rz = _dots(rhs, z)
    index = xp.arange(rhs.shape[-1], device=device_of(rhs))
    at = _Columns(index, xp.zeros_like(rhs), rhs, z, rz, tol**2 * rz, rz)
    finished, steps, ratios = [], [], []
    n_iter = 0
    while n_iter < max_iter and at.index.shape[0]:
        n_iter += 1
        Hp = matvec(at.p, at.index)
        step = _ratio(at.rz, _dots(at.p, Hp))
        x, r = at.x + step * at.p, at.r - step * Hp
        z = precondition(r)
        rz = _dots(r, z)
        ratio = _ratio(rz, at.rz)
        if bool(at.index[0] == 0):
            steps.append(float(step[0]))
            ratios.append(float(ratio[0]))
        at = at._replace(x=x, r=r, p=z + ratio * at.p, rz=rz)
        done = ~(at.rz > at.target)
        share = float(xp.mean(xp.astype(done, rhs.dtype)))
        if share >= _SHARE_TO_DROP or share == 1:
            finished.append(_chosen(at, done))
            at = _chosen(at, ~done)
    finished.append(at)
    order = xp.argsort(xp.concat([part.index for part in finished]))
    x = xp.take(xp.concat([part.x for part in finished], axis=-1), order, axis=-1)
    rz, target, start = (
        xp.take(xp.concat([getattr(part, name) for part in finished]), order)
        for name in ("rz", "target", "start")
    )
    residual = xp.sqrt(_ratio(xp.abs(rz), start))
    return _Iterated(x, n_iter, ~(rz > target), residual, _lanczos(steps, ratios))


def _chosen(at: _Columns, mask: Array) -> _Columns:
    xp = array_namespace(at.x)
    (places,) = xp.nonzero(mask)
    return _Columns(*(xp.take(part, places, axis=-1) for part in at))


def _dots(a: Any, b: Any) -> Any:
    return array_namespace(a).sum(a * b, axis=(0, 1))


def _ratio(top: Array, bottom: Array) -> Any:
    # A finished column has 0 / 0 here; 0 keeps it asleep, NaN would wake it.
    xp = array_namespace(bottom)
    safe = xp.where(bottom > 0, bottom, xp.ones_like(bottom))
    return xp.where(bottom > 0, top / safe, xp.zeros_like(bottom))


def _lanczos(steps: list[float], ratios: list[float]) -> Any:
    """Tridiagonal matrix of the steps and ratios of one column."""
    a, b = to_numpy(np.asarray(steps)), to_numpy(np.asarray(ratios))
    good = int(np.argmin(np.append(a > 0, False)))
    a, b = a[:good], b[:good]
    if good == 0:
        return np.zeros((0, 0))
    main = 1 / a + np.append(0.0, b[:-1] / a[:-1])
    side = np.sqrt(b[:-1]) / a[:-1]
    return np.diag(main) + np.diag(side, 1) + np.diag(side, -1)
