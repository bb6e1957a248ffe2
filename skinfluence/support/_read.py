"""From an estimator of any kind to the linear model inside it."""

from typing import Any

from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.validation import check_is_fitted

from skinfluence.exceptions import UnsupportedEstimatorError
from skinfluence.support._model import Model
from skinfluence.support._refusals import reason_against
from skinfluence.support._table import SupportRow, row_of, supported_estimators
from skinfluence.support._wrappers import Stacked, is_wrapper, reason_against_members

AnyModel = Model | Stacked


def unwrapped(estimator: Any) -> Any:
    """The linear model inside pipelines, searches and other holders, fitted or not."""
    if isinstance(estimator, Pipeline):
        return unwrapped(estimator.steps[-1][1])
    inner = _held_in(estimator)
    return estimator if inner is None else unwrapped(inner)


def _held_in(estimator: Any) -> Any:
    """What a search, a frozen estimator or transformed targets hold; else None."""
    if isinstance(estimator, TransformedTargetRegressor):
        given = estimator.regressor
        given = LinearRegression() if given is None else given
        return getattr(estimator, "regressor_", given)
    if isinstance(estimator, FrozenEstimator) or _is_search(estimator):
        return getattr(estimator, "best_estimator_", estimator.estimator)
    return None


def required_row(estimator: Any) -> SupportRow:
    """The support row of the linear model inside, or a reasoned refusal."""
    model = unwrapped(estimator)
    if is_wrapper(model):
        return _required_row_of_members(model)
    row = row_of(model)
    name = type(model).__name__
    if row is None:
        reason, nearest = reason_against(model)
        raise UnsupportedEstimatorError(
            f"{name} is not supported: {reason}. The nearest supported model is "
            f"{nearest}. Supported are {', '.join(supported_estimators())}, alone, at "
            "the end of a Pipeline, in a FrozenEstimator, a TransformedTargetRegressor, a "
            "OneVsRestClassifier, a MultiOutputRegressor or a MultiOutputClassifier, or "
            "as the best estimator of a search."
        )
    refusal = row.refusal(model)
    if refusal is not None:
        raise UnsupportedEstimatorError(
            f"This {name} is not supported: {refusal}. Use it without that, or one of "
            f"{', '.join(supported_estimators())}."
        )
    return row


def _required_row_of_members(wrapper: Any) -> SupportRow:
    """The support row of the models that a wrapper fits, one per output."""
    inner = wrapper.estimator
    name = type(wrapper).__name__
    if unwrapped(inner) is not inner:
        raise UnsupportedEstimatorError(
            f"This {name} is not supported: it holds a {type(inner).__name__} for each "
            "output, and each might transform the features in its own way. Put what is "
            f"common outside, as in make_pipeline(StandardScaler(), {name}("
            f"{type(unwrapped(inner)).__name__}())), or explain the members of "
            "estimators_ one by one."
        )
    row = required_row(inner)
    refusal = reason_against_members(wrapper)
    if refusal is not None:
        raise UnsupportedEstimatorError(
            f"This {name} is not supported: {refusal}. Explain the members of "
            "estimators_ one by one, each with its own targets."
        )
    return row


def read(estimator: Any) -> AnyModel:
    """A fitted estimator as the linear model inside it and what stands before that."""
    transformers, inner = [], estimator
    targets: tuple[Any, ...] = ()
    while row_of(inner) is None and not is_wrapper(inner):
        if isinstance(inner, Pipeline):
            transformers.append(inner[:-1])
            inner = inner.steps[-1][1]
        elif _is_search(inner):
            inner = _best(inner)
        elif (held := _held_in(inner)) is not None:
            if isinstance(inner, TransformedTargetRegressor):
                targets = (*targets, inner)
            inner = held
        else:
            break
    required_row(inner)
    check_is_fitted(inner)
    steps = [part for part in transformers if len(part)]
    before = None
    if steps:
        before = steps[0] if len(steps) == 1 else make_pipeline(*steps)
    return (Stacked if is_wrapper(inner) else Model)(inner, before, targets)


def _is_search(estimator: Any) -> bool:
    """Whether this is GridSearchCV or something that promises the same attributes."""
    return hasattr(estimator, "estimator") and hasattr(estimator, "refit")


def _best(search: Any) -> Any:
    if not hasattr(search, "best_estimator_"):
        raise UnsupportedEstimatorError(
            f"This {type(search).__name__} has no best_estimator_: there is no single "
            "fitted model to explain. Fit it with refit=True."
        )
    return search.best_estimator_


def reads_features(estimator: Any) -> bool:
    """Whether the linear model reads X itself, with no transformers before it."""
    return unwrapped(estimator) is _without_holders(estimator)


def _without_holders(estimator: Any) -> Any:
    """The estimator behind frozen ones and searches, pipelines left as they are."""
    while (inner := _held_in(estimator)) is not None:
        estimator = inner
    return estimator


def fit_name(estimator: Any, name: str = "sample_weight") -> str:
    """The name under which ``fit`` hands metadata to the linear model inside."""
    inner = _without_holders(estimator)
    if not hasattr(inner, "steps"):
        return name
    step, last = inner.steps[-1]
    return f"{step}__{fit_name(last, name)}"


def is_fitted(estimator: Any) -> bool:
    """Whether an estimator of any kind says that it is fitted."""
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True
