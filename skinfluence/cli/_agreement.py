"""The agreement of the estimates with real refits, and when it is good enough."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from skinfluence import check_leave_one_out
from skinfluence.cli._subject import Subject

GOOD_PEARSON, GOOD_SLOPE = 0.99, 0.05


@dataclass(frozen=True)
class Agreement:
    """Of predicted changes of a loss with those of real refits.

    Parameters
    ----------
    n_rows : int
        Rows refitted without, for which both are finite.
    pearson, spearman, slope : float
        Correlations, and slope of the refitted change on the predicted one.
    max_abs_error, max_abs_change : float
        Largest error of a prediction, and largest refitted change.
    param_error : float
        Largest error of a parameter, relative to the largest change of one.
    seconds_predicted, seconds_refit : float
        Time for these rows.
    """

    n_rows: int
    pearson: float
    spearman: float
    slope: float
    max_abs_error: float
    max_abs_change: float
    param_error: float
    seconds_predicted: float
    seconds_refit: float

    @property
    def is_good(self) -> bool:
        """Whether the estimates can stand for refits."""
        if np.isnan(self.pearson):  # one row, or changes that are all the same
            return self.max_abs_error <= GOOD_SLOPE * self.max_abs_change
        return self.pearson >= GOOD_PEARSON and abs(self.slope - 1) <= GOOD_SLOPE

    @classmethod
    def of(cls, found: Any) -> "Agreement":
        """From the result of ``check_leave_one_out``."""
        names = {field.name for field in fields(cls)} & set(found)
        return cls(
            n_rows=len(found.rows),
            max_abs_change=float(np.max(np.abs(found.refit), initial=0.0)),
            **{name: found[name] for name in names},
        )


def refitted(explainer: Any, subject: Subject, rows: int) -> Any:
    """Refit without ``rows`` rows, drawn at random: the result of the judge."""
    data, test = subject.data, subject.test
    on = {} if test is None else {"X_test": test.X, "y_test": test.y}
    return check_leave_one_out(explainer, data.X, data.y, rows=rows, **on)
