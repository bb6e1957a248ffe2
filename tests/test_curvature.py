"""The curvature as an operator, as a matrix, and as the rows of a root."""

from dataclasses import replace

import numpy as np
import pytest
import reference
from objectives import SETTINGS, STORES, build, judged

from skinfluence import _rows
from skinfluence._sources import _sizes
from skinfluence.curvature import RowwiseCurvature
from skinfluence.solvers import Cholesky, _cholesky

every_setting = pytest.mark.parametrize("name", SETTINGS)


def curvature_of(name, damping=0.0, **options):
    objective, theta, _ = build(SETTINGS[name], **options)
    return RowwiseCurvature(objective, theta, damping)


def dense(curvature):
    """H of all groups as one matrix, (G D, G D)."""
    H = curvature.as_matrix()
    G, D = curvature.objective.layout.n_groups, curvature.size
    full = np.zeros((G, D, G, D))
    for g in range(G):
        full[g, :, g, :] = H[min(g, len(H) - 1)]
    return full.reshape(G * D, G * D)


def moving_entries(curvature):
    """Of H as one matrix, (G D,) bool."""
    moving = True if curvature.moving is None else curvature.moving
    return np.broadcast_to(moving, curvature.theta.shape).ravel()


def close(found, truth, limit=1e-10):
    assert reference.relative_error(found, truth) < limit


def vectors_of(curvature, m=3):
    shape = (curvature.objective.layout.n_groups, curvature.size, m)
    return np.random.default_rng(5).normal(size=shape)


@every_setting
@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_matrix_is_the_definition(name, damping):
    """``sum_i s_i X~_i' M_i X~_i + penalty'' + damping S``, each factor once."""
    problem, B = judged(SETTINGS[name])
    truth = reference.curvature(problem, B)
    truth = truth + damping * problem.weight.sum() * np.eye(len(truth))
    curvature = curvature_of(name, damping)
    moving = moving_entries(curvature)
    close(dense(curvature), truth * moving[:, None] * moving)


@every_setting
@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_product_is_that_of_the_matrix(name, damping):
    curvature = curvature_of(name, damping)
    v = vectors_of(curvature)
    truth = dense(curvature) @ v.reshape(-1, v.shape[-1])
    found = curvature.matvec(v).reshape(truth.shape)
    close(found, truth)


@every_setting
@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_squared_root_is_the_matrix(name, damping):
    curvature = curvature_of(name, damping)
    R = curvature.upper_root()
    assert np.array_equal(R, np.triu(R))
    H = np.broadcast_to(curvature.as_matrix(), R.shape)
    found = np.swapaxes(R, 1, 2) @ R
    close(found, H)


@every_setting
@pytest.mark.parametrize("store", STORES)
def test_storage_of_X_does_not_matter(name, store):
    truth = curvature_of(name)
    found = curvature_of(name, store=STORES[store])
    v = vectors_of(truth)
    close(found.as_matrix(), truth.as_matrix())
    close(found.matvec(v), truth.matvec(v))


@every_setting
def test_blocks_of_rows_do_not_matter(name, monkeypatch):
    whole, v = curvature_of(name), vectors_of(curvature_of(name))
    expected = whole.as_matrix(), whole.matvec(v)
    gradient, root = whole.first_order.gradient, np.abs(whole.upper_root())
    monkeypatch.setattr(_sizes, "_MOST_ENTRIES", 7 * 4)
    monkeypatch.setattr(_sizes, "_MOST_PLAIN_ROWS", 7)
    cut = curvature_of(name)
    assert len(_rows.row_blocks(cut.objective.n_rows, cut.size)) > 7
    close(cut.as_matrix(), expected[0])
    close(cut.matvec(v), expected[1])
    close(cut.first_order.gradient, gradient)
    close(np.abs(cut.upper_root()), root)


@every_setting
def test_gradient_is_the_definition(name):
    problem, B = judged(SETTINGS[name])
    truth = reference.gradient(problem, B)
    objective, theta, _ = build(SETTINGS[name])
    found = objective.first_order(theta)
    close(found.gradient.ravel(), truth)
    value = objective.value(theta, found.outputs)
    assert value == pytest.approx(reference.objective(problem, B), rel=1e-12)


@every_setting
def test_forming_the_matrix_leaves_the_first_derivatives_behind(name):
    """One pass over X gives both, and they are those of a pass of their own."""
    curvature = curvature_of(name)
    curvature.as_matrix()
    found = curvature.first_order
    truth = curvature.objective.first_order(curvature.theta)
    close(found.gradient, truth.gradient)
    close(found.outputs, truth.outputs)


@every_setting
def test_without_a_row_it_weighs_nothing_and_takes_its_share_along(name):
    objective, theta, _ = build(SETTINGS[name])
    rest, row = objective.without(5), 5
    weight = objective.weight.copy()
    weight[row] = 0.0
    kept = 1 - objective.penalty.share * objective.weight[row]
    assert (kept < 1) == ("mean form" in name)
    truth = replace(
        objective,
        weight=weight,
        penalty=replace(
            objective.penalty, strength=kept * objective.penalty.strength, share=0.0
        ),
    )
    close(
        RowwiseCurvature(rest, theta).as_matrix(),
        RowwiseCurvature(truth, theta).as_matrix(),
    )


