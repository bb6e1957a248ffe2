"""Every question to the explainer, asked of arrays of other libraries and devices.

The rows decide: answers are those of NumPy to 1e-10, in the library, on the device and of
the types that the caller gave. ``ELSEWHERE`` is a device that is not the default one: an
array made without naming it cannot meet the rest.
"""

import os
import subprocess
import sys
import textwrap
from functools import cache

import numpy as np
import pytest
from reference import relative_error
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import (
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfluence import (
    InfluenceExplainer,
    _kernels,
    check_leave_one_out,
    refit_leave_one_out,
)
from skinfluence._array import array_namespace, device_of, is_foreign, to_numpy
from skinfluence.exceptions import (
    DeviceMemoryError,
    InvalidDataError,
    InvalidParameterError,
    MissingDependencyError,
)

N, P, M = 60, 4, 6
ELSEWHERE = "array_api_strict elsewhere"
LIBRARIES = [ELSEWHERE, "torch", pytest.param("cupy", marks=pytest.mark.gpu)]


@cache
def maker(library):
    """A function that turns NumPy arrays into those of a library."""
    if library == "torch":
        torch = pytest.importorskip("torch")
        torch.set_num_threads(1)
        return torch.asarray
    if library == "cupy":
        cupy = pytest.importorskip("cupy")
        if not cupy.is_available():
            pytest.skip("CuPy sees no device")
        return cupy.asarray
    strict = pytest.importorskip("array_api_strict")
    return lambda values: strict.asarray(values, device=strict.Device("device1"))


@cache
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, P)) @ rng.normal(size=(P, P)) + 1
    u = (X - X.mean(axis=0)) @ rng.normal(size=(P, 3)) * 0.4
    return X, {
        "numbers": u[:, 0] + rng.normal(size=N),
        "two": (u[:, 0] + rng.logistic(size=N) > 0).astype(int),
        "three": np.argmax(u + rng.gumbel(size=u.shape), axis=1),
        "counts": rng.poisson(np.exp(u[:, 0])).astype(float),
        "targets": u[:, :2] + rng.normal(size=(N, 2)),
        "labels": (u[:, :2] + rng.logistic(size=(N, 2)) > 0).astype(int),
    }


MODELS = {
    "linear": (LinearRegression(), "numbers"),
    "ridge": (Ridge(), "numbers"),
    "two targets": (Ridge(alpha=np.array([1.0, 3.0])), "targets"),
    "binary": (LogisticRegression(), "two"),
    "softmax": (LogisticRegression(class_weight="balanced"), "three"),
    "Poisson": (PoissonRegressor(alpha=0.1), "counts"),
    "Huber": (HuberRegressor(), "numbers"),
    "lasso": (Lasso(alpha=0.05), "numbers"),
    "pipeline": (make_pipeline(StandardScaler(), LogisticRegression()), "two"),
    "wrapper": (MultiOutputClassifier(LogisticRegression()), "labels"),
}
GROUPS = np.arange(N) % 5


def coefficient(explainer):
    return 0 if explainer._study.model.n_outputs == 1 else (1, 0)


