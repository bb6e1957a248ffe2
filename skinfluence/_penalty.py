"""The penalty in sum form: quadratic on the free entries of theta, with corners at zero."""

from dataclasses import dataclass, replace
from typing import Any, final

from skinfluence._array import Array, array_namespace


@final
@dataclass(frozen=True, eq=False)
class Corners:
    """``sum_j up_j max(theta_j, 0) + down_j max(-theta_j, 0)``: a corner at each zero.

    The L1 norm has ``up = down = l1``; an entry that must not be negative has an infinite
    ``down``; one without a corner has zeros.
    """

    up: Any  # (G or 1, D)
    down: Any  # (G or 1, D)

    @property
    def present(self) -> Any:
        """Entries that have a corner, bool."""
        return (self.up > 0) | (self.down > 0)

    def slope(self, sign: Array) -> Any:
        """Derivative on the side of zero that ``sign`` says; 0 for 0."""
        xp = array_namespace(self.up)
        falling = xp.where(sign < 0, -self.down, xp.zeros_like(self.up))
        return xp.where(sign > 0, self.up, falling)

    def value(self, theta: Array) -> Any:
        """The sum over the last two axes."""
        xp = array_namespace(theta)
        return xp.sum(self.slope(xp.sign(theta)) * theta, axis=(-2, -1))

    def pull(self, gradient: Array) -> Any:
        """What moves an entry off zero, signed: 0 where the corner holds it.

        ``gradient`` is that of everything but the corners. At a minimum it lies in
        ``[-up, down]`` for every entry at zero.
        """
        xp = array_namespace(gradient)
        zero = xp.zeros_like(gradient)
        rising = xp.where(-gradient > self.up, -gradient - self.up, zero)
        return xp.where(gradient > self.down, self.down - gradient, rising)

    def times(self, factor: Any) -> "Corners":
        """The same corners, scaled."""
        return Corners(factor * self.up, factor * self.down)


@final
@dataclass(frozen=True, eq=False)
class Penalty:
    """``sum_j slope_j theta_j + 1/2 strength_j theta_j**2``, and corners.

    ``strength``, the second derivative, has one row if all groups are penalised alike,
    and is 0 where nothing is penalised. ``slope`` stands for the corners where the signs
    of theta are held: then there are no corners.

    An estimator that minimises a *mean* loss ties its penalty to the weight sum, so each
    row carries the part ``share * s_i`` of it, which leaves with the row.
    """

    strength: Any  # (G or 1, D)
    slope: Any = 0.0
    share: float = 0.0  # per unit of weight: 1 / S in mean form, 0 in sum form
    corners: Corners | None = None

    def value(self, theta: Array) -> Any:
        """Penalty at theta (G, D) or, for many candidates, ``(..., G, D)``."""
        xp = array_namespace(theta)
        density = (self.slope + 0.5 * self.strength * theta) * theta
        smooth = xp.sum(density, axis=(-2, -1))
        return smooth if self.corners is None else smooth + self.corners.value(theta)

    def gradient(self, theta: Array) -> Any:
        """Gradient at theta, of its shape; of a corner that theta sits in, 0."""
        smooth = self.slope + self.strength * theta
        if self.corners is None:
            return smooth
        return smooth + self.corners.slope(array_namespace(theta).sign(theta))

    @property
    def keeps_bounded(self) -> Any:
        """Entries whose growth in either direction costs something, bool."""
        xp = array_namespace(self.strength)
        bounded = (self.strength > 0) | (xp.zeros_like(self.strength) != self.slope)
        if self.corners is None:
            return bounded
        return bounded | ((self.corners.up > 0) & (self.corners.down > 0))

    def held(self, theta: Array) -> "Penalty":
        """The penalty where every sign stays as it is, without corners."""
        if self.corners is None:
            return self
        sign = array_namespace(theta).sign(theta)
        return replace(self, slope=self.corners.slope(sign), corners=None)

    def in_units(self, units: Any) -> "Penalty":
        """The penalty of coefficients whose columns are in other units.

        ``units`` (..., G or 1, D) are over those of the columns here: a coefficient of
        1 here is one of ``units`` there.
        """
        corners = None if self.corners is None else self.corners.times(units)
        return replace(
            self,
            strength=units**2 * self.strength,
            slope=units * self.slope,
            corners=corners,
        )

    def without(self, leaving: float, staying: float | None = None) -> "Penalty":
        """What is left of the penalty when rows that count ``leaving`` leave.

        Where the others are known to count ``staying``, no digits are lost beside rows
        that count for nearly all.
        """
        kept = 1 - self.share * leaving
        if self.share and staying is not None:
            kept = staying / (staying + leaving)
        return replace(
            self,
            strength=kept * self.strength,
            slope=kept * self.slope,
            share=self.share / kept if kept else 0.0,
            corners=None if self.corners is None else self.corners.times(kept),
        )
