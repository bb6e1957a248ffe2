"""The support table: one row per estimator class, read by everything else.

A row says which loss the estimator minimises, how strongly it penalises, in sum form,
and how it codes its targets. One test proves it: at a tight fit the gradient of the
rebuilt objective vanishes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
)
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from skinfluence.losses import (
    AbstractLoss,
    HalfBinomialLoss,
    HalfMultinomialLoss,
    HalfSquaredError,
)


def _no_refusal(estimator: Any) -> str | None:
    return None


def _unpenalised(estimator: Any) -> Any:
    return 0.0


def _given_weight(estimator: Any, y: Any, weight: Any) -> Any:
    return weight


@dataclass(frozen=True)
class SupportRow:
    """One supported estimator class.

    Attributes
    ----------
    estimator : type
        The exact class; subclasses may minimise something else and need their own row.
    loss : callable
        Fitted estimator to its loss.
    targets : callable
        ``(estimator, y)`` to the targets as the loss reads them, (n, K_y).
    strength : callable
        Fitted estimator to the strength of ``1/2 strength_k |w_k|**2`` in sum form, a
        number or one per output.
    intercept_strength : callable
        The same for the intercepts, nearly always 0.
    weight : callable
        ``(estimator, y, sample_weight)`` to ``s_i``, class weights included.
    held : callable
        Fitted estimator to an unfitted one with every chosen hyper-parameter held and
        no class weights: what a leave-one-out refit fits.
    refusal : callable
        Estimator (fitted or not) to the reason why it is not supported, or None.
    """

    estimator: type
    loss: Callable[[Any], AbstractLoss]
    targets: Callable[[Any, Any], Any]
    strength: Callable[[Any], Any] = _unpenalised
    intercept_strength: Callable[[Any], float] = _unpenalised
    weight: Callable[[Any, Any, Any], Any] = _given_weight
    held: Callable[[Any], Any] = clone
    refusal: Callable[[Any], str | None] = _no_refusal


_TABLE: dict[type, SupportRow] = {}


def register(row: SupportRow) -> None:
    """Add or replace the row of an estimator class."""
    _TABLE[row.estimator] = row


def row_of(estimator: Any) -> SupportRow | None:
    """The row of the estimator's exact class, if there is one."""
    return _TABLE.get(type(estimator))


def supported_estimators() -> list[str]:
    """Names of the supported classes, in the order of the table."""
    return [cls.__name__ for cls in _TABLE]


# --- targets -----------------------------------------------------------------------


def _numbers(estimator: Any, y: Any) -> Any:
    y = np.asarray(y, dtype=float)
    return y[:, None] if y.ndim == 1 else y


def _indicator(estimator: Any, y: Any) -> Any:
    """0/1 targets: one column for two classes, one per class for more."""
    y = np.asarray(y)
    if y.ndim == 2:  # multilabel: an indicator already
        return y.astype(float)
    if len(estimator.classes_) == 2:
        return (y == estimator.classes_[1]).astype(float)[:, None]
    return (y[:, None] == estimator.classes_[None, :]).astype(float)


def _signs(estimator: Any, y: Any) -> Any:
    return 2 * _indicator(estimator, y) - 1


# --- least squares -----------------------------------------------------------------


def _squared(estimator: Any) -> AbstractLoss:
    return HalfSquaredError()


def _refuse_positive(estimator: Any) -> str | None:
    if estimator.positive:
        return "positive=True holds coefficients at zero by inequality constraints"
    return None


def _held_ridge(estimator: Any) -> Any:
    return Ridge(alpha=estimator.alpha_, fit_intercept=estimator.fit_intercept)


def _balanced_on_rows(estimator: Any, y: Any, weight: Any) -> Any:
    """Class weights of the ridge classifiers: balanced by counts of rows."""
    if not estimator.class_weight:
        return weight
    return weight * compute_sample_weight(estimator.class_weight, y)


def _held_ridge_classifier(estimator: Any) -> Any:
    alpha = estimator.alpha_ if hasattr(estimator, "alpha_") else estimator.alpha
    return RidgeClassifier(alpha=alpha, fit_intercept=estimator.fit_intercept)


register(SupportRow(LinearRegression, _squared, _numbers, refusal=_refuse_positive))
register(
    SupportRow(
        Ridge,
        _squared,
        _numbers,
        strength=attrgetter("alpha"),
        refusal=_refuse_positive,
    )
)
register(
    SupportRow(
        RidgeCV,
        _squared,
        _numbers,
        strength=attrgetter("alpha_"),
        held=_held_ridge,
    )
)
for _class, _attribute in ((RidgeClassifier, "alpha"), (RidgeClassifierCV, "alpha_")):
    register(
        SupportRow(
            _class,
            _squared,
            _signs,
            strength=attrgetter(_attribute),
            weight=_balanced_on_rows,
            held=_held_ridge_classifier,
        )
    )


# --- logistic regression -----------------------------------------------------------


def _log_loss(estimator: Any) -> AbstractLoss:
    binary = len(estimator.classes_) == 2
    return HalfBinomialLoss() if binary else HalfMultinomialLoss()


def _inverse_C(estimator: Any) -> float:
    """Strength of the squared penalty, 1 / C; 0 where nothing is penalised."""
    if estimator.penalty is None or estimator.penalty == "none":
        return 0.0
    C = estimator.C_ if hasattr(estimator, "C_") else estimator.C
    return float(1.0 / np.ravel(C)[0])


def _intercept_strength(estimator: Any) -> float:
    """Liblinear penalises the intercept as the weight of a constant column."""
    if estimator.solver != "liblinear":
        return 0.0
    return _inverse_C(estimator) / float(estimator.intercept_scaling) ** 2


def _refuse_l1(estimator: Any) -> str | None:
    ratio = np.ravel(getattr(estimator, "l1_ratio_", getattr(estimator, "l1_ratio", 0)))
    penalty = getattr(estimator, "penalty", "deprecated")
    mixed = penalty in ("l1", "elasticnet") or (
        penalty == "deprecated" and any(r not in (0, None) for r in ratio)
    )
    if mixed:
        return "its L1 penalty is not differentiable where coefficients are zero"
    C = np.ravel(getattr(estimator, "C_", 1.0))
    if not np.all(C == C[0]):
        return f"it has a different C for each class (C_={C})"
    return None


def _balanced_on_weight(estimator: Any, y: Any, weight: Any) -> Any:
    """Class weights of logistic regression: balanced by sums of sample weights."""
    if estimator.class_weight is None:
        return weight
    classes = estimator.classes_
    values = compute_class_weight(
        estimator.class_weight, classes=classes, y=y, sample_weight=weight
    )
    return weight * values[np.searchsorted(classes, y)]


def _held_logistic(estimator: Any) -> Any:
    strength = _inverse_C(estimator)
    return LogisticRegression(
        C=1 / strength if strength else np.inf,
        fit_intercept=estimator.fit_intercept,
        intercept_scaling=estimator.intercept_scaling,
        solver=estimator.solver,
        dual=estimator.dual,
        tol=estimator.tol,
        max_iter=estimator.max_iter,
        random_state=estimator.random_state,
    )


for _class in (LogisticRegression, LogisticRegressionCV):
    register(
        SupportRow(
            _class,
            _log_loss,
            _indicator,
            strength=_inverse_C,
            intercept_strength=_intercept_strength,
            weight=_balanced_on_weight,
            held=_held_logistic,
            refusal=_refuse_l1,
        )
    )
