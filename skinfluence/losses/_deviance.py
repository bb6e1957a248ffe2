"""Half deviances of generalized linear models: the Tweedie family, by its two links."""

import abc
from dataclasses import dataclass
from typing import Any, ClassVar, final

from skinfluence._array import Array, array_namespace
from skinfluence.losses._base import (
    WALL,
    WALL_SLOPE,
    AbstractLoss,
    are_small,
    curved_exp,
)

# exp of this times any target is finite, and so is a sum over rows.
_LARGEST_EXPONENT = 600.0


class AbstractHalfTweedie(AbstractLoss):
    """Half the deviance of a family with variance ``mu**p``, up to terms free of ``u``.

    ``loss = A(u, 2 - p) - y A(u, 1 - p)`` where ``A(u, k)`` is ``mu**k / k`` at the mean
    of ``u``, or its limit ``log(mu)`` for k = 0. Powers: 0 normal, 1 Poisson, between 1
    and 2 compound Poisson, 2 Gamma, 3 inverse Gaussian.
    """

    exponential_family: ClassVar[bool] = True
    has_third: ClassVar[bool] = True
    power: float

    @abc.abstractmethod
    def antiderivative(self, u: Array, k: float, order: int) -> Any:
        """Derivative of ``A(u, k)`` of an order from 0 to 3, of the shape of ``u``."""

    def _derivative(self, y: Array, u: Array, order: int) -> Any:
        p = self.power
        of_targets = self.antiderivative(u, 1 - p, order)
        return self.antiderivative(u, 2 - p, order) - y * of_targets

    def n_groups(self, n_outputs: int) -> int:
        return n_outputs

    def value(self, y: Array, u: Array) -> Any:
        return array_namespace(u).sum(self._derivative(y, u, 0), axis=-1)

    def gradient(self, y: Array, u: Array) -> Any:
        return self._derivative(y, u, 1)

    def hessian(self, y: Array, u: Array) -> Any:
        return self._derivative(y, u, 2)[..., None, None]

    def third(self, y: Array, u: Array) -> Any:
        return self._derivative(y, u, 3)[..., None, None, None]

    def one_sided(self, y: Array) -> bool:
        xp = array_namespace(y)
        return 1 <= self.power < 2 and bool(xp.any(xp.max(y, axis=0) == 0))

    @property
    def dispersion_known(self) -> bool:
        return self.power == 1

    def variance(self, mu: Array) -> Any:
        """``mu**p``."""
        return mu**self.power

    def unit_deviance(self, y: Array, u: Array) -> Any:
        xp = array_namespace(u)
        p, mu = self.power, self.response(u)
        if p == 0:
            return (y - mu) ** 2
        y = y + 0.0 * mu
        some = xp.where(y > 0, y, mu)
        # log(y / mu), digits kept where y is close to mu; 0 where y is.
        ratio = xp.where(y > 0, xp.log1p((some - mu) / mu), xp.zeros_like(mu))
        if p == 1:
            return 2 * (y * ratio - (y - mu))
        if p == 2:
            return 2 * ((y - mu) / mu - ratio)
        least = xp.where(y > 0, some ** (2 - p), xp.zeros_like(mu))
        least = least / ((1 - p) * (2 - p))
        return 2 * (least - y * mu ** (1 - p) / (1 - p) + mu ** (2 - p) / (2 - p))


@final
@dataclass(frozen=True)
class HalfTweedieLoss(AbstractHalfTweedie):
    """Half a Tweedie deviance with a log link, ``mu = exp(u)``.

    ``loss = exp((2 - p) u) / (2 - p) - y exp((1 - p) u) / (1 - p)``; for p = 1, Poisson,
    ``exp(u) - y u``; for p = 2, Gamma, ``u + y exp(-u)``.
    """

    power: float = 1.0
    curves_in_single: ClassVar[bool] = True

    def antiderivative(self, u: Array, k: float, order: int) -> Any:
        if k == 0:
            limits = (u, array_namespace(u).ones_like(u))  # log(mu), and its slope
            return limits[order] if order < 2 else array_namespace(u).zeros_like(u)
        return k ** (order - 1) * _exp(k * u)

    def curved_change(self, y: Array, u: Array, moves: Array) -> Any:
        p, xp = self.power, array_namespace(u)
        if not are_small(max(abs(2 - p), abs(1 - p)) * moves, curved=True):
            return super().curved_change(y, u, moves)

        def change(k: float, factor: Any) -> Any:
            if k == 0:
                return 0.0
            start = (factor * _exp(k * u))[..., None]
            return xp.astype(start, moves.dtype) * curved_exp(k * moves)

        return change(2 - p, 1.0) - change(1 - p, y)

    def response(self, u: Array) -> Any:
        """Mean of y, ``exp(u)``."""
        return _exp(u)

    def response_slope(self, u: Array) -> Any:
        return _exp(u)

    @property
    def convex(self) -> bool:  # type: ignore[override]
        return 1 <= self.power <= 2

    @property
    def canonical(self) -> bool:
        return self.power == 1


@final
@dataclass(frozen=True)
class HalfTweedieIdentityLoss(AbstractHalfTweedie):
    """Half a Tweedie deviance with the identity link, ``mu = u > 0``.

    ``loss = u**(2 - p) / (2 - p) - y u**(1 - p) / (1 - p)``; for p = 1 ``u - y log(u)``,
    for p = 2 ``log(u) + y / u``. Outputs that are not positive stand at a wall.
    """

    power: float = 1.0
    bounded_domain: ClassVar[bool] = True

    def antiderivative(self, u: Array, k: float, order: int) -> Any:
        xp = array_namespace(u)
        if order > 0:  # (k - 1) (k - 2) ... u**(k - order)
            factor = 1.0
            for j in range(1, order):
                factor *= k - j
            return factor * u ** (k - order)
        return xp.log(u) if k == 0 else u**k / k

    def _derivative(self, y: Array, u: Array, order: int) -> Any:
        xp = array_namespace(u)
        inside = u > 0
        found = super()._derivative(y, xp.where(inside, u, xp.ones_like(u)), order)
        outside = (WALL, -WALL_SLOPE, 0.0, 0.0)[order]
        return xp.where(inside, found, outside * xp.ones_like(found))

    def within_domain(self, u: Array) -> Any:
        return array_namespace(u).all(u > 0, axis=-1)

    @property
    def convex(self) -> bool:  # type: ignore[override]
        return 0 <= self.power <= 1

    @property
    def canonical(self) -> bool:
        return self.power == 0


def _exp(exponent: Any) -> Any:
    """``exp`` that stays finite where no fit is."""
    xp = array_namespace(exponent)
    return xp.exp(xp.clip(exponent, max=_LARGEST_EXPONENT))
