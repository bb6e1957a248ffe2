"""Leave-one-out by brute-force refits, and how well estimates agree with it."""

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from scipy.sparse import issparse
from scipy.stats import spearmanr
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.parallel import Parallel, delayed

from skinfluence import solvers, support
from skinfluence._array import is_foreign, to_numpy
from skinfluence._objective import Objective
from skinfluence._progress import Progress
from skinfluence._warn import listed, warn
from skinfluence.curvature import RowwiseCurvature
from skinfluence.exceptions import InvalidDataError, SeparableDeletionWarning
from skinfluence.influence import Loss, changes, mean_gradient
from skinfluence.solvers import Point, on_all_features
from skinfluence.study import Studied, Study, study_of
from skinfluence.support import checks

# The judge does not stop at a tolerance: only where rounding lets no step help.
_POLISH_STEPS = 100


def refit_leave_one_out(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    rows: Any = None,
    sample_weight: Any = None,
    offset: Any = None,
    n_jobs: int | None = None,
    polish: bool = True,
    verbose: int = 0,
    params: dict[str, Any] | None = None,
) -> Bunch:
    """Leave-one-out deltas of the parameters by refits without each row.

    Every approximation in this package is checked against it. Transformers of a
    pipeline, hyper-parameters chosen by cross-validation and class weights stay as they
    were fitted to all rows. Both fits are polished to their minimum, because an
    optimiser's error is often larger than the effect of a row.

    Parameters
    ----------
    estimator : estimator
        Any supported model. An unfitted one is cloned and fitted.
    X : array-like or sparse matrix of shape (n, n_features)
        Training rows.
    y : array-like of shape (n,) or (n, n_outputs)
        Their targets.
    rows : array-like of int or None, default=None
        Indices of the rows to delete, one at a time; all by default.
    sample_weight : array-like of shape (n,) or None, default=None
        Weights of the fit.
    offset : array-like of shape (n,) or (n, n_outputs), default=None
        Added to the linear predictor of each row, as in ``InfluenceExplainer.fit``. The
        minimum is then found by Newton steps alone.
    n_jobs : int or None, default=None
        Number of joblib jobs.
    polish : bool, default=True
        Whether to take Newton steps to the minimum of both fits.
    verbose : int, default=0
        1 reports progress on standard error.
    params : dict or None, default=None
        Further metadata of ``fit``. Weights may be among them, as in
        ``InfluenceExplainer.fit``.

    Returns
    -------
    delta : Bunch
        ``coef`` and ``intercept``: without the row minus with it, in units of the
        parameters and in the estimator's shapes after an axis of rows; NaN if no finite
        refit exists; ``rows``; ``seconds``, the time of all refits.

    Raises
    ------
    UnsupportedEstimatorError, InvalidDataError, SeparableDataError
        If the model or the data cannot be used.

    Warns
    -----
    SeparableDeletionWarning
        If rows have no finite refit.

    Notes
    -----
    Cost: one fit per row.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from skinfluence import refit_leave_one_out
    >>> X, y = np.arange(4.0)[:, None], np.array([0.0, 1.0, 2.0, 5.0])
    >>> refit_leave_one_out(LinearRegression(), X, y, rows=[3]).coef.round(2)
    array([[-0.6]])
    """
    support.required_row(estimator)
    checks.option("params", params, Mapping)
    checks.jobs(n_jobs)
    checks.switch("verbose", verbose)
    checks.switch("polish", polish)
    checked_y = checks.targets(
        X, y, classifier=is_classifier(support.unwrapped(estimator))
    )
    about_rows = checked_y.shape[0], getattr(X, "index", None)
    by_row = {"sample_weight": sample_weight, "offset": offset}
    if support.is_fitted(estimator):
        given = support.of_fitted_model(estimator, params or {}, **by_row)
        weight = checks.weights(given.get("sample_weight"), *about_rows)
    else:
        to_fit = support.routed_to_fit(estimator, params or {}, **by_row)
        given = support.of_model(estimator, to_fit)
        weight = checks.weights(given.get("sample_weight"), *about_rows)
        with support.naming_bad_targets(estimator, checked_y):
            estimator = clone(estimator).fit(
                support.readable(estimator, X), checked_y, **to_fit
            )
    model = support.read(estimator)
    offset = checks.offsets(given.get("offset"), checked_y.shape[0], model.n_outputs)
    with checks.data_errors():
        read_X = support.host_rows(checks.transformed(model.transformed(X)))
    narrow, theta = model.objective(read_X, checked_y, weight, offset)
    objective, theta = narrow.wider or narrow, solvers.to_all_features(narrow, theta)
    if rows is None:
        rows = np.arange(objective.n_rows)
    rows = checks.indices(rows, objective.n_rows)
    judge = _Judge(model, objective, checked_y, polish, n_jobs, verbose)
    if polish:
        theta = _polished(objective, theta).point.theta
    start = time.perf_counter()
    delta = judge.deltas(theta, rows)
    seconds = time.perf_counter() - start
    parameters = model.shaped(*objective.as_changes(delta))
    return Bunch(**parameters, rows=rows, seconds=seconds)


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
    without the row minus with it.

    Parameters
    ----------
    explainer : InfluenceExplainer
        Fitted on X and y.
    X, y : array-like
        The training rows of the explainer and their targets.
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
        ``seconds_predicted`` and ``seconds_refit``. Rows without a finite refit are
        left out.

    Raises
    ------
    InvalidDataError
        If X and y are not the explainer's training rows.

    Notes
    -----
    Cost: one fit per row, on ``explainer.n_jobs`` processes.

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
    study: Study, X: Any, y: Any, *, rows: Any, X_test: Any = None, y_test: Any = None
) -> Bunch:
    """See ``check_leave_one_out``."""
    refuse_other_rows(study, X, y)
    chosen = _chosen(rows, study)
    point = host_point(study.point)
    judge = _Judge(
        study.model,
        point.objective,
        study.y,
        True,
        study.options.n_jobs,
        study.options.verbose,
    )
    start = time.perf_counter()
    deletion = study.deletion(len(chosen))
    deltas = deletion.deltas(study.here(chosen)).theta
    predicted = to_numpy(solvers.to_all_features(study.objective, deltas))
    seconds_predicted = time.perf_counter() - start
    start = time.perf_counter()
    refitted = judge.deltas(point.theta, chosen)
    seconds_refit = time.perf_counter() - start
    if X_test is None:
        effect = partial(_own_changes, point, chosen)
    else:
        points = study.asked(X_test, y_test, "loss").design
        design = point.objective.design.of(support.host_rows(points.source))
        targets = to_numpy(study.targets_of(X_test, y_test))
        loss = Loss(point.objective.loss, targets)
        effect = partial(_test_changes, point, design, loss)
    estimate = effect(predicted, linear=deletion.linear)
    truth = effect(refitted, linear=False)
    kept = np.isfinite(estimate) & np.isfinite(truth)
    return Bunch(
        **_agreement(estimate[kept], truth[kept]),
        param_error=_param_error(point, predicted[kept], refitted[kept]),
        predicted=estimate[kept],
        refit=truth[kept],
        rows=chosen[kept],
        seconds_predicted=seconds_predicted,
        seconds_refit=seconds_refit,
    )


