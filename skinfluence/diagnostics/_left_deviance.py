"""Deviance without a row that has nearly all of it: a typo in an exact relation.

There the difference ``D - d**2 / (1 - h)`` is rounding, of either sign, and one step of a
generalized linear model is no estimate. So the residuals of the other rows are computed
at the parameters without the row.
"""

from typing import Any

from skinfluence._array import Array, array_namespace, device_of, placed, to_numpy
from skinfluence.deletion import AbstractDeletion
from skinfluence.diagnostics._residuals import Residuals
from skinfluence.diagnostics._totals import Totals
from skinfluence.solvers import Point

# Below this share of the whole deviance, fewer than about ten digits of the difference
# are left.
_NEARLY_ALL = 1e-6


def left_deviance(
    point: Point,
    rows: slice,
    own: Residuals,
    totals: Totals,
    difference: Array,
    deletion: AbstractDeletion,
) -> Any:
    """The deviance without each of these rows, (b, K): 0 where it is rounding.

    ``difference`` is what the closed form says, which is kept for ordinary rows.
    """
    xp = array_namespace(difference)
    least = _NEARLY_ALL * totals.deviance  # 0 where all residuals are rounding
    lost = (least > 0) & (difference * own.remainder < least)  # NaN: no
    some = xp.any(lost, axis=1)
    if not bool(xp.any(some)):
        return difference
    indices = rows.start + xp.nonzero(some)[0]
    deltas = deletion.deltas(indices).theta  # (m, G, D)
    left = [
        _deviance_of_others(point, row, deltas[k, ...])
        for k, row in enumerate(to_numpy(indices).tolist())
    ]
    exact = placed(xp.stack(left), some)
    # The delta has an error of its own, which grows as the row's leverage nears 1.
    rounding = exact * own.remainder**2 <= totals.rounding
    return xp.where(lost, xp.where(rounding, xp.zeros_like(exact), exact), difference)


def _deviance_of_others(point: Point, row: int, delta: Array) -> Any:
    """Deviance of all rows but one at ``theta + delta``, (K,)."""
    objective = point.objective
    xp, s = array_namespace(delta), objective.weight[:, None]
    u = point.outputs + objective.moves(delta[..., None])[..., 0]
    unit = s * objective.loss.unit_deviance(objective.targets, u)
    itself = xp.arange(objective.n_rows, device=device_of(delta))[:, None] == row
    # NaN stays, where there is no model without the row.
    return xp.sum(xp.where(itself | (unit < 0), xp.zeros_like(unit), unit), axis=0)
