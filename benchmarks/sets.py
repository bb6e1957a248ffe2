"""Folds and groups against refits, and the search for influential sets in a million rows.

Run ``python benchmarks/sets.py``; it ends with Markdown tables. One thread, float64.
"""

import argparse
import datetime
import json
import platform
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import sklearn
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import cross_val_predict
from threadpoolctl import threadpool_limits

import skinfluence
from skinfluence import InfluenceExplainer

CARS = Path(__file__).parents[1] / "tests" / "data" / "sets_ols_mtcars.json"


def main() -> None:
    """Run all comparisons and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(
        f"{datetime.date.today()}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, scikit-learn {sklearn.__version__}, "
        f"skinfluence {skinfluence.__version__}, {platform.machine()}, one thread"
    )
    with threadpool_limits(limits=1):
        folds(options.rows // 10, 50, options.repeats)
        cars()
        large(options.rows, 10)


def folds(n: int, p: int, repeats: int) -> None:
    """Ten folds as groups against ten refits; and many small groups."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    u = X @ rng.normal(size=p) / np.sqrt(p)
    models = {
        "least squares": (LinearRegression(), u + rng.normal(size=n), "predict"),
        "logistic, exact": (
            LogisticRegression(solver="newton-cholesky", tol=1e-10),
            u + rng.logistic(size=n) > 0,
            "decision_function",
        ),
    }
    print(
        f"\n10 folds, n={n}, p={p}\n\n| model | cv_predict | refits | ratio | error |"
    )
    print("| --- | --- | --- | --- | --- |")
    for name, (model, y, method) in models.items():
        explainer = InfluenceExplainer(model, deletion="exact").fit(X, y)
        ours, theirs = [], []
        for _ in range(repeats):
            seconds, found = timed(explainer.cv_predict, 10, method=method)
            ours.append(seconds)
            seconds, truth = timed(cross_val_predict, model, X, y, cv=10, method=method)
            theirs.append(seconds)
        error = np.abs(found - truth).max() / np.abs(truth).max()
        fast, slow = median(ours), median(theirs)
        print(
            f"| {name} | {fast:.2f} s | {slow:.2f} s | {slow / fast:.1f} | {error:.0e} |"
        )
    labels = rng.integers(0, n // 5, n)
    explainer = InfluenceExplainer(LinearRegression()).fit(X, u)
    seconds, _ = timed(explainer.group_delta, X[:100], groups=labels, aggregate="mean")
    print(f"\n{n // 5} groups of about 5 rows: {seconds:.1f} s")


def cars() -> None:
    """The fewest rows whose deletion flips a coefficient of mtcars."""
    data = json.loads(CARS.read_text())
    X, y = np.array(data["X"], dtype=float)[:, 1:], np.array(data["y"], dtype=float)
    explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
    print("\n| mtcars | rows | bound | greedy | by enumeration | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for j, name in enumerate(data["columns"]):
        truth = data["coefficients"][name]
        target = "intercept" if j == 0 else j - 1
        seconds, found = timed(explainer.influential_set, target)
        smallest = truth["exact_min_flip"]["k"] or "more than 5"
        print(
            f"| {name} | {len(found.rows)} | {found.lower_bound} | "
            f"{truth['greedy_k']} | {smallest} | {seconds:.2f} |"
        )


def large(n: int, p: int) -> None:
    """Small sets among a million rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    y = X @ rng.normal(size=p) + rng.standard_t(3, size=n)
    y += (0.004 - LinearRegression().fit(X, y).coef_[0]) * X[:, 0]
    seconds, explainer = timed(InfluenceExplainer(LinearRegression()).fit, X, y)
    print(f"\nn={n}, p={p}; fit {seconds:.1f} s\n")
    print("| asked | rows | initial | achieved | additive ranking | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    order = np.argsort(-explainer.param_influence().coef[:, 0])
    questions: list[dict[str, Any]] = [
        {},
        {"k": 100, "direction": "decrease"},
        {"k": 1000, "direction": "decrease"},
    ]
    for asked in questions:
        seconds, found = timed(explainer.influential_set, 0, **asked)
        kept = np.ones(n, dtype=bool)
        kept[order[: len(found.rows)]] = False
        additive = LinearRegression().fit(X[kept], y[kept]).coef_[0]
        print(
            f"| {asked or 'flip'} | {len(found.rows)} | {found.initial:.4f} | "
            f"{found.achieved:.6f} | {additive:.6f} | {seconds:.1f} |"
        )


def timed(function: Any, *given: Any, **options: Any) -> tuple[float, Any]:
    """Seconds and result of a call."""
    start = time.perf_counter()
    result = function(*given, **options)
    return time.perf_counter() - start, result


if __name__ == "__main__":
    main()
