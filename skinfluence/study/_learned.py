"""How columns and targets of refits differ from those of the fit: what is learned again."""

from typing import Any, NamedTuple

import numpy as np

from skinfluence._array import Array, array_namespace, moved, to_numpy
from skinfluence._following import AbstractFollowing
from skinfluence.solvers import Point, per_weight


class Learned(NamedTuple):
    """Of b refits; columns x of the fit are ``shift + (1 + gain) x'`` of a refit's.

    Its targets likewise, where they are in other units.
    """

    gain: Any  # (b, p), or (b, 1) for all
    shift: Any
    linear: bool  # both are derivatives
    target_gain: Any  # (b, K), or (b, 1) for all
    target_shift: Any

    @property
    def stretch(self) -> Any:
        """How much longer an error of the parameters is at most for it, (b,)."""
        xp = array_namespace(self.gain)
        units = 1 + xp.clip(xp.max(self.gain, axis=1), min=0.0)
        stretch = units + xp.sqrt(xp.sum(self.shift**2, axis=1))
        return stretch / xp.min(1 + self.target_gain, axis=1)

    def moved(
        self, coef: Array, intercept: Array, fitted: tuple[Array, Array]
    ) -> tuple[Any, Any]:
        """Changes (b, K, p) and (b, K) in a refit's columns and targets.

        ``fitted`` are those that they are changes from, (1, K, p) and (1, K).
        """
        before, origin = fitted
        after = before if self.linear else before + coef
        gain, shift = self.gain[:, None, :], self.shift[:, None, :]
        moved = array_namespace(coef).sum(after * shift, axis=2)
        coef, intercept = coef + gain * after, intercept + moved
        gain, shift = self.target_gain, self.target_shift
        if self.linear:
            gained, raised = gain[:, :, None] * before, gain * origin + shift
            return coef - gained, intercept - raised
        return (
            (before + coef) / (1 + gain[:, :, None]) - before,
            (origin + intercept - shift) / (1 + gain) - origin,
        )


def learned_deltas(
    point: Point,
    targets: AbstractFollowing | None,
    rows: Array,
    linear: bool = False,
) -> Learned | None:
    """What is learned again without each row (index), or to first order; None if held.

    ``targets`` follows those, on the host.
    """
    following = point.objective.following
    if following is None and targets is None:
        return None
    columns = _of(following, rows, rows, linear)
    return Learned(*columns, linear, *_of(targets, to_numpy(rows), rows, linear))


def _of(
    following: AbstractFollowing | None, rows: Array, place: Array, linear: bool
) -> tuple[Any, Any]:
    """Gain and shift without each row beside ``place``; zeros of what is held."""
    if following is None:
        zeros = moved(np.zeros((rows.shape[0], 1)), place)
        return zeros, zeros
    if linear:
        gain, shift = following.derivative(rows)
    else:
        ratio, shift = following.without(rows)
        gain = ratio - 1
    return moved(gain, place), moved(shift, place)


def learned_influence(
    point: Point, targets: AbstractFollowing | None, rows: Array
) -> Learned | None:
    """The derivative of it in the weight of each row, for a mean loss."""
    learned = learned_deltas(point, targets, rows, linear=True)
    if learned is None:
        return None
    scale = -point.objective.weight_sum * per_weight(point, rows)[:, None]
    gain, shift, linear, target_gain, target_shift = learned
    own = scale * gain, scale * shift, linear
    return Learned(*own, scale * target_gain, scale * target_shift)
