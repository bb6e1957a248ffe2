"""The support table: one row per estimator class, read by everything else.

A row says which loss the estimator minimises, how strongly it penalises, in sum form,
and how it codes its targets. One test proves it: at a tight fit the gradient of the
rebuilt objective vanishes.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.class_weight import compute_class_weight

from skinfluence._array import to_numpy
from skinfluence.exceptions import InvalidDataError
from skinfluence.losses import AbstractLoss


def constantly(value: Any) -> Callable[..., Any]:
    """The value as a function of anything; a function as it is."""
    return value if callable(value) else lambda *given: value


_zero, _false, _none, _empty = map(constantly, (0.0, False, None, {}))


@dataclass(frozen=True)
class SupportRow:
    """One supported estimator class.

    Attributes
    ----------
    estimator : type or str
        The exact class; subclasses may minimise something else and need their own row.
        Or its name with that of its package, "cuml.Ridge": such a class is looked up
        when a model of it arrives, and never imported.
    loss : callable
        Fitted estimator to its loss.
    targets : callable
        ``(estimator, y)`` to the targets as the loss reads them, (n, K_y).
    strength : callable
        Fitted estimator to the strength of ``1/2 strength |w|**2``: a number, one per
        output (K,), or one per coefficient (K, p).
    l1 : callable
        Fitted estimator to the strength of ``l1 |w|_1``, a number. Where it is positive
        the objective is that of the active set, signs held.
    intercept_l1 : callable
        The same for the intercepts, nearly always 0.
    positive : callable
        Fitted estimator to whether coefficients must not be negative; those at zero are
        off the active set too.
    active : callable
        Fitted estimator to a mask (K, p) of the coefficients that may move, or None for
        all but those that L1 or ``positive`` has set to zero.
    extra : callable
        Fitted estimator to further fitted numbers, by name, that the loss reads as
        outputs with an intercept and no features: the scale of Huber's regression.
    mean_form : bool
        Whether the estimator minimises a *mean* loss, so that strengths count per unit
        of weight and each row carries a share of the penalty.
    counts : callable
        ``(estimator, s)`` to what each row counts in that mean, (n,), or None for its
        weight s_i.
    intercept_strength : callable
        The same for the intercepts, nearly always 0.
    weight : callable
        ``(estimator, y, sample_weight)`` to ``s_i``, class weights included.
    output_weight : callable
        Fitted estimator to None, or to a function of ``(y, sample_weight)`` that gives
        further weights, one per output, (n, K): class weights of one-vs-rest models.
    balanced : callable
        Fitted estimator to what ``class_weight="balanced"`` counts of each row, "weight"
        or "row"; None if that is not known.
    held : callable
        Fitted estimator to an unfitted one with every chosen hyper-parameter held and
        no class weights: what a leave-one-out refit fits.
    reader : callable
        Fitted estimator to one of scikit-learn's that predicts in its place, once it is
        given coefficients: itself, copied, unless it computes elsewhere.
    refusal : callable
        Estimator (fitted or not) to the reason why it is not supported, or None.
    degenerate : callable
        ``(estimator, y)``, fitted to y, to the reason why its objective has no
        derivative at the fit, or None.
    """

    estimator: type | str
    loss: Callable[[Any], AbstractLoss]
    targets: Callable[[Any, Any], Any]
    strength: Callable[[Any], Any] = _zero
    l1: Callable[[Any], float] = _zero
    intercept_l1: Callable[[Any], float] = _zero
    positive: Callable[[Any], bool] = _false
    active: Callable[[Any], Any] = _none
    extra: Callable[[Any], dict[str, float]] = _empty
    mean_form: bool = False
    counts: Callable[[Any, Any], Any] = _none
    intercept_strength: Callable[[Any], float] = _zero
    weight: Callable[[Any, Any, Any], Any] = lambda estimator, y, weight: weight
    output_weight: Callable[[Any], Callable[[Any, Any], Any] | None] = _none
    balanced: Callable[[Any], str | None] = _none
    held: Callable[[Any], Any] = clone
    reader: Callable[[Any], Any] = copy.copy
    refusal: Callable[[Any], str | None] = _none
    degenerate: Callable[[Any, Any], str | None] = _none


_TABLE: dict[type | str, SupportRow] = {}


def rows() -> list[SupportRow]:
    """All rows of the table."""
    return list(_TABLE.values())


def register(
    estimator: type | str, loss: Any, targets: Callable[..., Any], **columns: Any
) -> None:
    """Add or replace the row of an estimator class.

    A column that is the same for all its estimators may be given as the value itself.
    """
    for name in columns.keys() - {"mean_form"}:
        columns[name] = constantly(columns[name])
    _TABLE[estimator] = SupportRow(estimator, constantly(loss), targets, **columns)


def row_of(estimator: Any) -> SupportRow | None:
    """The row of the estimator's exact class, if there is one."""
    cls = type(estimator)
    package = cls.__module__.split(".")[0]
    return _TABLE.get(cls) or _TABLE.get(f"{package}.{cls.__name__}")


