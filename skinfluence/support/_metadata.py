"""Metadata of a fit, such as weights, followed to the linear model inside."""

from inspect import Parameter, signature
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    get_routing_for_object,
    process_routing,
)

from skinfluence._array import to_numpy
from skinfluence.exceptions import InvalidParameterError
from skinfluence.support._read import held_in, pipelines, unwrapped
from skinfluence.support._wrappers import is_wrapper

# What the fit of a model takes for each row that is part of its objective.
_OF_OBJECTIVE = ("sample_weight", "offset")


def _routes() -> bool:
    return bool(get_config()["enable_metadata_routing"])


def routed_to_fit(
    estimator: BaseEstimator,
    params: dict[str, Any],
    *,
    owner: Any = None,
    **by_row: Any,
) -> dict[str, Any]:
    """Metadata for the ``fit`` of an estimator, routed where routing is on.

    ``by_row`` is what the linear model inside is to get by these names; None is left
    out. ``owner`` is the meta-estimator that routes.
    """
    given = {name: value for name, value in by_row.items() if value is not None}
    if _routes():
        router = owner
        if owner is None:
            to_fit = MethodMapping().add(caller="fit", callee="fit")
            router = MetadataRouter(owner="skinfluence").add(
                estimator=estimator, method_mapping=to_fit
            )
        _refuse_two(given, params)
        return dict(process_routing(router, "fit", **{**params, **given}).estimator.fit)
    steps = [pipeline.steps[-1][0] for pipeline in pipelines(estimator)]
    given = {"__".join([*steps, name]): value for name, value in given.items()}
    _refuse_two(given, params)
    return {**params, **given}


def consumed_by_fit(
    estimator: BaseEstimator, metadata: dict[str, Any]
) -> dict[str, Any]:
    """The part of some metadata that an estimator's fit asks for; routing is on."""
    names = get_routing_for_object(estimator).consumes("fit", metadata)
    return {name: value for name, value in metadata.items() if name in names}


def given_to_fit(
    estimator: BaseEstimator,
    params: dict[str, Any],
    *,
    owner: Any = None,
    **by_row: Any,
) -> dict[str, Any]:
    """Metadata that the ``fit`` of a fitted estimator had, by its own names.

    ``by_row`` are those of the linear model inside; steps that ask for the same names
    have had them too.
    """
    if not _routes():
        return routed_to_fit(estimator, params, owner=owner, **by_row)
    given = {name: value for name, value in by_row.items() if value is not None}
    routed = routed_to_fit(estimator, params, owner=owner)
    return {**consumed_by_fit(estimator, given), **routed}


def of_steps(steps: Pipeline, metadata: dict[str, Any]) -> dict[str, Any]:
    """What the steps of a pipeline ask for, the last of which is "passthrough".

    ``metadata`` is that of the whole pipeline's ``fit``.
    """
    if _routes():
        names = get_routing_for_object(steps).consumes("fit_transform", metadata)
    else:
        before = {name for name, _ in steps.steps[:-1]}
        names = {name for name in metadata if name.partition("__")[0] in before}
    return {name: value for name, value in metadata.items() if name in names}


def of_model(estimator: BaseEstimator, metadata: dict[str, Any]) -> dict[str, Any]:
    """Weights and offsets that reach the linear model inside, by its own names.

    ``metadata`` is that of the estimator's ``fit``.
    """
    reached = _followed(estimator, metadata)
    return {name: reached[name] for name in _OF_OBJECTIVE if name in reached}


def of_fitted_model(
    estimator: BaseEstimator,
    params: dict[str, Any],
    *,
    owner: Any = None,
    **by_row: Any,
) -> dict[str, Any]:
    """Weights and offsets of a model that was fitted before: nothing is passed on."""
    given = {name: value for name, value in by_row.items() if value is not None}
    reached = of_model(estimator, routed_to_fit(estimator, params, owner=owner))
    _refuse_two(given, reached)
    return {**reached, **given}


def weight_name(estimator: BaseEstimator, metadata: dict[str, Any], owner: Any) -> str:
    """The name by which the weights of the linear model are, or would be, given."""
    for name in metadata:
        if name == "sample_weight" and not _routes():
            return name
        part = routed_to_fit(estimator, {name: metadata[name]}, owner=owner)
        if "sample_weight" in of_model(estimator, part):
            return name
    if not _routes():
        return "sample_weight"
    model = unwrapped(estimator)
    model = model.estimator if is_wrapper(model) else model
    asked = getattr(get_routing_for_object(model), "fit", None)
    alias = asked.requests.get("sample_weight") if asked else None
    return alias if isinstance(alias, str) else "sample_weight"


def _followed(estimator: BaseEstimator, metadata: dict[str, Any]) -> dict[str, Any]:
    """What the linear model's own ``fit`` gets of the metadata of the estimator's."""
    inner = estimator.estimator if is_wrapper(estimator) else held_in(estimator)
    if inner is not None:
        return _followed(inner, passed_on(estimator, metadata))
    for name in metadata:
        if not _takes(estimator, name):
            raise InvalidParameterError(
                f"The fit of {type(estimator).__name__} takes no {name!r}. Leave it "
                "out, or name the step it is for, as in 'scaler__sample_weight'."
            )
    return metadata


def passed_on(holder: BaseEstimator, metadata: dict[str, Any]) -> dict[str, Any]:
    """What an estimator's ``fit`` passes on to that of the estimator that it holds."""
    if isinstance(holder, FrozenEstimator):  # which fits nothing
        return metadata
    if _routes():
        return dict(process_routing(holder, "fit", **metadata)[_key_of(holder)].fit)
    if isinstance(holder, Pipeline):
        return _of_last_step(holder, metadata)
    # A search hands ``groups`` to its folds.
    return {name: value for name, value in metadata.items() if name != "groups"}


def _key_of(holder: BaseEstimator) -> str:
    """By what name an estimator routes metadata to the one that it holds."""
    if isinstance(holder, Pipeline):
        return str(holder.steps[-1][0])
    return (
        "regressor" if isinstance(holder, TransformedTargetRegressor) else "estimator"
    )


def _of_last_step(pipeline: Pipeline, metadata: dict[str, Any]) -> dict[str, Any]:
    names = [name for name, _ in pipeline.steps]
    passed = {}
    for key, value in metadata.items():
        step, _, name = key.partition("__")
        if not name or step not in names:
            raise InvalidParameterError(
                f"The fit of this Pipeline takes no {key!r}: name a step and its "
                f"parameter, as in '{names[-1]}__sample_weight'. Its steps are {names}."
            )
        if step == names[-1]:
            passed[name] = value
    return passed


def _takes(model: BaseEstimator, name: str) -> bool:
    parameters = signature(model.fit).parameters
    kinds = [parameter.kind for parameter in parameters.values()]
    return name in parameters or Parameter.VAR_KEYWORD in kinds


def _refuse_two(given: dict[str, Any], others: dict[str, Any]) -> None:
    """Refuse metadata that is given in two ways, unless the entries are the same."""
    for name in given.keys() & others.keys():
        if others[name] is None:
            continue
        if not np.array_equal(to_numpy(given[name]), to_numpy(others[name])):
            plain = name.split("__")[-1]
            raise InvalidParameterError(
                f"{plain} reaches the model twice, with different entries: as {plain}= "
                "and by the name of a step or of routed metadata. Give it once."
            )
