"""Exact deletion of many rows: few passes, the first ones in float32, and certified."""

import numpy as np
import pytest
from reference import relative_error
from sklearn.linear_model import GammaRegressor, LogisticRegression, PoissonRegressor

from skinfluence import InfluenceExplainer, _threads, refit_leave_one_out
from skinfluence.deletion import _exact
from skinfluence.deletion._passes import in_runs

N = 1200
ROWS = np.arange(0, N, 150)


def problem(n_classes, p):
    rng = np.random.default_rng(p)
    X, weight = rng.normal(size=(N, p)), rng.uniform(0.5, 2.0, N)
    scores = X @ rng.normal(size=(p, n_classes)) / p**0.5
    y = np.argmax(scores + rng.gumbel(size=scores.shape), axis=1)
    return X, y, weight


def logistic():
    return LogisticRegression(solver="newton-cholesky", tol=1e-10)


# Model, number of classes, columns, passes in float32 and all passes.
MODELS = {
    "binary": (logistic, 2, 6, 1, 2),
    "softmax": (logistic, 3, 5, 1, 2),
    "softmax, no third derivatives": (logistic, 6, 15, 3, 5),
    "Poisson": (lambda: PoissonRegressor(alpha=0.1, tol=1e-8), 3, 6, 1, 2),
    "Gamma": (lambda: GammaRegressor(alpha=0.1, tol=1e-8), 3, 6, 1, 2),
}


@pytest.fixture
def passes(monkeypatch):
    """Whether each pass was in float32."""
    seen = []

    def spied(*given, single=False, **options):
        seen.append(single)
        return summed(*given, single=single, **options)

    summed = _exact.summed_over_rows
    monkeypatch.setattr(_exact, "summed_over_rows", spied)
    return seen


@pytest.mark.parametrize("name", MODELS)
def test_few_passes_lead_to_the_refits(name, passes):
    make, n_classes, p, n_single, n_passes = MODELS[name]
    X, y, weight = problem(n_classes, p)
    y = y + 1 if name in ("Poisson", "Gamma") else y
    model = make().fit(X, y, sample_weight=weight)
    explainer = InfluenceExplainer(model, deletion="exact", tol=1e-8)
    found = explainer.fit(X, y, sample_weight=weight).loo_params(rows=ROWS)
    assert passes == [True] * n_single + [False] * (n_passes - n_single)
    assert np.all(found.n_steps <= n_passes)
    refits = refit_leave_one_out(model, X, y, rows=ROWS, sample_weight=weight)
    assert relative_error(found.coef, refits.coef) < 1e-8
    assert relative_error(found.intercept, refits.intercept) < 1e-8


def test_a_loose_tolerance_takes_one_pass_and_a_tight_one_three(passes):
    X, y, _ = problem(2, 6)
    model = logistic().fit(X, y)
    for tol, expected in ((1e-4, [False]), (1e-12, [True, False, False])):
        passes.clear()
        explainer = InfluenceExplainer(model, deletion="exact", tol=tol).fit(X, y)
        found = explainer.loo_params(rows=ROWS)
        assert passes == expected
        assert np.all(found.n_steps == len(expected))


def test_float32_never_certifies(passes, monkeypatch):
    """Where every step is called far, no row is ever done, and each is refitted."""
    X, y, _ = problem(2, 6)
    explainer = InfluenceExplainer(logistic().fit(X, y), deletion="exact").fit(X, y)
    truth = explainer.loo_params(rows=ROWS).coef
    monkeypatch.setattr(_exact, "_most_exceed", lambda candidates, times: True)
    refitted, refit = [], _exact.Exact._refitted

    def spied(self, at, step, n_steps):
        refitted.extend(at.leaving.rows.tolist())
        return refit(self, at, step, n_steps)

    monkeypatch.setattr(_exact.Exact, "_refitted", spied)
    passes.clear()
    found = explainer.loo_params(rows=ROWS)
    assert len(passes) > 2 and all(passes)
    assert sorted(refitted) == ROWS.tolist()
    assert relative_error(found.coef, truth) < 1e-7


def test_threads_take_candidates_and_give_what_one_thread_gives(monkeypatch):
    X, y, weight = problem(3, 5)
    model = logistic().fit(X, y, sample_weight=weight)
    explainer = InfluenceExplainer(model, deletion="exact")
    explainer.fit(X, y, sample_weight=weight)
    alone = explainer.loo_params()
    monkeypatch.setattr(_threads, "_WORTH_A_THREAD", 1)
    monkeypatch.setattr(_threads, "_allowed", lambda: 3)
    found = explainer.loo_params()
    assert relative_error(found.coef, alone.coef) < 1e-9
    # Candidates decide together whether the next pass is in float32.
    assert np.max(np.abs(found.n_steps - alone.n_steps)) <= 1
    for n_candidates in (0, 1, 2, 300, 1000):
        runs = in_runs(explainer._study.point, n_candidates)
        passes = [one for run in runs for one in run]
        assert len(runs) == min(3, max(n_candidates, 1))
        assert len({len(run) for run in runs}) == 1
        assert np.all(
            np.concatenate([np.arange(n_candidates)[one] for one in passes])
            == np.arange(n_candidates)
        )
