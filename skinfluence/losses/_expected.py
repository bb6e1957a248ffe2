"""A loss with the expected second derivatives in place of the observed ones."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

from skinfluence._array import Array
from skinfluence.losses._base import AbstractLoss


@final
@dataclass(frozen=True)
class ExpectedInformation(AbstractLoss):
    """An exponential family whose ``hessian`` is the Fisher weight, free of y.

    The objective of Fisher scoring, and of the hat values of generalized linear models.
    """

    loss: AbstractLoss
    exponential_family: ClassVar[bool] = True

    def n_groups(self, n_outputs: int) -> int:
        return self.loss.n_groups(n_outputs)

    def value(self, y: Array, u: Array) -> Any:
        return self.loss.value(y, u)

    def gradient(self, y: Array, u: Array) -> Any:
        return self.loss.gradient(y, u)

    def hessian(self, y: Array, u: Array) -> Any:
        return self.loss.fisher_weight(u)[..., None, None]
