"""Ratio of each kernel to the bare operation that it cannot avoid, in one run.

``python benchmarks/kernels.py`` runs small sizes in about a minute, ``--full`` those of
the targets; ``--only hessian top`` runs some sections. Both sides of every ratio are
timed in turns, one thread unless the line says two, and medians are compared.
"""

import argparse
import datetime
import pickle
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
import sklearn
from main_job import Line, binary_rows, deletions, in_mebibytes, in_words, peak_of
from scipy import sparse
from scipy.linalg import blas
from sklearn import config_context
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import skinfluence
from skinfluence import InfluenceExplainer
from skinfluence._rows import training_blocks


def main() -> None:
    """Run the chosen sections and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the sizes of the targets")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    options = parser.parse_args()
    print(
        f"{datetime.date.today()}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, SciPy {scipy.__version__}, "
        f"scikit-learn {sklearn.__version__}, skinfluence {skinfluence.__version__}, "
        f"{platform.machine()}, one thread and float64 unless a line says otherwise"
    )
    print("\n| what | skinfluence | beside it | ratio | target |")
    print("| --- | --- | --- | --- | --- |")
    for name in options.only:
        with threadpool_limits(limits=1):
            for line in SECTIONS[name](options.full, options.repeats):
                print("| " + " | ".join(line) + " |", flush=True)


# --- one Hessian, all leverages ---------------------------------------------------------


def hessian(full: bool, repeats: int) -> list[Line]:
    """Curvature matrices and leverages beside a dsyrk of the same shape."""
    entries = 40_000_000 if full else 8_000_000
    shapes = [(entries // p, p) for p in (50, 200, 500, 2000)]
    return [line for shape in shapes for line in hessian_of(*shape, repeats)]


def hessian_of(n: int, p: int, repeats: int) -> list[Line]:
    """The same for one shape."""
    X, y = binary_rows(n, p)
    point = InfluenceExplainer(LogisticRegression(C=0.01)).fit(X, y)._study.point
    known = point.curvature
    factor = point.factor

    def fused() -> Any:
        return type(known)(known.objective, known.theta).as_matrix()

    def leverages() -> Any:
        design = known.objective.rows
        for part in training_blocks(design, p):
            block = design.block(part)
            factor.row_blocks_of_inverse(block, rows=part)

    bare, matrix, first, all_rows = paired_ratios(
        repeats, lambda: blas.dsyrk(1.0, X.T), known.as_matrix, fused, leverages
    )
    target = "<= 1.35" if p == 50 else "<= 1.10"
    shape = f"{n:,} x {p}"
    return [
        versus(f"{shape}: Hessian, outputs known", matrix, "dsyrk", bare, target),
        versus(f"{shape}: with outputs, gradient", first, "dsyrk", bare, "none"),
        versus(f"{shape}: all leverages", all_rows, "dsyrk", bare, "<= 1.10"),
    ]


# --- the public calls ---------------------------------------------------------------------


def audit(full: bool, repeats: int) -> list[Line]:
    """Fit and leave-one-out predictions of all rows, validation included."""
    n, p = (100_000, 200) if full else (30_000, 200)
    X, y = binary_rows(n, p)
    tight = LogisticRegression(solver="newton-cholesky", tol=1e-14).fit(X, y)
    default = LogisticRegression().fit(X, y)

    def asked(model: Any) -> Callable[[], Any]:
        return lambda: InfluenceExplainer(model).fit(X, y).loo_predict()

    bare, at_minimum, polished = paired_ratios(
        repeats, lambda: blas.dsyrk(1.0, X.T), asked(tight), asked(default)
    )
    what = f"{n:,} x {p}: fit + loo_predict"
    steps = InfluenceExplainer(default).fit(X, y).n_iter_
    return [
        versus(f"{what}, model at its minimum", at_minimum, "dsyrk", bare, "<= 2.6"),
        versus(
            f"{what}, default lbfgs model, n_iter_ {steps}",
            polished,
            "dsyrk",
            bare,
            "none",
        ),
    ]


def top(full: bool, repeats: int) -> list[Line]:
    """The 20 largest of 500 rows of influence beside the bare product."""
    n = 100_000 if full else 20_000
    return [
        top_of(n, 500, repeats, "<= 1.35"),
        top_of(n, 50, repeats, "<= 1.7"),
    ]


def top_of(n: int, p: int, repeats: int, target: str) -> Line:
    """The same for one shape."""
    X, y = binary_rows(n, p)
    explainer = InfluenceExplainer(LogisticRegression(C=0.01)).fit(X, y)
    Q = np.random.default_rng(1).normal(size=(500, p))

    def product() -> None:
        for first in range(0, n, 1024):
            Q @ X[first : first + 1024].T

    bare, ours = paired_ratios(
        repeats, product, lambda: explainer.top_influences(X[:500], y[:500], k=20)
    )
    what = f"{n:,} x {p}: top_influences(k=20), m = 500"
    return versus(what, ours, "gemm in blocks", bare, target)


def softmax(full: bool, repeats: int) -> list[Line]:
    """The multinomial Hessian beside scikit-learn's own, and the digits audit."""
    shapes = (1257, 64, 10), (20_000, 50, 10), (20_000, 100, 3)
    lines = [softmax_of(*shape, repeats) for shape in shapes]
    X, y = load_digits(return_X_y=True)
    X = StandardScaler().fit_transform(X[:1257])
    y = y[:1257]
    model = LogisticRegression().fit(X, y)
    fit, both = paired_ratios(
        repeats,
        lambda: LogisticRegression().fit(X, y),
        lambda: InfluenceExplainer(model).fit(X, y).loo_predict(),
    )
    what = "digits, 1,257 x 64, 10 classes: fit + loo_predict"
    return [*lines, versus(what, both, "LogisticRegression().fit", fit, "none")]


