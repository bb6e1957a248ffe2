"""The penalty in sum form, quadratic on the free entries of theta."""

from dataclasses import dataclass, replace
from typing import Any, final

from skinfluence._array import array_namespace


@final
@dataclass(frozen=True, eq=False)
class Penalty:
    """``sum_j slope_j theta_j + 1/2 strength_j theta_j**2``.

    ``strength`` is (G, D), or (1, D) if all groups are penalised alike, 0 where nothing
    is penalised. ``slope`` is the L1 part on its active set, strength times sign.

    An estimator that minimises a *mean* loss ties its penalty to the weight sum, so each
    row carries the part ``share * s_i`` of it, which leaves with the row.
    """

    strength: Any
    slope: Any = 0.0
    share: float = 0.0  # per unit of weight: 1 / S in mean form, 0 in sum form

    def value(self, theta: Any) -> Any:
        """Penalty at theta (G, D) or, for many candidates, ``(..., G, D)``."""
        xp = array_namespace(theta)
        density = (self.slope + 0.5 * self.strength * theta) * theta
        return xp.sum(density, axis=(-2, -1))

    def gradient(self, theta: Any) -> Any:
        """Gradient at theta, of its shape."""
        return self.slope + self.strength * theta

    @property
    def hessian_diagonal(self) -> Any:
        """Second derivative, (G or 1, D)."""
        return self.strength

    def without(self, weight: float) -> "Penalty":
        """What is left of the penalty when a row of this weight leaves."""
        kept = 1 - self.share * weight
        return replace(
            self,
            strength=kept * self.strength,
            slope=kept * self.slope,
            share=self.share / kept,
        )
