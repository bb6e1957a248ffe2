"""How other packages add a linear model of their own: one call, one row of the table."""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numpy as np
from sklearn.base import BaseEstimator, clone

from skinfluence import losses
from skinfluence._array import Array
from skinfluence.exceptions import InvalidDataError, InvalidParameterError
from skinfluence.losses import AbstractLoss
from skinfluence.support import checks
from skinfluence.support._table import checked, indicator, numbers, register, signs

Coding: TypeAlias = Callable[[Any, Any], Any]
Strength: TypeAlias = float | Array | Callable[[Any], Any]
Choice = TypeVar("Choice")
LossOf: TypeAlias = Callable[[Any], AbstractLoss]

_LOSSES: dict[str, AbstractLoss] = {
    "squared_error": losses.HalfSquaredError(),
    "log_loss": losses.HalfBinomialLoss(),
    "multinomial": losses.HalfMultinomialLoss(),
    "poisson": losses.HalfTweedieLoss(1.0),
    "gamma": losses.HalfTweedieLoss(2.0),
    "inverse_gaussian": losses.HalfTweedieLoss(3.0),
    "squared_hinge": losses.SquaredHinge(),
}
_TARGETS: dict[str, Coding] = {
    "numbers": numbers,
    "indicator": indicator,
    "signs": signs,
}
_CODINGS = {"log_loss": indicator, "multinomial": indicator, "squared_hinge": signs}


def register_estimator(
    estimator: type,
    loss: str | AbstractLoss | Callable[[Any], str | AbstractLoss],
    *,
    targets: str | Coding | None = None,
    strength: Strength = 0.0,
    l1: Strength = 0.0,
    intercept_strength: Strength = 0.0,
    mean_form: bool = False,
    weight: Callable[[Any, Any, Any], Any] | None = None,
    held: Callable[[Any], BaseEstimator] | None = None,
    refusal: Callable[[Any], str | None] | None = None,
) -> type:
    """Support another linear model by describing the objective that it minimises.

    The model has ``coef_`` and ``intercept_`` in scikit-learn's shapes, and minimises
    ``sum_i s_i loss(y_i, u_i) + 1/2 strength |w|**2 + l1 |w|_1`` of its linear outputs
    ``u_i``, or the same with the weighted *mean* of the losses. Each strength may also be
    a function of the fitted estimator that returns it.

    Parameters
    ----------
    estimator : type
        The exact class; its subclasses must be registered separately. Registering a class
        again replaces its description.
    loss : str, loss, or callable
        "squared_error" (its half), "log_loss" (two classes), "multinomial", "poisson",
        "gamma", "inverse_gaussian" (half deviances, log link), "squared_hinge"; a loss
        of ``skinfluence.losses``, such as ``ExponentialFamilyLoss(family, link)``, or of
        your own, derived from its ``AbstractLoss``; or a function of the fitted
        estimator that returns one of these.
    targets : {"numbers", "indicator", "signs"}, callable or None, default=None
        How y becomes the targets of the loss, (n, K): as numbers; as 0 and 1 (one
        column for two classes, else one per class); as -1 and +1. A callable gets the
        fitted estimator and y. None is what a loss given by its name needs, else
        "numbers". Targets that the loss does not allow are refused.
    strength : float, array or callable, default=0.0
        Of the squared penalty ``1/2 strength |w|**2``: a number, one per output (K,), or
        one per coefficient (K, p).
    l1 : float or callable, default=0.0
        Strength of the L1 penalty.
    intercept_strength : float or callable, default=0.0
        Strength of a squared penalty on the intercepts.
    mean_form : bool, default=False
        Whether the losses are averaged, so that strengths are per unit of weight.
    weight : callable or None, default=None
        Maps ``(estimator, y, sample_weight)`` to the weights ``s_i`` of the rows; None
        uses the sample weights.
    held : callable or None, default=None
        Maps the fitted estimator to an unfitted one with all chosen hyper-parameters
        fixed, which ``refit_leave_one_out`` fits; None clones it.
    refusal : callable or None, default=None
        Maps the estimator, fitted or not, to the reason why it is not supported, or to
        None.

    Returns
    -------
    estimator : type
        The class, unchanged.

    Raises
    ------
    InvalidParameterError
        If ``estimator`` is not a class, a name is unknown, or a strength is negative or
        not finite.

    See Also
    --------
    check_leave_one_out : Compares with refits of the estimator itself.

    Notes
    -----
    Check the description: at a tightly converged fit, ``InfluenceExplainer`` has
    ``stationarity_`` near zero, and ``check_leave_one_out`` finds no error. If the
    objective is not the estimator's, ``fit`` gives a ``NotStationaryWarning``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.base import BaseEstimator, RegressorMixin
    >>> from skinfluence import InfluenceExplainer, register_estimator
    >>> class Shrunk(RegressorMixin, BaseEstimator):
    ...     def __init__(self, shrinkage=1.0):
    ...         self.shrinkage = shrinkage
    ...
    ...     def fit(self, X, y, sample_weight=None):
    ...         s = np.ones(len(y)) if sample_weight is None else sample_weight
    ...         H = (s[:, None] * X).T @ X + self.shrinkage * np.eye(X.shape[1])
    ...         self.coef_, self.intercept_ = np.linalg.solve(H, X.T @ (s * y)), 0.0
    ...         return self
    ...
    ...     fit_intercept = False
    >>> _ = register_estimator(
    ...     Shrunk, "squared_error", strength=lambda model: model.shrinkage
    ... )
    >>> X, y = np.array([[1.0], [2.0], [3.0]]), np.array([1.0, 2.0, 4.0])
    >>> explainer = InfluenceExplainer(Shrunk()).fit(X, y)
    >>> explainer.loo_params(rows=[2]).coef.round(3)
    array([[-0.3]])
    """
    if not isinstance(estimator, type):
        raise InvalidParameterError(
            f"estimator must be a class, as in register_estimator(MyRidge, ...); got "
            f"{estimator!r}."
        )
    if not (targets is None or isinstance(targets, str) or callable(targets)):
        raise InvalidParameterError(
            f"targets must be a name, a function or None; got {checks.brief(targets)}."
        )
    checks.switch("mean_form", mean_form)
    for name, value in (("weight", weight), ("held", held), ("refusal", refusal)):
        if value is not None and not callable(value):
            raise InvalidParameterError(
                f"{name} must be a function or None; got {checks.brief(value)}."
            )
    loss_of = _loss_of(loss)
    strengths = {
        "strength": strength,
        "l1": l1,
        "intercept_strength": intercept_strength,
    }
    register(
        estimator,
        loss_of,
        checked(_coding_of(targets, loss), loss_of),
        **{name: _strength_of(name, value) for name, value in strengths.items()},
        mean_form=mean_form,
        weight=weight or (lambda estimator, y, sample_weight: sample_weight),
        held=held or clone,
        refusal=refusal,
    )
    return estimator


