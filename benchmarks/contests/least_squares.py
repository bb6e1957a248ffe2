"""Textbook diagnostics of least squares: statsmodels refits n times for some of them.

The definition is Belsley, Kuh & Welsch (1980), chapter 2, from one QR decomposition.
"""

from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression

from contests._contest import Contest, Contestant, relative_error
from skinfluence import InfluenceExplainer

FEW = 2_000  # rows of the contestant that refits

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


def problem(n: int, p: int) -> dict[str, Any]:
    """Correlated features of different scales, and a target with a few outliers."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p)) @ (np.eye(p) + 0.3 * rng.normal(size=(p, p)) / p**0.5)
    X = X + rng.normal(size=p)
    y = X @ rng.normal(size=p) + rng.standard_t(5, size=n)
    return dict(X=X, y=y, model=LinearRegression().fit(X, y))


def columns(X: Any, y: Any) -> dict[str, Any]:
    """All columns by hand."""
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


def definition(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of all rows, and of the few that one contestant answers for."""
    X, y = given["X"], given["y"]
    return columns(X, y), columns(X[:FEW], y[:FEW])


def judge(found: Any, truth: tuple[Any, Any]) -> str:
    """The largest error of all columns, each relative to its largest value."""
    n = len(next(iter(found.values())))
    own = next(each for each in truth if len(each["leverage"]) == n)
    return f"{relative_error(found, own):.0e}"


def of_explainer(given: dict[str, Any]) -> Any:
    """The explainer's table, its fit included."""

    def run() -> Any:
        explainer = InfluenceExplainer(given["model"])
        return explainer.fit(given["X"], given["y"]).diagnostics()

    return run


def read_table(table: Any) -> dict[str, Any]:
    """Columns of a DataFrame, or of a Bunch where pandas is absent."""
    betas = [name for name in table if name.startswith("dfbetas_")]
    found = {
        name: np.asarray(table[name])
        for name in (*CLOSED, *BY_REFITS)
        if name != "dfbetas"
    }
    return found | {"dfbetas": np.column_stack([table[name] for name in betas])}


def of_explainer_and_model(given: dict[str, Any]) -> Any:
    """The same from the rows alone."""

    def run() -> Any:
        model = LinearRegression().fit(given["X"], given["y"])
        return InfluenceExplainer(model).fit(given["X"], given["y"]).diagnostics()

    return run


def by_hand(given: dict[str, Any]) -> Any:
    """The definition, which is also the code that a careful user would write."""
    return lambda: columns(given["X"], given["y"])


def statsmodels_of(names: dict[str, str], few: bool = False, fit: bool = True) -> Any:
    """Some of statsmodels' columns, for all rows or a few, with its fit or without."""

    def prepare(given: dict[str, Any]) -> Any:
        import statsmodels.api as sm

        rows = slice(FEW if few else None)
        Z = sm.add_constant(given["X"][rows], prepend=False)
        model = sm.OLS(given["y"][rows], Z)
        results = None if fit else model.fit()

        def run() -> dict[str, Any]:
            influence = (results or model.fit()).get_influence()
            found = {ours: getattr(influence, own) for ours, own in names.items()}
            # With p-values or a threshold beside them, some are tuples.
            return {
                name: values[0] if isinstance(values, tuple) else values
                for name, values in found.items()
            }

        return run

    return prepare


CONTESTS = [
    Contest(
        "diagnostics",
        "Diagnostics of least squares, eight columns",
        problem,
        definition,
        dict(n=100_000, p=50),
        dict(n=200, p=3),
        [
            Contestant(
                "skinfluence, the model's fit included",
                of_explainer_and_model,
                read_table,
            ),
            Contestant("skinfluence, of a fitted model", of_explainer, read_table),
            Contestant("NumPy, by hand, QR", by_hand),
            Contestant(
                "statsmodels, the four columns in closed form, its fit included",
                statsmodels_of(CLOSED),
                package="statsmodels",
            ),
            Contestant(
                "statsmodels, the same of a fitted model",
                statsmodels_of(CLOSED, fit=False),
                package="statsmodels",
                note="Its fit already computed the pseudo-inverse, which is most of "
                "the work.",
                reason="its fit keeps the pseudo-inverse, and four of the eight columns "
                "are not computed",
            ),
            Contestant(
                "statsmodels, all columns",
                statsmodels_of(CLOSED | BY_REFITS, few=True),
                package="statsmodels",
                note=f"Extrapolated by the square of n from {FEW:,} rows: it refits once "
                f"per row. Memory and error are those of {FEW:,} rows.",
                extrapolate=lambda sizes: max(sizes["n"] / FEW, 1.0) ** 2,
            ),
        ],
        judge=judge,
    )
]
