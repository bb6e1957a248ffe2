"""Rows of generalized linear models: Poisson, Gamma and the other Tweedie families."""

from operator import attrgetter

from sklearn.linear_model import GammaRegressor, PoissonRegressor, TweedieRegressor

from skinfluence.losses import (
    AbstractLoss,
    HalfSquaredError,
    HalfTweedieIdentityLoss,
    HalfTweedieLoss,
)
from skinfluence.support._table import SupportRow, checked, numbers, register


def _poisson(estimator: PoissonRegressor) -> AbstractLoss:
    return HalfTweedieLoss(1.0)


def _gamma(estimator: GammaRegressor) -> AbstractLoss:
    return HalfTweedieLoss(2.0)


def _tweedie(estimator: TweedieRegressor) -> AbstractLoss:
    power = float(estimator.power)
    identity = estimator.link == "identity"
    if identity or (estimator.link == "auto" and power <= 0):
        return HalfSquaredError() if power == 0 else HalfTweedieIdentityLoss(power)
    return HalfTweedieLoss(power)


for _class, _loss in (
    (PoissonRegressor, _poisson),
    (GammaRegressor, _gamma),
    (TweedieRegressor, _tweedie),
):
    register(
        SupportRow(
            _class,
            _loss,
            checked(numbers, _loss),
            strength=attrgetter("alpha"),
            mean_form=True,
        )
    )
