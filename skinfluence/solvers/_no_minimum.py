"""Objectives without a finite minimum, and rows without which there is none."""

from typing import Any

from skinfluence._array import Array, array_namespace, device_of, masked
from skinfluence._objective import Objective

# Slopes of a fit that is not quite at its minimum do not add up to zero to all digits.
_NEARLY_HALF = 0.49


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
        if not bool(xp.any(present)):
            return False
        targets, outputs = masked(targets, present), masked(outputs, present)
    intercepts = strength[:, objective.layout.width - 1 :: objective.layout.width]
    free_intercept = objective.design.has_intercept and bool(xp.all(intercepts == 0))
    if free_intercept and objective.loss.one_sided(targets):
        return True
    penalised = bool(xp.any(objective.penalised))
    return not penalised and objective.loss.separates(targets, outputs)


def needed_rows(objective: Objective, u: Array) -> Any:
    """Indices of the rows without which the others are known to have no finite optimum.

    Without such a row all slopes of an output, or ``slope u``, have one sign. With it
    they add up to zero at the minimum, so its own is half of the sum of their sizes: few
    rows have to be tried.
    """
    xp, device = array_namespace(u), device_of(u)
    none = xp.zeros((0,), dtype=xp.int64, device=device)
    if objective.loss.quadratic or bool(xp.all(objective.penalty.strength > 0)):
        return none
    slopes = objective.weight[:, None] * objective.loss.gradient(objective.targets, u)

    def are_half(values: Array) -> Any:
        sizes = xp.abs(values)
        total = xp.sum(sizes, axis=0)
        return xp.any((sizes > _NEARLY_HALF * total) & (total > 0), axis=1)

    tilts = xp.sum(slopes * u, axis=1, keepdims=True)
    tried = xp.nonzero(are_half(slopes) | are_half(tilts))[0]
    needed = [
        tried[i : i + 1]
        for i in range(tried.shape[0])
        if has_no_minimum(objective.without(tried[i : i + 1]), u)
    ]
    return xp.concat([none, *needed])
