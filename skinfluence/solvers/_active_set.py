"""Minima of objectives with corners: polishing that follows the active set.

An objective on its active set has no entries for the features at zero.
``minimise_with_corners`` polishes on the active set, tests the corners of all features,
and changes the active set where they do not hold. ``on_all_features`` puts a minimum back
among all features, where deletions may free some.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, final

from skinfluence._array import Array, Rows, array_namespace, device_of, masked
from skinfluence._kernels import densified
from skinfluence._layout import Selection
from skinfluence._objective import Objective
from skinfluence._penalty import Corners
from skinfluence.curvature import RowwiseCurvature
from skinfluence.solvers._base import AbstractFactor, AbstractSolver, Solution
from skinfluence.solvers._corners import AbstractSquare, corner_minimum
from skinfluence.solvers._point import Point, expand
from skinfluence.solvers._polish import Polished, descend, polish

# Pulls below this are rounding, against the largest that Cauchy-Schwarz allows. Slopes
# of entries that move are rounding up to ten times that.
_PULL_NOISE, _STEEP = 1e-10, 10
# A root of the diagonal of H that is this small, against the largest, is that of a
# constant column: nothing but rounding pulls at it.
_LEAST_SCALE = 1e-10
# F may rise by the first, relatively, by rounding; steps end at a gain of the second.
_RISE, _LEAST_GAIN = 1e-13, 1e-12
_MOST_HALVINGS, _MOST_RETURNS = 40, 5


@final
@dataclass(frozen=True, eq=False)
class Embedded(AbstractFactor):
    """The factor of an active set, for vectors over all features."""

    narrow: Point  # the same minimum on the active set
    selection: Selection

    @cached_property
    def condition(self) -> float:
        return self.narrow.factor.condition

    @cached_property
    def effective_dof(self) -> float:
        return self.narrow.factor.effective_dof

    @cached_property
    def rank_deficient(self) -> bool:
        return self.narrow.factor.rank_deficient

    def solve(self, rhs: Array) -> Solution:
        solution = self.narrow.factor.solve(self._picked(rhs))
        return solution._replace(value=self._spread(solution.value))

    def norm(self, vectors: Array) -> Any:
        return self.narrow.factor.norm(self._picked(vectors))

    def row_blocks_of_inverse(
        self, block: Array, share: Array | None = None, rows: Rows | None = None
    ) -> Any:
        xp = array_namespace(self.narrow.theta)
        block = xp.take(densified(block), self.selection.columns, axis=1)
        return self.narrow.factor.row_blocks_of_inverse(block, share, rows)

    def loss_blocks(
        self, block: Array, share: Array | None = None, rows: Rows | None = None
    ) -> Any:
        xp = array_namespace(self.narrow.theta)
        block = xp.take(densified(block), self.selection.columns, axis=1)
        return self.narrow.factor.loss_blocks(block, share, rows)

    def steps(self, rows: Array, share: Array | None = None) -> Any:
        steps = self.narrow.factor.steps(self.selection.picked(rows), share)
        return self.selection.spread(steps)

    def loss_steps(self, rows: Array, share: Array | None = None) -> Any:
        steps = self.narrow.factor.loss_steps(self.selection.picked(rows), share)
        return self.selection.spread(steps)

    def _picked(self, vectors: Array) -> Any:
        """``(G, D, m)`` over all features to those of the active set."""
        xp = array_namespace(vectors)
        picked = self.selection.picked(xp.permute_dims(vectors, (2, 0, 1)))
        return xp.permute_dims(picked, (1, 2, 0))

    def _spread(self, vectors: Array) -> Any:
        xp = array_namespace(vectors)
        spread = self.selection.spread(xp.permute_dims(vectors, (2, 0, 1)))
        return xp.permute_dims(spread, (1, 2, 0))


def on_all_features(point: Point) -> Point:
    """The same minimum among all features; a point without corners as it is."""
    wider = point.objective.wider
    if wider is None:
        return point
    selection = point.objective.selection
    theta = selection.spread(point.theta)
    curvature = RowwiseCurvature(wider, theta, point.curvature.damping)
    return Point(curvature, Embedded(curvature, point, selection))


def to_all_features(objective: Objective, vectors: Array) -> Any:
    """Vectors (..., G, D) of an active set among zeros for all other features."""
    return vectors if objective.wider is None else objective.selection.spread(vectors)


def on_active_set(point: Point) -> Point:
    """What ``on_all_features`` was made of; any other point as it is."""
    factor = point.factor
    return factor.narrow if isinstance(factor, Embedded) else point


@final
class CurvatureRows(AbstractSquare):
    """Rows of the curvature of all entries (N, N), computed when first needed.

    Cost of each: that of one product with the curvature; it stays in memory.
    """

    def __init__(self, curvature: RowwiseCurvature) -> None:
        self.curvature = curvature
        xp, (G, D) = array_namespace(curvature.theta), curvature.theta.shape
        dtype, device = curvature.theta.dtype, device_of(curvature.theta)
        # Entries whose rows are known, in the order in which they were needed.
        self._known = xp.zeros((0,), dtype=xp.int64, device=device)
        self._rows = xp.zeros((0, G * D), dtype=dtype, device=device)

    def square(self, entries: Array) -> Any:
        xp = array_namespace(entries)
        first = self._positions(entries) * self._rows.shape[1]
        flat = xp.reshape(self._rows, (-1,))  # a gather of m**2 entries, not of m N
        wanted = xp.reshape(first[:, None] + entries, (-1,))
        return xp.reshape(xp.take(flat, wanted), (entries.shape[0], entries.shape[0]))

    def product(self, entries: Array, vectors: Array) -> Any:
        xp = array_namespace(vectors)
        positions = self._positions(entries)
        if (
            2 * positions.shape[0] > self._known.shape[0]
        ):  # the others are zero: no copy
            return xp.take(vectors, self._known, axis=-1) @ self._rows
        rows = xp.take(self._rows, positions, axis=0)
        return xp.take(vectors, entries, axis=-1) @ rows

    def _positions(self, entries: Array) -> Any:
        """Positions of the rows of these entries among those computed so far."""
        xp = array_namespace(entries)
        new = entries
        if self._known.shape[0]:
            new = masked(entries, ~xp.any(entries[:, None] == self._known, axis=1))
        if new.shape[0]:
            self._known = xp.concat([self._known, new])
            self._rows = xp.concat([self._rows, self._computed(new)])
        order = xp.argsort(self._known)
        ordered = xp.take(self._known, order)
        return xp.take(order, xp.searchsorted(ordered, entries))

    def _computed(self, entries: Array) -> Any:
        xp, shape = array_namespace(entries), self.curvature.theta.shape
        every = xp.arange(shape[0] * shape[1], device=device_of(entries))
        units = every[:, None] == entries
        units = xp.astype(units, self.curvature.theta.dtype)  # (N, m)
        rows = self.curvature.matvec(xp.reshape(units, (*shape, entries.shape[0])))
        return xp.reshape(rows, (-1, entries.shape[0])).T


class Boundary(NamedTuple):
    """What the corners allow at a theta over all features, as flat vectors."""

    corners: Corners
    gradient: Any  # of everything but the corners
    floor: Any  # a pull that moves nothing


def boundary(curvature: RowwiseCurvature, length: float = 0.0) -> Boundary:
    """Corners and gradient at the curvature's theta, pulls up to ``length`` ignored.

    Lengths are those of Newton steps in one entry.
    """
    corners = flat_corners(curvature.objective, curvature.theta)
    xp = array_namespace(curvature.theta)
    smooth = replace(curvature, objective=_without_corners(curvature.objective))
    value = abs(smooth.value)
    diagonal = _flat(curvature.diagonal())  # of a constant column, rounding of any sign
    scale = xp.sqrt(xp.where(diagonal > 0, diagonal, xp.zeros_like(diagonal)))
    seen = scale > _LEAST_SCALE * xp.max(scale)
    floor = max(length, _PULL_NOISE * (2 * value) ** 0.5) * scale
    floor = xp.where(seen, floor, xp.full_like(scale, xp.inf))
    return Boundary(corners, _flat(smooth.first_order.gradient), floor)


def _without_corners(objective: Objective) -> Objective:
    return replace(objective, penalty=replace(objective.penalty, corners=None))


def flat_corners(objective: Objective, theta: Array) -> Corners:
    """Corners of an objective on all features, flat like theta."""
    corners, xp = objective.penalty.corners, array_namespace(theta)
    assert corners is not None
    up, down = (
        _flat(xp.broadcast_to(part, theta.shape)) for part in (corners.up, corners.down)
    )
    return Corners(up, down)


def minimise_with_corners(
    point: Point, solver: AbstractSolver, *, length: float, max_iter: int
) -> Polished:
    """``polish``, and where the penalty has corners, to the minimum over all features.

    The end may stand on another active set, and so on other features, than the start.
    """
    wider = point.objective.wider
    if wider is None:
        return polish(point, solver, length=length, max_iter=max_iter)
    end, low = polish(point, solver, length=length, max_iter=max_iter), point
    n_steps = end.n_steps
    for _ in range(_MOST_RETURNS):
        if end.unbounded or (not end.raised and _is_minimum(end.point, length)):
            return end._replace(n_steps=n_steps)
        theta = low.objective.selection.spread(low.theta)
        theta, steps = _proximal_newton(wider, theta, length, max_iter)
        low = expand(*wider.narrowed(theta), solver, point.curvature.damping)
        end = _polish_to_zeros(low, solver, length, max_iter).no_higher_than(point)
        n_steps, low = n_steps + steps + end.n_steps, end.point
    return end._replace(n_steps=n_steps, converged=_is_minimum(end.point, length))


def _polish_to_zeros(
    point: Point, solver: AbstractSolver, length: float, max_iter: int
) -> Polished:
    """Polish on the active set; an entry that would pass zero comes to rest there.

    Up to the first such zero the objective is that of the active set, and falls.
    """
    n_steps, damping = 0, point.curvature.damping
    while True:
        end = descend(point, solver, length=length, max_iter=max_iter)
        n_steps += end.n_steps
        theta = _up_to_zero(point, end.point.theta)
        if theta is None or end.unbounded:
            return end._replace(n_steps=n_steps)
        objective = point.objective
        assert objective.wider is not None
        wide = objective.selection.spread(theta)
        point = expand(*objective.wider.narrowed(wide), solver, damping)


def _up_to_zero(point: Point, end: Array) -> Any:
    """Theta on the way to an end where the first entry with a corner is at zero.

    None where no entry changes its sign.
    """
    objective, start, xp = point.objective, point.theta, array_namespace(end)
    assert objective.wider is not None and objective.wider.penalty.corners is not None
    cornered = objective.selection.picked(objective.wider.penalty.corners.present)
    passing = cornered & (xp.sign(end) != xp.sign(start))
    if not bool(xp.any(passing)):
        return None
    gap = xp.where(passing, start - end, xp.ones_like(start))
    reach = xp.where(passing, start / gap, xp.inf)
    first = xp.min(reach)
    stops = passing & (reach <= first)
    return xp.where(stops, xp.zeros_like(start), start + first * (end - start))


def _is_minimum(point: Point, length: float) -> bool:
    """Whether a minimum on an active set is one over all features."""
    objective = point.objective
    assert objective.wider is not None
    xp = array_namespace(point.theta)
    theta = objective.selection.spread(point.theta)
    at = boundary(RowwiseCurvature(objective.wider, theta), length)
    x = _flat(theta)
    free = (x != 0) | ~at.corners.present
    # Steep also where an entry has passed zero, and so has another slope.
    own = at.corners.slope(xp.sign(x))
    steep = abs(at.gradient + own) > _STEEP * at.floor
    # Nothing but its corner pulls at the entry of a constant column: back to zero.
    steep = steep | (~xp.isfinite(at.floor) & (own != 0))
    pulled = abs(at.corners.pull(at.gradient)) > at.floor
    return not bool(xp.any(xp.where(free, steep, pulled)))


def _proximal_newton(
    objective: Objective, theta: Array, length: float, max_iter: int
) -> tuple[Any, int]:
    """Proximal Newton steps over all features, damped so that the objective falls."""
    xp, n_steps = array_namespace(theta), 0
    while n_steps < max_iter:
        n_steps += 1
        curvature = RowwiseCurvature(objective, theta)
        at, square = boundary(curvature, length), CurvatureRows(curvature)
        end = corner_minimum(_flat(theta), at.gradient, square, at.corners, at.floor)
        step = xp.reshape(end.x, theta.shape) - theta
        moved, before = theta + step, curvature.value
        for _ in range(_MOST_HALVINGS):
            after = RowwiseCurvature(objective, moved).value
            if after <= before + _RISE * abs(before):
                break
            step = step / 2
            moved = theta + step
        else:  # nowhere lower: rounding
            return theta, n_steps
        theta = moved
        if objective.loss.quadratic or before - after <= _LEAST_GAIN * abs(before):
            break
    return theta, n_steps


def _flat(theta: Array) -> Any:
    return array_namespace(theta).reshape(theta, (-1,))
