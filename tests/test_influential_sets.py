"""Sets of rows that move a number most: against enumeration, and against refits."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from cases import load
from sklearn.base import clone
from sklearn.linear_model import (
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfluence import InfluenceExplainer
from skinfluence.deletion import _influential_sets
from skinfluence.exceptions import (
    InvalidDataError,
    InvalidParameterError,
    UnreachedFlipWarning,
)

CARS = json.loads((Path(__file__).parent / "data" / "sets_ols_mtcars.json").read_text())
NAMES = list(CARS["coefficients"])
TIGHT = {"tol": 1e-12, "max_iter": 10_000}


@pytest.fixture(scope="module")
def cars():
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(CARS["X"], columns=CARS["columns"]).iloc[:, 1:].astype(float)
    return InfluenceExplainer(LinearRegression()).fit(X, np.array(CARS["y"], float))


@pytest.fixture
def heuristic(monkeypatch):
    """No set is tried for its own sake: what remains is the search."""
    monkeypatch.setattr(_influential_sets, "_MOST_SETS", 0)


def asked(name):
    return "intercept" if name == "(Intercept)" else name


# --- the reference: every set of up to 5 of 32 rows enumerated ---


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_set_that_flips_is_found_and_proved(cars, name):
    truth = CARS["coefficients"][name]
    found = cars.influential_set(asked(name))
    assert found.initial == pytest.approx(truth["beta_full"], rel=1e-9)
    assert found.flipped
    assert found.achieved * found.initial < 0
    assert found.achieved == pytest.approx(found.predicted, rel=1e-8)
    smallest = truth["exact_min_flip"]
    if smallest["k"] is None:  # no set of up to 5, which is as far as it was proved
        assert found.lower_bound == smallest["certified_lower_bound"]
        assert len(found.rows) < truth["greedy_k"]
        return
    assert found.rows.tolist() == smallest["set"]
    assert found.lower_bound == smallest["k"]
    assert found.achieved == pytest.approx(smallest["beta"], rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_search_alone_finds_the_smallest_sets_too(cars, heuristic, name):
    """Greedily, ``am`` takes 5 rows; exchanges find 4."""
    truth = CARS["coefficients"][name]
    found = cars.influential_set(asked(name))
    assert "swaps" in found.method
    assert found.flipped
    assert len(found.rows) <= (truth["exact_min_flip"]["k"] or 9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("direction, end", [("decrease", "min"), ("increase", "max")])
def test_the_best_k_rows_are_found_and_proved(cars, name, direction, end):
    for best in CARS["coefficients"][name]["by_k"]:
        found = cars.influential_set(asked(name), k=best["k"], direction=direction)
        assert found.rows.tolist() == best[f"{end}_set"]
        assert found.achieved == pytest.approx(best[f"{end}_beta"], rel=1e-9)
        assert found.lower_bound == pytest.approx(found.achieved, rel=1e-8)
        assert found.flipped is None


@pytest.mark.parametrize("name", NAMES)
def test_the_search_alone_comes_close(cars, heuristic, name):
    for best in CARS["coefficients"][name]["by_k"]:
        found = cars.influential_set(asked(name), k=best["k"], direction="decrease")
        moved = found.initial - found.achieved
        assert found.lower_bound is None
        assert moved >= 0.95 * (found.initial - best["min_beta"])


def test_the_additive_ranking_is_that_of_the_reference(cars):
    order = np.argsort(-cars.param_influence().coef[:, 3])
    assert order.tolist() == CARS["coefficients"]["am"]["amip_order"]


def test_the_pool_knows_the_model_without_any_set(cars):
    """Rows taken out one by one, put back, exchanged: each value is that of a refit."""
    point, column = cars._study.point, 3
    direction = np.zeros_like(point.theta)
    direction[0, column] = 1.0
    target = _influential_sets.LinearTarget(direction)
    search = _influential_sets.SetSearch(point, cars._study.solver, target, 1.0)
    pool = search._pool(search._at(point, np.arange(0)), np.arange(32))
    X, y = np.array(CARS["X"], float)[:, 1:], np.array(CARS["y"], float)

    def agrees(pool):
        truth = refit_value(
            LinearRegression(), X, y, pool.removed, lambda m: m.coef_[column]
        )
        return pool.value == pytest.approx(truth, rel=1e-9)

    greedy = pool.grown(6)
    one_by_one = pool
    for row in CARS["coefficients"]["am"]["amip_order"][:4]:
        one_by_one = one_by_one.changed(row)
        assert agrees(one_by_one)
    assert agrees(greedy)
    for further in (greedy.shrunk(), greedy.grown(2), greedy.changed(0).grown(1)):
        assert agrees(further)
    for start in (one_by_one, greedy):
        i, j, value = start.best_swap()
        swapped = start.changed(i).changed(j)
        assert value == pytest.approx(swapped.value, rel=1e-9)
        assert agrees(swapped)
        for other in np.flatnonzero(start.inside):
            assert value <= start.changed(i).changed(int(other)).value + 1e-9


# --- one parameter: the exact optimum without trying sets ---


@pytest.mark.parametrize(
    "model",
    [LinearRegression(fit_intercept=False), Ridge(1.0, fit_intercept=False)],
    ids=str,
)
def test_one_parameter_has_its_exact_optimum(heuristic, model):
    rng = np.random.default_rng(0)
    n, x, weight = 13, rng.normal(size=13), rng.uniform(0.3, 3.0, 13)
    y = 0.5 * x + rng.normal(size=n)
    alpha = getattr(model, "alpha", 0.0)
    explainer = InfluenceExplainer(model).fit(x[:, None], y, weight)

    def slope(rows):
        kept = np.setdiff1d(np.arange(n), rows)
        top, bottom = (weight * x * y)[kept].sum(), (weight * x * x)[kept].sum()
        return top / (bottom + alpha)

    for k in (1, 2, 4, 7):
        every = [slope(rows) for rows in combinations(range(n), k)]
        for direction, best in (("decrease", min(every)), ("increase", max(every))):
            found = explainer.influential_set(0, k=k, direction=direction)
            assert found.method == "Dinkelbach"
            assert found.achieved == pytest.approx(best, rel=1e-9)
            assert found.lower_bound == pytest.approx(best, rel=1e-9)
    found = explainer.influential_set(0, k=n - 1)
    assert found.flipped
    assert found.lower_bound == len(found.rows)
    fewer = combinations(range(n), len(found.rows) - 1)
    assert all(slope(rows) * found.initial > 0 for rows in fewer)


# --- other models and targets: the refit is the truth ---


def refit_value(model, X, y, rows, read, weight=None):
    kept = np.setdiff1d(np.arange(len(y)), rows)
    given = {} if weight is None else {"sample_weight": weight[kept]}
    return read(clone(model).fit(X[kept], y[kept], **given))


TEST = load("two classes").X_test[:1]
TARGETS = {
    "linear, row": ("one target", LinearRegression(), TEST, lambda m: m.predict(TEST)),
    "ridge, output": ("two targets", Ridge(), (1, 0), lambda m: m.coef_[1, :1]),
    "logistic, coefficient": (
        "two classes",
        LogisticRegression(**TIGHT),
        0,
        lambda m: m.coef_[0, :1],
    ),
    "logistic, row": (
        "two classes",
        LogisticRegression(**TIGHT),
        TEST,
        lambda m: m.decision_function(TEST),
    ),
    "logistic, intercept": (
        "two words",
        LogisticRegression(**TIGHT),
        "intercept",
        lambda m: m.intercept_,
    ),
    "softmax, coefficient": (
        "three classes",
        LogisticRegression(**TIGHT),
        (2, "x1"),
        lambda m: m.coef_[2, 1:2],
    ),
    "one-vs-rest, coefficient": (
        "three words",
        RidgeClassifier(),
        (1, 2),
        lambda m: m.coef_[1, 2:3],
    ),
    "elastic net": (
        "one target",
        ElasticNet(alpha=0.1, **TIGHT),
        1,
        lambda m: m.coef_[1:2],
    ),
}


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_achieved_is_what_a_refit_gives(name):
    kind, model, target, read = TARGETS[name]
    data = load(kind)
    explainer = InfluenceExplainer(model, deletion="exact").fit(data.X, data.y)
    moved = []
    for direction, sign in (("decrease", -1), ("increase", 1)):
        found = explainer.influential_set(target, k=3, direction=direction)
        truth = refit_value(model, data.X, data.y, found.rows, read)[0]
        assert found.initial == pytest.approx(read(explainer.estimator_)[0], abs=1e-6)
        assert found.achieved == pytest.approx(truth, abs=1e-6)
        assert found.predicted == pytest.approx(found.achieved, abs=1e-6)
        assert len(found.rows) == 3
        moved.append(sign * (found.achieved - found.initial))
        # Better than the rows that any three single deletions name.
        each = explainer.loo_params().coef.reshape(len(data.X), -1)
        shuffled = np.random.default_rng(0).permutation(len(each))[:3]
        other = refit_value(model, data.X, data.y, shuffled, read)[0]
        assert moved[-1] > sign * (other - found.initial)
    assert min(moved) > 0


def test_a_predicted_class_flips():
    data = load("three words")
    row = data.X_test[:1]
    model = LogisticRegression(**TIGHT)
    explainer = InfluenceExplainer(model).fit(data.X, data.y)
    found = explainer.influential_set(row)
    assert found.flipped
    second, first = np.sort(explainer.decision_function(row)[0])[-2:]
    assert found.initial == pytest.approx(first - second, abs=1e-6)
    before = explainer.predict(row)[0]
    after = refit_value(model, data.X, data.y, found.rows, lambda m: m.predict(row))
    assert after[0] != before


def test_a_test_loss_falls_without_the_rows_that_spoil_it():
    data = load("one target")
    y = data.y.copy()
    y[[3, 17, 30]] += [30.0, -40.0, 35.0]
    explainer = InfluenceExplainer(LinearRegression()).fit(data.X, y)
    test = data.X_test, data.y_test
    found = explainer.influential_set(test, k=3, direction="decrease")
    assert found.rows.tolist() == [3, 17, 30]
    rest = refit_value(LinearRegression(), data.X, y, found.rows, lambda m: m)
    loss = 0.5 * np.mean((rest.predict(data.X_test) - data.y_test) ** 2)
    assert found.achieved == pytest.approx(loss, rel=1e-9)
    assert found.achieved < 0.2 * found.initial


def test_weights_and_held_transformers_count():
    """A row without weight is never chosen, and the scaler is not fitted again."""
    data = load("one target")
    model = make_pipeline(StandardScaler(), LinearRegression())
    model.fit(data.X, data.y, linearregression__sample_weight=data.sample_weight)
    explainer = InfluenceExplainer(model).fit(data.X, data.y, data.sample_weight)
    found = explainer.influential_set("x0", fraction=0.1, direction="increase")
    n_present = np.count_nonzero(data.sample_weight)
    assert len(found.rows) == n_present // 10
    assert np.all(data.sample_weight[found.rows] > 0)
    Z = model[0].transform(data.X)
    truth = refit_value(
        LinearRegression(),
        Z,
        data.y,
        found.rows,
        lambda m: m.coef_[0],
        data.sample_weight,
    )
    assert found.achieved == pytest.approx(truth, rel=1e-9)


def test_many_rows_are_searched_in_parts(monkeypatch):
    """Pools of a few rows, chosen from many, find what one pool of all finds."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 3))
    y = X @ [0.05, 1.0, -1.0] + rng.standard_t(3, size=600)
    explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
    whole = explainer.influential_set(0, k=20, direction="decrease")
    monkeypatch.setattr(_influential_sets, "_MOST_POOLED", 128)
    parts = explainer.influential_set(0, k=20, direction="decrease")
    assert parts.achieved == pytest.approx(whole.achieved, rel=1e-3)
    monkeypatch.setattr(_influential_sets, "_MOST_CHOSEN", 4)
    parts = explainer.influential_set(0, k=20, direction="decrease")
    assert len(parts.rows) == 20
    assert parts.achieved == pytest.approx(whole.achieved, rel=1e-2)


