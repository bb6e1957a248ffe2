"""Exponential families: the variance of a row's target as a function of its mean."""

import abc
import math
from dataclasses import dataclass
from typing import final

from skinfluence._array import Array, array_namespace
from skinfluence.exceptions import InvalidParameterError
from skinfluence.losses._links import (
    AbstractLink,
    Logit,
    chain,
    sigmoid,
    softplus,
)

# exp of half of this is finite, as is its inverse.
_LARGEST_LOG_ODDS = 1400.0


class AbstractFamily(abc.ABC):
    """A family of distributions with a variance that depends on the mean.

    The loss of a row is half its deviance up to terms free of the mean ``mu``: its
    derivative in ``mu`` is ``(mu - y) / V(mu)``, with ``V`` the variance function.

    Attributes
    ----------
    lower, upper : float
        The means that the family allows lie strictly between.
    targets : str
        The targets that it allows, in words, "at least 0".
    dispersion_known : bool
        Whether the variance of a target is ``V(mu)``, and not a multiple of it.
    """

    lower: float = 0.0
    upper: float = math.inf

    @property
    @abc.abstractmethod
    def targets(self) -> str:
        """The targets that the family allows, in words."""

    @abc.abstractmethod
    def allows(self, y: Array) -> Array:
        """Whether targets are possible, of the shape of ``y``, bool."""

    @property
    @abc.abstractmethod
    def dispersion_known(self) -> bool:
        """Whether the family fixes its dispersion at 1."""

    @abc.abstractmethod
    def variance(self, mu: Array) -> Array:
        """Variance function V, of the shape of ``mu``."""

    @abc.abstractmethod
    def derivative(self, y: Array, u: Array, link: AbstractLink, order: int) -> Array:
        """Derivative of the loss in ``u``, of an order from 0 to 3, ``(..., K)``."""

    @abc.abstractmethod
    def unit_deviance(self, y: Array, u: Array, link: AbstractLink) -> Array:
        """Twice the loss above that of ``mu = y``, at least 0, ``(..., K)``."""

    @abc.abstractmethod
    def is_canonical(self, link: AbstractLink) -> bool:
        """Whether the loss is linear in ``y u``."""

    @abc.abstractmethod
    def is_convex(self, link: AbstractLink) -> bool:
        """Whether the loss is known to be convex in ``u`` for all targets allowed."""

    def self_concordance(self, link: AbstractLink) -> float:
        """Bound of ``|l'''| / l''`` over all targets and outputs, infinite if unknown."""
        return math.inf

    def fisher_weight(self, u: Array, link: AbstractLink) -> Array:
        """``(d mu / d u)**2 / V(mu)``."""
        mu, slope = link.power_mean(u, 1.0, 0), link.power_mean(u, 1.0, 1)
        return slope**2 / self.variance(mu)

    def pearson_residual(self, y: Array, u: Array, link: AbstractLink) -> Array:
        """``(y - mu) / sqrt(V(mu))``."""
        mu = link.power_mean(u, 1.0, 0)
        return (y - mu) / array_namespace(u).sqrt(self.variance(mu))


