"""Objectives without a finite minimum: what proves it, and what shows it."""

from skinfluence._array import Array, array_namespace, masked
from skinfluence._objective import Objective
from skinfluence.solvers._point import Point

# A Newton step far out on a ray moves outputs by about one, and one at a minimum by none.
_MOVE_ON_A_RAY = 0.1


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
    intercepts = strength[:, objective.layout.width - 1 :: objective.layout.width]
    free_intercept = objective.design.has_intercept and bool(xp.all(intercepts == 0))
    if free_intercept and objective.loss.one_sided(targets):
        return True
    penalised = bool(xp.any(objective.penalised))
    return not penalised and objective.loss.separates(targets, outputs)


def is_on_a_ray(point: Point) -> bool:
    """Whether Newton steps still move outputs by about one: they would for ever."""
    xp, objective = array_namespace(point.theta), point.objective
    if bool(xp.any(objective.penalised)) or objective.loss.quadratic:
        return False
    moves = objective.moves(point.newton_step[..., None])
    return bool(xp.max(xp.abs(moves)) > _MOVE_ON_A_RAY)