QUESTIONS = {
    "influence": lambda e, X, y: e.influence(X, y),
    "influence on predictions": lambda e, X, y: e.influence(X),
    "influence on decisions": lambda e, X, y: e.influence(X, on="decision"),
    "relative influence": lambda e, X, y: e.influence(X, y, relative=True),
    "mean influence": lambda e, X, y: e.influence(X, y, aggregate="mean"),
    "transform": lambda e, X, y: e.transform(X),
    "loo_delta": lambda e, X, y: e.loo_delta(X, y),
    "loo_delta of predictions": lambda e, X, y: e.loo_delta(X),
    "sum of loo_delta": lambda e, X, y: e.loo_delta(X, y, aggregate="sum"),
    "top_influences": lambda e, X, y: e.top_influences(X, y, k=3),
    "top deltas": lambda e, X, y: e.top_influences(X, y, k=3, quantity="loo_delta"),
    "param_influence": lambda e, X, y: list(e.param_influence().values()),
    "loo_params": lambda e, X, y: list(e.loo_params(rows=[7, 1]).values()),
    "self_influence": lambda e, X, y: e.self_influence(),
    "score_samples": lambda e, X, y: e.score_samples(X, y),
    "leverages": lambda e, X, y: e.score_samples(X),
    "feature_influence": lambda e, X, y: e.feature_influence(X, y, [0, 5]),
    "loo_predict": lambda e, X, y: e.loo_predict(),
    "group_influence": lambda e, X, y: e.group_influence(X, y, groups=GROUPS),
    "group_delta": lambda e, X, y: e.group_delta(X, y, groups=[[0, 1], [5, 7, 9]]),
    "mean group_delta": lambda e, X, y: e.group_delta(
        X, y, groups=GROUPS, aggregate="mean"
    ),
    "cv_predict": lambda e, X, y: e.cv_predict(cv=5),
}
# What is on the host whatever the arrays: numbers, lists and tables.
HOST_QUESTIONS = {
    "loo_score": lambda e, X, y: e.loo_score(),
    "diagnostics": lambda e, X, y: to_numpy(e.diagnostics()),
    "influential_set": lambda e, X, y: e.influential_set(
        coefficient(e), k=2, direction="decrease"
    )["achieved"],
    "attributes": lambda e, X, y: [e.condition_, e.effective_dof_, e.residual_],
}


@cache
def fitted(model, library, deletion):
    estimator, kind = MODELS[model]
    X, targets = rows()
    make = np.asarray if library == "numpy" else maker(library)
    estimator = clone(estimator).fit(X, targets[kind])
    return InfluenceExplainer(estimator, deletion=deletion).fit(
        make(X), make(targets[kind])
    )


def answer(question, model, library, deletion):
    X, targets = rows()
    y = targets[MODELS[model][1]]
    make = np.asarray if library == "numpy" else maker(library)
    found = question(fitted(model, library, deletion), make(X[:M]), make(y[:M]))
    return list(found) if isinstance(found, list | tuple) else [found]


@pytest.mark.parametrize("deletion", ["jackknife", "newton", "exact"])
@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.filterwarnings("ignore::skinfluence.exceptions.SkinfluenceWarning")
def test_answers_are_those_of_numpy_where_the_rows_are(library, model, name, deletion):
    found = answer(QUESTIONS[name], model, library, deletion)
    truth = answer(QUESTIONS[name], model, "numpy", deletion)
    home = maker(library)(np.zeros(1))
    assert len(found) == len(truth)
    for part, expected in zip(found, truth, strict=True):
        assert array_namespace(part).__name__ == array_namespace(home).__name__
        assert device_of(part) == device_of(home)
        host = to_numpy(part)
        assert host.dtype == expected.dtype
        close(host, expected)


