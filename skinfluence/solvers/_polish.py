"""Distance to the minimum as a Newton step, and damped Newton steps to it."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, final

from skinfluence._array import Array, array_namespace, masked
from skinfluence._objective import Objective
from skinfluence.curvature import RowwiseCurvature
from skinfluence.exceptions import IndefiniteCurvatureError
from skinfluence.losses import ExpectedInformation
from skinfluence.solvers._base import AbstractFactor, AbstractSolver

# A full step may raise F by rounding alone; anything above this is a failed step, unless
# it led much closer: nearly dependent columns round F more coarsely.
_ROUNDING, _COARSE = 1e-13, 1e-9
_MOST_HALVINGS = 40
_SAME_OUTPUTS = 1e-10
# Steps with a factor from before that cost less than a new one.
_MOST_CHORD_STEPS = 4
# Newton steps end far below the length asked for, chord steps just there.
_CHORD_END = 0.01


@final
@dataclass(frozen=True, eq=False)
class Point:
    """An objective at one theta, with its curvature and the factor of that."""

    curvature: RowwiseCurvature
    factor: AbstractFactor
    expected: bool = False  # the factor is that of the expected curvature

    @property
    def objective(self) -> Objective:
        """The objective."""
        return self.curvature.objective

    @property
    def theta(self) -> Any:
        """Parameters (G, D)."""
        return self.curvature.theta

    @property
    def outputs(self) -> Any:
        """Linear outputs u of the training rows, (n, K)."""
        return self.curvature.first_order.outputs

    @property
    def gradient(self) -> Any:
        """Gradient of the objective, (G, D)."""
        return self.curvature.first_order.gradient

    @cached_property
    def newton_step(self) -> Any:
        """Step to the minimum of the quadratic model, (G, D)."""
        return -self.factor.steps(self.gradient[None, ...])[0, ...]

    @cached_property
    def distance(self) -> float:
        """Length of the Newton step, measured by the curvature."""
        return float(self.factor.norm(self.gradient[..., None])[0])


class Polished(NamedTuple):
    """Where the Newton steps ended."""

    point: Point
    n_steps: int
    converged: bool
    unbounded: bool  # no finite optimum: the loss falls along a ray


def expand(
    objective: Objective, theta: Array, solver: AbstractSolver, damping: float = 0.0
) -> Point:
    """Curvature and factor of the objective at theta."""
    curvature = RowwiseCurvature(objective, theta, damping)
    return Point(curvature, solver.prepare(curvature))


def expand_for_steps(
    objective: Objective, theta: Array, solver: AbstractSolver, damping: float = 0.0
) -> Point:
    """As ``expand``; where the objective bends downwards, good for a step only.

    Its factor is that of the expected curvature then, which never does.
    """
    return _expanded_for_steps(RowwiseCurvature(objective, theta, damping), solver)


def _expanded_for_steps(curvature: RowwiseCurvature, solver: AbstractSolver) -> Point:
    objective = curvature.objective
    try:
        return Point(curvature, solver.prepare(curvature))
    except IndefiniteCurvatureError:
        if not objective.loss.exponential_family:
            raise
    expected = replace(objective, loss=ExpectedInformation(objective.loss))
    factor = solver.prepare(replace(curvature, objective=expected))
    return Point(curvature, factor, expected=True)


def polish(
    point: Point,
    solver: AbstractSolver,
    *,
    length: float,
    max_iter: int,
    keeps: float = 0.0,
) -> Polished:
    """Damped Newton steps until the next one is shorter than ``length``.

    Lengths are measured by the curvature. A quadratic objective keeps its factor, and
    so does one whose outputs have hardly moved. Others keep it while it is good for the
    steps that are left (the chord method), and get that of the minimum at the end,
    unless the steps since it was made are no longer than ``keeps`` together.

    References
    ----------
    .. [1] Kelley (1995). Iterative methods for linear and nonlinear equations.
       :doi:`10.1137/1.9781611970944`. Section 5.4, the chord method.
    """
    objective = point.objective
    factored, previous = point, float("inf")  # where the factor was made
    since = 0.0  # length of the steps from there
    for n_steps in range(max_iter + 1):
        if has_no_minimum(objective, point.outputs):
            return Polished(point, n_steps, converged=False, unbounded=True)
        fresh = since <= keeps or _serves(factored, point.curvature)
        if _is_over(point, length if fresh else _CHORD_END * length, previous):
            if not fresh:
                point = factored = _expanded_for_steps(point.curvature, solver)
                since = 0.0
            if _is_over(point, length, previous):
                if point.expected:  # a saddle point: say so
                    solver.prepare(point.curvature)
                ray = _on_a_ray(point)
                return Polished(point, n_steps, converged=True, unbounded=ray)
        if n_steps == max_iter:
            break
        previous = point.distance
        curvature = _descended(point)
        if curvature is None:  # no step lowers F any more: rounding, or a ray
            break
        point, since = replace(point, curvature=curvature), since + previous
        chord = solver.reuses and _is_near(point, _CHORD_END * length, previous)
        if not chord and not _serves(factored, curvature):
            point = factored = _expanded_for_steps(curvature, solver)
            since = 0.0
    if since > keeps and not _serves(factored, point.curvature):
        point = _expanded_for_steps(point.curvature, solver)
    return Polished(
        point, n_steps, converged=_is_rounding(point), unbounded=_on_a_ray(point)
    )


def _is_over(point: Point, length: float, previous: float) -> bool:
    """Whether the next step is short enough, or rounding alone."""
    stalled = point.distance > 0.5 * previous and _is_rounding(point)
    return point.distance <= length or stalled


def _is_near(point: Point, length: float, previous: float) -> bool:
    """Whether a few more steps with the same factor end below ``length``."""
    gain = point.distance / previous
    return point.distance * gain**_MOST_CHORD_STEPS <= length


def _serves(factored: Point, curvature: RowwiseCurvature) -> bool:
    """Whether the factor of one place is that of another: second derivatives agree."""
    return curvature.objective.loss.quadratic or _hardly_moved(factored, curvature)


def _hardly_moved(point: Point, curvature: RowwiseCurvature) -> bool:
    """Whether the outputs, and so the second derivatives, are the same but for 1e-10."""
    xp = array_namespace(point.theta)
    moves = curvature.first_order.outputs - point.outputs
    return bool(xp.max(xp.abs(moves)) <= _SAME_OUTPUTS)


def has_no_minimum(objective: Objective, outputs: Array) -> bool:
    """Whether these outputs prove that the objective falls along a ray without end."""
    strength = objective.penalty.strength
    xp = array_namespace(strength)
    if bool(xp.all(strength > 0)):
        return False
    targets = objective.targets
    if objective.offset is not None:  # a ray multiplies the rest of the outputs only
        outputs = outputs - objective.offset
    if not bool(xp.all(objective.weight > 0)):
        present = objective.weight > 0
        targets, outputs = masked(targets, present), masked(outputs, present)
    free_intercept = objective.design.has_intercept and bool(
        xp.all(strength[:, objective.layout.width - 1 :: objective.layout.width] == 0)
    )
    if free_intercept and objective.loss.one_sided(targets):
        return True
    penalised = bool(xp.any(objective.penalised))
    return not penalised and objective.loss.separates(targets, outputs)


def _descended(point: Point) -> RowwiseCurvature | None:
    """Where a Newton step leads, halved until F does not rise; None if it always does."""
    before = point.curvature.value
    step = 1.0
    for _ in range(_MOST_HALVINGS):
        theta = point.theta + step * point.newton_step
        curvature = replace(point.curvature, theta=theta)
        rise = (curvature.value - before) / max(abs(before), 1e-300)
        if rise <= _ROUNDING or (rise <= _COARSE and _is_closer(point, curvature)):
            return curvature
        step /= 2
    return None


def _is_closer(point: Point, curvature: RowwiseCurvature) -> bool:
    """Whether the next step by the same factor is half as long.

    Where columns are nearly dependent, F hides that in the rounding of its outputs.
    """
    moved = replace(point, curvature=curvature)
    return point.objective.loss.convex and moved.distance <= 0.5 * point.distance


def _is_rounding(point: Point) -> bool:
    """Whether the remaining step is as short as rounding of F and theta makes it."""
    value = abs(point.curvature.value)
    # The decrease that a full step promises is half its squared length.
    return 0.5 * point.distance**2 <= 1e-14 * value + 1e-300


def _on_a_ray(point: Point) -> bool:
    """Whether Newton steps still move outputs by about one: they would for ever."""
    xp = array_namespace(point.theta)
    penalised = bool(xp.any(point.objective.penalised))
    if penalised or point.objective.loss.quadratic:
        return False
    moves = point.objective.moves(point.newton_step[..., None])
    return bool(xp.max(xp.abs(moves)) > 0.1)
