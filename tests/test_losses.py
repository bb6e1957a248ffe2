"""Losses: derivatives against central differences, far out as well as near 0."""

import inspect

import cases
import numpy as np
import pytest

from skinfluence import losses
from skinfluence._array import to_numpy
from skinfluence.losses import AbstractLoss

N, STEP = 60, 1e-5

# Not a loss of its own: another one with its expected curvature in place of the exact.
WRAPPERS = {"ExpectedInformation"}
CLASSES = {
    name: value
    for name, value in vars(losses).items()
    if inspect.isclass(value) and issubclass(value, AbstractLoss)
    if not name.startswith("Abstract") and name not in WRAPPERS
}
LOSSES = [
    CLASSES[name](**options)
    for name, sample in cases.LOSS_SAMPLES.items()
    if name in CLASSES
    for options in sample.options
]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)


def points(loss, scale=2.0):
    """Valid targets (N, K_y) and outputs (N, K)."""
    rng, sample = np.random.default_rng(0), cases.sample_of(loss)
    y = sample.targets(rng, N)
    return y, sample.within(
        sample.scale * scale * rng.normal(size=(N, sample.n_outputs))
    )


def full_hessian(loss, y, u):
    """Second derivatives (N, K, K) from the blocks of the groups."""
    blocks = loss.hessian(y, u)
    K, groups = u.shape[1], loss.n_groups(u.shape[1])
    size = K // groups
    blocks = np.broadcast_to(blocks, (len(u), groups, size, size))
    full = np.zeros((len(u), groups, size, groups, size))
    for g in range(groups):
        full[:, g, :, g, :] = blocks[:, g]
    return full.reshape(len(u), K, K)


def full_third(loss, y, u):
    """Third derivatives (N, K, K, K) from the blocks of the groups."""
    K, groups = u.shape[1], loss.n_groups(u.shape[1])
    size = K // groups
    blocks = loss.third(y, u)
    assert blocks.shape == (len(u), groups, size, size, size)
    full = np.zeros((len(u), *3 * (groups, size)))
    for g in range(groups):
        full[:, g, :, g, :, g, :] = blocks[:, g]
    return full.reshape(len(u), K, K, K)


def slopes(function, u, step=STEP):
    """Central differences of ``function(u)`` in each output, stacked last."""
    columns = []
    for k in range(u.shape[1]):
        move = np.zeros(u.shape[1])
        move[k] = step
        columns.append((function(u + move) - function(u - move)) / (2 * step))
    return np.stack(columns, axis=-1)


def test_every_loss_has_a_sample():
    """A loss that is missing here is tested nowhere: add its line to cases.py."""
    assert set(CLASSES) == set(cases.LOSS_SAMPLES)


@every_loss
def test_gradient_is_the_slope_of_the_value(loss):
    y, u = points(loss)
    truth = slopes(lambda u: loss.value(y, u), u)
    np.testing.assert_allclose(loss.gradient(y, u), truth, rtol=1e-7, atol=1e-8)


@every_loss
def test_hessian_is_the_slope_of_the_gradient(loss):
    y, u = points(loss)
    truth = slopes(lambda u: loss.gradient(y, u), u)
    np.testing.assert_allclose(full_hessian(loss, y, u), truth, rtol=1e-7, atol=1e-8)


@every_loss
def test_hessian_product_is_that_of_the_hessian(loss):
    y, u = points(loss)
    moves = np.random.default_rng(1).normal(size=(N, u.shape[1], 3))
    truth = full_hessian(loss, y, u) @ moves
    found = loss.hessian_product(y, u, moves)
    np.testing.assert_allclose(found, truth, atol=1e-12 * np.abs(truth).max())


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss.has_third], ids=repr)
def test_third_is_the_slope_of_the_hessian(loss):
    y, u = points(loss)
    truth = slopes(lambda u: full_hessian(loss, y, u), u)
    np.testing.assert_allclose(full_third(loss, y, u), truth, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss.has_third], ids=repr)
def test_third_product_is_that_of_the_third_derivative(loss):
    y, u = points(loss)
    left, right = np.random.default_rng(1).normal(size=(2, N, u.shape[1], 3))
    third = full_third(loss, y, u)
    truth = np.einsum("nklm,nlj,nmj->nkj", third, left, right)
    found = loss.third_product(y, u, left, right)
    np.testing.assert_allclose(found, truth, atol=1e-12 * np.abs(truth).max())


