"""Textbook diagnostics: against R, against high precision, and against refits."""

import json
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cases
import numpy as np
import pytest
import reference
from cases import load
from objectives import SETTINGS, build, is_of
from reference import relative_error
from sklearn.base import clone
from sklearn.linear_model import (
    ElasticNet,
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    TweedieRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from skinfluence import InfluenceExplainer
from skinfluence._array import to_numpy
from skinfluence.deletion import Newton
from skinfluence.diagnostics import (
    Deletions,
    at_expected_information,
    diagnostic_blocks,
)
from skinfluence.exceptions import (
    SeparableDeletionWarning,
    UnidentifiedDeletionWarning,
    UnsupportedEstimatorError,
)
from skinfluence.losses import (
    HalfBinomialLoss,
    HalfSquaredError,
    HalfTweedieIdentityLoss,
    HalfTweedieLoss,
)
from skinfluence.solvers import Cholesky, expand

pd = pytest.importorskip("pandas")  # diagnostics() is a DataFrame

OBJECTIVES = [
    "binary",
    "binary, no intercept",
    "binary, mean form",
    "one target",
    "two targets alike",
    "two targets",
    "two targets, held",
]
DATA = Path(__file__).parent / "data"
TIGHT = {"solver": "newton-cholesky", "tol": 1e-12}
MODELS = {
    "ols_stackloss": LinearRegression(),
    "ols_longley": LinearRegression(),
    "wls_mtcars": LinearRegression(),
    "logit_vaso": LogisticRegression(C=np.inf, **TIGHT),
    "logit_mtcars_am": LogisticRegression(C=np.inf, **TIGHT),
    "poisson_warpbreaks": PoissonRegressor(alpha=0.0, **TIGHT),
    "gamma_trees_log": GammaRegressor(alpha=0.0, **TIGHT),
}
LEAST_SQUARES = ["ols_stackloss", "wls_mtcars"]
GENERALIZED = [name for name in MODELS if "ls_" not in name]
SCALED = [
    "resid_studentized_internal",
    "resid_studentized_external",
    "cooks_distance",
    "dffits",
    "cov_ratio",
]


class Truth:
    """One file of ``data/``: rows, weights, and what others computed from them."""

    def __init__(self, name):
        content = json.loads((DATA / f"diagnostics_{name}.json").read_text("utf-8"))
        self.X, self.y = np.array(content["X"], float), np.array(content["y"], float)
        self.weight = np.array(content["prior_weights"], float)
        self.r, self.exact = content.get("r", {}), content["exact"]
        self.fit = content["fit"]

    def of(self, kind, column):
        values = (self.r if kind == "r" else self.exact)[column]
        return np.array([np.nan if v is None else v for v in values], float)

    @property
    def coef_without(self):
        rows = self.exact["coef"]
        nowhere = [np.nan] * len(rows[0])
        return np.array([nowhere if row is None else row for row in rows], float)


@cache
def truth(name):
    return Truth(name)


@cache
def explained(name, deletion="newton"):
    """Explainer of a file's model, each deletion exact to rounding if it is exact."""
    file = truth(name)
    model = MODELS[name].fit(file.X, file.y, sample_weight=file.weight)
    explainer = InfluenceExplainer(model, deletion=deletion, tol=1e-11)
    return explainer.fit(file.X, file.y, sample_weight=file.weight)


@cache
def columns(name, deletion="newton"):
    if name == "logit_mtcars_am" and deletion == "exact":
        with pytest.warns(SeparableDeletionWarning):
            return explained(name, deletion).diagnostics()
    return explained(name, deletion).diagnostics()


def found(table, column):
    """A column, or the matrix of dfbetas with the intercept first, as in R."""
    if column != "dfbetas":
        return table[column].to_numpy()
    names = [name for name in table if name.startswith("dfbetas_")]
    return table[[names[-1], *names[:-1]]].to_numpy()


def error(table, column, values):
    """Largest error over the largest value, where there is a value."""
    there = np.isfinite(values)
    assert there.mean() > 0.9
    result = found(table, column)
    np.testing.assert_array_equal(np.isfinite(result), there)
    return relative_error(result[there], values[there])


# --- R, and 60 digits ---


@pytest.mark.parametrize("name", LEAST_SQUARES)
def test_least_squares_matches_r_in_every_column(name):
    assert len(truth(name).r) == 10
    for column in truth(name).r:
        assert error(columns(name), column, truth(name).of("r", column)) < 1e-12, column


def test_longley_matches_refits_in_sixty_digits():
    """Raw columns, whose condition number is 5e9."""
    name = "ols_longley"
    assert len(truth(name).exact) == 9
    for column in truth(name).exact:
        values = truth(name).of("exact", column)
        assert error(columns(name), column, values) < 1e-11, column
    model = explained(name).estimator_
    coef = np.append(model.intercept_, model.coef_)
    np.testing.assert_allclose(coef, truth(name).fit["coef"], rtol=1e-9)


@pytest.mark.parametrize("name", GENERALIZED)
def test_generalized_linear_models_match_r(name):
    """R stops iterating at 1e-8, so it is no judge beyond that."""
    assert len(truth(name).r) == 7
    for column in truth(name).r:
        assert error(columns(name), column, truth(name).of("r", column)) < 1e-7, column


@pytest.mark.parametrize("name", MODELS)
def test_exact_deletion_gives_the_exact_cooks_distance(name):
    values = truth(name).of("exact", "cooks_distance")
    assert error(columns(name, "exact"), "cooks_distance", values) < 1e-9


@pytest.mark.parametrize("name", GENERALIZED)
def test_exact_leave_one_out_of_generalized_linear_models(name):
    """Predictions, and coefficients in standard errors (R's columns are wrong there)."""
    file, table = truth(name), columns(name, "exact")
    residual = file.y - file.of("exact", "mean")
    assert error(table, "loo_resid", residual) < 1e-9
    known = name != "gamma_trees_log"
    design = np.column_stack([np.ones(len(file.y)), file.X])
    model = explained(name, "exact").estimator_
    coef = np.append(model.intercept_, np.ravel(model.coef_))
    variance, mu = variance_and_mean(name, design @ coef)
    information = (design * variance[:, None]).T @ design
    scale = 1.0 if known else scales_without(file.y, mu, columns(name))
    shift = (coef - file.coef_without) / np.reshape(scale, (-1, 1))
    spread = np.linalg.inv(information)
    assert error(table, "dfbetas", shift / np.sqrt(np.diag(spread))) < 1e-8
    own = np.sqrt(np.einsum("ij,jk,ik->i", design, spread, design))
    assert error(table, "dffits", np.sum(design * shift, axis=1) / own) < 1e-8


@pytest.mark.parametrize("deletion", ["jackknife", "newton", "halley"])
def test_effects_of_a_gamma_model_are_by_the_observed_hessian(deletion):
    """Unlike R's: Fisher weights give other deltas where the link is not canonical."""
    file, table = truth("gamma_trees_log"), columns("gamma_trees_log", deletion)
    explainer = explained("gamma_trees_log", deletion)
    deltas, model = explainer.loo_params(), explainer.estimator_
    shift = np.column_stack([deltas.intercept, deltas.coef])
    design = np.column_stack([np.ones(len(file.y)), file.X])
    mu = model.predict(file.X)
    moved = mu * np.exp(np.sum(design * shift, axis=1))
    assert relative_error(table["loo_resid"].to_numpy(), file.y - moved) < 1e-9
    scale = scales_without(file.y, mu, table)[:, None]
    errors = np.sqrt(np.diag(np.linalg.inv(design.T @ design)))
    expected = -shift / scale / errors
    assert relative_error(found(table, "dfbetas"), expected) < 1e-7


def variance_and_mean(name, u):
    """Fisher weight and mean of a linear predictor, by hand."""
    if "logit" in name:
        mu = 1 / (1 + np.exp(-u))
        return mu * (1 - mu), mu
    mu = np.exp(u)
    return (np.ones_like(mu) if "gamma" in name else mu), mu


def scales_without(y, mu, table):
    """R's ``influence()$sigma`` of a Gamma model with three parameters."""
    unit = 2 * ((y - mu) / mu - np.log(y / mu))
    left = unit.sum() - unit / (1 - table["leverage"].to_numpy())
    return np.sqrt(left / (len(y) - 4))


def generalized(power, p, weighted=False, alpha=0.0):
    """Rows of a Tweedie model with a log link, its explainer, and hat values by hand."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, p)) / np.sqrt(p)
    mu = np.exp(0.3 + X.sum(axis=1))
    # Far from normal, so that Pearson's chi2 is not the deviance.
    shape = 4.0 if power == 3 else 0.7
    y = mu * rng.gamma(shape, 1 / shape, 150) + 1e-3
    weight = rng.uniform(0.5, 2, 150) if weighted else np.ones(150)
    model = TweedieRegressor(power=power, link="log", alpha=alpha, **TIGHT)
    explainer = InfluenceExplainer(model, prefit=False).fit(X, y, weight)
    A = np.column_stack([X, np.ones(150)])
    point = np.append(explainer.estimator_.coef_, explainer.estimator_.intercept_)
    mu = np.exp(A @ point)
    fisher = weight * mu ** (2 - power)
    ridge = alpha * weight.sum() * np.append(np.ones(p), 0.0)
    H = (A * fisher[:, None]).T @ A + np.diag(ridge)
    h = fisher * np.einsum("ij,jk,ik->i", A, np.linalg.inv(H), A)
    return explainer, h, fisher * ((y - mu) / mu) ** 2


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("p", [1, 12])
@pytest.mark.parametrize("power", [1.5, 2, 3])
def test_covariance_ratio_has_one_dispersion(power, p, weighted):
    """R: ``1 / ((1 - h) ((n - p - 1 + e**2) / (n - p))**p)``, e by the deviance."""
    explainer, h, chi2 = generalized(power, p, weighted)
    table = explainer.diagnostics()
    deviance, d, n = table["resid_deviance"] ** 2, table["resid_deviance"], len(h)
    left = deviance.sum() - deviance / (1 - h)
    dof = n - p - 1
    sigma = np.sqrt(left / (dof - 1))
    star = d / (sigma * np.sqrt(1 - h))
    ratio = 1 / ((1 - h) * ((dof - 1 + star**2) / dof) ** (p + 1))
    assert relative_error(table["cov_ratio"], ratio) < 1e-6
    phi = chi2.sum() / dof  # rstandard and Cook's distance have Pearson's in R
    assert abs(phi * dof / deviance.sum() - 1) > 0.01
    internal = d / np.sqrt(phi * (1 - h))
    assert relative_error(table["resid_studentized_internal"], internal) < 1e-6
    cook = chi2 * h / (1 - h) ** 2 / (phi * (p + 1))
    assert relative_error(table["cooks_distance"], cook) < 1e-6


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("alpha", [0.0, 0.02])
def test_covariance_ratio_is_about_one_in_the_median(alpha):
    explainer, _, _ = generalized(2, 12, weighted=True, alpha=alpha)
    assert explainer.diagnostics()["cov_ratio"].median() == pytest.approx(1, abs=0.15)


# --- refits ---

QUADRATIC = [
    case for case in cases.QUADRATIC if "duplicated" not in case.data
]  # (with them, coefficients are not estimable)


@dataclass(frozen=True)
class Fit:
    """A least squares fit and what it says about noise."""

    theta: np.ndarray
    H: np.ndarray
    scale: float
    edf: float


def fit(problem, held=None):
    """A fit; what its curvature says, by the penalty as it was ``held``."""
    theta = reference.minimise(problem)
    problem = problem if held is None else held
    residual = problem.targets - problem.design @ theta.T
    edf = reference.effective_dof(problem, theta)
    squares = problem.weight @ residual[:, 0] ** 2
    scale = np.sqrt(squares / (np.sum(problem.weight > 0) - edf))
    return Fit(theta[0], reference.curvature(problem, theta), scale, edf)


def by_refits(problem, mean_form=False):
    """Every column of a penalised least squares fit, from its definition.

    In mean form each row takes its share of the penalty along.
    """
    A, y, s = problem.design, problem.targets[:, 0], problem.weight
    whole = fit(problem)
    rows = []
    for i in range(len(y)):
        left, a = problem.without(i), A[i]
        share = s[i] / s.sum() if mean_form else 0.0
        rest = fit(replace(left, ridge=(1 - share) * left.ridge), held=left)
        raised = replace(problem, targets=problem.targets + np.eye(len(y))[:, [i]])
        h = a @ (fit(raised).theta - whole.theta)
        e, shift = y[i] - a @ whole.theta, whole.theta - rest.theta
        spread = np.linalg.inv(whole.H)
        own = np.sqrt(s[i]) * e / np.sqrt(1 - h)
        logdets = [np.linalg.slogdet(f.H / f.scale**2)[1] for f in (whole, rest)]
        rows.append(
            {
                "leverage": h,
                "resid": e,
                "resid_pearson": np.sqrt(s[i]) * e,
                "resid_deviance": np.sqrt(s[i]) * e,
                "resid_studentized_internal": own / whole.scale,
                "resid_studentized_external": own / rest.scale,
                "cooks_distance": shift @ whole.H @ shift / whole.scale**2 / whole.edf,
                "dffits": a @ shift / rest.scale / np.sqrt(a @ spread @ a),
                "dfbetas": shift / rest.scale / np.sqrt(np.diag(spread)),
                "cov_ratio": np.exp(logdets[0] - logdets[1]),
                "loo_resid": y[i] - a @ rest.theta,
            }
        )
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def shrunk_by_the_mean(weighted):
    """Squared loss and penalty in mean form: the normal family of Tweedie's."""
    data = load("one target")
    weight = data.sample_weight if weighted else np.ones(len(data.y))
    model = TweedieRegressor(power=0, alpha=0.3, **TIGHT)
    model.fit(data.X, data.y, sample_weight=weight)
    explainer = InfluenceExplainer(model).fit(data.X, data.y, sample_weight=weight)
    ridge = 0.3 * weight.sum() * np.array([[1.0, 1.0, 1.0, 1.0, 0.0]])
    return explainer, reference.Problem(
        data.X, data.y[:, None], weight, "squared", ridge
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_least_squares_in_mean_form_matches_refits(weighted):
    explainer, problem = shrunk_by_the_mean(weighted)
    table = explainer.diagnostics()
    for name, values in by_refits(problem, mean_form=True).items():
        result = dfbetas(table) if name == "dfbetas" else table[name].to_numpy()
        assert relative_error(result, values) < 1e-7, name


def test_poisson_in_mean_form_is_by_its_one_step_deltas():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(50, 3))
    y, weight = rng.poisson(np.exp(0.5 + X[:, 0])), rng.uniform(0.5, 2, 50)
    model = PoissonRegressor(alpha=0.2, **TIGHT).fit(X, y, sample_weight=weight)
    explainer = InfluenceExplainer(model).fit(X, y, sample_weight=weight)
    deltas, table = explainer.loo_params(), explainer.diagnostics()
    shift = np.column_stack([deltas.coef, deltas.intercept])
    A = np.column_stack([X, np.ones(50)])
    bend = weight * model.predict(X)
    ridge = 0.2 * weight.sum() * np.array([1.0, 1.0, 1.0, 0.0])
    H = (A * bend[:, None]).T @ A + np.diag(ridge)
    spread = np.linalg.inv(H)
    h = bend * np.einsum("ij,jk,ik->i", A, spread, A)
    squared = np.einsum("ij,jk,ik->i", shift, H, shift)
    assert relative_error(table["leverage"], h) < 1e-7
    assert relative_error(table["cooks_distance"], squared / h.sum()) < 1e-7
    expected = -shift / np.sqrt(np.diag(spread))
    assert relative_error(dfbetas(table), expected) < 1e-7
    moved = np.exp(A @ np.append(model.coef_, model.intercept_) + np.sum(A * shift, 1))
    assert relative_error(table["loo_resid"], y - moved) < 1e-7


def dfbetas(table, suffix=""):
    """All columns of dfbetas of an output, the intercept last."""
    names = [name for name in table if name.startswith("dfbetas_")]
    return table[[name for name in names if name.endswith(suffix)]].to_numpy()


@pytest.mark.parametrize("case", QUADRATIC, ids=str)
def test_penalised_weighted_least_squares_matches_refits(case, explain):
    """Ridge, no intercept, weights with zeros, several targets, wide rows."""
    problem, table = cases.problem_of(case), explain(case).diagnostics()
    K = problem.targets.shape[1]
    for k in range(K):
        suffix = f"_output_{k}" if K > 1 else ""
        one = replace(
            problem, targets=problem.targets[:, [k]], ridge=problem.ridge[[k]]
        )
        for name, values in by_refits(one).items():
            result = (
                dfbetas(table, suffix)
                if name == "dfbetas"
                else table[name + suffix].to_numpy()
            )
            assert relative_error(result, values) < 1e-6, name


PLAIN_LOGITS = [
    case
    for case in cases.BINARY
    if case.tight and not {"frozen", "GridSearchCV"} & set(case.name.split(", "))
]


@pytest.mark.parametrize("case", PLAIN_LOGITS, ids=str)
@pytest.mark.parametrize("deletion", ["jackknife", "newton", "exact"])
def test_penalised_logits_match_their_deletion(case, deletion, explain):
    problem, theta = cases.problem_of(case), cases.minimum_of(case)
    without = reference.DELETIONS[deletion]
    shift = theta - np.array(
        [without(problem, theta, i)[0] for i in range(len(problem.X))]
    )
    A, H = problem.design, reference.curvature(problem, theta)
    spread, u = np.linalg.inv(H), A @ theta[0]
    mu = 1 / (1 + np.exp(-u))
    bend = problem.weight * mu * (1 - mu)
    error = np.einsum("ij,jk,ik->i", A, spread, A)
    h, y = bend * error, problem.targets[:, 0]
    edf, slope = h.sum(), problem.weight * (y - mu)
    one_step = slope**2 * error / (1 - h) ** 2 / edf
    exact = np.einsum("ij,jk,ik->i", shift, H, shift) / edf
    moved = 1 / (1 + np.exp(-u + np.sum(A * shift, axis=1)))
    truth = {
        "leverage": h,
        "cooks_distance": exact if deletion == "exact" else one_step,
        "dffits": np.sum(A * shift, axis=1) / np.sqrt(error),
        "cov_ratio": 1 / (1 - h),
        "loo_resid": y - moved,
    }
    options = {} if deletion == "newton" else {"deletion": deletion}
    if deletion == "exact":
        options["tol"] = 1e-11
    table = explain(case, **options).diagnostics()
    for name, values in truth.items():
        assert relative_error(table[name].to_numpy(), values) < 1e-7, name
    expected = shift / np.sqrt(np.diag(spread))
    assert relative_error(dfbetas(table), expected) < 1e-7


def test_loss_and_self_influence_are_those_of_the_methods(explain):
    (case,) = cases.pick("logistic")
    problem, theta = cases.problem_of(case), cases.minimum_of(case)
    table = explain(case).diagnostics()
    own = explain(case).self_influence()
    np.testing.assert_allclose(table["self_influence"], own, rtol=1e-12)
    u = problem.design @ theta.T
    values = reference.loss_value(problem, problem.targets, u)
    assert relative_error(table["loss"].to_numpy(), values) < 1e-9


@pytest.mark.parametrize("name", ["logit_vaso", "poisson_warpbreaks"])
def test_known_dispersion_makes_the_covariance_ratio_a_leverage(name):
    table = columns(name)
    np.testing.assert_allclose(table["cov_ratio"], 1 / (1 - table["leverage"]))


# --- families ---

FAMILIES = [
    HalfSquaredError(),
    HalfBinomialLoss(),
    *(HalfTweedieLoss(power) for power in (0.0, 1.0, 1.5, 2.0, 3.0)),
    *(HalfTweedieIdentityLoss(power) for power in (1.0, 1.5, 2.0)),
]


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_hooks_of_an_exponential_family_agree_with_its_loss(family):
    rng = np.random.default_rng(0)
    u = rng.uniform(0.2, 2.0, size=(30, 1))
    mu = family.response(u)
    y = rng.uniform(0.01, 0.99, size=u.shape) * np.where(mu > 1, 2, 1)
    slope, V = family.response_slope(u), family.variance(mu)
    np.testing.assert_allclose(family.gradient(y, u), (mu - y) * slope / V, rtol=1e-9)
    # The second derivative is linear in y: its expectation is its value at the mean.
    expected = family.hessian(mu, u)[..., 0, 0]
    np.testing.assert_allclose(family.fisher_weight(u), expected, rtol=1e-9)
    observed = family.hessian(y, u)[..., 0, 0]
    assert np.allclose(observed, expected) == family.canonical
    pearson = (y - mu) / np.sqrt(V)
    np.testing.assert_allclose(family.pearson_residual(y, u), pearson, rtol=1e-9)
    change = family.unit_deviance(y, u) - family.unit_deviance(y, u + 0.3)
    twice = 2 * (family.value(y, u) - family.value(y, u + 0.3))
    np.testing.assert_allclose(change[:, 0], twice, rtol=1e-9)
    np.testing.assert_allclose(family.unit_deviance(mu, u), 0, atol=1e-13)


def test_binary_residuals_stay_finite_far_out():
    u = np.array([[-2000.0], [-800.0], [800.0], [2000.0]])
    loss = HalfBinomialLoss()
    for y in (0.0, 1.0):
        y = np.full_like(u, y)
        assert np.isfinite(loss.pearson_residual(y, u)).all()
        assert np.isfinite(loss.unit_deviance(y, u)).all()


# --- weights ---


@pytest.mark.parametrize(
    "model",
    [LinearRegression(), Ridge(alpha=2.0), LogisticRegression(**TIGHT)],
    ids=str,
)
def test_rows_of_no_weight_change_nothing_and_are_not_nan(model):
    data = load("two classes")
    weight = np.ones(len(data.y))
    weight[10:20] = 0.0
    present = weight > 0

    def table(rows, weight):
        explainer = InfluenceExplainer(model, prefit=False)
        explainer.fit(data.X[rows], data.y[rows], sample_weight=weight[rows])
        return explainer.diagnostics()

    every, some = table(slice(None), weight), table(present, weight)
    for name in some:
        assert relative_error(every[name][present], some[name]) < 1e-7, name
    absent = every[~present]
    assert np.isfinite(absent.to_numpy()).all()
    zero = ["leverage", "resid_pearson", "resid_deviance", "cooks_distance", "dffits"]
    assert not absent[zero].to_numpy().any()
    np.testing.assert_allclose(absent["cov_ratio"], 1.0)
    np.testing.assert_allclose(absent["loo_resid"], absent["resid"])


def test_the_unit_of_weight_does_not_matter_to_least_squares():
    data = load("one target")
    weight = data.sample_weight

    def table(weight):
        explainer = InfluenceExplainer(LinearRegression())
        return explainer.fit(data.X, data.y, sample_weight=weight).diagnostics()

    once, thrice = table(weight), table(3 * weight)
    for name in [*SCALED, "leverage", "loo_resid"]:
        assert relative_error(thrice[name], once[name]) < 1e-9, name
    ratio = thrice["resid_pearson"].abs().sum() / once["resid_pearson"].abs().sum()
    assert ratio == pytest.approx(np.sqrt(3))


# --- shapes and names ---


def test_names_and_index_are_those_of_the_training_rows():
    data = load("one target")
    X = pd.DataFrame(data.X, columns=list("abcd"), index=data.y.argsort() + 100)
    table = InfluenceExplainer(Ridge()).fit(X, data.y).diagnostics()
    assert list(table) == [
        "leverage",
        "resid",
        "resid_pearson",
        "resid_deviance",
        "resid_studentized_internal",
        "resid_studentized_external",
        "cooks_distance",
        "dffits",
        "dfbetas_a",
        "dfbetas_b",
        "dfbetas_c",
        "dfbetas_d",
        "dfbetas_intercept",
        "cov_ratio",
        "loo_resid",
        "self_influence",
        "loss",
    ]
    np.testing.assert_array_equal(table.index, X.index)


def test_a_pipeline_names_the_features_of_its_last_step():
    data = load("one target")
    X = pd.DataFrame(data.X[:, :2], columns=["a", "b"])
    polynomial = PolynomialFeatures(2, include_bias=False)
    model = make_pipeline(StandardScaler(), polynomial, LinearRegression())
    table = InfluenceExplainer(model).fit(X, data.y).diagnostics()
    names = [name for name in table if name.startswith("dfbetas_")]
    assert names == [
        f"dfbetas_{name}" for name in ["a", "b", "a^2", "a b", "b^2", "intercept"]
    ]


def test_a_feature_called_intercept_keeps_its_name():
    data = load("one target")
    X = pd.DataFrame(data.X[:, :1], columns=["intercept"])
    table = InfluenceExplainer(Ridge()).fit(X, data.y).diagnostics()
    plain = InfluenceExplainer(Ridge()).fit(data.X[:, :1], data.y).diagnostics()
    np.testing.assert_allclose(table["dfbetas_intercept"], plain["dfbetas_x0"])
    np.testing.assert_allclose(table["dfbetas_(Intercept)"], plain["dfbetas_intercept"])


def test_without_an_intercept_there_is_no_column_for_it(explain):
    data = load("one target")
    model = LinearRegression(fit_intercept=False)
    table = InfluenceExplainer(model).fit(data.X, data.y).diagnostics()
    assert [name for name in table if "intercept" in name] == []


def test_a_bunch_of_arrays_without_pandas(monkeypatch):
    explainer = explained("ols_stackloss")
    table = explainer.diagnostics()
    monkeypatch.setitem(sys.modules, "pandas", None)
    bunch = explainer.diagnostics()
    assert list(bunch) == list(table)
    for name in bunch:
        np.testing.assert_array_equal(bunch[name], table[name])
    assert isinstance(bunch.leverage, np.ndarray)


@pytest.mark.parametrize("name", [*OBJECTIVES, "Gamma"])
def test_arrays_of_another_library_give_the_same_columns(name):
    xp = pytest.importorskip("array_api_strict")
    setting = SETTINGS["one target" if name == "Gamma" else name]
    if name == "Gamma":  # expected and observed information differ
        setting = replace(setting, loss=HalfTweedieLoss(2.0))

    def columns_of(xp):
        objective, theta, _ = build(setting, xp)
        objective = replace(objective, targets=abs(objective.targets) + 0.5)
        point = expand(objective, theta, Cholesky())
        expected = at_expected_information(point, Cholesky())
        newton = Newton(expected, Cholesky())
        asked = Deletions(Newton(point, Cholesky()), newton, newton)
        (block,) = (found for _, found in diagnostic_blocks(point, expected, asked))
        return block

    for found, values in zip(columns_of(xp), columns_of(np), strict=True):
        assert is_of(found, xp)
        np.testing.assert_allclose(to_numpy(found), values, rtol=1e-9, atol=1e-12)


# --- where there is no answer ---


def test_coupled_outputs_are_refused():
    data = load("three classes")
    explainer = InfluenceExplainer(LogisticRegression()).fit(data.X, data.y)
    with pytest.raises(UnsupportedEstimatorError, match="HalfMultinomialLoss of 3"):
        explainer.diagnostics()


def test_a_row_of_leverage_one_is_nan_and_named_once():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 3)), rng.normal(size=20)
    X[:, 2] = 0.0
    X[7, 2] = 1.0
    explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
    with pytest.warns(UnidentifiedDeletionWarning, match="Row 7") as record:
        table = explainer.diagnostics()
    assert len(record) == 1
    others = table.drop(index=7).to_numpy()
    assert np.isfinite(others).all()
    assert table["leverage"][7] == pytest.approx(1)
    assert table.loc[7, [*SCALED, "loo_resid", "dfbetas_x0"]].isna().all()
    whole = InfluenceExplainer(LinearRegression(fit_intercept=True))
    rest = whole.fit(np.delete(X[:, :2], 7, axis=0), np.delete(y, 7)).diagnostics()
    assert relative_error(others[:, 0], rest["leverage"]) < 1e-9


