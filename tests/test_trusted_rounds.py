"""Systematic errors: how many rows to clean is asked of the trusted ones, in rounds."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfluence import InfluenceCleaner, InfluenceExplainer
from skinfluence.cleaning._actions import Rows
from skinfluence.cleaning._rounds import TrustedRounds

N = 300
SLOPES = np.array([2.0, -2.0, 1.0, *np.zeros(9)])


@pytest.fixture(scope="module")
def misled():
    """One corner of the space is labelled wrongly, all of it; a third is trusted."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 12))
    right = np.where(X @ SLOPES + 0.3 * rng.normal(size=N) > 0, 1, 0)
    trusted = np.arange(N) % 3 == 0
    wrong = (X[:, 0] > 0.5) & (right == 1) & ~trusted
    return X, np.where(wrong, 0, right), right, trusted, wrong


def cleaned(misled, estimator=None, **options):
    X, y, _, trusted, _ = misled
    estimator = LogisticRegression(C=0.1) if estimator is None else estimator
    cleaner = InfluenceCleaner(estimator, criterion="influence", **options)
    return cleaner.fit(X, y, trusted=trusted)


def test_auto_finds_systematic_errors(misled):
    X, y, _, trusted, wrong = misled
    found = cleaned(misled)
    assert wrong[found.cleaned_indices_].mean() > 2 * wrong[~trusted].mean()
    assert wrong[found.cleaned_indices_].sum() > 0.9 * wrong.sum()
    assert not trusted[found.cleaned_indices_].any()
    as_given = LogisticRegression(C=0.1).fit(X, y)
    alone = LogisticRegression(C=0.1).fit(X[trusted], y[trusted])
    rng = np.random.default_rng(1)
    X_new = rng.normal(size=(4000, 12))
    y_new = np.where(X_new @ SLOPES > 0, 1, 0)
    assert found.score(X_new, y_new) > as_given.score(X_new, y_new) + 0.05
    assert found.score(X_new, y_new) > alone.score(X_new, y_new)


def test_the_rows_left_predict_the_trusted_ones_better(misled):
    X, y, _, trusted, _ = misled
    found = cleaned(misled)

    def loss(kept):
        explainer = InfluenceExplainer(LogisticRegression(C=0.1)).fit(X[kept], y[kept])
        p = explainer.loo_predict("predict_proba")[trusted[kept]]
        return -np.log(p[np.arange(len(p)), y[kept & trusted]]).mean()

    assert loss(found.support_) < 0.8 * loss(np.ones(N, dtype=bool))
    # Fewer or more rows by one round are no better.
    step = N // 20
    fewer, n = np.ones(N, dtype=bool), len(found.cleaned_indices_)
    fewer[found.cleaned_indices_[: n - step]] = False
    assert loss(found.support_) < loss(fewer)


