"""The contract of a loss."""

import abc
from typing import Any, ClassVar

from skinfluence._array import Array, array_namespace, device_of

# Outside its domain a loss is this high and this steep. Finite, so that a row without
# weight adds nothing; so high that no step is taken there, and no deletion certified.
WALL, WALL_SLOPE = 1e200, 1e100

# Moves up to which the changes of a gradient have a form of their own.
_MOST_MOVE, _MOST_CURVED_MOVE = 2.0, 0.5
_FACTORIALS = 40320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0


def are_small(moves: Array, *, curved: bool = False) -> bool:
    """Whether no move is too long for ``expm1``, or for ``curved_exp``."""
    xp, most = array_namespace(moves), _MOST_CURVED_MOVE if curved else _MOST_MOVE
    return bool((xp.max(moves) <= most) & (xp.min(moves) >= -most))


def curved_exp(moves: Array) -> Any:
    """``exp(move) - 1 - move`` of small moves, to the last digits of float32."""
    total = moves / _FACTORIALS[0]
    for factorial in _FACTORIALS[1:]:
        total += 1 / factorial
        total *= moves
    total *= moves
    return total


class AbstractLoss(abc.ABC):
    """Loss of one row, never weighted, as a function of its linear outputs.

    Arrays may carry any leading axes: ``y`` is ``(..., K_y)`` and ``u`` is ``(..., K)``,
    broadcast against each other, so that one row can be asked at many outputs at once.

    The K outputs fall into G groups of Kb that the second derivatives couple: K groups
    of one (several regression targets) or one group of K (softmax).
    """

    quadratic: ClassVar[bool] = False  # third derivatives vanish: Newton is exact
    shift_invariant: ClassVar[bool] = False  # one constant added to all u: no change
    exponential_family: ClassVar[bool] = (
        False  # half a deviance: has a variance function
    )

    has_third: ClassVar[bool] = False  # ``third`` is there
    curves_in_single: ClassVar[bool] = False  # ``curved_change``, of small moves
    convex: ClassVar[bool] = True  # no second derivative is ever negative
    bounded_domain: ClassVar[bool] = False  # not every output has a finite loss

    @abc.abstractmethod
    def n_groups(self, n_outputs: int) -> int:
        """Number of groups G into which ``n_outputs`` outputs fall."""

    @abc.abstractmethod
    def value(self, y: Array, u: Array) -> Any:
        """Loss, shape ``(...)``."""

    @abc.abstractmethod
    def gradient(self, y: Array, u: Array) -> Any:
        """First derivatives in ``u``, shape ``(..., K)``."""

    @abc.abstractmethod
    def hessian(self, y: Array, u: Array) -> Any:
        """Second derivatives in ``u``, shape ``(..., G or 1, Kb, Kb)``.

        A first of these axes of length 1 says that all groups share one block.
        """

    def third(self, y: Array, u: Array) -> Any:
        """Third derivatives in ``u``, shape ``(..., G, Kb, Kb, Kb)``."""
        raise NotImplementedError(f"{type(self).__name__} has no third derivative")

    def hessian_product(self, y: Array, u: Array, moves: Array) -> Any:
        """Second derivatives times m moves of the outputs, ``(..., K, m)``."""
        xp = array_namespace(u)
        M = self.hessian(y, u)
        K, m = moves.shape[-2:]
        groups = self.n_groups(K)
        grouped = xp.reshape(moves, (*moves.shape[:-2], groups, K // groups, m))
        product = M[..., :1] * grouped if groups == K else xp.matmul(M, grouped)
        return xp.reshape(product, moves.shape)

    def third_product(self, y: Array, u: Array, left: Array, right: Array) -> Any:
        """Third derivatives times m pairs of moves, each and the result (..., K, m)."""
        xp = array_namespace(u)
        K, m = left.shape[-2:]
        groups = self.n_groups(K)
        size = K // groups
        shape = (*left.shape[:-2], groups, size, m)
        left_lm = xp.reshape(left, shape)[..., None, :, None, :]
        right_lm = xp.reshape(right, shape)[..., None, None, :, :]
        product = self.third(y, u)[..., None] * left_lm * right_lm
        return xp.reshape(xp.sum(product, axis=(-3, -2)), left.shape)

    def gradient_change(self, y: Array, u: Array, moves: Array) -> Any:
        """``gradient(y, u + move) - gradient(y, u)`` for m moves, (..., K, m)."""
        turned = array_namespace(u).matrix_transpose
        change = turned(self.gradient(y[..., None, :], u[..., None, :] + turned(moves)))
        return change - self.gradient(y, u)[..., None]

    def curved_change(self, y: Array, u: Array, moves: Array) -> Any:
        """The same less its linear part, the ``hessian_product``.

        If ``curves_in_single``, small float32 moves have it in float32, with an error
        that is rounding relative to the result: no digits are lost in the difference.
        """
        moves = array_namespace(u).astype(moves, u.dtype, copy=False)
        change = self.gradient_change(y, u, moves)
        return change - self.hessian_product(y, u, moves)

    def within_domain(self, u: Array) -> Any:
        """Whether outputs have a finite loss, ``(...)`` bool."""
        xp = array_namespace(u)
        return xp.ones(u.shape[:-1], dtype=xp.bool, device=device_of(u))

    def separates(self, y: Array, u: Array) -> bool:
        """Whether ``u`` puts every row strictly on its own side.

        If it does, multiplying ``u`` by a constant lowers the loss without end.
        """
        return False

    def one_sided(self, y: Array) -> bool:
        """Whether constant outputs alone lower the loss without end: a class is absent."""
        return False

    def response(self, u: Array) -> Any:
        """Predicted mean of y, shape ``(..., K)``: the inverse link."""
        return u

    def response_slope(self, u: Array) -> Any:
        """Derivative of ``response`` in each output, shape ``(..., K)``."""
        return array_namespace(u).ones_like(u)

    # --- exponential families: what the classical diagnostics need --------------------

    @property
    def canonical(self) -> bool:
        """Whether the second derivatives are free of y: observed and expected agree."""
        return False

    @property
    def dispersion_known(self) -> bool:
        """Whether the family fixes its dispersion at 1."""
        return False

    def variance(self, mu: Array) -> Any:
        """Variance function V(mu): variance of y over the dispersion, ``(..., K)``."""
        raise NotImplementedError(f"{type(self).__name__} has no variance function")

    def unit_deviance(self, y: Array, u: Array) -> Any:
        """Twice the loss above that of ``mu = y``, at least 0, ``(..., K)``."""
        raise NotImplementedError(f"{type(self).__name__} is not half a deviance")

    def fisher_weight(self, u: Array) -> Any:
        """Expected second derivative ``(d mu / d u)**2 / V(mu)``, ``(..., K)``."""
        return self.response_slope(u) ** 2 / self.variance(self.response(u))

    def pearson_residual(self, y: Array, u: Array) -> Any:
        """``(y - mu) / sqrt(V(mu))``, unweighted, ``(..., K)``."""
        mu = self.response(u)
        return (y - mu) / array_namespace(u).sqrt(self.variance(mu))