def softmax_of(n: int, p: int, K: int, repeats: int) -> Line:
    """The Hessian of one shape."""
    # The peer of this line is private to scikit-learn; the package never imports it.
    from sklearn._loss.loss import HalfMultinomialLoss
    from sklearn.linear_model._linear_loss import LinearModelLoss

    X, y = classes(n, p, K)
    model = LogisticRegression().fit(X, y)
    curvature = InfluenceExplainer(model).fit(X, y)._study.point.curvature
    theirs = LinearModelLoss(HalfMultinomialLoss(n_classes=K), fit_intercept=True)
    coef = np.asfortranarray(np.column_stack([model.coef_, model.intercept_]))
    targets = y.astype(float)

    def ours() -> Any:
        return type(curvature)(curvature.objective, curvature.theta).as_matrix()

    other, own = paired_ratios(
        repeats, lambda: theirs.gradient_hessian(coef, X, targets), ours
    )
    return Line(
        f"{n:,} x {p}, {K} classes: softmax Hessian and gradient",
        in_words(median(own)),
        f"gradient_hessian: {in_words(median(other))}",
        f"{median_ratio(other, own):.1f} x faster",
        ">= 2.5",
    )


# --- threads, float32, sparse, wide -------------------------------------------------------


def threads(full: bool, repeats: int) -> list[Line]:
    """Two threads beside one."""
    n, p = (1_000_000 if full else 200_000), 50
    X, y = binary_rows(n, p)
    model = LogisticRegression(solver="newton-cholesky").fit(X, y)
    explainer = InfluenceExplainer(model).fit(X, y)
    known = explainer._study.point.curvature

    def limited(n_threads: int, call: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            with threadpool_limits(limits=n_threads):
                return call()

        return run

    lines = []
    calls = {
        "Hessian": known.as_matrix,
        "fit": lambda: InfluenceExplainer(model).fit(X, y),
        "loo_predict": explainer.loo_predict,
    }
    with threadpool_limits(limits=None):
        for name, call in calls.items():
            one, two = paired_ratios(repeats, limited(1, call), limited(2, call))
            what = f"{n:,} x {p}: {name}, two threads"
            lines.append(versus(what, two, "one", one, "<= 0.6"))
    return lines


def float32(full: bool, repeats: int) -> list[Line]:
    """The same rows in float32: time and error beside float64."""
    n, p = (100_000, 200) if full else (30_000, 200)
    X, y = binary_rows(n, p)
    X = X.astype(np.float32)
    model = LogisticRegression(solver="newton-cholesky", tol=1e-10).fit(X, y)
    wide = X.astype(np.float64)

    def asked(rows: Any) -> Any:
        explainer = InfluenceExplainer(model).fit(rows, y)
        return explainer.loo_predict(method="decision_function")

    double, single = paired_ratios(repeats, lambda: asked(wide), lambda: asked(X))
    change = asked(wide) - model.decision_function(wide)
    error = np.abs(asked(X) - asked(wide)).max() / np.abs(change).max()
    what = f"{n:,} x {p}: fit + loo_predict of float32 rows, error {error:.0e}"
    return [versus(what, single, "of float64 rows", double, "error <= 1e-4")]


def wide(full: bool, repeats: int) -> list[Line]:
    """Fewer rows than columns, dense; and sparse rows."""
    return [*dual(full, repeats), *sparse_rows(full, repeats), *one_hot(full, repeats)]


def dual(full: bool, repeats: int) -> list[Line]:
    """Fewer rows than columns beside the product of the rows."""
    n, p = (1000, 20_000) if full else (500, 10_000)
    X, _ = binary_rows(n, p)
    y = X[:, 0] + np.random.default_rng(2).normal(size=n)
    model = Ridge(alpha=10.0).fit(X, y)
    bare, both = paired_ratios(
        repeats,
        lambda: blas.dsyrk(1.0, X.T, trans=True),
        lambda: InfluenceExplainer(model, solver="dual").fit(X, y).loo_predict(),
    )
    what = f"{n:,} x {p}: Ridge, dual fit + loo_predict"
    return [versus(what, both, "dsyrk of the rows", bare, "<= 1.4")]


def sparse_rows(full: bool, repeats: int) -> list[Line]:
    """Few entries in each row, a dense Hessian, beside SciPy's product."""
    n, p = (50_000, 2000) if full else (10_000, 1000)
    S = sparse.random(n, p, density=0.01, format="csr", random_state=0)
    u = S @ np.random.default_rng(3).normal(size=p)
    y, counts = (u > 0).astype(int), np.random.default_rng(4).poisson(np.exp(0.3 * u))
    model, rates = LogisticRegression().fit(S, y), PoissonRegressor(alpha=0.01)
    rates.fit(S, counts)
    fitted = InfluenceExplainer(model, solver="direct").fit(S, y)
    mean_form = InfluenceExplainer(rates, solver="direct").fit(S, counts)

    def anew(explainer: Any) -> Any:
        """The same, without what its factor cached for earlier answers."""
        return pickle.loads(pickle.dumps(explainer))

    first = [anew(fitted) for _ in range(repeats + 1)]
    asked = {
        f"fit (direct, d = {p + 1}, n_iter_ {fitted.n_iter_})": lambda: (
            InfluenceExplainer(model, solver="direct").fit(S, y)
        ),
        "first loo_predict": lambda: first.pop().loo_predict(),
        "loo_predict again": fitted.loo_predict,
        "self_influence": fitted.self_influence,
        "PoissonRegressor, loo_predict": mean_form.loo_predict,
    }
    gram, *ours = paired_ratios(repeats, lambda: (S.T @ S).toarray(), *asked.values())
    shape = f"{n:,} x {p}, 1 % entries"
    return [
        versus(f"{shape}: {name}", own, "scipy S'S", gram, "none")
        for name, own in zip(asked, ours, strict=True)
    ]


def one_hot(full: bool, repeats: int) -> list[Line]:
    """Ten ones per row: conjugate gradients against the fit and two products."""
    n, p = (200_000, 20_000) if full else (20_000, 2000)
    rng = np.random.default_rng(0)
    share = np.cumsum(1 / np.arange(1, p // 10 + 1))  # of Zipf's frequencies
    places = np.searchsorted(share / share[-1], rng.uniform(size=(n, 10)))
    columns = (places + p // 10 * np.arange(10)).reshape(-1)
    S = sparse.csr_array(
        (np.ones(10 * n), columns, np.arange(0, 10 * n + 1, 10)), (n, p)
    )
    u = S @ rng.normal(size=p)
    y, v = (u + rng.logistic(size=n) > np.median(u)).astype(int), rng.normal(size=p)
    model = LogisticRegression(max_iter=1000).fit(S, y)
    explainer = InfluenceExplainer(model, solver="cg").fit(S, y)
    refit, fit, products, mean = paired_ratios(
        max(repeats // 2, 1),
        lambda: LogisticRegression(max_iter=1000).fit(S, y),
        lambda: InfluenceExplainer(model, solver="cg").fit(S, y),
        lambda: S.T @ (S @ v),
        lambda: explainer.influence(S[:500], y[:500], aggregate="mean"),
    )
    shape = f"{n:,} x {p}, one-hot"
    return [
        versus(f"{shape}: fit (cg)", fit, "LogisticRegression().fit", refit, "none"),
        versus(f"{shape}: influence, mean of 500", mean, "S'(S v)", products, "none"),
    ]


# --- exact leave-one-out, growth ----------------------------------------------------------


def exact(full: bool, repeats: int) -> list[Line]:
    """Exact leave-one-out beside warm-started Newton and scikit-learn's refits."""
    lines = deletions(2000, 20, repeats)
    if full:
        lines += deletions(20_000, 50, 1)
    return lines


def growth(full: bool, repeats: int) -> list[Line]:
    """Twice the rows, twice the test points: twice the time, the same memory."""
    n, p = (100_000, 50) if full else (50_000, 50)
    X, y = binary_rows(2 * n, p)
    model = LogisticRegression(C=0.01)
    explainers = [InfluenceExplainer(model).fit(X[:m], y[:m]) for m in (n, 2 * n)]

    def calls(m: int, explainer: Any, k: int) -> dict[str, Callable[[], Any]]:
        def top_influences() -> Any:
            with config_context(working_memory=16):
                return explainer.top_influences(X[:k], y[:k], k=10)

        return {
            "fit": lambda: InfluenceExplainer(model).fit(X[:m], y[:m]),
            "loo_predict": explainer.loo_predict,
            "top_influences": top_influences,
        }

    once, rows_twice = calls(n, explainers[0], 500), calls(2 * n, explainers[1], 500)
    points_twice = calls(n, explainers[0], 1000)
    lines = []
    for label, name, more in [
        *(("n x 2", name, rows_twice) for name in once),
        ("m x 2", "top_influences", points_twice),
    ]:
        before, after = paired_ratios(repeats, once[name], more[name])
        lines.append(versus(f"{label}: {name}", after, "before", before, "1.8 to 2.2"))
        low, high = peak_of(once[name]), peak_of(more[name])
        what = f"{label}: peak memory of {name}"
        held = in_mebibytes(high), f"before: {in_mebibytes(low)}"
        lines.append(Line(what, *held, f"{high / low:.2f}", "n numbers a row apart"))
    return lines


# --- measuring ----------------------------------------------------------------------------


def classes(n: int, p: int, K: int) -> tuple[Any, Any]:
    """Normal features and labels of a softmax model."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    scores = X @ rng.normal(size=(p, K)) / p**0.5 + rng.gumbel(size=(n, K))
    return X, scores.argmax(axis=1)


def paired_ratios(repeats: int, *calls: Callable[[], Any]) -> list[list[float]]:
    """Seconds of each call in each turn; the first turn is a warm-up and not counted."""
    seconds: list[list[float]] = [[] for _ in calls]
    for turn in range(repeats + 1):
        for call, own in zip(calls, seconds, strict=True):
            start = time.perf_counter()
            call()
            if turn:
                own.append(time.perf_counter() - start)
    return seconds


def median(seconds: list[float]) -> float:
    """Median over the turns."""
    return statistics.median(seconds)


def median_ratio(ours: list[float], other: list[float]) -> float:
    """Median over the turns of the ratio within a turn."""
    return statistics.median(a / b for a, b in zip(ours, other, strict=True))


def versus(
    what: str, ours: list[float], name: str, other: list[float], target: str
) -> Line:
    """A line of two times."""
    return Line(
        what,
        in_words(median(ours)),
        f"{name}: {in_words(median(other))}",
        f"{median_ratio(ours, other):.2f}",
        target,
    )


SECTIONS: dict[str, Callable[[bool, int], list[Line]]] = {
    "hessian": hessian,
    "audit": audit,
    "top": top,
    "softmax": softmax,
    "threads": threads,
    "float32": float32,
    "wide": wide,
    "exact": exact,
    "growth": growth,
}

if __name__ == "__main__":
    main()
