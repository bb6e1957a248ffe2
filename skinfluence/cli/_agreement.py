"""The agreement of the estimates with real refits, and when it is good enough."""

from dataclasses import dataclass

import numpy as np
from sklearn.utils import Bunch

from skinfluence import InfluenceExplainer, check_leave_one_out
from skinfluence.cli._subject import Subject
from skinfluence.report._health import GOOD_PEARSON, GOOD_SLOPE


@dataclass(frozen=True)
class Agreement:
    """Agreement of predicted changes of a loss with those of real refits.

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
    def of(cls, result: Bunch) -> "Agreement":
        """From the result of ``check_leave_one_out``."""
        change = float(np.max(np.abs(result.refit), initial=0.0))
        values = {"n_rows": len(result.rows), "max_abs_change": change, **result}
        return cls(**{name: values[name] for name in cls.__annotations__})


def check_rows(explainer: InfluenceExplainer, subject: Subject, n_rows: int) -> Bunch:
    """Refit without ``n_rows`` rows drawn at random: see ``check_leave_one_out``."""
    data = subject.data
    return check_leave_one_out(
        explainer, data.X, data.y, rows=n_rows, **subject.test_rows
    )
