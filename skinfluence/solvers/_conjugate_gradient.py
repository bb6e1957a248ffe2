"""Preconditioned conjugate gradients on products with H, many columns at once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, final

import numpy as np

from skinfluence._array import (
    Array,
    Rows,
    array_namespace,
    device_of,
    like,
)
from skinfluence._rows import row_blocks
from skinfluence.curvature import AbstractCurvature, row_roots
from skinfluence.solvers._base import (
    AbstractFactor,
    AbstractSolver,
    Residuals,
    Solution,
    negative_direction,
    squared_lengths,
)
from skinfluence.solvers._preconditioner import (
    AbstractPreconditioner,
    preconditioner_of,
)
from skinfluence.solvers._woodbury import Dual

# Entries of each of the five arrays of columns that are iterated together, 64 MiB.
_MOST_ENTRIES = 2**23
# Finished columns leave the iteration when they are this share of it.
_SHARE_TO_DROP = 0.125
# The leverages of this share of the rows cost as much as the dual factor, which has all.
_SHARE_OF_ROWS = 0.02
_MOST_DUAL_ENTRIES, _MOST_DUAL_BORDER = 2**29, 64
# Columns for squared lengths are solved to these powers of tol: the error of such a
# length is that of its solution, squared.
_LENGTH_POWER, _LEVERAGE_POWER = 0.5, 0.75
# A direction p with ``p'Hp`` below minus this, against its length in the norm of the
# preconditioner, where H is about 1, shows negative curvature; above, it is rounding.
_CURVATURE_NOISE = 1e-10
# Random signs: the relative error of the trace is below sqrt(2 / (probes dof)).
_PROBES = 16


@final
@dataclass(frozen=True, eq=False)
class ConjugateGradient(AbstractSolver):
    """Each column until its residual, in the norm of the preconditioner, is small.

    Cost: ``4 n p K`` flops per iteration and column, and memory for six vectors of D
    entries per column. The error of a length ``g' inv(H) g`` is that of the solution,
    squared, so these columns are solved to a root of ``tol`` only.

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

    def prepare(self, curvature: AbstractCurvature) -> "ConjugateGradientFactor":
        return ConjugateGradientFactor(curvature, preconditioner_of(curvature), self)


