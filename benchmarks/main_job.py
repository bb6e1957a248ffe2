"""The main job against the linear algebra it cannot avoid, and against refits.

Run ``python benchmarks/main_job.py``; it ends with a Markdown table. Both sides of every
ratio are timed in turns in the same run, one thread each, and medians are compared.
"""

import argparse
import datetime
import platform
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy
import sklearn
from contests import exact
from scipy.linalg import blas, lapack, solve_triangular
from scipy.special import expit
from sklearn import config_context
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

import skinfluence
from skinfluence import InfluenceExplainer

WORKING_MEMORY = 16  # MiB, for the blocks of top_influences


class Line(NamedTuple):
    """One comparison of the table."""

    what: str
    ours: str
    other: str
    ratio: str
    target: str


def main() -> None:
    """Run all comparisons and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    print(
        f"{datetime.date.today()}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, SciPy {scipy.__version__}, "
        f"scikit-learn {sklearn.__version__}, skinfluence {skinfluence.__version__}, "
        f"{platform.machine()}, one thread, float64"
    )
    with threadpool_limits(limits=1):
        lines = audit(options.rows, options.features, options.repeats)
        lines += deletions(2000, 20, options.repeats)
    print("\n| what | skinfluence | beside it | ratio | target |")
    print("| --- | --- | --- | --- | --- |")
    for line in lines:
        print("| " + " | ".join(line) + " |")


# --- the audit of a large model -------------------------------------------------------


def audit(n: int, p: int, repeats: int) -> list[Line]:
    """Fit, leave-one-out predictions and a mean influence, against bare products."""
    X, y = binary_rows(n, p)
    model = LogisticRegression(solver="newton-cholesky", tol=1e-14).fit(X, y)
    default = LogisticRegression().fit(X, y)
    explainer = InfluenceExplainer(model).fit(X, y)
    n_polished = InfluenceExplainer(default).fit(X, y).n_iter_
    some = slice(0, 1000)
    weight = expit(model.decision_function(X)) * expit(-model.decision_function(X))
    factor = np.asfortranarray(np.linalg.cholesky(X.T @ X))

    def scaled_product() -> Any:
        """The work every Hessian needs: scale, multiply, factor."""
        scaled = X * np.sqrt(weight)[:, None]
        H = blas.dsyrk(1.0, scaled.T)
        return lapack.dpotrf(H, overwrite_a=True)

    def triangular_solve() -> Any:
        return solve_triangular(factor, X.T, lower=True, check_finite=False)

    def top_influences() -> Any:
        with config_context(working_memory=WORKING_MEMORY):
            return explainer.top_influences(X[some], y[some], k=10)

    bare, fit, polished, solve, loo, mean = paired(
        repeats,
        scaled_product,
        lambda: InfluenceExplainer(model).fit(X, y),
        lambda: InfluenceExplainer(default).fit(X, y),
        triangular_solve,
        lambda: explainer.loo_predict(method="decision_function"),
        lambda: explainer.influence(X[some], y[some], aggregate="mean"),
    )
    product, solving = "scale + dsyrk + Cholesky", "triangular solve"
    own = f"fit, model at its minimum (n_iter_ {explainer.n_iter_})"
    far = f"fit, default lbfgs model, polished (n_iter_ {n_polished})"
    lines = [
        compared(own, fit, product, bare, "<= 2"),
        compared(far, polished, product, bare, "no target"),
        compared("loo_predict, all rows", loo, solving, solve, "<= 2"),
        compared("mean influence on 1,000 rows", mean, product, bare, "< 1"),
        compared("mean influence on 1,000 rows", mean, solving, solve, "< 1"),
    ]
    calls: dict[str, Callable[[], Any]] = {
        "fit": lambda: InfluenceExplainer(model).fit(X, y),
        "loo_predict": explainer.loo_predict,
        f"top_influences of 1,000 rows, working_memory={WORKING_MEMORY}": top_influences,
    }
    data = X.nbytes + y.nbytes
    for name, call in calls.items():
        peak = peak_of(call)
        held, of = in_mebibytes(peak), f"data: {in_mebibytes(data)}"
        share = f"{peak / data:.2f}"
        lines.append(Line(f"peak memory of {name}", held, of, share, "blocks, < 1"))
    shape = f"{n:,} x {p}"
    return [line._replace(what=f"{shape}: {line.what}") for line in lines]


# --- exact leave-one-out of a small model ---------------------------------------------


def deletions(n: int, p: int, repeats: int) -> list[Line]:
    """Exact leave-one-out parameters against four ways of refitting."""
    given = exact.problem(n, p)
    X, y, sample = given["X"], given["y"], exact.some_of(n)
    truth = exact.definition(given)
    explainer = InfluenceExplainer(given["model"], deletion="exact", tol=1e-8)
    explainer.fit(X, y)

    def ours() -> Any:
        delta = explainer.loo_params()
        return np.column_stack([delta.coef[:, 0], delta.intercept])[sample]

    peers = {
        "Newton's method in NumPy, warm start, tol=1e-8": exact.by_newton(given),
        "LogisticRegression, newton-cholesky, tol=1e-10": exact.by_refits(
            solver="newton-cholesky", tol=1e-10
        )(given),
        "LogisticRegression, newton-cholesky, default tol": exact.by_refits(
            solver="newton-cholesky"
        )(given),
        "LogisticRegression, lbfgs, default tol": exact.by_refits()(given),
    }
    own, *seconds = paired(max(repeats // 2, 3), ours, *peers.values())
    own_error = relative_error(ours(), truth)
    target = ">= 50" if n >= 20_000 else "none"
    lines = []
    for (name, refits), of_sample in zip(peers.items(), seconds, strict=True):
        error = relative_error(refits(), truth)
        of_all = of_sample * n / len(sample)
        other = (
            f"{name}: {in_words(of_all)} (from {len(sample)} rows), error {error:.0e}"
        )
        lines.append(
            Line(
                f"{n:,} x {p}: exact parameter deltas, tol=1e-8",
                f"{in_words(own)}, error {own_error:.0e}",
                other,
                f"{of_all / own:.1f} x faster",
                ">= 5" if "NumPy" in name else target,
            )
        )
    return lines


# --- measuring ------------------------------------------------------------------------


def binary_rows(n: int, p: int) -> tuple[Any, Any]:
    """Normal features and labels of a logistic model."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    return X, (X[:, 0] + X[:, 1] + rng.logistic(size=n) > 0).astype(int)


