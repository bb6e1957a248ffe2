"""An estimator as a whole, its steps learned again from some of its rows."""

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, final

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from skinfluence._array import is_foreign, to_numpy
from skinfluence.exceptions import InvalidDataError
from skinfluence.support import checks
from skinfluence.support._backends import host_rows, transformed_by
from skinfluence.support._by_row import by_row, take_rows
from skinfluence.support._cross_fits import AsSeen, TrainingOutput, alike
from skinfluence.support._metadata import of_steps, passed_on
from skinfluence.support._model import AbstractModel, transformed_targets
from skinfluence.support._read import held_in, one_after_another, read, unwrapped
from skinfluence.support._steps import (
    CLASS_WEIGHT,
    TARGETS,
    balances,
    held_parts,
    learns_targets,
    recorded,
    recorded_by,
    recorders,
    recording,
    refuse_resampling,
    step_names,
    unfitted_steps,
)


def fitted_clone(
    estimator: BaseEstimator, X: Any, y: Any, **given: Any
) -> tuple[BaseEstimator, dict[str, TrainingOutput] | None]:
    """A fitted clone of an estimator, and the outputs of its steps that cross-fit.

    These are None where a search has chosen other steps.
    """
    fitted = recording(estimator).fit(X, y, **given)
    outputs = recorded_by(fitted)
    return copy.deepcopy(fitted) if recorders(estimator) else fitted, outputs


class Seen(NamedTuple):
    """What a linear model is fitted to, and how its input and targets are made."""

    model: AbstractModel  # with the steps of these rows, and the coefficients of all
    X: Any  # (m, p) as the model's own fit sees them, on the host
    y: np.ndarray  # as the user gave them
    weight: np.ndarray  # (m,)
    offset: np.ndarray | None  # (m, K)
    held: tuple[AsSeen, ...] = ()  # steps that cross-fit, and are held


