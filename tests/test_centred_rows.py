"""Rows centred by formula: the numbers of rows centred one by one, or none at all."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from skinfluence import InfluenceExplainer
from skinfluence._design import Design
from skinfluence._kernels import ShiftedRows, _blas, _shifted, squared_columns
from skinfluence._kernels._shifted import ShiftedGrams
from skinfluence._sources import source_of

RNG = np.random.default_rng(0)
X = RNG.normal(loc=[0, 1, -1, 2, 0.5, 0], size=(3000, 6))
CENTRE = X.mean(axis=0)
DESIGN = Design(source_of(X), CENTRE, True)
ROWS = ShiftedRows(X, CENTRE, True)
DENSE = DESIGN.block(slice(0, len(X)))


def close(found, truth, rtol=1e-12):
    np.testing.assert_allclose(found, truth, rtol=rtol, atol=rtol * np.abs(truth).max())


def test_products_from_both_sides_are_those_of_dense_rows():
    right, left = RNG.normal(size=(7, 3)), RNG.normal(size=(2, len(X)))
    close(ROWS @ right, DENSE @ right)
    close(left @ ROWS, left @ DENSE)
    close(ROWS.dense(), DENSE)
    close(ROWS[5:9].dense(), DENSE[5:9])


@pytest.mark.parametrize("low", [-1.0, 0.1])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_grams_are_those_of_dense_rows(low, sign):
    weights = sign * RNG.uniform(low, 1.0, size=(len(X), 2))
    grams = ShiftedGrams.empty(2, CENTRE)
    for part in (slice(0, 2500), slice(2500, 2501), slice(2501, len(X))):
        grams.add(ROWS[part], weights[part])
    truth = np.einsum("it,ia,ib->tab", weights, DENSE, DENSE)
    close(np.stack(grams.finished()), truth)


@pytest.mark.parametrize("shift", [0.0, 1e5])
def test_leverages_keep_their_digits_wherever_the_centre_is(shift):
    moved = ShiftedRows(X + shift, CENTRE + shift, True)
    T = np.triu(RNG.normal(size=(7, 7)))
    norms = moved.squared_row_norms(T, triangular=True)
    close(norms, np.sum((moved.dense() @ T) ** 2, axis=1), rtol=1e-13)
    full = moved.squared_row_norms(T.T, triangular=False)
    close(full, np.sum((moved.dense() @ T.T) ** 2, axis=1), rtol=1e-13)


def test_columns_far_from_zero_are_centred_one_by_one():
    assert isinstance(DESIGN.for_products.block(slice(0, 3)), ShiftedRows)
    far = Design(source_of(X + 1e3), CENTRE + 1e3, True)
    assert far.for_products is far
    plain = Design(source_of(X), 0 * CENTRE, False)
    assert plain.for_products is plain
    nothing = DESIGN.with_columns(np.arange(0))
    assert nothing.for_products is nothing


def test_curvature_in_one_spot_is_centred_one_by_one():
    """Few rows with weight, all at one spot: the sample of the rows does not show it."""
    weights = np.zeros((len(X), 1))
    weights[:50] = 1.0
    spot = X.copy()
    spot[:50] = CENTRE + 3.0 + 1e-4 * RNG.normal(size=(50, 6))
    rows = ShiftedRows(spot, CENTRE + 3.0, True)
    grams = ShiftedGrams.empty(1, rows.centre)
    grams.add(rows, weights)
    assert not grams.exact
    y = spot @ np.ones(6) + RNG.normal(size=len(X))
    model = Ridge(alpha=1e-12).fit(spot, y, sample_weight=weights[:, 0])
    point = InfluenceExplainer(model).fit(spot, y, weights[:, 0])._study.point
    objective = point.objective
    design = replace(objective.design, centre=rows.centre)
    curvature = replace(point.curvature, objective=replace(objective, design=design))
    block = design.block(slice(0, 50))
    truth = block.T @ block + np.diag(curvature.diagonal_part[0])
    found = curvature.as_matrix()[0]
    close(found[:-1, :-1], truth[:-1, :-1], rtol=1e-9)


def test_an_audit_is_the_same_by_formula_and_one_by_one():
    """The columns, and the columns moved so far that they are centred one by one."""
    y = (X @ np.ones(6) + RNG.logistic(size=len(X)) > 3).astype(int)
    outputs = [
        InfluenceExplainer(LogisticRegression(solver="newton-cholesky"))
        .fit(X + shift, y)
        .loo_predict(method="decision_function")
        for shift in (0.0, 100.0)
    ]
    close(outputs[0], outputs[1], rtol=1e-7)


@pytest.mark.parametrize("at_once", [1, 64, 2**17])
def test_squared_columns_are_those_of_dense_rows(monkeypatch, at_once):
    monkeypatch.setattr(_shifted, "_SQUARED", at_once)
    weights = RNG.normal(size=(len(X), 2))
    found = squared_columns(ROWS, weights)
    close(found, weights.T @ DENSE**2)


def test_products_of_many_columns_or_rows_are_made_by_blocks(monkeypatch):
    wide = np.ascontiguousarray(RNG.normal(size=(30, 50)))
    total = np.asfortranarray(RNG.normal(size=(50, 50)))
    before = total.copy()
    monkeypatch.setattr(_blas, "MOST_WHOLE", 20)
    monkeypatch.setattr(_blas, "BLOCK", 16)
    monkeypatch.setattr(_blas, "_routine", None)  # not called
    _blas.add_own_product(total, wide, -1.0)
    close(np.triu(total), np.triu(before - wide.T @ wide))
    close(_blas.products_of_rows(wide), wide @ wide.T)
