"""A fitted model and its training rows, ready to be asked."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import (
    Any,
    Concatenate,
    NamedTuple,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    final,
)

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from skinfluence._array import Array, array_namespace, moved, to_numpy
from skinfluence._design import Design
from skinfluence._following import AbstractFollowing
from skinfluence._objective import Objective
from skinfluence._progress import Progress
from skinfluence.deletion import AbstractDeletion, deletion_for
from skinfluence.exceptions import (
    InvalidDataError,
    InvalidParameterError,
    UnfittedEstimatorError,
)
from skinfluence.influence import AbstractQuantity, HeldOut, Loss, Output, Response
from skinfluence.preprocessing import NOTHING_FOLLOWED, Followed
from skinfluence.solvers import (
    AbstractSolver,
    Point,
    on_active_set,
    on_all_features,
)
from skinfluence.study._learned import Learned, learned_deltas, learned_influence
from skinfluence.study._minimum import Minimum
from skinfluence.study._verdicts import listening
from skinfluence.support import (
    AbstractModel,
    TrainingOutput,
    WholeFit,
    checks,
    take_rows,
)

# Rows that an error names.
_NAMED = 10


@final
@dataclass(frozen=True)
class Options:
    """What the constructor of an explainer says about answers."""

    deletion: str
    tol: float
    max_iter: int
    polish: bool | float = True
    n_jobs: int | None = None
    random_state: Any = None
    verbose: int = 0
    preprocessing: str = "held"


@final
class TrainingFeatures(BaseEstimator):
    """What X has to look like: features as those that the training rows had.

    Named for scikit-learn's messages: "X has 3 features, but TrainingFeatures is
    expecting 4 features as input."
    """

    @classmethod
    def of(cls, explainer: BaseEstimator) -> Self:
        """The features that an explainer was fitted with."""
        features = cls()
        for name in ("n_features_in_", "feature_names_in_"):  # texts have neither
            if hasattr(explainer, name):
                setattr(features, name, getattr(explainer, name))
        return features


class Fitted(NamedTuple):
    """A fitted estimator, all its steps included, and what its fit was given."""

    estimator: BaseEstimator
    weight: np.ndarray  # (n,) of the linear model, its class weights apart
    metadata: dict[str, Any]  # of the estimator's own ``fit``, by its names
    outputs: Mapping[str, TrainingOutput]  # of steps that cross-fit, by name


class Asked(NamedTuple):
    """Test points, and the quantities asked about each of them."""

    design: Design
    quantities: list[AbstractQuantity]
    X: Any = None  # the points as the user gave them, where refits read them
    rows: np.ndarray | None = None  # which training rows they are, if they are

    def part(self, points: slice) -> "Asked":
        """The same about a slice of the points."""
        if points == slice(0, self.design.n_rows):
            return self
        quantities = [quantity.at(points) for quantity in self.quantities]
        X = None if self.X is None else take_rows(self.X, _range(points))
        rows = None if self.rows is None else self.rows[points]
        return Asked(self.design.take(points), quantities, X, rows)


@final
@dataclass(frozen=True, eq=False)
class Study:
    """A fitted model at the minimum of its objective on its training rows.

    All that a question needs, and nothing of the explainer that offers it.
    """

    minimum: Minimum
    model: AbstractModel
    fitted: Fitted
    solver: AbstractSolver
    options: Options
    y: np.ndarray  # training targets as the user gave them
    labels: np.ndarray  # (n,) of the training rows
    features: TrainingFeatures
    followed: Followed = NOTHING_FOLLOWED
    X: Any = None  # the rows as the user gave them, where refits may be asked
    drawing: tuple[str, ...] = ()  # steps that are never refitted: they draw at random
    following_targets: AbstractFollowing | None = None  # on the host; None: held
    memory: dict[Any, Any] | None = None  # of answers, for who asks the same again

    @property
    def refits_unknown(self) -> bool:
        """Whether a step without a rule is refitted for each deletion."""
        asked = self.options.preprocessing == "refitted"
        return asked and bool(self.followed.held_steps)

    @property
    def refits_all(self) -> bool:
        """Whether a refit answers for each deletion.

        So it does where exact deletion would have to see other rows change: passes over
        the rows as they are certify nothing then.
        """
        spreads = self.options.deletion == "exact" and self.followed.spreads
        return self.refits_unknown or spreads

    @property
    def held_steps(self) -> list[str]:
        """Steps that stay as they were fitted, also in refits."""
        return list(self.drawing) if self.refits_unknown else self.followed.held_steps

    @property
    def held_reasons(self) -> dict[str, str]:
        """Why, for each of them, as a clause."""
        drawn = "it draws at random, and no random_state makes that the same again"
        drawing = dict.fromkeys(self.drawing, drawn)
        return drawing if self.refits_unknown else self.followed.reasons

    @property
    def followed_steps(self) -> list[str]:
        """Steps that are learned again without a row, by a rule or a refit."""
        every = [*self.followed.followed_steps, *self.followed.held_steps]
        return [name for name in every if name not in self.held_steps]

    @property
    def refits(self) -> WholeFit | None:
        """What is refitted where refits answer for deletions; None where none does."""
        return None if self.X is None else self.whole(self.X)

    @cached_property
    def refitted_rows(self) -> np.ndarray:
        """Rows whose deletion is answered by a refit, (n,) bool, on the host."""
        following = self.objective.following
        deciding = None if following is None else following.decides()
        if self.refits_all or deciding is None or not self.refits_some:
            return np.full(self.n_train, self.refits_all)
        return deciding

    @property
    def refits_some(self) -> bool:
        """Whether refits answer for deletions at least where they decide columns.

        What a derivative sees does not change with a small change of a weight.
        """
        return self.X is not None and self.options.deletion != "jackknife"

    def whole(self, X: Any) -> WholeFit:
        """The whole estimator on its training rows, X as the user gives them.

        Steps are held as in refits.
        """
        estimator, weight, metadata, outputs = self.fitted
        offset = self.objective.offset
        if offset is not None:
            offset = to_numpy(offset)[:, : self.model.n_outputs]
        given = estimator, X, self.y, weight, offset, metadata
        return WholeFit(*given, held=tuple(self.held_steps), outputs=outputs)

    @property
    def point(self) -> Point:
        """The minimum: objective, parameters, curvature and its factor."""
        return self.minimum.point

    @property
    def objective(self) -> Objective:
        """The objective on the training rows."""
        return self.minimum.point.objective

    @property
    def held(self) -> "Study":
        """The same model with all steps held as they were fitted."""
        narrow = on_active_set(self.point)
        objective = replace(narrow.objective, following=None)
        if objective.wider is not None:
            objective = replace(
                objective, wider=replace(objective.wider, following=None)
            )
        point = Point(replace(narrow.curvature, objective=objective), narrow.factor)
        if narrow is not self.point:
            point = on_all_features(point)
        minimum = self.minimum._replace(point=point)
        held = replace(self, minimum=minimum, followed=NOTHING_FOLLOWED, X=None)
        return replace(held, following_targets=None)

    @property
    def n_train(self) -> int:
        """Number of training rows."""
        return self.objective.n_rows

    @property
    def classifies(self) -> bool:
        """Whether the targets are labels."""
        return is_classifier(self.model.estimator)

    @property
    def picks_class(self) -> bool:
        """Whether a prediction is one class, and not several labels."""
        return self.classifies and self.y.ndim == 1

    @property
    def classes(self) -> np.ndarray:
        """Labels of the classes; classifiers only."""
        return to_numpy(self.model.estimator.classes_)

    @property
    def n_columns(self) -> int:
        """Quantities of each point where no target is given."""
        return 1 if self.picks_class else self.model.n_outputs

    @property
    def vector_length(self) -> int:
        """Entries of one vector of parameters."""
        return self.objective.layout.n_groups * self.objective.layout.size

    @property
    def in_order(self) -> bool:
        """Whether blocks of rows are to be asked for one after the other.

        Exact deletions report progress, and iterations keep notes of their residuals.
        """
        return self.options.deletion == "exact" or self.solver.residuals is not None

    def here(self, values: Any) -> Any:
        """Values of the host in the namespace and on the device of the rows."""
        return moved(values, self.point.theta)

    def deletion(self, n_deletions: int) -> AbstractDeletion:
        """What deletes rows and groups, by the constructor's name for it."""
        options = self.options
        return deletion_for(
            options.deletion,
            self.point,
            self.solver,
            typical=self.minimum.typical,
            tol=options.tol,
            max_iter=options.max_iter,
            progress=Progress("exact deletion", n_deletions, verbose=options.verbose),
        )

    # --- test points -------------------------------------------------------------------

    def asked(self, X: Any, y: Any = None, on: str = "auto") -> Asked:
        """Test points, and what is asked about them."""
        checks.one_of("on", on, ("auto", "loss", "prediction", "decision"))
        design, objective = self.design_of(X), self.objective
        if on == "loss" or (on == "auto" and y is not None):
            _refuse_outside_domain(self.point, design)
            quantities: list[Any] = [Loss(objective.loss, self.targets_of(X, y))]
        else:
            quantities = self._outputs_of(design, on)
        return Asked(design, quantities, None if self.X is None else X)

    def about_training(self, rows: np.ndarray) -> Asked:
        """The loss of training rows, taken as test points."""
        objective, indices = self.objective, self.here(rows)
        take = array_namespace(indices).take
        quantity: AbstractQuantity = Loss(
            objective.loss, take(objective.targets, indices, axis=0)
        )
        if objective.offset is not None:
            quantity = HeldOut(quantity, take(objective.offset, indices, axis=0))
        X = None if self.X is None else take_rows(self.X, rows)
        return Asked(objective.design.take(indices), [quantity], X, rows)

    def design_of(self, X: Any) -> Design:
        """Points X in the coordinates of the training rows."""
        reads_X = self.model.transformer is None
        rows = checks.rows(self.features, X, reset=False, reads_X=reads_X)
        if not reads_X:
            raw = rows
            with checks.data_errors():
                rows = checks.transformed(self.model.transformed(raw))
        design, reader = self.objective.design.of(rows), self.followed.reader
        if reader is None:
            return design
        gaps = reader.gaps(raw, self.point.theta)
        return replace(design, gaps=gaps if len(gaps.which) else None)

    def targets_of(self, X: Any, y: Any) -> Any:
        """Targets of points as the loss reads them."""
        y = checks.targets(X, y, classifier=self.classifies)
        return self.here(self.model.targets(y))

    def _outputs_of(self, design: Design, on: str) -> list[AbstractQuantity]:
        objective, theta = self.objective, self.point.theta
        xp, K = array_namespace(theta), objective.layout.n_outputs
        eye = self.here(np.eye(K))
        if self.picks_class:
            u = replace(objective, design=design).outputs(theta)
            return [Output(xp.take(eye, xp.argmax(u, axis=1), axis=0))]
        columns = [  # a fitted scale is no prediction
            xp.broadcast_to(eye[k, :], (design.n_rows, K))
            for k in range(self.model.n_outputs)
        ]
        if on == "decision" or self.classifies:
            return [Output(column) for column in columns]
        return [Response(objective.loss, column) for column in columns]

    # --- parameters, predictions ---------------------------------------------------------

    def learned_deltas(self, rows: Array, linear: bool = False) -> Learned | None:
        """What is learned again without each row (index), or to first order."""
        return learned_deltas(self.point, self.following_targets, rows, linear)

    def learned_influence(self, rows: Array) -> Learned | None:
        """The derivative of it in the weight of each row, for a mean loss."""
        return learned_influence(self.point, self.following_targets, rows)

    def parameters(
        self, theta: Array, learned: Learned | None = None
    ) -> dict[str, Any]:
        """Vectors (b, G, D) by name, in the shapes of ``coef_`` and ``intercept_``.

        With what is learned again, changes in the columns and targets that each refit
        has.
        """
        coef, intercept = self.objective.as_changes(theta)
        if learned is not None:
            fitted = self.objective.as_changes(self.point.theta[None, ...])
            coef, intercept = learned.moved(coef, intercept, fitted)
        return self.model.shaped(coef, intercept)

    @cached_property
    def coefficient_names(self) -> list[str]:
        """Features that the linear model reads, ``x0``, ``x1``, ... without names."""
        transformer = self.model.transformer
        names = getattr(self.features, "feature_names_in_", None)
        if transformer is not None:
            try:
                names = transformer.get_feature_names_out(names)
            except (AttributeError, ValueError):  # some transformer names nothing
                names = None
        if names is None:
            names = [f"x{j}" for j in range(self.model.parameters[0].shape[1])]
        return [str(name) for name in names]

    @cached_property
    def outputs(self) -> np.ndarray:
        """Linear outputs of the training rows, (n, K), a fitted scale left out; host."""
        return to_numpy(self.point.outputs)[:, : self.model.n_outputs]

    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """Predictions from linear outputs (n, K), in the shape of y."""
        return np.reshape(self.model.on_outputs().predict(outputs), self.y.shape)


