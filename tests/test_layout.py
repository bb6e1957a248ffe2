"""Parameters as flat vectors: there and back, and the directions nobody sees."""

from dataclasses import replace

import numpy as np
import pytest
from objectives import SETTINGS, build

from skinfluence._array import to_numpy
from skinfluence._layout import Layout, Selection, gauge_basis
from skinfluence._penalty import Corners

SHAPES = [(4, 1, 1), (4, 3, 1), (4, 1, 3), (3, 2, 2), (1, 1, 5)]
every_layout = pytest.mark.parametrize(
    "layout", [Layout(*shape) for shape in SHAPES], ids=str
)


def parameters(layout):
    rng = np.random.default_rng(0)
    return rng.normal(size=(layout.width, layout.n_outputs))


@every_layout
def test_unpack_undoes_pack(layout):
    B = parameters(layout)
    theta = layout.pack(B)
    assert theta.shape == (layout.n_groups, layout.size)
    np.testing.assert_array_equal(layout.unpack(theta), B.T)


@every_layout
def test_unpack_keeps_leading_axes(layout):
    theta = layout.pack(parameters(layout))
    many = np.stack([theta, 2 * theta])
    np.testing.assert_array_equal(layout.unpack(many)[1], layout.unpack(2 * theta))


@every_layout
def test_vectors_side_by_side_multiply_rows_as_the_parameters_do(layout):
    B = parameters(layout)
    block = np.random.default_rng(1).normal(size=(7, layout.width))
    vectors = np.stack([layout.pack(B), layout.pack(3 * B)], axis=-1)  # (G, D, 2)
    found = (block @ layout.side_by_side(vectors)).reshape(7, layout.n_outputs, 2)
    np.testing.assert_allclose(found[..., 0], block @ B, atol=1e-13)
    np.testing.assert_allclose(found[..., 1], block @ (3 * B), atol=1e-13)


@every_layout
def test_stacked_undoes_side_by_side(layout):
    shape = (layout.n_groups, layout.size, 3)
    vectors = np.random.default_rng(1).normal(size=shape)
    found = layout.stacked(layout.side_by_side(vectors).T)
    np.testing.assert_array_equal(found, vectors)


@every_layout
def test_ungrouped_undoes_grouped(layout):
    u = np.random.default_rng(0).normal(size=(7, 2, layout.n_outputs))
    grouped = layout.grouped(u)
    assert grouped.shape == (7, 2, layout.n_groups, layout.group_size)
    np.testing.assert_array_equal(layout.ungrouped(grouped), u)


@every_layout
def test_lifted_rows_pair_with_theta_as_outputs_do(layout):
    """``<X~_i' c_i, theta> = <c_i, X~_i theta>``: lifting is the transpose of reading."""
    B, rng = parameters(layout), np.random.default_rng(1)
    block = rng.normal(size=(7, layout.width))
    c = rng.normal(size=(7, layout.n_outputs))
    lifted = layout.lifted(block, layout.grouped(c))
    found = np.sum(lifted * layout.pack(B), axis=(1, 2))
    np.testing.assert_allclose(found, np.sum(c * (block @ B), axis=1), rtol=1e-12)


@pytest.mark.parametrize("n_vectors", [1, 9])  # fewer and more than columns
@every_layout
def test_effects_are_products_with_lifted_rows(layout, n_vectors):
    rng = np.random.default_rng(2)
    block = rng.normal(size=(7, layout.width))
    c = layout.grouped(rng.normal(size=(7, layout.n_outputs)))
    vectors = rng.normal(size=(n_vectors, layout.n_groups, layout.size))
    truth = np.einsum("mgd,bgd->mb", vectors, layout.lifted(block, c))
    np.testing.assert_allclose(layout.effects(block, c, vectors), truth, atol=1e-12)


