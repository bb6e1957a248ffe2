"""Log losses of classification: binomial (K = 1) and multinomial (K classes)."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

from skinfluence._array import Array, array_namespace, device_of, logsumexp
from skinfluence.losses._base import AbstractLoss, are_small, curved_exp


@final
@dataclass(frozen=True)
class HalfBinomialLoss(AbstractLoss):
    """``loss = log(1 + exp(u)) - y u`` for ``y`` in {0, 1} (or a share in between)."""

    has_third: ClassVar[bool] = True
    curves_in_single: ClassVar[bool] = True
    exponential_family: ClassVar[bool] = True

    def n_groups(self, n_outputs: int) -> int:
        return n_outputs

    def value(self, y: Array, u: Array) -> Any:
        return array_namespace(u).sum(_softplus(u) - y * u, axis=-1)

    def gradient(self, y: Array, u: Array) -> Any:
        return self.response(u) - y

    def hessian(self, y: Array, u: Array) -> Any:
        xp = array_namespace(u)
        decay = xp.exp(-xp.abs(u))
        return (decay / (1 + decay) ** 2)[..., None, None]

    def third(self, y: Array, u: Array) -> Any:
        skew = 1 - 2 * self.response(u)
        return self.hessian(y, u)[..., None] * skew[..., None, None, None]

    def gradient_change(self, y: Array, u: Array, moves: Array) -> Any:
        if not are_small(moves):
            return super().gradient_change(y, u, moves)
        # M e / (1 + p e) with e = exp(move) - 1
        change = array_namespace(u).expm1(moves)
        below = self.response(u)[..., None] * change
        below += 1
        change /= below
        change *= self.response_slope(u)[..., None]
        return change

    def curved_change(self, y: Array, u: Array, moves: Array) -> Any:
        if not are_small(moves, curved=True):
            return super().curved_change(y, u, moves)
        # M (c - p e move) / (1 + p e) with e = exp(move) - 1 = move + c
        xp = array_namespace(u)
        change = curved_exp(moves)
        odd = change + moves
        odd *= xp.astype(self.response(u)[..., None], moves.dtype)
        change -= odd * moves
        odd += 1
        change /= odd
        change *= xp.astype(self.response_slope(u)[..., None], moves.dtype)
        return change

    def separates(self, y: Array, u: Array) -> bool:
        xp = array_namespace(u)
        return bool(xp.all((2 * y - 1) * u > 0))

    def one_sided(self, y: Array) -> bool:
        xp = array_namespace(y)
        return bool(xp.any(xp.min(y, axis=0) == xp.max(y, axis=0)))

    def response(self, u: Array) -> Any:
        """Probability of the second class, ``1 / (1 + exp(-u))``."""
        xp = array_namespace(u)
        decay = xp.exp(-xp.abs(u))  # exp(u) would overflow
        return xp.where(u < 0, decay, xp.ones_like(u)) / (1 + decay)

    def response_slope(self, u: Array) -> Any:
        return self.hessian(u, u)[..., 0, 0]

    @property
    def canonical(self) -> bool:
        return True

    @property
    def dispersion_known(self) -> bool:
        return True

    def variance(self, mu: Array) -> Any:
        """``mu (1 - mu)``."""
        return mu * (1 - mu)

    def fisher_weight(self, u: Array) -> Any:
        return self.response_slope(u)  # no 0 / 0 far out

    def pearson_residual(self, y: Array, u: Array) -> Any:
        # The same as (y - mu) / sqrt(mu (1 - mu)), without 0 / 0 far out.
        xp = array_namespace(u)
        odds = xp.exp(xp.clip(u, min=-1400.0, max=1400.0) / 2)
        return y / odds - (1 - y) * odds

    def unit_deviance(self, y: Array, u: Array) -> Any:
        # y softplus(-u) + (1 - y) softplus(u) is softplus(u) - y u, digits kept.
        loss = y * _softplus(-u) + (1 - y) * _softplus(u)
        return 2 * (loss - _entropy(y))


@final
@dataclass(frozen=True)
class HalfMultinomialLoss(AbstractLoss):
    """``loss = logsumexp(u) - sum_k y_k u_k`` for one-hot ``y``, one group of K."""

    has_third: ClassVar[bool] = True
    curves_in_single: ClassVar[bool] = True
    shift_invariant: ClassVar[bool] = True

    def n_groups(self, n_outputs: int) -> int:
        return 1

    def value(self, y: Array, u: Array) -> Any:
        xp = array_namespace(u)
        return logsumexp(u)[..., 0] - xp.sum(y * u, axis=-1)

    def gradient(self, y: Array, u: Array) -> Any:
        return self.response(u) - y

    def hessian(self, y: Array, u: Array) -> Any:
        xp = array_namespace(u)
        p = self.response(u)
        eye = xp.eye(p.shape[-1], dtype=p.dtype, device=device_of(p))
        return (p[..., :, None] * (eye - p[..., None, :]))[..., None, :, :]

    def hessian_product(self, y: Array, u: Array, moves: Array) -> Any:
        p = self.response(u)[..., None]
        product = p * moves  # (diag(p) - p p') moves, K numbers a row and no K x K
        return product - p * array_namespace(u).sum(product, axis=-2, keepdims=True)

    def gradient_change(self, y: Array, u: Array, moves: Array) -> Any:
        if not are_small(moves):
            return super().gradient_change(y, u, moves)
        # p (e - p'e) / (1 + p'e) with e = exp(move) - 1
        xp, p = array_namespace(u), self.response(u)[..., None]
        change = xp.expm1(moves)
        mean = xp.sum(p * change, axis=-2, keepdims=True, dtype=change.dtype)
        change -= mean
        change /= 1 + mean
        change *= p
        return change

    def curved_change(self, y: Array, u: Array, moves: Array) -> Any:
        xp, p = array_namespace(u), self.response(u)[..., None]
        p = xp.astype(p, moves.dtype)
        mean = xp.sum(p * moves, axis=-2, keepdims=True, dtype=moves.dtype)
        moves = moves - mean  # which changes nothing
        if not are_small(moves, curved=True):
            return super().curved_change(y, u, moves)
        # p (c - p'c (1 + move)) / (1 + p'c) with exp(move) = 1 + move + c, p'move = 0
        change = curved_exp(moves)
        mean = xp.sum(p * change, axis=-2, keepdims=True, dtype=change.dtype)
        moves += 1
        moves *= mean
        change -= moves
        change /= 1 + mean
        change *= p
        return change

    def third(self, y: Array, u: Array) -> Any:
        """``p_k ((1_kl - p_l) (1_km - p_m) - M_lm)``, M the second derivatives."""
        xp = array_namespace(u)
        p, M = self.response(u), self.hessian(y, u)
        eye = xp.eye(p.shape[-1], dtype=p.dtype, device=device_of(p))
        off = eye - p[..., None, :]  # (..., k, l)
        product = off[..., :, :, None] * off[..., :, None, :] - M
        return (p[..., :, None, None] * product)[..., None, :, :, :]

    def third_product(self, y: Array, u: Array, left: Array, right: Array) -> Any:
        # A third cumulant: p (a b - mean of a b) of the moves less their means, a and b.
        sums = array_namespace(u).sum
        p = self.response(u)[..., None]
        left = left - sums(p * left, axis=-2, keepdims=True)
        product = p * left * (right - sums(p * right, axis=-2, keepdims=True))
        return product - p * sums(product, axis=-2, keepdims=True)

    def separates(self, y: Array, u: Array) -> bool:
        xp = array_namespace(u)
        own = xp.sum(y * u, axis=-1)
        others = xp.where(y > 0.5, -xp.inf * xp.ones_like(u), u)
        return bool(xp.all(own > xp.max(others, axis=-1)))

    def one_sided(self, y: Array) -> bool:
        xp = array_namespace(y)
        return bool(xp.any(xp.max(y, axis=0) == 0))

    def response(self, u: Array) -> Any:
        """Probabilities of the classes, softmax of ``u``."""
        xp = array_namespace(u)
        return xp.exp(u - logsumexp(u))

    def response_slope(self, u: Array) -> Any:
        """Derivative of each probability in its own output."""
        p = self.response(u)
        return p * (1 - p)


def _softplus(u: Array) -> Any:
    """``log(1 + exp(u)) = max(u, 0) + log(1 + exp(-|u|))``, without overflow."""
    xp = array_namespace(u)
    return xp.maximum(u, xp.zeros_like(u)) + xp.log1p(xp.exp(-xp.abs(u)))


def _entropy(y: Array) -> Any:
    """``-y log(y) - (1 - y) log(1 - y)``, 0 at both ends: the least loss for this y."""
    xp = array_namespace(y)

    def term(share: Array) -> Any:
        return -share * xp.log(xp.where(share > 0, share, xp.ones_like(share)))

    return term(y) + term(1 - y)
