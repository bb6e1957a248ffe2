"""The penalty in sum form: ``1/2 sum_j strength_j theta_j**2``."""

from dataclasses import dataclass
from typing import Any, final

from skinfluence._array import array_namespace


@final
@dataclass(frozen=True, eq=False)
class RidgePenalty:
    """Squared penalty with one strength per parameter, 0 where unpenalised.

    ``strength`` is (G, D), or (1, D) if all groups are penalised alike.
    """

    strength: Any

    def value(self, theta: Any) -> Any:
        """Penalty at theta (G, D) or, for many candidates, ``(..., G, D)``."""
        xp = array_namespace(theta)
        return 0.5 * xp.sum(self.strength * theta**2, axis=(-2, -1))

    def gradient(self, theta: Any) -> Any:
        """Gradient at theta, of its shape."""
        return self.strength * theta

    @property
    def hessian_diagonal(self) -> Any:
        """Second derivative, (G or 1, D)."""
        return self.strength

    @property
    def least_curvature(self) -> float:
        """Smallest second derivative: the modulus of strong convexity, often 0."""
        return float(array_namespace(self.strength).min(self.strength))
