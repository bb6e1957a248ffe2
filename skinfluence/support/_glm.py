"""Rows of generalized linear models: Poisson, Gamma and the other Tweedie families."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import numpy as np
from sklearn.linear_model import GammaRegressor, PoissonRegressor, TweedieRegressor

from skinfluence.exceptions import InvalidDataError
from skinfluence.losses import (
    AbstractLoss,
    HalfSquaredError,
    HalfTweedieIdentityLoss,
    HalfTweedieLoss,
)
from skinfluence.support._table import SupportRow, numbers, register


def _tweedie(estimator: Any) -> AbstractLoss:
    power = float(estimator.power)
    identity = estimator.link == "identity"
    if identity or (estimator.link == "auto" and power <= 0):
        return HalfSquaredError() if power == 0 else HalfTweedieIdentityLoss(power)
    return HalfTweedieLoss(power)


def _targets_of_power(power_of: Callable[[Any], float]) -> Callable[[Any, Any], Any]:
    """Targets within the range of a Tweedie family."""

    def targets(estimator: Any, y: Any) -> Any:
        y, power = numbers(estimator, y), power_of(estimator)
        low = y <= 0 if power >= 2 else y < 0
        if power >= 1 and np.any(low):
            row = int(np.argmax(np.any(low, axis=1)))
            bound = "positive" if power >= 2 else "at least 0"
            raise InvalidDataError(
                f"Targets of a {type(estimator).__name__} must be {bound}; row {row} of "
                f"y holds {y[row].min():g}. Leave such rows out, or choose a family "
                "that allows them."
            )
        return y

    return targets


for _class, _loss, _power in (
    (PoissonRegressor, lambda estimator: HalfTweedieLoss(1.0), lambda estimator: 1.0),
    (GammaRegressor, lambda estimator: HalfTweedieLoss(2.0), lambda estimator: 2.0),
    (TweedieRegressor, _tweedie, attrgetter("power")),
):
    register(
        SupportRow(
            _class,
            _loss,
            _targets_of_power(_power),
            strength=attrgetter("alpha"),
            mean_form=True,
        )
    )
