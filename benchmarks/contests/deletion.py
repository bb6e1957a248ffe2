"""Changes of the coefficients when a row is deleted, against exact refits.

The small problems are classics with deletions of great effect; their truth is in the test
data, from refits in 50-digit arithmetic. The large one shows what it costs.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.linear_model import GammaRegressor, LogisticRegression

from contests._contest import Contest, Contestant
from contests._logistic import (
    at_minimum,
    binary_rows,
    ridge_of,
    theta_of,
    with_ones,
    without,
)
from skinfluence import InfluenceExplainer

DATA = Path(__file__).parents[2] / "tests" / "data"
SAMPLE = 200  # rows that are refitted to judge the large problem
ROUTES = (
    "statsmodels is called by its documented interface, results.get_influence(). Its class "
    "GLMInfluence, given only the results, ignores the weights of the rows."
)


# --- the large problem ---


def large(n: int, p: int) -> dict[str, Any]:
    """An unpenalised logistic regression, since statsmodels knows no other here."""
    X, y = binary_rows(n, p)
    return dict(X=X, y=y, model=at_minimum(X, y, C=np.inf))


def some_of(n: int) -> Any:
    """Evenly spaced rows."""
    return np.arange(0, n, max(n // SAMPLE, 1))


def refits(given: dict[str, Any]) -> Any:
    """Deltas of some rows, by Newton's method to 1e-13."""
    Z, model = with_ones(given["X"]), given["model"]
    start, rows = theta_of(model), some_of(len(Z))
    ridge = ridge_of(model)
    return np.array([without(Z, given["y"], ridge, i, start, 1e-13) for i in rows])


def deltas_of_explainer(deletion: str) -> Any:
    """Deltas of all rows, the explainer's fit included."""

    def prepare(given: dict[str, Any]) -> Any:
        def run() -> Any:
            explainer = InfluenceExplainer(given["model"], deletion=deletion)
            return explainer.fit(given["X"], given["y"]).loo_params()

        return run

    return prepare


def parameters(deltas: Any) -> Any:
    """(n, p + 1), the intercept last."""
    n = len(deltas.coef)
    columns = deltas.coef.reshape(n, -1), deltas.intercept.reshape(n, -1)
    return np.hstack(columns)


def by_hand(given: dict[str, Any]) -> Any:
    """One Newton step, Pregibon (1981), for all rows at once."""
    theta, ridge = theta_of(given["model"]), ridge_of(given["model"])

    def run() -> Any:
        Z = with_ones(given["X"])
        mu = expit(Z @ theta)
        scaled = Z * np.sqrt(mu * (1 - mu))[:, None]
        inverse = np.linalg.inv(scaled.T @ scaled + np.diag(ridge))
        solved = Z @ inverse  # (n, d)
        leverage = mu * (1 - mu) * np.einsum("ij,ij->i", Z, solved)
        solved *= ((mu - given["y"]) / (1 - leverage))[:, None]
        return solved

    return run


def fitted_glm(given: dict[str, Any]) -> Any:
    """Results of statsmodels; its fit is not measured."""
    import statsmodels.api as sm

    Z = sm.add_constant(given["X"], prepend=False)
    return sm.GLM(given["y"], Z, family=sm.families.Binomial()).fit(tol=1e-12)


def statsmodels_glm(given: dict[str, Any]) -> Any:
    """GLM's own influence."""
    results = fitted_glm(given)
    return lambda: results.get_influence().d_params


def statsmodels_logit(given: dict[str, Any]) -> Any:
    """The general influence of maximum likelihood estimates."""
    import statsmodels.api as sm

    Z = sm.add_constant(given["X"], prepend=False)
    results = sm.Logit(given["y"], Z).fit(method="newton", tol=1e-12, disp=0)
    return lambda: results.get_influence().d_params


def sampled(found: Any) -> Any:
    """The rows that were refitted."""
    return found[some_of(len(found))]


def with_minus_without(found: Any) -> Any:
    """Theirs have the opposite sign."""
    return sampled(-found)


# --- its table of diagnostics ---


def one_step(given: dict[str, Any]) -> dict[str, Any]:
    """Leverage, Cook's distance and DFBETAS by one Newton step, Pregibon (1981)."""
    Z, theta = with_ones(given["X"]), theta_of(given["model"])
    mu = expit(Z @ theta)
    w, residual = mu * (1 - mu), given["y"] - mu
    inverse = np.linalg.inv((Z * w[:, None]).T @ Z)
    h = w * np.sum((Z @ inverse) * Z, axis=1)
    deltas = (Z @ inverse) * (residual / (1 - h))[:, None]  # with minus without
    return {
        "leverage": h,
        "cooks_distance": residual**2 / w * h / (1 - h) ** 2 / Z.shape[1],
        "dfbetas": deltas / np.sqrt(np.diagonal(inverse)),
    }


