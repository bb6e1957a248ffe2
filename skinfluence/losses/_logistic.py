"""Log losses of classification: binomial (K = 1) and multinomial (K classes)."""

from dataclasses import dataclass
from typing import final

from skinfluence._array import Array, array_namespace, device_of
from skinfluence.losses._base import AbstractLoss, are_small, curved_exp
from skinfluence.losses._exponential_family import AbstractExponentialFamilyLoss
from skinfluence.losses._families import Binomial
from skinfluence.losses._links import Logit, sigmoid


@final
@dataclass(frozen=True)
class HalfBinomialLoss(AbstractExponentialFamilyLoss):
    """``loss = log(1 + exp(u)) - y u`` for ``y`` in {0, 1} (or a share in between)."""

    family = Binomial()
    link = Logit()

    def value(self, y: Array, u: Array) -> Array:
        xp = array_namespace(u)
        # What cancels first: of a row far on its own side little else is left.
        far = xp.clip(u, min=0.0) - y * u
        return xp.sum(far + xp.log1p(xp.exp(-xp.abs(u))), axis=-1)

    def gradient(self, y: Array, u: Array) -> Array:
        return self.response(u) - y

    def hessian(self, y: Array, u: Array) -> Array:
        xp = array_namespace(u)
        decay = xp.exp(-xp.abs(u))
        return (decay / (1 + decay) ** 2)[..., None, None]

    def third(self, y: Array, u: Array) -> Array:
        skew = 1 - 2 * self.response(u)
        return self.hessian(y, u)[..., None] * skew[..., None, None, None]

    def gradient_change(self, y: Array, u: Array, moves: Array) -> Array:
        if not are_small(moves):
            return super().gradient_change(y, u, moves)
        # M e / (1 + p e) with e = exp(move) - 1
        change = array_namespace(u).expm1(moves)
        below = self.response(u)[..., None] * change
        below += 1
        change /= below
        change *= self.response_slope(u)[..., None]
        return change

    def curved_change(self, y: Array, u: Array, moves: Array) -> Array:
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

    def response(self, u: Array) -> Array:
        """Probability of the second class, ``1 / (1 + exp(-u))``."""
        return sigmoid(u)

    def response_slope(self, u: Array) -> Array:
        return self.hessian(u, u)[..., 0, 0]

    def fisher_weight(self, u: Array) -> Array:
        return self.response_slope(u)


@final
@dataclass(frozen=True)
class HalfMultinomialLoss(AbstractLoss):
    """``loss = logsumexp(u) - sum_k y_k u_k`` for one-hot ``y``, one group of K."""

    convex = True
    shift_invariant = True
    # l'''[v, v, d] is the mean of (v - mean v)**2 (d - mean d) over the classes.
    self_concordance = 1.0

    def n_groups(self, n_outputs: int) -> int:
        return 1

    def value(self, y: Array, u: Array) -> Array:
        xp = array_namespace(u)
        top = xp.max(u, axis=-1)
        # What cancels first: of a row far on its own side little else is left.
        far = top - xp.sum(y * u, axis=-1)
        return far + xp.log(xp.sum(xp.exp(u - top[..., None]), axis=-1))

    def gradient(self, y: Array, u: Array) -> Array:
        return self.response(u) - y

    def hessian(self, y: Array, u: Array) -> Array:
        xp = array_namespace(u)
        p = self.response(u)
        eye = xp.eye(p.shape[-1], dtype=p.dtype, device=device_of(p))
        own = p * (p @ (1 - eye))  # p (1 - p), without rounding where p is near 1
        M = p[..., :, None] * -p[..., None, :]
        for k in range(p.shape[-1]):
            M[..., k, k] = own[..., k]
        return M[..., None, :, :]

    def hessian_product(self, y: Array, u: Array, moves: Array) -> Array:
        p = self.response(u)[..., None]
        product = p * moves  # (diag(p) - p p') moves, K entries a row and no K x K
        return product - p * array_namespace(u).sum(product, axis=-2, keepdims=True)

    def gradient_change(self, y: Array, u: Array, moves: Array) -> Array:
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

    def curved_change(self, y: Array, u: Array, moves: Array) -> Array:
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

    def third(self, y: Array, u: Array) -> Array:
        """``p_k ((1_kl - p_l) (1_km - p_m) - M_lm)``, M the second derivatives."""
        xp = array_namespace(u)
        p, M = self.response(u), self.hessian(y, u)
        eye = xp.eye(p.shape[-1], dtype=p.dtype, device=device_of(p))
        off = eye - p[..., None, :]  # (..., k, l)
        product = off[..., :, :, None] * off[..., :, None, :] - M
        return (p[..., :, None, None] * product)[..., None, :, :, :]

    def third_product(self, y: Array, u: Array, left: Array, right: Array) -> Array:
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

    def response(self, u: Array) -> Array:
        """Probabilities of the classes, softmax of ``u``."""
        xp = array_namespace(u)
        odds = xp.exp(u - xp.max(u, axis=-1, keepdims=True))  # what is large cancels
        return odds / xp.sum(odds, axis=-1, keepdims=True)

    def response_slope(self, u: Array) -> Array:
        """Derivative of each probability in its own output."""
        p = self.response(u)
        return p * (1 - p)