def test_a_fit_without_residuals_has_no_scale():
    """Nothing is left to estimate the noise from: NaN, and no error."""
    X = np.arange(4.0)[:, None]
    table = InfluenceExplainer(LinearRegression()).fit(X, 0 * X[:, 0]).diagnostics()
    assert table[SCALED].isna().to_numpy().all()
    assert np.isfinite(table[["leverage", "resid", "loo_resid"]].to_numpy()).all()


def with_a_typo(seed, slip):
    """A table of whole numbers in an exact relation, but for one row."""
    rng = np.random.default_rng(seed)
    n, p = rng.integers(8, 40), rng.integers(1, 4)
    X = rng.integers(-20, 20, size=(n, p)).astype(float)
    y = X @ rng.integers(-5, 6, size=p) + rng.integers(-9, 9)
    row = int(rng.integers(n))
    y[row] += slip
    return X, y, row


@pytest.mark.parametrize("slip", [1, 5, -100])
def test_a_typo_in_an_exact_relation_has_an_infinite_residual(slip):
    for seed in range(20):
        X, y, row = with_a_typo(seed, slip)
        table = InfluenceExplainer(LinearRegression()).fit(X, y).diagnostics()
        external = table.pop("resid_studentized_external")
        assert external[row] == np.sign(slip) * np.inf, seed
        assert np.isfinite(external.drop(index=row)).all(), seed
        assert np.isinf(table["dffits"][row])
        assert table["cov_ratio"][row] == 0


