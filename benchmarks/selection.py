"""Leave-one-out selection against ten folds: time, and the model each chooses.

Run ``python benchmarks/selection.py``; it ends with a Markdown table. One thread.
``--quick`` takes one split and a sixth of the candidates, without the digits: seconds.
"""

import argparse
import datetime
import platform
import time
import warnings
from typing import Any, NamedTuple

import numpy as np
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from threadpoolctl import threadpool_limits

import skinfluence
from skinfluence import LeaveOneOutSearchCV

SEEDS = 5  # splits


class Task(NamedTuple):
    """A model to be chosen."""

    load: Any
    model: Any
    grid: dict[str, Any]
    scoring: str


TASKS = {
    "breast cancer, logistic, 13 C": Task(
        load_breast_cancer,
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        {"logisticregression__C": np.logspace(-3, 3, 13)},
        "neg_log_loss",
    ),
    "digits, softmax, 7 C": Task(
        load_digits,
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        {"logisticregression__C": np.logspace(-3, 0, 7)},
        "neg_log_loss",
    ),
    "diabetes, squares, ridge, 25 alpha": Task(
        load_diabetes,
        make_pipeline(
            StandardScaler(), PolynomialFeatures(2, include_bias=False), Ridge()
        ),
        {"ridge__alpha": np.logspace(-2, 4, 25)},
        "neg_mean_squared_error",
    ),
}


def main() -> None:
    """Run all tasks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one split, small tasks")
    quick = parser.parse_args().quick
    seeds = range(1 if quick else SEEDS)
    warnings.simplefilter("ignore")
    print(
        f"{datetime.date.today()}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, scikit-learn {sklearn.__version__}, "
        f"skinfluence {skinfluence.__version__}, one thread; medians and means of "
        f"{len(seeds)} splits\n"
    )
    print("| task | search | seconds | test score |\n| --- | --- | --- | --- |")
    with threadpool_limits(limits=1):
        for name, task in TASKS.items():
            if not quick:
                compare(name, task, seeds)
            elif task.load is not load_digits:
                compare(name, thinned(task), seeds)


def thinned(task: Task) -> Task:
    """The task with every sixth candidate."""
    return task._replace(grid={key: values[::6] for key, values in task.grid.items()})


def compare(name: str, task: Task, seeds: range) -> None:
    """Both searches on the same splits, in turns."""
    searches = {
        "LeaveOneOutSearchCV": LeaveOneOutSearchCV(
            task.model, task.grid, scoring=task.scoring
        ),
        "GridSearchCV(cv=10)": GridSearchCV(
            task.model, task.grid, scoring=task.scoring, cv=10
        ),
    }
    X, y = task.load(return_X_y=True)
    seconds: dict[str, list[float]] = {key: [] for key in searches}
    scores: dict[str, list[float]] = {key: [] for key in searches}
    for seed in seeds:
        X_train, X_test, y_train, y_test = train_test_split(
            X, y, test_size=0.3, random_state=seed
        )
        for key, search in searches.items():
            start = time.perf_counter()
            found = clone(search).fit(X_train, y_train)
            seconds[key].append(time.perf_counter() - start)
            scores[key].append(found.score(X_test, y_test))
    for key in searches:
        print(
            f"| {name} | {key} | {np.median(seconds[key]):.2f} | "
            f"{np.mean(scores[key]):.4g} ± {np.std(scores[key]):.2g} |"
        )


if __name__ == "__main__":
    main()