def test_coupled_outputs_lose_an_eighth_of_the_rows_at_a_time(monkeypatch):
    search, taken = _influential_sets.SetSearch, []

    def spied(self, state, effects, need, *rest):
        rows = chosen(self, state, effects, need, *rest)
        taken.append((need, len(rows)))
        return rows

    chosen = search._chosen
    monkeypatch.setattr(search, "_chosen", spied)
    data = load("three classes")
    explainer = InfluenceExplainer(LogisticRegression(**TIGHT)).fit(data.X, data.y)
    explainer.influential_set((2, "x1"), k=17, direction="decrease")
    assert [some for _, some in taken] == [max(1, need // 8) for need, _ in taken]
    assert taken[0] == (17, 2)


# --- what cannot be done ---


def test_a_flip_that_no_removal_gives_is_said_to_be_none():
    X = np.ones((12, 1))
    y = np.linspace(1.0, 2.0, 12)  # a mean of positive numbers stays positive
    explainer = InfluenceExplainer(LinearRegression(fit_intercept=False)).fit(X, y)
    with pytest.warns(UnreachedFlipWarning, match="No set of up to 6 rows"):
        found = explainer.influential_set(0)
    assert not found.flipped
    assert found.achieved == pytest.approx(np.delete(y, found.rows).mean(), rel=1e-9)
    assert found.achieved < found.initial


def test_a_flip_within_too_few_rows_is_refuted(cars):
    with pytest.warns(UnreachedFlipWarning, match="None exists"):
        found = cars.influential_set("am", k=3)
    assert not found.flipped
    assert found.lower_bound == 4
    truth = CARS["coefficients"]["am"]["by_k"][2]
    assert found.achieved == pytest.approx(truth["min_beta"], rel=1e-9)


def test_rows_that_keep_the_classes_apart_are_not_chosen():
    """Without row 3, or row 4, the classes can be separated: no finite refit."""
    X = np.array([-3.0, -2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0])[:, None]
    y = np.array([0, 0, 0, 1, 0, 1, 1, 1])
    explainer = InfluenceExplainer(LogisticRegression(C=np.inf, **TIGHT)).fit(X, y)
    found = explainer.influential_set(0, k=1, direction="increase")
    assert found.rows[0] not in (3, 4)
    finite = [
        refit_value(LogisticRegression(C=np.inf, **TIGHT), X, y, [i], coefficient)
        for i in (0, 1, 2, 5, 6, 7)
    ]
    assert found.achieved == pytest.approx(max(finite), rel=1e-4)


def coefficient(model):
    return model.coef_[0, 0]


BAD = {
    "unknown name": (("speed",), {}, "'speed' is not a coefficient"),
    "negative number": ((-1,), {}, "target must be an integer"),
    "number too large": ((4,), {}, "coefficient 4"),
    "another output": (((1, "am"),), {}, "output 1"),
    "k of zero": (("am",), {"k": 0}, "k must be an integer"),
    "k of all rows": (("am",), {"k": 32}, "less than the number"),
    "half a row": (("am",), {"k": 1.5}, "k must be an integer"),
    "no fraction": (("am",), {"fraction": 0.0}, "fraction must lie"),
    "all": (("am",), {"fraction": 1.0}, "fraction must lie"),
    "both": (("am",), {"fraction": 0.1, "k": 3}, "not both"),
    "neither": (("am",), {"direction": "decrease"}, "needs the number"),
    "direction": (("am",), {"direction": "sideways"}, "direction must be"),
    "two rows": ((np.ones((2, 4)),), {}, "one row"),
    "nothing": ((None,), {}, "a coefficient .its name"),
    "half a number": ((1.5,), {}, "a row of X"),
    "flipped loss": (((np.ones((2, 4)), [1.0, 2.0]),), {}, "no sign"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_bad_questions_are_refused(cars, name):
    target, options, message = BAD[name]
    with pytest.raises(InvalidParameterError, match=message) as error:
        cars.influential_set(*target, **options)
    assert isinstance(error.value, ValueError)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_rows_of_another_width_are_refused(cars):
    with pytest.raises(InvalidDataError):
        cars.influential_set(np.ones((1, 3)))


def test_several_outputs_have_to_be_told_apart():
    data = load("two targets")
    explainer = InfluenceExplainer(Ridge()).fit(data.X, data.y)
    for target in (0, data.X_test[:1]):
        with pytest.raises(InvalidParameterError, match="2 outputs"):
            explainer.influential_set(target)


def test_an_intercept_that_is_not_there_is_refused():
    data = load("one target")
    explainer = InfluenceExplainer(Ridge(fit_intercept=False)).fit(data.X, data.y)
    with pytest.raises(InvalidParameterError, match="intercept"):
        explainer.influential_set("intercept")


def test_zero_has_no_sign():
    data = load("one target")
    explainer = InfluenceExplainer(ElasticNet(alpha=2.0)).fit(data.X, data.y)
    (zeros,) = np.nonzero(explainer.estimator_.coef_ == 0)
    with pytest.raises(InvalidParameterError, match="0 already"):
        explainer.influential_set(int(zeros[0]))


def test_mean_form_models_are_searched():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3))
    y = rng.poisson(np.exp(0.1 * X[:, 0] + 0.5 * X[:, 1])).astype(float)
    model = PoissonRegressor(alpha=0.01, solver="newton-cholesky", **TIGHT)
    explainer = InfluenceExplainer(model, deletion="exact").fit(X, y)
    found = explainer.influential_set(0)
    assert found.flipped
    truth = refit_value(model, X, y, found.rows, lambda m: m.coef_[0])
    assert found.achieved == pytest.approx(truth, abs=1e-7)
