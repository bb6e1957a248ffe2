"""Pipelines that read texts: X has no features to count, and every question answers."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skinfluence import (
    InfluenceCleaner,
    InfluenceExplainer,
    InfluenceReport,
    check_leave_one_out,
    cross_val_influence,
)

RNG = np.random.default_rng(0)
WORDS = ["red", "blue", "green", "grey"]
TEXTS = np.array([" ".join(RNG.choice(WORDS, 4)) for _ in range(60)])
LABELS = np.where([text.count("red") > 0 for text in TEXTS], "warm", "cold")
LABELS[::7] = np.where(LABELS[::7] == "warm", "cold", "warm")


def pipeline():
    return make_pipeline(TfidfVectorizer(), LogisticRegression())


@pytest.fixture(scope="module")
def explainer():
    return InfluenceExplainer(pipeline()).fit(TEXTS, LABELS)


def test_questions_about_texts_are_those_about_their_features():
    explainer = InfluenceExplainer(pipeline(), preprocessing="held").fit(TEXTS, LABELS)
    steps = explainer.estimator_
    features = steps[0].transform(TEXTS)
    alone = InfluenceExplainer(steps[1]).fit(features, LABELS)
    asked, same = (TEXTS[:5], LABELS[:5]), (features[:5], LABELS[:5])
    np.testing.assert_allclose(explainer.influence(*asked), alone.influence(*same))
    np.testing.assert_allclose(explainer.loo_delta(*asked), alone.loo_delta(*same))
    groups = np.arange(60) % 4
    np.testing.assert_allclose(
        explainer.group_delta(*asked, groups=groups),
        alone.group_delta(*same, groups=groups),
    )
    assert explainer.loo_score() == alone.loo_score()
    assert "n_features_in_" not in vars(explainer)


def test_a_report_of_texts_is_made(explainer):
    report = InfluenceReport(explainer, TEXTS[:9], LABELS[:9], figures=False)
    assert report.to_dict()["model"]["n_columns"] == len(WORDS)
    pytest.importorskip("jinja2")
    assert "4 features" in report.html()
    agreement = check_leave_one_out(explainer, TEXTS, LABELS, rows=10)
    assert agreement.pearson > 0.99


@pytest.mark.parametrize("container", [list, np.asarray])
def test_a_report_of_the_training_texts_shows_them(explainer, container):
    texts = container(TEXTS.tolist())
    report = InfluenceReport(explainer, texts, LABELS, figures=False)
    rows = report.to_dict()["most_harmful"]
    assert rows
    assert all(row["values"] == {"text": TEXTS[row["row"]]} for row in rows)


def test_texts_are_cleaned_and_judged_in_folds():
    cleaner = InfluenceCleaner(pipeline(), contamination=0.1).fit(TEXTS, LABELS)
    assert len(cleaner.cleaned_indices_) == 6
    assert np.isfinite(cross_val_influence(pipeline(), TEXTS, LABELS).harm).all()
