"""How well estimates of deletions agree with brute-force refits."""

import abc
import time
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Self, final

import numpy as np
from scipy.sparse import issparse
from scipy.stats import spearmanr
from sklearn.utils import Bunch, check_random_state

from skinfluence import solvers, support
from skinfluence._array import to_numpy
from skinfluence._design import Design
from skinfluence.exceptions import InvalidDataError
from skinfluence.influence import Loss, changes, mean_gradient
from skinfluence.losses import AbstractLoss
from skinfluence.refit._columns import Columns
from skinfluence.refit._judges import AbstractAsked, LastStepJudge, WholeJudge
from skinfluence.refit._minimum import host_point
from skinfluence.refit._whole import LeftOut
from skinfluence.solvers import Point
from skinfluence.study import Studied, Study, study_of
from skinfluence.support import WholeFit, checks


def check_leave_one_out(
    explainer: Studied,
    X: Any,
    y: Any,
    *,
    rows: Any = 100,
    X_test: Any = None,
    y_test: Any = None,
) -> Bunch:
    """Agreement of an explainer's leave-one-out deltas with brute-force refits.

    Compares, for a sample of training rows, the predicted and the refitted change of the
    mean test loss (of each row's own loss without a test set) and of the parameters, both
    without the row minus with it. A refit does what the explainer says it does: it learns
    again the steps of a pipeline and the class weights that the explainer follows, and
    holds those that it holds.

    Parameters
    ----------
    explainer : InfluenceExplainer
        Fitted on X and y.
    X, y : array-like
        The training rows of the explainer, as they were given to its ``fit``, and their
        targets.
    rows : int or array-like of int, default=100
        Number of rows to delete, drawn with the explainer's ``random_state``, or their
        indices.
    X_test, y_test : array-like or None, default=None
        Test rows and their targets.

    Returns
    -------
    agreement : Bunch
        ``pearson`` and ``spearman`` correlation of predicted and refitted changes;
        ``slope`` of the refitted change on the predicted one (1 if they agree, above 1
        if the prediction is too small); ``max_abs_error`` of the predicted change;
        ``param_error``, largest error of the parameters relative to the largest delta;
        ``predicted`` and ``refit`` changes, in units of the loss, and their ``rows``;
        ``refitted_steps`` and ``held_steps``, names of the steps before the model that
        each refit has learned again, and of those that stay as they were fitted
        (``class_weight`` stands for balanced weights of classes);
        ``seconds_predicted`` and ``seconds_refit``. Rows without a finite refit are
        left out.

    Raises
    ------
    InvalidDataError
        If X and y are not the explainer's training rows.
    UnsupportedEstimatorError
        If a step that is not held changes the number of rows.

    Warns
    -----
    SeparableDeletionWarning
        If rows have no finite refit.
    PreprocessingDeletionWarning
        If steps cannot be fitted without some rows, make other columns, or cannot read
        the rows that are asked about.

    Notes
    -----
    With ``preprocessing="refitted"`` and a step that has no rule, the explainer's answers
    are such refits themselves, and agree. Cost: one fit per row, on ``explainer.n_jobs``
    processes: of the whole estimator, or of its last step where all other steps are
    held. The parameters of a refit are those
    of its last step, in the units of what its own steps make of X. Where targets are
    transformed, losses are on the scale of the fit to all rows.

    References
    ----------
    .. [1] Koh & Liang (2017). Understanding black-box predictions via influence
       functions. ICML. Figure 2.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from skinfluence import InfluenceExplainer, check_leave_one_out
    >>> X, y = np.arange(4.0)[:, None], np.array([0.0, 1.0, 2.0, 5.0])
    >>> explainer = InfluenceExplainer(Ridge()).fit(X, y)
    >>> agreement = check_leave_one_out(explainer, X, y)
    >>> agreement.max_abs_error < 1e-9
    True
    """
    return check_study(
        study_of(explainer), X, y, rows=rows, X_test=X_test, y_test=y_test
    )


