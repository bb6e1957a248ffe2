"""A fitted linear model: its parameters, targets and objective, in its own shapes."""

import abc
import copy
from dataclasses import dataclass, replace
from typing import Any, Self, final

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.compose import TransformedTargetRegressor

from skinfluence._array import Array, array_namespace, like, moved, to_numpy
from skinfluence._class_weights import BalancedWeights
from skinfluence._design import Design
from skinfluence._following import AbstractFollowing, Gaps, OnHost
from skinfluence._layout import Layout
from skinfluence._objective import Objective
from skinfluence._penalty import Corners, Penalty
from skinfluence._sources import source_of
from skinfluence.exceptions import (
    InvalidDataError,
    InvalidParameterError,
    UnknownLabelError,
)
from skinfluence.losses import AbstractLoss, Repeated
from skinfluence.support._backends import transformed_by
from skinfluence.support._table import SupportRow, classes_of, row_of


@dataclass(frozen=True)
class AbstractModel(abc.ABC):
    """A fitted estimator of linear outputs, and what transforms its input and targets."""

    estimator: BaseEstimator  # fitted: a linear model, or a wrapper of several
    transformer: BaseEstimator | None = None  # fitted, held; None: the model reads X
    target_transformers: tuple[TransformedTargetRegressor, ...] = ()  # outer first

    @property
    @abc.abstractmethod
    def n_outputs(self) -> int:
        """Linear outputs K."""

    @property
    @abc.abstractmethod
    def parameters(self) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (K, p) and intercepts (K,), in float64, on the host."""

    @abc.abstractmethod
    def shaped(self, coef: Array, intercept: Array) -> dict[str, Any]:
        """``(b, K, p)`` and ``(b, K)`` in the estimator's own shapes, rows leading.

        ``coef``, ``intercept``, and by its name whatever else the estimator has fitted.
        """

    @abc.abstractmethod
    def targets(self, y: Any) -> np.ndarray:
        """Targets as the loss reads them, (n, K_y), on the host; unknown labels refused."""

    @abc.abstractmethod
    def refitted(self, X: Any, y: Any, weight: Any) -> Any:
        """Another fit, to transformed rows, hyper-parameters held."""

    @abc.abstractmethod
    def of_classes(
        self, y: np.ndarray, weight: np.ndarray, left: np.ndarray
    ) -> "list[tuple[Model, np.ndarray, np.ndarray]]":
        """What refits to rows of some classes only (by index) have the outputs of these.

        Models, each with targets and weights of all rows; none where such a refit would
        lack class weights of single outputs.
        """

    @abc.abstractmethod
    def working(self, design: Design, fitted: Any = None) -> Any:
        """Parameters, or those of another fit, in the coordinates of a design, (q, K)."""

    @abc.abstractmethod
    def with_held_class_weights(self, y: Any, weight: np.ndarray) -> Self:
        """The same with balanced class weights that stay as they are on these rows."""

    @abc.abstractmethod
    def reason_against_balancing(self, y: Any) -> str | None:
        """Why balanced class weights cannot be learned again; None if they can."""

    @abc.abstractmethod
    def balanced(self, y: Any, weight: np.ndarray) -> BalancedWeights:
        """Balanced class weights of these rows, on the host, that can be learned again."""

    @abc.abstractmethod
    def _reader(self) -> BaseEstimator:
        """The estimator reading linear outputs in place of X, targets as transformed."""

    @abc.abstractmethod
    def _objective(
        self, X: Any, y: Any, weight: np.ndarray, centred: bool
    ) -> Objective:
        """The objective on all features, its arrays still on the host."""

    def transformed(self, X: Any) -> Any:
        """X as the linear model reads it."""
        return X if self.transformer is None else transformed_by(self.transformer, X)

    def own_targets(self, y: Any) -> Any:
        """The targets on the scale that the linear model itself is fitted to."""
        for wrapper in self.target_transformers:
            y = transformed_targets(wrapper, y)
        return y

    def given_targets(self, y: np.ndarray) -> np.ndarray:
        """Targets (n, K) from the scale of ``own_targets`` back to that of the user."""
        for wrapper in reversed(self.target_transformers):
            y = wrapper.transformer_.inverse_transform(y)
        return y

    def on_outputs(self) -> BaseEstimator:
        """The estimator reading linear outputs u in place of X: its own ``predict``."""
        reader = self._reader()
        for wrapper in reversed(self.target_transformers):
            reader = with_attributes(copy.copy(wrapper), regressor_=reader)
        return reader

    def theta(self, objective: Objective, fitted: Any = None) -> Any:
        """Theta of the estimator, or of another fit of it, (G, D) for an objective."""
        return objective.layout.pack(self.working(objective.design, fitted))

    @property
    @abc.abstractmethod
    def absorbs_shifts(self) -> bool:
        """Whether a shift of a feature changes the intercept only: it is free."""

    @property
    @abc.abstractmethod
    def scales_with_targets(self) -> bool:
        """Whether targets in another unit change the unit of parameters only.

        That of squares: a ridge penalty and a squared loss change by one factor.
        """

    def objective(
        self,
        X: Any,
        y: Any,
        sample_weight: np.ndarray,
        offset: np.ndarray | None = None,
        *,
        centred: bool = True,
        following: AbstractFollowing | None = None,
        balances: bool = False,
        gaps: Gaps | None = None,
    ) -> tuple[Objective, Any]:
        """The objective on these (transformed) rows, and theta of the fitted estimator.

        It is that of the active set of the fit; hopeless fits are refused. ``balances``:
        balanced class weights are learned again without rows.
        """
        wide = self.wide_objective(X, y, sample_weight, offset, centred=centred)
        balanced = None
        if balances:
            balanced = self.balanced(y, sample_weight).beside(wide.weight)
        design = replace(wide.design, gaps=gaps)
        wide = replace(wide, following=following, balanced=balanced, design=design)
        theta = self.theta(wide)
        _refuse_nothing_active(wide, theta)
        _refuse_outside_domain(wide, theta)
        return wide.narrowed(theta)

    def wide_objective(
        self,
        X: Any,
        y: Any,
        sample_weight: np.ndarray,
        offset: np.ndarray | None = None,
        *,
        centred: bool = True,
    ) -> Objective:
        """The objective on all features of these (transformed) rows, corners included.

        ``offset`` (n, K) is added to the linear outputs.
        """
        wide = self._objective(X, y, sample_weight, centred)
        if offset is not None:
            every = np.zeros((wide.n_rows, wide.layout.n_outputs))
            every[:, : offset.shape[1]] = offset  # a fitted scale has none
            wide = replace(wide, offset=every)
        return _beside_rows(wide, wide.design)


@final
@dataclass(frozen=True)
class Model(AbstractModel):
    """One fitted linear model, and what transforms its input and targets."""

    @property
    def row(self) -> SupportRow:
        """The row of the table that describes the model, looked up: rows do not pickle."""
        row = row_of(self.estimator)
        assert row is not None  # refused at the door
        return row

    @property
    def extra(self) -> dict[str, float]:
        """Further fitted numbers by name, which are outputs of the loss."""
        return self.row.extra(self.estimator)

    @property
    def n_outputs(self) -> int:
        """Linear outputs K."""
        return len(np.atleast_2d(to_numpy(self.estimator.coef_)))

    @property
    def parameters(self) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (K, p) and intercepts (K,), in float64, on the host."""
        return _parameters(self.estimator)

    def shaped(self, coef: Array, intercept: Array) -> dict[str, Any]:
        """``(b, K, p)`` and ``(b, K)`` in the estimator's own shapes, rows leading."""
        xp, b, K = array_namespace(coef), coef.shape[0], self.n_outputs
        own_coef = to_numpy(self.estimator.coef_).shape
        own_intercept = to_numpy(self.estimator.intercept_).shape
        if has_intercept(self.estimator):
            own = xp.reshape(intercept[:, :K], (b, *own_intercept))
        else:
            own = like(np.zeros((b, *own_intercept)), coef)
        return {
            "coef": xp.reshape(coef[:, :K, :], (b, *own_coef)),
            "intercept": own,
            **{name: intercept[:, K + k] for k, name in enumerate(self.extra)},
        }

    def refitted(self, X: Any, y: Any, weight: Any) -> BaseEstimator:
        """Another fit of the model, to transformed rows, hyper-parameters held."""
        held = self.row.held(self.estimator)
        return held.fit(X, self.own_targets(y), sample_weight=weight)

    def with_held_class_weights(self, y: Any, weight: np.ndarray) -> Self:
        """The same with balanced class weights that stay as they are on these rows."""
        estimator = self.estimator
        if getattr(estimator, "class_weight", None) != "balanced":
            return self
        some = weight > 0
        labels, given = y[some], weight[some]
        by_output = self.row.output_weight(estimator)
        if by_output is None:
            ratio = self.row.weight(estimator, labels, given) / given
        else:
            own = np.searchsorted(classes_of(estimator), labels)
            ratio = by_output(labels, given)[np.arange(len(labels)), own]
        held = dict(zip(labels.tolist(), ratio.tolist(), strict=True))
        return replace(
            self, estimator=with_attributes(copy.copy(estimator), class_weight=held)
        )

    def reason_against_balancing(self, y: Any) -> str | None:
        """Why balanced class weights cannot be learned again; None if they can."""
        estimator, row = self.estimator, self.row
        if row.balanced(estimator) is None:
            return f"how {type(estimator).__name__} counts its classes is not known"
        if row.l1(estimator) or row.positive(estimator):
            return (
                "how they change where coefficients are held at zero is not worked out"
            )
        if np.ndim(y) > 1:
            return "with several labels they are products over the labels"
        return None

    def balanced(self, y: Any, weight: np.ndarray) -> BalancedWeights:
        """Balanced class weights of these rows, on the host, that can be learned again."""
        estimator, row, labels = self.estimator, self.row, classes_of(self.estimator)
        by_weight = row.balanced(estimator) == "weight"
        counted = np.asarray(weight, dtype=float) if by_weight else np.ones(len(y))
        classes = np.searchsorted(labels, y)[:, None]
        if row.output_weight(estimator) is None:
            return BalancedWeights(classes, counted, len(labels), by_weight)
        rest = np.asarray(classes != np.arange(len(labels)), dtype=np.int64)
        return BalancedWeights(rest, counted, 1, by_weight)

    def working(self, design: Design, fitted: Any = None) -> Any:
        """Parameters, or those of another fit, in the coordinates of a design, (q, K)."""
        fitted = self.estimator if fitted is None else fitted
        coef, intercept = _parameters(fitted)
        extra = np.array(list(self.row.extra(fitted).values()), dtype=float)
        coef = np.concatenate([coef, np.zeros((len(extra), coef.shape[1]))])
        intercept = np.concatenate([intercept, extra])
        return design.to_working(
            like(coef, design.centre), like(intercept, design.centre)
        )

    def targets(self, y: Any) -> np.ndarray:
        """Targets as the loss reads them, (n, K_y), on the host; unknown labels refused."""
        y = self.own_targets(y)
        if is_classifier(self.estimator) and np.ndim(y) == 1:
            classes = classes_of(self.estimator)
            known = np.isin(y, classes)
            if not np.all(known):
                raise UnknownLabelError(
                    f"y holds labels that the model does not know: "
                    f"{np.unique(np.asarray(y)[~known]).tolist()}. Its classes are "
                    f"{classes.tolist()}: leave those rows out, or "
                    "refit the model with them."
                )
        targets = self.row.targets(self.estimator, y)
        refuse_other_outputs(targets.shape[1], self.n_outputs)
        if self.row.output_weight(self.estimator) is None:
            return targets
        return np.concatenate([targets, np.ones_like(targets)], axis=1)

    def of_classes(
        self, y: np.ndarray, weight: np.ndarray, left: np.ndarray
    ) -> "list[tuple[Model, np.ndarray, np.ndarray]]":
        """Itself: its refit has the classes that it is given."""
        weighs_outputs = self.row.output_weight(self.estimator) is not None
        return [] if weighs_outputs else [(self, y, weight)]

    def _loss_and_targets(
        self, y: Any, sample_weight: np.ndarray
    ) -> tuple[AbstractLoss, np.ndarray]:
        """The loss, and the targets of training rows, their output weights included."""
        loss, targets = self.row.loss(self.estimator), self.targets(y)
        output_weight = self.row.output_weight(self.estimator)
        if output_weight is None:
            return loss, targets
        targets[:, self.n_outputs :] = output_weight(y, sample_weight)  # no regressor
        return Repeated(loss, self.n_outputs), targets

    def _reader(self) -> BaseEstimator:
        return self.on_some_outputs(slice(None), self.n_outputs)

    def on_some_outputs(self, own: slice, K: int) -> BaseEstimator:
        """The linear model alone, reading its own outputs among K."""
        coef = np.eye(K)[own]
        learnt = {
            "coef_": coef if to_numpy(self.estimator.coef_).ndim == 2 else coef[0],
            "intercept_": np.zeros(to_numpy(self.estimator.intercept_).shape),
            "n_features_in_": K,
        }
        if hasattr(self.estimator, "classes_"):
            learnt["classes_"] = classes_of(self.estimator)
        return with_attributes(self.row.reader(self.estimator), **learnt)

    @property
    def active(self) -> np.ndarray | None:
        """Coefficients that may move, (K, p) bool, or None for all."""
        return self.row.active(self.estimator)

    def _objective(
        self, X: Any, y: Any, weight: np.ndarray, centred: bool
    ) -> Objective:
        reason = self.row.degenerate(self.estimator, self.own_targets(y))
        if reason is not None:
            raise InvalidDataError(reason[0].upper() + reason[1:])
        effective = self.row.weight(self.estimator, y, weight)
        design = self.design(X, effective, self.active, centred)
        return self.on_design(design, y, weight)

    @property
    def absorbs_shifts(self) -> bool:
        estimator, row = self.estimator, self.row
        pinned = row.intercept_strength(estimator) or row.intercept_l1(estimator)
        return has_intercept(estimator) and not pinned

    @property
    def scales_with_targets(self) -> bool:
        estimator, row = self.estimator, self.row
        l1 = row.l1(estimator) or row.intercept_l1(estimator)
        return row.loss(estimator).quadratic and not l1

    def design(
        self, X: Any, weight: np.ndarray, active: np.ndarray | None, centred: bool
    ) -> Design:
        """Rows in the coordinates of the objective."""
        source = source_of(X)
        place, xp = source.place, array_namespace(source.place)
        if active is not None:
            kept = np.flatnonzero(active.any(axis=0))
            source = source.with_columns(like(kept, place, xp.int64))
        fits_intercept = has_intercept(self.estimator)
        centre = like(np.zeros(source.width), place)
        design = Design(source, centre, fits_intercept or bool(self.extra))
        if not centred or not self.absorbs_shifts:
            return design
        return design.centred_by(like(weight, centre))

    def on_design(self, design: Design, y: Any, sample_weight: np.ndarray) -> Objective:
        """The objective on all features of a design, corners included.

        All but the design is on the host yet.
        """
        estimator, row = self.estimator, self.row
        coef, _ = self.parameters
        loss, targets = self._loss_and_targets(y, sample_weight)
        weight = np.asarray(row.weight(estimator, y, sample_weight), dtype=float)
        counts = row.counts(estimator, weight)
        active, n_own = self.active, len(coef)
        columns = slice(None) if design.columns is None else to_numpy(design.columns)
        fits_intercept, n_extra = has_intercept(estimator), len(self.extra)
        K = n_own + n_extra
        groups = loss.n_groups(K)
        layout = Layout(design.width, groups, K // groups)
        total = weight if counts is None else counts
        form = float(total.sum()) if row.mean_form else 1.0

        def packed(of_coef: Any, of_intercept: float, of_extra: float = 0.0) -> Any:
            """Values per coefficient and intercept as a vector like theta."""
            table = np.zeros((K, design.width))
            of_features = np.broadcast_to(of_coef, coef.shape)[:, columns]
            table[:n_own, : of_features.shape[1]] = of_features
            if design.has_intercept:
                table[:n_own, -1], table[n_own:, -1] = of_intercept, of_extra
            return layout.pack(table.T)

        strength = form * to_numpy(row.strength(estimator)).astype(float)
        per_coef = strength[:, None] if strength.ndim == 1 else strength
        _refuse_other_shape(per_coef, coef)
        strengths = packed(per_coef, form * row.intercept_strength(estimator))
        l1, positive = row.l1(estimator), row.positive(estimator)
        corners = None
        if l1 or positive:
            up = packed(form * l1, form * row.intercept_l1(estimator))
            corners = Corners(up, packed(np.inf, 0.0) if positive else up)
        share = 1 / form if row.mean_form else 0.0
        free = None
        if n_extra or (active is not None and not np.all(active[:, columns])):
            moving = True if active is None else active
            free = packed(moving, float(fits_intercept), 1.0) > 0
        return Objective(
            loss,
            design,
            targets,
            weight,
            Penalty(one_for_all(strengths), share=share, corners=corners),
            layout,
            free,
            counts=counts,
        )


def transformed_targets(wrapper: TransformedTargetRegressor, y: Any) -> Any:
    """Targets on the scale of what a ``TransformedTargetRegressor`` holds."""
    flat = np.ndim(y) == 1
    y = np.asarray(y, dtype=float)
    y = wrapper.transformer_.transform(y[:, None] if flat else y)
    return y[:, 0] if flat and np.ndim(y) == 2 and y.shape[1] == 1 else y


def _refuse_other_shape(strength: np.ndarray, coef: np.ndarray) -> None:
    """Refuse a registered strength that is not one for all, each output or entry."""
    try:
        np.broadcast_to(strength, coef.shape)
    except ValueError as error:
        raise InvalidParameterError(
            f"strength has shape {strength.shape}, but the model has {coef.shape[0]} "
            f"outputs of {coef.shape[1]} coefficients. Register one number, one per "
            "output, or one per coefficient."
        ) from error


def one_for_all(strengths: np.ndarray) -> np.ndarray:
    """Strengths (G, D), or (1, D) of groups that are alike: they may share a factor."""
    return strengths[:1] if np.all(strengths == strengths[:1]) else strengths


def refuse_other_outputs(n_given: int, n_fitted: int) -> None:
    """Refuse targets of another number of outputs than the model has."""
    if n_given != n_fitted:
        raise InvalidDataError(
            f"y has {n_given} outputs, but the model was fitted with {n_fitted}. Give "
            "one column per output."
        )


def with_attributes(estimator: BaseEstimator, **attributes: Any) -> BaseEstimator:
    """The estimator (a copy) with other attributes, and without names of features."""
    for name, value in attributes.items():
        setattr(estimator, name, value)
    if hasattr(estimator, "feature_names_in_"):
        del estimator.feature_names_in_
    return estimator


def on_host(objective: Objective) -> Objective:
    """The same objective in NumPy, for what only the host can do: refits."""
    wider, design = objective.wider, objective.design.on_host()
    wider = None if wider is None else on_host(wider)
    following = objective.following
    following = None if following is None else OnHost(following)
    return replace(_beside_rows(objective, design), wider=wider, following=following)


def _beside_rows(objective: Objective, design: Design) -> Objective:
    """The objective with its arrays in the namespace and on the device of its rows."""
    here, penalty, corners = design.centre, objective.penalty, objective.penalty.corners

    def there(values: Any) -> Any:
        return values if values is None else like(values, here)

    if corners is not None:
        corners = Corners(there(corners.up), there(corners.down))
    slope = penalty.slope if isinstance(penalty.slope, float) else there(penalty.slope)
    free = objective.free
    return replace(
        objective,
        design=design,
        targets=there(objective.targets),
        weight=there(objective.weight),
        penalty=replace(
            penalty, strength=there(penalty.strength), slope=slope, corners=corners
        ),
        free=None if free is None else moved(free, here),
        counts=there(objective.counts),
        offset=there(objective.offset),
        balanced=None
        if objective.balanced is None
        else objective.balanced.beside(here),
    )


def _parameters(estimator: BaseEstimator) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (K, p) and intercepts (K,), in float64."""
    coef = np.atleast_2d(to_numpy(estimator.coef_).astype(float))
    intercept = to_numpy(estimator.intercept_).astype(float)
    return coef, np.broadcast_to(np.atleast_1d(intercept), coef.shape[:1])


def has_intercept(estimator: BaseEstimator) -> bool:
    """Whether the estimator fits an intercept; one that cannot say so does."""
    return bool(getattr(estimator, "fit_intercept", True))


def _refuse_outside_domain(objective: Objective, theta: Any) -> None:
    """Refuse a fit whose objective is infinite on its own rows."""
    if not objective.loss.bounded_domain:
        return
    inside = objective.loss.within_domain(objective.outputs(theta))
    lost = np.flatnonzero(to_numpy(~inside & (objective.weight > 0)))
    if len(lost):
        raise InvalidDataError(
            "The fitted model predicts a mean that its family does not allow (such as 0 "
            f"or less) for training rows {lost[:10].tolist()}: its objective is "
            "infinite, so the fit has failed. Fit an intercept, scale the features, or "
            "use a link that keeps the mean in range, such as link='log'."
        )


def _refuse_nothing_active(objective: Objective, theta: Any) -> None:
    """Refuse a model whose penalty has left nothing that could move."""
    corners, xp = objective.penalty.corners, array_namespace(theta)
    if corners is not None and bool(xp.all((theta == 0) & corners.present)):
        raise InvalidDataError(
            "All coefficients of the model are zero, and it has no intercept: no row "
            "has any influence on it. Penalise it less (a smaller alpha, a larger C)."
        )