def test_digits_of_a_residual_among_tiny_ones_are_those_of_a_refit():
    """``D - d**2 / (1 - h)`` would leave none of them."""
    X, y, row = with_a_typo(0, 5.0)
    y = y + 1e-9 * np.random.default_rng(1).normal(size=len(y))
    table = InfluenceExplainer(LinearRegression()).fit(X, y).diagnostics()
    A, others = np.column_stack([X, np.ones(len(y))]), np.arange(len(y)) != row
    coef, squares, *_ = np.linalg.lstsq(A[others], y[others])
    sigma = np.sqrt(squares[0] / (others.sum() - A.shape[1]))
    spread = np.linalg.inv(A[others].T @ A[others])
    error = sigma * np.sqrt(1 + A[row] @ spread @ A[row])
    expected = (y[row] - A[row] @ coef) / error
    result = table["resid_studentized_external"][row]
    assert result == pytest.approx(expected, rel=1e-5)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_typo_in_an_exact_gamma_relation_has_a_residual():
    """R's one-step deviance without the row is negative here, and its root NaN."""
    X = np.random.default_rng(0).normal(size=(20, 1))
    y = np.exp(1 + 0.5 * X[:, 0])
    y[4] /= 100
    model = GammaRegressor(alpha=0.0, **TIGHT)
    table = InfluenceExplainer(model).fit(X, y).diagnostics()
    assert table["resid_studentized_external"][4] < -1e6


