"""cuML's linear models: by stand-ins here, and by the real ones where a GPU is.

A stand-in has the module, the class name, the parameters and the layout of the attributes
of its model in cuML, and the coefficients of scikit-learn's. It proves how a model is
found and read, not what cuML minimises: that is what the tests marked ``gpu`` are for.
"""

import numpy as np
import pytest
from reference import relative_error
from sklearn import linear_model
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfluence import InfluenceExplainer, check_leave_one_out
from skinfluence._array import to_numpy
from skinfluence.exceptions import NotStationaryWarning, UnsupportedEstimatorError
from skinfluence.support import supported_estimators

TIGHT = {"tol": 1e-10, "max_iter": 10_000}


class OnDevice:
    """Numba's kind of device array, as ``output_type="numba"`` gives: no __array__."""

    __cuda_array_interface__ = None

    def __init__(self, values):
        self.values = values

    def copy_to_host(self):
        return self.values

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion to a NumPy array is not allowed")


class Series:
    """cuDF's kind of column, as ``output_type="cudf"`` gives: no __array__ either."""

    __module__ = "cudf.core.series"

    def __init__(self, values):
        self.values = values

    def to_numpy(self):
        return self.values

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion to a host array is not allowed")


def torch_tensor(values):
    """An array on a device that NumPy does not compute with, in place of CuPy's."""
    return pytest.importorskip("torch").asarray(values)


OUTPUT_TYPES = {
    "numpy": np.asarray,
    "numba": OnDevice,
    "cudf": Series,
    "torch": torch_tensor,
}


class StandIn(BaseEstimator):
    """What cuML's ``Base`` has in common: ``output_type``, attributes made when asked."""

    def fit(self, X, y, sample_weight=None):
        fitted = self.model().fit(X, y, sample_weight=sample_weight)
        self._coef, self.intercept_ = fitted.coef_, fitted.intercept_
        self.n_features_in_ = X.shape[1]
        if hasattr(fitted, "classes_"):
            self.classes_ = fitted.classes_
        return self

    @property
    def coef_(self):
        return OUTPUT_TYPES[self.output_type](self._coef)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_coef")


class Ridge(RegressorMixin, StandIn):
    __module__ = "cuml.linear_model.ridge"

    def __init__(
        self, alpha=1.0, *, fit_intercept=True, solver="auto", output_type="numpy"
    ):
        self.alpha, self.fit_intercept = alpha, fit_intercept
        self.solver, self.output_type = solver, output_type

    def model(self):
        return linear_model.Ridge(alpha=self.alpha, fit_intercept=self.fit_intercept)


class LinearRegression(RegressorMixin, StandIn):
    __module__ = "cuml.linear_model.linear_regression"

    def __init__(self, *, algorithm="auto", fit_intercept=True, output_type="numpy"):
        self.algorithm, self.fit_intercept = algorithm, fit_intercept
        self.output_type = output_type

    def model(self):
        return linear_model.LinearRegression(fit_intercept=self.fit_intercept)


class LogisticRegression(ClassifierMixin, StandIn):
    __module__ = "cuml.linear_model.logistic_regression"

    def __init__(
        self,
        *,
        penalty="l2",
        tol=1e-4,
        C=1.0,
        fit_intercept=True,
        class_weight=None,
        max_iter=1000,
        l1_ratio=None,
        solver="qn",
        output_type="numpy",
        twisted=False,
    ):
        self.penalty, self.tol, self.C = penalty, tol, C
        self.fit_intercept, self.class_weight = fit_intercept, class_weight
        self.max_iter, self.l1_ratio, self.solver = max_iter, l1_ratio, solver
        self.output_type = output_type
        self.twisted = twisted  # not cuML's: makes the fit that of another objective

    def model(self):
        ratio = {"l1": 1.0, "elasticnet": self.l1_ratio}.get(self.penalty, 0.0)
        return linear_model.LogisticRegression(
            C=np.inf if self.penalty is None else self.C / (300 if self.twisted else 1),
            l1_ratio=ratio,
            solver="saga" if ratio else "lbfgs",
            fit_intercept=self.fit_intercept,
            class_weight=self.class_weight,
            **TIGHT,
        )


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 4)) + 0.5
    u = X @ rng.normal(size=(4, 3)) * 0.5
    return {
        "X": X,
        "numbers": u[:, 0] + rng.normal(size=80),
        "targets": u[:, :2] + rng.normal(size=(80, 2)),
        "two": (u[:, 0] + rng.logistic(size=80) > 0).astype(int),
        "three": np.argmax(u + rng.gumbel(size=u.shape), axis=1),
    }


