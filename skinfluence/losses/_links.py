"""Links: the mean of a row as a function of its linear output.

References
----------
.. [1] McCullagh & Nelder (1989). Generalized linear models. Section 4.3.1: links of
   proportions.
.. [2] Abramowitz & Stegun (1964). Handbook of mathematical functions. 26.2.14: the
   continued fraction of the normal tail.
"""

import abc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

from skinfluence._array import Array, array_namespace
from skinfluence.exceptions import InvalidParameterError

# A function of the linear output and its first derivatives, at most three, (..., K) each.
Derivatives: TypeAlias = tuple[Array, ...]

# Far out, where no fit is, functions are clipped so that they stay finite: exp of this
# times any target is, as are powers of exp of the next times cubes of the others.
_LARGEST_EXPONENT = 600.0
_LEAST_LOG_MEAN = -200.0  # of a proportion
_LARGEST_LOG_RATE = 60.0  # of the log-log links, log(-log(mu))
_LARGEST_OUTPUT = 1e30  # of the probit
_LEAST_OUTPUT = 1e-60  # of power links


class AbstractLink(abc.ABC):
    """The mean ``mu`` of a row as a function of its linear output ``u``.

    A link of one's own needs ``lower``, ``upper`` and ``mean``. The other methods are
    composed from these; one that cancels far out may be given in a form that does not.

    Attributes
    ----------
    lower, upper : float
        The range of the mean, which rises from one to the other if all outputs have
        a mean.
    power : float or None
        ``k`` where ``mu**k`` is ``u``, 0 where ``log(mu)`` is; else None.
    log_concave : bool
        Whether ``log(mu)`` and ``log(1 - mu)`` are both concave in ``u``. False says
        that it is not known: a binomial loss is not taken to be convex.
    """

    lower: float
    upper: float

    @property
    def power(self) -> float | None:
        """``k`` where ``mu**k`` is ``u``, 0 where ``log(mu)`` is; else None."""
        return None

    @property
    def log_concave(self) -> bool:
        """Whether ``log(mu)`` and ``log(1 - mu)`` are both concave."""
        return False

    @abc.abstractmethod
    def mean(self, u: Array) -> Derivatives:
        """Mean and its first three derivatives in ``u``, each of the shape of ``u``."""

    def complement(self, u: Array) -> Array:
        """``1 - mu``."""
        return 1 - self.mean(u)[0]

    def log_mean(self, u: Array, order: int = 3) -> Derivatives:
        """``log(mu)`` and its derivatives up to an order."""
        return _each(lambda j: self.power_mean(u, 0.0, j), order)

    def log_complement(self, u: Array, order: int = 3) -> Derivatives:
        """``log(1 - mu)`` and its derivatives up to an order."""
        rest, mean = self.complement(u), self.mean(u)
        outer = _each(lambda j: (-1) ** j * _power(rest, 0.0, j), order)
        return _each(lambda j: chain(outer, mean, j), order)

    def log_odds(self, u: Array) -> Array:
        """``log(mu / (1 - mu))``."""
        return self.log_mean(u, 0)[0] - self.log_complement(u, 0)[0]

    def power_mean(self, u: Array, k: float, order: int) -> Array:
        """Derivative, of an order up to 3, of ``mu**k / k``; of ``log(mu)`` for k = 0."""
        mean = self.mean(u)
        outer = [_power(mean[0], k, j) for j in range(order + 1)]
        return chain(outer, mean, order)

    def outputs(self, lower: float, upper: float) -> tuple[float, float]:
        """The interval of outputs whose mean is between ``lower`` and ``upper``."""
        if lower > self.lower or upper < self.upper:
            raise NotImplementedError(
                f"{type(self).__name__} does not say which outputs have a mean between "
                f"{lower:g} and {upper:g}."
            )
        return -math.inf, math.inf