@pytest.mark.parametrize("name", HOST_QUESTIONS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.filterwarnings("ignore::skinfluence.exceptions.SkinfluenceWarning")
def test_answers_on_the_host_are_those_of_numpy(library, model, name):
    if name == "diagnostics" and model in ("Huber", "softmax", "wrapper"):
        pytest.skip("these have no diagnostics")
    found = answer(HOST_QUESTIONS[name], model, library, "newton")
    truth = answer(HOST_QUESTIONS[name], model, "numpy", "newton")
    for part, expected in zip(found, truth, strict=True):
        assert not is_foreign(part)
        close(np.asarray(part, dtype=float), np.asarray(expected, dtype=float))


def close(found, truth):
    assert found.shape == truth.shape
    if truth.dtype.kind != "f":
        np.testing.assert_array_equal(found, truth)
        return
    finite = np.isfinite(truth)
    np.testing.assert_array_equal(np.isfinite(found), finite)
    largest = np.max(np.abs(truth[finite]), initial=0.0)
    if largest < 1e-9:  # a bound or step of rounding
        assert np.max(np.abs(found[finite]), initial=0.0) < 1e-8
        return
    # Bounds of exact deletions are made of a last step, of which few digits are left.
    tolerance = 1e-5 if largest < 1e-7 else 1e-10
    assert relative_error(found[finite], truth[finite]) < tolerance


# --- backends ----------------------------------------------------------------------


def test_a_backend_brings_rows_to_its_device_and_back():
    make = maker("torch")
    X, targets = rows()
    model = Ridge().fit(X, targets["numbers"])
    truth = InfluenceExplainer(model).fit(X, targets["numbers"]).self_influence()
    there = InfluenceExplainer(model, backend="torch").fit(X, targets["numbers"])
    assert type(there.self_influence()) is type(make(X))
    assert relative_error(to_numpy(there.self_influence()), truth) < 1e-10
    assert type(there.influence(X[:2])) is type(make(X))  # rows asked about follow
    back = InfluenceExplainer(model, backend="numpy")
    back.fit(make(X), make(targets["numbers"]))
    assert isinstance(back.self_influence(), np.ndarray)
    np.testing.assert_array_equal(back.self_influence(), truth)


def test_rows_that_do_not_fit_are_sent_in_blocks(monkeypatch):
    """Torch on the CPU plays a device with no room; blocks are made small as well."""
    maker("torch")
    torch_kernels = pytest.importorskip("skinfluence._kernels._torch").TorchKernels
    sent = []

    class Sender:
        def __init__(self, place):
            self.inner = _kernels._senders.PlainSender(place)

        def send(self, rows):
            sent.append(len(rows))
            return self.inner.send(rows), len(sent)

        def receive(self, ticket):
            # The rows that come next are under way already, but for the last.
            ahead.append(len(sent) - ticket[1])
            return self.inner.receive(ticket[0])

    ahead = []
    monkeypatch.setattr(torch_kernels, "free_bytes", lambda self, like: 100.0)
    monkeypatch.setattr(torch_kernels, "block_entries", lambda self, like: 16 * (P + 1))
    monkeypatch.setattr(torch_kernels, "sender", lambda self, like: Sender(like))
    for name in ("_COLUMN_ENTRIES", "_MEAN_ENTRIES"):
        monkeypatch.setattr(f"skinfluence._sources._dense.{name}", 16 * P)
    X, targets = rows()
    for name in ("ridge", "softmax", "Huber", "lasso"):
        model, y = MODELS[name][0], targets[MODELS[name][1]]
        model = clone(model).fit(X, y)
        apart = InfluenceExplainer(model, backend="torch", deletion="exact").fit(X, y)
        whole = InfluenceExplainer(model, deletion="exact").fit(X, y)
        for question in ("loo_delta", "group_delta", "self_influence", "cv_predict"):
            found = QUESTIONS[question](apart, X[:M], y[:M])
            close(to_numpy(found), QUESTIONS[question](whole, X[:M], y[:M]))
    assert max(sent) <= 20  # a block of another width, by the layout
    assert set(ahead) == {0, 1} and ahead.count(1) > 2 * ahead.count(0)


def test_a_dual_solve_reads_waiting_rows_by_columns(monkeypatch):
    maker("torch")
    torch_kernels = pytest.importorskip("skinfluence._kernels._torch").TorchKernels
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 70)), rng.normal(size=20)
    whole = InfluenceExplainer(Ridge(), solver="dual").fit(X, y)
    monkeypatch.setattr(torch_kernels, "free_bytes", lambda self, like: 100.0)
    apart = InfluenceExplainer(Ridge(), solver="dual", backend="torch").fit(X, y)
    close(to_numpy(apart.self_influence()), whole.self_influence())


def test_a_pass_that_finds_no_memory_goes_on_in_smaller_blocks(monkeypatch):
    torch = pytest.importorskip("torch")
    X, targets = rows()
    model = LogisticRegression().fit(X, targets["three"])
    truth = InfluenceExplainer(model).fit(X, targets["three"]).self_influence()
    with_limit(monkeypatch, torch, most_rows=20)
    found = InfluenceExplainer(model, backend="torch").fit(X, targets["three"])
    close(to_numpy(found.self_influence()), truth)


def test_a_device_without_any_room_is_named(monkeypatch):
    torch = pytest.importorskip("torch")
    X, targets = rows()
    model = LogisticRegression().fit(X, targets["three"])
    with_limit(monkeypatch, torch, most_rows=0)
    with pytest.raises(DeviceMemoryError, match="no room to work on 16 rows of 5 col"):
        InfluenceExplainer(model, backend="torch").fit(X, targets["three"])


