"""What is asked at a new point, as a function of its linear outputs."""

import abc
from dataclasses import dataclass, replace
from typing import Any, final

from skinfluence._array import Array, array_namespace
from skinfluence.losses import AbstractLoss


class AbstractQuantity(abc.ABC):
    """One number per test point, from outputs ``(..., K)`` whose first axis is points."""

    @abc.abstractmethod
    def value(self, u: Array, points: slice) -> Any:
        """The quantity for outputs (b, ..., K) of a slice of the points."""

    @abc.abstractmethod
    def gradient(self, u: Array, points: slice) -> Any:
        """Its derivative in the outputs (b, K) of a slice of the points."""

    @abc.abstractmethod
    def at(self, points: slice) -> "AbstractQuantity":
        """The same quantity for a slice of the points only."""


@final
@dataclass(frozen=True, eq=False)
class Loss(AbstractQuantity):
    """Loss of each point with its own target."""

    loss: AbstractLoss
    targets: Any  # (m, K_y)

    def value(self, u: Array, points: slice) -> Any:
        losses = self.loss.value(_spread(self.targets[points, ...], u), u)
        if not self.loss.bounded_domain:
            return losses
        xp = array_namespace(u)
        return xp.where(self.loss.within_domain(u), losses, xp.inf)

    def gradient(self, u: Array, points: slice) -> Any:
        return self.loss.gradient(self.targets[points, ...], u)

    def at(self, points: slice) -> "Loss":
        return replace(self, targets=self.targets[points, ...])


@final
@dataclass(frozen=True, eq=False)
class Output(AbstractQuantity):
    """One linear output of each point, chosen by an indicator: its decision value."""

    indicator: Any  # (m, K) one-hot

    def value(self, u: Array, points: slice) -> Any:
        xp = array_namespace(u)
        return xp.sum(_spread(self.indicator[points, ...], u) * u, axis=-1)

    def gradient(self, u: Array, points: slice) -> Any:
        return self.indicator[points, ...]

    def at(self, points: slice) -> "Output":
        return replace(self, indicator=self.indicator[points, ...])


@final
@dataclass(frozen=True, eq=False)
class Response(AbstractQuantity):
    """Predicted mean of each point, through the inverse link of the loss."""

    loss: AbstractLoss
    indicator: Any  # (m, K) one-hot

    def value(self, u: Array, points: slice) -> Any:
        xp = array_namespace(u)
        chosen = _spread(self.indicator[points, ...], u)
        return xp.sum(chosen * self.loss.response(u), axis=-1)

    def gradient(self, u: Array, points: slice) -> Any:
        return self.indicator[points, ...] * self.loss.response_slope(u)

    def at(self, points: slice) -> "Response":
        return replace(self, indicator=self.indicator[points, ...])


@final
@dataclass(frozen=True, eq=False)
class HeldOut(AbstractQuantity):
    """A quantity at the outputs of the models that each point had no part in.

    Those differ from the outputs by the given moves, which are held.
    """

    inner: AbstractQuantity
    moves: Any  # (m, K)

    def value(self, u: Array, points: slice) -> Any:
        return self.inner.value(u + _spread(self.moves[points, ...], u), points)

    def gradient(self, u: Array, points: slice) -> Any:
        return self.inner.gradient(u + self.moves[points, ...], points)

    def at(self, points: slice) -> "HeldOut":
        return HeldOut(self.inner.at(points), self.moves[points, ...])


def _spread(values: Array, u: Array) -> Any:
    """Values (b, K) with axes of length 1 added to broadcast against (b, ..., K)."""
    shape = (values.shape[0],) + (1,) * (u.ndim - 2) + (values.shape[-1],)
    return array_namespace(values).reshape(values, shape)