def paired(repeats: int, *calls: Callable[[], Any]) -> list[float]:
    """Median seconds of each call; the calls take turns, so noise affects all alike."""
    seconds: list[list[float]] = [[] for _ in calls]
    for turn in range(repeats + 1):
        for call, own in zip(calls, seconds, strict=True):
            start = time.perf_counter()
            call()
            if turn:  # the first turn warms up
                own.append(time.perf_counter() - start)
    return [float(np.median(own)) for own in seconds]


def peak_of(call: Callable[[], Any]) -> int:
    """Peak bytes that a call holds beyond what was held before it."""
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def relative_error(found: Any, truth: Any) -> float:
    """Largest absolute error over the largest absolute delta."""
    return float(np.abs(found - truth).max() / np.abs(truth).max())


def in_mebibytes(n_bytes: float) -> str:
    """Bytes as MiB."""
    return f"{n_bytes / 2**20:.1f} MiB"


def compared(what: str, ours: float, name: str, other: float, target: str) -> Line:
    """A line of two times."""
    return Line(
        what,
        in_words(ours),
        f"{name}: {in_words(other)}",
        f"{ours / other:.2f}",
        target,
    )


def in_words(seconds: float) -> str:
    """Seconds, or milliseconds below one."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.1f} ms"


if __name__ == "__main__":
    main()
