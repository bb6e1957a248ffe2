"""Transformers of others: a rule, what it gives, and who notices a wrong one."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import VarianceThreshold
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)

from skinfluence import InfluenceExplainer, register_transformer
from skinfluence.exceptions import InvalidParameterError
from skinfluence.preprocessing import (
    AbstractState,
    Affine,
    NotFollowed,
    Rule,
    _registry,
    check_transformer,
)

N, RNG = 24, np.random.default_rng(0)
X = RNG.normal(1.0, 2.0, size=(N, 3))
Y = X @ [1.0, -1.0, 0.5] + RNG.normal(size=N)
TWO = (Y > np.median(Y)).astype(int)


class RmsScaler(TransformerMixin, BaseEstimator):
    """Columns divided by their root mean square."""

    def fit(self, X, y=None, sample_weight=None):
        self.n_features_in_ = X.shape[1]
        self.scale_ = np.sqrt(np.average(X**2, axis=0, weights=sample_weight))
        return self

    def transform(self, X):
        return X / self.scale_


@dataclass(frozen=True)
class RmsState(AbstractState):
    weight: np.ndarray

    @classmethod
    def of(cls, scaler, step, weights):
        n = step.columns.shape[0]
        weight = np.ones(n) if weights is None else weights
        z = step.columns.block(slice(0, n))
        if not np.allclose(np.average(z**2, axis=0, weights=weight), 1):
            raise NotFollowed("it was fitted to other rows")
        return cls(weight)

    def without(self, z, rows):
        w, W = self.weight[rows][:, None], self.weight.sum()
        return Affine(np.sqrt((W - w * z**2) / (W - w)), 0 * z)

    def without_group(self, z, rows):
        w, W = self.weight[rows][:, None], self.weight.sum()
        left = W - np.sum(w * z**2, axis=0, keepdims=True)
        return Affine(np.sqrt(left / (W - w.sum())), 0 * left)

    def derivative(self, z, rows):
        w, W = self.weight[rows][:, None], self.weight.sum()
        return Affine(w * (1 - z**2) / (2 * W), 0 * z)


RULE = Rule(RmsState.of, scales=True, absorbs_scales=True, takes_weights=True)


@pytest.fixture
def registered():
    """Registers rules that are gone after the test."""
    before = dict(_registry._RULES)

    def register(rule):
        assert register_transformer(RmsScaler, lambda scaler: rule) is RmsScaler

    yield register
    _registry._RULES.clear()
    _registry._RULES.update(before)


def outputs(pipe):
    return getattr(pipe, "decision_function", pipe.predict)(X)


LOGISTIC = LogisticRegression(C=3.0, solver="newton-cholesky", tol=1e-12)


@pytest.mark.parametrize("model, y", [(Ridge(), Y), (LOGISTIC, TWO)], ids=["Y", "TWO"])
def test_a_registered_transformer_is_followed(registered, model, y):
    registered(RULE)
    pipe = make_pipeline(StandardScaler(with_mean=False), RmsScaler(), model)
    explainer = InfluenceExplainer(pipe, deletion="exact").fit(X, y)
    assert explainer.followed_steps_ == ["standardscaler", "rmsscaler"]
    groups = [[1], [3, 4, 5], list(range(0, N, 2))]
    given = np.r_[
        explainer.loo_delta(X, on="decision").T,
        explainer.group_delta(X, groups=groups, on="decision").T,
    ]
    full = outputs(clone(pipe).fit(X, y))
    wanted = np.array(
        [
            outputs(clone(pipe).fit(np.delete(X, rows, 0), np.delete(y, rows))) - full
            for rows in [*range(N), *groups]
        ]
    )
    np.testing.assert_allclose(given, wanted, atol=1e-8 * np.abs(wanted).max(), rtol=0)


def test_a_right_rule_passes_the_check(registered):
    registered(RULE)
    check = check_transformer(RmsScaler(), X)
    assert max(check.row_error, check.group_error) < 1e-13
    assert check.derivative_error < 1e-6


@dataclass(frozen=True)
class Wrong(RmsState):
    """A state with one of its answers replaced."""

    by: str = ""

    def _of(self, ask, z, rows):
        if self.by == ask:
            return Affine(1.001 * getattr(RmsState, ask)(self, z, rows).ratio, 0 * z)
        return getattr(RmsState, ask)(self, z, rows)

    def without(self, z, rows):
        if self.by == "weights":
            return RmsState(np.ones(N)).without(z, rows)
        return self._of("without", z, rows)

    def without_group(self, z, rows):
        if self.by == "shape":
            return self.without(z, rows)
        right = RmsState.without_group(self, z, rows)
        return Affine(1.001 * right.ratio, right.shift) if self.by == "group" else right

    def derivative(self, z, rows):
        if self.by == "forgotten":
            return AbstractState.derivative(self, z, rows)
        return RmsState.derivative(self, z, rows)


def wrong(by):
    def state(scaler, step, weights):
        return Wrong(RmsState.of(scaler, step, weights).weight, by)

    return replace(RULE, state=state)


def of_any_rows(scaler, step, weights):
    return RmsState(np.ones(N) if weights is None else weights)


@pytest.mark.parametrize(
    "rule, match",
    [
        (wrong("without"), r"without rows \[0\] column \d is off by"),
        (wrong("group"), "column . is off by"),
        (wrong("shape"), r"without_group .* shape \(1, 3\); got \(2, 3\)"),
        (wrong("weights"), "with weights, without rows"),
        (wrong("forgotten"), "wrong derivative in the weight of row 0"),
        (replace(RULE, state=of_any_rows), "rows that it was not fitted to"),
        (replace(RULE, scales=False), "says scales=False"),
        (replace(RULE, absorbs_shifts=True), "says absorbs_shifts=True"),
        (Rule(), "column . is off by"),
        (Rule(passes=True), "column . is off by"),
    ],
)
def test_a_wrong_rule_is_noticed(registered, rule, match):
    registered(rule)
    with pytest.raises(AssertionError, match=match):
        check_transformer(RmsScaler(), X)


class Unlearned(RmsScaler):
    """Columns that are doubled and shifted, whatever the rows."""

    def transform(self, X):
        return 2.0 * X + 1.0


@pytest.mark.parametrize("says", ["passes", "absorbs_scales", "absorbs_shifts"])
def test_false_statements_of_a_rule_are_noticed(registered, says):
    registered(RULE)
    register_transformer(Unlearned, lambda transformer: Rule(**{says: True}))
    with pytest.raises(AssertionError, match=f"says {says}=True"):
        check_transformer(Unlearned(), X)


LETTERS = np.array([*"zabcabcabcabcabcabcabcab"], object)[:, None]
WORDS = np.array([f"{letter}{letter} blue {letter}x" for letter in LETTERS[:, 0]])


@pytest.mark.parametrize(
    "transformer, rows",
    [
        (StandardScaler(), X),
        (StandardScaler(with_mean=False), X),
        (MinMaxScaler(), X),
        (MaxAbsScaler(), X),
        (RobustScaler(), X),
        (Normalizer(), X),
        (Binarizer(), X),
        (FunctionTransformer(), X),
        (SplineTransformer(), X),
        (VarianceThreshold(), X),
        (OneHotEncoder(handle_unknown="ignore"), LETTERS),
        (OneHotEncoder(handle_unknown="ignore", drop="first"), LETTERS),
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), LETTERS),
        (CountVectorizer(min_df=2), WORDS),
        (TfidfVectorizer(norm=None, smooth_idf=False), WORDS),
        (make_pipeline(StandardScaler(), MinMaxScaler()), X),
    ],
    ids=lambda value: type(value).__name__,
)
def test_rules_of_this_package_pass_the_check(transformer, rows):
    left_out = {"rows": [0, 5, 7, N - 1], "groups": [[1, 2], [3], [0, N - 1]]}
    check = check_transformer(transformer, rows, **left_out)
    assert max(check.row_error, check.group_error) < 1e-12


def test_what_is_held_cannot_be_checked():
    with pytest.raises(InvalidParameterError, match="directions that it projects on"):
        check_transformer(PCA(2), X)
    with pytest.raises(InvalidParameterError, match="no rule is registered"):
        check_transformer(RmsScaler(), X)


def test_what_cannot_be_registered_is_refused(registered):
    with pytest.raises(InvalidParameterError, match="must be a class"):
        register_transformer(RmsScaler(), lambda scaler: Rule())
    with pytest.raises(InvalidParameterError, match="must be a function"):
        register_transformer(RmsScaler, Rule())
    registered(None)
    with pytest.raises(InvalidParameterError, match="must give a Rule or a reason"):
        InfluenceExplainer(make_pipeline(RmsScaler(), Ridge())).fit(X, Y)
    register_transformer(RmsScaler, int)
    with pytest.raises(InvalidParameterError, match="for RmsScaler fails: TypeError"):
        InfluenceExplainer(make_pipeline(RmsScaler(), Ridge())).fit(X, Y)