def table_of_explainer(given: dict[str, Any]) -> Any:
    """All columns of diagnostics(), the explainer's fit included."""

    def run() -> Any:
        explainer = InfluenceExplainer(given["model"])
        return explainer.fit(given["X"], given["y"]).diagnostics()

    return run


def read_table(table: Any) -> dict[str, Any]:
    """The columns that statsmodels has too."""
    betas = [name for name in table if str(name).startswith("dfbetas_")]
    return {
        "leverage": np.asarray(table["leverage"]),
        "cooks_distance": np.asarray(table["cooks_distance"]),
        "dfbetas": np.column_stack([table[name] for name in betas]),
    }


def table_of_statsmodels(given: dict[str, Any]) -> Any:
    """What summary_frame() is made of, without the DataFrame."""
    results = fitted_glm(given)

    def run() -> Any:
        influence = results.get_influence()
        return {
            "leverage": influence.hat_matrix_diag,
            "cooks_distance": influence.cooks_distance[0],  # p-values come with it
            "dfbetas": influence.d_params / results.bse,
        }

    return run


def frame_of_statsmodels(given: dict[str, Any]) -> Any:
    """Its own table."""
    results = fitted_glm(given)
    return lambda: results.get_influence().summary_frame()


def read_frame(frame: Any) -> dict[str, Any]:
    """Its columns by our names."""
    return {
        "leverage": frame["hat_diag"].to_numpy(),
        "cooks_distance": frame["cooks_d"].to_numpy(),
        "dfbetas": frame.filter(like="dfb_").to_numpy(),
    }


# --- the small problems ---


def classic(name: str, model: Any) -> Any:
    """A file of the test data: rows, target, the fitted model and the exact deltas."""

    def problem() -> dict[str, Any]:
        data = json.loads((DATA / f"{name}.json").read_text())
        X, y = np.array(data["X"], dtype=float), np.array(data["y"], dtype=float)
        base = np.array(data["fit"]["coef"][0])
        none = np.full(base.shape, np.nan)  # no finite optimum without that row
        refits = [
            none if each is None else each[0] for each in data["exact_loo"]["coef"]
        ]
        # The intercept stands first in the files.
        deltas = np.roll(np.array(refits, dtype=float) - base, -1, axis=1)
        return dict(X=X, y=y, model=model.fit(X, y), deltas=deltas)

    return problem


def glm_influence(family: str, link: str, **options: Any) -> Any:
    """Statsmodels' influence for one family and link."""

    def prepare(given: dict[str, Any]) -> Any:
        import statsmodels.api as sm

        Z = sm.add_constant(given["X"], prepend=False)
        kind = getattr(sm.families, family)(getattr(sm.families.links, link)())
        results = sm.GLM(given["y"], Z, family=kind).fit(tol=1e-13, maxiter=200)
        return lambda: results.get_influence(**options).d_params

    return prepare


def inverse_link() -> dict[str, Any]:
    """The trees with a Gamma regression of mean 1 / u: scikit-learn has none."""
    data = json.loads((DATA / "gamma_trees_log.json").read_text())
    X, y = np.array(data["X"], dtype=float), np.array(data["y"], dtype=float)
    return dict(X=X, y=y)


def inverse_link_refits(given: dict[str, Any]) -> Any:
    """Newton's method on half the deviance, ``y u - log u``, without each row."""
    Z, y = with_ones(given["X"]), given["y"]

    def minimum(weight: Any, theta: Any) -> Any:
        for _ in range(100):
            u = Z @ theta
            gradient = Z.T @ (weight * (y - 1 / u))
            H = (Z * (weight / u**2)[:, None]).T @ Z
            step = np.linalg.solve(H, gradient)
            # Halved until every mean stays positive.
            while np.any(Z @ (theta - step) <= 0):
                step = step / 2
            theta = theta - step
            if np.abs(step).max() <= 1e-13 * np.abs(theta).max():
                return theta
        raise RuntimeError("Newton's method has not converged")

    constant = np.append(np.zeros(Z.shape[1] - 1), 1 / y.mean())
    full = minimum(np.ones(len(y)), constant)
    return np.array([minimum(weight, full) - full for weight in 1 - np.eye(len(y))])


def signs(found: Any, truth: Any) -> str:
    """Median relative error and wrong signs, of deltas that are not negligible."""
    finite = np.isfinite(truth).all(axis=1)
    found, truth = found[finite], truth[finite]
    large = np.abs(truth) > 1e-3 * np.abs(truth).max(axis=0)
    errors = np.abs(found - truth)[large] / np.abs(truth[large])
    wrong = int(np.sum((found * truth < 0)[large]))
    return f"{np.median(errors):.0e}; {wrong} of {large.sum()}"