@dataclass(frozen=True)
class _Judge:
    """Refits without one row each, everything else held."""

    model: support.AbstractModel
    objective: Objective
    y: Any
    polish: bool
    n_jobs: int | None
    verbose: int

    def deltas(self, theta: Any, rows: Any) -> Any:
        """``theta(without i) - theta`` for each row, (b, G, D); NaN if it diverges."""
        progress = Progress("refits", len(rows), verbose=self.verbose)
        tasks = (delayed(_refit)(self, int(row), theta) for row in rows)
        deltas = np.empty((len(rows), *theta.shape))
        refits = Parallel(n_jobs=self.n_jobs, return_as="generator")(tasks)
        for i, delta in enumerate(refits):
            deltas[i] = delta
            progress(1)
        lost = rows[~np.isfinite(deltas).all(axis=(1, 2))]
        if len(lost):
            warn(
                f"Without rows {listed(lost)}, the refit has no finite optimum "
                "(separable classes, or a class without rows). Their deltas are NaN.",
                SeparableDeletionWarning,
            )
        return deltas


def _refit(judge: _Judge, row: int, theta: np.ndarray) -> np.ndarray:
    """Parameters without one row minus those with it, (G, D)."""
    objective = judge.objective.without(row)
    fitted = refitted_theta(
        judge.model, objective, judge.y, theta, polished=judge.polish
    )
    if fitted is None:
        return np.full_like(theta, np.nan)
    return _seen(objective, fitted - theta)


def refitted_theta(
    model: support.AbstractModel,
    objective: Objective,
    y: np.ndarray,
    theta: np.ndarray,
    *,
    polished: bool = True,
) -> np.ndarray | None:
    """Theta of the estimator fitted to the rows of positive weight, (G, D).

    ``theta`` is that of all rows. None where no finite fit exists.
    """
    if solvers.has_no_minimum(objective, objective.outputs(theta)):
        return None
    if objective.offset is not None and polished:  # which estimators do not take
        end = _polished(objective, theta)
        return None if end.unbounded else end.point.theta
    kept = np.flatnonzero(to_numpy(objective.weight) > 0)
    X, weight = support.host_rows(objective.design.source), to_numpy(objective.weight)
    fitted = _unpolished(model, X[kept], y[kept], weight[kept])
    start = model.theta(objective, fitted)
    if not polished:
        return start
    end = _polished(objective, _within_domain(objective, start, theta))
    return None if end.unbounded else end.point.theta


