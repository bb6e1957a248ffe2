"""Exact deletion: steps with the downdated curvature until each is certified."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf, isnan
from typing import Any, NamedTuple, final

from skinfluence import _threads
from skinfluence._array import Array, Rows, array_namespace, device_of, masked
from skinfluence._objective import Objective
from skinfluence._tolerances import LEAST_CONTRACTION, MOST_CONDITION
from skinfluence.deletion._base import AbstractDeletion, Deltas
from skinfluence.deletion._halley import Halley
from skinfluence.deletion._leaving import AbstractLeaving, OneByOne, Step
from skinfluence.deletion._one_step import Newton
from skinfluence.deletion._passes import in_runs, summed_over_rows
from skinfluence.deletion._vouching import error_of_minimum, own_length
from skinfluence.exceptions import IndefiniteCurvatureError
from skinfluence.solvers import (
    AbstractSolver,
    Point,
    expand_for_steps,
    indices_of,
    polish,
)

# Entries of theta up to which third derivatives, the cube of it, are worth their memory.
_MOST_THIRD = 128
# A float32 pass costs half as much, and its error is about 1e-9 of a delta. It is used
# while most steps are longer than the tolerance by this factor: then at least two more
# passes are needed, of which only the last has to be in float64. A step by Halley's
# correction shortens the next one by the second factor. Steps below the third, relative
# to the delta, are too fine for float32.
_FAR, _HALLEY_GAIN, _LEAST_SINGLE = 1e3, 1e4, 1e-5
# Fewer rows do not pay for the matrix that float32 needs; more entries, or a worse
# condition, make it large or lose its digits.
_LEAST_SINGLE_ROWS, _MOST_SINGLE, _MOST_SINGLE_CONDITION = 1000, 1024, 1e4
_LEAST_REFIT_STEPS = 50
# A contraction that is worse, of a step that is short all the same, is rounding.
_MOST_GAIN = 0.9
# A bound of the error by self-concordance that is this many last steps is of no use.
_MOST_CAUTION = 100.0


@final
@dataclass(frozen=True)
class Exact(AbstractDeletion):
    """The minimum without the rows, many single rows at once, each to its certificate.

    At the candidate ``theta_i`` the gradient ``r_i`` of the objective without row i is
    computed in full; ``inv(H_-i) r_i`` is the next step and the certificate. Steps use
    the curvature at ``theta``, downdated by row i, and gain about two digits each. Where
    third derivatives are cheap, Halley's correction gives four more digits at the start
    and as many with each step. Of many rows, passes far from the end are in float32:
    only what bends the gradient is summed so, in a form that loses no digits. The pass
    that certifies is in float64. A row that does not contract gets damped Newton steps
    with a curvature of its own. A group takes the same steps, one group after the other
    and without these aids.

    ``tol`` is relative to the longer of the delta and ``typical``, the median length of
    the deletion effects of rows. Cost per row or group and step: ``4 n D`` flops, n
    losses; ``n D**2`` for a step with a curvature of its own.
    """

    point: Point
    solver: AbstractSolver
    typical: float
    tol: float = 1e-8
    max_iter: int = 50
    progress: Callable[[int], None] = lambda n_rows: None

    @cached_property
    def newton(self) -> Newton:
        """Where the steps start."""
        return Newton(self.point, self.solver)

    def deltas(self, rows: Rows) -> Deltas:
        if self.point.objective.loss.quadratic:
            return self.newton.deltas(rows)
        indices = indices_of(rows, self.point)
        self._prepare()

        def minima(parts: list[slice]) -> Deltas:
            deltas = []
            for part in parts:
                leaving = OneByOne.of(self.point, indices[part])
                deltas.append(self._minima(leaving, aided=True))
                self.progress(part.stop - part.start)
            return Deltas.joined(deltas)

        runs = in_runs(self.point, indices.shape[0])
        return Deltas.joined(_threads.each(minima, runs))

    def group_delta(self, rows: Array) -> Deltas:
        deltas = self._group_delta(rows)
        self.progress(1)
        return deltas

    def _group_delta(self, rows: Array) -> Deltas:
        if self.point.objective.loss.quadratic:
            return self.newton.group_delta(rows)
        group = self.newton.group(rows)
        if group.unbounded:
            return Deltas.missing(self.point.theta, unbounded=True)
        # What aids many rows at once costs more than the passes of one group.
        return self._minima(group, aided=False)

    def _prepare(self) -> None:
        """Make once what all threads read."""
        _ = self.point.error
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
        useful = small and has_third and harmless
        return Halley(self.point, self.solver) if useful else None

    @cached_property
    def _may_be_single(self) -> bool:
        """Whether passes that certify nothing may be in float32."""
        objective, sums = self.point.objective, self.point.class_sums
        return (
            objective.loss.curves_in_single
            and not objective.design.is_sparse
            and objective.n_rows >= _LEAST_SINGLE_ROWS
            and objective.layout.size <= _MOST_SINGLE
            and self.point.factor.condition <= _MOST_SINGLE_CONDITION
            and (sums is None or sums.hessians is not None)
        )

    @cached_property
    def _rows_hessian(self) -> Any:
        """Second derivatives of the rows' losses, (G or 1, D, D)."""
        curvature = self.point.curvature
        H, xp = curvature.as_matrix(), array_namespace(self.point.theta)
        eye = xp.eye(H.shape[-1], dtype=H.dtype, device=device_of(H))
        return H - curvature.diagonal_part[..., None] * eye

    def _minima(self, leaving: AbstractLeaving, *, aided: bool) -> Deltas:
        """Steps until all groups are certified; ``aided``: by all that saves passes."""
        halley = self._halley if aided else None
        may_be_single = aided and self._may_be_single
        active, finished = self._started(leaving, halley)
        xp = array_namespace(active.theta)
        for n_steps in range(1, self.max_iter + 1):
            if active.theta.shape[0] == 0:
                break
            is_start = n_steps == 1 and halley is not None
            far = max(
                _FAR * (_HALLEY_GAIN if is_start else 1), _LEAST_SINGLE / self.tol
            )
            single = may_be_single and _most_exceed(active, far)
            step, plain = self._next_step(active, halley, single=single)
            length = plain.length
            done = (length <= active.enough) & (not single)  # float64 certifies
            hard = ~done & ~(length <= LEAST_CONTRACTION * active.length)
            active = active.moved_by(step, plain)
            last = masked(step.value, done)
            finished.append(self._certified(active.at(done), last, n_steps))
            late = active.at(hard)
            finished += self._refitted(late, masked(step.value, hard), n_steps)
            active = active.at(~(done | hard))
        finished += self._refitted(active, xp.zeros_like(active.theta), self.max_iter)
        order = xp.argsort(xp.concat([places for places, _ in finished]))
        return Deltas.joined([deltas for _, deltas in finished]).at(order)

    def _started(
        self, leaving: AbstractLeaving, halley: Halley | None
    ) -> tuple["_Candidates", list[tuple[Any, Deltas]]]:
        """Candidates after one Newton step, and those that end there."""
        newton, xp = leaving.solve(leaving.gradient), array_namespace(self.point.theta)
        size = newton.length
        enough = self.tol * xp.where(size > self.typical, size, self.typical)
        places, zero = xp.arange(size.shape[0], device=device_of(size)), 0.0 * size
        start = _Candidates(
            places, newton.value, size, enough, size, zero, zero, leaving
        )
        lost = start.at(leaving.unidentified)
        nothing = xp.nan * lost.theta
        finished = [(lost.places, Deltas.of(nothing, nothing, 1, unidentified=True))]
        on = ~leaving.unidentified
        # A step within what rounding leaves of the fit would gain nothing from another.
        is_rounding = size <= self.point.error
        error = self._error_of_step(leaving, newton)
        certain = on & (is_rounding | (error <= enough))
        if bool(xp.any(certain)):
            ended = start.at(certain)
            finished.append(self._certified(ended, xp.zeros_like(ended.theta), 1))
            on = on & ~certain
        start = start.at(on)
        if halley is None or not start.theta.shape[0]:
            return start, finished
        return start.corrected_by(halley, newton.at(on)), finished

    def _error_of_step(self, leaving: AbstractLeaving, newton: Step) -> Any:
        """Bound of the error of Newton steps in the norm of H, (b,)."""
        nearby = leaving.nearby()
        if nearby is None:
            return inf + 0.0 * newton.length
        error = nearby.one_step(own_length(leaving, newton))
        return error * array_namespace(error).sqrt(nearby.stretch)

    def _certified(
        self, ended: "_Candidates", last: Array, n_steps: int
    ) -> tuple[Any, Deltas]:
        """Deltas whose last step was short, and the bound of what is left of the way.

        A step that contracts by r leaves ``r / (1 - r)`` of itself, if the next ones do
        no worse: the first contracts by half of what they do. No less than the step
        itself is taken for it. Self-concordant losses have a bound that assumes
        nothing; where it is of no use, far out, a step is taken to contract as little
        as any may.
        """
        xp, nearby = array_namespace(last), ended.leaving.nearby()
        gain = xp.clip(2 * ended.gain, max=_MOST_GAIN)
        left = gain / (1 - gain)
        left = xp.where(left < 1, xp.ones_like(left), left)  # r is but an estimate
        error = ended.apart + left * ended.length
        if nearby is not None:
            before = nearby.remaining(ended.moved, ended.length)
            gain = nearby.gain(ended.moved + before)
            left = xp.where(gain < 1, gain * before, before + ended.length)
            sure = (ended.apart + left) * xp.sqrt(nearby.stretch)
            far = ended.apart + _MOST_GAIN / (1 - _MOST_GAIN) * ended.length
            error = xp.where(sure <= _MOST_CAUTION * ended.length, sure, far)
        stretch = ended.leaving.stretch
        deltas = Deltas.of(ended.theta, last, n_steps, error=error, stretch=stretch)
        return ended.places, deltas

    def _next_step(
        self, at: "_Candidates", halley: Halley | None, *, single: bool
    ) -> tuple[Step, Step]:
        """The step of each candidate, and ``inv(H_-G) r``, which certifies it."""
        xp = array_namespace(at.theta)
        r = self._gradients(at.leaving, at.theta, single=single)
        plain = at.leaving.solve(r)
        is_last = not single and bool(xp.all(plain.length <= at.enough))
        if halley is None or is_last:
            return plain, plain
        # The curvature has moved by T[theta]: one term of its inverse's series.
        bent = halley.third.product(at.leaving, at.theta, plain.value)
        return at.leaving.solve(r - bent), plain

    def gradients(self, rows: Rows, theta: Array) -> Any:
        """Of the objective without each row, at its delta theta (b, G, D)."""
        return self._gradients(OneByOne.of(self.point, rows), theta)

    def _gradients(
        self, leaving: AbstractLeaving, theta: Array, *, single: bool = False
    ) -> Any:
        """``r``, gradients of the objective without each group at theta, (b, G, D)."""
        loss, xp = self.point.objective.loss, array_namespace(theta)

        def slopes(y: Array, u: Array, s: Array, moves: Array) -> Any:
            change = loss.curved_change if single else loss.gradient_change
            changes = change(y, u, moves)
            changes *= xp.astype(s, changes.dtype, copy=False)[:, None, None]
            return changes

        def change() -> Any:
            factors, sums = leaving.factors, self.point.class_sums
            rows = summed_over_rows(
                self.point, slopes, theta, factors=factors, single=single
            )
            if not single:
                return rows
            vectors = xp.permute_dims(theta, (1, 2, 0))
            linear = xp.matmul(self._rows_hessian, vectors)
            rows = rows + xp.permute_dims(linear, (2, 0, 1))
            return rows if sums is None else rows + sums.product(factors, theta)

        return leaving.gradient_without(theta, change)

    def _refitted(
        self, at: "_Candidates", step: Array, n_steps: int
    ) -> list[tuple[Any, Deltas]]:
        """Damped Newton steps of its own for each of these."""
        return [
            (
                at.places[i : i + 1],
                self._refit(
                    at.leaving.objective_without(i),
                    at.theta[i, ...] + step[i, ...],  # the step had not helped
                    float(at.enough[i]),
                    n_steps,
                ),
            )
            for i in range(at.theta.shape[0])
        ]

    def _refit(
        self, objective: Objective, theta: Array, enough: float, n_steps: int
    ) -> Deltas:
        try:
            end = polish(
                self._better_start(objective, self.point.theta + theta),
                self.solver,
                length=enough,
                max_iter=max(self.max_iter, _LEAST_REFIT_STEPS),
            )
        except IndefiniteCurvatureError:  # the steps ended at a saddle point
            lost = Deltas.missing(self.point.theta)
            return lost._replace(
                converged=~lost.converged, n_steps=lost.n_steps + n_steps
            )
        n_steps, error = n_steps + end.n_steps, inf
        if end.converged and not end.unbounded:
            error = error_of_minimum(end.point, self.point)
        theta = (end.point.theta - self.point.theta)[None, ...]
        theta = array_namespace(theta).nan * theta if end.unbounded else theta
        last = -end.point.newton_step[None, ...]
        converged = end.converged or end.unbounded
        flags = {"converged": converged, "unbounded": end.unbounded}
        return Deltas.of(theta, last, n_steps, **flags, error=error)

    def _better_start(self, objective: Objective, near: Array) -> Point:
        """The candidate, or all rows' minimum where that has the lower objective."""
        curvatures = [
            replace(self.point.curvature, objective=objective, theta=theta)
            for theta in (near, self.point.theta)
        ]
        best = min(curvatures, key=lambda c: inf if isnan(c.value) else c.value)
        return expand_for_steps(objective, best.theta, self.solver, best.damping)


