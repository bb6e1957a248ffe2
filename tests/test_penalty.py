"""The penalty with corners, against its definition entry by entry."""

import numpy as np
import pytest

from skinfluence._penalty import Corners, Penalty

# One entry each of: no corner, the L1 norm, not negative, both, and ridge beside L1.
UP = np.array([[0.0, 0.7, 0.0, 0.7, 0.7]])
DOWN = np.array([[0.0, 0.7, np.inf, np.inf, 0.7]])
STRENGTH = np.array([[0.0, 0.0, 0.0, 0.0, 2.0]])
PENALTY = Penalty(STRENGTH, corners=Corners(UP, DOWN))
THETA = np.array([[-1.5, -2.0, 0.5, 3.0, -0.25]])


def test_value_is_the_sum_over_the_entries():
    lengths = 0.7 * (2.0 + 3.0 + 0.25) + 0.5 * 2.0 * 0.25**2
    assert PENALTY.value(THETA) == pytest.approx(lengths, rel=1e-15)


def test_gradient_is_the_slope_on_the_side_of_theta():
    expected = [[0.0, -0.7, 0.0, 0.7, -0.7 - 0.5]]
    np.testing.assert_allclose(PENALTY.gradient(THETA), expected, rtol=1e-15)


def test_entries_stay_bounded_where_either_direction_costs_something():
    """Not without a corner, and not above zero where only below it costs."""
    expected = [[False, True, False, True, True]]
    np.testing.assert_array_equal(PENALTY.keeps_bounded, expected)
    sloping = Penalty(np.zeros((1, 2)), slope=np.array([[0.0, -0.5]]))
    np.testing.assert_array_equal(sloping.keeps_bounded, [[False, True]])


@pytest.mark.parametrize(
    "gradient, pull",
    [
        (-1.0, [[1.0, 0.3, 1.0, 0.3, 0.3]]),
        (-0.5, [[0.5, 0.0, 0.5, 0.0, 0.0]]),
        (1.0, [[-1.0, -0.3, 0.0, 0.0, -0.3]]),
    ],
)
def test_a_corner_holds_gradients_up_to_its_slopes(gradient, pull):
    found = PENALTY.corners.pull(np.full((1, 5), gradient))
    np.testing.assert_allclose(found, pull, rtol=1e-15)


def test_a_row_takes_its_share_along():
    penalty = Penalty(STRENGTH, 0.3, 0.125, Corners(UP, DOWN)).without(2.0)
    np.testing.assert_array_equal(penalty.strength, 0.75 * STRENGTH)
    np.testing.assert_array_equal(penalty.corners.up, 0.75 * UP)
    assert penalty.slope == 0.75 * 0.3
    assert penalty.share == pytest.approx(1 / 6, rel=1e-15)  # 1 / S of what is left
