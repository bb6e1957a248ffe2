"""Textbook diagnostics beside statsmodels, which refits n times for some of them.

Run ``python benchmarks/diagnostics.py`` with statsmodels installed; it ends with a
Markdown table. Both sides of every ratio run in turns in the same process on one thread,
and medians of CPU seconds are compared. Ours includes the fit of the explainer.
"""

import argparse
import datetime
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy
import sklearn
import statsmodels
import statsmodels.api as sm
from scipy.special import expit
from sklearn.linear_model import LinearRegression, LogisticRegression
from statsmodels.stats.outliers_influence import GLMInfluence, OLSInfluence
from threadpoolctl import threadpool_limits

import skinfluence
from skinfluence import InfluenceExplainer

# Our columns, and the attributes of statsmodels' OLSInfluence.
CLOSED = {
    "leverage": "hat_matrix_diag",
    "resid_studentized_internal": "resid_studentized_internal",
    "loo_resid": "resid_press",
    "cooks_distance": "cooks_distance",
}
BY_REFITS = {
    "resid_studentized_external": "resid_studentized_external",
    "dffits": "dffits",
    "dfbetas": "dfbetas",
    "cov_ratio": "cov_ratio",
}


class Line(NamedTuple):
    """One comparison of the table."""

    what: str
    ours: str
    other: str
    ratio: str
    error: str


