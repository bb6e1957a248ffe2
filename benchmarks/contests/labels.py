"""The time it takes to look for wrong labels; how well it works is in ``cleaning.py``."""

from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.preprocessing import StandardScaler

from contests._contest import Contest, Contestant
from contests._logistic import binary_rows
from skinfluence import InfluenceCleaner

WRONG = 0.1  # of the labels


def binary(n: int, p: int) -> dict[str, Any]:
    """Two classes, a tenth of the labels flipped."""
    X, y = binary_rows(n, p)
    flipped = np.random.default_rng(1).random(n) < WRONG
    return dict(X=X, y=np.where(flipped, 1 - y, y))


def digits(n: int, p: int) -> dict[str, Any]:
    """Ten classes, a tenth of the labels replaced."""
    X, y = load_digits(return_X_y=True)
    X = StandardScaler().fit_transform(X[:n, :p])
    rng = np.random.default_rng(0)
    wrong = rng.random(len(X)) < WRONG
    return dict(X=X, y=np.where(wrong, rng.integers(0, 10, len(X)), y[:n]))


def model() -> LogisticRegression:
    """The model that every contestant uses."""
    return LogisticRegression(max_iter=1000)


def cleaner(given: dict[str, Any]) -> Any:
    """Scores, decision and the fit on what is kept."""
    return lambda: InfluenceCleaner(model()).fit(given["X"], given["y"])


def find_label_issues(given: dict[str, Any]) -> Any:
    """Out-of-fold probabilities and cleanlab's filter."""
    from cleanlab.filter import find_label_issues

    X, y = given["X"], given["y"]

    def run() -> Any:
        p = cross_val_predict(model(), X, y, cv=5, method="predict_proba")
        return find_label_issues(y, p, n_jobs=1)

    return run


def clean_learning(given: dict[str, Any]) -> Any:
    """Cleanlab's estimator, which fits again on what is kept."""
    from cleanlab.classification import CleanLearning

    options = {"n_jobs": 1}

    def run() -> Any:
        learner = CleanLearning(
            model(), seed=0, find_label_issues_kwargs=options, cv_n_folds=5
        )
        return learner.fit(given["X"], given["y"])

    return run


def contestants(reason: str = "") -> list[Contestant]:
    """Ours and cleanlab's, with the reason why cleanlab may take less time."""
    return [
        Contestant("skinfluence InfluenceCleaner", cleaner, None),
        Contestant(
            "cleanlab find_label_issues, five folds",
            find_label_issues,
            None,
            "cleanlab",
            note="It does not refit on the remaining rows; the other two do.",
            reason=reason,
        ),
        Contestant(
            "cleanlab CleanLearning", clean_learning, None, "cleanlab", reason=reason
        ),
    ]


SOFTMAX = (
    "its five folds cost about four fits of 25 ms; the cleaner needs two fits, two "
    "Hessians of 650 parameters, and a 10 x 10 leverage for each row"
)
CONTESTS = [
    Contest(
        "binary",
        "Search for wrong labels, two classes",
        binary,
        None,
        dict(n=20_000, p=50),
        dict(n=200, p=3),
        contestants(),
    ),
    Contest(
        "digits",
        "Search for wrong labels, digits, ten classes",
        digits,
        None,
        dict(n=1_797, p=64),
        dict(n=300, p=64),
        contestants(SOFTMAX),
    ),
]
