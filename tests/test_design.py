"""Rows of X in working coordinates, the way back, and the passes over blocks of rows."""

import numpy as np
import pytest
from objectives import STORES
from scipy import sparse

from skinfluence._design import Design
from skinfluence._rows import iterate, map_over_rows, row_blocks, sum_over_rows
from skinfluence._sources import source_of

N, P, K = 30, 5, 2


def X_of():
    return np.random.default_rng(0).normal(size=(N, P)) + np.arange(P)


def weight_of():
    weight = np.random.default_rng(1).uniform(0.5, 2.0, N)
    weight[4] = 0.0
    return weight


def design_of(store="C order", intercept=True, columns=None, X=None):
    X = STORES[store](X_of() if X is None else X)
    source = source_of(X).with_columns(columns)
    design = Design(source, np.zeros(source.width), intercept)
    return design.centred_by(weight_of()) if intercept else design


def by_hand(intercept, columns):
    """Centred columns and ones, written out."""
    X = X_of() if columns is None else X_of()[:, columns]
    if not intercept:
        return X
    centre = weight_of() @ X / weight_of().sum()
    return np.column_stack([X - centre, np.ones(N)])


every_store = pytest.mark.parametrize("store", STORES)
with_and_without = pytest.mark.parametrize("intercept", [True, False])
all_or_some = pytest.mark.parametrize(
    "columns", [None, np.array([1, 4])], ids=["all columns", "columns 1 and 4"]
)


@every_store
@with_and_without
@all_or_some
@pytest.mark.parametrize(
    "rows", [slice(3, 9), np.array([7, 0, 7])], ids=["slice", "indices"]
)
def test_block_is_the_rows_written_out(store, intercept, columns, rows):
    design = design_of(store, intercept, columns)
    truth = by_hand(intercept, columns)[rows]
    block = design.block(rows)
    np.testing.assert_allclose(block, truth, rtol=1e-13, atol=1e-13)
    assert block.shape[1] == design.width


@with_and_without
def test_block_is_float64_whatever_X_is(intercept):
    X = X_of().astype(np.float32)
    block = design_of(intercept=intercept, X=X).block(slice(0, 4))
    exact = design_of(intercept=intercept, X=X.astype(float)).block(slice(0, 4))
    assert block.dtype == np.float64
    np.testing.assert_allclose(block, exact, atol=1e-14)


def test_block_uses_the_scratch_it_is_given():
    design = design_of()
    scratch = np.empty((8, design.width))
    block = design.block(slice(2, 7), scratch)
    assert np.shares_memory(block, scratch)
    np.testing.assert_array_equal(block, design.block(slice(2, 7)))


@every_store
def test_X_itself_is_never_copied_or_changed(store):
    design = design_of(store)
    before = design.source.on_host().copy()
    design.block(slice(0, N))
    other = design.centred_by(np.ones(N))
    assert other.source is design.source
    assert abs(design.source.on_host() - before).max() == 0


@every_store
def test_centre_is_the_weighted_mean(store):
    truth = weight_of() @ X_of() / weight_of().sum()
    np.testing.assert_allclose(design_of(store).centre, truth, rtol=1e-14)


def test_centre_of_rows_without_any_weight_is_their_plain_mean():
    found = source_of(X_of()).weighted_mean(np.zeros(N))
    np.testing.assert_allclose(found, X_of().mean(axis=0), rtol=1e-14)


def test_other_rows_stand_in_the_same_coordinates():
    design = design_of()
    other = design.of(X_of()[:4] + 1.0)
    shift = other.block(slice(0, 4)) - design.block(slice(0, 4))
    np.testing.assert_allclose(shift[:, :-1], 1.0, rtol=1e-13)
    np.testing.assert_array_equal(shift[:, -1], 0.0)


# --- parameters there and back ---


def parameters(intercept, columns):
    rng = np.random.default_rng(2)
    coef = rng.normal(size=(K, P))
    if columns is not None:
        coef[:, np.setdiff1d(np.arange(P), columns)] = 0.0
    return coef, rng.normal(size=K) * intercept