def refitted_point(
    model: support.Model, X: Any, y: np.ndarray, weight: np.ndarray
) -> Point | None:
    """The minimum without other rows or classes than these, transformed, on the host.

    None where no finite fit exists.
    """
    fitted = replace(model, estimator=_unpolished(model, X, y, weight))
    end = _polished_from(*fitted.objective(X, y, weight))
    return None if end.unbounded else end.point


def _unpolished(model: support.AbstractModel, X: Any, y: Any, weight: Any) -> Any:
    """A refit as the estimator makes it: the polish finishes what its optimiser leaves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.refitted(X, y, weight)


def _within_domain(objective: Objective, start: Any, theta: Any) -> Any:
    """The estimator's refit, or the fit to all rows where its optimiser got lost."""
    if not objective.loss.bounded_domain:
        return start
    inside = objective.loss.within_domain(objective.outputs(start))
    return start if np.all(inside | (objective.weight == 0)) else theta


def _seen(objective: Objective, delta: Any) -> Any:
    """The part of a delta that the objective sees: optimisers may drift in the rest."""
    gauge = RowwiseCurvature(objective, delta).gauge
    return delta if gauge is None else delta - (delta @ gauge) @ gauge.T


def _polished(objective: Objective, theta: Any) -> solvers.Polished:
    """The minimum, among all features: L1 may hold others at zero than at the start."""
    return _polished_from(*objective.narrowed(theta))


def _polished_from(objective: Objective, theta: Any) -> solvers.Polished:
    """The same from a theta on its active set."""
    solver = solvers.solver_for("auto", objective)
    start = solvers.expand_for_steps(objective, theta, solver)
    end = solvers.minimise_with_corners(
        start, solver, length=0.0, max_iter=_POLISH_STEPS
    )
    return end._replace(point=on_all_features(end.point))


def host_point(point: Point) -> Point:
    """The point among all features, in NumPy: refits are made on the host."""
    point = on_all_features(point)
    if not is_foreign(point.theta):
        return point
    objective, damping = support.on_host(point.objective), point.curvature.damping
    solver = solvers.solver_for("auto", objective)
    return solvers.expand(objective, to_numpy(point.theta), solver, damping)


def _chosen(rows: Any, study: Study) -> np.ndarray:
    if isinstance(rows, Integral) and not isinstance(rows, bool):
        checks.at_least("rows", rows, 1, Integral)
        random = check_random_state(study.options.random_state)
        size = min(int(rows), study.n_train)
        return np.sort(random.choice(study.n_train, size=size, replace=False))
    return checks.indices(rows, study.n_train)


def refuse_other_rows(study: Study, X: Any, y: Any) -> None:
    """Refuse rows that are not those of the study."""
    given = support.host_rows(study.design_of(X).source)
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


def _own_changes(point: Point, rows: Any, deltas: Any, *, linear: bool) -> Any:
    """Change of each row's own loss by its own delta, (b,)."""
    terms, objective = solvers.row_terms(point, rows), point.objective
    layout = objective.layout
    moves = layout.ungrouped(solvers.own_outputs(terms.block, deltas, layout))  # (b, K)
    y, loss = objective.targets[rows], objective.loss
    if linear:
        return np.sum(loss.gradient(y, terms.outputs) * moves, axis=1)
    return loss.value(y, terms.outputs + moves) - loss.value(y, terms.outputs)


def _test_changes(
    point: Point, design: Any, quantity: Any, deltas: Any, *, linear: bool
) -> Any:
    """Change of the mean loss over the test rows by each delta, (b,)."""
    if linear:
        gradient = mean_gradient(point, design, quantity)
        return np.sum(gradient * deltas, axis=(1, 2))
    return changes(point, deltas, design, quantity, "mean").sum(axis=0)


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


def _param_error(point: Point, predicted: np.ndarray, refit: np.ndarray) -> float:
    """Largest error of a parameter over the largest delta of any; NaN without rows."""
    if not len(refit):
        return float("nan")
    objective = point.objective

    def flat(deltas: Any) -> Any:
        coef, intercept = objective.as_changes(deltas)
        return np.concatenate([coef.reshape(len(coef), -1), intercept], axis=1)

    largest = np.max(np.abs(flat(refit)), initial=0.0)
    error = np.max(np.abs(flat(predicted) - flat(refit)), initial=0.0)
    return float(error / largest) if largest > 0 else float(error)
