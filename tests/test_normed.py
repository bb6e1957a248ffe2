"""Tf-idf under a row norm: without a row, all other rows have other lengths."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import (
    CountVectorizer,
    TfidfTransformer,
    TfidfVectorizer,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, normalize

from skinfluence import InfluenceExplainer
from skinfluence._design import Design
from skinfluence._following import Norm
from skinfluence._sources import source_of
from skinfluence.refit import left_out_outputs
from skinfluence.solvers._normed import NormedColumns

N = 40
GROUP = [0, 3, 5]
WORDS = np.array("ash beech cedar elm fir larch maple oak pine rowan spruce".split())


def texts():
    """Texts of two kinds, which use the words unequally, and labels with some noise."""
    rng, y = np.random.default_rng(0), np.arange(N) % 2
    share = 1 / np.arange(1.0, len(WORDS) + 1)
    rows = [
        " ".join(rng.choice(WORDS, rng.integers(4, 9), p=p / p.sum()))
        for p in (np.roll(share, 4 * each) for each in y)
    ]
    flipped = rng.random(N) < 0.15
    return np.array(rows, dtype=object), np.where(flipped, 1 - y, y)


def logit(C=5.0):
    """A tight logistic model."""
    return LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12)


PIPELINES = {
    "l2": make_pipeline(TfidfVectorizer(), logit()),
    "l1": make_pipeline(CountVectorizer(), TfidfTransformer(norm="l1"), logit(50)),
    "ridge": make_pipeline(
        TfidfVectorizer(), Ridge(0.5, solver="sparse_cg", tol=1e-13)
    ),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_lengths_of_other_rows_change_as_in_refits(name):
    (X, y), pipe = texts(), PIPELINES[name]
    on = {} if name == "ridge" else {"on": "decision"}
    method = "predict" if name == "ridge" else "decision_function"
    own = left_out_outputs(pipe, X, y, np.arange(N))[:, 0]
    points = left_out_outputs(pipe, X, y, [*np.arange(N), GROUP], X_test=X[:4])[..., 0]
    base = getattr(pipe.fit(X, y), method)(X)
    errors = {}
    for mode in ("held", "auto"):
        explainer = InfluenceExplainer(pipe, preprocessing=mode).fit(X, y)
        assert bool(explainer.held_steps_) == (mode == "held")
        seen = explainer.loo_predict(method=method)
        deltas = explainer.loo_delta(X[:4], **on).T + base[:4]
        together = explainer.group_delta(X[:4], groups=[GROUP], **on).T + base[:4]
        errors[mode] = [
            np.median(np.abs(seen - own)) / np.median(np.abs(own - base)),
            np.median(np.abs(deltas - points[:N]))
            / np.median(np.abs(points[:N] - base[:4])),
            np.abs(together - points[N]).max() / np.abs(points[N] - base[:4]).max(),
        ]
    assert np.all(np.array(errors["auto"]) < [0.02, 0.05, 0.06])
    assert np.all(2 * np.array(errors["auto"]) < errors["held"])


def test_exact_deletion_of_texts_refits_the_pipeline():
    (X, y), pipe = texts(), PIPELINES["l2"]
    explainer = InfluenceExplainer(pipe, deletion="exact").fit(X, y)
    seen = explainer.loo_predict(method="decision_function")
    truth = left_out_outputs(pipe, X, y, np.arange(N))[:, 0]
    np.testing.assert_allclose(seen, truth, atol=1e-8)
    folds = explainer.cv_predict(np.arange(N) % 5, method="decision_function")
    wanted = np.concatenate(
        left_out_outputs(pipe, X, y, [np.arange(k, N, 5) for k in range(5)])
    )[:, 0]
    order = np.concatenate([np.arange(k, N, 5) for k in range(5)])
    np.testing.assert_allclose(folds[order], wanted, atol=1e-8)
    step = InfluenceExplainer(pipe).fit(X, y)
    near = step.cv_predict(np.arange(N) % 5, method="decision_function")
    assert np.abs(near - folds).max() < 0.5 * np.abs(folds).max()
    assert np.all(np.isinf(step.loo_params().error_bound))


def weighted_fit(X, y, weight):
    """Ridge on tf-idf by weighted counts, and its reader of texts."""
    vectorizer = CountVectorizer().fit(X)
    present = (vectorizer.transform(X) > 0).toarray()
    idf = np.log((weight.sum() + 1) / (weight @ present + 1)) + 1

    def read(rows):
        return normalize(vectorizer.transform(rows).toarray() * idf)

    model = Ridge(0.5).fit(read(X), y, sample_weight=weight)
    return lambda rows: model.predict(read(rows))


def test_influence_is_the_derivative_of_lengths_too():
    (X, y), step, rows = texts(), 1e-5, [0, 7, 8]
    explainer = InfluenceExplainer(make_pipeline(TfidfVectorizer(), Ridge(0.5)))
    explainer.fit(X, y.astype(float))
    slopes = []
    for i in rows:
        weights = [np.where(np.arange(N) == i, 1 + s, 1.0) for s in (step, -step)]
        more, less = (weighted_fit(X, y, weight)(X) for weight in weights)
        slopes.append(N * (more - less) / (2 * step))
    wanted = np.transpose(slopes)
    values = explainer.influence(X)
    np.testing.assert_allclose(
        values[:, rows], wanted, atol=1e-5 * np.abs(wanted).max()
    )
    together = explainer.group_influence(X, groups=[rows])[:, 0]
    np.testing.assert_allclose(together, wanted.sum(axis=1), rtol=1e-3, atol=1e-6)
    losses = explainer.influence(X, y.astype(float))
    np.testing.assert_allclose(explainer.self_influence(), np.diag(losses), rtol=1e-9)


def test_a_scaler_behind_lengths_holds_them():
    X, y = texts()
    pipe = make_pipeline(TfidfVectorizer(), MaxAbsScaler(), logit())
    explainer = InfluenceExplainer(pipe).fit(X, y)
    assert "MaxAbsScaler after it" in explainer.held_reasons_["tfidfvectorizer"]


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_gains_are_those_of_new_lengths(norm):
    rng = np.random.default_rng(4)
    X = normalize(rng.random((6, 5)) * (rng.random((6, 5)) < 0.7), norm)
    growth = rng.normal(scale=0.3, size=(3, 5))
    design = Design(source_of(X), np.zeros(5), False)
    columns = NormedColumns.of(design, Norm(np.arange(5), 1 if norm == "l1" else 2))
    gains = columns.gains(growth, linear=False)
    for k, each in enumerate(1 + growth):
        wanted = normalize(X * each, norm)
        np.testing.assert_allclose(X * each * (1 + gains[:, [k]]), wanted, atol=1e-14)
    own = columns.own_gains(np.tile(growth[0], (6, 1)), linear=False)
    np.testing.assert_allclose(own, gains[:, 0])
