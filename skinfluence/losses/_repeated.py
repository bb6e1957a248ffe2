"""One loss for each of several models that share their rows."""

from dataclasses import dataclass
from typing import final

from skinfluence._array import Array, array_namespace
from skinfluence.losses._base import AbstractLoss


@final
@dataclass(frozen=True)
class Repeated(AbstractLoss):
    """``sum_g c_g loss(y_g, u_g)``: G = ``n_models`` groups of outputs, one loss each.

    ``loss`` couples the outputs of one group. Targets are those of all groups, and
    behind them the weights ``c_g`` that the row has in each group, (..., G).

    Parameters
    ----------
    loss : AbstractLoss
        Loss of one model, of one group of outputs.
    n_models : int
        Number of models.
    """

    loss: AbstractLoss
    n_models: int

    @property
    def shift_invariant(self) -> bool:
        return self.loss.shift_invariant

    @property
    def quadratic(self) -> bool:
        return self.loss.quadratic

    @property
    def self_concordance(self) -> float:
        return self.loss.self_concordance

    @property
    def has_third(self) -> bool:
        return self.loss.has_third

    @property
    def convex(self) -> bool:
        return self.loss.convex

    @property
    def bounded_domain(self) -> bool:
        return self.loss.bounded_domain

    def n_groups(self, n_outputs: int) -> int:
        return self.n_models

    def value(self, y: Array, u: Array) -> Array:
        y, c = self._targets(y)
        losses = self.loss.value(y, self._grouped(u))
        return array_namespace(u).sum(c * losses, axis=-1)

    def gradient(self, y: Array, u: Array) -> Array:
        y, c = self._targets(y)
        return _flat(c[..., None] * self.loss.gradient(y, self._grouped(u)))

    def hessian(self, y: Array, u: Array) -> Array:
        y, c = self._targets(y)
        blocks = self.loss.hessian(y, self._grouped(u))  # (..., G, 1, Kb, Kb)
        return c[..., None, None] * blocks[..., 0, :, :]

    def third(self, y: Array, u: Array) -> Array:
        y, c = self._targets(y)
        blocks = self.loss.third(y, self._grouped(u))  # (..., G, 1, Kb, Kb, Kb)
        return c[..., None, None, None] * blocks[..., 0, :, :, :]

    def within_domain(self, u: Array) -> Array:
        inside = self.loss.within_domain(self._grouped(u))
        return array_namespace(u).all(inside, axis=-1)

    def separates(self, y: Array, u: Array) -> bool:
        y, _ = self._targets(y)
        u = self._grouped(u)
        models = range(self.n_models)
        return any(self.loss.separates(y[:, g, :], u[:, g, :]) for g in models)

    def one_sided(self, y: Array) -> bool:
        y, _ = self._targets(y)
        return any(self.loss.one_sided(y[:, g, :]) for g in range(self.n_models))

    def response(self, u: Array) -> Array:
        return _flat(self.loss.response(self._grouped(u)))

    def response_slope(self, u: Array) -> Array:
        return _flat(self.loss.response_slope(self._grouped(u)))

    def _targets(self, y: Array) -> tuple[Array, Array]:
        """Targets (..., G, K_y) and weights (..., G) of the groups."""
        return self._grouped(y[..., : -self.n_models]), y[..., -self.n_models :]

    def _grouped(self, values: Array) -> Array:
        shape = (*values.shape[:-1], self.n_models, values.shape[-1] // self.n_models)
        return array_namespace(values).reshape(values, shape)


def _flat(values: Array) -> Array:
    """Values (..., G, Kb) as (..., K)."""
    shape = (*values.shape[:-2], values.shape[-2] * values.shape[-1])
    return array_namespace(values).reshape(values, shape)