def test_rows_are_in_the_order_of_the_rounds(misled):
    """The first round's rows are the most harmful by the model of all rows."""
    found = cleaned(misled)
    first = found.cleaned_indices_[: N // 20]
    trusted = misled[3]
    others = np.setdiff1d(np.flatnonzero(~trusted), first)
    assert np.median(found.row_scores_[first]) > np.quantile(
        found.row_scores_[others], 0.9
    )


def test_harm_is_that_to_the_models_without_the_trusted_rows():
    """By refits of least squares, where one Newton step is exact."""
    rng = np.random.default_rng(0)
    X, n = rng.normal(size=(30, 3)), 30
    y = X.sum(axis=1) + rng.normal(size=n)
    trusted = np.arange(n) < 8
    explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
    rounds = TrustedRounds(None, Rows(X, y, None, n), trusted, np.ones(n, bool), None)
    kept = np.arange(n)
    loss, harm = rounds._judged(explainer, kept)

    def fitted(without):
        rows = np.setdiff1d(kept, without)
        return LinearRegression().fit(X[rows], y[rows])

    full, held_out = fitted([]).predict(X), np.empty(n)
    for t in range(8):
        held_out[t] = fitted([t]).predict(X[[t]])[0]
    moves = (held_out - full)[trusted]
    assert loss == pytest.approx(0.5 * np.mean((held_out - y)[trusted] ** 2))
    for i in (0, 5, 9, 29):
        moved = fitted([i]).predict(X[trusted]) + moves
        change = loss - 0.5 * np.mean((moved - y[trusted]) ** 2)
        assert harm[i] == pytest.approx(change, rel=1e-9, abs=1e-12)


def test_right_rows_are_left_alone_as_far_as_the_trusted_ones_tell(misled):
    X, _, right, trusted, _ = misled
    cleaner = InfluenceCleaner(LogisticRegression(), criterion="influence")
    found = cleaner.fit(X, right, trusted=trusted)
    assert (~found.support_).mean() < 0.2


# Rounds drop rows until a class has one left, without which no finite refit exists.
@pytest.mark.filterwarnings("ignore:Row .* has no finite refit")
def test_at_most_half_of_the_rows_and_no_class_goes():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    y = (X[:, 0] > 0).astype(int)
    trusted = np.arange(60) < 10
    y[~trusted] = 1 - y[~trusted]  # all others are wrong
    rare = np.flatnonzero(~trusted)[0]
    y[rare] = 2
    cleaner = InfluenceCleaner(LogisticRegression(), criterion="influence")
    found = cleaner.fit(X, y, trusted=trusted)
    assert 10 <= len(found.cleaned_indices_) <= 30
    assert found.support_[rare]
    as_given = LogisticRegression().fit(X, y).score(X[trusted], y[trusted])
    assert found.score(X[trusted], y[trusted]) >= as_given + 0.5


def test_it_works_around_a_pipeline_with_weights_and_other_actions(misled):
    X, y, _, trusted, wrong = misled
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    weight = np.where(trusted, 4.0, 1.0)
    weight[1] = 0.0
    for action in ("drop", "downweight", "relabel"):
        cleaner = InfluenceCleaner(model, criterion="influence", action=action)
        found = cleaner.fit(X, y, sample_weight=weight, trusted=trusted)
        assert wrong[found.cleaned_indices_].mean() > 0.7
        assert 1 not in found.cleaned_indices_
    again = InfluenceCleaner(clone(model), criterion="influence")
    again.fit(X.tolist(), y.tolist(), sample_weight=weight.tolist(), trusted=trusted)
    expected = InfluenceCleaner(clone(model), criterion="influence")
    expected.fit(X, y, sample_weight=weight, trusted=trusted)
    np.testing.assert_array_equal(again.support_, expected.support_)


def test_folds_ask_their_own_trusted_rows(misled):
    X, y, _, trusted, _ = misled
    model = LogisticRegression(C=0.1)
    with config_context(enable_metadata_routing=True):
        cleaner = InfluenceCleaner(model, criterion="influence")
        cleaner.set_fit_request(trusted=True)
        found = cross_validate(
            cleaner,
            X,
            y,
            cv=3,
            params={"trusted": trusted},
            return_estimator=True,
            return_indices=True,
        )
    train, fold = found["indices"]["train"][0], found["estimator"][0]
    expected = InfluenceCleaner(model, criterion="influence")
    expected.fit(X[train], y[train], trusted=trusted[train])
    assert 0 < len(expected.cleaned_indices_)
    np.testing.assert_array_equal(fold.cleaned_indices_, expected.cleaned_indices_)


RESAMPLED = """
import imblearn.pipeline  # first: it adds its own requests to classes made later
import numpy as np
from sklearn import config_context
from sklearn.linear_model import LogisticRegression
from skinfluence import InfluenceCleaner

rng = np.random.default_rng(0)
X = rng.normal(size=(150, 4))
y, trusted = (X[:, 0] > 0).astype(int), np.arange(150) % 3 == 0
y[(X[:, 1] > 0.5) & ~trusted] = 0
cleaner = InfluenceCleaner(LogisticRegression(C=0.1), criterion="influence")
expected = InfluenceCleaner(**cleaner.get_params(deep=False))
expected.fit(X, y, trusted=trusted)
with config_context(enable_metadata_routing=True):
    cleaner.set_fit_request(trusted=True).set_fit_resample_request(trusted=True)
    pipeline = imblearn.pipeline.make_pipeline(cleaner, LogisticRegression())
    pipeline.fit(X, y, trusted=trusted)
assert len(expected.cleaned_indices_)
assert np.array_equal(pipeline[0].support_, expected.support_)
"""


@pytest.mark.peers
def test_trusted_rows_reach_imbalanced_learns_pipeline():
    pytest.importorskip("imblearn")
    subprocess.run([sys.executable, "-c", RESAMPLED], check=True)


def test_regressions_too():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3))
    y = X @ [1.0, 2.0, 3.0] + rng.normal(size=N)
    trusted = np.arange(N) % 3 == 0
    wrong = (X[:, 1] > 0.5) & ~trusted  # read off another scale, all of them
    y[wrong] *= 0.3
    cleaner = InfluenceCleaner(Ridge(), criterion="influence")
    found = cleaner.fit(X, y, trusted=trusted)
    as_given, truth = Ridge().fit(X, y), np.array([1.0, 2.0, 3.0])
    error = np.linalg.norm(found.estimator_.coef_ - truth)
    assert error < 0.5 * np.linalg.norm(as_given.coef_ - truth)
