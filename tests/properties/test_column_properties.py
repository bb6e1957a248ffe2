"""Columns: units do not matter, nor float32, storage, library, blocks or solver."""

import numpy as np
import pytest

pytest.importorskip("hypothesis")

import sklearn
from drawn import EXTREME, WEIGHTS, answer, assert_same, explained, moves, problems
from hypothesis import given
from hypothesis import strategies as st
from kinds import KINDS
from scipy import sparse
from tally import Refused, check

SCALABLE = [kind for kind in KINDS if kind.power is not None]
FREE = [kind for kind in KINDS if kind.power == 0]
TAME = [weights for weights in WEIGHTS if weights != EXTREME]
deletions = st.sampled_from(["newton", "exact"])
exponents = st.integers(-26, 26)


def both(first, second, problem, X_test=None, rtol=1e-7):
    """Deletions and influences of two explainers are the same."""
    X_test = problem.X_test if X_test is None else X_test
    pairs = [
        (first.loo_params, second.loo_params),
        (first.param_influence, second.param_influence),
    ]
    for one, other in pairs:
        expected = moves(answer(one)[0], problem.X_test)
        found = moves(answer(other)[0], X_test)
        assert_same(found, expected, (first, second), problem, rtol)


@given(problems(SCALABLE), deletions, exponents)
def test_a_unit_and_its_penalty_change_nothing(problem, deletion, exponent):
    """``X s`` with the strength times ``s**power``: 2 for squares, 1 for L1."""
    scale = 2.0**exponent

    def compare():
        first = explained(problem, deletion=deletion)
        strength = problem.strength * scale**problem.kind.power
        model = problem.kind.make(strength, problem.intercept)
        second = explained(problem, problem.X * scale, model=model, deletion=deletion)
        both(first, second, problem, problem.X_test * scale)

    check(compare)


@given(problems(FREE), deletions, st.lists(exponents, min_size=5, max_size=5))
def test_units_of_unpenalised_columns_change_nothing(problem, deletion, exponents):
    scale = 2.0 ** np.array(exponents[: problem.p])

    def compare():
        first = explained(problem, deletion=deletion)
        second = explained(problem, problem.X * scale, deletion=deletion)
        both(first, second, problem, problem.X_test * scale)

    check(compare)


@given(problems(weights=TAME), deletions)
def test_float32_is_as_documented(problem, deletion):
    """Within 1e-4 of the largest where the condition number is below 1e6."""
    narrow = problem.X.astype(np.float32)

    def compare():
        second = explained(problem, narrow.astype(float), deletion=deletion)
        if second.condition_ > 1e6:
            raise Refused("nearly dependent columns")
        first = explained(
            problem, narrow, model=second.estimator_, fitted=True, deletion=deletion
        )
        for one, other in [
            (first.loo_params, second.loo_params),
            (first.param_influence, second.param_influence),
        ]:
            found = moves(answer(one)[0], problem.X_test).values
            truth = moves(answer(other)[0], problem.X_test).values
            lost = np.isnan(truth)
            np.testing.assert_array_equal(np.isnan(found), lost)
            largest = np.max(np.abs(truth[~lost]), initial=0.0)
            assert np.all(np.abs(found - truth)[~lost] <= 1e-4 * largest)

    check(compare)


@given(problems(plain=True, most_rows=700), deletions)
def test_blocks_of_rows_do_not_matter(problem, deletion):
    def compare():
        first = explained(problem, deletion=deletion)
        with sklearn.config_context(working_memory=1e-3):
            second = explained(
                problem, model=first.estimator_, fitted=True, deletion=deletion
            )
            both(first, second, problem, rtol=1e-9)

    check(compare)


@given(problems(weights=TAME), deletions)
def test_sparse_rows_are_rows(problem, deletion):
    def compare():
        first = explained(problem, deletion=deletion)
        second = explained(
            problem,
            sparse.csr_array(problem.X),
            model=first.estimator_,
            fitted=True,
            deletion=deletion,
        )
        both(first, second, problem)

    check(compare)


@given(problems(plain=True), deletions, st.sampled_from(["direct", "dual", "cg"]))
def test_the_solver_does_not_matter(problem, deletion, solver):
    def compare():
        first = explained(problem, deletion=deletion)
        second = explained(
            problem,
            model=first.estimator_,
            fitted=True,
            deletion=deletion,
            solver=solver,
        )
        both(first, second, problem, rtol=1e-6 if solver == "cg" else 1e-7)

    check(compare)


@given(problems(weights=TAME), deletions)
def test_the_library_of_arrays_does_not_matter(problem, deletion):
    strict = pytest.importorskip("array_api_strict")

    def compare():
        first = explained(problem, deletion=deletion)
        second = explained(
            problem,
            strict.asarray(problem.X),
            model=first.estimator_,
            fitted=True,
            deletion=deletion,
        )
        both(first, second, problem)

    check(compare)