@final
@dataclass(frozen=True, eq=False)
class ConjugateGradientFactor(AbstractFactor):
    """``inv(H)`` by iteration, within what the curvature sees."""

    affordable: ClassVar[int] = 32
    preconditioner: AbstractPreconditioner
    solver: ConjugateGradient

    def solve(self, rhs: Array) -> Solution:
        return self._solved(rhs, self.solver.tol, note=True)

    def _shared_solve(self, columns: Array, share: Array | None) -> Any:
        return self._solved(columns, self.solver.tol, share=share, note=True).value

    def norm(self, vectors: Array) -> Any:
        return array_namespace(vectors).sqrt(self._squared(vectors, _LENGTH_POWER))

    def _squared(self, vectors: Array, power: float) -> Any:
        """``g' inv(H) g``, whose error is that of the solution, squared, (m,)."""
        x = self._solved(vectors, self.solver.tol**power).value
        return squared_lengths(vectors, x)

    def squared_lengths(
        self, block: Array, slope: Array, rows: Rows | None = None
    ) -> Any:
        xp, layout = array_namespace(slope), self.layout
        parts = []
        for part in row_blocks(slope.shape[0], layout.n_groups * layout.size):
            lifted = layout.lifted(block[part, ...], slope[part, ...])
            columns = xp.permute_dims(lifted, (1, 2, 0))
            parts.append(self._squared(columns, _LEVERAGE_POWER))
        return xp.concat(parts)

    def loss_blocks(
        self, block: Array, share: Array | None = None, rows: Rows | None = None
    ) -> Any:
        self._n_leverages[0] += block.shape[0]
        if share is None and self._dual_pays:
            return self._dual.loss_blocks(block, rows=rows)
        if self.layout.group_size > 1 or share is not None:
            return super().loss_blocks(block, share)
        theta, G = self.curvature.theta, self.layout.n_groups
        xp, shape = array_namespace(theta), (block.shape[0], G, 1)
        eye = xp.eye(G, dtype=theta.dtype, device=device_of(theta))
        units = [xp.broadcast_to(eye[g, :, None], shape) for g in range(G)]
        columns = [self.squared_lengths(block, unit) for unit in units]
        return xp.stack(columns, axis=1)[:, :, None, None]

    @cached_property
    def condition(self) -> float:
        """Condition number of the preconditioned H, by Lanczos' Ritz values."""
        start = np.random.default_rng(0).normal(size=(*self.curvature.theta.shape, 1))
        vectors = self.curvature.seen(like(start, self.curvature.theta))
        end = self._iterate(vectors, self.solver.tol**_LENGTH_POWER, None)
        values = np.linalg.eigvalsh(end.lanczos) if len(end.lanczos) else np.ones(1)
        return float(values[-1] / max(values[0], np.finfo(float).tiny))

    @cached_property
    def effective_dof(self) -> float:
        """Trace of ``Z inv(H) Z'``, Z the rows times roots, estimated by random signs."""
        layout, objective = self.layout, self.curvature.objective
        M = self.curvature.row_hessians(slice(None))  # (n, G or 1, Kb, Kb)
        xp = array_namespace(M)
        shape = (M.shape[0], layout.n_groups, layout.group_size, _PROBES)
        signs = like(np.random.default_rng(0).choice([-1.0, 1.0], size=shape), M)
        slope = xp.matmul(row_roots(M), signs)
        lifted = objective.lifted_sum(xp.reshape(slope, (shape[0], -1, _PROBES)))
        squared = self._squared(self.curvature.within(lifted), _LENGTH_POWER)
        return float(xp.mean(squared))

    @cached_property
    def rank_deficient(self) -> bool:
        """Not known: solutions are near those of least length."""
        return False

    # --- leverages of many rows ---------------------------------------------------

    @cached_property
    def _n_leverages(self) -> list[int]:
        """Rows whose leverages were computed so far."""
        return [0]

    @property
    def _dual_pays(self) -> bool:
        layout, n = self.layout, self.curvature.objective.n_rows
        few = self._n_leverages[0] <= _SHARE_OF_ROWS * n
        entries = (n * layout.group_size) ** 2 * layout.n_groups
        strength = self.curvature.diagonal_part
        xp = array_namespace(strength)
        border = xp.sum(xp.astype(strength == 0, xp.int64)) / strength.shape[0]
        small = n * layout.group_size < layout.size and entries <= _MOST_DUAL_ENTRIES
        return not few and small and int(border) <= _MOST_DUAL_BORDER

    @cached_property
    def _dual(self) -> AbstractFactor:
        return Dual().prepare(self.curvature)

    # --- the iteration --------------------------------------------------------------

    def _solved(
        self, rhs: Array, tol: float, *, share: Array | None = None, note: bool = False
    ) -> Solution:
        """Columns solved in blocks that fit the memory; along shifts H is known."""
        xp = array_namespace(rhs)
        size = max(_MOST_ENTRIES // (rhs.shape[0] * rhs.shape[1]), 1)
        parts = []
        for first in range(0, rhs.shape[-1], size):
            last = min(first + size, rhs.shape[-1])
            own = None if share is None else share[first:last]
            columns, shifts = rhs[..., first:last], self.curvature.shifts
            end = self._iterate(self.curvature.seen(columns), tol, own)
            if note:
                self.solver.residuals.add(end.residual, end.converged)
            value = self.curvature.seen(end.value)
            if shifts is not None:
                value = value + shifts.solved(columns, own)
            parts.append(Solution(value, end.n_iter, end.converged))
        value = xp.concat([part.value for part in parts], axis=-1)
        converged = xp.concat([part.converged for part in parts])
        return Solution(value, max(part.n_iter for part in parts), converged)

    def _iterate(self, rhs: Array, tol: float, share: Array | None) -> "_Iterated":
        # Along shifts H is only its penalty, which the blocks of single classes cannot
        # see. With these projections it takes about twenty iterations, else hundreds.
        seen = self.curvature.seen

        def matvec(p: Any, columns: Array) -> Any:
            Hp = self.curvature.matvec(p)
            if share is not None:
                own = array_namespace(share).take(share, columns)
                Hp = Hp - own * self.curvature.shared_penalty[..., None] * p
            return seen(Hp)

        return _conjugate_gradients(
            matvec,
            lambda r: seen(self.preconditioner.apply(r)),
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
    pp: Any  # (m,) squared length of the direction, in the norm of the preconditioner
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
    at = _Columns(index, xp.zeros_like(rhs), rhs, z, rz, rz, tol**2 * rz, rz)
    finished, steps, ratios = [], [], []
    n_iter = 0
    while n_iter < max_iter and at.index.shape[0]:
        n_iter += 1
        Hp = matvec(at.p, at.index)
        bend = _dots(at.p, Hp)
        if bool(xp.any(bend < -_CURVATURE_NOISE * at.pp)):
            raise negative_direction("conjugate gradients met a direction p, p'Hp < 0")
        step = _ratio(at.rz, bend)
        x, r = at.x + step * at.p, at.r - step * Hp
        z = precondition(r)
        rz = _dots(r, z)
        ratio = _ratio(rz, at.rz)
        if bool(at.index[0] == 0):
            steps.append(float(step[0]))
            ratios.append(float(ratio[0]))
        p, pp = z + ratio * at.p, rz + ratio**2 * at.pp
        at = at._replace(x=x, r=r, p=p, pp=pp, rz=rz)
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
    chosen = xp.nonzero(mask)[0]
    return _Columns(*(xp.take(part, chosen, axis=-1) for part in at))


def _dots(a: Any, b: Any) -> Any:
    return array_namespace(a).sum(a * b, axis=(0, 1))


def _ratio(top: Array, bottom: Array) -> Any:
    # A finished column has 0 / 0 here: with 0 it stays as it is, NaN would spread.
    xp = array_namespace(bottom)
    safe = xp.where(bottom > 0, bottom, xp.ones_like(bottom))
    return xp.where(bottom > 0, top / safe, xp.zeros_like(bottom))


def _lanczos(steps: list[float], ratios: list[float]) -> Any:
    """Tridiagonal matrix of the steps and ratios of one column."""
    a, b = np.asarray(steps), np.asarray(ratios)
    good = int(np.argmin(np.append(a > 0, False)))
    a, b = a[:good], b[:good]
    if good == 0:
        return np.zeros((0, 0))
    main = 1 / a + np.append(0.0, b[:-1] / a[:-1])
    side = np.sqrt(b[:-1]) / a[:-1]
    return np.diag(main) + np.diag(side, 1) + np.diag(side, -1)
