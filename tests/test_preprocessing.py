"""What transformers learn without rows, against transformers fitted to the other rows."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import (
    CountVectorizer,
    HashingVectorizer,
    TfidfTransformer,
    TfidfVectorizer,
)
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)

from skinfluence._array import to_numpy
from skinfluence._sources import source_of
from skinfluence.preprocessing import (
    Rule,
    _columns,
    _quantiles,
    follow,
    register_transformer,
)

EPS = np.finfo(float).eps
N = 16


# --- data, each a table of N rows ---


def plain():
    return np.random.default_rng(0).normal(3.0, 2.0, size=(N, 4))


def wide_scales():
    return np.random.default_rng(1).normal(size=(N, 5)) * [1e-8, 1e-4, 1.0, 1e4, 1e8]


def wild():
    """Cells that make all of a column's variance, one of them twice in its column."""
    X = plain()
    X[3, 0], X[7, 1], X[8, 1], X[3, 2] = 1e8, -1e6, 1e6, 1e4
    return X


def constant():
    """Constant columns, and some that are constant without row 5."""
    X = plain()
    X[:, 0] = 2.5
    X[:, 1] = 0.0
    X[:, 2] = np.where(np.arange(N) == 5, 1.0, 4.0)
    X[:, 3] = np.where(np.arange(N) == 5, 1.0, 0.0)
    return X


def nearly_constant():
    X = 1.0 + np.random.default_rng(2).normal(size=(N, 3)) * [1e-6, 1e-9, 1e-11]
    X[4] += 1.0
    return X


def ties():
    """Small whole numbers: ties at the extremes and at every quantile."""
    X = np.random.default_rng(3).integers(0, 4, size=(N, 5)).astype(float)
    X[[0, 12], 4] = 9.0
    return X


def few_rows():
    return np.array([[0.0, 1.0], [1.0, 5.0], [4.0, 5.0]])


def missing():
    X = plain()
    X[np.random.default_rng(4).random(X.shape) < 0.2] = np.nan
    X[:, 3] = np.nan
    X[2:4, 3] = 1.0, 5.0
    return X


def zeros_mostly():
    X = np.random.default_rng(5).normal(size=(N, 6))
    X[np.random.default_rng(6).random(X.shape) < 0.8] = 0.0
    X[:, 5] = np.arange(N) == 11
    return X


DATA = [
    plain, wide_scales, wild, constant, nearly_constant, ties, few_rows, missing,
    zeros_mostly,
]  # fmt: skip
SCALERS = [
    StandardScaler(),
    StandardScaler(with_mean=False),
    StandardScaler(with_std=False),
    MinMaxScaler(),
    MinMaxScaler(feature_range=(-1, 3)),
    MaxAbsScaler(),
    RobustScaler(),
    RobustScaler(with_centering=False, quantile_range=(10.0, 77.0)),
    RobustScaler(unit_variance=True),
    RobustScaler(with_scaling=False),
]
GROUPS = [[1], [3, 7, 8], [4, 9], [5, 0, 11], list(range(N - 4))]


def followed(transformer, Z, weights=None, *, place=np.asarray, **options):
    source = source_of(Z if sparse.issparse(Z) else place(Z))
    options = {"absorbs_shifts": True, "mode": "auto", **options}
    return follow(transformer, source, weights or {}, **options)


def assert_same_columns(affine, X, Z, wanted, leaving, row=0):
    """``(Z - shift) / ratio``, within what the digits of X and Z allow."""
    ratio, shift = (to_numpy(values)[row] for values in affine)
    moved, span = (Z - shift) / ratio, np.ptp(np.nan_to_num(X), axis=0)
    slope = np.where(
        span > 0, np.ptp(np.nan_to_num(Z), axis=0) / (span + (span == 0)), 1
    )
    x, z, others = (np.delete(np.abs(each), leaving, axis=0) for each in (X, Z, wanted))
    # Rounding of what was fitted and transformed, in units of the new scale.
    lost = 4 * EPS * (np.nanmax(z, axis=0) + slope * np.nanmax(x, axis=0)) / abs(ratio)
    size = abs(wanted) + np.nanmax(others, axis=0)
    far = abs(moved - wanted) > 1e-10 * size + lost * (1 + abs(wanted))
    assert not np.any(far), (np.nonzero(far), moved[far], wanted[far])
    assert np.array_equal(np.isnan(moved), np.isnan(wanted))


