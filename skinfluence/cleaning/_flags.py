"""Which rows the models without them contradict beyond chance: what "auto" cleans."""

import numpy as np
from scipy.stats import norm, t

from skinfluence import questions
from skinfluence.exceptions import UnsupportedEstimatorError
from skinfluence.questions import LeftOut
from skinfluence.study import answer

# Chance that "auto" flags any row at all of a regression with normal errors.
_FALSE_ALARM = 0.05
# Residuals below this share of the largest target are rounding.
_ROUNDING = 32 * float(np.finfo(np.float64).eps)


def flagged(left_out: LeftOut, present: np.ndarray) -> np.ndarray:
    """Rows that contradict the model without them, (n,) bool.

    Classifiers: another label is predicted. Regressors: the externally studentized
    residual is beyond the Bonferroni bound over the rows of positive weight ``present``.
    """
    study = left_out.study
    if study.classifies:
        return left_out.contradicts()
    n = int(present.sum())
    chance = _FALSE_ALARM / (2 * n * study.model.n_outputs)
    try:
        columns = answer(study, questions.diagnostics)
    except UnsupportedEstimatorError:
        return _far_off(left_out, present, norm.isf(chance))
    scaled = np.stack(
        [
            np.asarray(columns[name])
            for name in columns
            if str(name).startswith("resid_studentized_external")
        ]
    )  # (K, n)
    dof = n - study.point.factor.effective_dof / len(scaled) - 1
    bound = t.isf(chance, dof) if dof > 0 else np.inf
    return (np.abs(scaled) > bound).any(axis=0)  # infinite: flagged; NaN: not


def _far_off(left_out: LeftOut, present: np.ndarray, bound: float) -> np.ndarray:
    """Rows with residuals beyond a bound on the scale of the median deviation."""
    residuals = left_out.study.y - left_out.predictions()
    residuals = residuals.reshape(len(residuals), -1)
    centre = np.median(residuals[present], axis=0)
    deviation = np.median(np.abs(residuals[present] - centre), axis=0)
    scale = deviation / norm.ppf(0.75)
    # Where most rows fit exactly, the others' residuals of rounding are not far off.
    least = _ROUNDING * np.abs(left_out.study.y).max(initial=0.0)
    far = np.abs(residuals) > np.maximum(bound * scale, least)
    return far.any(axis=1) & ~left_out.lost
