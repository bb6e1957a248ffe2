"""Rows and their weights: what must not change, whatever the model and its data."""

import numpy as np
import pytest

pytest.importorskip("hypothesis")

from drawn import (
    EPS,
    NO_WEIGHTS,
    UNEVEN,
    ZEROS,
    Drawn,
    Moves,
    answer,
    assert_same,
    explained,
    moves,
    problems,
)
from hypothesis import given
from hypothesis import strategies as st
from kinds import KINDS, LEFT_OUT, table_rows
from sklearn.utils import all_estimators
from tally import Refused, check

from skinfluence.support import supported_estimators

REPEATS = [kind for kind in KINDS if kind.repeats and kind.weighs]
deletions = st.sampled_from(["jackknife", "newton", "halley", "exact"])


def test_every_row_of_the_support_table_is_drawn():
    drawn = set.union(*[table_rows(kind) for kind in KINDS]) | set(LEFT_OUT)
    # Without those that other tests have registered.
    known = {name for name, _ in all_estimators()}
    table = set(supported_estimators()) & known
    assert table <= drawn


def possible(problem, deletion):
    """The deletion, or "newton" where the loss has no third derivatives."""
    return "newton" if deletion == "halley" and not problem.kind.third else deletion


def deleted(explainer, problem):
    params, _ = answer(explainer.loo_params)
    return moves(params, problem.X_test)


def influence(explainer, problem):
    params, _ = answer(explainer.param_influence)
    return moves(params, problem.X_test)


@given(problems(), deletions)
def test_the_order_of_rows_does_not_matter(problem, deletion):
    order = np.random.default_rng(problem.seed).permutation(problem.n)

    def compare():
        weight = None if problem.weight is None else problem.weight[order]
        options = {"deletion": possible(problem, deletion)}
        first = explained(problem, **options)
        second = explained(
            problem, problem.X[order], problem.y[order], weight, **options
        )
        for ask in (deleted, influence):
            expected = ask(first, problem).of(order)
            assert_same(ask(second, problem), expected, (first, second), problem)

    check(compare)


@given(problems(REPEATS, weights=[ZEROS]), deletions)
def test_a_row_without_weight_is_absent(problem, deletion):
    kept = problem.weight > 0

    def compare():
        y = problem.y[kept]
        if not np.array_equal(np.unique(problem.y), np.unique(y)):
            raise Refused("a class is absent")
        options = {"deletion": possible(problem, deletion)}
        first = explained(problem, **options)
        second = explained(problem, problem.X[kept], y, problem.weight[kept], **options)
        found = deleted(first, problem)
        assert_same(found.of(kept), deleted(second, problem), (first, second), problem)
        nothing = Moves(np.zeros_like(found.values), found.size)
        assert_same(found.of(~kept), nothing.of(~kept), (first, second), problem)
        expected = influence(second, problem)
        assert_same(
            influence(first, problem).of(kept), expected, (first, second), problem
        )

    check(compare)


def test_a_row_on_the_edge_of_a_hinge_is_found_there():
    """It alone holds the indicator, whose coefficient costs next to nothing."""
    columns, scales = ("plain", "indicator", "plain", "plain"), (0, 20, 0, 0)
    problem = Drawn(
        "LinearSVC", 12, 4, 92, columns, scales, weights=ZEROS, log_strength=-7
    )
    absent = test_a_row_without_weight_is_absent.hypothesis.inner_test
    absent(problem=problem, deletion="newton")


@given(problems(REPEATS, weights=[NO_WEIGHTS, UNEVEN]), deletions, st.integers(1, 3))
def test_a_row_of_weight_two_is_the_row_twice(problem, deletion, n_doubled):
    twice = np.arange(min(n_doubled, problem.n))
    again = np.r_[np.arange(problem.n), twice]

    def compare():
        weight = problem.weight_of_rows()
        doubled = weight.copy()
        doubled[twice] *= 2
        options = {"deletion": possible(problem, deletion)}
        first = explained(problem, weight=doubled, **options)
        second = explained(
            problem, problem.X[again], problem.y[again], weight[again], **options
        )
        once = np.arange(len(twice), problem.n)
        assert_same(
            deleted(second, problem).of(once),
            deleted(first, problem).of(once),
            (first, second),
            problem,
        )
        pairs = [[row, problem.n + row] for row in twice]
        assert_same(
            deleted_groups(second, problem, pairs),
            deleted_groups(first, problem, [[row] for row in twice]),
            (first, second),
            problem,
        )

    check(compare)


@given(problems(), deletions)
def test_a_group_of_one_is_a_row(problem, deletion):
    groups = [[row] for row in range(problem.n)]

    def compare():
        explainer = explained(problem, deletion=possible(problem, deletion))
        X = problem.X_test
        single, _ = answer(explainer.loo_delta, X, on="decision")
        found = deleted_groups(explainer, problem, groups)
        assert_same(found, side_by_side(single, found.size), (explainer,), problem)
        single, _ = answer(explainer.influence, X, on="decision")
        together, _ = answer(explainer.group_influence, X, groups=groups, on="decision")
        size = largest_size(influence(explainer, problem))
        assert_same(
            side_by_side(together, size),
            side_by_side(single, size),
            (explainer,),
            problem,
        )

    check(compare)


@given(problems([kind for kind in KINDS if kind.softmax]), deletions)
def test_changes_of_classes_sum_to_zero(problem, deletion):
    def compare():
        explainer = explained(problem, deletion=deletion)
        for ask in (deleted, influence):
            changes = ask(explainer, problem)
            shape = problem.n, 3, -1
            values, size = changes.values.reshape(shape), changes.size.reshape(shape)
            largest = np.max(np.abs(values), axis=(1, 2), keepdims=True)
            allowed = 1e-6 * largest + 1e3 * EPS * size
            total = np.abs(values.sum(axis=1))
            assert np.all((total <= allowed.sum(axis=1)) | np.isnan(total))

    check(compare)


def deleted_groups(explainer, problem, groups):
    """Changes of decisions by deleting groups."""
    values, _ = answer(
        explainer.group_delta, problem.X_test, groups=groups, on="decision"
    )
    rows = [group[0] for group in groups]
    return side_by_side(values, largest_size(deleted(explainer, problem))[rows])


def side_by_side(values, size):
    """Changes (m, sides * rows), all of a row beside each other."""
    rows = len(size)
    values = np.moveaxis(values.reshape(len(values), -1, rows), 2, 0).reshape(rows, -1)
    return Moves(values, np.broadcast_to(size, values.shape))


def largest_size(changes):
    return np.max(changes.size, axis=1, keepdims=True)