MODELS = {
    "linear": (LinearRegression(), "numbers"),
    "ridge": (Ridge(2.0), "numbers"),
    "ridge of two targets": (Ridge(np.array([1.0, 4.0])), "targets"),
    "no intercept": (Ridge(2.0, fit_intercept=False), "numbers"),
    "two classes": (LogisticRegression(C=0.5), "two"),
    "three classes": (LogisticRegression(), "three"),
    "no penalty": (LogisticRegression(penalty=None), "two"),
    "lasso": (LogisticRegression(penalty="l1", C=0.5), "two"),
    "elastic net": (
        LogisticRegression(penalty="elasticnet", l1_ratio=0.3, C=0.5),
        "two",
    ),
    "balanced": (LogisticRegression(class_weight="balanced"), "three"),
}


@pytest.mark.filterwarnings("ignore::skinfluence.exceptions.ActiveSetWarning")
@pytest.mark.parametrize("output_type", OUTPUT_TYPES)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_cuml_is_read_in_any_output_type(name, output_type, rows):
    model, kind = MODELS[name]
    X, y = rows["X"], rows[kind]
    model = type(model)(**{**model.get_params(), "output_type": output_type}).fit(X, y)
    found = InfluenceExplainer(model).fit(X, y)
    assert found.stationarity_ < 1e-4
    truth = InfluenceExplainer(model.model()).fit(X, y)
    for question in (
        lambda e: e.self_influence(),
        lambda e: e.loo_delta(X[:5], y[:5]),
        lambda e: e.loo_params().coef,
        lambda e: e.loo_predict(),
    ):
        close(question(found), question(truth))
    assert found.loo_score() == pytest.approx(truth.loo_score(), abs=1e-10)
    is_tensor = type(found.self_influence()).__module__ == "torch"
    assert is_tensor == (output_type == "torch")  # the coefficients decide


def test_refits_and_pipelines_work_with_models_of_cuml(rows):
    X, y = rows["X"], rows["two"]
    model = make_pipeline(StandardScaler(), LogisticRegression(output_type="numba"))
    explainer = InfluenceExplainer(model, deletion="exact").fit(X, y)
    assert check_leave_one_out(explainer, X, y, rows=5).max_abs_error < 1e-7


def test_another_objective_than_the_one_supposed_is_noticed(rows):
    X, y = rows["X"], rows["two"]
    model = LogisticRegression(twisted=True).fit(X, y)
    with pytest.warns(NotStationaryWarning, match="sampling error"):
        explainer = InfluenceExplainer(model).fit(X, y)
    assert explainer.stationarity_ > 1


def test_other_models_of_cuml_are_refused(rows):
    cls = type("ElasticNet", (Ridge,), {"__module__": "cuml.linear_model.elastic_net"})
    with pytest.raises(UnsupportedEstimatorError, match=r"cuml\.Ridge"):
        InfluenceExplainer(cls()).fit(rows["X"], rows["numbers"])
    assert "cuml.LogisticRegression" in supported_estimators()


def close(found, truth):
    found = to_numpy(found)
    if truth.dtype.kind != "f":
        np.testing.assert_array_equal(found, truth)
    else:
        assert relative_error(found, truth) < 1e-8


@pytest.mark.gpu
@pytest.mark.parametrize("output_type", ["cupy", "numpy", "cudf", "numba"])
@pytest.mark.parametrize("name", MODELS)
def test_the_real_models_minimise_what_the_table_says(name, output_type, rows):
    cuml, cupy = pytest.importorskip("cuml"), pytest.importorskip("cupy")
    stand_in, kind = MODELS[name]
    given = stand_in.get_params()
    given.pop("twisted", None)
    given.pop("solver", None)
    if "tol" in given:
        given.update(TIGHT)
    model = getattr(cuml, type(stand_in).__name__)(
        **{**given, "output_type": output_type}
    )
    X, y = rows["X"], rows[kind]
    model.fit(cupy.asarray(X), cupy.asarray(y))
    found = InfluenceExplainer(model).fit(cupy.asarray(X), cupy.asarray(y))
    assert found.stationarity_ < 1
    truth = InfluenceExplainer(stand_in.model()).fit(X, y)
    close(found.self_influence(), truth.self_influence())
