"""Half deviances of generalized linear models, with a log link."""

from dataclasses import dataclass
from typing import Any, final

from skinfluence._array import array_namespace
from skinfluence.losses._base import AbstractLoss


@final
@dataclass(frozen=True)
class HalfPoissonLoss(AbstractLoss):
    """``loss = exp(u) - y u`` for counts or rates ``y >= 0``: half the deviance.

    Up to terms free of ``u``; log link, the canonical one.
    """

    def n_groups(self, n_outputs: int) -> int:
        return n_outputs

    def value(self, y: Any, u: Any) -> Any:
        xp = array_namespace(u)
        return xp.sum(xp.exp(u) - y * u, axis=-1)

    def gradient(self, y: Any, u: Any) -> Any:
        return self.response(u) - y

    def hessian(self, y: Any, u: Any) -> Any:
        return self.response(u)[..., None, None]

    def third(self, y: Any, u: Any) -> Any:
        return self.response(u)

    def response(self, u: Any) -> Any:
        """Mean of y, ``exp(u)``."""
        return array_namespace(u).exp(u)

    def response_slope(self, u: Any) -> Any:
        return self.response(u)