class _Candidates(NamedTuple):
    """Groups on their way to their minima, one per leading index."""

    places: Any  # (b,) where they stand among all
    theta: Any  # (b, G, D) delta so far
    length: Any  # (b,) of the last plain step
    enough: Any  # (b,) length at which a group is done
    moved: Any  # (b,) bound of the length of the delta on the way
    gain: Any  # (b,) largest contraction so far
    apart: Any  # (b,) how far the last step was from a plain one
    leaving: AbstractLeaving

    def at(self, mask: Array) -> "_Candidates":
        """Those where the mask (b,) holds."""
        parts = {name: masked(getattr(self, name), mask) for name in self._fields[:-1]}
        return _Candidates(**parts, leaving=self.leaving.at(mask))

    def corrected_by(self, halley: Halley, newton: Step) -> "_Candidates":
        """Those at the ends of Newton steps, where Halley's correction leads."""
        better, trusted = halley.corrected(self.leaving, newton)
        xp, change = array_namespace(trusted), better.less(newton).length
        return self._replace(
            theta=xp.where(trusted[:, None, None], better.value, self.theta),
            moved=xp.where(trusted, self.moved + change, self.moved),
            gain=xp.where(trusted, _ratio(change, self.length), self.gain),
        )

    def moved_by(self, step: Step, plain: Step) -> "_Candidates":
        """After a step, and the plain one that certifies it."""
        xp, ratio = array_namespace(self.length), _ratio(plain.length, self.length)
        return self._replace(
            theta=self.theta - step.value,
            length=plain.length,
            moved=self.moved + step.length,
            gain=xp.where(ratio > self.gain, ratio, self.gain),
            apart=step.less(plain).length,
        )


def _most_exceed(candidates: _Candidates, times: float) -> bool:
    """Whether most steps are longer than they may be at the end, by this factor."""
    xp = array_namespace(candidates.length)
    far = candidates.length > times * candidates.enough
    return bool(2 * xp.count_nonzero(far) > far.shape[0])


def _ratio(length: Array, before: Array) -> Any:
    """``length / before``, 0 where both are."""
    xp = array_namespace(length)
    return length / xp.where(before > 0, before, xp.ones_like(before))
