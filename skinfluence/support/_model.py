"""A fitted linear model: its parameters, targets and objective, in its own shapes."""

import copy
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from sklearn.base import is_classifier

from skinfluence._array import array_namespace, like, moved, to_numpy
from skinfluence._design import Design
from skinfluence._layout import Layout
from skinfluence._objective import Objective
from skinfluence._penalty import Corners, Penalty
from skinfluence._sources import source_of
from skinfluence.exceptions import InvalidDataError, UnknownLabelError
from skinfluence.losses import AbstractLoss, Repeated
from skinfluence.support._places import transformed_by
from skinfluence.support._table import SupportRow, classes_of, row_of


@final
@dataclass(frozen=True)
class Model:
    """A fitted linear model, and what transforms its input."""

    estimator: Any  # the last step, fitted
    transformer: Any = None  # fitted, held; None if the model reads X itself
    target_transformers: tuple[
        Any, ...
    ] = ()  # TransformedTargetRegressors, outer first

    @property
    def row(self) -> SupportRow:
        """The row of the table that describes the model, looked up: rows do not pickle."""
        row = row_of(self.estimator)
        assert row is not None  # refused at the door
        return row

    def transformed(self, X: Any) -> Any:
        """X as the linear model reads it."""
        return X if self.transformer is None else transformed_by(self.transformer, X)

    def refitted(self, X: Any, y: Any, weight: Any) -> Any:
        """Another fit of the model, to transformed rows, hyper-parameters held."""
        held = self.row.held(self.estimator)
        return held.fit(X, self.own_targets(y), sample_weight=weight)

    def own_targets(self, y: Any) -> Any:
        """The targets on the scale that the linear model itself is fitted to."""
        return transformed_targets(self.target_transformers, y)

    @property
    def n_outputs(self) -> int:
        """Linear outputs K."""
        coef = to_numpy(self.estimator.coef_)
        return coef.shape[0] if coef.ndim == 2 else 1

    @property
    def parameters(self) -> tuple[Any, Any]:
        """Coefficients (K, p) and intercepts (K,), in float64, on the host."""
        return _parameters(self.estimator)

    def shaped(self, coef: Any, intercept: Any) -> dict[str, Any]:
        """``(b, K, p)`` and ``(b, K)`` in the estimator's own shapes, rows leading.

        ``coef``, ``intercept``, and by its name whatever else the estimator has fitted.
        """
        xp, rows, K = array_namespace(coef), coef.shape[0], self.n_outputs
        own_coef = to_numpy(self.estimator.coef_).shape
        own_intercept = to_numpy(self.estimator.intercept_).shape
        extra = self.row.extra(self.estimator)
        return {
            "coef": xp.reshape(coef[:, :K, :], (rows, *own_coef)),
            "intercept": xp.reshape(intercept[:, :K], (rows, *own_intercept))
            if has_intercept(self.estimator)
            else like(np.zeros((rows, *own_intercept)), coef),
            **{name: intercept[:, K + k] for k, name in enumerate(extra)},
        }

    def theta(self, objective: Objective, fitted: Any = None) -> Any:
        """Theta of the estimator, or of another fit of it, (G, D) for an objective."""
        return objective.layout.pack(self.working(objective.design, fitted))

    def working(self, design: Design, fitted: Any = None) -> Any:
        """The same as parameters in the coordinates of a design, (q, K)."""
        fitted = self.estimator if fitted is None else fitted
        coef, intercept = _parameters(fitted)
        extra = np.array(list(self.row.extra(fitted).values()), dtype=float)
        coef = np.concatenate([coef, np.zeros((len(extra), coef.shape[1]))])
        intercept = np.concatenate([intercept, extra])
        return design.to_working(
            like(coef, design.centre), like(intercept, design.centre)
        )

    @property
    def n_extra(self) -> int:
        """Further fitted numbers that are outputs of the loss."""
        return len(self.row.extra(self.estimator))

    def targets(self, y: Any) -> Any:
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
        if targets.shape[1] != self.n_outputs:
            raise InvalidDataError(
                f"y has {targets.shape[1]} outputs, but the model was fitted with "
                f"{self.n_outputs}. Give one column per output."
            )
        if self.row.output_weight(self.estimator) is None:
            return targets
        return np.concatenate([targets, np.ones_like(targets)], axis=1)

    def _loss_and_targets(self, y: Any, sample_weight: Any) -> tuple[AbstractLoss, Any]:
        """The loss, and the targets of training rows, their output weights included."""
        loss, targets = self.row.loss(self.estimator), self.targets(y)
        output_weight = self.row.output_weight(self.estimator)
        if output_weight is None:
            return loss, targets
        targets[:, self.n_outputs :] = output_weight(y, sample_weight)  # no regressor
        return Repeated(loss, self.n_outputs), targets

    def on_outputs(self) -> Any:
        """The estimator reading linear outputs u in place of X: its own ``predict``."""
        stand_in = self.on_some_outputs(slice(None), self.n_outputs)
        return with_targets_back(self.target_transformers, stand_in)

    def on_some_outputs(self, own: slice, K: int) -> Any:
        """The linear model alone, reading its own outputs among K."""
        stand_in = self.row.reader(self.estimator)
        coef = np.eye(K)[own]
        stand_in.coef_ = coef if to_numpy(self.estimator.coef_).ndim == 2 else coef[0]
        stand_in.intercept_ = np.zeros(to_numpy(self.estimator.intercept_).shape)
        if hasattr(self.estimator, "classes_"):
            stand_in.classes_ = classes_of(self.estimator)
        stand_in.n_features_in_ = K
        if hasattr(stand_in, "feature_names_in_"):
            del stand_in.feature_names_in_
        return stand_in

    def objective(
        self,
        X: Any,
        y: Any,
        sample_weight: np.ndarray,
        offset: np.ndarray | None = None,
        *,
        centred: bool = True,
    ) -> tuple[Objective, Any]:
        """The objective on these (transformed) rows, and theta of the fitted estimator.

        ``offset`` (n, K) is added to the linear outputs.
        """
        reason = self.row.degenerate(self.estimator, self.own_targets(y))
        if reason is not None:
            raise InvalidDataError(reason[0].upper() + reason[1:])
        design = self.design(X, y, sample_weight, self.active, centred=centred)
        wide = with_offset(self.on_design(design, y, sample_weight), offset)
        return started(wide, self.theta(wide))

    @property
    def active(self) -> Any:
        """Coefficients that may move, (K, p) bool, or None for all."""
        return self.row.active(self.estimator)

    def design(
        self, X: Any, y: Any, sample_weight: Any, active: Any, *, centred: bool
    ) -> Design:
        """Rows in the coordinates of the objective."""
        estimator, row = self.estimator, self.row
        source = source_of(X)
        place, xp = source.place, array_namespace(source.place)
        if active is not None:
            kept = np.flatnonzero(active.any(axis=0))
            source = source.with_columns(like(kept, place, xp.int64))
        fits_intercept = has_intercept(estimator)
        centre = like(np.zeros(source.width), place)
        design = Design(source, centre, fits_intercept or self.n_extra > 0)
        pinned = row.intercept_strength(estimator) or row.intercept_l1(estimator)
        if not centred or not fits_intercept or pinned:
            return design
        weight = row.weight(estimator, y, sample_weight)
        return design.centred_by(like(weight, centre))

    def on_design(self, design: Design, y: Any, sample_weight: Any) -> Objective:
        """The objective on all features of a design, corners included.

        All but the design is on the host yet: ``started`` brings it there.
        """
        estimator, row = self.estimator, self.row
        coef, _ = self.parameters
        loss, targets = self._loss_and_targets(y, sample_weight)
        weight = np.asarray(row.weight(estimator, y, sample_weight), dtype=float)
        counts = row.counts(estimator, weight)
        l1 = row.l1(estimator)
        intercept_l1 = row.intercept_l1(estimator)
        positive, active = row.positive(estimator), self.active
        columns = None if design.columns is None else to_numpy(design.columns)
        intercept_strength = row.intercept_strength(estimator)
        fits_intercept, n_extra = has_intercept(estimator), self.n_extra
        K = len(coef) + n_extra
        groups = loss.n_groups(K)
        layout = Layout(design.width, groups, K // groups)
        total = weight if counts is None else counts
        form = float(total.sum()) if row.mean_form else 1.0

        def packed(of_coef: Any, of_intercept: Any, of_extra: Any = 0.0) -> Any:
            """Values per coefficient and intercept as a vector like theta."""
            table = np.zeros((K, design.width))
            features = np.broadcast_to(of_coef, coef.shape)
            picked = features if columns is None else features[:, columns]
            table[: len(coef), : picked.shape[1]] = picked
            if design.has_intercept:
                table[: len(coef), -1] = of_intercept
                table[len(coef) :, -1] = of_extra
            return layout.pack(table.T)

        strength = form * to_numpy(row.strength(estimator)).astype(float)
        per_coef = strength[:, None] if strength.ndim == 1 else strength
        strengths = packed(per_coef, form * intercept_strength)
        if np.all(strengths == strengths[:1]):
            strengths = strengths[:1]  # one factor may serve all groups
        corners = None
        if l1 or positive:
            up = packed(form * l1, form * intercept_l1)
            down = packed(np.inf, 0.0) if positive else up
            corners = Corners(up, down)
        share = 1 / form if row.mean_form else 0.0
        penalty = Penalty(strengths, share=share, corners=corners)
        free = None
        if n_extra or (active is not None and not np.all(active[:, columns])):
            moving = np.ones(coef.shape) if active is None else active
            free = packed(moving, float(fits_intercept), 1.0) > 0
        return Objective(
            loss, design, targets, weight, penalty, layout, free, counts=counts
        )


def with_offset(objective: Objective, offset: np.ndarray | None) -> Objective:
    """The objective with an offset (n, K) of its first K outputs."""
    if offset is None:
        return objective
    whole = np.zeros((objective.n_rows, objective.layout.n_outputs))
    whole[:, : offset.shape[1]] = offset  # a fitted scale has none
    return replace(objective, offset=whole)


def started(objective: Objective, theta: Any) -> tuple[Objective, Any]:
    """The objective on the active set of a fit, and theta there; hopeless fits refused.

    Everything goes where the rows of the design are.
    """
    objective = _beside(objective.design, objective)
    _refuse_nothing_active(objective, theta)
    _refuse_outside_domain(objective, theta)
    return objective.narrowed(theta)


def on_host(objective: Objective) -> Objective:
    """The same objective in NumPy, for what only the host can do: refits."""
    wider, design = objective.wider, objective.design.on_host()
    return replace(
        _beside(design, objective),
        design=design,
        wider=None if wider is None else on_host(wider),
    )


def _beside(design: Design, objective: Objective) -> Objective:
    """The objective with its arrays in the namespace and on the device of its rows."""
    here, penalty = design.centre, objective.penalty
    free, counts, corners = objective.free, objective.counts, penalty.corners
    offset = objective.offset
    slope = penalty.slope
    slope = slope if isinstance(slope, float) else like(slope, here)
    if corners is not None:
        corners = Corners(like(corners.up, here), like(corners.down, here))
    return replace(
        objective,
        targets=like(objective.targets, here),
        weight=like(objective.weight, here),
        penalty=replace(
            penalty, strength=like(penalty.strength, here), slope=slope, corners=corners
        ),
        free=None if free is None else moved(free, here),
        counts=None if counts is None else like(counts, here),
        offset=None if offset is None else like(offset, here),
    )


def _parameters(estimator: Any) -> tuple[Any, Any]:
    """Coefficients (K, p) and intercepts (K,), in float64."""
    coef = np.atleast_2d(to_numpy(estimator.coef_).astype(float))
    intercept = to_numpy(estimator.intercept_).astype(float)
    return coef, np.broadcast_to(np.atleast_1d(intercept), coef.shape[:1])


def has_intercept(estimator: Any) -> bool:
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


def transformed_targets(transformers: tuple[Any, ...], y: Any) -> Any:
    """Targets through fitted TransformedTargetRegressors, the outer one first."""
    for wrapper in transformers:
        flat = np.ndim(y) == 1
        y = np.asarray(y, dtype=float)
        y = wrapper.transformer_.transform(y[:, None] if flat else y)
        if flat and np.ndim(y) == 2 and y.shape[1] == 1:
            y = y[:, 0]
    return y


def with_targets_back(transformers: tuple[Any, ...], reader: Any) -> Any:
    """A regressor whose predictions come back through the same transformers."""
    for wrapper in reversed(transformers):
        outer = copy.copy(wrapper)
        outer.regressor_ = reader
        if hasattr(outer, "feature_names_in_"):
            del outer.feature_names_in_
        reader = outer
    return reader
