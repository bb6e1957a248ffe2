"""A solver written from the abstract classes alone is right for every supported model."""

import warnings
from dataclasses import dataclass
from typing import ClassVar, final

import cases
import numpy as np
import pytest
import test_active_set
import test_support

from skinfluence import InfluenceExplainer
from skinfluence._array import Array, array_namespace
from skinfluence.curvature import AbstractCurvature
from skinfluence.exceptions import SkinfluenceWarning
from skinfluence.solvers import (
    AbstractFactor,
    AbstractSolver,
    Solution,
    _choose,
)


@final
@dataclass(frozen=True)
class Eigen(AbstractSolver):
    """Eigenvalues of H, group by group."""

    name: ClassVar[str] = "eigen"

    def prepare(self, curvature: AbstractCurvature) -> "EigenFactor":
        H = curvature.as_matrix()
        xp = array_namespace(H)
        values, vectors = xp.linalg.eigh(H)
        kept = values > 1e-12 * values[..., -1:]
        inverse = xp.where(kept, 1 / xp.where(kept, values, 1.0), 0.0)
        inverse = (vectors * inverse[..., None, :]) @ xp.matrix_transpose(vectors)
        return EigenFactor(curvature, inverse)


@final
@dataclass(frozen=True, eq=False)
class EigenFactor(AbstractFactor):
    """``inv(H)`` as a matrix."""

    inverse: Array

    def solve(self, rhs: Array) -> Solution:
        return Solution.exact(self.inverse @ rhs)


# --- every row of the support table ---


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted model of one of the registries, and its rows."""

    name: str
    source: str
    of: object

    def __str__(self):
        return f"{self.source}: {self.name}"

    def parts(self):
        """Fitted estimator, X, y, parameters of ``fit``."""
        if self.source == "cases":
            data = cases.load(self.of.data)
            return cases.fitted(self.of), data.X, data.y, self.of.fit_params
        if self.source == "support":
            X, y, _ = test_support.data(self.of.data)
            return test_support.fitted(self.of), X, y, self.of.params
        X, y, _ = self.of.data
        return test_active_set.fitted(self.name), X, y, self.of.fit_params


MODELS = [
    *(Model(case.name, "cases", case) for case in cases.CASES),
    *(Model(entry.name, "support", entry) for entry in test_support.ENTRIES),
    *(Model(name, "corners", case) for name, case in test_active_set.CASES.items()),
]


def answers(model):
    """Arrays of all kinds of questions, by solver='direct', whatever that is."""
    estimator, X, y, params = model.parts()
    rows, found = np.arange(0, len(X), 7), {}
    for deletion in ("newton", "exact"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SkinfluenceWarning)
            explainer = InfluenceExplainer(
                estimator, solver="direct", deletion=deletion, tol=1e-12
            ).fit(X, y, **params)
            deltas = explainer.loo_params(rows)
            names = [n for n in ("coef", "intercept", "scale") if n in deltas]
            values = [np.reshape(deltas[n], (len(rows), -1)) for n in names]
            found[f"loo_params, {deletion}"] = np.hstack(values)
            if deletion == "newton":
                found["influence"] = explainer.influence(X[:5], y[:5])
                found["self_influence"] = explainer.self_influence()
    return found, explainer


@pytest.fixture
def by_eigenvalues(monkeypatch):
    """Have the explainer use the solver of this file where it is asked for "direct"."""

    def use():
        monkeypatch.setitem(_choose._BY_NAME, "direct", lambda seed: Eigen())

    return use


def errors(model, use):
    truth, direct = answers(model)
    use()
    found, explainer = answers(model)
    assert isinstance(explainer._study.solver, Eigen)
    # A loss that does not see a shift of all classes leaves intercepts one direction.
    worst = {}
    for name, values in truth.items():
        present = np.isfinite(values)
        np.testing.assert_array_equal(present, np.isfinite(found[name]))
        gap = np.abs(found[name] - values)[present]
        worst[name] = gap.max() / np.abs(values[present]).max()
    return worst, direct, explainer


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_solver_of_ones_own_answers_as_the_direct_one(model, by_eigenvalues):
    worst, direct, found = errors(model, by_eigenvalues)
    assert max(worst.values()) < 1e-9, worst
    assert found.effective_dof_ == pytest.approx(direct.effective_dof_, rel=1e-8)
    factor, truth = found._study.point.factor, direct._study.point.factor
    assert factor.rank_deficient == truth.rank_deficient
    assert 0.1 < found.condition_ / direct.condition_ < 10
