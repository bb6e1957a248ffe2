"""Badly scaled data change nothing: they are compared with the standardised problem.

Each design is ``X = shift + Z L'`` for a harmless ``Z``, computed back from the ``X``
that floats can hold. The models are fitted to ``Z`` and carried over exactly, because
scikit-learn's own fit may be poor on ``X``: ``coef_Z = coef_X L``.
"""

import copy
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from reference import relative_error
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from skinfluence import InfluenceExplainer

N, N_TEST, P = 60, 9, 4


@dataclass(frozen=True, eq=False)
class Design:
    """Raw rows, the standardised rows they stand for, and the way back."""

    X: np.ndarray
    Z: np.ndarray
    shift: np.ndarray  # (p,)
    L: np.ndarray  # (p, p)


def _columns(Z):
    """Powers of two from about 1e-8 to 1e8, so that X is exact."""
    scale = 2.0 ** np.round(np.log2(np.logspace(-8, 8, P)))
    return Design(Z * scale, Z, np.zeros(P), np.diag(scale))


def _timestamp(spread):
    def build(Z):
        shift, scale = np.array([1.7e9, 0, 0, 0]), np.array([spread, 1, 1, 1])
        X = shift + Z * scale
        return Design(X, (X - shift) / scale, shift, np.diag(scale))

    return build


def _collinear(noise):
    def build(Z):
        X, back = Z.copy(), Z.copy()
        X[:, 1] = Z[:, 0] + noise * Z[:, 1]
        back[:, 1] = (X[:, 1] - X[:, 0]) / noise
        L = np.eye(P)
        L[1, :2] = 1.0, noise
        return Design(X, back, np.zeros(P), L)

    return build


DESIGNS = {
    "columns from 1e-8 to 1e8": _columns,
    "timestamp over a month": _timestamp(2.6e6),
    "timestamp over seconds": _timestamp(1.0),
    "collinear to 1e-4": _collinear(1e-4),
    "collinear to 1e-6": _collinear(1e-6),
}
SHIFTED = ["timestamp over seconds"]  # a shift, which a penalty does not see

TIGHT = {"solver": "newton-cholesky", "tol": 1e-12}
FREE = {
    "least squares": LinearRegression(),
    "binary": LogisticRegression(C=np.inf, **TIGHT),
    "softmax": LogisticRegression(C=np.inf, **TIGHT),
}
THROUGH_ZERO = {
    "least squares": LinearRegression(fit_intercept=False),
    "binary": LogisticRegression(C=np.inf, fit_intercept=False, **TIGHT),
}
PENALISED = {
    "least squares": Ridge(3.0),
    "binary": LogisticRegression(C=0.5, **TIGHT),
    "softmax": LogisticRegression(C=0.5, **TIGHT),
}
SETTINGS = (
    [(design, kind, FREE[kind]) for design in DESIGNS for kind in FREE]
    + [(d, k, THROUGH_ZERO[k]) for d in DESIGNS if d[0] == "c" for k in THROUGH_ZERO]
    + [(design, kind, PENALISED[kind]) for design in SHIFTED for kind in PENALISED]
)


@cache
def rows(kind):
    rng = np.random.default_rng(12)
    Z = rng.normal(size=(N + N_TEST, P))
    outputs = Z @ rng.normal(size=(P, 3))
    y = {
        "least squares": outputs[:, 0] + rng.normal(size=len(Z)),
        "binary": (outputs[:, 0] + rng.logistic(size=len(Z)) > 0).astype(int),
        "softmax": np.argmax(outputs + rng.gumbel(size=outputs.shape), axis=1),
    }[kind]
    return Z, y, rng.uniform(0.5, 2.0, N)


@dataclass(frozen=True, eq=False)
class Pair:
    """The same model twice, explained on raw and on standardised rows."""

    design: Design
    y: np.ndarray
    raw: InfluenceExplainer
    standard: InfluenceExplainer

    def both(self, ask):
        """``ask(explainer, X)`` of the raw and of the standardised problem."""
        return ask(self.raw, self.design.X), ask(self.standard, self.design.Z)


@cache
def explained(design_name, kind, estimator):
    Z, y, weight = rows(kind)
    design = DESIGNS[design_name](Z)
    model = copy.deepcopy(estimator).fit(design.Z[:N], y[:N], sample_weight=weight)
    carried = copy.deepcopy(model)
    carried.coef_ = model.coef_ @ np.linalg.inv(design.L)
    carried.intercept_ = model.intercept_ - carried.coef_ @ design.shift
    raw, standard = (
        InfluenceExplainer(m, deletion="exact").fit(X[:N], y[:N], sample_weight=weight)
        for m, X in ((carried, design.X), (model, design.Z))
    )
    return Pair(design, y, raw, standard)


def name_of(setting):
    design, kind, estimator = setting
    penalised = np.isfinite(
        getattr(estimator, "C", getattr(estimator, "alpha", np.inf))
    )
    extra = ["penalised"] * bool(penalised)
    extra += ["no intercept"] * (not estimator.fit_intercept)
    return ", ".join([design, kind, *extra])


@pytest.fixture(params=SETTINGS, ids=name_of, scope="module")
def pair(request):
    return explained(*request.param)


def test_leave_one_out_predictions(pair):
    classifier = hasattr(pair.raw, "classes_")
    method = "decision_function" if classifier else "predict"
    raw, standard = pair.both(lambda e, _: e.loo_predict(method=method))
    assert relative_error(raw, standard) < 1e-6


def test_parameter_deltas_in_standardised_units(pair):
    raw, standard = pair.both(lambda e, _: e.loo_params())
    coef = raw.coef @ pair.design.L
    assert relative_error(coef, standard.coef) < 1e-6
    if np.any(standard.intercept):
        intercept = raw.intercept + raw.coef @ pair.design.shift
        # The raw one is as large as the shift: its last digit is all that is lost.
        digit = np.spacing(np.abs(raw.intercept).max())
        scale = np.abs(standard.intercept).max()
        error = np.abs(intercept - standard.intercept).max()
        assert error < 1e-6 * scale + 2 * digit
    else:
        assert not np.any(raw.intercept)


def test_self_influence(pair):
    raw, standard = pair.both(lambda e, _: e.self_influence())
    assert relative_error(raw, standard) < 1e-6


def test_influence_on_test_rows(pair):
    raw, standard = pair.both(lambda e, X: e.influence(X[N:], pair.y[N:]))
    assert relative_error(raw, standard) < 1e-6


def test_loss_deltas_on_test_rows(pair):
    raw, standard = pair.both(lambda e, X: e.loo_delta(X[N:], pair.y[N:]))
    assert relative_error(raw, standard) < 1e-6


def test_effective_dof(pair):
    raw, standard = pair.both(lambda e, _: e.effective_dof_)
    assert raw == pytest.approx(standard, rel=1e-6)


@pytest.mark.parametrize(("noise", "times"), [("1e-4", 1e3), ("1e-6", 1e5)])
def test_the_condition_number_of_collinear_columns_is_reported(noise, times):
    pair = explained(f"collinear to {noise}", "least squares", FREE["least squares"])
    assert pair.raw.condition_ > times * pair.standard.condition_


@pytest.mark.parametrize("design", [d for d in DESIGNS if d[0] != "c" or "1e8" in d])
def test_scale_and_place_do_not_enter_the_condition_number(design):
    pair = explained(design, "least squares", FREE["least squares"])
    assert pair.raw.condition_ == pytest.approx(pair.standard.condition_, rel=1e-3)
