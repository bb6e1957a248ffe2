"""The steps before a linear model, by their names: fitted, held, or to be fitted again.

A name is that of ``get_params``, ``columns__scale`` for a step of a ``ColumnTransformer``
in a pipeline. Searches and other holders of one estimator add nothing to it. The
transformer of a ``TransformedTargetRegressor`` is called ``transformer``, and balanced
weights of classes ``class_weight``.
"""

import copy
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, NoReturn

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import FeatureUnion, Pipeline

from skinfluence.exceptions import InvalidParameterError, UnsupportedEstimatorError
from skinfluence.support._cross_fits import (
    AsSeen,
    Recorder,
    TrainingOutput,
    may_cross_fit,
)
from skinfluence.support._read import held_in, layers, read, resamples

TARGETS = "transformer"
# Balanced weights of classes are no step, but learned as well.
CLASS_WEIGHT = "class_weight"


def step_names(estimator: BaseEstimator, *, frozen: bool = False) -> list[str]:
    """Names of the steps that learn something, or, ``frozen``, of those that never do."""
    return [name for name, _, held in _steps(estimator) if held == frozen]


def samplers(estimator: BaseEstimator) -> list[str]:
    """Names of the steps that choose the rows that the model is fitted to."""
    return [name for name, step, _ in _steps(estimator) if resamples(step)]


def steps_of_targets(estimator: BaseEstimator) -> list[str]:
    """Names of the steps that learn something of the targets to transform them."""
    parts = [each.transformer for each in layers(estimator) if learns_targets(each)]
    return [
        name
        for name, step, frozen in _steps(estimator)
        if not frozen and any(step is part for part in parts)
    ]


def balances(model: BaseEstimator) -> bool:
    """Whether a model, or those that it fits per output, weigh classes by sums of rows."""
    member = next(iter(getattr(model, "estimators_", [])), model)
    return str(getattr(member, "class_weight", None)) == "balanced"


def _steps(
    layer: BaseEstimator, frozen: bool = False
) -> Iterator[tuple[str, Any, bool]]:
    """Name, step, and whether it is frozen, for each step before the linear model."""
    inner, prefix = held_in(layer), ""
    if inner is None:
        return
    frozen = frozen or isinstance(layer, FrozenEstimator)
    if isinstance(layer, Pipeline):
        for name, step in layer.steps[:-1]:
            yield from _parts(name, step, frozen)
        prefix = f"{layer.steps[-1][0]}__"
    if learns_targets(layer):
        yield TARGETS, layer.transformer, frozen
    for name, step, held in _steps(inner, frozen):
        yield prefix + name, step, held


def _parts(name: str, step: Any, frozen: bool) -> Iterator[tuple[str, Any, bool]]:
    """A step, or the steps that it is composed of."""
    if step is None or isinstance(step, str):  # "passthrough", "drop"
        return
    if isinstance(step, Pipeline):
        parts = step.steps
    elif isinstance(step, FeatureUnion):
        parts = step.transformer_list
    elif isinstance(step, ColumnTransformer):
        own = [(part, transformer) for part, transformer, _ in step.transformers]
        parts = [*own, ("remainder", step.remainder)]
    else:
        yield name, step, frozen or isinstance(step, FrozenEstimator)
        return
    for part, transformer in parts:
        yield from _parts(f"{name}__{part}", transformer, frozen)


def path_of_step(estimator: BaseEstimator, name: str) -> str:
    """The name in an estimator of a step that ``read`` calls so in its transformer.

    Pipelines in pipelines are joined there, under names of their own.
    """
    places = [place for place, pipeline in _pipelines(estimator) if len(pipeline) > 1]
    transformer = read(estimator).transformer
    if transformer is None or len(places) == 1:
        return "".join(places) + name
    joined, _, rest = name.partition("__")
    return places[list(transformer.named_steps).index(joined)] + rest


def _pipelines(layer: BaseEstimator) -> Iterator[tuple[str, Pipeline]]:
    """What stands before the names of the steps of each pipeline, and the pipeline."""
    inner, prefix = held_in(layer), ""
    if inner is None:
        return
    if isinstance(layer, Pipeline):
        yield "", layer
        prefix = f"{layer.steps[-1][0]}__"
    for place, pipeline in _pipelines(inner):
        yield prefix + place, pipeline


def learns_targets(layer: BaseEstimator) -> bool:
    """Whether this transforms the targets by something that is fitted to them."""
    is_holder = isinstance(layer, TransformedTargetRegressor)
    return is_holder and layer.transformer is not None


def recording(estimator: BaseEstimator) -> BaseEstimator:
    """A clone of an estimator with recorders in place of steps that may cross-fit."""
    recording = clone(estimator)
    for layer in layers(recording):
        if isinstance(layer, FrozenEstimator):  # which is no clone
            break
        if isinstance(layer, Pipeline):
            layer.set_params(**_recorders(layer))
    return recording


def _recorders(pipeline: Pipeline) -> dict[str, Recorder]:
    """Recorders for the steps of a pipeline that may cross-fit, by name."""
    return {
        name: Recorder(clone(step))
        for own, part in pipeline.steps[:-1]
        for name, step, frozen in _parts(own, part, False)
        if not frozen and may_cross_fit(step)
    }


