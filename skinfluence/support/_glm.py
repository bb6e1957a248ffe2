"""Rows of generalized linear models: Poisson, Gamma and the other Tweedie families."""

from operator import attrgetter

from sklearn.linear_model import GammaRegressor, PoissonRegressor, TweedieRegressor

from skinfluence import losses
from skinfluence.losses import AbstractLoss
from skinfluence.support._table import checked, numbers, register


def _tweedie(estimator: TweedieRegressor) -> AbstractLoss:
    power = float(estimator.power)
    identity = estimator.link == "identity"
    if identity or (estimator.link == "auto" and power <= 0):
        return (
            losses.HalfSquaredError()
            if power == 0
            else losses.HalfTweedieIdentityLoss(power)
        )
    return losses.HalfTweedieLoss(power)


for _class, _loss in (
    (PoissonRegressor, losses.HalfTweedieLoss(1.0)),
    (GammaRegressor, losses.HalfTweedieLoss(2.0)),
    (TweedieRegressor, _tweedie),
):
    register(
        _class,
        _loss,
        checked(numbers, _loss),
        strength=attrgetter("alpha"),
        mean_form=True,
    )
