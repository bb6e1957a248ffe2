"""Bounds of the errors of deletions: they hold, and who has none is named."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import (
    HuberRegressor,
    LinearRegression,
    LogisticRegression,
)
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skinfluence import InfluenceExplainer
from skinfluence.exceptions import DoubtfulDeletionWarning
from skinfluence.losses import (
    Binomial,
    ExponentialFamilyLoss,
    HalfBinomialLoss,
    HalfMultinomialLoss,
    HalfSquaredError,
    HalfTweedieIdentityLoss,
    HalfTweedieLoss,
    HuberLoss,
    Log,
    NegativeBinomial,
    Probit,
    Repeated,
)

sys.path.append(str(Path(__file__).parent / "campaigns"))
fails_on_doubt = pytest.mark.filterwarnings("error:.* cannot be vouched for")


# --- the constant of a loss ---

CONSTANTS = {
    "squared": (HalfSquaredError(), 0.0),
    "binomial": (HalfBinomialLoss(), 1.0),
    "Poisson": (HalfTweedieLoss(1.0), 1.0),
    "Tweedie": (HalfTweedieLoss(1.7), 0.7),
    "Gamma": (HalfTweedieLoss(2.0), 1.0),
    "negative binomial": (ExponentialFamilyLoss(NegativeBinomial(0.4), Log()), 1.0),
    "one-vs-rest": (Repeated(HalfBinomialLoss(), 1), 1.0),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_third_derivatives_are_at_most_the_constant_times_second_ones(name):
    loss, constant = CONSTANTS[name]
    rng = np.random.default_rng(0)
    u, y = rng.normal(0, 5, size=(2000, 1)), rng.gamma(0.5, 2.0, size=(2000, 1))
    if name in ("binomial", "one-vs-rest"):
        y = np.minimum(y, 1.0)
    if name == "one-vs-rest":
        y = np.hstack([y, np.ones_like(y)])
    second, third = loss.hessian(y, u).ravel(), loss.third(y, u).ravel()
    assert loss.self_concordance == pytest.approx(constant)
    assert np.all(np.abs(third) <= constant * second * (1 + 1e-9))
    # And no smaller constant would do.
    assert np.max(np.abs(third) - 0.95 * constant * second) >= 0


def test_third_derivatives_of_softmax_are_at_most_the_width_of_a_move():
    loss, rng = HalfMultinomialLoss(), np.random.default_rng(0)
    u = rng.normal(0, 3, size=(500, 4))
    v, d = rng.normal(size=(2, 500, 4))
    second = np.einsum("ik,ikl,il->i", v, loss.hessian(u, u)[:, 0], v)
    third = np.einsum("iklm,ik,il,im->i", loss.third(u, u)[:, 0], v, v, d)
    assert np.all(np.abs(third) <= loss.self_concordance * np.ptp(d, axis=1) * second)


@pytest.mark.parametrize(
    "loss",
    [
        HuberLoss(1.0),
        HalfTweedieIdentityLoss(1.0),
        HalfTweedieIdentityLoss(0.0),
        HalfTweedieLoss(3.0),
        ExponentialFamilyLoss(Binomial(), Probit()),
    ],
    ids=str,
)
def test_other_losses_have_no_constant(loss):
    assert loss.self_concordance == np.inf


# --- thousands of deletions are judged by ``make campaign``: here a few ---


@pytest.mark.parametrize(
    "kind",
    [
        *("least squares", "ridge", "lasso, elastic net", "logistic"),
        *("coefficients of one sign", "Poisson, Gamma, Tweedie", "support vectors"),
        *("negative binomial", "Huber"),
    ],
)
def test_bounds_hold_with_many_digits(kind):
    pytest.importorskip("mpmath")
    import certificates

    kinds = {kind: certificates.KINDS[kind]}
    counts = certificates.tallies(1, 1, kinds, n_rows=4, rows=(8, 12))
    assert sum(tally.deletions for tally in counts.values()) >= 8
    for tally in counts.values():
        assert tally.exceeded == tally.silent == 0
    exact = counts[kind, "exact"]
    assert exact.off == 0 and exact.bounded == exact.deletions


def test_a_bound_does_not_hide_a_change_of_the_active_set():
    """Of two columns all but equal, the rows left give the weight to the other."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(20, 2))
    X[:, 1] = X[:, 0] + 0.01 * X[:, 1]
    y = (X[:, 0] + rng.logistic(size=20) > 0).astype(int)
    y[:2] = 0, 1
    model = LogisticRegression(l1_ratio=1, solver="saga", max_iter=100)
    deltas = {}
    for method in ("halley", "exact"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            explainer = InfluenceExplainer(model, deletion=method).fit(X, y)
            deltas[method] = explainer.loo_params()
    exact, bound = deltas["exact"], deltas["halley"].error_bound
    error = np.linalg.norm(deltas["halley"].coef - exact.coef, axis=(1, 2))
    assert np.sum(error > 0.3) >= 4 and np.all(error <= bound)
    assert np.sum(bound < np.inf) >= 10


@pytest.mark.parametrize("big", [1e2, 1e3, 1e4, 6e5])
def test_the_bound_of_least_squares_holds_near_leverage_one(big):
    mpmath = pytest.importorskip("mpmath")
    rng = np.random.default_rng(0)
    x = rng.normal(size=50)
    y = 2 * x + rng.normal(size=50)
    x[7] = big
    params = InfluenceExplainer(LinearRegression()).fit(x[:, None], y).loo_params([7])

    def slope(rows):
        X, t = ([mpmath.mpf(v) for v in part[rows]] for part in (x, y))
        mean_x, mean_t = sum(X) / len(X), sum(t) / len(t)
        cross = sum((a - mean_x) * (b - mean_t) for a, b in zip(X, t, strict=True))
        return cross / sum((a - mean_x) ** 2 for a in X)

    with mpmath.workdps(40):
        truth = slope(np.arange(50) != 7) - slope(np.arange(50) >= 0)
        error = abs(float(truth - mpmath.mpf(float(params.coef.ravel()[0]))))
    assert error <= params.error_bound[0] < 1e-6


# --- who is named ---


def hard(n=60, p=4, C=1e3):
    """Rows of which one, far out and on the wrong side, holds a coefficient down."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(n, p))
    y = (2 * X[:, 0] + rng.logistic(size=n) > 0).astype(int)
    X[3, 0], y[3] = -30.0, 1
    return LogisticRegression(C=C, tol=1e-10, solver="newton-cholesky"), X, y


@pytest.mark.parametrize("method", ["newton", "halley"])
def test_a_hopeless_step_is_named_in_every_question(method):
    model, X, y = hard()
    exact = InfluenceExplainer(model, deletion="exact").fit(X, y).loo_params([3])
    explainer = InfluenceExplainer(model, deletion=method).fit(X, y)
    questions = (
        lambda: explainer.loo_params(),
        lambda: explainer.loo_predict(),
        lambda: explainer.loo_delta(X[:2], y[:2]),
        lambda: explainer.diagnostics(),
    )
    for ask in questions:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            answer = ask()
        (named,) = [w for w in caught if w.category is DoubtfulDeletionWarning]
        assert "row 3 cannot be vouched for" in str(named.message)
        answer = answer if hasattr(answer, "error_bound") else None
        if answer is not None:
            error = np.linalg.norm(answer.coef[3] - exact.coef[0])
            assert error > 0.4 * np.linalg.norm(exact.coef[0])
            assert answer.error_bound[3] >= error


@fails_on_doubt
def test_exact_deletions_and_ordinary_rows_are_not_named():
    model, X, y = hard()
    InfluenceExplainer(model, deletion="exact").fit(X, y).loo_params()
    X, y = load_iris(return_X_y=True)
    explainer = InfluenceExplainer(LogisticRegression(max_iter=1000)).fit(X, y)
    explainer.loo_predict()
    explainer.loo_params()


def hinge_and_huber(seed=0, n=40):
    """Models whose second derivatives jump, and their rows; one may be moved far out."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    y = X[:, 0] + 0.5 * rng.normal(size=n)
    label = (X[:, 0] + 0.3 * rng.logistic(size=n) > 0).astype(int)
    svc = LinearSVC(C=10.0, tol=1e-10, max_iter=10**6)
    huber = HuberRegressor(alpha=1e-3, tol=1e-8, max_iter=10000)
    return (svc, X, label, 0), (huber, X, y, -30.0)


@pytest.mark.parametrize("case", [0, 1], ids=["squared hinge", "Huber"])
def test_a_hopeless_step_past_a_jump_is_named(case):
    model, X, y, wild = hinge_and_huber()[case]
    X[3], y[3] = [30.0, 0.0], wild
    explainer = InfluenceExplainer(model).fit(X, y)
    with pytest.warns(DoubtfulDeletionWarning, match="row 3 cannot be vouched for"):
        newton = explainer.loo_params([3]).coef.ravel()
    with pytest.warns(DoubtfulDeletionWarning, match="cannot be vouched for"):
        explainer.loo_predict("decision_function" if case == 0 else "predict")
    with pytest.warns(DoubtfulDeletionWarning, match="cannot be vouched for"):
        explainer.group_delta(X[:2], y[:2], groups=np.arange(40) // 4)
    exact = InfluenceExplainer(model, deletion="exact").fit(X, y).loo_params([3])
    error = np.linalg.norm(newton - exact.coef.ravel())
    assert error > 0.4 * np.linalg.norm(exact.coef)


@fails_on_doubt
def test_ordinary_rows_of_losses_with_jumps_are_not_named():
    for model, X, y, _ in hinge_and_huber(n=400):
        InfluenceExplainer(model).fit(X, y).loo_params()


def test_a_row_beyond_the_margin_changes_nothing():
    model, X, y, _ = hinge_and_huber()[0]
    explainer = InfluenceExplainer(model, deletion="exact").fit(X, y)
    margin = (2 * y - 1) * explainer.decision_function(X)
    params = explainer.loo_params(np.nonzero(margin > 1)[0])
    assert not np.any(params.coef) and not np.any(params.intercept)


def test_few_rows_of_a_real_table_are_named():
    X, y = load_breast_cancer(return_X_y=True)
    explainer = InfluenceExplainer(LogisticRegression(max_iter=1000))
    explainer.fit(StandardScaler().fit_transform(X), y)
    with pytest.warns(DoubtfulDeletionWarning, match="^7 deletions"):
        bounds = explainer.loo_params().error_bound
    assert np.isfinite(bounds).mean() > 0.98


def test_the_bound_of_a_row_does_not_depend_on_who_else_is_asked():
    model, X, y = hard()
    explainer = InfluenceExplainer(model).fit(X, y)
    together, one = explainer.loo_params(), explainer.loo_params([5])
    assert one.error_bound[0] == pytest.approx(together.error_bound[5], rel=1e-6)