@every_loss
@pytest.mark.parametrize("size", [1e-3, 0.1, 5.0])
def test_changes_of_the_gradient(loss, size):
    """In closed form or as differences; float32 moves lose no digits in the difference."""
    y, u = points(loss)
    moves = np.random.default_rng(1).uniform(-size, size, (N, u.shape[1], 3))
    moves = moves.astype(np.float32)
    wide = moves.astype(float)
    truth = np.stack(
        [
            loss.gradient(y, u + m) - loss.gradient(y, u)
            for m in np.moveaxis(wide, 2, 0)
        ],
        axis=2,
    )
    scale = np.abs(loss.gradient(y, u)).max() + np.abs(truth).max()
    found = loss.gradient_change(y, u, wide.copy())
    np.testing.assert_allclose(found, truth, atol=1e-14 * scale)
    truth -= loss.hessian_product(y, u, wide)
    found = loss.curved_change(y, u, wide.copy())
    np.testing.assert_allclose(found, truth, atol=1e-13 * scale)
    if loss.curves_in_single and size < 1:
        found = loss.curved_change(y, u, moves.copy())
        assert found.dtype == np.float32
        np.testing.assert_allclose(
            found, truth, rtol=1e-6, atol=1e-6 * np.abs(truth).max()
        )


@every_loss
def test_response_slope_is_the_slope_of_the_response(loss):
    _, u = points(loss)
    truth = slopes(loss.response, u)
    truth = np.diagonal(truth, axis1=1, axis2=2)
    np.testing.assert_allclose(loss.response_slope(u), truth, rtol=1e-7, atol=1e-8)


FAMILIES = [loss for loss in LOSSES if loss.exponential_family]
every_family = pytest.mark.parametrize("loss", FAMILIES, ids=repr)


@every_family
def test_unit_deviance_is_twice_the_loss_but_for_terms_in_y(loss):
    y, u = points(loss)
    truth = slopes(lambda u: loss.unit_deviance(y, u).sum(axis=-1), u)
    np.testing.assert_allclose(2 * loss.gradient(y, u), truth, rtol=1e-6, atol=1e-7)
    assert np.all(loss.unit_deviance(y, u) >= 0)


@every_family
def test_unit_deviance_vanishes_where_the_mean_is_the_target(loss):
    _, u = points(loss)
    assert np.abs(loss.unit_deviance(loss.response(u), u)).max() < 1e-12


@every_family
def test_expected_and_exact_curvature_agree_where_the_link_is_canonical(loss):
    y, u = points(loss)
    exact = np.broadcast_to(loss.hessian(y, u)[..., 0, 0], u.shape)
    agree = np.allclose(loss.fisher_weight(u), exact, rtol=1e-10)
    assert agree == loss.canonical


@every_family
def test_exact_curvature_is_the_expected_one_at_the_mean(loss):
    _, u = points(loss)
    exact = loss.hessian(loss.response(u), u)[..., 0, 0]
    exact = np.broadcast_to(exact, u.shape)
    np.testing.assert_allclose(loss.fisher_weight(u), exact, rtol=1e-10)


@every_family
def test_squared_pearson_residuals_are_the_score_over_the_information(loss):
    """``(y - mu)**2 / V = gradient**2 / fisher_weight``, for any link."""
    y, u = points(loss)
    truth = -loss.gradient(y, u) / np.sqrt(loss.fisher_weight(u))
    truth *= np.sign(loss.response_slope(u))
    np.testing.assert_allclose(loss.pearson_residual(y, u), truth, rtol=1e-9)


@every_loss
def test_extreme_outputs_are_finite(loss):
    y, u = points(loss)
    sample = cases.sample_of(loss)
    far = sample.within(np.sign(u) * sample.farthest)
    for part in (loss.value, loss.gradient, loss.hessian):
        assert np.all(np.isfinite(part(y, far)))
    assert np.all(np.isfinite(loss.response(far)))
    assert np.all(np.isfinite(loss.response_slope(far)))


STRAIGHT = [loss for loss in LOSSES if cases.sample_of(loss).is_straight]


@pytest.mark.parametrize("loss", STRAIGHT, ids=repr)
def test_outputs_far_out_keep_their_digits(loss):
    """A loss is nearly straight there: two values and one slope have to agree."""
    y, u = points(loss, scale=15.0)
    truth = slopes(lambda u: loss.value(y, u), u, step=1e-4)
    size = np.abs(loss.value(y, u)).max()
    np.testing.assert_allclose(loss.gradient(y, u), truth, atol=1e-8 * size, rtol=1e-7)


@every_loss
def test_only_quadratic_losses_say_that_they_are(loss):
    y, u = points(loss)
    bend = np.broadcast_to(loss.hessian(y, u), loss.hessian(y, 2 * u).shape)
    moved = not np.allclose(bend, loss.hessian(y, 2 * u), rtol=1e-12)
    # Inverse Gaussian, inverse link: quadratic, but a Newton step may lead outside.
    assert (moved or loss.bounded_domain) != loss.quadratic


