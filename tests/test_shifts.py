"""A softmax with a penalty, one column in another unit: shifts of all classes alike.

The penalty alone holds them, and it is tiny against the curvature of a large column.
"""

import warnings
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import reference
from objectives import SETTINGS, build
from reference import relative_error
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from skinfluence import InfluenceExplainer
from skinfluence._penalty import Penalty
from skinfluence.curvature import RowwiseCurvature
from skinfluence.solvers import Cholesky, ConjugateGradient

N, K, UNIT = 40, 3, 1e6
ROWS, GROUP = [0, 7, 19], [3, 4, 5]


@cache
def rows(seed=0):
    """Rows of unit scale, and their classes."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, K))
    u = X.sum(axis=1)
    y = np.argmax(np.c_[u, -u, 0 * u] + rng.gumbel(size=(N, K)), axis=1)
    return X, y


def in_unit(X, unit):
    """The first column in another unit."""
    return X * [unit, 1.0, 1.0]


def problem(unit, C=1.0, weight=None, intercept=True):
    """The judge's, in coordinates of unit scale, where the penalty shrinks instead."""
    X, y = rows()
    ridge = np.full((K, 3 + intercept), 1 / C)
    ridge[:, 0] /= unit**2
    ridge[:, 3:] = 0.0
    weight = np.ones(N) if weight is None else weight
    return reference.Problem(X, np.eye(K)[y], weight, "multinomial", ridge, intercept)


def refitted_delta(judged, gone, unit):
    """Change of the coefficients when rows leave, (K, 3), in the column's own unit."""
    theta = reference.minimise(judged)
    weight = np.where(np.isin(np.arange(N), gone), 0, judged.weight)
    delta = reference.minimise(replace(judged, weight=weight), theta) - theta
    delta = delta[:, :3] / [unit, 1, 1]
    return delta - delta.mean(axis=0)  # which is zero, but for the judge's rounding


def explained(unit, store=lambda X: X, C=1.0, weight=None, intercept=True, **options):
    X, y = rows()
    model = LogisticRegression(C=C, fit_intercept=intercept).fit(X, y)
    # No optimiser gets there in such a unit: the judge's minimum.
    theta = reference.minimise(problem(unit, C, weight, intercept))
    model.coef_ = theta[:, :3] / [unit, 1.0, 1.0]
    model.intercept_ = theta[:, 3] if intercept else model.intercept_
    explainer = InfluenceExplainer(model, **options)
    return explainer.fit(store(in_unit(X, unit)), y, sample_weight=weight)


def group_deltas(explainer, groups):
    """Of the coefficients, (groups, K, 3)."""
    study = explainer._study
    objective, members = study.objective, [np.array(group) for group in groups]
    theta = study.deletion(len(groups)).group_deltas(members).theta
    return objective.design.to_estimator(objective.layout.unpack(theta))[0]


def sums_over_classes(coef):
    """Largest sum over the classes, against the largest delta of its column."""
    return (np.abs(coef.sum(axis=1)) / np.abs(coef).max(axis=(0, 1))).max()


@pytest.mark.parametrize("solver", ["direct", "dual", "cg"])
@pytest.mark.parametrize("unit", [1e4, 1e6])
def test_deltas_are_those_of_refits_in_any_unit(solver, unit):
    truth = [refitted_delta(problem(unit), [row], unit) for row in ROWS]
    for deletion, limit in (("newton", 0.2), ("halley", 1e-2), ("exact", 1e-8)):
        explainer = explained(unit, deletion=deletion, solver=solver)
        coef = explainer.loo_params(rows=ROWS).coef
        assert sums_over_classes(coef) < 1e-14
        for j in range(3):  # each column in its own unit
            assert relative_error(coef[..., j], np.array(truth)[..., j]) < limit


@pytest.mark.filterwarnings("ignore::skinfluence.exceptions.NotConvergedWarning")
@pytest.mark.parametrize("deletion", ["jackknife", "newton", "halley", "exact"])
def test_no_answer_moves_all_classes_alike(deletion):
    explainer = explained(UNIT, deletion=deletion)
    assert sums_over_classes(explainer.param_influence().coef) < 1e-14
    assert sums_over_classes(explainer.loo_params().coef) < 1e-14
    # By a system of its rows, and by a factor.
    assert sums_over_classes(group_deltas(explainer, [GROUP, range(20)])) < 1e-14


