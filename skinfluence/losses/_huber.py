"""Huber's loss, with a fixed scale and with a fitted one."""

from dataclasses import dataclass
from typing import final

from skinfluence._array import Array, array_namespace
from skinfluence.losses._base import WALL, WALL_SLOPE, AbstractLoss


@final
@dataclass(frozen=True)
class HuberLoss(AbstractLoss):
    """``r**2 / 2`` of the residual ``r = u - y``, straight beyond ``epsilon``.

    Beyond, the loss is ``epsilon (|r| - epsilon / 2)``; one group per output.

    Parameters
    ----------
    epsilon : float
        Residual at which the loss becomes straight, in units of y.
    """

    epsilon: float

    convex = True

    def n_groups(self, n_outputs: int) -> int:
        return n_outputs

    def value(self, y: Array, u: Array) -> Array:
        xp = array_namespace(u)
        r = xp.abs(u - y)
        straight = self.epsilon * (r - self.epsilon / 2)
        return xp.sum(xp.where(r <= self.epsilon, r**2 / 2, straight), axis=-1)

    def gradient(self, y: Array, u: Array) -> Array:
        xp = array_namespace(u)
        return xp.clip(u - y, min=-self.epsilon, max=self.epsilon)

    def hessian(self, y: Array, u: Array) -> Array:
        xp = array_namespace(u)
        return xp.astype(xp.abs(u - y) <= self.epsilon, u.dtype)[..., None, None]


@final
@dataclass(frozen=True)
class HuberScaleLoss(AbstractLoss):
    """Huber's joint loss of location ``u_1`` and scale ``sigma = u_2 > 0``, one group.

    ``loss = sigma + H(r / sigma) sigma`` with ``r = u_1 - y``, ``H(z) = z**2`` up to
    ``|z| = epsilon`` and ``2 epsilon |z| - epsilon**2`` beyond. A scale that is not
    positive has no finite loss.

    Parameters
    ----------
    epsilon : float
        Residual over the scale at which the loss becomes straight.

    References
    ----------
    .. [1] Owen (2007). A robust hybrid of lasso and ridge regression. Section 5.
    """

    epsilon: float

    convex = True

    def n_groups(self, n_outputs: int) -> int:
        return 1

    def value(self, y: Array, u: Array) -> Array:
        xp = array_namespace(u)
        r, sigma, inlier, _ = self._parts(y, u)
        square = r**2 / sigma
        straight = 2 * self.epsilon * xp.abs(r) - self.epsilon**2 * sigma
        value = sigma + xp.where(inlier, square, straight)
        return xp.where(self.within_domain(u), value, WALL * xp.ones_like(value))

    def gradient(self, y: Array, u: Array) -> Array:
        xp = array_namespace(u)
        r, sigma, _, _ = self._parts(y, u)
        z = xp.clip(r / sigma, min=-self.epsilon, max=self.epsilon)
        gradient = xp.stack([2 * z, 1 - z**2], axis=-1)
        wall = xp.stack([xp.zeros_like(r), -WALL_SLOPE * xp.ones_like(r)], axis=-1)
        return xp.where(self.within_domain(u)[..., None], gradient, wall)

    def hessian(self, y: Array, u: Array) -> Array:
        xp = array_namespace(u)
        r, sigma, _, weight = self._parts(y, u)
        z = r / sigma
        rows = [xp.stack([xp.ones_like(z), -z], axis=-1), xp.stack([-z, z**2], axis=-1)]
        bend = 2 * weight / sigma
        return (bend[..., None, None] * xp.stack(rows, axis=-2))[..., None, :, :]

    def within_domain(self, u: Array) -> Array:
        return u[..., 1] > 0

    def _parts(self, y: Array, u: Array) -> tuple[Array, Array, Array, Array]:
        """Residual, scale (1 where there is none), and who is within ``epsilon``."""
        xp = array_namespace(u)
        inside = self.within_domain(u)
        sigma = xp.where(inside, u[..., 1], xp.ones_like(u[..., 1]))
        r = u[..., 0] - y[..., 0]
        # On the kink both formulas hold; scikit-learn counts it among the inliers.
        inlier = xp.abs(r) <= self.epsilon * sigma
        return r, sigma, inlier, xp.astype(inlier & inside, u.dtype)
