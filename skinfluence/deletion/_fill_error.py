"""How far a linear term is from what gaps do that are filled in anew."""

from math import log
from typing import Any

from skinfluence._array import Array, array_namespace
from skinfluence.deletion._base import Deltas
from skinfluence.solvers import Nearby, Point

# A bound is for the worst of rows: steps are in doubt where moves may change H by more
# than this part of it.
_MOST_ETA = 0.3
# Of self-concordant losses, residuals are vouched for while H halves at most.
_MOST_EXPONENT = log(2.0)


def with_fill_error(
    deltas: Deltas,
    point: Point,
    fills: Array,
    nearby: Nearby | None,
    length: Array,
) -> Deltas:
    """Deltas with that error in their bounds, and those in doubt marked.

    Where other rows change by more than units. ``fills`` (b, w) are the moves of what is
    filled in; ``length`` (b,) is that of the deltas in the norms of H without each group.
    """
    if point.objective.norms:  # nothing is known of it
        error = array_namespace(length).inf + 0.0 * length
        return deltas._replace(error=error)
    moves, sizes = array_namespace(fills).abs(fills), point.fill_sizes
    eta = moves @ (sizes.held * sizes.width)
    doubtful = deltas.doubtful | ((eta > _MOST_ETA) & ~deltas.is_missing)
    error = _fill_error(point, moves, eta, deltas.stretch, nearby, length)
    return deltas._replace(error=deltas.error + error, doubtful=doubtful)


def _fill_error(
    point: Point,
    moves: Array,
    eta: Array,
    stretch: Array,
    nearby: Nearby | None,
    length: Array,
) -> Any:
    """Bound of the error of a first-order change of gaps, in the norm of H, (b,).

    Rows ``x + M e``, with moves e at the gaps M, at the end of steps of this ``length``
    (b,) in the norms of H without each group. With ``eta = |e|' (held width)``, ``tau``
    the same of how far outputs move, and kappa the growth of second derivatives on the
    way, the gradient there is at most ``(kappa - 1) tau + eta (length + kappa (length +
    tau))`` long in the norm of inv(H).
    """
    xp, sizes = array_namespace(length), point.fill_sizes
    own, length = length, length * xp.sqrt(stretch)  # in the norm of H
    tau = moves @ (sizes.held * sizes.coef) + eta * length
    farthest = moves @ sizes.coef + (moves @ sizes.width) * length
    loss = point.objective.loss
    grown, times = xp.ones_like(eta), 1.0
    far = eta >= 1
    if not loss.quadratic:
        if nearby is None:
            return xp.inf + 0.0 * eta
        widest = nearby.widths.widest
        exponent = widest * own + loss.self_concordance * farthest
        far = far | (exponent > _MOST_EXPONENT)
        grown, times = xp.exp(xp.where(far, xp.zeros_like(eta), exponent)), 2.0
    left = (grown - 1) * tau + eta * (length + grown * (length + tau))
    shorter = xp.where(far, xp.ones_like(eta), 1 - eta)
    error = times * stretch * left / shorter**2
    if not loss.quadratic:
        far = far | (widest * error > _MOST_EXPONENT)
    return xp.where(far, xp.inf, error)
