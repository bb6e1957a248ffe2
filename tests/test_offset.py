"""A known offset in the linear outputs: in every place where outputs are made."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from objectives import SETTINGS, build
from reference import relative_error
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfluence import (
    InfluenceExplainer,
    check_leave_one_out,
    refit_leave_one_out,
    register_estimator,
)
from skinfluence._design import Design
from skinfluence._layout import Layout
from skinfluence._objective import Objective
from skinfluence._penalty import Corners, Penalty
from skinfluence._sources import source_of
from skinfluence.curvature import RowwiseCurvature
from skinfluence.deletion import Exact, Newton
from skinfluence.exceptions import InvalidDataError
from skinfluence.losses import AbstractLoss
from skinfluence.questions import influence_on
from skinfluence.solvers import (
    Cholesky,
    ConjugateGradient,
    expand,
    has_no_minimum,
    minimise_with_corners,
    polish,
)
from skinfluence.study import study_of

FILE = Path(__file__).parent / "data" / "poisson_insurance_offset.json"
SOLVER = Cholesky()
every_setting = pytest.mark.parametrize("name", SETTINGS)


@dataclass(frozen=True)
class Poisson(AbstractLoss):
    """``loss = exp(u) - y u``."""

    convex = True

    def n_groups(self, n_outputs):
        return n_outputs

    def value(self, y, u):
        return np.sum(np.exp(u) - y * u, axis=-1)

    def gradient(self, y, u):
        return np.exp(u) - y

    def hessian(self, y, u):
        return np.exp(u)[..., None, None]


def insurance():
    """The objective of ``glm(Claims ~ ..., poisson, offset = log(Holders))``, the file."""
    content = json.loads(FILE.read_text(encoding="utf-8"))
    X, y = np.array(content["X"], float)[:, 1:], np.array(content["y"], float)
    ones = np.ones(len(y))
    design = Design(source_of(X), np.zeros(X.shape[1]), True).centred_by(ones)
    layout = Layout(design.width, 1, 1)
    penalty = Penalty(np.zeros((1, design.width)))
    offset = np.array(content["offset"], float)[:, None]
    objective = Objective(
        Poisson(), design, y[:, None], ones, penalty, layout, offset=offset
    )
    return objective, content


def minimum(objective, theta=None):
    theta = np.zeros((1, objective.layout.size)) if theta is None else theta
    start = expand(objective, theta, SOLVER)
    return polish(start, SOLVER, length=1e-13, max_iter=100).point


def parameters(objective, theta):
    """Intercept and coefficients in the order of the file."""
    coef, intercept = objective.design.to_estimator(objective.layout.unpack(theta))
    return np.concatenate([intercept[..., None], coef], axis=-1)[..., 0, :]


def test_leave_one_out_with_an_offset_is_that_of_the_reference():
    objective, content = insurance()
    point = minimum(objective)
    fit = np.array(content["fit"]["coef"])
    assert relative_error(parameters(objective, point.theta), fit) < 1e-10
    rows = np.arange(objective.n_rows)
    truth = np.array(content["exact_loo"]["coef"]) - fit
    exact = Exact(point, SOLVER, typical=1e-2, tol=1e-10)
    assert relative_error(parameters(objective, exact.deltas(rows).theta), truth) < 1e-8
    own = np.array(content["exact_loo"]["eta_i"])
    assert relative_error(exact.outputs(rows)[0][:, 0], own) < 1e-8
    one_step = -np.array(content["one_step"]["delta_coef_newton"])  # full less deleted
    newton = parameters(objective, Newton(point, SOLVER).deltas(rows).theta)
    assert relative_error(newton, one_step) < 1e-9


def close(found, truth):
    np.testing.assert_allclose(found, truth, rtol=1e-9, atol=1e-9)


def moved_offset(name):
    """A setting with an offset ``X~ shift``, and with theta moved by the shift instead.

    Both have the same outputs, so the same losses; the penalty sees another theta.
    """
    objective, theta, _ = build(SETTINGS[name])
    shift = np.random.default_rng(2).normal(size=theta.shape)
    shift = shift if objective.free is None else shift * objective.free
    offset = objective.outputs(shift)
    return replace(objective, offset=offset), objective, theta, shift


@every_setting
def test_an_offset_adds_to_the_outputs_wherever_they_are_made(name):
    offset, plain, theta, shift = moved_offset(name)
    found, truth = (
        RowwiseCurvature(offset, theta),
        RowwiseCurvature(plain, theta + shift),
    )
    close(offset.outputs(theta), plain.outputs(theta + shift))
    close(found.as_matrix(), truth.as_matrix())  # without known outputs, so from rows
    close(found.first_order.outputs, truth.first_order.outputs)
    again = RowwiseCurvature(offset, theta)
    close(again.first_order.outputs, truth.first_order.outputs)
    change = offset.penalty.gradient(theta) - plain.penalty.gradient(theta + shift)
    close(found.first_order.gradient, truth.first_order.gradient + change)
    close(again.first_order.gradient, truth.first_order.gradient + change)
    vectors = np.random.default_rng(3).normal(size=(*theta.shape, 2))
    close(again.matvec(vectors), truth.matvec(vectors))
    close(offset.moves(vectors), plain.moves(vectors))
    value = plain.value(theta + shift, plain.outputs(theta + shift))
    value += float(plain.penalty.value(theta) - plain.penalty.value(theta + shift))
    assert found.value == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name", ["binary", "softmax", "binary, mean form"])
def test_an_offset_stays_with_the_rows_left_and_a_new_centre(name):
    offset, plain, theta, shift = moved_offset(name)
    rest, truth = offset.without(5), plain.without(5)
    np.testing.assert_allclose(
        RowwiseCurvature(rest, theta).as_matrix(),
        RowwiseCurvature(truth, theta + shift).as_matrix(),
        rtol=1e-9,
        atol=1e-9,
    )
    outputs = offset.outputs(theta)
    centred, moved = offset.recentred(theta, outputs)
    np.testing.assert_allclose(centred.outputs(moved), outputs, rtol=1e-9, atol=1e-9)


def test_an_active_set_keeps_the_offset():
    """The minimum with L1 satisfies its own conditions, with the offset in them."""
    objective, _ = insurance()
    strength, width = 30.0, objective.layout.width
    l1 = np.full((1, width), strength)
    l1[0, -1] = 0.0
    corners = Corners(l1, l1)
    objective = replace(objective, penalty=replace(objective.penalty, corners=corners))
    start = np.zeros((1, width))
    start[0, 0] = 1e-3
    point = expand(*objective.narrowed(start), SOLVER)
    end = minimise_with_corners(point, SOLVER, length=1e-12, max_iter=200)
    assert end.converged and end.point.objective.offset is objective.offset
    theta = end.point.objective.selection.spread(end.point.theta)
    smooth = replace(objective, penalty=Penalty(np.zeros((1, width))))
    gradient = smooth.first_order(theta).gradient[0]
    off = theta[0, :-1] != 0
    assert 0 < off.sum() < width - 1
    np.testing.assert_allclose(
        gradient[:-1][off], -strength * np.sign(theta[0, :-1][off]), rtol=1e-8
    )
    assert np.all(np.abs(gradient[:-1][~off]) < strength)
    assert abs(gradient[-1]) < 1e-8 * strength


@pytest.mark.parametrize("solver", [Cholesky(), ConjugateGradient()], ids=repr)
def test_separable_rows_are_seen_behind_an_offset(solver):
    """An offset that puts rows on the wrong side does not give them a minimum."""
    objective, theta, _ = build(SETTINGS["binary, no penalty"])
    X = objective.design.source.on_host().copy()
    X[:, 0] += 20 * objective.targets[:, 0]
    offset = 3.0 * (1 - 2 * objective.targets)
    design = objective.design.of(X).centred_by(objective.weight)
    objective = replace(objective, design=design, offset=offset)
    u = 2 * objective.targets - 1
    assert has_no_minimum(objective, u + offset)
    assert not has_no_minimum(objective, -u + offset)
    end = polish(expand(objective, 0 * theta, solver), solver, length=0.0, max_iter=60)
    assert end.unbounded


# --- through the explainer ---


class PoissonGLM(RegressorMixin, BaseEstimator):
    """An unpenalised Poisson regression with a log link and an offset."""

    fit_intercept = True

    def fit(self, X, y, sample_weight=None, offset=None):
        offset = 0.0 if offset is None else np.asarray(offset)
        A, theta = np.c_[X, np.ones(len(y))], np.zeros(np.shape(X)[1] + 1)
        for _ in range(50):
            mu = np.exp(A @ theta + offset)
            theta = theta + np.linalg.solve((A.T * mu) @ A, A.T @ (y - mu))
        self.coef_, self.intercept_ = theta[:-1], theta[-1]
        return self

    def predict(self, X):
        return np.exp(X @ self.coef_ + self.intercept_)


register_estimator(PoissonGLM, "poisson")


def claims():
    content = json.loads(FILE.read_text(encoding="utf-8"))
    X, y = np.array(content["X"], float)[:, 1:], np.array(content["y"], float)
    return X, y, np.array(content["offset"], float), content


def test_an_explainer_takes_an_offset_as_the_reference_does():
    X, y, offset, content = claims()
    explainer = InfluenceExplainer(PoissonGLM(), deletion="exact")
    explainer.fit(X, y, offset=offset)
    assert explainer.stationarity_ < 1e-6  # fitted with the offset
    truth = np.array(content["exact_loo"]["coef"]) - np.array(content["fit"]["coef"])
    deltas = explainer.loo_params()
    assert relative_error(deltas.coef, truth[:, 1:]) < 1e-8
    mean = np.exp(np.array(content["exact_loo"]["eta_i"]))
    assert relative_error(explainer.loo_predict(), mean) < 1e-8
    single = [[i] for i in range(4)]
    moved = explainer.group_delta(X[:2], groups=single, on="decision")
    changes = truth[:4] @ np.c_[np.ones(2), X[:2]].T
    assert relative_error(moved, changes.T) < 1e-8


def test_refits_know_the_offset_too():
    X, y, offset, content = claims()
    deltas = refit_leave_one_out(PoissonGLM(), X, y, offset=offset, rows=[0, 7])
    truth = np.array(content["exact_loo"]["coef"]) - np.array(content["fit"]["coef"])
    assert relative_error(deltas.coef, truth[[0, 7], 1:]) < 1e-8
    explainer = InfluenceExplainer(PoissonGLM(), deletion="exact")
    explainer.fit(X, y, offset=offset)
    agreement = check_leave_one_out(explainer, X, y, rows=[0, 7, 20])
    assert agreement.param_error < 1e-7


def test_an_offset_goes_to_the_last_step_of_a_pipeline():
    X, y, offset, _ = claims()
    pipe = make_pipeline(StandardScaler(), PoissonGLM())
    explainer = InfluenceExplainer(pipe).fit(X, y, offset=offset)
    alone = InfluenceExplainer(PoissonGLM()).fit(X, y, offset=offset)
    assert relative_error(explainer.predict(X), alone.predict(X)) < 1e-8
    assert relative_error(explainer.self_influence(), alone.self_influence()) < 1e-8


def test_the_loss_of_training_rows_counts_their_offset():
    X, y, offset, _ = claims()
    explainer = InfluenceExplainer(PoissonGLM()).fit(X, y, offset=offset)
    study, rows = study_of(explainer), np.array([3, 5])
    asked = study.about_training(rows)
    values = influence_on(study, asked, None)
    own = explainer.self_influence()
    assert relative_error(values[[0, 1], rows], own[rows]) < 1e-10


@pytest.mark.parametrize(
    ("offset", "message"),
    [
        (np.zeros(3), r"shape \(64,\)"),
        (np.zeros((64, 2)), r"shape \(64,\)"),
        (np.where(np.arange(64) == 9, np.nan, 0.0), "row 9"),
        (["a"] * 64, "must hold real numbers"),
    ],
)
def test_bad_offsets_are_refused(offset, message):
    X, y, given, _ = claims()
    model = PoissonGLM().fit(X, y, offset=given)
    with pytest.raises(InvalidDataError, match=message):
        InfluenceExplainer(model).fit(X, y, offset=offset)
