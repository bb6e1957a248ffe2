"""From an estimator of any kind to the linear model inside it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sklearn.base import BaseEstimator, is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.validation import check_is_fitted

from skinfluence._array import to_numpy
from skinfluence.exceptions import InvalidDataError, UnsupportedEstimatorError
from skinfluence.support import checks
from skinfluence.support._model import AbstractModel, Model
from skinfluence.support._refusals import reason_against
from skinfluence.support._table import SupportRow, row_of, supported_estimators
from skinfluence.support._wrappers import Stacked, is_wrapper, reason_against_members


def layers(estimator: BaseEstimator) -> Iterator[BaseEstimator]:
    """The estimator, what it holds, what that holds, down to the linear model."""
    yield estimator
    inner = held_in(estimator)
    if inner is not None:
        yield from layers(inner)


def held_in(estimator: BaseEstimator) -> BaseEstimator | None:
    """What a pipeline, a search or another holder holds, fitted if it is; else None."""
    if isinstance(estimator, Pipeline):
        return estimator.steps[-1][1]
    if isinstance(estimator, TransformedTargetRegressor):
        given = estimator.regressor
        given = LinearRegression() if given is None else given
        return getattr(estimator, "regressor_", given)
    if isinstance(estimator, FrozenEstimator) or _is_search(estimator):
        return getattr(estimator, "best_estimator_", estimator.estimator)
    return None


def _is_search(estimator: BaseEstimator) -> bool:
    """Whether this is GridSearchCV or something that promises the same attributes."""
    return hasattr(estimator, "estimator") and hasattr(estimator, "refit")


def pipelines(estimator: BaseEstimator) -> list[Pipeline]:
    return [layer for layer in layers(estimator) if isinstance(layer, Pipeline)]


def unwrapped(estimator: BaseEstimator) -> Any:
    """The linear model inside pipelines, searches and other holders, fitted or not."""
    return list(layers(estimator))[-1]


def reads_features(estimator: BaseEstimator) -> bool:
    """Whether the linear model reads X itself, with no transformers before it."""
    return not pipelines(estimator)


def is_fitted(estimator: BaseEstimator) -> bool:
    """Whether an estimator of any kind says that it is fitted."""
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def required_row(estimator: BaseEstimator) -> SupportRow:
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


@contextmanager
def naming_bad_targets(estimator: BaseEstimator, y: Any) -> Iterator[None]:
    """Turn ValueErrors of a fit into ours; of targets out of range, name the row."""
    try:
        with checks.data_errors():
            yield
    except InvalidDataError:
        _refuse_bad_target(estimator, y)
        raise


def _refuse_bad_target(estimator: BaseEstimator, y: Any) -> None:
    """Refuse targets of a regressor that its loss does not allow."""
    model = unwrapped(estimator)
    parts = layers(estimator)
    changed = any(isinstance(part, TransformedTargetRegressor) for part in parts)
    row = row_of(model)
    if row is None or changed or not is_regressor(model):
        return
    try:
        row.targets(model, to_numpy(y))
    except InvalidDataError:
        raise
    except (AttributeError, TypeError, ValueError):  # of a model that is not fitted
        return


def read(estimator: BaseEstimator) -> AbstractModel:
    """A fitted estimator as the linear model inside it and what stands before that."""
    every = list(layers(estimator))
    for layer in every:
        if _is_search(layer) and not hasattr(layer, "best_estimator_"):
            raise UnsupportedEstimatorError(
                f"This {type(layer).__name__} has no best_estimator_: there is no single "
                "fitted model to explain. Fit it with refit=True."
            )
    model = every[-1]
    required_row(model)
    check_is_fitted(model)
    before = [_transformers(pipeline) for pipeline in pipelines(estimator)]
    transformer = one_after_another([steps for steps in before if len(steps)])
    targets = [part for part in every if isinstance(part, TransformedTargetRegressor)]
    return (Stacked if is_wrapper(model) else Model)(model, transformer, tuple(targets))


def _transformers(pipeline: Pipeline) -> Pipeline:
    """The steps before the last one, as they read rows that are not fitted to."""
    if not any(resamples(step) for _, step in pipeline.steps):
        return pipeline[:-1]
    return Pipeline(
        [
            (name, "passthrough" if resamples(step) else step)
            for name, step in pipeline.steps[:-1]
        ]
    )


def resamples(step: Any) -> bool:
    """Whether a step changes rows in a fit, as a sampler does, and never later."""
    return hasattr(step, "fit_resample")


def one_after_another(steps: list[Pipeline]) -> Pipeline | None:
    """Fitted transformers as one; None where there are none."""
    return make_pipeline(*steps) if len(steps) > 1 else next(iter(steps), None)