def recorders(estimator: BaseEstimator) -> dict[str, Recorder]:
    """Those for the steps of a fitted estimator, all of its pipelines."""
    return {
        name: Recorder(clone(step))
        for name, step, frozen in _steps(estimator)
        if not frozen and name != TARGETS and may_cross_fit(step)
    }


def recorded_by(estimator: BaseEstimator) -> dict[str, TrainingOutput] | None:
    """Outputs of the steps that cross-fit, of an estimator fitted with recorders.

    None if a search has put other steps in their place.
    """
    if recorders(estimator):
        return None
    own = [pipeline for _, pipeline in _pipelines(estimator) if len(pipeline) > 1]
    return recorded(estimator, own)


def recorded(
    estimator: BaseEstimator, transformers: Iterable[Pipeline]
) -> dict[str, TrainingOutput]:
    """Outputs of steps that cross-fit, from recorders in fitted pipelines.

    These are those of the estimator, outer first, or others of its form.
    """
    places = [place for place, pipeline in _pipelines(estimator) if len(pipeline) > 1]
    outputs = {}
    for place, pipeline in zip(places, transformers, strict=True):
        for own, part in pipeline.steps:
            for name, _, _ in _parts(own, part, False):
                step = _fitted_part(pipeline, name)
                if isinstance(step, Recorder) and step.output is not None:
                    outputs[place + name] = step.output
    return outputs


def held_parts(
    estimator: BaseEstimator,
    names: Iterable[str],
    outputs: Mapping[str, TrainingOutput],
) -> dict[str, Any]:
    """What stands for each of some fitted steps where it is held: a frozen copy.

    ``outputs`` are those of steps that cross-fit, for the training rows.
    """
    parts: dict[str, Any] = {}
    for name in sorted(names, key=len):
        if any(name.startswith(f"{outer}__") for outer in parts):
            continue
        part = _fitted_part(estimator, name)
        if part is None:
            raise InvalidParameterError(
                f"{name!r} is no step of this {type(estimator).__name__}. Its steps are "
                f"{step_names(estimator)}."
            )
        if isinstance(part, str):  # "passthrough", "drop"
            continue
        if resamples(part):
            parts[name] = "passthrough"
        elif name in outputs:
            parts[name] = AsSeen(copy.deepcopy(part), outputs[name])
        else:
            parts[name] = FrozenEstimator(copy.deepcopy(part))
    return parts


def _fitted_part(layer: BaseEstimator, name: str) -> Any:
    """The fitted step of a name; None where there is none."""
    if name == TARGETS and learns_targets(layer):
        return layer.transformer_
    parts = _fitted_parts(layer)
    if parts is None:
        inner = held_in(layer)
        return None if inner is None else _fitted_part(inner, name)
    first, _, rest = name.partition("__")
    part = parts.get(first)
    return _fitted_part(part, rest) if rest and part is not None else part


def _fitted_parts(composite: BaseEstimator) -> dict[str, Any] | None:
    """The fitted steps of a composition, by name; None of anything else."""
    if isinstance(composite, Pipeline):
        return dict(composite.steps)
    if isinstance(composite, FeatureUnion):
        return dict(composite.transformer_list)
    if isinstance(composite, ColumnTransformer):
        return dict(composite.named_transformers_)
    return None


def unfitted_steps(pipeline: Pipeline, held: Mapping[str, Any]) -> Pipeline:
    """The steps of a fitted pipeline to be fitted again, its last one passed through.

    ``held`` is what takes the place of some, by name; names of other layers may be
    among them.
    """
    last = pipeline.steps[-1][0]
    steps = clone(pipeline).set_params(**{last: "passthrough"})
    before = [name for name, _ in steps.steps[:-1]]
    quiet = {"memory": None, "verbose": False}  # a cache of the user's fits is theirs
    steps.set_params(
        **{
            name: quiet[name.rpartition("__")[2]]
            for name in steps.get_params()
            if name.rpartition("__")[2] in quiet
        }
    )
    return steps.set_params(
        **{name: part for name, part in held.items() if name.split("__")[0] in before}
    )


def refuse_resampling(estimator: BaseEstimator, held: Container[str]) -> None:
    """Refuse steps that change the number of rows, unless they are held."""
    for name, step, _ in _steps(estimator):
        if resamples(step) and name not in held:
            _refuse_changed_rows(name, step)


def _refuse_changed_rows(name: str, step: Any) -> NoReturn:
    raise UnsupportedEstimatorError(
        f"The step {name!r} ({type(step).__name__}) changes the rows that the model is "
        "fitted to: no row of the model is one of the data. Use preprocessing='held', "
        "which explains the model on the rows as given, or resample before the fit."
    )


def as_drawn(
    weight: np.ndarray, estimator: BaseEstimator, *, rows_as_given: bool
) -> np.ndarray:
    """Weights (n,) of rows, times how often samplers have drawn each of them.

    A sampler that makes rows of its own is refused, unless the model is to be read on
    the ``rows_as_given``.
    """
    drawn = np.arange(len(weight))
    for name, step, _ in _steps(estimator):
        if not resamples(step):
            continue
        indices = getattr(step, "sample_indices_", None)
        if indices is None or getattr(step, "shrinkage", None) is not None:
            if rows_as_given:
                return weight
            _refuse_changed_rows(name, step)
        drawn = drawn[indices]
    return weight * np.bincount(drawn, minlength=len(weight))