def chain(outer: Sequence[Array], inner: Derivatives, order: int) -> Array:
    """A derivative of ``outer(inner(u))`` from those of both (Faa di Bruno)."""
    if order == 0:
        return outer[0]
    if order == 1:
        return outer[1] * inner[1]
    if order == 2:
        return outer[2] * inner[1] ** 2 + outer[1] * inner[2]
    mixed = 3 * outer[2] * inner[1] * inner[2]
    return outer[3] * inner[1] ** 3 + mixed + outer[1] * inner[3]


@final
@dataclass(frozen=True)
class Identity(AbstractLink):
    """``mu = u``."""

    lower = -math.inf
    upper = math.inf
    power = 1.0
    log_concave = True

    def mean(self, u: Array) -> Derivatives:
        return _each(lambda order: _power(u, 1.0, order), 3)

    def power_mean(self, u: Array, k: float, order: int) -> Array:
        return _power(u, k, order)

    def outputs(self, lower: float, upper: float) -> tuple[float, float]:
        return lower, upper


@final
@dataclass(frozen=True)
class Power(AbstractLink):
    """``mu**power = u > 0``.

    Parameters
    ----------
    power : float, default=-1.0
        -1 inverse, -2 inverse squared, 0.5 square root. For 0 see ``Log``.
    """

    power: float = -1.0
    lower = 0.0
    upper = math.inf

    def __post_init__(self) -> None:
        if self.power == 0:
            raise InvalidParameterError(
                "A link of power 0 is the logarithm: use Log()."
            )

    @property
    def log_concave(self) -> bool:
        return 0 < self.power <= 1

    def mean(self, u: Array) -> Derivatives:
        return _each(lambda order: self.power_mean(u, 1.0, order), 3)

    def power_mean(self, u: Array, k: float, order: int) -> Array:
        u = array_namespace(u).clip(u, min=_LEAST_OUTPUT)
        return _power(u, k / self.power, order) / self.power

    def outputs(self, lower: float, upper: float) -> tuple[float, float]:
        ends = sorted(self._output(mean) for mean in (lower, upper))
        return ends[0], ends[1]

    def _output(self, mean: float) -> float:
        if mean <= 0:
            return 0.0 if self.power > 0 else math.inf
        return mean**self.power


@final
@dataclass(frozen=True)
class Log(AbstractLink):
    """``log(mu) = u``."""

    lower = 0.0
    upper = math.inf
    power = 0.0
    log_concave = True

    def mean(self, u: Array) -> Derivatives:
        mu = clipped_exp(u)
        return mu, mu, mu, mu

    def complement(self, u: Array) -> Array:
        return -array_namespace(u).expm1(u)

    def power_mean(self, u: Array, k: float, order: int) -> Array:
        if k == 0:
            xp = array_namespace(u)
            return (u, xp.ones_like(u))[order] if order < 2 else xp.zeros_like(u)
        return k ** (order - 1) * clipped_exp(k * u)

    def outputs(self, lower: float, upper: float) -> tuple[float, float]:
        low = math.log(lower) if lower > 0 else -math.inf
        return low, math.log(upper)


# --- proportions ----------------------------------------------------------------------


class AbstractProportionLink(AbstractLink):
    """A link of means between 0 and 1 to all outputs, given by its logarithms.

    Far out the mean rounds to 0 or 1; its logarithm and that of ``1 - mu`` do not.
    """

    lower = 0.0
    upper = 1.0
    log_concave = True

    @abc.abstractmethod
    def log_mean(self, u: Array, order: int = 3) -> Derivatives: ...

    @abc.abstractmethod
    def log_complement(self, u: Array, order: int = 3) -> Derivatives: ...

    def complement(self, u: Array) -> Array:
        return array_namespace(u).exp(self.log_complement(u, 0)[0])

    def mean(self, u: Array) -> Derivatives:
        return _each(lambda order: self.power_mean(u, 1.0, order), 3)

    def power_mean(self, u: Array, k: float, order: int) -> Array:
        log_mean = self.log_mean(u, order)
        if k == 0:
            return log_mean[order]
        xp = array_namespace(u)
        power = xp.exp(k * xp.clip(log_mean[0], min=_LEAST_LOG_MEAN))
        return chain([power / k, power, k * power, k**2 * power], log_mean, order)