def fitted_without(transformer, X, rows, weight=None):
    rest = np.setdiff1d(np.arange(len(X)), rows)
    options = {} if weight is None else {"sample_weight": weight[rest]}
    with np.errstate(invalid="ignore"):  # scikit-learn's variance may be below 0
        return clone(transformer).fit(X[rest], **options)


@pytest.mark.parametrize("data", DATA, ids=lambda data: data.__name__)
@pytest.mark.parametrize("scaler", SCALERS, ids=repr)
def test_scalers_are_those_fitted_to_the_other_rows(scaler, data):
    X = data()
    fitted = clone(scaler).fit(X)
    Z, n = fitted.transform(X), len(X)
    following = followed(make_pipeline(fitted), Z).following
    single = following.without(np.arange(n))
    for row in [row for row in (0, 2, 3, 4, 5, 7, 11) if row < n]:
        wanted = fitted_without(scaler, X, [row]).transform(X)
        assert_same_columns(single, X, Z, wanted, row, row)
    for rows in [rows for rows in GROUPS if max(rows) < n and len(rows) < n]:
        rest = np.delete(X, rows, axis=0)
        known = ~np.all(np.isnan(rest), axis=0)
        group = [
            np.where(known, to_numpy(values)[0], np.nan)
            for values in following.without_group(np.array(rows))
        ]
        assert all(np.all(np.isfinite(values) == known) for values in group)
        wanted = fitted_without(scaler, X[:, known], rows).transform(X[:, known])
        group = [values[None, known] for values in group]
        assert_same_columns(group, X[:, known], Z[:, known], wanted, rows)


# --- weights, and derivatives in them ---


def weights_of(X):
    weight = np.random.default_rng(7).gamma(1.0, size=len(X))
    weight[1], weight[2], weight[4], weight[6] = 0.0, 1e9, 30.0, 1e-9
    return weight


@pytest.mark.parametrize("data", [plain, wild, constant, missing, zeros_mostly])
@pytest.mark.parametrize("scaler", SCALERS[:2], ids=repr)
def test_a_weighted_scaler_is_the_one_fitted_to_the_other_rows(scaler, data):
    X = data()
    weight = weights_of(X)
    if data is missing:
        X = X[:, :3]  # the last column has weight in two rows only
        X[:, 0] = plain()[:, 0]
        X[1, 0] = np.nan  # where the weight is 0
    fitted = fitted_without(scaler, X, [], weight)
    Z, named = fitted.transform(X), {"standardscaler__sample_weight": weight}
    following = followed(make_pipeline(fitted), Z, named).following
    single = following.without(np.arange(N))
    for row in [0, 1, 2, 3, 4, 5, 11]:
        wanted = fitted_without(scaler, X, [row], weight).transform(X)
        assert_same_columns(single, X, Z, wanted, row, row)
    for rows in ([2, 3], [2, 4], [5, 0, 11, 1]):
        wanted = fitted_without(scaler, X, rows, weight).transform(X)
        group = following.without_group(np.array(rows))
        assert_same_columns(group, X, Z, wanted, rows)