def check_study(
    study: Study,
    X: Any,
    y: Any,
    *,
    rows: Any,
    X_test: Any = None,
    y_test: Any = None,
) -> Bunch:
    """See ``check_leave_one_out``."""
    refuse_other_rows(study, X, y)
    chosen = _chosen(rows, study)
    point = host_point(study.point)
    whole, follows = _whole_fit(study, X)
    test: _AbstractTest = (
        _OwnLoss(point, X, chosen)
        if X_test is None
        else _TestLoss.of(study, point, X_test, y_test)
    )
    start = time.perf_counter()
    deletion = study.deletion(len(chosen))
    deltas = deletion.deltas(study.here(chosen)).theta
    predicted = to_numpy(solvers.to_all_features(study.objective, deltas))
    parameters = _predicted_parameters(study, deltas, chosen, deletion.linear)
    estimate = test.changes(predicted, linear=deletion.linear)
    seconds_predicted = time.perf_counter() - start
    start = time.perf_counter()
    n_jobs, verbose = study.options.n_jobs, study.options.verbose
    if follows:
        columns = Columns.of(study.model, point.objective.design.n_features)
        judge = WholeJudge(whole, columns, point.objective, True, n_jobs, verbose)
        judged = judge.judged(point.theta, list(chosen[:, None]), test.asked)
        refitted, truth = judged.theta, test.changes_of(judged.answers)
    else:
        last = LastStepJudge(
            study.model, point.objective, study.y, True, n_jobs, verbose
        )
        refitted = last.deltas(point.theta, chosen)
        truth = test.changes(refitted, linear=False)
    seconds_refit = time.perf_counter() - start
    refitted_parameters = _refitted_parameters(study, point, refitted)
    answered = study.refitted_rows[chosen]  # by these refits
    parameters[answered] = refitted_parameters[answered]
    estimate = np.where(answered, truth, estimate)
    kept = np.isfinite(estimate) & np.isfinite(truth)
    return Bunch(
        **_agreement(estimate[kept], truth[kept]),
        param_error=_param_error(parameters[kept], refitted_parameters[kept]),
        predicted=estimate[kept],
        refit=truth[kept],
        rows=chosen[kept],
        refitted_steps=whole.refitted_steps,
        held_steps=whole.held_steps,
        seconds_predicted=seconds_predicted,
        seconds_refit=seconds_refit,
    )


def _whole_fit(study: Study, X: Any) -> tuple[WholeFit, bool]:
    """What a refit starts from, and whether it learns more than the last step."""
    whole = study.whole(X)
    if study.options.preprocessing == "held":
        return replace(whole, held=(*whole.held, *whole.refitted_steps)), False
    return whole, whole.learns


def _chosen(rows: Any, study: Study) -> np.ndarray:
    if isinstance(rows, Integral) and not isinstance(rows, bool):
        checks.at_least("rows", rows, 1, Integral)
        random = check_random_state(study.options.random_state)
        size = min(int(rows), study.n_train)
        return np.sort(random.choice(study.n_train, size=size, replace=False))
    return checks.indices(rows, study.n_train)


def refuse_other_rows(study: Study, X: Any, y: Any) -> None:
    """Refuse rows that are not those of the study."""
    given = _rows_of(study, X)
    own = support.host_rows(study.objective.design.source)
    y = checks.targets(X, y, classifier=study.classifies)
    same = given.shape == own.shape and y.shape == study.y.shape
    if same:
        gap = given != own
        same = not (gap.nnz if issparse(gap) else gap.any())
        same = same and bool(np.all(y == study.y))
    if not same:
        raise InvalidDataError(
            "X and y are not the rows that the explainer was fitted on "
            f"({study.n_train} rows). Pass its training rows, and other rows as "
            "X_test and y_test."
        )


def _rows_of(study: Study, X: Any) -> Any:
    """Rows as the linear model reads them; training rows, as its fit did."""
    if study.fitted.outputs and support.n_rows_of(X) == study.n_train:
        return study.whole(X).as_fitted().X
    return support.host_rows(study.design_of(X).source)


class _AbstractTest(abc.ABC):
    """The loss that is compared, of each row or of test rows."""

    @property
    @abc.abstractmethod
    def asked(self) -> AbstractAsked:
        """The loss by a refit."""

    @property
    @abc.abstractmethod
    def before(self) -> Any:
        """The loss by the fit to all rows, (b,) or one for all."""

    @abc.abstractmethod
    def changes(self, deltas: Any, *, linear: bool) -> Any:
        """Its change by each delta (b, G, D) of the parameters, (b,)."""

    def changes_of(self, answers: list[float | None]) -> np.ndarray:
        """Its change by each refit that was asked; NaN where there is none."""
        after = [np.nan if answer is None else answer for answer in answers]
        return np.array(after) - self.before


@final
@dataclass(frozen=True, eq=False)
class _OwnLoss(_AbstractTest):
    """The loss of each row that is deleted."""

    point: Point
    X: Any  # all training rows, as the estimator takes them
    rows: np.ndarray

    @property
    def asked(self) -> AbstractAsked:
        objective = self.point.objective
        return _AskedOwn(self.X, objective.offset, objective.loss, objective.targets)

    @property
    def before(self) -> Any:
        terms, objective = (
            solvers.row_terms(self.point, self.rows),
            self.point.objective,
        )
        return objective.loss.value(objective.targets[self.rows], terms.outputs)

    def changes(self, deltas: Any, *, linear: bool) -> Any:
        terms, objective = (
            solvers.row_terms(self.point, self.rows),
            self.point.objective,
        )
        layout = objective.layout
        moves = layout.ungrouped(solvers.own_outputs(terms.block, deltas, layout))
        y, loss = objective.targets[self.rows], objective.loss
        if linear:
            return np.sum(loss.gradient(y, terms.outputs) * moves, axis=1)
        return loss.value(y, terms.outputs + moves) - loss.value(y, terms.outputs)