def test_residuals_of_rounding_are_no_scale():
    for seed in range(20):
        X, y, _ = with_a_typo(seed, 0)
        table = InfluenceExplainer(LinearRegression()).fit(X, y).diagnostics()
        assert table[SCALED].isna().to_numpy().all(), seed


def test_a_single_spare_degree_of_freedom_leaves_no_scale_without_a_row():
    X, y = np.arange(3.0)[:, None], np.array([0.0, 1.0, 5.0])
    table = InfluenceExplainer(LinearRegression()).fit(X, y).diagnostics()
    external = ["resid_studentized_external", "dffits", "dfbetas_x0", "cov_ratio"]
    assert table[external].isna().to_numpy().all()
    rest = table.drop(columns=[*external, "dfbetas_intercept"]).to_numpy()
    assert np.isfinite(rest).all()


def test_thousands_of_parameters_do_not_overflow():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4, 5000)), np.array([0.0, 0.1, 50.0, 0.2])
    table = InfluenceExplainer(Ridge(alpha=1e4)).fit(X, y).diagnostics()
    assert np.isfinite(table["cov_ratio"]).all()
    assert table["cov_ratio"].max() > 1e200


def test_features_that_l1_has_dropped_do_not_move():
    data = load("one target")
    model = ElasticNet(alpha=0.4, l1_ratio=0.5, tol=1e-12, max_iter=100_000)
    model.fit(data.X, data.y)
    assert np.flatnonzero(model.coef_ == 0).tolist() == [2]
    table = InfluenceExplainer(model).fit(data.X, data.y).diagnostics()
    assert np.isfinite(table.to_numpy()).all()
    assert not table["dfbetas_x2"].any()
    kept = 0
    for i in range(0, 40, 8):
        rest = clone(model).fit(np.delete(data.X, i, axis=0), np.delete(data.y, i))
        if rest.coef_[2] == 0:
            residual = data.y[i] - rest.predict(data.X[[i]])[0]
            assert table["loo_resid"][i] == pytest.approx(residual, rel=1e-6)
            kept += 1
    assert kept >= 3