def supported_estimators() -> list[str]:
    """Names of the supported classes, in the order of the table."""
    return [key if isinstance(key, str) else key.__name__ for key in _TABLE]


def classes_of(estimator: Any) -> Any:
    """Class labels of a fitted classifier, on the host; a list of several outputs' own."""
    classes = estimator.classes_
    return classes if isinstance(classes, list) else to_numpy(classes)


# --- targets -----------------------------------------------------------------------


def numbers(estimator: Any, y: Any) -> Any:
    """Targets of a regression, one column per output."""
    y = np.asarray(y, dtype=float)
    return y[:, None] if y.ndim == 1 else y


def indicator(estimator: Any, y: Any) -> Any:
    """0/1 targets: one column for two classes, one per class for more."""
    y = np.asarray(y)
    if y.ndim == 2:  # multilabel: an indicator already
        return y.astype(float)
    classes = classes_of(estimator)
    if len(classes) == 2:
        return (y == classes[1]).astype(float)[:, None]
    return (y[:, None] == classes[None, :]).astype(float)


def signs(estimator: Any, y: Any) -> Any:
    """-1/+1 targets, in the columns of ``indicator``."""
    return 2 * indicator(estimator, y) - 1


def checked(
    coding: Callable[[Any, Any], Any],
    loss: AbstractLoss | Callable[[Any], AbstractLoss],
) -> Callable[[Any, Any], Any]:
    """The targets of a coding, refused where the loss does not allow them."""

    def targets(estimator: Any, y: Any) -> Any:
        y, asked = coding(estimator, y), constantly(loss)(estimator)
        refused = ~asked.allows(y)
        if np.any(refused):
            row = int(np.argmax(np.any(refused, axis=1)))
            raise InvalidDataError(
                f"Targets of a {type(estimator).__name__} must be {asked.targets}; row "
                f"{row} of y holds {y[row][refused[row]][0]:g}, out of the valid range. "
                "Leave such rows out, or choose a family that allows them."
            )
        return y

    return targets


# --- class weights -------------------------------------------------------------------


def class_weights(
    *, by_weight: bool, one_against_rest: bool = True
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """``weight`` and ``output_weight`` of classifiers with class weights.

    Those that fit each of more than two classes to the rest weigh a class only where it
    is the one. "balanced" counts the sums of sample weights, or rows.
    """

    def of_classes(estimator: Any, y: Any, sample_weight: Any) -> Any:
        return compute_class_weight(
            estimator.class_weight,
            classes=classes_of(estimator),
            y=y,
            sample_weight=sample_weight if by_weight else None,
        )

    def differs(estimator: Any) -> bool:
        many = one_against_rest and len(estimator.classes_) > 2
        return many and estimator.class_weight is not None

    def weight(estimator: Any, y: Any, sample_weight: Any) -> Any:
        if estimator.class_weight is None or differs(estimator):
            return sample_weight
        values = of_classes(estimator, y, sample_weight)
        return sample_weight * values[np.searchsorted(classes_of(estimator), y)]

    def output_weight(estimator: Any) -> Callable[[Any, Any], Any] | None:
        def weights(y: Any, sample_weight: Any) -> Any:
            own = np.asarray(y)[:, None] == estimator.classes_
            return np.where(own, of_classes(estimator, y, sample_weight), 1.0)

        return weights if differs(estimator) else None

    return weight, output_weight
