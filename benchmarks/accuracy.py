"""How far is each way to delete a row from a real refit? One table, half a minute.

``python benchmarks/accuracy.py`` deletes each row of the breast-cancer data from a default
``LogisticRegression`` on standardised columns, refits, and compares the changes of the
coefficients. The error of a row is the length of the difference over the length of the
refitted change, or over the median length where that is longer.
"""

import argparse
import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import scale

from skinfluence import InfluenceExplainer, refit_leave_one_out
from skinfluence.exceptions import NotConvergedWarning


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="every tenth row")
    rows = np.arange(0, 569, 10 if parser.parse_args().quick else 1)
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X)
    refitted = changes(refit_leave_one_out(LogisticRegression(), X, y, rows=rows))
    length = np.linalg.norm(refitted, axis=1)
    unit = np.maximum(length, np.median(length))
    print("| deletion | median row | 99 % of rows | worst row |")
    print("| --- | --- | --- | --- |")
    for deletion in ("jackknife", "newton", "halley", "exact"):
        explainer = InfluenceExplainer(LogisticRegression(), deletion=deletion)
        estimated = changes(explainer.fit(X, y).loo_params(rows=rows))
        errors = np.linalg.norm(estimated - refitted, axis=1) / unit
        figures = " | ".join(f"{q:.1g}" for q in np.quantile(errors, [0.5, 0.99, 1.0]))
        print(f"| {deletion} | {figures} |")


def changes(deltas) -> np.ndarray:
    """Changes of all coefficients and the intercept, one row for each deleted row."""
    return np.c_[deltas.coef.reshape(len(deltas.intercept), -1), deltas.intercept]


if __name__ == "__main__":
    # A row that "halley" cannot correct is part of what is measured.
    warnings.simplefilter("ignore", NotConvergedWarning)
    main()
