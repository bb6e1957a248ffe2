"""The contract of a loss."""

import abc
from math import inf

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


def curved_exp(moves: Array) -> Array:
    """``exp(move) - 1 - move`` of small moves, to the last digits of float32."""
    total = moves / _FACTORIALS[0]
    for factorial in _FACTORIALS[1:]:
        total += 1 / factorial
        total *= moves
    total *= moves
    return total


class AbstractLoss(abc.ABC):
    """Loss of one row, never weighted, as a function of its linear outputs.

    Derive from it, as a frozen dataclass, to add a loss. ``n_groups``, ``value``,
    ``gradient``, ``hessian`` and ``convex`` have no default. The others are optional: a
    question that needs one that is missing is refused.

    Arrays may have any leading axes: ``y`` is ``(..., K_y)`` and ``u`` is ``(..., K)``,
    broadcast against each other, so that one row can be evaluated at many outputs.

    The K outputs fall into G groups of Kb that the second derivatives couple: K groups
    of one (several regression targets) or one group of K (softmax).

    Attributes
    ----------
    convex : bool
        Whether no ``hessian`` has a negative eigenvalue, for any targets and outputs.
        Where it is False, negative curvature at a fit raises an error.
    quadratic : bool
        Whether third derivatives vanish, so that one Newton step is exact.
    self_concordance : float
        A constant c with ``|l'''[v, v, d]| <= c width(d) l''[v, v]`` for all targets,
        outputs, and moves v and d of one group of outputs; infinite, the default, if
        there is none or it is not known. ``width(d)`` is the largest absolute entry of
        d; of a ``shift_invariant`` loss, the largest entry less the least. It bounds
        the error of a Newton step.
    shift_invariant : bool
        Whether a constant added to all outputs changes nothing (softmax).
    has_third, exponential_family, bounded_domain, curves_in_single : bool
        Whether the loss defines ``third``; ``unit_deviance``; ``within_domain``;
        ``curved_change``. They are derived from that, never set.

    See Also
    --------
    ExponentialFamilyLoss : A loss made of a family and a link, with all of this.
    """

    @property
    @abc.abstractmethod
    def convex(self) -> bool:
        """Whether no second derivative is ever negative."""

    @property
    def quadratic(self) -> bool:
        """Whether third derivatives vanish."""
        return False

    @property
    def self_concordance(self) -> float:
        """Bound of third derivatives over second ones; infinite where none is known."""
        return 0.0 if self.quadratic else inf

    @property
    def shift_invariant(self) -> bool:
        """Whether a constant added to all outputs changes nothing."""
        return False

    @property
    def has_third(self) -> bool:
        """Whether ``third`` is defined."""
        return _defines(self, "third")

    @property
    def exponential_family(self) -> bool:
        """Whether this is half a deviance: ``unit_deviance`` is defined."""
        return _defines(self, "unit_deviance")

    @property
    def bounded_domain(self) -> bool:
        """Whether some outputs have no finite loss: ``within_domain`` is defined."""
        return _defines(self, "within_domain")

    @property
    def curves_in_single(self) -> bool:
        """Whether ``curved_change`` keeps the digits of float32."""
        return _defines(self, "curved_change")

    @abc.abstractmethod
    def n_groups(self, n_outputs: int) -> int:
        """Number of groups G into which ``n_outputs`` outputs fall."""

    @abc.abstractmethod
    def value(self, y: Array, u: Array) -> Array:
        """Loss, shape ``(...)``."""

    @abc.abstractmethod
    def gradient(self, y: Array, u: Array) -> Array:
        """First derivatives in ``u``, shape ``(..., K)``."""

    @abc.abstractmethod
    def hessian(self, y: Array, u: Array) -> Array:
        """Second derivatives in ``u``, shape ``(..., G or 1, Kb, Kb)``.

        A first of these axes of length 1 says that all groups share one block.
        """

    def third(self, y: Array, u: Array) -> Array:
        """Third derivatives in ``u``, shape ``(..., G, Kb, Kb, Kb)``."""
        raise _undefined(self, "third")

    def hessian_product(self, y: Array, u: Array, moves: Array) -> Array:
        """Second derivatives times m moves of the outputs, ``(..., K, m)``."""
        xp = array_namespace(u)
        M = self.hessian(y, u)
        K, m = moves.shape[-2:]
        groups = self.n_groups(K)
        grouped = xp.reshape(moves, (*moves.shape[:-2], groups, K // groups, m))
        product = M[..., :1] * grouped if groups == K else xp.matmul(M, grouped)
        return xp.reshape(product, moves.shape)

    def third_product(self, y: Array, u: Array, left: Array, right: Array) -> Array:
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

    def gradient_change(self, y: Array, u: Array, moves: Array) -> Array:
        """``gradient(y, u + move) - gradient(y, u)`` for m moves, (..., K, m)."""
        turned = array_namespace(u).matrix_transpose
        change = turned(self.gradient(y[..., None, :], u[..., None, :] + turned(moves)))
        return change - self.gradient(y, u)[..., None]

    def curved_change(self, y: Array, u: Array, moves: Array) -> Array:
        """The same less its linear part, the ``hessian_product``.

        A loss that overrides it returns float32 for small float32 moves, with an error
        that is rounding relative to the result: no digits are lost in the difference.
        """
        moves = array_namespace(u).astype(moves, u.dtype, copy=False)
        change = self.gradient_change(y, u, moves)
        return change - self.hessian_product(y, u, moves)

    @property
    def targets(self) -> str:
        """The targets that ``allows`` allows, in words: "at least 0"."""
        return "numbers"

    def allows(self, y: Array) -> Array:
        """Whether targets are possible, of the shape of ``y``, bool."""
        xp = array_namespace(y)
        return xp.ones_like(y, dtype=xp.bool)

    def within_domain(self, u: Array) -> Array:
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

    def response(self, u: Array) -> Array:
        """Predicted mean of y, shape ``(..., K)``: the inverse link; ``u`` by default."""
        return u

    def response_slope(self, u: Array) -> Array:
        """Derivative of ``response`` in each output, shape ``(..., K)``."""
        if _defines(self, "response"):
            raise _undefined(self, "response_slope")
        return array_namespace(u).ones_like(u)

    # --- exponential families: what the classical diagnostics need --------------------

    @property
    def canonical(self) -> bool:
        """Whether second derivatives are free of y: observed and expected ones agree."""
        return False

    @property
    def dispersion_known(self) -> bool:
        """Whether the family fixes its dispersion at 1."""
        raise _undefined(self, "dispersion_known")

    def unit_deviance(self, y: Array, u: Array) -> Array:
        """Twice the loss above that of ``mu = y``, at least 0, ``(..., K)``."""
        raise _undefined(self, "unit_deviance")

    def fisher_weight(self, u: Array) -> Array:
        """Expected second derivative ``(d mu / d u)**2 / V(mu)``, ``(..., K)``."""
        raise _undefined(self, "fisher_weight")

    def pearson_residual(self, y: Array, u: Array) -> Array:
        """``(y - mu) / sqrt(V(mu))``, unweighted, ``(..., K)``."""
        raise _undefined(self, "pearson_residual")


def _defines(loss: AbstractLoss, method: str) -> bool:
    return getattr(type(loss), method) is not getattr(AbstractLoss, method)


def _undefined(loss: AbstractLoss, name: str) -> NotImplementedError:
    return NotImplementedError(f"{type(loss).__name__} does not define {name}.")
