"""Models that fit one linear model per output to the same rows, as one objective.

The outputs of each member are a group of their own, which no derivative couples with the
others. Class weights of the members are weights of a row in a group, part of the loss.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self, final

import numpy as np
from sklearn.base import BaseEstimator, is_regressor
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor

from skinfluence._array import Array, array_namespace
from skinfluence._class_weights import BalancedWeights
from skinfluence._design import Design
from skinfluence._layout import Layout
from skinfluence._objective import Objective
from skinfluence._penalty import Corners, Penalty
from skinfluence.losses import AbstractLoss, Repeated
from skinfluence.support._model import (
    AbstractModel,
    Model,
    one_for_all,
    refuse_other_outputs,
    with_attributes,
)
from skinfluence.support._table import row_of


def _columns(wrapper: BaseEstimator, y: Any) -> list[np.ndarray]:
    """The targets of each member: one column of y each."""
    y = np.asarray(y)
    return [y[:, g] for g in range(y.shape[1])] if y.ndim == 2 else [y]


def _one_against_rest(wrapper: BaseEstimator, y: Any) -> list[np.ndarray]:
    """0/1 targets of each member, as the wrapper has coded them."""
    coded = wrapper.label_binarizer_.transform(y)
    return _columns(wrapper, coded.toarray() if hasattr(coded, "toarray") else coded)


_TARGETS: dict[type, Callable[[Any, Any], list[np.ndarray]]] = {
    OneVsRestClassifier: _one_against_rest,
    MultiOutputRegressor: _columns,
    MultiOutputClassifier: _columns,
}


def is_wrapper(estimator: BaseEstimator) -> bool:
    """Whether the estimator fits one model per output."""
    return type(estimator) in _TARGETS


def reason_against_members(wrapper: BaseEstimator) -> str | None:
    """Why the fitted members do not make one objective; None if they do."""
    members = getattr(wrapper, "estimators_", None)
    if members is None:
        return None
    rows = [row_of(member) for member in members]
    if any(row is None for row in rows):
        return "one of its classes is in all rows or in none, so it has no model"
    for row, member in zip(rows, members, strict=True):
        if row and (refusal := row.refusal(member)):
            return refusal
    models = [Model(member) for member in members]
    if any(model.extra for model in models):
        return "its members fit a scale of their own beside their coefficients"
    kinds = {(model.row.loss(model.estimator), model.n_outputs) for model in models}
    if len(kinds) > 1:
        return "its members have different losses or numbers of classes"
    return None


@final
@dataclass(frozen=True)
class Stacked(AbstractModel):
    """A fitted wrapper as one model."""

    @cached_property
    def members(self) -> list[Model]:
        """One model per output of the wrapper."""
        return [Model(member) for member in self.estimator.estimators_]

    @property
    def n_outputs(self) -> int:
        """Linear outputs K of all members."""
        return sum(member.n_outputs for member in self.members)

    @property
    def parameters(self) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (K, p) and intercepts (K,), in float64, on the host."""
        coef, intercept = zip(*(m.parameters for m in self.members), strict=True)
        return np.concatenate(coef), np.concatenate(intercept)

    def shaped(self, coef: Array, intercept: Array) -> dict[str, Any]:
        """``(b, K, p)`` and ``(b, K)`` as one array of the members' shapes each.

        Rows lead, members follow; of ``(1, p)`` and ``(1,)``, the axis of length 1 goes.
        """
        xp, size = array_namespace(coef), self.members[0].n_outputs
        lead = (coef.shape[0], len(self.members)) + (() if size == 1 else (size,))
        return {
            "coef": xp.reshape(coef, (*lead, coef.shape[-1])),
            "intercept": xp.reshape(intercept, lead),
        }

    def refitted(self, X: Any, y: Any, weight: Any) -> list[BaseEstimator]:
        """Other fits of the members, to transformed rows, hyper-parameters held."""
        pairs = zip(self.members, self._member_targets(y), strict=True)
        return [member.refitted(X, own, weight) for member, own in pairs]

    def with_held_class_weights(self, y: Any, weight: np.ndarray) -> Self:
        """The same with balanced class weights that stay as they are on these rows."""
        pairs = zip(self.members, self._member_targets(y), strict=True)
        held = [member.with_held_class_weights(own, weight) for member, own in pairs]
        wrapper = copy.copy(self.estimator)
        wrapper.estimators_ = [member.estimator for member in held]
        return replace(self, estimator=wrapper)

    def reason_against_balancing(self, y: Any) -> str | None:
        """Why balanced class weights cannot be learned again; None if they can."""
        pairs = list(zip(self.members, self._member_targets(y), strict=True))
        reasons = [member.reason_against_balancing(own) for member, own in pairs]
        if any(reasons):
            return next(reason for reason in reasons if reason)
        weighs_outputs = self.members[0].row.output_weight(self.members[0].estimator)
        if weighs_outputs is not None and len(pairs) > 1:
            return "each of several models weighs each of its classes against the rest"
        return None

    def balanced(self, y: Any, weight: np.ndarray) -> BalancedWeights:
        """Balanced class weights of these rows, on the host, that can be learned again."""
        pairs = zip(self.members, self._member_targets(y), strict=True)
        parts = [member.balanced(own, weight) for member, own in pairs]
        per_member = self._n_groups // len(parts)
        shape = len(parts[0].counted), per_member
        classes = [np.broadcast_to(part.classes, shape) for part in parts]
        return replace(parts[0], classes=np.concatenate(classes, axis=1))

    def _member_targets(self, y: Any) -> list[np.ndarray]:
        parts = _TARGETS[type(self.estimator)](self.estimator, self.own_targets(y))
        refuse_other_outputs(len(parts), len(self.members))
        return parts

    def of_classes(
        self, y: np.ndarray, weight: np.ndarray, left: np.ndarray
    ) -> list[tuple[Model, np.ndarray, np.ndarray]]:
        """The members of these classes (of two, one), with their own class weights."""
        parts = self._member_targets(y)
        members = left[-1:] if len(left) == 2 else left
        chosen = [(self.members[g], parts[g]) for g in members]
        return [
            (member, part, member.row.weight(member.estimator, part, weight))
            for member, part in chosen
        ]

    def working(self, design: Design, fitted: Any = None) -> Any:
        """Parameters, or those of other fits, in the coordinates of a design, (q, K)."""
        fitted = self.estimator.estimators_ if fitted is None else fitted
        pairs = zip(self.members, fitted, strict=True)
        B = [member.working(design, other) for member, other in pairs]
        return array_namespace(B[0]).concat(B, axis=1)

    @property
    def absorbs_shifts(self) -> bool:
        return all(member.absorbs_shifts for member in self.members)

    @property
    def scales_with_targets(self) -> bool:
        return all(member.scales_with_targets for member in self.members)

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

    def targets(self, y: Any) -> np.ndarray:
        """Targets of all members; and, unless ``_plain``, their weights, all one."""
        K = self.members[0].n_outputs
        pairs = zip(self.members, self._member_targets(y), strict=True)
        own = [member.targets(part)[:, :K] for member, part in pairs]
        weights = [] if self._plain else [np.ones((len(own[0]), self._n_groups))]
        return np.concatenate([*own, *weights], axis=1)

    def _reader(self) -> BaseEstimator:
        size, K = self.members[0].n_outputs, self.n_outputs
        readers = [
            member.on_some_outputs(slice(g * size, (g + 1) * size), K)
            for g, member in enumerate(self.members)
        ]
        wrapper = copy.copy(self.estimator)
        return with_attributes(wrapper, estimators_=readers, n_features_in_=K)

    def _objective(
        self, X: Any, y: Any, weight: np.ndarray, centred: bool
    ) -> Objective:
        masks = [member.active for member in self.members]
        some = [mask for mask in masks if mask is not None]
        active = np.concatenate(some) if len(some) == len(masks) else None
        design = self.members[0].design(X, weight, active, centred)
        pairs = zip(self.members, self._member_targets(y), strict=True)
        parts = [member.on_design(design, part, weight) for member, part in pairs]
        return self._joined(parts, y, weight)

    def _joined(
        self, parts: list[Objective], y: Any, sample_weight: np.ndarray
    ) -> Objective:
        """Objectives on the same design as one, group beside group."""
        first, K = parts[0], self.members[0].n_outputs
        per_member = self._n_groups // len(parts)
        loss, targets = self._loss, self.targets(y)
        if not self._plain:
            loss = Repeated(loss, self._n_groups)
            weights = [
                _output_weights(part, K, per_member, sample_weight) for part in parts
            ]
            targets[:, -self._n_groups :] = np.concatenate(weights, axis=1)
        layout = Layout(first.design.width, self._n_groups, K // per_member)

        def joined(arrays: list[Any]) -> np.ndarray:
            """Entries of each member, or of each of its groups, as those of all, (G, D)."""
            shape = per_member, layout.size
            return np.concatenate([np.broadcast_to(array, shape) for array in arrays])

        corners = first.penalty.corners
        if corners is not None:
            each = [part.penalty.corners or corners for part in parts]
            corners = Corners(
                joined([c.up for c in each]), joined([c.down for c in each])
            )
        free = None
        if any(part.free is not None for part in parts):
            free = joined([True if part.free is None else part.free for part in parts])
        strength = one_for_all(joined([part.penalty.strength for part in parts]))
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


def _output_weights(
    part: Objective, K: int, n_groups: int, sample_weight: np.ndarray
) -> np.ndarray:
    """Class weights of a member, as weights of each row in its groups, (n, G)."""
    some = sample_weight > 0
    ratio = part.weight / np.where(some, sample_weight, 1.0)
    ratio = np.where(some, ratio, 1.0)[:, None]
    weights = part.targets[:, K:] if part.targets.shape[1] > K else 1.0
    return ratio * np.broadcast_to(weights, (len(ratio), n_groups))