class AbstractTweedie(AbstractFamily):
    """A family with variance ``mu**power``.

    ``loss = A(2 - p) - y A(1 - p)`` with ``A(k) = mu**k / k``, or its limit ``log(mu)``
    for k = 0.

    References
    ----------
    .. [1] Jorgensen (1997). The theory of dispersion models. Chapter 4.
    """

    power: float

    @property
    def targets(self) -> str:
        if self.power < 1:
            return "numbers"
        return "at least 0" if self.power < 2 else "positive"

    def allows(self, y: Array) -> Array:
        if self.power < 1:
            return y < math.inf
        return y >= 0 if self.power < 2 else y > 0

    @property
    def dispersion_known(self) -> bool:
        return self.power == 1

    def variance(self, mu: Array) -> Array:
        """``mu**p``."""
        return mu**self.power

    def derivative(self, y: Array, u: Array, link: AbstractLink, order: int) -> Array:
        p = self.power
        of_targets = link.power_mean(u, 1 - p, order)
        return link.power_mean(u, 2 - p, order) - y * of_targets

    def unit_deviance(self, y: Array, u: Array, link: AbstractLink) -> Array:
        xp = array_namespace(u)
        p, mu = self.power, link.power_mean(u, 1.0, 0)
        if p == 0:
            return (y - mu) ** 2
        y = y + 0.0 * mu
        some = xp.where(y > 0, y, mu)
        if p == 1:
            return 2 * (y * _log_ratio(some, mu) - (y - mu))
        if p == 2:
            return 2 * ((y - mu) / mu - _log_ratio(some, mu))
        # With y = r mu: (r**(2 - p) - 1) / (2 - p) less r - 1, over 1 - p.
        excess = xp.expm1((2 - p) * _log_ratio(some, mu)) / (2 - p) - (y - mu) / mu
        absent = 1 / (2 - p) - y / mu / (1 - p)  # max(y, 0)**(2 - p) is 0
        return 2 * mu ** (2 - p) * xp.where(y > 0, excess / (1 - p), absent)

    def is_canonical(self, link: AbstractLink) -> bool:
        return link.power == 1 - self.power

    def is_convex(self, link: AbstractLink) -> bool:
        """``A(1 - p)`` concave and ``A(2 - p)`` convex: ``1 - p <= link.power <= 2 - p``.

        Targets of both signs (p < 1) need ``A(1 - p)`` to be linear.
        """
        if link.power is None or self.power < 1:
            return self.is_canonical(link)
        return 1 - self.power <= link.power <= 2 - self.power

    def self_concordance(self, link: AbstractLink) -> float:
        """With a log link, l'' is a sum of ``exp((2 - p) u)`` and ``y exp((1 - p) u)``.

        Where both have positive factors, so that l is convex, l''' is at most the larger
        exponent times l''. Without targets in one of them, the other is all there is.
        """
        if self.is_canonical(link) and link.power == 1:  # least squares
            return 0.0
        if link.power != 0 or not self.is_convex(link):
            return math.inf
        return max(2 - self.power, self.power - 1)


@final
@dataclass(frozen=True)
class Gaussian(AbstractTweedie):
    """Constant variance; means and targets of either sign."""

    power = 0.0
    lower = -math.inf

    def variance(self, mu: Array) -> Array:
        """One: the dispersion is the variance."""
        return array_namespace(mu).ones_like(mu)


@final
@dataclass(frozen=True)
class Poisson(AbstractTweedie):
    """Counts, or rates weighted by their exposure: variance ``mu``."""

    power = 1.0


@final
@dataclass(frozen=True)
class Gamma(AbstractTweedie):
    """Positive targets of constant coefficient of variation: variance ``mu**2``."""

    power = 2.0


@final
@dataclass(frozen=True)
class InverseGaussian(AbstractTweedie):
    """Positive targets: variance ``mu**3``."""

    power = 3.0


@final
@dataclass(frozen=True)
class Tweedie(AbstractTweedie):
    """Variance ``mu**power``, of a positive mean.

    Parameters
    ----------
    power : float
        0 normal (of a positive mean), 1 Poisson, between 1 and 2 compound Poisson with
        targets that may be 0, 2 Gamma, 3 inverse Gaussian.
    """

    power: float


@final
@dataclass(frozen=True)
class NegativeBinomial(AbstractFamily):
    """Counts with variance ``mu + dispersion * mu**2``, the dispersion held.

    ``loss = (y + 1 / a) log(1 + a mu) - y log(mu)`` with the dispersion ``a``.

    Parameters
    ----------
    dispersion : float, default=1.0
        Positive; held at this value when rows are left out.
    """

    dispersion: float = 1.0

    targets = "at least 0"
    dispersion_known = True

    def __post_init__(self) -> None:
        if not self.dispersion > 0:
            raise InvalidParameterError(
                f"dispersion must be positive; got {self.dispersion}. For 0 use "
                "Poisson()."
            )

    def allows(self, y: Array) -> Array:
        return y >= 0

    def variance(self, mu: Array) -> Array:
        """``mu + dispersion * mu**2``."""
        return mu + self.dispersion * mu**2

    def derivative(self, y: Array, u: Array, link: AbstractLink, order: int) -> Array:
        log_mean = link.log_mean(u, order)
        log_odds = log_mean[0] + math.log(self.dispersion)
        above, below = sigmoid(log_odds), sigmoid(-log_odds)
        second = above * below
        outer = [softplus(log_odds), above, second, second * (below - above)]
        of_sum = chain(outer, log_mean, order)
        return (y + 1 / self.dispersion) * of_sum - y * log_mean[order]

    def unit_deviance(self, y: Array, u: Array, link: AbstractLink) -> Array:
        xp, mu = array_namespace(u), link.power_mean(u, 1.0, 0)
        y = y + 0.0 * mu
        of_mean = y * _log_ratio(xp.where(y > 0, y, mu), mu)
        of_sum = _log_ratio(1 + self.dispersion * y, 1 + self.dispersion * mu)
        return 2 * (of_mean - (y + 1 / self.dispersion) * of_sum)

    def is_canonical(self, link: AbstractLink) -> bool:
        return False  # that of log(a mu / (1 + a mu)), which is none of the links here

    def is_convex(self, link: AbstractLink) -> bool:
        return link.power == 0

    def self_concordance(self, link: AbstractLink) -> float:
        """``l'' = (y + 1 / a) q (1 - q)`` with ``q = a mu / (1 + a mu)``: a logit's."""
        return 1.0 if link.power == 0 else math.inf


