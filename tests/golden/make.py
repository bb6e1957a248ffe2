"""Golden numbers and pickles of this version: ``python tests/golden/make.py``.

``numbers.npz`` holds a few deltas and influences of every case of the registries, by
every deletion. It is made again where results are *meant* to change, and the commit says
why. ``pickles/<generation>`` holds fitted objects that later versions must load, with
their answers. Files of a generation are never made again: after a release whose objects
are of another shape, raise ``GENERATION``, run this file, and commit the new folder
beside the old ones.
"""

import json
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
import sklearn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import cases  # noqa: E402
import test_support as support  # noqa: E402
from sklearn.linear_model import (  # noqa: E402
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from skinfluence import (  # noqa: E402
    InfluenceCleaner,
    InfluenceExplainer,
    LeaveOneOutSearchCV,
)
from skinfluence.exceptions import (  # noqa: E402
    InvalidParameterError,
    UnsupportedEstimatorError,
)

GENERATION = "1"
DELETIONS = ("jackknife", "newton", "halley", "exact")
ROWS = [2, 9, 17]
# Entries that are kept of each answer.
MOST = 6


def every_case():
    """Names, and functions that give a fitted estimator, X, y and metadata of ``fit``."""
    for case in cases.CASES:
        data = cases.load(case.data)
        yield (
            f"case {case.name}",
            lambda case=case, data=data: (
                cases.fitted(case),
                data.X,
                data.y,
                case.fit_params,
            ),
        )
    for entry in support.ENTRIES:
        variant = "weighted" in entry.name or "no intercept" in entry.name
        if variant and "SGD" in entry.name:
            continue  # slow fits; one of each loss is enough
        yield (
            f"entry {entry.name}",
            lambda entry=entry: (
                support.fitted(entry),
                *support.data(entry.data)[:2],
                entry.params,
            ),
        )


def numbers_of(make):
    """A few numbers of a case by each deletion that its loss allows."""
    model, X, y, params = make()
    answers = {}
    for deletion in DELETIONS:
        explainer = InfluenceExplainer(model, deletion=deletion, preprocessing="held")
        try:
            deltas = explainer.fit(X, y, **params).loo_params(rows=ROWS)
        except (InvalidParameterError, UnsupportedEstimatorError):
            continue  # hinge and Huber losses have no third derivatives
        coef = np.reshape(deltas.coef, (len(ROWS), -1))[:, : MOST // len(ROWS)]
        intercept = np.reshape(deltas.intercept, (len(ROWS), -1))[:, :1]
        answers[deletion] = np.concatenate([coef.ravel(), intercept.ravel()])
    influence = explainer.self_influence()[ROWS]
    return {**answers, "self-influence": np.asarray(influence)}


def _objects():
    """Fitted objects to pickle, by name."""
    numbers, words = cases.load("one target"), cases.load("three words")
    tight = {"tol": 1e-12, "max_iter": 10_000}
    softmax = make_pipeline(StandardScaler(), LogisticRegression(**tight))
    counts = np.round(np.exp(numbers.X[:, 0] - numbers.X[:, 0].max() + 2))
    weight = numbers.sample_weight
    yield "ridge", InfluenceExplainer(Ridge()).fit(numbers.X, numbers.y, weight)
    yield (
        "lasso",
        InfluenceExplainer(Lasso(0.1), deletion="exact").fit(numbers.X, numbers.y),
    )
    yield (
        "softmax",
        InfluenceExplainer(softmax, deletion="halley").fit(words.X, words.y),
    )
    yield (
        "poisson",
        InfluenceExplainer(PoissonRegressor(**tight), solver="cg").fit(
            numbers.X, counts
        ),
    )
    yield (
        "cleaner",
        InfluenceCleaner(LinearRegression(), contamination=0.1).fit(
            numbers.X, numbers.y
        ),
    )
    yield (
        "search",
        LeaveOneOutSearchCV(Ridge(), {"alpha": [0.1, 1.0, 10.0]}).fit(
            numbers.X, numbers.y
        ),
    )


def answers_of(name, loaded):
    """What a loaded object says, as a list of numbers."""
    X = cases.load("three words" if name == "softmax" else "one target").X_test
    if name == "cleaner":
        found = [loaded.predict(X), loaded.row_scores_, loaded.cleaned_indices_]
    elif name == "search":
        scores = loaded.cv_results_["mean_test_score"]
        found = [loaded.predict(X), scores, [loaded.best_params_["alpha"]]]
    else:
        deltas = loaded.loo_params(rows=ROWS)
        found = [deltas.coef, deltas.intercept, loaded.influence(X)[:, ROWS]]
    return np.concatenate([np.ravel(part) for part in found]).astype(float).tolist()


def versions():
    """Of the libraries whose fits the numbers are about."""
    return {"numpy": np.__version__, "scikit-learn": sklearn.__version__}


def _write_numbers():
    table = {name: numbers_of(make) for name, make in every_case()}
    keys = [[name, kind] for name, row in table.items() for kind in row]
    values = [table[name][kind] for name, kind in keys]
    np.savez_compressed(
        HERE / "numbers.npz",
        keys=np.array(json.dumps(keys)),
        versions=np.array(json.dumps(versions())),
        lengths=np.array([len(row) for row in values]),
        values=np.concatenate(values),
    )


def _write_pickles():
    import skops.io

    folder = HERE / "pickles" / GENERATION
    if folder.exists():
        return  # a generation is made once
    folder.mkdir(parents=True)
    answers = {}
    for name, fitted in _objects():
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(fitted, protocol=4))
        if name in ("cleaner", "search"):  # an explainer is 130 kB and more
            skops.io.dump(fitted, folder / f"{name}.skops")
        answers[name] = answers_of(name, fitted)
    text = json.dumps({"versions": versions(), "answers": answers})
    (folder / "answers.json").write_text(text + "\n")


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _write_numbers()
        _write_pickles()