@final
@dataclass(frozen=True)
class Logit(AbstractProportionLink):
    """``log(mu / (1 - mu)) = u``."""

    def log_mean(self, u: Array, order: int = 3) -> Derivatives:
        value = -softplus(-u)
        if order == 0:
            return (value,)
        above, below = sigmoid(u), sigmoid(-u)
        second = -above * below
        return value, below, second, second * (below - above)

    def log_complement(self, u: Array, order: int = 3) -> Derivatives:
        return mirrored(self.log_mean(-u, order))

    def log_odds(self, u: Array) -> Array:
        return u


@final
@dataclass(frozen=True)
class Probit(AbstractProportionLink):
    """``mu = Phi(u)``, the normal distribution function."""

    def log_mean(self, u: Array, order: int = 3) -> Derivatives:
        return log_ndtr(u)

    def log_complement(self, u: Array, order: int = 3) -> Derivatives:
        return mirrored(log_ndtr(-u))


@final
@dataclass(frozen=True)
class CLogLog(AbstractProportionLink):
    """``log(-log(1 - mu)) = u``, the complementary log-log: ``mu = 1 - exp(-exp(u))``."""

    def log_mean(self, u: Array, order: int = 3) -> Derivatives:
        return _log_one_minus_exp(u)

    def log_complement(self, u: Array, order: int = 3) -> Derivatives:
        rate = -clipped_exp(u, _LARGEST_LOG_RATE)
        return rate, rate, rate, rate


@final
@dataclass(frozen=True)
class LogLog(AbstractProportionLink):
    """``-log(-log(mu)) = u``, the mirror image of ``CLogLog``: ``mu = exp(-exp(-u))``."""

    def log_mean(self, u: Array, order: int = 3) -> Derivatives:
        return mirrored(CLogLog().log_complement(-u))

    def log_complement(self, u: Array, order: int = 3) -> Derivatives:
        return mirrored(CLogLog().log_mean(-u))


# --- functions that keep their digits -------------------------------------------------


def mirrored(derivatives: Derivatives) -> Derivatives:
    """Derivatives in ``u`` of a function of ``-u`` from those in ``-u``."""
    return tuple(-d if j % 2 else d for j, d in enumerate(derivatives))


def clipped_exp(exponent: Array, most: float = _LARGEST_EXPONENT) -> Array:
    """``exp`` of at most ``most``."""
    xp = array_namespace(exponent)
    return xp.exp(xp.clip(exponent, max=most))


def softplus(u: Array) -> Array:
    """``log(1 + exp(u)) = max(u, 0) + log(1 + exp(-|u|))``, without overflow."""
    xp = array_namespace(u)
    return xp.maximum(u, xp.zeros_like(u)) + xp.log1p(xp.exp(-xp.abs(u)))


def sigmoid(u: Array) -> Array:
    """``1 / (1 + exp(-u))``, without overflow."""
    xp = array_namespace(u)
    decay = xp.exp(-xp.abs(u))
    return xp.where(u < 0, decay, xp.ones_like(u)) / (1 + decay)


# Bernoulli numbers: t / (exp(t) - 1) = 1 - t / 2 + sum_j B_2j t**(2 j) / (2 j)!, to the
# last digit up to this t.
_MOST_SERIES = 0.5
_BERNOULLI = (
    *(1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160),
    *(-691 / 1307674368000, 1 / 74724249600),
)
# exp(-t) of a larger t is nothing beside 1, and products with t stay finite.
_MOST_RATE = 700.0