def _range(points: slice) -> np.ndarray:
    return np.arange(points.start, points.stop)


def _refuse_outside_domain(point: Point, design: Design) -> None:
    """Refuse rows whose outputs have no finite loss, as a mean that is not positive."""
    objective = point.objective
    if not objective.loss.bounded_domain:
        return
    outputs = replace(objective, design=design).outputs(point.theta)
    lost = np.flatnonzero(~to_numpy(objective.loss.within_domain(outputs)))
    if len(lost):
        more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        raise InvalidDataError(
            "The model predicts a mean that its family does not allow (such as 0 or "
            f"less) for rows {lost[:_NAMED].tolist()}{more} of X: their loss is not "
            "defined. Leave them out, ask on='prediction', or use a link that keeps the "
            "mean in range, such as link='log'."
        )


class Studied(Protocol):
    """What ``study_of`` reads: a fitted ``InfluenceExplainer``."""

    _study: Study


def study_of(explainer: Studied) -> Study:
    """The study that a fitted explainer holds."""
    asks = hasattr(explainer, "influence") and hasattr(explainer, "loo_params")
    if isinstance(explainer, type) or not asks:
        raise InvalidParameterError(
            f"A fitted InfluenceExplainer is needed; got {checks.brief(explainer)}. Use "
            "InfluenceExplainer(estimator).fit(X, y)."
        )
    try:
        check_is_fitted(explainer)
    except NotFittedError as error:
        raise UnfittedEstimatorError(str(error)) from None
    return explainer._study


Explainer = TypeVar("Explainer", bound=Studied)


def remembering(explainer: Explainer) -> Explainer:
    """A shallow copy of a fitted explainer that answers a question of all rows once."""
    twin = copy.copy(explainer)
    twin._study = replace(study_of(explainer), memory={})
    return twin


P = ParamSpec("P")
Answer = TypeVar("Answer")


def answer(
    study: Study,
    question: Callable[Concatenate[Study, P], Answer],
    *args: P.args,
    **kwargs: P.kwargs,
) -> Answer:
    """The answer to a question; what its deletions have to say is said once."""
    known = study.memory if not (args or kwargs) else None
    if known is not None and question in known:
        return known[question]
    with listening(study.solver):
        result = question(study, *args, **kwargs)
    if known is not None:
        known[question] = result
    return result
