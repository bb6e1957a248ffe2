"""A row is a group of one: the check that every registry of models runs."""

import numpy as np
import pytest
from reference import relative_error

from skinfluence.deletion import Deltas
from skinfluence.exceptions import InvalidParameterError

METHODS = ("jackknife", "newton", "halley", "exact")
every_method = pytest.mark.parametrize("method", METHODS)


def check_groups_of_one(explainer, rows, tol=1e-7):
    """Groups of one row have the deltas, flags and last steps of these rows.

    Both as they are deleted, many at once, and by the formulas of larger groups. The
    model has to be determined without any of the rows.
    """
    point = explainer._study.point
    try:
        deletion = explainer._study.deletion(len(rows))
    except InvalidParameterError:  # refused in words, for rows and groups alike
        assert explainer.deletion == "halley" and not point.objective.loss.has_third
        return
    truth = deletion.deltas(rows)
    together = deletion.group_deltas([rows[i : i + 1] for i in range(len(rows))])
    for column, expected in zip(together, truth, strict=True):
        np.testing.assert_array_equal(column, expected)
    parts = [deletion.group_delta(rows[i : i + 1]) for i in range(len(rows))]
    found = Deltas.joined(parts)
    assert relative_error(found.theta, truth.theta) < tol
    for name in ("converged", "unidentified", "unbounded"):
        np.testing.assert_array_equal(getattr(found, name), getattr(truth, name))
    size = np.abs(truth.theta).max()
    if explainer.deletion == "exact":
        assert np.abs(found.last_step).max() < 1e-6 * size + 1e-12
        assert np.abs(truth.last_step).max() < 1e-6 * size + 1e-12
    else:
        np.testing.assert_array_equal(found.n_steps, truth.n_steps)
    if truth.active_set_changes is None:
        assert found.active_set_changes is None and found.missed_changes is None
        if explainer.deletion != "exact":
            np.testing.assert_array_equal(found.last_step, truth.last_step)
    elif explainer.deletion == "exact":
        np.testing.assert_array_equal(
            found.active_set_changes, truth.active_set_changes
        )
        assert found.missed_changes is truth.missed_changes is None
    else:  # of single rows a few more, by the margin of a loss that is not quadratic
        for name in ("active_set_changes", "missed_changes"):
            few, many = getattr(found, name), getattr(truth, name)
            assert not np.any(few & ~many)
            assert np.array_equal(few, many) or not point.objective.loss.quadratic