def test_what_does_not_fit_a_device_is_an_error_with_advice(monkeypatch):
    torch = pytest.importorskip("torch")
    kernels = pytest.importorskip("skinfluence._kernels._torch").TorchKernels
    X, targets = rows()
    y = targets["numbers"]

    def full(*args, **kwargs):
        raise torch.cuda.OutOfMemoryError("no memory")

    monkeypatch.setattr(kernels, "free_bytes", lambda self, like: 3 * 2 * 8.0 * N)
    explainer = InfluenceExplainer(Ridge()).fit(torch.asarray(X), y)
    monkeypatch.setattr("skinfluence.questions._effects.device_of", full)
    for method in (explainer.influence, explainer.loo_delta):
        with pytest.raises(DeviceMemoryError, match="about 3 rows would fit"):
            method(X, y)
    monkeypatch.setattr(kernels, "inverse_cholesky", full)
    with pytest.raises(DeviceMemoryError, match="curvature has 5 columns"):
        InfluenceExplainer(Ridge()).fit(torch.asarray(X), y)


def with_limit(monkeypatch, torch, most_rows):
    """A device that cannot scale a block of more rows than this; half the total moves."""
    kernels = pytest.importorskip("skinfluence._kernels._torch").TorchKernels
    plain = kernels.add_gram

    def add_gram(self, total, block, weight):
        moved = plain(self, total, block, weight)
        if block.shape[0] > most_rows:
            raise torch.cuda.OutOfMemoryError("no memory")
        return moved

    monkeypatch.setattr(kernels, "add_gram", add_gram)
    monkeypatch.setattr(kernels, "release", lambda self: None)


def test_cupy_is_asked_for_by_the_name_of_its_extra():
    pytest.importorskip("array_api_compat")
    try:
        import cupy  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip("CuPy is installed")
    X, targets = rows()
    with pytest.raises(MissingDependencyError, match=r"skinfluence\[cupy-cuda12x\]"):
        InfluenceExplainer(Ridge(), backend="cupy").fit(X, targets["numbers"])


def test_sparse_rows_stay_on_the_host():
    maker("torch")
    X, targets = rows()
    with pytest.raises(InvalidParameterError, match="X is sparse"):
        InfluenceExplainer(Ridge(), backend="torch").fit(
            sparse.csr_array(X), targets["numbers"]
        )


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_unfitted_estimator_is_fitted_on_the_host(library):
    make, (X, targets) = maker(library), rows()
    weight = np.linspace(0.5, 2.0, N)
    found = InfluenceExplainer(Ridge()).fit(
        make(X), make(targets["numbers"]), make(weight)
    )
    truth = InfluenceExplainer(Ridge()).fit(X, targets["numbers"], weight)
    close(to_numpy(found.self_influence()), truth.self_influence())


def test_rows_in_single_precision_are_computed_with_in_double():
    make, (X, targets) = maker("torch"), rows()
    model = Ridge().fit(X, targets["numbers"])
    single = X.astype(np.float32)
    found = InfluenceExplainer(model).fit(make(single), make(targets["numbers"]))
    truth = InfluenceExplainer(model).fit(single, targets["numbers"])
    assert to_numpy(found.self_influence()).dtype == np.float64
    close(to_numpy(found.self_influence()), truth.self_influence())


def test_text_labels_stay_on_the_host_as_predictions():
    make, (X, targets) = maker("torch"), rows()
    y = np.array(["no", "yes"])[targets["two"]]
    explainer = InfluenceExplainer(LogisticRegression()).fit(make(X), y)
    truth = InfluenceExplainer(LogisticRegression()).fit(X, y)
    np.testing.assert_array_equal(explainer.loo_predict(), truth.loo_predict())
    assert is_foreign(explainer.loo_predict("predict_proba"))


