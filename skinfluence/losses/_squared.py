"""Squared errors: least squares, ridge, ridge classification; and with a dead zone."""

from dataclasses import dataclass
from typing import final

from skinfluence._array import Array, array_namespace, device_of
from skinfluence.losses._base import AbstractLoss
from skinfluence.losses._exponential_family import AbstractExponentialFamilyLoss
from skinfluence.losses._families import Gaussian
from skinfluence.losses._links import Identity


@final
@dataclass(frozen=True)
class HalfSquaredError(AbstractExponentialFamilyLoss):
    """``loss = 1/2 sum_k (u_k - y_k)**2``, one group per output, all alike."""

    family = Gaussian()
    link = Identity()

    def value(self, y: Array, u: Array) -> Array:
        xp = array_namespace(u)
        return 0.5 * xp.sum((u - y) ** 2, axis=-1)

    def gradient(self, y: Array, u: Array) -> Array:
        return u - y

    def hessian(self, y: Array, u: Array) -> Array:
        xp = array_namespace(u)
        return xp.ones((*u.shape[:-1], 1, 1, 1), dtype=u.dtype, device=device_of(u))

    def response(self, u: Array) -> Array:
        return u

    def fisher_weight(self, u: Array) -> Array:
        return array_namespace(u).ones_like(u)

    def pearson_residual(self, y: Array, u: Array) -> Array:
        return y - u


# Of a target and the dead zone around it, what rounding may leave of a residual.
_ROUNDING = 1e-12


@final
@dataclass(frozen=True)
class SquaredEpsilonInsensitive(AbstractLoss):
    """``loss = sum_k max(0, |u_k - y_k| - epsilon)**2``, one group per output.

    Its second derivative jumps from 2 to 0 where the residual enters the dead zone.

    Parameters
    ----------
    epsilon : float
        Half the width of the dead zone, in units of y.
    """

    epsilon: float

    convex = True

    def n_groups(self, n_outputs: int) -> int:
        return n_outputs

    def value(self, y: Array, u: Array) -> Array:
        return array_namespace(u).sum(self._excess(y, u) ** 2, axis=-1)

    def gradient(self, y: Array, u: Array) -> Array:
        return 2 * array_namespace(u).sign(u - y) * self._excess(y, u)

    def hessian(self, y: Array, u: Array) -> Array:
        xp = array_namespace(u)
        # A row that alone holds a column lies on the edge, to rounding, and holds it.
        edge = self.epsilon - _ROUNDING * (self.epsilon + xp.abs(y))
        outside = xp.abs(u - y) > edge
        return 2 * xp.astype(outside, u.dtype)[..., None, None]

    def _excess(self, y: Array, u: Array) -> Array:
        xp = array_namespace(u)
        return xp.clip(xp.abs(u - y) - self.epsilon, min=0.0)
