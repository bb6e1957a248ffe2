"""Smooth losses of classification by a margin: squared hinge, modified Huber."""

from dataclasses import dataclass
from typing import final

from skinfluence._array import Array, array_namespace
from skinfluence.losses._base import AbstractLoss

# A margin of 1, and what rounding may add to that of a row that lies there.
_EDGE = 1 + 1e-12


@final
@dataclass(frozen=True)
class SquaredHinge(AbstractLoss):
    """``loss = sum_k max(0, 1 - y_k u_k)**2`` for ``y`` in {-1, 1}.

    Its second derivative jumps at the margin, from 2 to 0. A row that alone holds a
    column lies there to rounding where C is large, and holds it all the same.
    """

    convex = True

    def n_groups(self, n_outputs: int) -> int:
        return n_outputs

    def value(self, y: Array, u: Array) -> Array:
        return array_namespace(u).sum(_lack(y, u) ** 2, axis=-1)

    def gradient(self, y: Array, u: Array) -> Array:
        return -2 * y * _lack(y, u)

    def hessian(self, y: Array, u: Array) -> Array:
        return 2 * _indicator(y * u < _EDGE, u)[..., None, None]


@final
@dataclass(frozen=True)
class ModifiedHuber(AbstractLoss):
    """``sum_k max(0, 1 - y_k u_k)**2``, straight on, ``-4 y_k u_k``, below a margin of -1.

    Its second derivative jumps at both ends.

    References
    ----------
    .. [1] Zhang (2004). Solving large scale linear prediction problems using stochastic
       gradient descent algorithms. ICML.
    """

    convex = True

    def n_groups(self, n_outputs: int) -> int:
        return n_outputs

    def value(self, y: Array, u: Array) -> Array:
        xp = array_namespace(u)
        lack = _lack(y, u)
        return xp.sum(xp.where(lack > 2, 4 * (lack - 1), lack**2), axis=-1)

    def gradient(self, y: Array, u: Array) -> Array:
        xp = array_namespace(u)
        return -2 * y * xp.clip(_lack(y, u), max=2.0)

    def hessian(self, y: Array, u: Array) -> Array:
        margin = y * u
        return 2 * _indicator((margin < _EDGE) & (margin >= -1), u)[..., None, None]


def _lack(y: Array, u: Array) -> Array:
    """What is missing to a margin of 1."""
    return array_namespace(u).clip(1 - y * u, min=0.0)


def _indicator(mask: Array, u: Array) -> Array:
    return array_namespace(u).astype(mask, u.dtype)