@pytest.mark.parametrize("model", ["ridge", "softmax", "Huber", "lasso", "pipeline"])
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.filterwarnings("ignore::skinfluence.exceptions.SkinfluenceWarning")
def test_refits_judge_an_explainer_from_the_host(library, model):
    make, (X, targets) = maker(library), rows()
    y = targets[MODELS[model][1]]
    explainer = fitted(model, library, "exact")
    for given in ({}, {"X_test": make(X[:M]), "y_test": make(y[:M])}):
        found = check_leave_one_out(explainer, make(X), make(y), rows=[3, 8], **given)
        assert isinstance(found.predicted, np.ndarray)
        assert found.max_abs_error < 1e-7
    with pytest.raises(InvalidDataError, match="not the rows"):
        check_leave_one_out(explainer, make(X + 1), make(y))
    delta = refit_leave_one_out(MODELS[model][0], make(X), make(y), rows=[3]).coef
    truth = explainer.loo_params(rows=[3]).coef
    assert isinstance(delta, np.ndarray)
    assert relative_error(delta, to_numpy(truth)) < 1e-5


# --- bad input ---------------------------------------------------------------------

BAD = {
    "1D array": lambda X: X[:, 0],
    "0 sample": lambda X: X[:0, :],
    "real numbers": lambda X: X + 1j,
    "NaN or infinity": lambda X: np.where(X == X[3, 1], np.nan, X),
    "features": lambda X: X[:, :2],
}


@pytest.mark.parametrize("text", BAD)
@pytest.mark.parametrize("library", LIBRARIES)
def test_bad_rows_are_refused_as_those_of_numpy_are(library, text):
    make, (X, targets) = maker(library), rows()
    model = Ridge().fit(X, targets["numbers"])
    explainer = InfluenceExplainer(model)
    with pytest.raises(InvalidDataError, match=text):
        explainer.fit(make(BAD[text](X)), make(targets["numbers"]))
    assert not hasattr(explainer, "n_train_")


def test_rows_that_torch_differentiates_are_read_without_their_history():
    torch = pytest.importorskip("torch")
    X, targets = rows()
    tracked = torch.asarray(X).requires_grad_()
    explainer = InfluenceExplainer(Ridge()).fit(tracked, targets["numbers"])
    assert not explainer.self_influence().requires_grad


# --- models fitted on arrays -------------------------------------------------------

DISPATCHED = """
import numpy as np
import torch
from sklearn import config_context
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skinfluence import InfluenceExplainer

torch.set_num_threads(1)
rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4)) + 1
y = X[:, 0] + rng.normal(size=60)
classes, three = (y > 1).astype(int), np.digitize(y, [0.5, 1.5])
cases = [
    (Ridge(solver="svd"), y),
    (RidgeCV(), y),
    (LogisticRegression(), classes),
    (LogisticRegression(class_weight="balanced"), three),
    (PoissonRegressor(), np.round(np.exp(y / 4))),
    (make_pipeline(StandardScaler(), LogisticRegression()), classes),
]
for model, y in cases:
    with config_context(array_api_dispatch=True):
        model.fit(torch.asarray(X), torch.asarray(y))
    last = model[-1] if hasattr(model, "steps") else model
    assert isinstance(last.coef_, torch.Tensor)
    for rows in (X, torch.asarray(X)):  # the model decides where the rows do not
        there = InfluenceExplainer(model).fit(rows, y)
        host = InfluenceExplainer(model, backend="numpy").fit(rows, y)
        assert there.stationarity_ < 100
        for found, truth in [
            (there.self_influence(), host.self_influence()),
            (there.loo_delta(X[:5], y[:5]), host.loo_delta(rows[:5], y[:5])),
            (there.loo_predict(), host.loo_predict()),
            (
                there.group_delta(X[:5], groups=[[0, 1]]),
                host.group_delta(X[:5], groups=[[0, 1]]),
            ),
            (there.loo_params().coef, host.loo_params().coef),
        ]:
            assert isinstance(found, torch.Tensor) and isinstance(truth, np.ndarray)
            assert np.abs(found.numpy() - truth).max() <= 1e-10 * np.abs(truth).max()
    with config_context(array_api_dispatch=True):
        InfluenceExplainer(model, prefit=False).fit(torch.asarray(X), torch.asarray(y))
"""


def test_models_fitted_under_array_api_dispatch_are_explained_where_they_are():
    pytest.importorskip("torch")
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(DISPATCHED)],
        capture_output=True,
        text=True,
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        check=False,
    )
    assert run.returncode == 0, run.stderr
