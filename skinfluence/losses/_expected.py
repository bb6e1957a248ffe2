"""A loss with the expected second derivatives in place of the observed ones."""

from dataclasses import dataclass
from typing import final

from skinfluence._array import Array
from skinfluence.losses._base import AbstractLoss


@final
@dataclass(frozen=True)
class ExpectedInformation(AbstractLoss):
    """An exponential family whose ``hessian`` is the Fisher weight, free of y.

    The objective of Fisher scoring, and of the hat values of generalized linear models.

    Parameters
    ----------
    loss : AbstractLoss
        A loss with ``fisher_weight``.
    """

    loss: AbstractLoss

    convex = True  # of the hessian here, not of the value

    @property
    def bounded_domain(self) -> bool:
        return self.loss.bounded_domain

    def n_groups(self, n_outputs: int) -> int:
        return self.loss.n_groups(n_outputs)

    def value(self, y: Array, u: Array) -> Array:
        return self.loss.value(y, u)

    def gradient(self, y: Array, u: Array) -> Array:
        return self.loss.gradient(y, u)

    def hessian(self, y: Array, u: Array) -> Array:
        return self.loss.fisher_weight(u)[..., None, None]

    def within_domain(self, u: Array) -> Array:
        return self.loss.within_domain(u)
