"""Polars frames and series: the numbers of arrays, and polars back where rows are."""

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skinfluence import (
    InfluenceCleaner,
    InfluenceExplainer,
    InfluenceReport,
    LeaveOneOutSearchCV,
    check_leave_one_out,
    cross_val_influence,
)
from skinfluence.exceptions import InvalidDataError

pl = pytest.importorskip("polars")


def regression():
    data = load_diabetes()
    return Ridge(0.1), data.data, data.target, data.feature_names


def classification():
    data = load_breast_cancer()
    labels = data.target_names[data.target]
    model = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-8))
    return model, data.data, labels, data.feature_names


def assert_same(found, truth):
    """Up to rounding: the columns of polars lie otherwise in memory."""
    found, truth = np.asarray(found), np.asarray(truth)
    assert np.abs(found - truth).max() <= 1e-9 * np.abs(truth).max()


@pytest.fixture(params=[regression, classification], ids=lambda make: make.__name__)
def both(request):
    model, X, y, names = request.param()
    frame = pl.DataFrame(X, schema=list(names))
    return model, (X, y), (frame, pl.Series("y", y.tolist()))


def test_the_numbers_are_those_of_arrays(both):
    model, (X, y), (frame, series) = both
    plain = InfluenceExplainer(model).fit(X, y)
    found = InfluenceExplainer(model).fit(frame, series)
    np.testing.assert_array_equal(found.train_index_, np.arange(len(y)))
    assert list(found.feature_names_in_) == frame.columns
    groups = np.arange(len(y)) % 4
    asked, answers = (X[:7], y[:7]), (frame[:7], series[:7])
    for of in (
        lambda e, at: e.influence(*at),
        lambda e, at: e.influence(at[0]),
        lambda e, at: e.loo_delta(*at, aggregate="mean"),
        lambda e, at: e.top_influences(*at, k=3)[0],
        lambda e, at: e.score_samples(*at),
        lambda e, at: e.feature_influence(*at, [1, 5]),
        lambda e, at: e.transform(at[0]),
    ):
        assert_same(of(found, answers), of(plain, asked))
    assert_same(
        found.group_delta(*answers, groups=pl.Series(groups)),
        plain.group_delta(*asked, groups=groups),
    )
    assert found.loo_score() == pytest.approx(plain.loo_score())
    assert found.score(frame, series) == pytest.approx(plain.score(X, y))


def test_weights_may_be_a_series(both):
    model, (X, y), (frame, series) = both
    weight = np.arange(len(y)) % 3 + 0.5
    plain = InfluenceExplainer(model).fit(X, y, sample_weight=weight)
    found = InfluenceExplainer(model).fit(
        frame, series, sample_weight=pl.Series(weight)
    )
    assert_same(found.influence(frame[:3], series[:3]), plain.influence(X[:3], y[:3]))


def test_nothing_given_is_changed(both):
    model, _, (frame, series) = both
    before = frame.clone(), series.clone()
    explainer = InfluenceExplainer(model).fit(frame, series)
    check_leave_one_out(explainer, frame, series, rows=3)
    InfluenceCleaner(model, contamination=0.1).fit_resample(frame, series)
    assert frame.equals(before[0])
    assert series.equals(before[1])


def test_set_output_gives_polars_with_rows_as_columns(both):
    model, _, (frame, series) = both
    explainer = InfluenceExplainer(model).set_output(transform="polars")
    found = explainer.fit(frame, series).transform(frame[:5])
    assert isinstance(found, pl.DataFrame)
    assert found.columns == list(explainer.get_feature_names_out())
    assert found.shape == (5, len(series))


@pytest.mark.parametrize("action", ["drop", "relabel"])
def test_the_cleaner_returns_what_it_was_given(action):
    model, X, y, names = classification()
    frame = pl.DataFrame(X, schema=list(names))
    for dtype in (pl.String, pl.Categorical, pl.Enum(["benign", "malignant"])):
        series = pl.Series("y", y.tolist(), dtype=dtype)
        cleaner = InfluenceCleaner(model, contamination=0.05, action=action)
        kept, targets = cleaner.fit_resample(frame, series)
        plain = InfluenceCleaner(model, contamination=0.05, action=action)
        expected = plain.fit_resample(X, y)
        assert isinstance(kept, pl.DataFrame)
        assert isinstance(targets, pl.Series)
        assert kept.columns == frame.columns
        assert targets.dtype == dtype
        assert targets.name == "y"
        np.testing.assert_array_equal(kept.to_numpy(), expected[0])
        assert targets.to_list() == expected[1].tolist()


def test_trusted_rows_may_be_a_series():
    model, X, y, _ = classification()
    trusted = np.arange(len(y)) < 200
    cleaner = InfluenceCleaner(model, criterion="influence", contamination=0.05)
    expected = cleaner.fit(X, y, trusted=trusted).cleaned_indices_
    frame, series = pl.DataFrame(X), pl.Series(y.tolist())
    found = cleaner.fit(frame, series, trusted=pl.Series(trusted)).cleaned_indices_
    np.testing.assert_array_equal(found, expected)


def test_the_judge_the_report_and_the_searches_take_polars(both):
    model, (X, y), (frame, series) = both
    explainer = InfluenceExplainer(model, deletion="exact").fit(frame, series)
    agreement = check_leave_one_out(
        explainer, frame, series, rows=5, X_test=frame[:9], y_test=series[:9]
    )
    assert agreement.pearson == pytest.approx(1)
    report = InfluenceReport(
        explainer, frame[:9], series[:9], X_train=frame, agreement=0
    )
    assert set(report.to_dict()["most_harmful"][0]["values"]) <= set(frame.columns)
    assert_same(
        cross_val_influence(model, frame, series, cv=3).harm,
        cross_val_influence(model, X, y, cv=3).harm,
    )
    if isinstance(model, Ridge):
        search = LeaveOneOutSearchCV(Ridge(), {"alpha": [0.01, 0.1]})
        assert search.fit(frame, series).best_params_ == search.fit(X, y).best_params_


def test_text_columns_through_a_column_transformer():
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {"city": rng.choice(["a", "b", "c"], 90).tolist(), "x": rng.normal(size=90)}
    )
    y = pl.Series(rng.normal(size=90))
    encode = make_column_transformer(
        (OneHotEncoder(), ["city"]), (StandardScaler(), ["x"])
    )
    model = make_pipeline(encode, Ridge())
    explainer = InfluenceExplainer(model).fit(frame, y)
    assert check_leave_one_out(explainer, frame, y, rows=5).pearson == pytest.approx(1)


@pytest.mark.parametrize("prefit", [False, True])
def test_a_lazy_frame_is_refused_and_says_what_to_do(prefit):
    model, X, y, names = regression()
    frame = pl.DataFrame(X, schema=list(names))
    if prefit:
        model.fit(frame, y)
    with pytest.raises(InvalidDataError, match=r"LazyFrame.*X\.collect\(\)"):
        InfluenceExplainer(model).fit(frame.lazy(), y)


def test_nulls_and_other_columns_are_refused(both):
    model, _, (frame, series) = both
    explainer = InfluenceExplainer(model).fit(frame, series)
    with pytest.raises(InvalidDataError, match="same order"):
        explainer.influence(frame[:2].select(frame.columns[::-1]))
    holed = frame.with_columns(pl.nth(0).replace({frame[0, 0]: None}))
    with pytest.raises(InvalidDataError, match="NaN"):
        InfluenceExplainer(model).fit(holed, series)
