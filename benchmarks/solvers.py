"""``solver="cg"`` against ``solver="direct"`` on a wide softmax model, in one run.

Digits with products of pixels: n = 1797 rows, p = 620 features, K = 10 classes, so that
H has 6,210 columns. Both solvers explain the same fitted model; times include ``fit``,
where "direct" factors and "cg" prepares its preconditioner; memory is the peak of what
Python allocates. Read the ratios, since the machine may be shared.

Run: ``python benchmarks/solvers.py [--quick] [--text]``. ``--quick`` takes 40 features,
seconds instead of minutes; ``--text`` adds a sparse problem, 20,000 rows by 50,000 columns.
"""

import argparse
import os
import platform
import time
import tracemalloc
import warnings
from typing import NamedTuple

import numpy as np
import scipy
import sklearn
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

import skinfluence
from skinfluence import InfluenceExplainer

FEATURES, FEW_FEATURES, TEST_POINTS = 620, 40, 100


def digits(n_features):
    """Pixels and the products of two with the largest variance, standardised."""
    X, y = load_digits(return_X_y=True)
    X = PolynomialFeatures(2, include_bias=False).fit_transform(X / 16)
    X = X[:, np.sort(np.argsort(-X.var(axis=0))[:n_features])]
    return StandardScaler().fit_transform(X), y


def measured(function):
    """Result, seconds, and the most memory held at once beyond before, in MiB."""
    tracemalloc.start()
    start = time.perf_counter()
    result = function()
    seconds = time.perf_counter() - start
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return result, seconds, most / 2**20


class Measured(NamedTuple):
    """What one solver answered, and what that cost."""

    mean: np.ndarray
    separate: np.ndarray
    seconds: float  # fit and mean influence
    more: float  # separate points, after that
    memory: float  # MiB, of fit and mean influence


def ask(solver, model, X, y, test):
    """Fit, the mean influence, and the influence on each test point."""

    def mean():
        explainer = InfluenceExplainer(model, solver=solver).fit(X, y)
        return explainer, explainer.influence(X[test], y[test], aggregate="mean")

    (explainer, values), seconds, memory = measured(mean)
    separate, more, _ = measured(lambda: explainer.influence(X[test], y[test]))
    print(
        f"{solver:7s} fit and mean influence {seconds:7.2f} s, {memory:6.0f} MiB; "
        f"{len(test)} separate points {more:6.2f} s more; residual "
        f"{explainer.residual_:.0e}, {explainer.n_iter_} Newton steps",
        flush=True,
    )
    return Measured(values, separate, seconds, more, memory)


def compare(model, X, y):
    """Both solvers in turns, and their ratios."""
    test = np.random.default_rng(0).choice(len(X), TEST_POINTS, replace=False)
    cg = ask("cg", model, X, y, test)
    direct = ask("direct", model, X, y, test)
    for name in ("mean", "separate"):
        truth = getattr(direct, name)
        error = np.abs(getattr(cg, name) - truth).max() / np.abs(truth).max()
        print(f"largest difference, {name}: {error:.1e} of the largest influence")
    print(
        f"cg against direct: mean influence {direct.seconds / cg.seconds:.1f} x faster, "
        f"in {cg.memory / direct.memory:.3f} of the memory; {TEST_POINTS} separate "
        f"points, fit included, in "
        f"{(cg.seconds + cg.more) / (direct.seconds + direct.more):.2f} of the time"
    )


def text(n=20_000, p=50_000):
    """Documents of words with Zipf's frequencies, tf-idf, and two classes."""
    rng = np.random.default_rng(0)
    share = np.cumsum(1 / np.arange(1, p + 1))
    lengths = rng.integers(60, 300, size=n)
    words = np.searchsorted(share / share[-1], rng.uniform(size=lengths.sum()))
    counts = (np.ones(len(words)), (np.repeat(np.arange(n), lengths), words))
    X = TfidfTransformer(sublinear_tf=True).fit_transform(
        sparse.csr_array(counts, shape=(n, p))
    )
    score = X @ (3 * rng.normal(size=p))
    return X, (score + 0.3 * rng.logistic(size=n) > np.median(score)).astype(int)


def explain_text():
    """Seconds and memory of the questions that a large sparse model is asked."""
    X, y = text()
    print(f"text: X {X.shape}, {X.nnz / len(y):.0f} entries a row")
    model, seconds, _ = measured(lambda: LogisticRegression(max_iter=1000).fit(X, y))
    print(f"scikit-learn's own fit {seconds:.1f} s")
    explainer = InfluenceExplainer(model)
    asked = {
        "fit": lambda: explainer.fit(X, y),
        "mean influence": lambda: explainer.influence(
            X[:500], y[:500], aggregate="mean"
        ),
        "influence on 100 points": lambda: explainer.influence(X[:100], y[:100]),
    }
    for name, function in asked.items():
        _, seconds, memory = measured(function)
        print(
            f"{name}: {seconds:.1f} s, {memory:.0f} MiB, solver {explainer.solver_!r}"
        )


def main():
    """Compare on digits, and explain the text where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer features, seconds")
    parser.add_argument("--text", action="store_true", help="a sparse problem too")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(
        f"Python {platform.python_version()}, NumPy {np.__version__}, "
        f"SciPy {scipy.__version__}, scikit-learn {sklearn.__version__}, "
        f"skinfluence {skinfluence.__version__}, {os.cpu_count()} CPUs, load "
        f"{os.getloadavg()[0]:.1f}"
    )
    X, y = digits(FEW_FEATURES if options.quick else FEATURES)
    model = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000).fit(X, y)
    print(
        f"softmax: X {X.shape}, {len(model.classes_)} classes, H {X.shape[1] * 10 + 10}"
    )
    compare(model, X, y)
    if options.text:
        explain_text()


if __name__ == "__main__":
    main()
