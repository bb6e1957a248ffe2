"""Damped Newton steps to a minimum: a descent gives directions, a search their lengths."""

from dataclasses import dataclass, replace
from typing import NamedTuple, final

from skinfluence._array import array_namespace
from skinfluence.curvature import RowwiseCurvature
from skinfluence.solvers._base import AbstractSolver
from skinfluence.solvers._no_minimum import has_no_minimum
from skinfluence.solvers._point import Point, factored_for_steps

# A Newton step far out on a ray moves outputs by about one, and one at a minimum by none.
_MOVE_ON_A_RAY = 0.1

# F may rise by this, relatively, by rounding alone. Nearly dependent columns round it
# more coarsely: up to the second, a step is good if it leads much closer.
_RISE, _COARSE_RISE, _MUCH_CLOSER = 1e-13, 1e-9, 0.5
_MOST_HALVINGS = 40
# The decrease of F that a step promises, relatively, below which it is rounding.
_LEAST_DECREASE, _TINY = 1e-14, 1e-300
# Outputs that move by less have the same second derivatives.
_SAME_OUTPUTS = 1e-10
# A factor from before serves for this many steps, which cost less than a new one.
_MOST_CHORD_STEPS = 4
# Newton steps end far below the length asked for; chord steps end just below it, so
# they are taken to this part of it.
_CHORD_END = 0.01


class Polished(NamedTuple):
    """Where the Newton steps ended."""

    point: Point
    n_steps: int
    converged: bool
    unbounded: bool  # no finite optimum: the loss falls along a ray
    raised: bool = False  # steps led up, and the point is where they started

    def no_higher_than(self, start: Point) -> "Polished":
        """The end, or the start in its place if the objective is lower there."""
        before, after = start.value, self.point.value
        if after <= before + _COARSE_RISE * abs(before):
            return self
        return self._replace(point=start, converged=False, raised=True)


def polish(
    point: Point,
    solver: AbstractSolver,
    *,
    length: float,
    max_iter: int,
    keeps: float = 0.0,
) -> Polished:
    """Damped Newton steps until the next one is shorter than ``length``.

    Lengths are measured by the curvature. The point at the end has the factor of its own
    curvature, unless the steps since its factor was made are no longer than ``keeps``
    together. Where they lead up, with corners counted on both sides of zero, the start
    is the end.
    """
    end = descend(point, solver, length=length, max_iter=max_iter, keeps=keeps)
    return end if end.unbounded else end.no_higher_than(point)


def descend(
    point: Point,
    solver: AbstractSolver,
    *,
    length: float,
    max_iter: int,
    keeps: float = 0.0,
) -> Polished:
    """The same wherever the steps lead: on an active set, signs are held."""
    descent = _Descent(point, point, solver, keeps)
    for n_steps in range(max_iter + 1):
        if has_no_minimum(point.objective, descent.point.outputs):
            return Polished(descent.point, n_steps, converged=False, unbounded=True)
        if descent.ends(length):
            return _ended(descent, n_steps, converged=True)
        lower = _lower(descent.point) if n_steps < max_iter else None
        if lower is None:  # no step lowers F any more: rounding, or a ray
            break
        descent.move(lower, length)
    if not descent.is_fresh:
        descent.renew()
    return _ended(descent, n_steps, converged=_is_rounding(descent.point))


def _ended(descent: "_Descent", n_steps: int, *, converged: bool) -> Polished:
    point = descent.point
    if converged and point.expected:
        descent.solver.prepare(point.curvature)  # raises at a saddle point
    return Polished(point, n_steps, converged, _is_on_a_ray(point))


# --- directions ---


@final
@dataclass(eq=False)
class _Descent:
    """Newton directions on the way, by a factor of this place or of one before.

    A factor serves where the second derivatives are those of the place where it was made
    (always, if the objective is quadratic), and while the steps that are left are few
    enough for the chord method.

    References
    ----------
    .. [1] Kelley (1995). Iterative methods for linear and nonlinear equations.
       :doi:`10.1137/1.9781611970944`. Section 5.4, the chord method.
    """

    point: Point  # this place, with the factor in use
    made_at: Point
    solver: AbstractSolver
    keeps: float
    moved: float = 0.0  # length of the steps since
    previous: float = float("inf")  # length of the last step

    @property
    def is_fresh(self) -> bool:
        """Whether the factor may stay to the end."""
        return self.moved <= self.keeps or self._is_that_of_here

    @property
    def _is_that_of_here(self) -> bool:
        if self.point.objective.loss.quadratic:
            return True
        xp = array_namespace(self.point.theta)
        moves = self.point.outputs - self.made_at.outputs
        return bool(xp.max(xp.abs(moves)) <= _SAME_OUTPUTS)

    def renew(self) -> None:
        """Have a factor of this place."""
        self.point = factored_for_steps(self.point.curvature, self.solver)
        self.made_at, self.moved = self.point, 0.0

    def move(self, curvature: RowwiseCurvature, length: float) -> None:
        """Be at another place, with a new factor unless the old one still serves."""
        self.previous = self.point.distance
        self.moved += self.previous
        self.point = replace(self.point, curvature=curvature)
        gain = self.point.distance / self.previous
        near = self.point.distance * gain**_MOST_CHORD_STEPS <= _CHORD_END * length
        if not (self.solver.reuses and near) and not self._is_that_of_here:
            self.renew()

    def ends(self, length: float) -> bool:
        """Whether the next step, by a factor that may stay, is short or rounding."""
        if not self._is_over(length if self.is_fresh else _CHORD_END * length):
            return False
        if not self.is_fresh:
            self.renew()
        return self._is_over(length)

    def _is_over(self, length: float) -> bool:
        distance = self.point.distance
        stalled = distance > _MUCH_CLOSER * self.previous and _is_rounding(self.point)
        return distance <= length or stalled


# --- lengths of steps ---


def _lower(point: Point) -> RowwiseCurvature | None:
    """Where a Newton step leads, halved until F does not rise; None if it always does."""
    before, step = point.curvature.value, point.newton_step
    for _ in range(_MOST_HALVINGS):
        curvature = replace(point.curvature, theta=point.theta + step)
        rise = (curvature.value - before) / max(abs(before), _TINY)
        if rise <= _RISE or (rise <= _COARSE_RISE and _is_closer(point, curvature)):
            return curvature
        step = step / 2
    return None


def _is_closer(point: Point, curvature: RowwiseCurvature) -> bool:
    """Whether the next step by the same factor is half as long, and F cannot mislead."""
    moved = replace(point, curvature=curvature)
    closer = moved.distance <= _MUCH_CLOSER * point.distance
    return point.objective.loss.convex and closer


def _is_rounding(point: Point) -> bool:
    """Whether the remaining step is as short as rounding of F and theta makes it."""
    # The decrease that a full step promises is half its squared length.
    least = _LEAST_DECREASE * abs(point.curvature.value) + _TINY
    return 0.5 * point.distance**2 <= least


def _is_on_a_ray(point: Point) -> bool:
    """Whether Newton steps still move outputs by about one: they would for ever."""
    xp, objective = array_namespace(point.theta), point.objective
    if bool(xp.any(objective.penalised)) or objective.loss.quadratic:
        return False
    moves = objective.moves(point.newton_step[..., None])
    return bool(xp.max(xp.abs(moves)) > _MOVE_ON_A_RAY)
