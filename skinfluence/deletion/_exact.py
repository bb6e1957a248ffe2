"""Exact leave-one-out: steps with the downdated curvature until each is certified."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, final

from skinfluence import _threads
from skinfluence._array import Array, Rows, array_namespace, device_of, masked
from skinfluence._kernels import densified
from skinfluence._tolerances import LEAST_CONTRACTION, MOST_CONDITION
from skinfluence.deletion._base import AbstractDeletion, Deltas
from skinfluence.deletion._halley import Halley
from skinfluence.deletion._one_step import (
    Newton,
    downdated_inverse,
    downdated_rhs,
)
from skinfluence.deletion._passes import in_runs, summed_over_rows
from skinfluence.exceptions import IndefiniteCurvatureError
from skinfluence.solvers import (
    AbstractSolver,
    Point,
    expand_for_steps,
    own_outputs,
    polish,
    row_gradients,
    row_terms,
    taken,
)

# Entries up to which third derivatives, of this number cubed, are worth their memory.
_MOST_THIRD = 128
# A float32 pass is right to 1e-9 of a delta or so, and half as dear: it serves while
# most steps are this many times too long to be the last but one. Halley's start is this
# much shorter than the step before it; and steps below 1e-5 of a delta are too fine.
_FAR, _HALLEY_GAIN, _LEAST_SINGLE = 1e3, 1e4, 1e-5
_LEAST_SINGLE_ROWS, _MOST_SINGLE, _MOST_SINGLE_CONDITION = 1000, 1024, 1e4


@final
@dataclass(frozen=True)
class Exact(AbstractDeletion):
    """The minimum without each row, many rows at once, each to its certificate.

    At the candidate ``theta_i`` the gradient ``r_i`` of the objective without row i is
    computed in full; ``inv(H_-i) r_i`` is the next step and the certificate. Steps use
    the curvature at ``theta``, downdated by row i, and gain about two digits each. Where
    third derivatives are cheap, Halley's correction gives four more digits at the start
    and as many with each step. Of many rows, passes far from the end are in float32:
    only what bends the gradient is summed so, in a form that loses no digits. The pass
    that certifies is in float64. A row that does not contract gets damped Newton steps
    with a curvature of its own.

    ``tol`` is relative to the longer of the row's delta and ``typical``, the median
    length of all deletion effects. Cost per row and step: ``4 n D`` flops, n losses.
    """

    point: Point
    solver: AbstractSolver
    typical: float
    tol: float = 1e-8
    max_iter: int = 50
    progress: Callable[[int], None] = lambda n_rows: None

    def deltas(self, rows: Rows) -> Deltas:
        if self.point.objective.loss.quadratic:
            return Newton(self.point).deltas(rows)
        indices = indices_of(rows, self.point)
        self._prepare()

        def minima(parts: list[slice]) -> Deltas:
            found = []
            for part in parts:
                found.append(self._minima(indices[part]))
                self.progress(part.stop - part.start)
            return joined(found)

        runs = in_runs(self.point, indices.shape[0])
        return joined(_threads.each(minima, runs))

    def _prepare(self) -> None:
        """Make once what all threads read."""
        if self._halley is not None:
            _ = self._halley.third
        if self._may_be_single:
            _ = self._rows_hessian

    @cached_property
    def _halley(self) -> Halley | None:
        """The correction to start from, where forming it costs less than a pass."""
        layout, n = self.point.objective.layout, self.point.objective.n_rows
        small = layout.size <= _MOST_THIRD and layout.size**2 <= n
        has_third = self.point.objective.loss.has_third
        # Nearly dependent columns lose three times their digits in a cube.
        harmless = self.point.factor.condition <= MOST_CONDITION
        return Halley(self.point) if small and has_third and harmless else None

    @cached_property
    def _may_be_single(self) -> bool:
        """Whether passes that certify nothing may be in float32."""
        objective = self.point.objective
        return (
            objective.loss.curves_in_single
            and not objective.design.is_wide_sparse
            and objective.n_rows >= _LEAST_SINGLE_ROWS
            and objective.layout.size <= _MOST_SINGLE
            and self.point.factor.condition <= _MOST_SINGLE_CONDITION
        )

    @cached_property
    def _rows_hessian(self) -> Any:
        """Second derivatives of the rows' losses, (G or 1, D, D)."""
        curvature = self.point.curvature
        H, xp = curvature.as_matrix(), array_namespace(self.point.theta)
        eye = xp.eye(H.shape[-1], dtype=H.dtype, device=device_of(H))
        return H - curvature.diagonal_part[..., None] * eye

    def _minima(self, rows: Rows) -> Deltas:
        xp = array_namespace(rows)
        active, finished = self._started(rows)
        for n_steps in range(1, self.max_iter + 1):
            if active.rows.shape[0] == 0:
                break
            is_start = n_steps == 1 and self._halley is not None
            far = max(
                _FAR * (_HALLEY_GAIN if is_start else 1), _LEAST_SINGLE / self.tol
            )
            single = self._may_be_single and _most_exceed(active, far)
            step, length = self._next_step(active, single=single)
            done = (length <= active.enough) & (not single)  # float64 certifies
            hard = ~done & ~(length <= LEAST_CONTRACTION * active.length)
            active = active._replace(theta=active.theta - step, length=length)
            ended = _selected(active, done)
            finished.append(
                (ended.rows, _certified(ended.theta, masked(step, done), n_steps))
            )
            late = _selected(active, hard)
            finished += self._refitted(late, masked(step, hard), n_steps)
            active = _selected(active, ~(done | hard))
        finished += self._refitted(active, xp.zeros_like(active.theta), self.max_iter)
        order = xp.argsort(xp.concat([part for part, _ in finished]))
        found = joined([deltas for _, deltas in finished])
        back = xp.take(order, xp.argsort(xp.argsort(rows)), axis=0)
        return taken_deltas(found, back)

    def _started(self, rows: Rows) -> tuple["_Candidates", list[tuple[Any, Deltas]]]:
        """Candidates after one Newton step, and the rows that cannot be deleted."""
        objective, factor = self.point.objective, self.point.factor
        xp = array_namespace(self.point.theta)
        terms = row_terms(self.point, rows)
        terms = terms._replace(block=densified(terms.block))  # as many as candidates
        A = factor.row_blocks_of_inverse(
            terms.block, objective.layout, terms.share, rows
        )
        inverse, unidentified = downdated_inverse(terms.bend, A)
        newton = Newton(self.point).coefficients(terms, A)[0]
        rhs = row_gradients(self.point, terms, newton)
        length = factor.norm(xp.permute_dims(rhs, (1, 2, 0)))
        enough = self.tol * xp.where(length > self.typical, length, self.typical)
        theta = factor.steps(rhs, terms.share)
        if self._halley is not None:
            better, settled = self._halley.corrected(terms)
            theta = xp.where(settled[:, None, None], better, theta)
        start = _Candidates(theta, length, enough, inverse, *terms)
        lost = _selected(start, unidentified)
        ended = _certified(lost.theta, lost.theta, 1)._replace(
            unidentified=xp.ones_like(lost.rows, dtype=xp.bool)
        )
        return _selected(start, ~unidentified), [(lost.rows, ended)]

    def _next_step(self, at: "_Candidates", *, single: bool) -> tuple[Any, Any]:
        """``inv(H_-i) r_i`` and its length, for each candidate."""
        factor = self.point.factor
        xp = array_namespace(at.theta)
        r = self._gradients(at, single=single)
        rhs = downdated_rhs(self.point, at, at.inverse, r)
        length = factor.norm(xp.permute_dims(rhs, (1, 2, 0)))
        last = not single and bool(xp.all(length <= at.enough))
        if self._halley is not None and not last:
            # The curvature has moved by T[theta_i]: one term of its inverse's series.
            step = factor.steps(rhs, at.share)
            bent = self._halley.third.product(at, at.theta, step)
            rhs = downdated_rhs(self.point, at, at.inverse, r - bent)
        return factor.steps(rhs, at.share), length

    def gradients(self, rows: Rows, theta: Array) -> Any:
        """Of the objective without each row, at its delta theta (b, G, D)."""
        terms = row_terms(self.point, rows)
        terms = terms._replace(block=densified(terms.block))
        return self._gradients(_Candidates(theta, None, None, None, *terms))

    def _gradients(self, at: "_Candidates", *, single: bool = False) -> Any:
        """``r_i``, gradients of the objective without row i at theta_i, (b, G, D)."""
        objective, layout = self.point.objective, self.point.objective.layout
        xp = array_namespace(at.theta)
        loss, penalty = objective.loss, objective.penalty

        def slopes(y: Array, u: Array, s: Array, moves: Array) -> Any:
            change = loss.curved_change if single else loss.gradient_change
            found = change(y, u, moves)
            found *= xp.astype(s, found.dtype, copy=False)[:, None, None]
            return found

        change = summed_over_rows(self.point, slopes, at.theta, single=single)
        total = self.point.gradient - penalty.gradient(self.point.theta) + change
        if single:
            vectors = xp.permute_dims(at.theta, (1, 2, 0))
            linear = xp.matmul(self._rows_hessian, vectors)
            total = total + xp.permute_dims(linear, (2, 0, 1))
        own_u = at.outputs + layout.ungrouped(own_outputs(at.block, at.theta, layout))
        own = loss.gradient(taken(objective.targets, at.rows), own_u)
        own = layout.grouped(at.weight[:, None] * own)
        pull = penalty.gradient(self.point.theta + at.theta)
        if at.share is not None:
            pull = (1 - at.share[:, None, None]) * pull
        return total - layout.lifted(at.block, own) + pull

    def _refitted(
        self, at: "_Candidates", step: Array, n_steps: int
    ) -> list[tuple[Any, Deltas]]:
        """Damped Newton steps of its own for each of these rows."""
        xp = array_namespace(at.theta)
        found = []
        for i in range(at.rows.shape[0]):
            row = at.rows[i : i + 1]
            before = at.theta[i, ...] + step[i, ...]  # the step had not helped
            objective = self.point.objective.without(int(at.rows[i]))
            near = self.point.theta + before
            flag = xp.ones_like(row, dtype=xp.bool)
            try:
                end = polish(
                    self._better_start(objective, near),
                    self.solver,
                    length=float(at.enough[i]),
                    max_iter=max(self.max_iter, 50),
                )
            except IndefiniteCurvatureError:  # the steps ended at a saddle point
                nowhere = xp.nan * before[None, ...]
                lost = _certified(nowhere, nowhere, n_steps)
                found.append((row, lost._replace(converged=~flag)))
                continue
            theta = (end.point.theta - self.point.theta)[None, ...]
            if end.unbounded:
                theta = xp.nan * theta
            deltas = _certified(
                theta, -end.point.newton_step[None, ...], n_steps + end.n_steps
            )
            found.append(
                (
                    row,
                    deltas._replace(
                        converged=flag & end.converged, unbounded=flag & end.unbounded
                    ),
                )
            )
        return found

    def _better_start(self, objective: Any, near: Any) -> Point:
        """The candidate, or all rows' minimum where that has the lower objective."""
        curvatures = [
            replace(self.point.curvature, objective=objective, theta=theta)
            for theta in (near, self.point.theta)
        ]
        best = min(curvatures, key=lambda curvature: curvature.value)
        return expand_for_steps(objective, best.theta, self.solver, best.damping)