@pytest.mark.parametrize("scaler", SCALERS[:3], ids=repr)
@pytest.mark.parametrize("data", [plain, constant, missing])
def test_the_derivative_of_a_scaler_is_that_in_a_weight(scaler, data):
    X, h = data()[:, :3], 1e-5
    weight = np.random.default_rng(8).uniform(0.5, 2.0, size=N)
    fitted = clone(scaler).fit(X, sample_weight=weight)
    Z, named = fitted.transform(X), {"standardscaler__sample_weight": weight}
    following = followed(make_pipeline(fitted), Z, named).following
    change = following.derivative(np.array([0, 5, 9]))

    def state(row, step):
        nudged = np.array(weight)
        nudged[row] *= 1 - step
        scaler_there = clone(scaler).fit(X, sample_weight=nudged)
        ones = np.ones(X.shape[1])
        scale = scaler_there.scale_ if scaler.with_std else ones
        mean = scaler_there.mean_ if scaler.with_mean else 0 * ones
        return scale, mean

    for k, row in enumerate([0, 5, 9]):
        scale, _ = state(row, 0.0)
        (up, right), (down, left) = state(row, h), state(row, -h)
        slope = (up - down) / (2 * h * scale), (right - left) / (2 * h * scale)
        np.testing.assert_allclose(change.ratio[k], slope[0], rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(change.shift[k], slope[1], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("data", [plain, ties, missing, few_rows])
def test_quantiles_of_many_groups_are_those_of_a_new_fit(data, monkeypatch):
    """Small groups are read from windows of order statistics, large ones sorted anew."""
    X, rng = data(), np.random.default_rng(10)
    monkeypatch.setattr(_quantiles, "_WINDOW_ENTRIES", 6 * X.shape[1] * 7)
    for scaler in (RobustScaler(), RobustScaler(quantile_range=(0.0, 100.0))):
        fitted = clone(scaler).fit(X)
        Z = fitted.transform(X)
        following = followed(make_pipeline(fitted), Z).following
        for size in (1, 2, 6, 7, 8, 14):
            if size >= len(X):
                continue
            rows = rng.choice(len(X), size, replace=False)
            known = ~np.all(np.isnan(np.delete(X, rows, axis=0)), axis=0)
            group = [values[:, known] for values in following.without_group(rows)]
            wanted = fitted_without(scaler, X[:, known], rows).transform(X[:, known])
            assert_same_columns(group, X[:, known], Z[:, known], wanted, rows)


def test_order_statistics_have_no_derivative():
    for scaler in (MinMaxScaler(), MaxAbsScaler(), RobustScaler()):
        Z = scaler.fit_transform(plain())
        change = followed(make_pipeline(scaler), Z).following.derivative(np.arange(3))
        assert not np.any(change.ratio) and not np.any(change.shift)


# --- other arrays ---


def strict(Z):
    return pytest.importorskip("array_api_strict").asarray(Z)


@pytest.mark.parametrize("data", [wild, missing], ids=lambda data: data.__name__)
@pytest.mark.parametrize("scaler", SCALERS, ids=repr)
def test_arrays_of_any_library_give_the_same(scaler, data):
    fitted = clone(scaler).fit(data())
    Z, rows = fitted.transform(data()), np.arange(N)
    here = followed(make_pipeline(fitted), Z).following
    there = followed(make_pipeline(fitted), Z, place=strict).following
    for ask in ("without", "without_group", "derivative"):
        some = rows[:5] if ask == "without_group" else rows
        wanted, given = getattr(here, ask)(some), getattr(there, ask)(some)
        assert all(type(each) is type(strict(Z)) for each in given)
        for left, right in zip(wanted, given, strict=True):
            np.testing.assert_allclose(to_numpy(right), left, rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("scaler", [*SCALERS, TfidfTransformer(norm=None)], ids=repr)
@pytest.mark.parametrize("data", [missing, ties], ids=lambda data: data.__name__)
def test_blocks_of_rows_and_columns_give_the_same(scaler, data, monkeypatch):
    X = ties() if isinstance(scaler, TfidfTransformer) else data()
    fitted = clone(scaler).fit(X)
    Z = fitted.transform(X)
    Z = Z.toarray() if sparse.issparse(Z) else Z
    whole = followed(make_pipeline(fitted), Z).following
    monkeypatch.setattr(_columns, "rows_in_block", lambda *_: 5)
    monkeypatch.setattr(_columns, "_ENTRIES", 3 * N)
    parts = followed(make_pipeline(fitted), Z).following
    for ask in ("without", "without_group"):
        some = np.array([0, 12, 3]) if ask == "without_group" else np.arange(N)
        wanted, given = (getattr(each, ask)(some) for each in (whole, parts))
        np.testing.assert_allclose(given.ratio, wanted.ratio, rtol=1e-13)
        atol = EPS * np.nanmax(np.abs(Z))
        np.testing.assert_allclose(given.shift, wanted.shift, rtol=1e-13, atol=atol)


@pytest.mark.parametrize("width", [6, 300], ids=["narrow", "wide"])
@pytest.mark.parametrize(
    "scaler",
    [
        StandardScaler(with_mean=False),
        MaxAbsScaler(),
        RobustScaler(with_centering=False),
        TfidfTransformer(norm=None),
    ],
    ids=repr,
)
def test_sparse_columns_give_what_dense_ones_give(scaler, width):
    X = np.random.default_rng(9).poisson(0.15, size=(N, width)).astype(float)
    X[:, :6] = np.abs(zeros_mostly())
    X[:, 1] = 2.0
    X[3, 1] = 0.0
    fitted = clone(scaler).fit(sparse.csr_array(X))
    Z = fitted.transform(sparse.csr_array(X))
    following = followed(make_pipeline(fitted), Z).following
    assert source_of(Z).is_sparse == (width == 300)
    dense = followed(make_pipeline(fitted), Z.toarray()).following
    for ask in ("without", "derivative"):
        given, wanted = (
            getattr(each, ask)(np.arange(N)) for each in (following, dense)
        )
        np.testing.assert_allclose(given.ratio, wanted.ratio, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(given.shift, 0.0)
    single = following.without(np.arange(N))
    cases = [(single, row, [row]) for row in (0, 3, 11)]
    cases += [(following.without_group(np.array(rows)), 0, rows) for rows in GROUPS[:3]]
    for affine, k, rows in cases:
        rest = np.delete(X, rows, axis=0)
        seen = np.any(rest != 0, axis=0)
        wanted = (
            clone(scaler).fit(sparse.csr_array(rest)).transform(sparse.csr_array(X))
        )
        moved = (Z.toarray() / to_numpy(affine.ratio)[k])[:, seen]
        np.testing.assert_allclose(moved, wanted.toarray()[:, seen], rtol=1e-12)


def test_sparse_columns_have_weights_too():
    X = np.random.default_rng(9).poisson(0.15, size=(N, 300)).astype(float)
    X[:, 0] = 1.0 + np.arange(N) / 100
    X[2, 0] = 1e3
    weight, scaler = weights_of(X), StandardScaler(with_mean=False)
    fitted = clone(scaler).fit(sparse.csr_array(X), sample_weight=weight)
    Z, named = fitted.transform(sparse.csr_array(X)), "standardscaler__sample_weight"
    following = followed(make_pipeline(fitted), Z, {named: weight}).following
    single = following.without(np.arange(N))
    for row in (0, 2, 4, 5):
        wanted = fitted_without(scaler, X, [row], weight).scale_ / fitted.scale_
        # Sums over entries that are not stored are differences of larger ones.
        rtol = 1e-10 if row == 2 else 1e-7
        np.testing.assert_allclose(single.ratio[row], wanted, rtol=rtol)


# --- steps that are built of others ---


@dataclass
class Built:
    """A transformer of several steps, and which of them are followed and held."""

    transformer: Any
    followed: list[str]
    held: list[str] = field(default_factory=list)
    reason: str = ""  # of the first that is held


def log1p_abs(X):
    return np.log1p(np.abs(X))


BUILT = {
    "absorbed": Built(
        make_pipeline(StandardScaler(), MinMaxScaler()),
        ["standardscaler", "minmaxscaler"],
    ),
    "scale absorbed": Built(
        make_pipeline(StandardScaler(with_mean=False), MaxAbsScaler()),
        ["standardscaler", "maxabsscaler"],
    ),
    "shift not absorbed": Built(
        make_pipeline(StandardScaler(), MaxAbsScaler()),
        ["maxabsscaler"],
        ["standardscaler"],
        "MaxAbsScaler after it keeps a part",
    ),
    "bent before": Built(
        make_pipeline(PolynomialFeatures(2), RobustScaler()),
        ["polynomialfeatures", "robustscaler"],
    ),
    "bent after": Built(
        make_pipeline(RobustScaler(), FunctionTransformer(log1p_abs)),
        ["functiontransformer"],
        ["robustscaler"],
        "FunctionTransformer after it mixes or bends",
    ),
    "between": Built(
        make_pipeline(MinMaxScaler(), Normalizer(), StandardScaler()),
        ["normalizer", "standardscaler"],
        ["minmaxscaler"],
        "Normalizer after it",
    ),
    "held after": Built(
        make_pipeline(StandardScaler(), PCA(2)),
        [],
        ["standardscaler", "pca"],
        "PCA after",
    ),
    "held before": Built(
        make_pipeline(PCA(2), StandardScaler()),
        ["standardscaler"],
        ["pca"],
        "directions",
    ),
    "frozen": Built(
        make_pipeline(
            FrozenEstimator(StandardScaler().fit(ties()[:, :4])), MinMaxScaler()
        ),
        ["frozenestimator", "minmaxscaler"],
    ),
    "columns": Built(
        make_pipeline(
            ColumnTransformer(
                [
                    ("scale", StandardScaler(), [2, 0]),
                    (
                        "range",
                        make_pipeline(RobustScaler(), MinMaxScaler()),
                        slice(1, 2),
                    ),
                    ("gone", "drop", [1]),
                ],
                remainder="passthrough",
                transformer_weights={"scale": -3.0},
            )
        ),
        [
            "columntransformer__scale",
            "columntransformer__range__robustscaler",
            "columntransformer__range__minmaxscaler",
        ],
    ),
    "columns after a scaler": Built(
        make_pipeline(
            StandardScaler(),
            make_column_transformer(
                (MinMaxScaler(), [3, 1]), ("drop", [0]), remainder="passthrough"
            ),
        ),
        ["standardscaler", "columntransformer__minmaxscaler"],
    ),
    "columns that bend": Built(
        make_pipeline(
            StandardScaler(),
            make_column_transformer((Binarizer(), [3, 1]), remainder="passthrough"),
        ),
        ["columntransformer__binarizer"],
        ["standardscaler"],
        "Binarizer after it",
    ),
    "union": Built(
        make_pipeline(
            FeatureUnion(
                [
                    ("bent", FunctionTransformer(log1p_abs)),
                    ("scaled", StandardScaler()),
                    ("same", "passthrough"),
                    ("sized", MaxAbsScaler()),
                ],
                transformer_weights={"sized": 0.5, "bent": 2.0},
            ),
        ),
        ["featureunion__bent", "featureunion__scaled", "featureunion__sized"],
    ),
    "union of a scaler": Built(
        make_pipeline(StandardScaler(), make_union("passthrough", MinMaxScaler())),
        ["standardscaler", "featureunion__minmaxscaler"],
    ),
}


@pytest.mark.parametrize("case", BUILT.values(), ids=BUILT)
def test_columns_of_built_transformers_are_followed(case):
    X = plain()
    fitted = clone(case.transformer).fit(X)
    Z = fitted.transform(X)
    result = followed(fitted, Z)
    assert result.followed_steps == case.followed
    assert result.held_steps == list(result.reasons) == case.held
    assert case.reason in next(iter(result.reasons.values()), "")
    if case.held:
        return
    single = result.following.without(np.arange(N))
    for row in (0, 5):
        wanted = clone(case.transformer).fit(np.delete(X, row, axis=0)).transform(X)
        moved = (Z - single.shift[row]) / single.ratio[row]
        np.testing.assert_allclose(moved, wanted, rtol=1e-11, atol=1e-12)
    group = result.following.without_group(np.arange(3))
    wanted = clone(case.transformer).fit(X[3:]).transform(X)
    moved = (Z - group.shift) / group.ratio
    np.testing.assert_allclose(moved, wanted, rtol=1e-11, atol=1e-12)


def test_columns_are_found_by_their_names():
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(plain(), columns=list("abcd"))
    transformer = make_pipeline(
        StandardScaler().set_output(transform="pandas"),
        make_column_transformer(
            (MinMaxScaler(), ["d", "b"]),
            ("passthrough", slice("b", "c")),
            ("drop", "a"),
        ),
    ).fit(X)
    Z = transformer.transform(X)
    ratio, shift = followed(transformer, Z).following.without(np.array([4]))
    wanted = clone(transformer).fit(X.drop(index=4)).transform(X)
    np.testing.assert_allclose((Z - shift) / ratio, wanted, rtol=1e-11, atol=1e-12)


def test_columns_come_through_a_choice_that_is_held():
    X, y = plain(), np.arange(N) % 2
    scalers = make_column_transformer(
        (StandardScaler(), [0, 1]), (MinMaxScaler(), [2, 3])
    )
    choice = SelectKBest(k=3)
    fitted = make_pipeline(scalers, choice)
    Z = fitted.fit_transform(X, y)
    result = followed(fitted, Z)
    steps = ["columntransformer__standardscaler", "columntransformer__minmaxscaler"]
    assert result.followed_steps == steps
    assert result.held_steps == ["selectkbest"]
    ratio, shift = result.following.without(np.array([4]))
    wanted = clone(fitted[0]).fit(np.delete(X, 4, axis=0)).transform(X)
    wanted = wanted[:, choice.get_support()]
    np.testing.assert_allclose((Z - shift) / ratio, wanted, rtol=1e-11, atol=1e-12)


def test_nothing_is_followed_where_nothing_moves_or_held_is_asked():
    assert followed(None, plain())[:4] == (None, [], [], {})
    fitted = make_pipeline(StandardScaler(), PolynomialFeatures()).fit(plain())
    result = followed(fitted, fitted.transform(plain()), mode="held")
    assert result.following is None and not result.followed_steps
    assert result.held_steps == ["standardscaler", "polynomialfeatures"]
    fitted = fitted[1:]
    result = followed(fitted, fitted.transform(plain()))
    assert result[:4] == (None, ["polynomialfeatures"], [], {})


def test_shifts_need_an_intercept():
    for scaler in SCALERS:
        fitted = make_pipeline(clone(scaler)).fit(plain())
        result = followed(fitted, fitted.transform(plain()), absorbs_shifts=False)
        shifts = result.held_steps != []
        affine = followed(fitted, fitted.transform(plain())).following
        assert shifts == bool(np.any(affine.without(np.arange(N)).shift))
        assert all("no intercept" in reason for reason in result.reasons.values())


def test_a_scaler_of_other_rows_or_unknown_weights_is_held():
    X = plain()
    for scaler in SCALERS:
        fitted = make_pipeline(clone(scaler)).fit(np.r_[2 * X, X])
        assert followed(fitted, fitted.transform(X)).held_steps, scaler
    fitted = StandardScaler().fit(X, sample_weight=np.arange(1.0, N + 1))
    result = followed(make_pipeline(fitted), fitted.transform(X))
    assert "with weights" in result.reasons["standardscaler"]


@pytest.mark.parametrize(
    "step",
    [
        SplineTransformer(),
        KBinsDiscretizer(quantile_method="averaged_inverted_cdf"),
        VarianceThreshold(),
        SelectKBest(k=2),
        SimpleImputer(),
        TargetEncoder(random_state=0),
        MinMaxScaler(clip=True),
        MaxAbsScaler(clip=True),
    ],
    ids=lambda step: type(step).__name__,
)
def test_steps_that_do_more_are_held_with_a_reason(step):
    X, y = np.abs(plain()), np.arange(N) % 2
    fitted = make_pipeline(clone(step)).fit(X, y)
    result = followed(fitted, fitted.transform(X))
    assert result.following is None and not result.followed_steps
    reason = result.reasons[result.held_steps[0]]
    assert len(reason) > 20 and reason[0] == reason[0].lower()


def test_imputers_that_fill_in_nothing_new_are_followed():
    X = plain()
    for imputer in (
        SimpleImputer(add_indicator=True),
        SimpleImputer(strategy="constant"),
    ):
        fitted = make_pipeline(imputer, StandardScaler()).fit(X)
        result = followed(fitted, fitted.transform(X), X=X)
        assert not result.held_steps and result.gaps is None


def test_a_step_whose_weights_no_rule_knows_is_held():
    fitted = make_pipeline(MinMaxScaler()).fit(plain())
    Z, named = fitted.transform(plain()), {"minmaxscaler__sample_weight": np.ones(N)}
    assert "with weights" in followed(fitted, Z, named).reasons["minmaxscaler"]


def test_others_may_register_a_rule():
    class Own(StandardScaler):
        def transform(self, X):
            return super().transform(X)

    fitted = make_pipeline(Own()).fit(plain())
    reason = followed(fitted, fitted.transform(plain())).reasons["own"]
    assert "no rule is registered for Own, which may learn more than" in reason
    register_transformer(Own, lambda transformer: Rule())
    assert followed(fitted, fitted.transform(plain())).followed_steps == ["own"]


class Named(StandardScaler):
    """Learns what its parent learns."""

    def __init__(self, *, label="", copy=True, with_mean=True, with_std=True):
        super().__init__(copy=copy, with_mean=with_mean, with_std=with_std)
        self.label = label

    def get_feature_names_out(self, input_features=None):
        return super().get_feature_names_out(input_features)


class Clipping:
    def _reset(self):
        super()._reset()


class Clipped(Clipping, StandardScaler):
    pass


def test_a_subclass_is_followed_unless_it_overrides_a_method():
    fitted = make_pipeline(Named(label="one")).fit(plain())
    assert followed(fitted, fitted.transform(plain())).followed_steps == ["named"]
    fitted = make_pipeline(Clipped()).fit(plain())
    reason = followed(fitted, fitted.transform(plain())).reasons["clipped"]
    assert reason.endswith("more than StandardScaler: it has its own _reset")


# --- categories and terms ---


def categories():
    """Two columns: four letters, one of them in a single row; and two letters."""
    return np.array([list("aaabbbbbbbccccdc"), list("xyxyxyxyxyxyxyxy")], object).T


def same_or_vanished(transformer, X, Z, affine, rows):
    """Whether other rows have the columns that a refit gives them, but for zeros."""
    rest = np.delete(np.arange(len(X)), rows)
    wanted = clone(transformer).fit(X[rest]).transform(X[rest])
    wanted = wanted.toarray() if sparse.issparse(wanted) else wanted
    ratio, shift = (to_numpy(values)[0] for values in affine)
    moved = ((Z - shift) / ratio)[rest]
    moved, wanted = moved[:, np.any(moved, axis=0)], wanted[:, np.any(wanted, axis=0)]
    return moved.shape == wanted.shape and np.allclose(moved, wanted, rtol=1e-11)


@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        OneHotEncoder(drop="first"),
        OneHotEncoder(drop="if_binary"),
        OneHotEncoder(drop=["b", "x"]),
        OneHotEncoder(drop=["d", "x"]),
        OneHotEncoder(min_frequency=3),
        OneHotEncoder(min_frequency=4),
        OneHotEncoder(min_frequency=0.2),
        OneHotEncoder(min_frequency=0.25),
        OneHotEncoder(max_categories=3),
        OneHotEncoder(max_categories=9),
        OrdinalEncoder(),
        OrdinalEncoder(categories=[list("abcd"), list("xy")]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("single", [True, False], ids=["singleton", "more"])
def test_encoders_are_followed_only_where_no_column_changes(encoder, single):
    """Every row and several groups: what is followed, is that; NaN says that it is not."""
    X = categories()
    if not single:
        X[3, 0] = "d"
    fitted = make_pipeline(clone(encoder)).fit(X)
    Z = fitted.transform(X)
    dense = Z.toarray() if sparse.issparse(Z) else Z
    ones = np.ones_like(dense[:1]), np.zeros_like(dense[:1])
    result = followed(fitted, dense)
    if result.held_steps:
        return
    encoder = clone(encoder)
    for row in (0, 3, 4, 11, 14, 15):
        if not fails_without(encoder, X, [row]):
            assert same_or_vanished(encoder, X, dense, ones, [row])
    for rows in (
        [0, 1],
        [0, 1, 2],
        [14, 3],
        range(0, N, 2),
        range(10, N),
        [3, 4, 5, 6],
    ):
        affine = ones
        if result.following is not None:
            affine = result.following.without_group(np.array(rows))
        if not np.any(np.isnan(affine[0])):
            assert same_or_vanished(encoder, X, dense, affine, list(rows))


def fails_without(encoder, X, rows):
    try:
        fitted_without(encoder, X, rows)
    except ValueError:
        return True
    return False


HELD_ENCODERS = {
    "drops another": (OneHotEncoder(drop=["d", "x"]), "drop="),
    "drops two or one": (OneHotEncoder(drop="if_binary"), "drop="),
    "too rare": (OneHotEncoder(min_frequency=5), "min_frequency"),
    "other share": (OneHotEncoder(min_frequency=0.3125), "min_frequency"),
    "most": (OneHotEncoder(max_categories=2), "max_categories"),
    "codes": (OrdinalEncoder(), "codes"),
}


@pytest.mark.parametrize("encoder, reason", HELD_ENCODERS.values(), ids=HELD_ENCODERS)
def test_encoders_whose_columns_one_row_decides_are_held(encoder, reason):
    X = categories()
    X[X[:, 0] == "b", 0] = "a"  # a, c, d, with one row of d
    if isinstance(encoder, OrdinalEncoder):
        X[X == "d"] = "0"  # the lowest
    fitted = make_pipeline(clone(encoder)).fit(X)
    result = followed(fitted, fitted.transform(X))
    assert reason in result.reasons[result.held_steps[0]]


def test_categories_that_are_merged_may_be_of_few_rows():
    X = np.array([list("aaaaaaaabbbbbbcd")], object).T
    fitted = make_pipeline(OneHotEncoder(min_frequency=3, sparse_output=False)).fit(X)
    result = followed(fitted, fitted.transform(X))
    assert result.followed_steps == ["onehotencoder"]
    ratio, _ = result.following.without_group(np.array([8, 9, 10, 11]))
    assert np.all(np.isnan(ratio))  # b is too rare
    assert np.all(result.following.without_group(np.array([13, 14]))[0] == 1)


TEXTS = np.array(
    [
        "red green blue", "red red green", "blue blue one", "green two two", "red blue",
        "green green red", "blue three four", "red four four", "four", "red green four",
    ]
)  # fmt: skip


@pytest.mark.parametrize(
    "vectorizer",
    [
        make_pipeline(TfidfVectorizer(norm=None)),
        make_pipeline(TfidfVectorizer(norm=None, smooth_idf=False, sublinear_tf=True)),
        make_pipeline(TfidfVectorizer(norm=None, min_df=3)),
        make_pipeline(CountVectorizer(min_df=3)),
        make_pipeline(CountVectorizer(min_df=0.3, vocabulary=["red", "blue"])),
        make_pipeline(CountVectorizer(), TfidfTransformer(norm=None)),
        make_pipeline(HashingVectorizer(n_features=8), StandardScaler(with_mean=False)),
    ],
    ids=repr,
)
def test_terms_without_rows_are_those_of_the_other_texts(vectorizer):
    fitted = clone(vectorizer).fit(TEXTS)
    Z = fitted.transform(TEXTS).toarray()
    result = followed(fitted, Z)
    assert not result.held_steps
    ones = np.ones_like(Z), np.zeros_like(Z)
    single = ones
    if result.following is not None:
        single = result.following.without(np.arange(len(TEXTS)))
    for row in range(len(TEXTS)):
        affine = [each[row][None] for each in single]
        assert same_or_vanished(vectorizer, TEXTS, Z, affine, [row])
    for rows in ([0, 1], [2, 3, 6], [7, 8], [1, 2, 3, 4, 5]):
        affine = ones
        if result.following is not None:
            affine = result.following.without_group(np.array(rows))
        if not np.any(np.isnan(affine[0])):
            assert same_or_vanished(vectorizer, TEXTS, Z, affine, rows)


def test_a_term_of_the_vocabulary_that_no_text_has_stays_as_it_is():
    words = ["red", "never", "blue"]
    tfidf = TfidfVectorizer(norm=None, smooth_idf=False, vocabulary=words)
    with np.errstate(divide="ignore"):  # its idf is infinite
        fitted = make_pipeline(tfidf).fit(TEXTS)
    Z = fitted.transform(TEXTS).toarray()
    ratio, _ = followed(fitted, Z).following.without(np.arange(len(TEXTS)))
    assert np.all(ratio[:, 1] == 1.0) and np.all(np.isfinite(ratio))


def test_a_group_that_makes_a_term_too_rare_is_not_followed():
    fitted = make_pipeline(TfidfVectorizer(norm=None, min_df=3)).fit(TEXTS)
    names = list(fitted[-1].get_feature_names_out())
    following = followed(fitted, fitted.transform(TEXTS).toarray()).following
    ratio, _ = following.without_group(np.array([7, 8]))  # two of four with "four"
    assert list(np.isnan(ratio[0])) == [name == "four" for name in names]


@pytest.mark.parametrize(
    "vectorizer, reason",
    [
        (CountVectorizer(min_df=4), "min_df"),
        (CountVectorizer(min_df=0.35), "min_df"),
        (CountVectorizer(max_df=0.5), "max_df"),
        (CountVectorizer(max_features=3), "max_features"),
    ],
    ids=repr,
)
def test_vectorizers_whose_terms_one_row_decides_are_held(vectorizer, reason):
    fitted = make_pipeline(clone(vectorizer)).fit(TEXTS)
    result = followed(fitted, fitted.transform(TEXTS))
    assert reason in result.reasons[result.held_steps[0]]


def test_terms_that_are_counted_out_of_sight_are_held():
    fitted = make_pipeline(CountVectorizer(min_df=3), TfidfTransformer(norm=None))
    fitted.fit(TEXTS)
    result = followed(fitted, fitted.transform(TEXTS))
    assert result.held_steps == ["countvectorizer"]


def test_the_derivative_of_a_rarity_is_that_of_its_formula():
    fitted = make_pipeline(TfidfVectorizer(norm=None)).fit(TEXTS)
    Z = fitted.transform(TEXTS).toarray()
    change = followed(fitted, Z).following.derivative(np.arange(3))
    has, n, h = Z != 0, len(TEXTS), 1e-6

    def idf(row, weight):
        df = has.sum(axis=0) - (1 - weight) * has[row]
        return np.log((n - (1 - weight) + 1) / (df + 1)) + 1

    for row in range(3):
        slope = idf(row, 1.0) * (1 / idf(row, 1 - h) - 1 / idf(row, 1 + h)) / (2 * h)
        np.testing.assert_allclose(change.ratio[row], slope, rtol=1e-7, atol=1e-10)
