"""Deletions are refits, and influences are derivatives, on problems that are drawn."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("hypothesis")

from drawn import answer, explained, problems
from hypothesis import given
from kinds import KINDS
from reference import Problem, minimise
from tally import Refused, check

SQUARED = [kind for kind in KINDS if kind.judge == "squared"]
CLASSES = [kind for kind in KINDS if kind.judge in ("binomial", "multinomial")]


# --- least squares and ridge, in exact arithmetic ---


def exact_solution(H, b):
    """The solution of a symmetric system of fractions; None if it is singular."""
    rows = [[*row, value] for row, value in zip(H, b, strict=True)]
    d = len(rows)
    for j in range(d):
        pivot = next((i for i in range(j, d) if rows[i][j] != 0), None)
        if pivot is None:
            return None
        rows[j], rows[pivot] = rows[pivot], rows[j]
        rows[j] = [value / rows[j][j] for value in rows[j]]
        for i in range(d):
            if i != j and rows[i][j] != 0:
                factor = rows[i][j]
                rows[i] = [
                    a - factor * c for a, c in zip(rows[i], rows[j], strict=True)
                ]
    return [row[-1] for row in rows]


class ExactLeastSquares:
    """Least squares or ridge of one problem in fractions: no rounding at all."""

    def __init__(self, problem, strengths):
        ones = [1.0] * problem.intercept
        y = problem.y.reshape(problem.n, -1)
        self.rows = [[Fraction(v) for v in (*x, *ones)] for x in problem.X.tolist()]
        self.y = [[Fraction(v) for v in row] for row in y.tolist()]
        self.weight = [Fraction(w) for w in problem.weight_of_rows().tolist()]
        self.ridge = [
            [Fraction(strength)] * problem.p + [Fraction(0)] * problem.intercept
            for strength in strengths
        ]

    def without(self, row=None):
        """Parameters of each target without a row; None if they are undetermined."""
        kept = [i for i in range(len(self.rows)) if i != row and self.weight[i]]
        none = [()] * len(self.rows[0])  # columns of no rows
        columns = transposed([self.rows[i] for i in kept]) or none
        weighed = [[self.weight[i] * a for a in self.rows[i]] for i in kept]
        weighed = transposed(weighed) or none
        H = [[dot(column, part) for part in weighed] for column in columns]
        solutions = []
        for k, ridge in enumerate(self.ridge):
            penalised = [list(line) for line in H]
            for j, strength in enumerate(ridge):
                penalised[j][j] += strength
            y = [self.y[i][k] for i in kept]
            solutions.append(exact_solution(penalised, [dot(w, y) for w in weighed]))
        return None if None in solutions else solutions

    def changes(self):
        """Without each row minus with it, (n, K, d); NaN where it is undetermined."""
        n, K, d = len(self.rows), len(self.ridge), len(self.rows[0])
        deltas, before = np.full((n, K, d), np.nan), self.without()
        if before is None:
            raise Refused("the rows do not determine the model")
        for row in range(n):
            after = self.without(row)
            for k in range(K if after else 0):
                moved = zip(before[k], after[k], strict=True)
                deltas[row, k] = [float(b - a) for a, b in moved]
        return deltas


def transposed(rows):
    return list(zip(*rows, strict=True))


def dot(first, second):
    return sum(a * b for a, b in zip(first, second, strict=True))


def strengths_of(explainer, n_targets):
    model = explainer.estimator_
    alpha = getattr(model, "alpha_", getattr(model, "alpha", 0.0))
    return np.broadcast_to(np.ravel(alpha), n_targets).tolist()


@given(problems(SQUARED, most_rows=9))
def test_newton_is_the_refit_of_least_squares_in_exact_arithmetic(problem):
    """Within the bound that is stated, whatever the rows, weights and scales."""

    def compare():
        explainer = explained(problem)
        params, told = answer(explainer.loo_params)
        strengths = strengths_of(explainer, problem.y[0].size)
        judge = ExactLeastSquares(problem, strengths)
        truth = judge.changes()
        found = side_by_side(params, problem.p)[:, :, : truth.shape[2]]
        lost = np.isnan(truth).any(axis=(1, 2))
        np.testing.assert_array_equal(np.isnan(found).any(axis=(1, 2)), lost)
        assert told or not np.any(lost)
        error = np.linalg.norm((found - truth)[~lost], axis=(1, 2))
        assert np.all(error <= np.asarray(params.error_bound)[~lost])

    check(compare)


def side_by_side(params, p):
    """Coefficients and intercepts of each row, (n, K, p + 1)."""
    coef = np.asarray(params.coef)
    coef = coef.reshape(len(coef), -1, p)
    intercept = np.asarray(params.intercept).reshape(len(coef), -1, 1)
    intercept = np.broadcast_to(intercept, (*coef.shape[:2], 1))
    return np.concatenate([coef, intercept], axis=2)


# --- logistic and softmax regression, by the judge of the other tests ---


def judged(problem, explainer):
    """The objective by the judge, and its minimum."""
    classes = np.unique(problem.y)
    hot = (problem.y[:, None] == classes).astype(float)
    targets = hot if len(classes) > 2 else hot[:, 1:]
    C = explainer.estimator_.C
    ridge = np.full((targets.shape[1], problem.p + problem.intercept), 1 / C)
    ridge[:, problem.p :] = 0.0
    objective = Problem(
        problem.X,
        targets,
        problem.weight_of_rows(),
        problem.kind.judge,
        ridge,
        problem.intercept,
    )
    return objective, minimum(objective)


def minimum(objective, start=None):
    try:
        return minimise(objective, start)
    except AssertionError as error:
        raise Refused("the judge finds no minimum") from error


@given(problems(CLASSES, plain=True, strengths=(-8, 6)))
def test_exact_is_the_refit_of_logistic_regression(problem):
    def compare():
        explainer = explained(problem, deletion="exact")
        params, told = answer(explainer.loo_params)
        objective, theta = judged(problem, explainer)
        found = side_by_side(params, problem.p)[:, :, : theta.shape[1]]
        lost = np.isnan(found).any(axis=(1, 2))
        assert told or not np.any(lost)
        for row in np.flatnonzero(~lost):
            truth = minimum(objective.without(row), theta) - theta
            error = np.linalg.norm(found[row] - truth)
            # The judge squares its rows, and stops where its own steps are rounding.
            rounding = 1e-6 * np.linalg.norm(theta)
            assert error <= params.error_bound[row] + rounding

    check(compare)


@given(problems(CLASSES, plain=True))
def test_influence_is_the_derivative_in_the_weight_of_a_row(problem):
    row, step = problem.seed % problem.n, 1e-4

    def compare():
        explainer = explained(problem)
        params, _ = answer(explainer.param_influence, rows=[row])
        objective, theta = judged(problem, explainer)
        ends = []
        for sign in (1, -1):
            weight = objective.weight.copy()
            weight[row] += sign * step
            ends.append(minimum(replace(objective, weight=weight), theta))
        slope = (ends[0] - ends[1]) / (2 * step)
        found = side_by_side(params, problem.p)[0, :, : theta.shape[1]]
        truth = slope * objective.weight.sum()
        size = np.abs(truth).max()
        assert np.abs(found - truth).max() <= 1e-4 * size + 1e-6 * np.abs(theta).max()

    check(compare)
