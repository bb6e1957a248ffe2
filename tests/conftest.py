"""Fixtures: explainers of the registered cases, fitted once for the whole session."""

from functools import cache

import pytest
from cases import fitted, load
from threadpoolctl import threadpool_limits

from skinfluence import InfluenceExplainer

collect_ignore = ["campaigns"]  # programs, not tests


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread():
    """Small problems on shared machines: threads of BLAS wait for each other."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(scope="session")
def explain():
    """Give the fitted explainer of a case; shared, so never fit it again."""

    @cache
    def explainer_of(case, **options):
        data = load(case.data)
        options = {"preprocessing": "held", **options}  # as the definitions do
        explainer = InfluenceExplainer(fitted(case), **options)
        return explainer.fit(data.X, data.y, **case.fit_params)

    return explainer_of
