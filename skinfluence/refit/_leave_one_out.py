"""Leave-one-out by brute-force refits."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, final

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils import Bunch

from skinfluence import solvers, support
from skinfluence._objective import Objective
from skinfluence.exceptions import InvalidDataError
from skinfluence.refit._judges import (
    AbstractAsked,
    LastStepJudge,
    WholeJudge,
)
from skinfluence.refit._minimum import polished
from skinfluence.refit._whole import LeftOut, columns_of, without_draws
from skinfluence.support import Seen, WholeFit, checks


def refit_leave_one_out(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    rows: Any = None,
    sample_weight: Any = None,
    offset: Any = None,
    preprocessing: str = "refitted",
    n_jobs: int | None = None,
    polish: bool = True,
    verbose: int = 0,
    params: dict[str, Any] | None = None,
) -> Bunch:
    """Leave-one-out deltas of the parameters by refits without each row.

    Every approximation in this package is checked against it. A refit is what
    ``clone(estimator).fit`` on the other rows gives: the steps of a pipeline, the
    transformer of a ``TransformedTargetRegressor`` and balanced class weights are learned
    again; hyper-parameters stay, also those that a search or a model has chosen. Both
    fits are polished to their minimum, because an optimiser's error is often larger than
    the effect of a row.

    Parameters
    ----------
    estimator : estimator
        Any supported model. An unfitted one is cloned and fitted.
    X : array-like, sparse matrix or frame of shape (n, n_features), or list of texts
        Training rows, as ``estimator.fit`` takes them.
    y : array-like of shape (n,) or (n, n_outputs)
        Their targets.
    rows : array-like of int or None, default=None
        Indices of the rows to delete, one at a time; all by default.
    sample_weight : array-like of shape (n,) or None, default=None
        Weights of the fit.
    offset : array-like of shape (n,) or (n, n_outputs), default=None
        Added to the linear predictor of each row, as in ``InfluenceExplainer.fit``. The
        minimum is then found by Newton steps alone.
    preprocessing : {"refitted", "held"}, default="refitted"
        What a refit learns again. "refitted": every step before the model and class
        weights, as well as the model. "held": the model alone; the rest stays as it was
        fitted to all rows. A ``FrozenEstimator`` always stays, and so does, with a
        warning, a step that draws at random and has no ``random_state``.
    n_jobs : int or None, default=None
        Number of joblib jobs.
    polish : bool, default=True
        Whether to take Newton steps to the minimum of both fits.
    verbose : int, default=0
        1 reports progress on standard error.
    params : dict or None, default=None
        Further metadata of ``fit``. Weights may be among them, as in
        ``InfluenceExplainer.fit``, and so may those of other steps. What has one entry
        per row loses that of the row deleted.

    Returns
    -------
    delta : Bunch
        ``coef`` and ``intercept``: without the row minus with it, in units of the
        parameters and in the estimator's shapes after an axis of rows. They are those
        of the last step of each fit, in the units of what its own steps make of X. A
        column that vanishes with the row, such as that of a category, has the
        coefficient 0 without it. NaN if no finite refit exists, or if its columns are
        not among those of the full fit. ``rows``; ``seconds``, the time of all refits;
        ``refitted_steps`` and ``held_steps``, names such as ``columns__scale``;
        ``class_weight`` among them stands for balanced weights of classes.

    Raises
    ------
    UnsupportedEstimatorError, InvalidDataError, SeparableDataError
        If the model or the data cannot be used, or if a step changes the number of
        rows, as a sampler does, and is not held.

    Warns
    -----
    SeparableDeletionWarning
        If rows have no finite refit.
    PreprocessingDeletionWarning
        If steps cannot be fitted without some rows, or make other columns.
    DoubtfulInputWarning
        If a step without ``random_state`` is held.

    Notes
    -----
    Cost: one fit per row, of the whole estimator unless preprocessing is held; and one
    or two of its steps to all rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from skinfluence import refit_leave_one_out
    >>> X, y = np.arange(4.0)[:, None], np.array([0.0, 1.0, 2.0, 5.0])
    >>> refit_leave_one_out(LinearRegression(), X, y, rows=[3]).coef.round(2)
    array([[-0.6]])
    """
    by_row = {"sample_weight": sample_weight, "offset": offset}
    checks.jobs(n_jobs)
    checks.switch("verbose", verbose)
    checks.switch("polish", polish)
    full = _full_fit(estimator, X, y, params, preprocessing, polish, by_row)
    objective, theta = full.objective, full.theta
    if rows is None:
        rows = np.arange(objective.n_rows)
    rows = checks.indices(rows, objective.n_rows)
    judge: WholeJudge | LastStepJudge
    if full.follows:
        judge = full.judge(polish, n_jobs, verbose)
    else:
        model, y = full.seen.model, full.seen.y
        judge = LastStepJudge(model, objective, y, polish, n_jobs, verbose)
    start = time.perf_counter()
    delta = judge.deltas(theta, rows)
    seconds = time.perf_counter() - start
    parameters = full.seen.model.shaped(*objective.as_changes(delta))
    return Bunch(
        **parameters,
        rows=rows,
        seconds=seconds,
        refitted_steps=full.whole.refitted_steps,
        held_steps=full.whole.held_steps,
    )


def left_out_outputs(
    estimator: Any,
    X: Any,
    y: Any,
    rows: Any,
    *,
    X_test: Any = None,
    sample_weight: Any = None,
    offset: Any = None,
    n_jobs: int | None = None,
    params: dict[str, Any] | None = None,
) -> Any:
    """Linear outputs of the whole estimator without each row, or each group of rows.

    The refits are those of ``refit_leave_one_out``, every step learned again.

    Parameters
    ----------
    estimator, X, y, sample_weight, offset, n_jobs, params
        As for ``refit_leave_one_out``.
    rows : array-like of int, or list of arrays of int
        The rows to delete, one at a time, or groups of them.
    X_test : array-like or None, default=None
        Rows whose outputs are asked for, as they are given to the estimator.

    Returns
    -------
    outputs : ndarray of shape (b, K), or (b, m, K) for m rows of X_test
        Of each row by the fit without it, its offset included; a list of (g, K) for
        groups of g rows without X_test. NaN where there is no refit. The outputs of a
        ``TransformedTargetRegressor`` are on the scale of the fit to all rows.
    """
    by_row = {"sample_weight": sample_weight, "offset": offset}
    full = _full_fit(estimator, X, y, params, "refitted", True, by_row)
    groups = [np.atleast_1d(np.asarray(group)) for group in rows]
    asked: AbstractAsked = OwnOutputs(X, full.seen.offset)
    sizes = [len(group) for group in groups]
    if X_test is not None:
        asked, sizes = TestOutputs(X_test), [support.n_rows_of(X_test)] * len(groups)
    answers = full.judge(True, n_jobs, 0).judged(full.theta, groups, asked).answers
    n_outputs = full.seen.model.n_outputs
    tables = [
        np.full((size, n_outputs), np.nan) if answer is None else answer[:, :n_outputs]
        for size, answer in zip(sizes, answers, strict=True)
    ]
    if X_test is not None:
        return np.stack(tables)
    single = all(np.ndim(row) == 0 for row in rows)
    return np.concatenate(tables) if single else tables


class _FullFit(NamedTuple):
    """The fit to all rows, at its minimum, and what it was given."""

    whole: WholeFit
    seen: Seen  # what its last step saw
    objective: Objective  # on all features
    theta: np.ndarray  # (G, D)
    follows: bool  # refits learn more than the last step

    def judge(self, polish: bool, n_jobs: int | None, verbose: int) -> WholeJudge:
        """What refits the whole estimator."""
        columns = columns_of(self.seen)
        return WholeJudge(self.whole, columns, self.objective, polish, n_jobs, verbose)


def _full_fit(
    estimator: Any,
    X: Any,
    y: Any,
    params: dict[str, Any] | None,
    preprocessing: str,
    polish: bool,
    by_row: dict[str, Any],
) -> _FullFit:
    """The estimator fitted to all rows, if it is not yet."""
    support.required_row(estimator)
    checks.one_of("preprocessing", preprocessing, ("refitted", "held"))
    checks.option("params", params, Mapping)
    classifier = is_classifier(support.unwrapped(estimator))
    checked_y = checks.targets(X, y, classifier=classifier)
    n, index = checked_y.shape[0], getattr(X, "index", None)
    if support.is_fitted(estimator):
        given = support.of_fitted_model(estimator, params or {}, **by_row)
        to_fit = support.given_to_fit(estimator, params or {}, **by_row)
        weight = checks.weights(given.get("sample_weight"), n, index)
    else:
        to_fit = support.routed_to_fit(estimator, params or {}, **by_row)
        given = support.of_model(estimator, to_fit)
        weight = checks.weights(given.get("sample_weight"), n, index)
        with support.naming_bad_targets(estimator, checked_y):
            estimator = clone(estimator).fit(
                support.readable(estimator, X), checked_y, **to_fit
            )
    n_outputs = support.read(estimator).n_outputs
    offset = checks.offsets(given.get("offset"), n, n_outputs)
    if preprocessing == "held":
        weight = support.as_drawn(weight, estimator, rows_as_given=True)
    whole = WholeFit(estimator, X, checked_y, weight, offset, to_fit)
    if preprocessing == "held":
        whole = replace(whole, held=tuple(whole.refitted_steps))
    follows = preprocessing == "refitted" and whole.learns
    if follows:
        whole.refuse_steps()
        whole = without_draws(whole)
    seen = whole.learned() if follows else whole.as_fitted()
    _refuse_other_columns(seen)
    narrow, theta = seen.model.objective(seen.X, seen.y, seen.weight, seen.offset)
    objective, theta = narrow.wider or narrow, solvers.to_all_features(narrow, theta)
    if polish:
        theta = polished(objective, theta).point.theta
    return _FullFit(whole, seen, objective, theta, follows)


def _refuse_other_columns(seen: Seen) -> None:
    """Refuse rows of which the steps make other columns than the model has."""
    n_made, n_read = seen.X.shape[1], seen.model.parameters[0].shape[1]
    if n_made != n_read:
        raise InvalidDataError(
            f"The steps before the model make {n_made} columns of X, but the model was "
            f"fitted with {n_read}. Give the rows that the estimator was fitted to, or "
            "an unfitted estimator."
        )


@final
@dataclass(frozen=True, eq=False)
class OwnOutputs(AbstractAsked):
    """Outputs of the rows that are left out."""

    X: Any
    offset: np.ndarray | None

    def of(self, refit: LeftOut, rows: np.ndarray) -> np.ndarray:
        """With their offset, (g, K)."""
        return refit.own_outputs(self.X, rows, self.offset)


@final
@dataclass(frozen=True, eq=False)
class TestOutputs(AbstractAsked):
    """Outputs of test rows, or of training rows."""

    X: Any
    rows: np.ndarray | None = None  # which training rows they are

    def of(self, refit: LeftOut, rows: np.ndarray) -> np.ndarray:
        """Outputs, (m, K)."""
        return refit.outputs(self.X, self.rows)
