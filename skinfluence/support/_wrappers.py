"""Models that fit one linear model per output to the same rows, as one objective.

The outputs of each member are a group of their own, which no derivative couples with the
others. Class weights of the members are weights of a row in a group, part of the loss.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from sklearn.base import is_regressor
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor

from skinfluence._array import array_namespace, like, to_numpy
from skinfluence._layout import Layout
from skinfluence._objective import Objective
from skinfluence._penalty import Corners, Penalty
from skinfluence.exceptions import InvalidDataError
from skinfluence.losses import AbstractLoss, Repeated
from skinfluence.support._model import (
    Model,
    started,
    transformed_targets,
    with_offset,
    with_targets_back,
)
from skinfluence.support._places import transformed_by
from skinfluence.support._table import row_of


def _columns(wrapper: Any, y: Any) -> list[Any]:
    """The targets of each member: one column of y each."""
    y = np.asarray(y)
    return [y[:, g] for g in range(y.shape[1])] if y.ndim == 2 else [y]


def _one_against_rest(wrapper: Any, y: Any) -> list[Any]:
    """0/1 targets of each member, as the wrapper has coded them."""
    coded = wrapper.label_binarizer_.transform(y)
    return _columns(wrapper, coded.toarray() if hasattr(coded, "toarray") else coded)


_TARGETS: dict[type, Callable[[Any, Any], list[Any]]] = {
    OneVsRestClassifier: _one_against_rest,
    MultiOutputRegressor: _columns,
    MultiOutputClassifier: _columns,
}


def is_wrapper(estimator: Any) -> bool:
    """Whether the estimator fits one model per output."""
    return type(estimator) in _TARGETS


def reason_against_members(wrapper: Any) -> str | None:
    """Why the fitted members do not make one objective; None if they do."""
    members = getattr(wrapper, "estimators_", None)
    if members is None:
        return None
    rows = [row_of(member) for member in members]
    if any(row is None for row in rows):
        return "one of its classes is in all rows or in none, so it has no model"
    refusals = [row.refusal(m) for row, m in zip(rows, members, strict=True) if row]
    if any(refusals):
        return next(refusal for refusal in refusals if refusal)
    models = [Model(member) for member in members]
    if any(model.n_extra for model in models):
        return "its members fit a scale of their own beside their coefficients"
    if (
        len({(model.row.loss(model.estimator), model.n_outputs) for model in models})
        > 1
    ):
        return "its members have different losses or numbers of classes"
    return None


@final
@dataclass(frozen=True)
class Stacked:
    """A fitted wrapper as one model, with the interface of ``Model``."""

    estimator: Any  # the wrapper, fitted
    transformer: Any = None
    target_transformers: tuple[Any, ...] = ()

    @cached_property
    def members(self) -> list[Model]:
        """One model per output of the wrapper."""
        return [Model(member) for member in self.estimator.estimators_]

    def transformed(self, X: Any) -> Any:
        """X as the linear models read it."""
        return X if self.transformer is None else transformed_by(self.transformer, X)

    @property
    def n_outputs(self) -> int:
        """Linear outputs K of all members."""
        return sum(member.n_outputs for member in self.members)

    @property
    def parameters(self) -> tuple[Any, Any]:
        """Coefficients (K, p) and intercepts (K,), in float64."""
        coef, intercept = zip(*(m.parameters for m in self.members), strict=True)
        return np.concatenate(coef), np.concatenate(intercept)

    def shaped(self, coef: Any, intercept: Any) -> dict[str, Any]:
        """``(b, K, p)`` and ``(b, K)`` as one array of the members' shapes each.

        Rows lead, members follow; of ``(1, p)`` and ``(1,)``, the axis of length 1 goes.
        """
        xp, size = array_namespace(coef), self.members[0].n_outputs
        lead = (coef.shape[0], len(self.members)) + (() if size == 1 else (size,))
        return {
            "coef": xp.reshape(coef, (*lead, coef.shape[-1])),
            "intercept": xp.reshape(intercept, lead),
        }

    def refitted(self, X: Any, y: Any, weight: Any) -> Any:
        """Other fits of the members, to transformed rows, hyper-parameters held."""
        pairs = zip(self.members, self._member_targets(y), strict=True)
        return [member.refitted(X, own, weight) for member, own in pairs]

    def _member_targets(self, y: Any) -> list[Any]:
        y = transformed_targets(self.target_transformers, y)
        found = _TARGETS[type(self.estimator)](self.estimator, y)
        if len(found) != len(self.members):
            raise InvalidDataError(
                f"y has {len(found)} outputs, but the model was fitted with "
                f"{len(self.members)}. Give one column per output."
            )
        return found

    def theta(self, objective: Objective, fitted: Any = None) -> Any:
        """Theta of the members, or of other fits of them, (G, D) for an objective."""
        fitted = self.estimator.estimators_ if fitted is None else fitted
        pairs = zip(self.members, fitted, strict=True)
        B = [member.working(objective.design, other) for member, other in pairs]
        return objective.layout.pack(array_namespace(B[0]).concat(B, axis=1))

    @property
    def _loss(self) -> AbstractLoss:
        """The loss of one member."""
        return self.members[0].row.loss(self.members[0].estimator)

    @property
    def _n_groups(self) -> int:
        """Groups of outputs that no derivative couples, G."""
        return len(self.members) * self._loss.n_groups(self.members[0].n_outputs)

    @property
    def _plain(self) -> bool:
        """Whether all outputs are alike and apart: one loss may read them all."""
        return is_regressor(self.estimator) and self._n_groups == self.n_outputs

    def targets(self, y: Any) -> Any:
        """Targets of all members; and, unless ``_plain``, their weights, all one."""
        K = self.members[0].n_outputs
        pairs = zip(self.members, self._member_targets(y), strict=True)
        own = [member.targets(part)[:, :K] for member, part in pairs]
        weights = [] if self._plain else [np.ones((len(own[0]), self._n_groups))]
        return np.concatenate([*own, *weights], axis=1)

    def on_outputs(self) -> Any:
        """The wrapper reading linear outputs u in place of X: its own ``predict``."""
        stand_in = copy.copy(self.estimator)
        size, K = self.members[0].n_outputs, self.n_outputs
        stand_in.estimators_ = [
            member.on_some_outputs(slice(g * size, (g + 1) * size), K)
            for g, member in enumerate(self.members)
        ]
        stand_in.n_features_in_ = K
        if hasattr(stand_in, "feature_names_in_"):
            del stand_in.feature_names_in_
        return with_targets_back(self.target_transformers, stand_in)

    def objective(
        self,
        X: Any,
        y: Any,
        sample_weight: np.ndarray,
        offset: np.ndarray | None = None,
        *,
        centred: bool = True,
    ) -> tuple[Objective, Any]:
        """The objective on these (transformed) rows, and theta of the fitted members."""
        parts = self._member_targets(y)
        masks = [member.active for member in self.members]
        active = None
        if not any(mask is None for mask in masks):
            active = np.concatenate(masks)
        first = self.members[0]
        design = first.design(X, parts[0], sample_weight, active, centred=False)
        pinned = first.design(X, parts[0], sample_weight, active, centred=True)
        if centred and np.any(to_numpy(pinned.centre) != 0):
            design = design.centred_by(like(sample_weight, pinned.centre))
        objectives = [
            member.on_design(design, part, sample_weight)
            for member, part in zip(self.members, parts, strict=True)
        ]
        wide = with_offset(self._joined(objectives, y, sample_weight), offset)
        return started(wide, self.theta(wide))

    def _joined(self, parts: list[Objective], y: Any, sample_weight: Any) -> Objective:
        """Objectives on the same design as one, group beside group."""
        first, K = parts[0], self.members[0].n_outputs
        per_member = self._n_groups // len(parts)
        targets = self.targets(y)
        loss = self._loss
        if not self._plain:
            loss = Repeated(loss, self._n_groups)
            weights = [
                _output_weights(part, K, per_member, sample_weight) for part in parts
            ]
            targets[:, -self._n_groups :] = np.concatenate(weights, axis=1)
        layout = Layout(first.design.width, self._n_groups, K // per_member)

        def rows(array: Any) -> Any:
            return np.broadcast_to(array, (per_member, layout.size))

        strength = np.concatenate([rows(part.penalty.strength) for part in parts])
        if np.all(strength == strength[:1]):
            strength = strength[:1]
        corners = first.penalty.corners
        if corners is not None:
            found = [part.penalty.corners or corners for part in parts]
            corners = Corners(
                np.concatenate([rows(part.up) for part in found]),
                np.concatenate([rows(part.down) for part in found]),
            )
        free = None
        if any(part.free is not None for part in parts):
            moving = [True if part.free is None else part.free for part in parts]
            free = np.concatenate([rows(mask) for mask in moving])
        return Objective(
            loss,
            first.design,
            targets,
            np.asarray(sample_weight, dtype=float),
            Penalty(strength, share=first.penalty.share, corners=corners),
            layout,
            free,
            counts=first.counts,
        )


def _output_weights(part: Objective, K: int, n_groups: int, sample_weight: Any) -> Any:
    """Class weights of a member, as weights of each row in its groups, (n, G)."""
    some = sample_weight > 0
    ratio = part.weight / np.where(some, sample_weight, 1.0)
    ratio = np.where(some, ratio, 1.0)[:, None]
    weights = part.targets[:, K:] if part.targets.shape[1] > K else 1.0
    return ratio * np.broadcast_to(weights, (len(ratio), n_groups))