class _Candidates(NamedTuple):
    """Rows on their way to their minima, one per leading index."""

    theta: Any  # (b, G, D) delta so far
    length: Any  # (b,) of the last step
    enough: Any  # (b,) length at which a row is done
    inverse: Any  # (b, G or 1, Kb, Kb) of I - s_i M_i A_i
    block: Any  # the terms of the row, as in RowTerms
    weight: Any
    outputs: Any
    slope: Any
    bend: Any
    share: Any
    rows: Any  # (b,) indices


def _most_exceed(candidates: _Candidates, times: float) -> bool:
    """Whether the steps of most candidates are so many times as long as they may be."""
    xp = array_namespace(candidates.length)
    far = candidates.length > times * candidates.enough
    return bool(2 * xp.count_nonzero(far) > far.shape[0])


def _selected(candidates: _Candidates, mask: Array) -> _Candidates:
    return _Candidates(
        *(None if column is None else masked(column, mask) for column in candidates)
    )


def _certified(theta: Array, last_step: Array, n_steps: int) -> Deltas:
    xp = array_namespace(theta)
    device = device_of(theta)
    no = xp.zeros(theta.shape[0], dtype=xp.bool, device=device)
    steps = xp.full(theta.shape[0], n_steps, dtype=xp.int64, device=device)
    return Deltas(theta, steps, last_step, ~no, no, no)


def joined(parts: list[Deltas]) -> Deltas:
    """Deltas of several blocks of rows as one."""
    xp = array_namespace(parts[0].theta)
    columns = zip(*parts, strict=True)
    return Deltas(
        *(
            None if column[0] is None else xp.concat(column, axis=0)
            for column in columns
        )
    )


def taken_deltas(found: Deltas, order: Any) -> Deltas:
    """Deltas of some rows, by indices."""
    xp = array_namespace(found.theta)
    return Deltas(
        *(
            None if column is None else xp.take(column, order, axis=0)
            for column in found
        )
    )


def indices_of(rows: Rows, point: Point) -> Any:
    """Rows of a slice or index array as indices."""
    if not isinstance(rows, slice):
        return rows
    xp, device = array_namespace(point.theta), device_of(point.theta)
    return xp.arange(point.objective.n_rows, device=device)[rows]