@every_loss
def test_only_shift_invariant_losses_say_that_they_are(loss):
    y, u = points(loss)
    moved = not np.allclose(loss.value(y, u), loss.value(y, u + 0.7), rtol=1e-12)
    assert moved != loss.shift_invariant


@every_loss
def test_one_row_can_be_asked_at_many_outputs(loss):
    """Leading axes are broadcast: exact deletions ask all rows at all candidates."""
    y, u = points(loss)
    moves = np.random.default_rng(1).normal(size=(N, 5, u.shape[1]))
    many = cases.sample_of(loss).within(u[:, None, :] + moves)
    for name in ("value", "gradient", "hessian"):
        part = getattr(loss, name)
        found = part(y[:, None, :], many)
        truth = np.stack([part(y, many[:, j]) for j in range(5)], axis=1)
        np.testing.assert_allclose(found, truth, rtol=1e-12)


@every_loss
@pytest.mark.parametrize("part", ["value", "gradient", "hessian"])
def test_losses_are_written_in_the_array_standard(loss, part):
    y, u = points(loss)
    xp = pytest.importorskip("array_api_strict")
    strict = [xp.asarray(a) for a in (y, u)]
    found = to_numpy(getattr(loss, part)(*strict))
    np.testing.assert_allclose(found, getattr(loss, part)(y, u), rtol=1e-13)


CLASSIFIED = [loss for loss in LOSSES if "nomial" in type(loss).__name__]


@pytest.mark.parametrize("loss", CLASSIFIED, ids=repr)
def test_separation_is_every_row_strictly_on_its_own_side(loss):
    hot = np.eye(3)[[0, 1, 2, 1]]
    y = hot if loss.shift_invariant else hot[:, :1]
    u = 2.0 * y - 1
    assert loss.separates(y, u)
    for wrong in (0.0, -1.0):  # on the border, and beyond it
        other = u.copy()
        other[2] *= wrong
        assert not loss.separates(y, other)


@pytest.mark.parametrize("loss", CLASSIFIED, ids=repr)
def test_a_class_without_rows_makes_targets_one_sided(loss):
    hot = np.eye(3)[[0, 1, 2, 1]]
    y = hot if loss.shift_invariant else hot[:, :1]
    assert not loss.one_sided(y)
    assert loss.one_sided(y[1:])  # the first class has left


def test_softmax_curvature_keeps_its_digits_where_a_class_is_certain():
    """Else it has negative eigenvalues, and solvers refuse it."""
    u = np.array([[45.0, 0.0, -1.0]])
    M = losses.HalfMultinomialLoss().hessian(np.eye(3)[:1], u)[0, 0]
    small = np.exp([-45.0, -46.0])
    assert M[0, 0] == pytest.approx(small.sum(), rel=1e-14)
    np.testing.assert_allclose(M[1:, 0], -small, rtol=1e-14)
    assert np.linalg.eigvalsh(M)[0] > -1e-15 * M[0, 0]


def test_the_shift_of_a_wild_row_takes_no_digits_from_a_softmax():
    """An own side that is far off by all the same is as near as it was."""
    loss, y = losses.HalfMultinomialLoss(), np.array([[0.0, 0.0, 1.0]])
    u = np.array([[-(2.0**20), -16.375, 0.0]])
    for part in (loss.value, loss.gradient, loss.hessian):
        np.testing.assert_allclose(part(y, u + 2.0**22), part(y, u), rtol=1e-14)
    truth = np.log1p(np.exp(-16.375))
    np.testing.assert_allclose(loss.value(y, u + 2.0**22), truth, rtol=1e-8)


def test_log_loss_of_a_row_on_its_own_side_is_what_is_left():
    loss, u = losses.HalfBinomialLoss(), np.array([[30.0], [-30.0]])
    y = (u > 0).astype(float)
    np.testing.assert_allclose(loss.value(y, u), np.exp(-30.0), rtol=1e-12)


@pytest.mark.parametrize(
    "loss, y",
    [
        (losses.SquaredHinge(), 1.0),
        (losses.ModifiedHuber(), 1.0),
        (losses.SquaredEpsilonInsensitive(0.3), 1.3),
        (losses.SquaredEpsilonInsensitive(0.0), 1.0),
    ],
)
def test_a_row_on_the_edge_of_a_loss_is_within_it(loss, y):
    """To rounding: there, a row holds what no other row and no penalty holds."""
    u = np.array([[1.0], [np.nextafter(1.0, 0)], [np.nextafter(1.0, 2)]])
    y = np.full((3, 1), y)
    np.testing.assert_array_equal(loss.hessian(y, u), np.full((3, 1, 1, 1), 2.0))
