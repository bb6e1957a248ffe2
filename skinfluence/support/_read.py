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
    """A fitted linear model, and what transforms its input."""

    estimator: Any  # the last step, fitted
    transformer: Any = None  # fitted, held; None if the model reads X itself

    @property
    def row(self) -> SupportRow:
        """The row of the table that describes the model, looked up: rows do not pickle."""
        return required_row(self.estimator)

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
        coef, _ = self.parameters
        loss = row.loss(estimator)
        weight = np.asarray(row.weight(estimator, y, sample_weight), dtype=float)
        targets = self.targets(y)
        extra = np.asarray(row.extra(estimator), dtype=float)
        l1 = row.l1(estimator)
        active = (coef != 0) if l1 else row.active(estimator)
        columns = None if active is None else np.flatnonzero(active.any(axis=0))
        intercept_strength = row.intercept_strength(estimator)
        has_intercept = bool(estimator.fit_intercept) or len(extra) > 0
        centre = np.zeros(coef.shape[1] if columns is None else len(columns))
        design = Design(X, centre, has_intercept, columns)
        if centred and estimator.fit_intercept and intercept_strength == 0:
            design = design.centred_by(weight)
        K = len(coef) + len(extra)
        groups = loss.n_groups(K)
        layout = Layout(design.width, groups, K // groups)
        form = float(weight.sum()) if row.mean_form else 1.0

        def packed(of_coef: Any, of_intercept: Any, of_extra: Any = 0.0) -> Any:
            """Values per coefficient and intercept as a vector like theta."""
            table = np.zeros((K, design.width))
            features = np.broadcast_to(of_coef, coef.shape)
            picked = features if columns is None else features[:, columns]
            table[: len(coef), : picked.shape[1]] = picked
            if has_intercept:
                table[: len(coef), -1] = of_intercept
                table[len(coef) :, -1] = of_extra
            return layout.pack(table.T)

        strength = form * np.asarray(row.strength(estimator), dtype=float)
        per_coef = strength[:, None] if strength.ndim == 1 else strength
        strengths = packed(per_coef, form * intercept_strength)
        if np.all(strengths == strengths[:1]):
            strengths = strengths[:1]  # one factor may serve all groups
        slope = packed(form * l1 * np.sign(coef), 0.0) if l1 else 0.0
        penalty = Penalty(strengths, slope, 1 / form if row.mean_form else 0.0)
        free = None
        if len(extra) or (active is not None and not active[:, columns].all()):
            moving = np.ones(coef.shape) if active is None else active
            free = packed(moving, float(estimator.fit_intercept), 1.0) > 0
        theta = packed(*self._centred_parameters(design), extra)
        return Objective(loss, design, targets, weight, penalty, layout, free), theta

    def _centred_parameters(self, design: Design) -> tuple[Any, Any]:
        """Coefficients (K, p) and intercepts (K,) in the coordinates of the design."""
        coef, intercept = self.parameters
        if not design.has_intercept:
            return coef, 0.0
        return coef, design.to_working(coef, intercept)[-1, :]


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
    required_row(inner)
    check_is_fitted(inner)
    steps = [part for part in transformers if len(part)]
    if not steps:
        return Model(inner)
    return Model(inner, steps[0] if len(steps) == 1 else make_pipeline(*steps))


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