@final
@dataclass(frozen=True, eq=False)
class _TestLoss(_AbstractTest):
    """The mean loss of test rows."""

    point: Point
    X: Any  # test rows, as the estimator takes them
    design: Design  # the same in the coordinates of the point
    quantity: Loss

    @classmethod
    def of(cls, study: Study, point: Point, X: Any, y: Any) -> Self:
        """That of rows X and their targets."""
        points = study.asked(X, y, "loss").design
        design = point.objective.design.of(support.host_rows(points.source))
        targets = to_numpy(study.targets_of(X, y))
        return cls(point, X, design, Loss(point.objective.loss, targets))

    @property
    def asked(self) -> AbstractAsked:
        return _AskedMean(self.X, self.quantity)

    @property
    def before(self) -> Any:
        objective = replace(self.point.objective, design=self.design, offset=None)
        return _mean_loss(self.quantity, objective.outputs(self.point.theta))

    def changes(self, deltas: Any, *, linear: bool) -> Any:
        if linear:
            gradient = mean_gradient(self.point, self.design, self.quantity)
            return np.sum(gradient * deltas, axis=(1, 2))
        moved = changes(self.point, deltas, self.design, self.quantity, "mean")
        return moved.sum(axis=0)


@final
@dataclass(frozen=True, eq=False)
class _AskedOwn(AbstractAsked):
    """The loss of the row that is left out."""

    X: Any
    offset: np.ndarray | None
    loss: AbstractLoss
    targets: np.ndarray  # (n, K_y)

    def of(self, refit: LeftOut, rows: np.ndarray) -> float:
        """By the fit without it."""
        outputs = refit.own_outputs(self.X, rows, self.offset)
        return _mean_loss(Loss(self.loss, self.targets[rows]), outputs)


@final
@dataclass(frozen=True, eq=False)
class _AskedMean(AbstractAsked):
    """The mean loss of test rows."""

    X: Any
    quantity: Loss

    def of(self, refit: LeftOut, rows: np.ndarray) -> float:
        """By the fit without these rows."""
        return _mean_loss(self.quantity, refit.outputs(self.X))


def _mean_loss(quantity: Loss, outputs: np.ndarray) -> float:
    return float(np.mean(quantity.value(outputs, slice(None))))


def _agreement(predicted: Any, refit: Any) -> dict[str, float]:
    """Correlations, slope and largest error; NaN where fewer than two rows differ."""
    error = float(np.max(np.abs(predicted - refit), initial=0.0))
    if len(predicted) < 2 or np.ptp(predicted) == 0 or np.ptp(refit) == 0:
        nan = float("nan")
        return dict(pearson=nan, spearman=nan, slope=nan, max_abs_error=error)
    centred = predicted - predicted.mean()
    return dict(
        pearson=float(np.corrcoef(predicted, refit)[0, 1]),
        spearman=float(spearmanr(predicted, refit).statistic),
        slope=float(centred @ refit / (centred @ centred)),
        max_abs_error=error,
    )


def _predicted_parameters(
    study: Study, deltas: Any, rows: np.ndarray, linear: bool
) -> np.ndarray:
    """Predicted deltas of the parameters as one vector each, (b, P)."""
    learned = study.learned_deltas(study.here(rows), linear)
    return _flat(study.parameters(deltas, learned))


def _refitted_parameters(study: Study, point: Point, deltas: np.ndarray) -> np.ndarray:
    """Refitted deltas (b, G, D) of the parameters as one vector each, (b, P)."""
    return _flat(study.model.shaped(*point.objective.as_changes(deltas)))


def _flat(parameters: dict[str, Any]) -> np.ndarray:
    arrays = [to_numpy(values) for values in parameters.values()]
    return np.concatenate([a.reshape(len(a), -1) for a in arrays], axis=1)


def _param_error(predicted: np.ndarray, refit: np.ndarray) -> float:
    """Largest error of a parameter over the largest delta of any; NaN without rows."""
    placed = np.isfinite(refit).all(axis=1)
    if not np.any(placed):
        return float("nan")
    largest = np.max(np.abs(refit[placed]), initial=0.0)
    error = np.max(np.abs(predicted[placed] - refit[placed]), initial=0.0)
    return float(error / largest) if largest > 0 else float(error)
