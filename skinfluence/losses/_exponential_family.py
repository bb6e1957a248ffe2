"""Half the deviance of a family, as a function of the linear output through a link."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import final

from skinfluence._array import Array, array_namespace
from skinfluence.losses._base import (
    WALL,
    WALL_SLOPE,
    AbstractLoss,
    are_small,
    curved_exp,
)
from skinfluence.losses._families import AbstractFamily, Tweedie
from skinfluence.losses._links import AbstractLink, Identity, Log, clipped_exp


class AbstractExponentialFamilyLoss(AbstractLoss):
    """Half the deviance of ``family`` through ``link``, up to terms free of ``u``.

    Outputs whose mean the family does not allow stand at a wall (``WALL``).
    """

    family: AbstractFamily
    link: AbstractLink

    def n_groups(self, n_outputs: int) -> int:
        return n_outputs

    def value(self, y: Array, u: Array) -> Array:
        return array_namespace(u).sum(self._derivative(y, u, 0), axis=-1)

    def gradient(self, y: Array, u: Array) -> Array:
        return self._derivative(y, u, 1)

    def hessian(self, y: Array, u: Array) -> Array:
        return self._derivative(y, u, 2)[..., None, None]

    def third(self, y: Array, u: Array) -> Array:
        return self._derivative(y, u, 3)[..., None, None, None]

    def _derivative(self, y: Array, u: Array, order: int) -> Array:
        if not self.bounded_domain:
            return self.family.derivative(y, u, self.link, order)
        xp, (low, high) = array_namespace(u), self._outputs
        inside = (u > low) & (u < high)
        some = xp.where(inside, u, _between(low, high) * xp.ones_like(u))
        derivative = self.family.derivative(y, some, self.link, order)
        outwards = xp.where(u <= low, -xp.ones_like(u), xp.ones_like(u))
        wall = (WALL, WALL_SLOPE * outwards, 0.0, 0.0)[order]
        return xp.where(inside, derivative, wall + xp.zeros_like(derivative))

    @cached_property
    def _outputs(self) -> tuple[float, float]:
        """Outputs strictly between these have a mean that the family allows."""
        return self.link.outputs(self.family.lower, self.family.upper)

    @cached_property
    def _means(self) -> tuple[float, float]:
        """Means that the model can approach, and the family does not attain."""
        family, link = self.family, self.link
        return max(family.lower, link.lower), min(family.upper, link.upper)

    @property
    def targets(self) -> str:
        return self.family.targets

    def allows(self, y: Array) -> Array:
        return self.family.allows(y)

    @property
    def bounded_domain(self) -> bool:
        return self._outputs != (-math.inf, math.inf)

    def within_domain(self, u: Array) -> Array:
        low, high = self._outputs
        return array_namespace(u).all((u > low) & (u < high), axis=-1)

    def separates(self, y: Array, u: Array) -> bool:
        low, high = self._means
        if self.bounded_domain or (low, high) == (-math.inf, math.inf):
            return False
        own_side = ((y <= low) & (u < 0)) | ((y >= high) & (u > 0))
        return bool(array_namespace(u).all(own_side))

    def one_sided(self, y: Array) -> bool:
        xp, (low, high) = array_namespace(y), self._means
        if (low, high) == (-math.inf, math.inf):
            return False
        ends = (xp.max(y, axis=0) <= low) | (xp.min(y, axis=0) >= high)
        return bool(xp.any(ends))

    def response(self, u: Array) -> Array:
        """Mean of y."""
        return self.link.power_mean(u, 1.0, 0)

    def response_slope(self, u: Array) -> Array:
        return self.link.power_mean(u, 1.0, 1)

    @property
    def quadratic(self) -> bool:
        return self.canonical and self.link.power == 1 and not self.bounded_domain

    @property
    def self_concordance(self) -> float:
        if self.bounded_domain:  # second derivatives end at the wall
            return math.inf
        return self.family.self_concordance(self.link)

    @property
    def convex(self) -> bool:
        return self.family.is_convex(self.link)

    @property
    def canonical(self) -> bool:
        return self.family.is_canonical(self.link)

    @property
    def dispersion_known(self) -> bool:
        return self.family.dispersion_known

    def variance(self, mu: Array) -> Array:
        """Variance function V(mu): variance of y over the dispersion, ``(..., K)``."""
        return self.family.variance(mu)

    def unit_deviance(self, y: Array, u: Array) -> Array:
        return self.family.unit_deviance(y, u, self.link)

    def fisher_weight(self, u: Array) -> Array:
        return self.family.fisher_weight(u, self.link)

    def pearson_residual(self, y: Array, u: Array) -> Array:
        return self.family.pearson_residual(y, u, self.link)


@final
@dataclass(frozen=True)
class ExponentialFamilyLoss(AbstractExponentialFamilyLoss):
    """Half the deviance of a family as a function of the linear output, by a link.

    Every family goes with every link. Outputs whose mean the family does not allow have
    no finite loss.

    Parameters
    ----------
    family : AbstractFamily
        ``Gaussian()``, ``Binomial()``, ``Poisson()``, ``Gamma()``,
        ``InverseGaussian()``, ``Tweedie(power)`` or ``NegativeBinomial(dispersion)``.
    link : AbstractLink
        ``Identity()``, ``Log()``, ``Logit()``, ``Probit()``, ``CLogLog()``,
        ``LogLog()`` or ``Power(power)``: -1 inverse, -2 inverse squared, 0.5 square
        root.

    See Also
    --------
    HalfSquaredError, HalfBinomialLoss, HalfTweedieLoss : Common pairs; faster.

    References
    ----------
    .. [1] McCullagh & Nelder (1989). Generalized linear models. Section 2.2.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfluence.losses import Binomial, CLogLog, ExponentialFamilyLoss
    >>> loss = ExponentialFamilyLoss(Binomial(), CLogLog())
    >>> y, u = np.array([[0.0], [1.0]]), np.array([[-1.0], [0.5]])
    >>> loss.response(u).round(3)
    array([[0.308],
           [0.808]])
    >>> loss.gradient(y, u).round(3)
    array([[ 0.368],
           [-0.393]])
    >>> loss.convex, loss.canonical
    (True, False)
    """

    family: AbstractFamily
    link: AbstractLink


@final
@dataclass(frozen=True)
class HalfTweedieLoss(AbstractExponentialFamilyLoss):
    """Half a Tweedie deviance with a log link, ``mu = exp(u)``.

    ``loss = exp((2 - p) u) / (2 - p) - y exp((1 - p) u) / (1 - p)``; for p = 1, Poisson,
    ``exp(u) - y u``; for p = 2, Gamma, ``u + y exp(-u)``.

    Parameters
    ----------
    power : float, default=1.0
        Power p of the variance ``mu**p``.
    """

    power: float = 1.0
    link = Log()

    @cached_property
    def family(self) -> Tweedie:  # type: ignore[override]
        return Tweedie(self.power)

    def curved_change(self, y: Array, u: Array, moves: Array) -> Array:
        p, xp = self.power, array_namespace(u)
        if not are_small(max(abs(2 - p), abs(1 - p)) * moves, curved=True):
            return super().curved_change(y, u, moves)

        def change(k: float, factor: Array | float) -> Array:
            start = (factor * clipped_exp(k * u))[..., None]
            return xp.astype(start, moves.dtype) * curved_exp(k * moves)

        terms = ((2 - p, 1.0), (1 - p, -y))
        changes = [change(k, factor) for k, factor in terms if k != 0]
        return sum(changes[1:], changes[0])


@final
@dataclass(frozen=True)
class HalfTweedieIdentityLoss(AbstractExponentialFamilyLoss):
    """Half a Tweedie deviance with the identity link, ``mu = u > 0``.

    ``loss = u**(2 - p) / (2 - p) - y u**(1 - p) / (1 - p)``; for p = 1 ``u - y log(u)``,
    for p = 2 ``log(u) + y / u``. Outputs that are not positive have no finite loss.

    Parameters
    ----------
    power : float, default=1.0
        Power p of the variance ``mu**p``.
    """

    power: float = 1.0
    link = Identity()

    @cached_property
    def family(self) -> Tweedie:  # type: ignore[override]
        return Tweedie(self.power)


def _between(low: float, high: float) -> float:
    """A number between two, of which one may be infinite."""
    if math.isinf(low):
        return high - 1
    return low + 1 if math.isinf(high) else (low + high) / 2