# --- its factor ---


@every_setting
def test_solutions_satisfy_their_equation(name):
    """On the free entries, and for right-hand sides that H can reach at all."""
    curvature = curvature_of(name)
    factor = Cholesky().prepare(curvature)
    free = curvature.objective.free
    v = vectors_of(curvature)
    v = v if free is None else v * free[..., None]
    rhs = curvature.matvec(v)
    rhs = rhs if free is None else rhs * free[..., None]
    found = factor.solve(rhs)
    assert np.all(found.converged)
    again = curvature.matvec(found.value)
    again = again if free is None else again * free[..., None]
    close(again, rhs)


@every_setting
def test_solutions_do_not_move_along_the_gauge(name):
    curvature = curvature_of(name)
    if curvature.gauge is not None:
        value = Cholesky().prepare(curvature).solve(vectors_of(curvature)).value
        along = np.matmul(curvature.gauge.T, value)
        assert np.abs(along).max() < 1e-13 * np.abs(value).max()


@every_setting
def test_held_entries_stay_where_they_are(name):
    curvature = curvature_of(name)
    if curvature.objective.free is not None:
        value = Cholesky().prepare(curvature).solve(vectors_of(curvature)).value
        assert not np.any(
            value[~np.broadcast_to(curvature.objective.free, value.shape[:2])]
        )


@every_setting
def test_norm_is_the_length_of_the_newton_step(name):
    curvature = curvature_of(name)
    factor = Cholesky().prepare(curvature)
    g = vectors_of(curvature)
    if curvature.gauge is not None:
        g = g - curvature.gauge @ np.matmul(curvature.gauge.T, g)
    truth = np.sqrt(np.sum(g * factor.solve(g).value, axis=(0, 1)))
    close(factor.norm(g), truth)


@pytest.mark.parametrize("formed", [False, True], ids=["root", "pairs"])
@every_setting
def test_row_blocks_of_the_inverse_are_the_definition(monkeypatch, name, formed):
    """``A_i = X~_i inv(H) X~_i'``, by one solve per row."""
    monkeypatch.setattr(_cholesky, "_ROWS_TO_FORM", 1000 * formed)
    curvature = curvature_of(name)
    factor, layout = Cholesky().prepare(curvature), curvature.objective.layout
    block = curvature.objective.design.block(slice(0, 6))
    found = factor.row_blocks_of_inverse(block)
    found = np.broadcast_to(found, (6, layout.n_groups, *found.shape[2:]))
    for k in range(layout.group_size):
        unit = np.zeros((6, layout.n_groups, layout.group_size))
        unit[:, :, k] = 1.0
        steps = factor.steps(layout.lifted(block, unit))  # (b, G, D)
        outputs = np.einsum("nkq,nq->nk", layout.unpack(steps), block)
        close(found[..., k], layout.grouped(outputs))


@pytest.mark.parametrize("name", ["binary, mean form", "softmax, mean form"])
def test_shares_of_the_penalty_are_taken_out_of_the_inverse(name):
    curvature = curvature_of(name)
    objective, layout = curvature.objective, curvature.objective.layout
    factor = Cholesky().prepare(curvature)
    block = objective.design.block(slice(0, 3))
    share = objective.penalty.share * objective.weight[:3]
    rows = layout.lifted(block, np.ones((3, 1, layout.group_size)))
    found = factor.steps(rows, share)
    for i in range(3):
        lean = replace(
            objective.penalty, strength=(1 - share[i]) * objective.penalty.strength
        )
        other = replace(curvature, objective=replace(objective, penalty=lean))
        truth = Cholesky().prepare(other).steps(rows[i : i + 1])
        close(found[i : i + 1], truth)


@every_setting
def test_nearly_dependent_columns_are_solved_from_the_rows(name):
    """The root from the rows solves what the matrix has lost, and else agrees."""
    objective, theta, _ = build(SETTINGS[name])
    X = objective.design.source.on_host().copy()
    X[:, 3] = X[:, 2] + 1e-6 * X[:, 3]
    objective = replace(objective, design=objective.design.of(X))
    curvature = RowwiseCurvature(objective, theta)
    factor = Cholesky().prepare(curvature)
    assert not factor.rank_deficient
    g = objective.first_order(theta).gradient
    g = g if objective.free is None else g * objective.free
    step = factor.solve(g[..., None]).value
    residual = curvature.matvec(step)[..., 0] - g
    residual = residual if objective.free is None else residual * objective.free
    assert np.abs(residual).max() < 1e-9 * np.abs(g).max()


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_seen_has_the_dimension_that_within_leaves(name):
    objective, theta, _ = build(SETTINGS[name])
    curvature = RowwiseCurvature(objective, theta)
    units = np.eye(theta.size).reshape(*theta.shape, theta.size)
    projector = curvature.within(units).reshape(theta.size, theta.size)
    assert curvature.n_seen == pytest.approx(np.trace(projector), rel=1e-12)
