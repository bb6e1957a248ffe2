"""The contract of a loss."""

import abc
from typing import Any, ClassVar

from skinfluence._array import array_namespace


class AbstractLoss(abc.ABC):
    """Loss of one row, never weighted, as a function of its linear outputs.

    Arrays may carry any leading axes: ``y`` is ``(..., K_y)`` and ``u`` is ``(..., K)``,
    broadcast against each other, so that one row can be asked at many outputs at once.

    The K outputs fall into G groups of Kb that the second derivatives couple: K groups
    of one (several regression targets) or one group of K (softmax).
    """

    quadratic: ClassVar[bool] = False  # third derivatives vanish: Newton is exact
    shift_invariant: ClassVar[bool] = False  # one constant added to all u: no change

    @abc.abstractmethod
    def n_groups(self, n_outputs: int) -> int:
        """Number of groups G into which ``n_outputs`` outputs fall."""

    @abc.abstractmethod
    def value(self, y: Any, u: Any) -> Any:
        """Loss, shape ``(...)``."""

    @abc.abstractmethod
    def gradient(self, y: Any, u: Any) -> Any:
        """First derivatives in ``u``, shape ``(..., K)``."""

    @abc.abstractmethod
    def hessian(self, y: Any, u: Any) -> Any:
        """Second derivatives in ``u``, shape ``(..., G or 1, Kb, Kb)``.

        A first of these axes of length 1 says that all groups share one block.
        """

    def separates(self, y: Any, u: Any) -> bool:
        """Whether ``u`` puts every row strictly on its own side.

        If it does, multiplying ``u`` by a constant lowers the loss without end.
        """
        return False

    def one_sided(self, y: Any) -> bool:
        """Whether constant outputs alone lower the loss without end: a class is absent."""
        return False

    def response(self, u: Any) -> Any:
        """Predicted mean of y, shape ``(..., K)``: the inverse link."""
        return u

    def response_slope(self, u: Any) -> Any:
        """Derivative of ``response`` in each output, shape ``(..., K)``."""
        return array_namespace(u).ones_like(u)