def main() -> None:
    """Run all comparisons and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--refitted", type=int, default=2_000)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    print(
        f"{datetime.date.today()}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, SciPy {scipy.__version__}, pandas {pd.__version__}, "
        f"scikit-learn {sklearn.__version__}, statsmodels {statsmodels.__version__}, "
        f"skinfluence {skinfluence.__version__}, {platform.machine()}, one thread, "
        "float64, CPU seconds, medians"
    )
    with threadpool_limits(limits=1):
        lines = least_squares(options)
        lines += logit(options)
    print("\n| what | skinfluence | beside it | ratio | largest relative difference |")
    print("| --- | --- | --- | --- | --- |")
    for line in lines:
        print("| " + " | ".join(line) + " |")


# --- least squares --------------------------------------------------------------------


def least_squares(options: argparse.Namespace) -> list[Line]:
    """All columns, beside the closed forms alone and beside n refits."""
    n, p, few = options.rows, options.features, options.refitted
    X, y = numbers(n, p)
    model = LinearRegression().fit(X, y)
    fitted = sm.OLS(y, sm.add_constant(X)).fit()

    def ours() -> pd.DataFrame:
        return InfluenceExplainer(model).fit(X, y).diagnostics()

    def closed() -> dict[str, Any]:
        influence = OLSInfluence(fitted)
        return {name: values_of(influence, theirs) for name, theirs in CLOSED.items()}

    all_columns, closed_forms, by_hand = paired(
        options.repeats, ours, closed, lambda: from_qr(X, y)
    )
    table = ours()
    lines = [
        Line(
            f"all OLS diagnostics, {n:,} x {p}",
            seconds(all_columns),
            f"statsmodels, closed forms only ({len(CLOSED)} columns): "
            + seconds(closed_forms),
            times(closed_forms, all_columns),
            f"{largest_difference(table, closed()):.0e}",
        ),
        Line(
            "the same",
            seconds(all_columns),
            f"NumPy by hand, QR, the same columns: {seconds(by_hand)}",
            times(by_hand, all_columns),
            f"{largest_difference(table, from_qr(X, y)):.0e}",
        ),
    ]
    X_few, y_few = X[:few], y[:few]
    model_few = LinearRegression().fit(X_few, y_few)
    fitted_few = sm.OLS(y_few, sm.add_constant(X_few)).fit()

    def refits() -> dict[str, Any]:
        influence = OLSInfluence(fitted_few)
        found = {name: values_of(influence, of) for name, of in BY_REFITS.items()}
        # Their intercept stands first, ours last.
        return found | {"dfbetas": np.roll(found["dfbetas"], -1, axis=1)}

    (of_refits,) = paired(1, refits)
    table_few = InfluenceExplainer(model_few).fit(X_few, y_few).diagnostics()
    # n refits of n p^2 flops each.
    extrapolated = of_refits * (n / few) ** 2
    lines.append(
        Line(
            "the same",
            seconds(all_columns),
            f"statsmodels, all columns: {extrapolated / 3600:.1f} h, extrapolated by "
            f"n^2 from {seconds(of_refits)} at {few:,} x {p} ({few:,} refits)",
            times(extrapolated, all_columns),
            f"{largest_difference(table_few, refits()):.0e} (at {few:,} x {p})",
        )
    )
    return lines


def from_qr(X: Any, y: Any) -> dict[str, Any]:
    """The same columns by hand: Belsley, Kuh & Welsch, from one QR decomposition."""
    Z = np.column_stack([X, np.ones(len(X))])
    n, p = Z.shape
    Q, R = np.linalg.qr(Z)
    residual = y - Q @ (Q.T @ y)
    h = np.einsum("ij,ij->i", Q, Q)
    squares = residual @ residual
    loo = residual / (1 - h)
    scale = np.sqrt((squares - residual * loo) / (n - p - 1))
    internal = residual / np.sqrt(squares / (n - p) * (1 - h))
    inverse = np.linalg.inv(R)
    errors = np.sqrt(np.einsum("ij,ij->i", inverse, inverse))
    return {
        "leverage": h,
        "resid_studentized_internal": internal,
        "resid_studentized_external": residual / (scale * np.sqrt(1 - h)),
        "cooks_distance": internal**2 * h / (1 - h) / p,
        "dffits": loo * np.sqrt(h) / scale,
        "dfbetas": (Q @ inverse.T) * (loo / scale)[:, None] / errors,
        "cov_ratio": (scale**2 / (squares / (n - p))) ** p / (1 - h),
        "loo_resid": loo,
    }


# --- logit ----------------------------------------------------------------------------


def logit(options: argparse.Namespace) -> list[Line]:
    """Leverage, Cook's distance and one-step deltas of the parameters."""
    n, p = options.rows, options.features
    X, _ = numbers(n, p)
    rng = np.random.default_rng(1)
    y = (rng.uniform(size=n) < expit(X @ rng.normal(size=p) / np.sqrt(p))).astype(int)
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12).fit(X, y)
    fitted = sm.GLM(y, sm.add_constant(X), family=sm.families.Binomial()).fit(tol=1e-12)

    def ours() -> Any:
        explainer = InfluenceExplainer(model).fit(X, y)
        return explainer.diagnostics(), explainer.loo_params()

    def theirs() -> dict[str, Any]:
        influence = GLMInfluence(fitted)
        deltas = influence.d_params
        return {
            "leverage": influence.hat_matrix_diag,
            "cooks_distance": influence.cooks_distance[0],
            "deltas": np.column_stack([deltas[:, 1:], deltas[:, 0]]),
        }

    fit, columns, both, peer = paired(
        options.repeats,
        lambda: InfluenceExplainer(model).fit(X, y),
        lambda: InfluenceExplainer(model).fit(X, y).diagnostics(),
        ours,
        theirs,
    )
    table, deltas = ours()
    peers = theirs()
    found = {name: table[name].to_numpy() for name in ("leverage", "cooks_distance")}
    differences = [f"{relative(found[name], peers[name]):.0e}" for name in found]
    some = np.arange(0, n, n // 200)
    truth = one_step(X, y, np.append(model.coef_, model.intercept_), some)
    moved = np.column_stack([deltas.coef[some, 0, :], deltas.intercept[some]])
    # Theirs are with the row minus without it.
    error, of_peer = relative(moved, truth), relative(-peers["deltas"][some], truth)
    return [
        Line(
            f"logit, {n:,} x {p}: fit and all columns (the deltas as dfbetas)",
            seconds(columns),
            "GLMInfluence: leverage, Cook's distance, deltas: " + seconds(peer),
            times(peer, columns),
            ", ".join(differences),
        ),
        Line(
            "the same, and the deltas as coefficients",
            seconds(both),
            "GLMInfluence: " + seconds(peer),
            times(peer, both),
            f"of the deltas from one Newton step by hand, {len(some)} rows: ours "
            f"{error:.0e}, theirs {of_peer:.0e}",
        ),
        Line("of that the fit of the explainer", seconds(fit), "", "", ""),
    ]


def one_step(X: Any, y: Any, theta: Any, rows: Any) -> Any:
    """Newton step from ``theta`` without each of these rows, by its definition."""
    Z = np.column_stack([X, np.ones(len(X))])
    mu = expit(Z @ theta)
    H, weight, slope = (Z * (mu * (1 - mu))[:, None]).T @ Z, mu * (1 - mu), mu - y
    gradient = Z.T @ slope
    return np.array(
        [
            -np.linalg.solve(
                H - weight[i] * np.outer(Z[i], Z[i]), gradient - slope[i] * Z[i]
            )
            for i in rows
        ]
    )


# --- tools ----------------------------------------------------------------------------


def numbers(n: int, p: int) -> tuple[Any, Any]:
    """Correlated features of different scales, and a target."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p)) @ (np.eye(p) + 0.3 * rng.normal(size=(p, p)) / p**0.5)
    X = X + rng.normal(size=p)
    return X, X @ rng.normal(size=p) + rng.standard_t(5, size=n)


def paired(repeats: int, *calls: Callable[[], Any]) -> list[float]:
    """Median CPU seconds of each call, all of them in turns."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, own in zip(calls, taken, strict=True):
            start = time.process_time()
            call()
            own.append(time.process_time() - start)
    return [statistics.median(own) for own in taken]


def values_of(influence: Any, name: str) -> Any:
    """An attribute of statsmodels' influence; with its p-values left out."""
    values = getattr(influence, name)
    return values[0] if isinstance(values, tuple) else values


def largest_difference(table: pd.DataFrame, theirs: dict[str, Any]) -> float:
    """Over all columns, relative to the largest value of each."""
    names = [name for name in table if name.startswith("dfbetas_")]
    differences = []
    for name, values in theirs.items():
        ours = table[names if name == "dfbetas" else name].to_numpy()
        differences.append(relative(ours, values))
    return max(differences)


def relative(found: Any, values: Any) -> float:
    """Largest difference over the largest value."""
    return float(np.abs(found - values).max() / np.abs(values).max())


def seconds(number: float) -> str:
    """CPU seconds in words."""
    return f"{number:.3f} s"


def times(slow: float, fast: float) -> str:
    """How many times faster."""
    return f"{slow / fast:,.1f} x faster"


if __name__ == "__main__":
    main()