def test_groups_are_those_of_refits():
    coef = group_deltas(explained(UNIT, deletion="exact"), [GROUP])[0]
    truth = refitted_delta(problem(UNIT), GROUP, UNIT)
    for j in range(3):
        assert relative_error(coef[:, j], truth[:, j]) < 1e-8


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("C", [1e-6, 1.0, 1e8])
def test_any_penalty_and_weights(C, intercept, weighted):
    weight = np.random.default_rng(2).uniform(0.3, 3.0, N) if weighted else None
    options = {"C": C, "weight": weight, "intercept": intercept}
    coef = explained(UNIT, deletion="exact", **options).loo_params(rows=ROWS).coef
    assert sums_over_classes(coef) < 1e-13
    judged = problem(UNIT, **options)
    truth = np.array([refitted_delta(judged, [row], UNIT) for row in ROWS])
    for j in range(3):
        assert relative_error(coef[..., j], truth[..., j]) < 1e-6


@pytest.mark.parametrize(
    "store", [sparse.csr_array, lambda X: X.astype(np.float32)], ids=["CSR", "float32"]
)
def test_stores_of_rows_agree(store):
    truth = explained(UNIT, deletion="exact").loo_params(rows=ROWS).coef
    coef = explained(UNIT, store, deletion="exact").loo_params(rows=ROWS).coef
    assert sums_over_classes(coef) < 1e-13
    assert relative_error(coef[..., 0], truth[..., 0]) < 1e-4


def test_many_rows_of_a_weak_penalty_keep_their_gram_matrix(monkeypatch):
    """Rows in the millions do, and so do few rows of large weight."""
    X, y = rows()
    model = LogisticRegression(C=1e3, tol=1e-8, max_iter=1000)
    weight = np.full(N, 1e6)
    model.fit(X, y, sample_weight=weight)

    def refuse(self):
        raise AssertionError("decomposed the rows")

    monkeypatch.setattr(RowwiseCurvature, "upper_root", refuse)
    explainer = InfluenceExplainer(model).fit(X, y, sample_weight=weight)
    assert explainer.condition_ < 100
    assert np.isfinite(explainer.loo_params().coef).all()


# --- the factor ---


def lopsided(damping=0.0):
    """A softmax that is penalised alike in some columns, unlike in the others."""
    objective, theta, _ = build(SETTINGS["softmax"])
    strength = objective.layout.unpack(objective.penalty.strength).copy()
    strength[0, 0] = 2.0  # unlike: no shift
    strength[:, 1] = 1e-3
    strength[:, 2] = 0.0
    penalty = Penalty(strength.reshape(1, -1), share=1e-3)
    return RowwiseCurvature(replace(objective, penalty=penalty), theta, damping)


@pytest.mark.parametrize("solver", [Cholesky(), ConjugateGradient(tol=1e-13)], ids=repr)
@pytest.mark.parametrize("damping", [0.0, 1e-3])
def test_columns_have_shifts_of_their_own(solver, damping):
    """Shared penalties hold them, nothing does, and one column has none."""
    curvature = lopsided(damping)
    H = curvature.as_matrix()[0]
    factor, shifts = solver.prepare(curvature), curvature.shifts
    assert shifts.count == 4
    assert shifts.n_held == 2 + 2 * (damping > 0)
    v = np.random.default_rng(0).normal(size=(1, len(H), 4))
    along = shifts.part(v)
    eigenvalues = np.tile(shifts.strength[0], K)[:, None]
    np.testing.assert_allclose(H @ along[0], eigenvalues * along[0], atol=1e-13)
    value = factor.solve(curvature.within(H @ v)).value
    assert relative_error(H @ value, H @ v) < 1e-9
    assert relative_error(shifts.part(value), shifts.part(curvature.within(v))) < 1e-6
    rhs = np.moveaxis(H @ v, 2, 0)
    steps = factor.loss_steps(rhs)
    assert relative_error(np.moveaxis(steps, 0, 2), shifts.without(value)) < 1e-9
    assert (
        relative_error(
            factor.norm(curvature.within(H @ v)) ** 2, np.sum(v * (H @ v), axis=(0, 1))
        )
        < 1e-9
    )


def test_influences_on_a_class_do_not_divide_the_rounding_of_shifts():
    """Solving for what all classes share, and then leaving it out, left its rounding."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 3))
    X[:, 1:] = X[:, :1] + 1e-4 * X[:, 1:]
    y = np.arange(30) % 3
    X = X * [1.0, 2.0**13, 2.0**19]
    model = LogisticRegression(C=1e6, max_iter=50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        explainer = InfluenceExplainer(model.fit(X, y)).fit(X, y)
    params = explainer.param_influence()
    moves = np.einsum("nkp,mp->mnk", params.coef, X[:5]) + params.intercept
    chosen = np.argmax(explainer.decision_function(X[:5]), axis=1)
    truth = moves[np.arange(5), :, chosen]
    found = explainer.influence(X[:5], on="decision")
    assert relative_error(found, truth) < 1e-4