def _strength_of(name: str, value: Strength) -> Callable[[Any], Any]:
    """A strength as a function of the fitted estimator, its values checked."""
    if not callable(value):
        checked = _checked_strength(name, value)
        return lambda estimator: checked
    return lambda estimator: _checked_strength(name, value(estimator))


def _checked_strength(name: str, value: Any) -> Any:
    """A finite strength of at least 0, or an array of them."""
    try:
        values = checks.floats(name, value)
    except InvalidDataError as error:
        raise InvalidParameterError(str(error)) from None
    fits = values.size and (name == "strength" or values.ndim == 0)
    if fits and np.all((values >= 0) & (values < np.inf)):
        return value
    raise InvalidParameterError(
        f"{name} must be a finite number of at least 0, an array of such numbers, or a "
        f"function of the fitted estimator that returns one; got {checks.brief(value)}."
    )


def _loss_of(loss: str | AbstractLoss | Callable[[Any], str | AbstractLoss]) -> LossOf:
    if isinstance(loss, str | AbstractLoss):
        named = _known("loss", loss, _LOSSES) if isinstance(loss, str) else loss
        return lambda estimator: named
    if not callable(loss):
        raise InvalidParameterError(
            f"loss must be one of {sorted(_LOSSES)}, a loss, or a function of the fitted "
            f"estimator; got {loss!r}."
        )

    def chosen(estimator: Any) -> AbstractLoss:
        own = loss(estimator)
        return _known("loss", own, _LOSSES) if isinstance(own, str) else own

    return chosen


def _coding_of(targets: str | Coding | None, loss: object) -> Coding:
    if targets is None:
        return _CODINGS.get(loss, numbers) if isinstance(loss, str) else numbers
    if callable(targets):
        return targets
    return _known("targets", targets, _TARGETS)


def _known(name: str, value: str, choices: dict[str, Choice]) -> Choice:
    checks.one_of(name, value, tuple(sorted(choices)))
    return choices[value]