@final
@dataclass(frozen=True)
class Binomial(AbstractFamily):
    """Bernoulli targets 0 and 1, or shares of trials in between.

    For grouped data ``y`` is the share of successes and the number of trials is the
    weight of the row: ``fit(X, successes / trials, sample_weight=trials)``. Leaving out
    a row then leaves out all of its trials.

    ``loss = -y log(mu) - (1 - y) log(1 - mu)``.
    """

    upper = 1.0
    targets = "between 0 and 1"
    dispersion_known = True

    def allows(self, y: Array) -> Array:
        return (y >= 0) & (y <= 1)

    def variance(self, mu: Array) -> Array:
        """``mu (1 - mu)``."""
        return mu * (1 - mu)

    def derivative(self, y: Array, u: Array, link: AbstractLink, order: int) -> Array:
        of_mean, of_rest = link.log_mean(u, order), link.log_complement(u, order)
        return -y * of_mean[order] - (1 - y) * of_rest[order]

    def unit_deviance(self, y: Array, u: Array, link: AbstractLink) -> Array:
        return 2 * (self.derivative(y, u, link, 0) - _entropy(y))

    def is_canonical(self, link: AbstractLink) -> bool:
        return link == Logit()

    def is_convex(self, link: AbstractLink) -> bool:
        return link.log_concave

    def self_concordance(self, link: AbstractLink) -> float:
        """``l''' = (1 - 2 mu) l''`` of a logit; other links bend without bound far out."""
        return 1.0 if self.is_canonical(link) else math.inf

    # Without 0 / 0 where mu rounds to 0 or 1.

    def fisher_weight(self, u: Array, link: AbstractLink) -> Array:
        """The product of the slopes of ``log(mu)`` and ``-log(1 - mu)``."""
        return -link.log_mean(u, 1)[1] * link.log_complement(u, 1)[1]

    def pearson_residual(self, y: Array, u: Array, link: AbstractLink) -> Array:
        """``y / sqrt(odds) - (1 - y) sqrt(odds)``, the odds ``mu / (1 - mu)``."""
        xp, most = array_namespace(u), _LARGEST_LOG_ODDS
        root = xp.exp(xp.clip(link.log_odds(u), min=-most, max=most) / 2)
        return y / root - (1 - y) * root


def _log_ratio(y: Array, mu: Array) -> Array:
    """``log(y / mu)``, digits kept where ``y`` is close to ``mu`` and where it is not."""
    xp, change = array_namespace(y), (y - mu) / mu
    is_far = change < -0.999  # 1 + change has lost digits
    if not bool(xp.any(is_far)):
        return xp.log1p(change)
    near = xp.log1p(xp.where(is_far, xp.zeros_like(change), change))
    return xp.where(is_far, xp.log(y / mu), near)


def _entropy(y: Array) -> Array:
    """``-y log(y) - (1 - y) log(1 - y)``, 0 at both ends: the least loss for this y."""
    xp = array_namespace(y)

    def term(share: Array) -> Array:
        return -share * xp.log(xp.where(share > 0, share, xp.ones_like(share)))

    return term(y) + term(1 - y)
