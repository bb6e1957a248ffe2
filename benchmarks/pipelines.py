"""How far is a pipeline without a row from one that is fitted to the other rows?

``python benchmarks/pipelines.py`` deletes 150 rows one by one from
``make_pipeline(StandardScaler(), LogisticRegression(C=C))`` on the breast-cancer and wine
data. It compares the change of each row's own decision value with that by
``clone(pipeline).fit`` on the other rows. Of three classes, it is the decision value of the
row's own class. A quarter of a minute; ``--quick``: seconds. ``--write`` stores the table
of ``docs/numbers.rst``; the one in README.md shows the same numbers.
"""

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfluence import InfluenceExplainer

TABLE = Path(__file__).parents[1] / "docs" / "tables" / "pipelines.rst"
DATA = {"breast cancer": load_breast_cancer, "wine": load_wine}
CASES = [*(("breast cancer", C) for C in (0.01, 1.0, 100.0)), ("wine", 1.0)]
WAYS = {
    "held, exact": {"preprocessing": "held", "deletion": "exact"},
    "newton": {},
    "exact": {"deletion": "exact"},
}


class Errors(NamedTuple):
    """Of the changes of many rows' own decisions, relative to the refitted changes."""

    median: float
    wrong_signs: int
    wrong_signs_above: int  # among rows that change by more than the median


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="15 rows")
    parser.add_argument("--write", action="store_true", help=f"to {TABLE.name} too")
    options = parser.parse_args()
    lines = list(rows_of_the_table(15 if options.quick else 150))
    print("\n".join(lines))
    if options.write:
        TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def rows_of_the_table(n_rows: int) -> Iterator[str]:
    """Lines of a table: median error, wrong signs, and those of them above the median."""
    rule = " ".join("=" * width for width in (21, *[20] * len(WAYS)))
    yield rule
    yield " ".join(["data, C".ljust(21), *(name.ljust(20) for name in WAYS)]).rstrip()
    yield rule
    for data, C in CASES:
        cells = [f"{data}, {C:g}".ljust(21)]
        for errors in errors_of(data, C, n_rows).values():
            n = f"{errors.wrong_signs} ({errors.wrong_signs_above})"
            cells.append(f"{percent(errors.median)}, {n}".ljust(20))
        yield " ".join(cells).rstrip()
    yield rule


def percent(error: float) -> str:
    """Two digits, or the power of ten of what is next to nothing."""
    if error < 1e-5:
        return f"{error:.0e}"
    return f"{100 * error:.2g} %" if error < 0.99 else f"{100 * error:.0f} %"


def errors_of(data: str, C: float, n_rows: int) -> dict[str, Errors]:
    """Errors of each way to delete a row, against refits of the pipeline."""
    X, y = DATA[data](return_X_y=True)
    rows = np.random.default_rng(0).choice(len(y), min(n_rows, len(y)), replace=False)
    model = LogisticRegression(
        C=C, solver="newton-cholesky", tol=1e-12, max_iter=10_000
    )
    pipeline = make_pipeline(StandardScaler(), model).fit(X, y)
    before = own(pipeline.decision_function(X[rows]), y[rows])
    refitted = [refit(pipeline, X, y, row) for row in rows]
    truth = own(np.array(refitted), y[rows]) - before
    errors = {}
    for name, options in WAYS.items():
        explainer = InfluenceExplainer(pipeline, **options).fit(X, y)
        left_out = explainer.loo_predict(method="decision_function")[rows]
        errors[name] = compared(own(left_out, y[rows]) - before, truth)
    return errors


def refit(pipeline, X, y, row: int) -> np.ndarray:
    """Decision values of a row by the pipeline that is fitted to the others."""
    fitted = clone(pipeline).fit(np.delete(X, row, axis=0), np.delete(y, row))
    return fitted.decision_function(X[[row]])[0]


def own(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The decision value of two classes, else that of each row's own class."""
    return values if values.ndim == 1 else values[np.arange(len(labels)), labels]


def compared(given: np.ndarray, truth: np.ndarray) -> Errors:
    """Errors of changes, relative to the refitted ones."""
    size, wrong = np.abs(truth), np.sign(given) != np.sign(truth)
    return Errors(
        float(np.median(np.abs(given - truth) / size)),
        int(np.sum(wrong)),
        int(np.sum(wrong & (size > np.median(size)))),
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
