"""From a fitted estimator and data to an objective, and back to the estimator's shapes."""

import copy
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.validation import check_is_fitted

from skinfluence._array import like
from skinfluence._design import Design
from skinfluence._layout import Layout
from skinfluence._objective import Objective
from skinfluence._penalty import Penalty
from skinfluence.exceptions import (
    InvalidDataError,
    UnknownLabelError,
    UnsupportedEstimatorError,
)
from skinfluence.support._table import SupportRow, row_of, supported_estimators

_NO_SECOND_DERIVATIVE = "its loss is not twice differentiable"
_REASONS = {
    "SVC": _NO_SECOND_DERIVATIVE + " (and it is not linear in the features)",
    "LinearSVC": "its hinge losses have no row in the table yet",
    "QuantileRegressor": _NO_SECOND_DERIVATIVE,
    "SVR": _NO_SECOND_DERIVATIVE + " (and it is not linear in the features)",
    "Lasso": "its L1 penalty is not differentiable where coefficients are zero",
    "ElasticNet": "its L1 penalty is not differentiable where coefficients are zero",
}


@final
@dataclass(frozen=True)
class Model:
    """A fitted linear model, the row that describes it, and what transforms its input."""

    estimator: Any  # the last step, fitted
    row: SupportRow
    transformer: Any = None  # fitted, held; None if the model reads X itself

    def transformed(self, X: Any) -> Any:
        """X as the linear model reads it."""
        return X if self.transformer is None else self.transformer.transform(X)

    @property
    def n_outputs(self) -> int:
        """Linear outputs K."""
        coef = np.asarray(self.estimator.coef_)
        return coef.shape[0] if coef.ndim == 2 else 1

    @property
    def parameters(self) -> tuple[Any, Any]:
        """Coefficients (K, p) and intercepts (K,), in float64."""
        coef = np.atleast_2d(np.asarray(self.estimator.coef_, dtype=float))
        intercept = np.asarray(self.estimator.intercept_, dtype=float)
        return coef, np.broadcast_to(np.atleast_1d(intercept), coef.shape[:1])

    def shaped(self, coef: Any, intercept: Any) -> tuple[Any, Any]:
        """``(b, K, p)`` and ``(b, K)`` in the estimator's own shapes, rows leading."""
        rows = coef.shape[0]
        own_coef = np.asarray(self.estimator.coef_).shape
        own_intercept = np.asarray(self.estimator.intercept_).shape
        if not self.estimator.fit_intercept and own_intercept == ():
            return coef.reshape(rows, *own_coef), np.zeros(rows)
        return coef.reshape(rows, *own_coef), intercept.reshape(rows, *own_intercept)

    def targets(self, y: Any) -> Any:
        """Targets as the loss reads them, (n, K_y); unknown labels are refused."""
        if is_classifier(self.estimator) and np.ndim(y) == 1:
            known = np.isin(y, self.estimator.classes_)
            if not np.all(known):
                raise UnknownLabelError(
                    f"y holds labels that the model does not know: "
                    f"{np.unique(np.asarray(y)[~known]).tolist()}. Its classes are "
                    f"{self.estimator.classes_.tolist()}: leave those rows out, or "
                    "refit the model with them."
                )
        targets = self.row.targets(self.estimator, y)
        if targets.shape[1] != self.n_outputs:
            raise InvalidDataError(
                f"y has {targets.shape[1]} outputs, but the model was fitted with "
                f"{self.n_outputs}. Give one column per output."
            )
        return targets

    def on_outputs(self) -> Any:
        """The estimator reading linear outputs u in place of X: its own ``predict``."""
        stand_in = copy.copy(self.estimator)
        K = self.n_outputs
        coef = np.eye(K) if np.ndim(self.estimator.coef_) == 2 else np.ones(1)
        stand_in.coef_ = coef
        stand_in.intercept_ = np.zeros_like(
            np.asarray(self.estimator.intercept_, dtype=float)
        )
        stand_in.n_features_in_ = K
        if hasattr(stand_in, "feature_names_in_"):
            del stand_in.feature_names_in_
        return stand_in

    def objective(
        self, X: Any, y: Any, sample_weight: Any, *, centred: bool = True
    ) -> tuple[Objective, Any]:
        """The objective on these (transformed) rows, and theta of the fitted estimator."""
        estimator, row = self.estimator, self.row
        coef, intercept = self.parameters
        loss = row.loss(estimator)
        weight = np.asarray(row.weight(estimator, y, sample_weight), dtype=float)
        intercept_strength = row.intercept_strength(estimator)
        has_intercept = bool(estimator.fit_intercept)
        free = has_intercept and intercept_strength == 0
        targets = self.targets(y)
        design = Design(X, np.zeros(X.shape[1]), has_intercept)
        if free and centred:
            design = design.centred_by(weight)
        groups = loss.n_groups(self.n_outputs)
        layout = Layout(design.width, groups, self.n_outputs // groups)
        penalty = Penalty(
            _strength(row.strength(estimator), intercept_strength, design, layout)
        )
        theta = layout.pack(design.to_working(coef, intercept))
        return Objective(loss, design, targets, weight, penalty, layout), theta


def _strength(
    strength: Any, intercept_strength: float, design: Design, layout: Layout
) -> Any:
    """Penalty strengths of theta, (G, D), or (1, D) if all groups are alike."""
    per_output = np.atleast_1d(np.asarray(strength, dtype=float))
    alike = per_output.shape[0] == 1 or layout.group_size > 1
    n_groups = 1 if alike else layout.n_groups
    table = np.zeros((n_groups, layout.group_size, layout.width))
    table += per_output.reshape(-1, 1, 1) if not alike else per_output[0]
    if design.has_intercept:
        table[..., -1] = intercept_strength
    return like(table.reshape(n_groups, layout.size), design.centre)


def unwrapped(estimator: Any) -> Any:
    """The linear model inside pipelines, searches and frozen estimators, fitted or not."""
    if isinstance(estimator, Pipeline):
        return unwrapped(estimator.steps[-1][1])
    if isinstance(estimator, FrozenEstimator) or _is_search(estimator):
        return unwrapped(getattr(estimator, "best_estimator_", estimator.estimator))
    return estimator


def required_row(estimator: Any) -> SupportRow:
    """The support row of the linear model inside, or a reasoned refusal."""
    model = unwrapped(estimator)
    row = row_of(model)
    name = type(model).__name__
    if row is None:
        reason = _REASONS.get(
            name, "no row of the support table describes its objective"
        )
        raise UnsupportedEstimatorError(
            f"{name} is not supported: {reason}. Supported are "
            f"{', '.join(supported_estimators())}, alone, at the end of a Pipeline, "
            "in a FrozenEstimator or as the best estimator of a search."
        )
    refusal = row.refusal(model)
    if refusal is not None:
        raise UnsupportedEstimatorError(
            f"This {name} is not supported: {refusal}. Use it without that, or one of "
            f"{', '.join(supported_estimators())}."
        )
    return row


def read(estimator: Any) -> Model:
    """A fitted estimator as the linear model inside it and what stands before that."""
    transformers, inner = [], estimator
    while row_of(inner) is None:
        if isinstance(inner, Pipeline):
            transformers.append(inner[:-1])
            inner = inner.steps[-1][1]
        elif _is_search(inner):
            inner = _best(inner)
        elif isinstance(inner, FrozenEstimator):
            inner = inner.estimator
        else:
            break
    row = required_row(inner)
    check_is_fitted(inner)
    steps = [part for part in transformers if len(part)]
    if not steps:
        return Model(inner, row)
    return Model(inner, row, steps[0] if len(steps) == 1 else make_pipeline(*steps))


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
    while not hasattr(estimator, "steps") and unwrapped(estimator) is not estimator:
        estimator = getattr(estimator, "best_estimator_", estimator.estimator)
    return estimator


def weight_name(estimator: Any) -> str:
    """The name under which ``fit`` hands sample weights to the linear model inside."""
    inner = _without_holders(estimator)
    if not hasattr(inner, "steps"):
        return "sample_weight"
    name, last = inner.steps[-1]
    return f"{name}__{weight_name(last)}"


def is_fitted(estimator: Any) -> bool:
    """Whether an estimator of any kind says that it is fitted."""
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True
