"""How the columns of refits differ from those of the fit: what is learned without rows."""

from typing import Any, NamedTuple

from skinfluence._array import Array, array_namespace
from skinfluence.solvers import Point, per_weight


class Learned(NamedTuple):
    """Of b refits; columns x of the fit are ``shift + (1 + gain) x'`` of a refit's."""

    gain: Any  # (b, p)
    shift: Any  # (b, p)
    linear: bool  # both are derivatives

    @property
    def stretch(self) -> Any:
        """How much longer an error of the parameters is at most for it, (b,)."""
        xp = array_namespace(self.gain)
        units = 1 + xp.clip(xp.max(self.gain, axis=1), min=0.0)
        return units + xp.sqrt(xp.sum(self.shift**2, axis=1))

    def moved(self, coef: Array, intercept: Array, fitted: Array) -> tuple[Any, Any]:
        """Changes (b, K, p) and (b, K) from ``fitted`` (1, K, p), in a refit's columns."""
        after = fitted if self.linear else fitted + coef
        gain, shift = self.gain[:, None, :], self.shift[:, None, :]
        moved = array_namespace(coef).sum(after * shift, axis=2)
        return coef + gain * after, intercept + moved


def learned_deltas(point: Point, rows: Array, linear: bool = False) -> Learned | None:
    """What is learned again without each row (index), or to first order; None if held."""
    following = point.objective.following
    if following is None:
        return None
    if linear:
        return Learned(*following.derivative(rows), linear=True)
    ratio, shift = following.without(rows)
    return Learned(ratio - 1, shift, linear=False)


def learned_influence(point: Point, rows: Array) -> Learned | None:
    """The derivative of it in the weight of each row, for a mean loss."""
    learned = learned_deltas(point, rows, linear=True)
    if learned is None:
        return None
    scale = -point.objective.weight_sum * per_weight(point, rows)[:, None]
    return Learned(scale * learned.gain, scale * learned.shift, linear=True)