@every_layout
def test_selected_columns_come_and_go_in_each_output(layout):
    columns = np.arange(layout.width)[::2]
    selection = Selection(layout, columns)
    shape = (2, layout.n_groups, layout.group_size, layout.width)
    wide = np.random.default_rng(3).normal(size=shape)
    flat = wide.reshape(*shape[:2], -1)
    narrow = selection.picked(flat)
    np.testing.assert_array_equal(narrow, wide[..., columns].reshape(*shape[:2], -1))
    kept = np.where(np.isin(np.arange(layout.width), columns), wide, 0.0)
    np.testing.assert_array_equal(selection.spread(narrow), kept.reshape(flat.shape))


@pytest.mark.parametrize("library", ["numpy", "array_api_strict"])
def test_columns_off_zero_and_those_without_a_corner_are_active(library):
    xp = pytest.importorskip(library)
    objective, theta, _ = build(SETTINGS["softmax"], xp)
    at = np.zeros((3, objective.layout.width))
    at[1, [0, 2]] = 1.0
    up = np.ones_like(at)
    up[:, 3] = up[:, -1] = 0.0
    up, theta = (xp.asarray(part.reshape(1, -1)) for part in (up, at))
    penalty = replace(objective.penalty, corners=Corners(up, up))
    narrow, there = replace(objective, penalty=penalty).narrowed(theta)
    free = at != 0
    free[:, 3] = free[:, -1] = True
    columns = [0, 2, 3, 4]
    np.testing.assert_array_equal(to_numpy(narrow.selection.columns), columns)
    np.testing.assert_array_equal(to_numpy(there), at[:, columns].reshape(1, -1))
    np.testing.assert_array_equal(
        to_numpy(narrow.free), free[:, columns].reshape(1, -1)
    )


# --- the gauge ---


def penalty_of(layout, penalised):
    """One group; the working columns in ``penalised`` have a penalty in each output."""
    strength = np.zeros((layout.group_size, layout.width))
    strength[:, penalised] = 2.0
    return strength.reshape(1, -1)


@pytest.mark.parametrize("penalised", [[], [0, 1, 2], [1, 3]], ids=str)
def test_gauge_is_the_null_space_of_the_softmax_curvature(penalised):
    objective, theta, _ = build(SETTINGS["softmax, no penalty"])
    layout = objective.layout
    penalty = penalty_of(layout, penalised)
    block, u = objective.design.block(slice(None)), objective.outputs(theta)
    M = objective.loss.hessian(objective.targets, u)[:, 0]  # (n, K, K)
    M = objective.weight[:, None, None] * M
    H = np.einsum("nkl,ni,nj->kilj", M, block, block).reshape(layout.size, layout.size)
    values, vectors = np.linalg.eigh(H + np.diag(penalty[0]))
    null = vectors[:, values < 1e-10 * values[-1]]
    gauge = gauge_basis(penalty, layout, True)
    assert gauge.shape == null.shape
    assert gauge.shape[1] == layout.width - len(penalised)
    np.testing.assert_allclose(gauge @ gauge.T, null @ null.T, atol=1e-10)


def test_gauge_is_orthonormal():
    layout = Layout(4, 1, 3)
    gauge = gauge_basis(penalty_of(layout, [1]), layout, True)
    np.testing.assert_allclose(gauge.T @ gauge, np.eye(3), atol=1e-14)


def test_a_column_penalised_in_one_output_has_no_gauge():
    layout = Layout(4, 1, 3)
    penalty = np.zeros((1, 12))
    penalty[0, 2] = 1.0  # feature 2 of the first output
    assert gauge_basis(penalty, layout, True).shape[1] == 3


def test_a_column_held_in_one_output_has_no_gauge():
    layout, free = Layout(4, 1, 3), np.ones((1, 12), dtype=bool)
    free[0, 2] = False
    assert gauge_basis(np.zeros((1, 12)), layout, True, free).shape[1] == 3


@pytest.mark.parametrize("shift_invariant", [True, False])
def test_no_gauge_where_all_is_penalised_or_the_loss_sees_shifts(shift_invariant):
    layout = Layout(4, 1, 3)
    penalised = range(4) if shift_invariant else []
    penalty = penalty_of(layout, list(penalised))
    assert gauge_basis(penalty, layout, shift_invariant) is None