@final
@dataclass(frozen=True, eq=False)
class WholeFit:
    """A fitted estimator, its training rows, and what else its ``fit`` was given."""

    estimator: BaseEstimator
    X: Any  # as given: an array, a frame, sparse rows, texts
    y: np.ndarray
    weight: np.ndarray  # (n,) of the linear model, its class weights apart
    offset: np.ndarray | None = None  # (n, K)
    metadata: Mapping[str, Any] = field(default_factory=dict)  # of the estimator's fit
    held: tuple[str, ...] = ()  # names of steps that stay as they were fitted
    # Of steps that cross-fit, by name: for the training rows, in their order.
    outputs: Mapping[str, TrainingOutput] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Number of training rows."""
        return len(self.y)

    @cached_property
    def model(self) -> AbstractModel:
        """The linear model inside, as fitted, class weights fixed if they are held."""
        model = read(self.estimator)
        if CLASS_WEIGHT not in self.held:
            return model
        return model.with_held_class_weights(self.y, self.weight)

    def refuse_steps(self) -> None:
        """Refuse steps that no refit can learn again, and names that no step has."""
        refuse_resampling(self.estimator, self._held_parts)

    @cached_property
    def _held_parts(self) -> dict[str, Any]:
        names = [name for name in self.held if name != CLASS_WEIGHT]
        return held_parts(self.estimator, names, self.outputs)

    @property
    def refitted_steps(self) -> list[str]:
        """Names of the steps that are learned again."""
        return [name for name in self._learning if not self._holds(name)]

    @property
    def held_steps(self) -> list[str]:
        """Names of the steps that stay as they were fitted, frozen ones included."""
        held = [name for name in self._learning if self._holds(name)]
        return [*held, *step_names(self.estimator, frozen=True)]

    @cached_property
    def _learning(self) -> list[str]:
        """Names of all that learns from the rows, the linear model apart."""
        names = step_names(self.estimator)
        balanced = balances(unwrapped(self.estimator))
        return [*names, CLASS_WEIGHT] if balanced else names

    def _holds(self, name: str) -> bool:
        return any(f"{name}__".startswith(f"{held}__") for held in self.held)

    @property
    def learns(self) -> bool:
        """Whether anything but the linear model is learned from the rows."""
        return bool(self.refitted_steps)

    def holding_draws(self) -> "WholeFit":
        """The same, steps held that come out otherwise at each fit to the same rows."""
        steps = [name for name in self.refitted_steps if name != CLASS_WEIGHT]
        if not steps or self._is_steady():
            return self
        drawing = [
            name
            for name in steps
            if not self._holding(
                *(other for other in steps if other != name)
            )._is_steady()
        ]
        return self._holding(*(drawing or steps))

    def _holding(self, *names: str) -> "WholeFit":
        return replace(self, held=(*self.held, *names))

    def _is_steady(self) -> bool:
        """Whether two fits of the steps to all rows come out alike."""
        one, other = self.learned(), self.learned()
        if not alike(one.X, other.X):
            return False
        if not one.model.target_transformers:
            return True
        return alike(one.model.own_targets(one.y), other.model.own_targets(other.y))

    def as_fitted(self) -> Seen:
        """The training rows by the steps as they were fitted, as the model saw them."""
        model = read(self.estimator)
        if self.outputs:
            X = self._holding(*self.refitted_steps).learned().X
        else:
            with checks.data_errors():
                X = host_rows(checks.transformed(model.transformed(self.X)))
        return Seen(model, X, self.y, self.weight, self.offset)

    def recording(self, outputs: Mapping[str, TrainingOutput]) -> "WholeFit":
        """The same, with the outputs of steps that cross-fit known."""
        return replace(self, outputs=outputs)

    def recorded(self) -> tuple[Seen, dict[str, TrainingOutput]]:
        """What a fit of the same steps to all rows shows the model, steps held or not.

        And the outputs of those that cross-fit.
        """
        parts = recorders(self.estimator)
        seen, transformers = self._learned(np.arange(self.n_rows), parts)
        return seen, recorded(self.estimator, transformers)

    def rows(self, rows: np.ndarray) -> Any:
        """Rows of X, in its own type."""
        return take_rows(_on_host(self.X), rows)

    def learned(self, kept: np.ndarray | None = None) -> Seen:
        """The steps learned again from the rows kept (all), and what the model then sees.

        Steps that cross-fit give the model other rows in a fit than later: those.
        """
        kept = np.arange(self.n_rows) if kept is None else kept
        return self._learned(kept, self._held_parts)[0]

    def _learned(
        self, kept: np.ndarray, parts: Mapping[str, Any]
    ) -> tuple[Seen, list[Pipeline]]:
        """The same with other parts in place of steps, by name, and the fitted steps."""
        y, offset = self.y[kept], self.offset
        parts = {
            name: part.at(kept) if isinstance(part, AsSeen) else part
            for name, part in parts.items()
        }
        given = _Given(self.rows(kept), y, self._metadata_of(kept))
        with checks.data_errors(), warnings.catch_warnings():
            # That of the fit to all rows has been shown.
            warnings.simplefilter("ignore", ConvergenceWarning)
            steps = _learned(self.estimator, given, parts)
            X = host_rows(checks.transformed(steps.X))
        if X.shape[0] != len(kept):
            raise InvalidDataError(
                f"The steps before the model make {X.shape[0]} rows of {len(kept)}: no "
                "row of the model is one of the data. Use preprocessing='held'."
            )
        model = replace(
            self.model,
            transformer=one_after_another(steps.transformers),
            target_transformers=tuple(steps.targets),
        )
        offset = None if offset is None else offset[kept]
        held = tuple(part for part in parts.values() if isinstance(part, AsSeen))
        seen = Seen(model, X, y, self.weight[kept], offset, held)
        return seen, steps.transformers

    def _metadata_of(self, kept: np.ndarray) -> dict[str, Any]:
        return {
            name: take_rows(_on_host(value), kept) if by_row(value, self.y) else value
            for name, value in self.metadata.items()
        }


@dataclass(frozen=True)
class _Given:
    """What the ``fit`` of a layer of an estimator is given."""

    X: Any
    y: Any
    metadata: dict[str, Any]


class _Learned(NamedTuple):
    """Fitted steps of the layers, outer first, and X after them."""

    transformers: list[Pipeline]
    targets: list[TransformedTargetRegressor]
    X: Any


def _learned(
    layer: BaseEstimator, given: _Given, held: Mapping[str, Any], frozen: bool = False
) -> _Learned:
    """Clones of all steps before the linear model, fitted as the layer's ``fit`` does."""
    inner = held_in(layer)
    if inner is None:
        return _Learned([], [], given.X)
    frozen = frozen or isinstance(layer, FrozenEstimator)
    transformers, targets, X, y = [], [], given.X, given.y
    if isinstance(layer, Pipeline):
        if len(layer.steps) > 1:
            steps, X = _learned_steps(layer, given, held, frozen)
            transformers.append(steps)
        prefix = f"{layer.steps[-1][0]}__"
        held = {
            name.removeprefix(prefix): part
            for name, part in held.items()
            if name.startswith(prefix)
        }
    if isinstance(layer, TransformedTargetRegressor):
        if learns_targets(layer) and not frozen and TARGETS not in held:
            layer = _with_learned_targets(layer, y)
        targets.append(layer)
        y = transformed_targets(layer, y)
    inside = _Given(X, y, passed_on(layer, given.metadata))
    deeper = _learned(inner, inside, held, frozen)
    return _Learned(
        transformers + deeper.transformers, targets + deeper.targets, deeper.X
    )


def _learned_steps(
    pipeline: Pipeline, given: _Given, held: Mapping[str, Any], frozen: bool
) -> tuple[Pipeline, Any]:
    """The steps of a pipeline before its last one, fitted, and X after them."""
    if frozen:
        steps = pipeline[:-1]
        return steps, transformed_by(steps, given.X)
    steps = unfitted_steps(pipeline, held)
    metadata = of_steps(steps, given.metadata)
    return steps, steps.fit_transform(given.X, given.y, **metadata)


def _with_learned_targets(
    wrapper: TransformedTargetRegressor, y: Any
) -> TransformedTargetRegressor:
    """The wrapper with its transformer fitted to other targets."""
    y = np.asarray(y, dtype=float)
    other = copy.copy(wrapper)
    other.transformer_ = clone(wrapper.transformer).fit(
        y[:, None] if y.ndim == 1 else y
    )
    return other


def _on_host(data: Any) -> Any:
    return to_numpy(data) if is_foreign(data) else data