def _log_one_minus_exp(u: Array) -> Derivatives:
    """``log(1 - exp(-t))`` with ``t = exp(u)``, and its derivatives in u."""
    xp = array_namespace(u)
    t = xp.exp(xp.clip(u, max=math.log(_MOST_RATE)))
    is_small = t <= _MOST_SERIES
    small = xp.where(is_small, t, xp.zeros_like(t))
    large = xp.where(is_small, xp.ones_like(t), t)
    # g = t / (exp(t) - 1) is the first derivative, and dg/du = g (1 - t - g).
    total = xp.zeros_like(t)
    for number in reversed(_BERNOULLI):
        total = total * small**2 + number
    even = total * small**2
    g = xp.where(is_small, 1 - small / 2 + even, large / xp.expm1(large))
    rest = xp.where(is_small, -small / 2 - even, 1 - large - g)
    is_far = u < -30.0  # where log(1 - exp(-t)) is log(t) - t / 2
    near = xp.log(-xp.expm1(-xp.where(is_far, xp.ones_like(t), t)))
    value = xp.where(is_small, near, xp.log1p(-xp.exp(-large)))
    value = xp.where(is_far, u - t / 2, value)
    return value, g, g * rest, g * (rest * (rest - g) - t)


def log_ndtr(u: Array) -> Derivatives:
    """``log(Phi(u))`` and its derivatives, with all their digits in both tails.

    With ``s = |u|``, the hazard ``r = phi(s) / Phi(-s)`` is the continued fraction
    ``s + k_1``, ``k_j = j / (s + k_(j + 1))`` [2]_. From a fitted ``k_3`` the derivatives
    ``r, -r k_1, r k_1**2 k_2 (k_3 - k_2)`` at ``-s`` have no differences that cancel.
    """
    xp = array_namespace(u)
    s = xp.clip(xp.abs(u), max=_LARGEST_OUTPUT)
    x = (4 - s) / (4 + s)
    total = xp.zeros_like(s)
    for coefficient in reversed(_THIRD_FRACTION):
        total = total * x + coefficient
    k_3 = total / (s + 4)
    k_2 = 2 / (s + k_3)
    k_1 = 1 / (s + k_2)
    r = s + k_1
    density = xp.exp(-(s**2) / 2) / math.sqrt(2 * math.pi)
    tail = density / r  # Phi(-s)
    rho = density / (1 - tail)  # phi(s) / Phi(s)
    log_tail = -(s**2) / 2 - xp.log(math.sqrt(2 * math.pi) * r)
    left = log_tail, r, -r * k_1, r * k_1**2 * k_2 * (k_3 - k_2)
    third = rho * ((s + rho) * (s + 2 * rho) - 1)
    right = xp.log1p(-tail), rho, -rho * (s + rho), third
    return _each(lambda order: xp.where(u < 0, left[order], right[order]), 3)


# (s + 4) k_3(s) for s >= 0 as a polynomial in (4 - s) / (4 + s), to 4e-16: Chebyshev
# interpolation at 120 points with 80 digits.
_THIRD_FRACTION = (
    *(4.995610356826006, 2.1887353875145528, -0.35327363031833814),
    *(-0.6918035377860562, 0.06703090130624902, 0.28105377878043836),
    *(-0.03017304270057696, -0.1267632231336264, 0.022038540324567056),
    *(0.05907640089853863, -0.016849893188530033, -0.027113230456785306),
    *(0.011983019760196858, 0.011747008068105228, -0.007808384448408129),
    *(-0.004555472215394639, 0.004666240369082301, 0.0014208050207070437),
    *(-0.0025578553943886224, -0.00022708616807805548, 0.0012808571908601819),
    *(-0.00011185228160728175, -0.0005790815836341978, 0.0001311433618584638),
    *(0.00023052526907771587, -7.287896660370593e-05, -7.714844304018715e-05),
    *(2.618412664747351e-05, 2.006328827155805e-05, -5.782469772793206e-06),
    *(-3.5356240455485923e-06, 5.9891853788404e-07, 3.1057811264766283e-07),
)


def _power(base: Array, k: float, order: int) -> Array:
    """Derivative of an order in ``base`` of ``base**k / k``, of ``log(base)`` for k = 0."""
    xp = array_namespace(base)
    if order == 0 and k == 1:
        return base
    if order == 0:
        return xp.log(base) if k == 0 else base**k / k
    factor = math.prod(k - j for j in range(1, order))
    if factor == 0:
        return xp.zeros_like(base)
    return factor * base ** (k - order)


def _each(derivative: Callable[[int], Array], order: int) -> Derivatives:
    return tuple(derivative(j) for j in range(order + 1))