@with_and_without
@all_or_some
def test_to_estimator_undoes_to_working(intercept, columns):
    design = design_of(intercept=intercept, columns=columns)
    coef, b = parameters(intercept, columns)
    found_coef, found_b = design.to_estimator(design.to_working(coef, b).T)
    np.testing.assert_allclose(found_coef, coef, rtol=1e-13)
    np.testing.assert_allclose(found_b, b, atol=1e-13)


@with_and_without
@all_or_some
def test_working_parameters_predict_as_those_of_the_estimator(intercept, columns):
    design = design_of(intercept=intercept, columns=columns)
    coef, b = parameters(intercept, columns)
    found = design.block(slice(0, N)) @ design.to_working(coef, b)
    np.testing.assert_allclose(found, X_of() @ coef.T + b, rtol=1e-12)


def test_many_parameters_go_back_at_once():
    design = design_of(columns=np.array([1, 4]))
    B = np.random.default_rng(3).normal(size=(6, K, design.width))
    coef, b = design.to_estimator(B)
    one_coef, one_b = design.to_estimator(B[2])
    np.testing.assert_array_equal(coef[2], one_coef)
    np.testing.assert_array_equal(b[2], one_b)
    assert coef.shape == (6, K, P)


# --- passes over the rows ---


@pytest.mark.parametrize("n_rows", [1, 255, 256, 10_000])
@pytest.mark.parametrize("width", [1, 50, 10_000])
def test_row_blocks_cover_each_row_once(n_rows, width):
    blocks = row_blocks(n_rows, width)
    covered = np.concatenate([np.arange(n_rows)[block] for block in blocks])
    np.testing.assert_array_equal(covered, np.arange(n_rows))
    assert blocks[-1].stop == n_rows


def long_design(n=3000, p=60):
    """Rows of several blocks, the last one shorter."""
    X = np.random.default_rng(0).normal(size=(n, p))
    assert len(row_blocks(n, p + 1)) > 2
    return Design(source_of(X), X.mean(axis=0), True)


def test_sum_over_rows_is_the_sum_over_all_rows():
    design, weight = long_design(), np.arange(3000.0)
    found = sum_over_rows(
        lambda total, block, s: total + s @ block, np.zeros(61), design, weight
    )
    truth = weight @ np.column_stack(
        [design.source.on_host() - design.centre, np.ones(3000)]
    )
    np.testing.assert_allclose(found, truth, rtol=1e-9, atol=1e-6)


def test_map_over_rows_keeps_the_order_of_rows():
    design, number = long_design(), np.arange(3000.0)
    first, second = map_over_rows(lambda block, s: (block[:, 0] + s, s), design, number)
    np.testing.assert_array_equal(second, number)
    truth = design.source.on_host()[:, 0] - design.centre[0] + number
    np.testing.assert_allclose(first, truth, rtol=1e-13)


def test_blocks_of_sparse_rows_are_dense_one_at_a_time():
    rng = np.random.default_rng(0)
    kept = rng.random((3000, 60)) < 0.02
    X = sparse.coo_array(np.where(kept, rng.random((3000, 60)), 0.0))
    design = Design(source_of(X), np.zeros(60), True)
    for rows, (block,) in iterate(design):
        np.testing.assert_array_equal(block[:, :-1], X.toarray()[rows])


def test_the_centre_of_many_rows_is_near_their_mean():
    """Evenly spaced rows are enough, also where few have weight."""
    X = np.random.default_rng(2).normal(loc=[0.0, 5.0], size=(70_000, 2))
    weight = np.ones(len(X))
    near = source_of(X).weighted_mean(weight)
    np.testing.assert_allclose(near, X.mean(axis=0), atol=0.05)
    weight[:] = 0.0
    weight[1::100] = 1.0  # none of the rows that are read
    weight[::4] = 0.0
    truth = X[weight > 0].mean(axis=0)
    np.testing.assert_allclose(source_of(X).weighted_mean(weight), truth, rtol=1e-12)
