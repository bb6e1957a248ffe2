"""Leave-one-out and K-fold scoring, beside scikit-learn's own shortcuts and refits."""

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.model_selection import (
    GridSearchCV,
    LeaveOneOut,
    StratifiedKFold,
    cross_val_predict,
)

from contests._contest import Contest, Contestant, Part
from contests._logistic import at_minimum, binary_rows, with_ones
from skinfluence import InfluenceExplainer, LeaveOneOutSearchCV

SAMPLE = 100
ALPHAS = np.logspace(-3, 3, 13)


def ridge_problem(n: int, p: int) -> dict[str, Any]:
    """A regression with noise."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    return dict(X=X, y=X @ rng.normal(size=p) + 3 + rng.normal(size=n))


def left_out(given: dict[str, Any], alpha: float) -> Any:
    """Leave-one-out predictions of a ridge regression by its hat matrix."""
    Z, y = with_ones(given["X"]), given["y"]
    H = Z.T @ Z + np.diag(np.append(np.full(Z.shape[1] - 1, alpha), 0.0))
    solved = np.linalg.solve(H, Z.T)
    leverage = np.sum(Z * solved.T, axis=1)
    return y - (y - Z @ (solved @ y)) / (1 - leverage)


# --- ridge, one strength ---


def ours(given: dict[str, Any]) -> Any:
    """The fit of the model included, as in RidgeCV."""

    def run() -> Any:
        return InfluenceExplainer(Ridge()).fit(given["X"], given["y"]).loo_predict()

    return run


def ridge_cv(given: dict[str, Any]) -> Any:
    """With a scorer it keeps predictions."""

    def run() -> Any:
        model = RidgeCV([1.0], scoring="neg_mean_squared_error", store_cv_results=True)
        return model.fit(given["X"], given["y"]).cv_results_[:, 0]

    return run


def refits(given: dict[str, Any]) -> Any:
    """The first rows of cross_val_predict(cv=LeaveOneOut())."""
    X, y = given["X"], given["y"]

    def run() -> Any:
        found = []
        for kept, row in LeaveOneOut().split(X):
            found.append(Ridge().fit(X[kept], y[kept]).predict(X[row])[0])
            if len(found) == SAMPLE:
                break
        return Part(np.array(found), slice(len(found)))

    return run


# --- ridge, a search ---


def search_definition(given: dict[str, Any]) -> Any:
    """Mean squared leave-one-out error of each strength."""
    return np.array([np.mean((given["y"] - left_out(given, a)) ** 2) for a in ALPHAS])


def our_search(given: dict[str, Any]) -> Any:
    """One fit per strength."""

    def run() -> Any:
        search = LeaveOneOutSearchCV(
            Ridge(), {"alpha": ALPHAS}, scoring="neg_mean_squared_error"
        )
        return search.fit(given["X"], given["y"]).cv_results_["mean_test_score"]

    return run


def their_search(given: dict[str, Any]) -> Any:
    """One decomposition for all strengths."""

    def run() -> Any:
        model = RidgeCV(ALPHAS, store_cv_results=True).fit(given["X"], given["y"])
        return model.cv_results_.mean(axis=0)

    return run


def by_folds(given: dict[str, Any]) -> Any:
    """What one does without either."""

    def run() -> Any:
        search = GridSearchCV(
            Ridge(), {"alpha": ALPHAS}, scoring="neg_mean_squared_error", cv=10
        )
        return search.fit(given["X"], given["y"]).cv_results_["mean_test_score"]

    return run


# --- logistic, ten folds ---

FOLDS = StratifiedKFold(10)


def logistic_problem(n: int, p: int) -> dict[str, Any]:
    """A logistic regression."""
    X, y = binary_rows(n, p)
    return dict(X=X, y=y, model=at_minimum(X, y))


def fold_definition(given: dict[str, Any]) -> Any:
    """Decision values of ten refits to 1e-14."""
    model, X, y = given["model"], given["X"], given["y"]
    return cross_val_predict(model, X, y, cv=FOLDS, method="decision_function")


def our_folds(deletion: str) -> Any:
    """Ten groups of rows, deleted from one fit."""

    def prepare(given: dict[str, Any]) -> Any:
        def run() -> Any:
            explainer = InfluenceExplainer(given["model"], deletion=deletion)
            explainer.fit(given["X"], given["y"])
            return explainer.cv_predict(FOLDS, method="decision_function")

        return run

    return prepare


def their_folds(**options: Any) -> Any:
    """Ten refits."""

    def prepare(given: dict[str, Any]) -> Any:
        def run() -> Any:
            model, X, y = LogisticRegression(**options), given["X"], given["y"]
            return cross_val_predict(model, X, y, cv=FOLDS, method="decision_function")

        return run

    return prepare


RIDGE, SMALL = dict(n=20_000, p=100), dict(n=200, p=3)
CONTESTS = [
    Contest(
        "ridge",
        "Leave-one-out predictions of a ridge regression, its fit included",
        ridge_problem,
        lambda given: left_out(given, 1.0),
        RIDGE,
        SMALL,
        [
            Contestant("skinfluence, loo_predict", ours),
            Contestant(
                "scikit-learn RidgeCV, one strength",
                ridge_cv,
                reason="one decomposition is its fit and its leave-one-out; skinfluence "
                "explains a separate fit of Ridge",
            ),
            Contestant(
                "scikit-learn, refits",
                refits,
                note=f"Extrapolated from {SAMPLE} refits.",
                extrapolate=lambda sizes: max(sizes["n"] / SAMPLE, 1.0),
            ),
        ],
    ),
    Contest(
        "ridge_search",
        f"Leave-one-out errors of {len(ALPHAS)} strengths of a ridge regression",
        ridge_problem,
        search_definition,
        RIDGE,
        SMALL,
        [
            Contestant("skinfluence LeaveOneOutSearchCV", our_search, np.negative),
            Contestant("scikit-learn RidgeCV", their_search),
            Contestant(
                "scikit-learn GridSearchCV(cv=10)",
                by_folds,
                None,
                note="Ten folds, a different quantity.",
            ),
        ],
    ),
    Contest(
        "folds",
        "Decision values of ten folds, logistic regression",
        logistic_problem,
        fold_definition,
        dict(n=20_000, p=50),
        SMALL,
        [
            Contestant('skinfluence cv_predict, "exact"', our_folds("exact")),
            Contestant(
                'skinfluence cv_predict, "newton"',
                our_folds("newton"),
                note="One step for each fold, from the fit of all rows.",
            ),
            Contestant(
                "scikit-learn cross_val_predict, newton-cholesky, tol=1e-10",
                their_folds(solver="newton-cholesky", tol=1e-10),
            ),
            Contestant(
                "scikit-learn cross_val_predict, default",
                their_folds(),
                note='Its fits stop early; the error is that of our "newton".',
                reason="its fits stop early, at the error that "
                '"newton" reaches in less time',
            ),
        ],
    ),
]