SHORT = (
    "with thirty rows our two milliseconds are input validation, the distance from the "
    "minimum and the steps to it"
)
STEP = (
    "One Newton step is an approximation in every program; the error is that of the "
    "step."
)
HESSIAN = (
    "The fit of the model is not counted. statsmodels keeps the Hessian and its inverse "
    "from it; skinfluence validates the rows and computes them again."
)


def ours(deletion: str) -> Contestant:
    """The explainer with one of its deletions."""
    name = f'skinfluence, deletion="{deletion}"'
    return Contestant(name, deltas_of_explainer(deletion), parameters)


def theirs(name: str, prepare: Any) -> Contestant:
    """A small problem answered by statsmodels, whose deltas are with minus without."""
    return Contestant(
        f"statsmodels, {name}", prepare, np.negative, "statsmodels", reason=SHORT
    )


def small(name: str, title: str, file: str, model: Any, peers: list) -> Contest:
    """A classic and its contestants."""
    return Contest(
        name,
        f"Deltas of the coefficients against refits: {title}",
        classic(file, model),
        lambda given: given["deltas"],
        {},
        {},
        [ours("newton"), ours("exact"), *peers],
        judge=signs,
        judged="median error; wrong signs",
        notes=[ROUTES],
    )


def logit() -> LogisticRegression:
    """Unpenalised, to its minimum."""
    return LogisticRegression(
        C=np.inf, solver="newton-cholesky", tol=1e-12, max_iter=1000
    )


GAMMA = GammaRegressor(alpha=0, solver="newton-cholesky", tol=1e-12)
LOGITS = [
    theirs("GLM", glm_influence("Binomial", "Logit")),
    theirs("Logit", statsmodels_logit),
]
OBSERVED = "GLM, observed Hessian (default)"
CONTESTS = [
    Contest(
        "large",
        "Deltas of the coefficients, all n rows, unpenalised logistic regression",
        large,
        refits,
        dict(n=20_000, p=100),
        dict(n=400, p=3),
        [
            Contestant(
                'skinfluence, deletion="newton"',
                deltas_of_explainer("newton"),
                lambda found: sampled(parameters(found)),
            ),
            Contestant(
                'skinfluence, deletion="exact"',
                deltas_of_explainer("exact"),
                lambda found: sampled(parameters(found)),
            ),
            Contestant(
                "NumPy, by hand, one Newton step",
                by_hand,
                sampled,
                reason="written for one model, assumed to be at its minimum",
            ),
            Contestant(
                "statsmodels GLM, d_params",
                statsmodels_glm,
                with_minus_without,
                "statsmodels",
            ),
            Contestant(
                "statsmodels Logit, d_params",
                statsmodels_logit,
                with_minus_without,
                "statsmodels",
            ),
        ],
        judged=f"error, {SAMPLE} refits",
        notes=[STEP, HESSIAN],
    ),
    Contest(
        "table",
        "DFBETAS of every coefficient, Cook's distance and leverage, all n rows, "
        "unpenalised logistic regression",
        large,
        one_step,
        dict(n=20_000, p=100),
        dict(n=400, p=3),
        [
            Contestant(
                "skinfluence, diagnostics()",
                table_of_explainer,
                read_table,
                note="Computes eleven further columns: residuals of four kinds, "
                "DFFITS, ...",
            ),
            Contestant(
                "statsmodels GLM, d_params, Cook's distance and leverage",
                table_of_statsmodels,
                package="statsmodels",
                note="Includes p-values of Cook's distance, which skinfluence does "
                "not compute.",
            ),
            Contestant(
                "statsmodels GLM, summary_frame()",
                frame_of_statsmodels,
                read_frame,
                "statsmodels",
                note="Includes standardised residuals and DFFITS.",
            ),
        ],
        notes=[HESSIAN],
    ),
    small("vaso", "vasoconstriction, logit, 39 x 2", "logit_vaso", logit(), LOGITS),
    small("mtcars", "mtcars, am, logit, 32 x 2", "logit_mtcars_am", logit(), LOGITS),
    small(
        "trees",
        "trees, Gamma with log link, 31 x 2",
        "gamma_trees_log",
        GAMMA,
        [
            theirs(OBSERVED, glm_influence("Gamma", "Log")),
            theirs(
                "GLM, expected Hessian", glm_influence("Gamma", "Log", observed=False)
            ),
        ],
    ),
    Contest(
        "inverse",
        "Deltas of the coefficients against refits: trees, Gamma with inverse link, 31 x 2",
        inverse_link,
        inverse_link_refits,
        {},
        {},
        [
            Contestant(
                "skinfluence", absent="scikit-learn has no estimator with this link"
            ),
            theirs(OBSERVED, glm_influence("Gamma", "InversePower")),
            theirs(
                "GLM, expected Hessian",
                glm_influence("Gamma", "InversePower", observed=False),
            ),
        ],
        judge=signs,
        judged="median error; wrong signs",
        notes=[ROUTES],
    ),
]
