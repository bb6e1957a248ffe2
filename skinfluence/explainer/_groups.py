"""What groups of training rows did: customers, annotators, days, folds."""

import warnings
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection import check_cv

from skinfluence._array import array_namespace, to_numpy
from skinfluence._rows import row_blocks
from skinfluence.exceptions import (
    ActiveSetWarning,
    InvalidParameterError,
    NotConvergedWarning,
    SeparableDeletionWarning,
    UnidentifiedDeletionWarning,
)
from skinfluence.explainer._residuals import speak_of_residuals
from skinfluence.influence import changes, group_gradients, linear_changes
from skinfluence.support import checks

_SHOWN = 10


class GroupsMixin:
    """Questions about groups of rows, for ``InfluenceExplainer``."""

    def group_influence(
        self: Any,
        groups: Any,
        X: Any,
        y: Any = None,
        *,
        on: str = "auto",
        aggregate: str | None = None,
    ) -> Any:
        """Influence of groups of training rows: the sum of the rows' influences.

        That is the derivative in one weight added to every row of the group:
        ``I_up(G, z) = sum_{i in G} I_up(z_i, z)``, whatever the rows weighed before.

        Parameters
        ----------
        groups : array-like of shape (n_train,), or list of array-likes of int
            A label for each training row (customers, annotators, days): the columns of
            the result are in the order of ``np.unique(groups)``. Or one array of row
            numbers (or mask) for each group, in that order; these may overlap.
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Test rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Their targets, needed for the loss.
        on : {"auto", "loss", "prediction", "decision"}, default="auto"
            As for ``influence``.
        aggregate : {None, "mean", "sum"}, default=None
            Over the test rows.

        Returns
        -------
        influence : ndarray of shape (n_samples, n_groups), or (n_groups,) if aggregated
            Unit: loss (or value) per unit of average training weight. Positive =
            up-weighting the group raises the loss (harmful). With several outputs and no
            ``y``, one such matrix per output stands side by side.

        Raises
        ------
        InvalidParameterError
            If groups are empty, of another length or out of range.
        InvalidDataError
            If X or y cannot be used.

        See Also
        --------
        group_delta : What deleting the groups does, not linearised.

        Notes
        -----
        Cost: one solve per group and a product of ``n_samples n_groups d``.

        References
        ----------
        .. [1] Koh, Ang, Teo & Liang (2019). On the accuracy of influence functions for
           measuring group effects. NeurIPS. Equation 2.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.linear_model import LinearRegression
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = np.arange(4.0)[:, None], np.array([0.0, 1.0, 2.0, 5.0])
        >>> explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
        >>> explainer.group_influence(["a", "b", "b", "c"], [[4.0]], [7.0]).round(2)
        array([[ 0.8,  1.6, -2.4]])
        """
        design, quantities = self._asked(X, y, on, aggregate)
        members, _ = groups_of(groups, self.n_train_)
        point = self._point
        scale = -point.objective.weight_sum
        parts = []
        for block in self._group_blocks(len(members)):
            some = [self._here(rows) for rows in members[block]]
            gradients = scale * group_gradients(point, some)
            theta = point.factor.steps(gradients)
            parts.append(
                [linear_changes(point, theta, design, q, aggregate) for q in quantities]
            )
        speak_of_residuals(self._solver)
        return _side_by_side(parts)

    def group_delta(
        self: Any,
        groups: Any,
        X: Any,
        y: Any = None,
        *,
        on: str = "auto",
        aggregate: str | None = None,
    ) -> Any:
        """Deletion delta of groups: the quantity without the group minus with it.

        By the constructor's ``deletion``: "jackknife" adds the rows' linear terms up;
        "newton" takes one Newton step without the whole group, which is exact for least
        squares and ridge; "halley" corrects it by third derivatives, where the
        correction is small; "exact" steps to the minimum until the next is below
        ``tol``.

        Parameters
        ----------
        groups, X, y, on, aggregate
            As for ``group_influence``.

        Returns
        -------
        delta : ndarray of shape (n_samples, n_groups), or (n_groups,) if aggregated
            In units of the loss (or value). Positive loss delta = the group was helping.
            NaN for groups that cannot be deleted. With several outputs and no ``y``, one
            such matrix per output stands side by side.

        Raises
        ------
        InvalidParameterError
            If groups are empty, of another length, out of range, or hold all rows.
        InvalidDataError
            If X or y cannot be used.

        Warns
        -----
        UnidentifiedDeletionWarning
            If the rows left do not determine the model.
        SeparableDeletionWarning
            If they lack a class, or can be separated, and the model has no finite fit.
        NotConvergedWarning, ActiveSetWarning
            As for ``loo_delta``.

        Notes
        -----
        Cost of each group of m rows (times coupled outputs): ``m**2 d + m**3`` up to
        ``m = d``, else ``m d**2 + d**3``; "exact" adds some passes of ``4 n d``, or of
        ``n d**2`` where the group is so large that the curvature has to be made anew.
        Class weights and transformers are held as they were fitted.

        References
        ----------
        .. [1] Koh, Ang, Teo & Liang (2019). On the accuracy of influence functions for
           measuring group effects. NeurIPS. Section 2, the Newton approximation.
        .. [2] Basu, You & Feizi (2020). On second-order group influence functions for
           black-box predictions. ICML.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.linear_model import LinearRegression
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = np.arange(4.0)[:, None], np.array([0.0, 1.0, 2.0, 5.0])
        >>> explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
        >>> explainer.group_delta([[3], [0, 1]], [[4.0]]).round(2)
        array([[-2.,  2.]])
        """
        design, quantities = self._asked(X, y, on, aggregate)
        members, names = groups_of(groups, self.n_train_)
        refuse_all(members, names, self._point.objective.weight)
        deletion, verdicts = self._deletion(len(members)), GroupVerdicts(names)
        effect = linear_changes if deletion.linear else changes
        parts = []
        for block in self._group_blocks(len(members)):
            found = deletion.group_deltas([self._here(rows) for rows in members[block]])
            verdicts.watch(found)
            values = [
                effect(self._point, found.theta, design, q, aggregate)
                for q in quantities
            ]
            if aggregate:  # shares of the mean or sum, block of points by block
                xp = array_namespace(found.theta)
                values = [xp.sum(v, axis=0) if v.ndim == 2 else v for v in values]
            parts.append(values)
        verdicts.speak()
        speak_of_residuals(self._solver)
        return _side_by_side(parts)

    def cv_predict(
        self: Any, cv: Any = None, *, groups: Any = None, method: str = "predict"
    ) -> Any:
        """Cross-validated predictions of the training rows, without a refit.

        As ``cross_val_predict(estimator, X, y, groups=groups, cv=cv, method=method)``,
        the folds deleted as groups by the constructor's ``deletion``. Transformers,
        class weights and hyper-parameters are held as they were fitted on all rows.

        Parameters
        ----------
        cv : int, scikit-learn splitter, iterable of (train, test) or labels, default=None
            As for ``cross_val_predict``; None is 5 folds. An array-like of length
            ``n_train_`` names the fold of each row.
        groups : array-like of shape (n_train,), default=None
            For splitters that need them, such as ``GroupKFold``.
        method : str, default="predict"
            "predict", "predict_proba", "predict_log_proba" or "decision_function", as
            far as the estimator has them.

        Returns
        -------
        predictions : ndarray of shape (n_train,) or (n_train, n_outputs)
            NaN for folds that cannot be deleted; for labels, which cannot be NaN, the
            label that the model of all rows predicts.

        Raises
        ------
        InvalidParameterError
            If the test folds are no partition of the rows.

        Warns
        -----
        UnidentifiedDeletionWarning, SeparableDeletionWarning, NotConvergedWarning
            If folds cannot be deleted, or did not reach ``tol``.

        Notes
        -----
        Exact for least squares and ridge by "newton", which costs ``n d**2`` for all
        folds together and ``d**3`` for each; for other losses by "exact", as
        ``group_delta``.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.linear_model import LinearRegression
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = np.arange(4.0)[:, None], np.array([0.0, 1.0, 2.0, 5.0])
        >>> explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
        >>> explainer.cv_predict(cv=2).round(2)
        array([-4., -1.,  2.,  3.])
        """
        reader = self._reader(method)
        n, objective = self.n_train_, self._point.objective
        folds = self._folds(cv, groups)
        held_out = [others(train, n) for train, _ in folds]
        names = [f"fold {i}" for i in range(len(folds))]
        refuse_all(held_out, names, objective.weight)
        deletion, verdicts = self._deletion(len(folds)), GroupVerdicts(names)
        u = np.array(to_numpy(self._point.outputs))
        for rows, (_, test) in zip(held_out, folds, strict=True):
            found = deletion.group_deltas([self._here(rows)])
            verdicts.watch(found)
            B = objective.layout.unpack(found.theta[0, ...])  # (K, q)
            u[test] += to_numpy(objective.design.block(self._here(test)) @ B.T)
        verdicts.speak()
        speak_of_residuals(self._solver)
        lost = np.isnan(u).any(axis=1)
        u[lost] = to_numpy(self._point.outputs)[lost]
        values = getattr(reader, method)(u[:, : self._model.n_outputs])
        return self._predictions(values, method, lost)

    # --- below the surface -----------------------------------------------------------

    def _folds(self: Any, cv: Any, groups: Any) -> list[tuple[Any, Any]]:
        """Pairs of training and test rows; the tests are a partition."""
        n, everyone = self.n_train_, np.arange(self.n_train_)
        if np.ndim(cv) == 1 and len(cv) == n and np.ndim(cv[0]) == 0:
            tests = groups_of(cv, n)[0]
            return [(others(test, n), test) for test in tests]
        classifies = is_classifier(self._model.estimator)
        try:
            splitter = check_cv(cv, self._train_y, classifier=classifies)
        except ValueError as error:
            raise InvalidParameterError(f"cv={cv!r} cannot be used: {error}") from error
        with checks.data_errors():
            folds = list(splitter.split(np.zeros(n), self._train_y, groups))
        tested = np.concatenate([test for _, test in folds])
        if len(tested) != n or not np.array_equal(np.sort(tested), everyone):
            raise InvalidParameterError(
                f"cv must test every training row once; its {len(folds)} folds test "
                f"{len(tested)} rows ({len(np.unique(tested))} different) of {n}. Use a "
                "splitter that partitions the rows, such as KFold."
            )
        return folds

    def _group_blocks(self: Any, n_groups: int) -> list[slice]:
        layout = self._point.objective.layout
        width = layout.n_groups * layout.size
        return row_blocks(n_groups, width, place=self._point.theta)


class GroupVerdicts:
    """Collects the flags of deleted groups, and speaks once at the end."""

    def __init__(self, names: list[str]) -> None:
        self.names, self.n_seen = names, 0
        self.flagged: dict[str, list[str]] = {
            "unidentified": [],
            "unbounded": [],
            "late": [],
            "missed_changes": [],
        }

    def watch(self, found: Any) -> None:
        """Take note of ``Deltas`` of the next groups."""
        flags = {
            "unidentified": found.unidentified,
            "unbounded": found.unbounded,
            "late": ~found.converged,
            "missed_changes": found.missed_changes,
        }
        n_found = found.converged.shape[0]
        names = self.names[self.n_seen : self.n_seen + n_found]
        for kind, mask in flags.items():
            if mask is not None:
                chosen = np.flatnonzero(to_numpy(mask))
                self.flagged[kind] += [names[i] for i in chosen]
        self.n_seen += len(names)

    def speak(self) -> None:
        """Warn about the flagged groups."""
        for kind, (category, text) in _VERDICTS.items():
            names = self.flagged[kind]
            if names:
                more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
                shown = ", ".join(names[:_SHOWN]) + more
                warnings.warn(text.format(shown), category, stacklevel=3)


_VERDICTS: dict[str, tuple[type[Warning], str]] = {
    "unidentified": (
        UnidentifiedDeletionWarning,
        "Without {}, the other rows do not determine the model: its deletion has no "
        "answer, and its deltas are NaN. Penalise the model, drop the features that only "
        "these rows carry, or use deletion='jackknife', which never deletes.",
    ),
    "unbounded": (
        SeparableDeletionWarning,
        "Without {}, a class is absent or the classes can be separated: there is no "
        "finite refit, and the deltas are NaN. Penalise the model (a finite C), or use "
        "deletion='jackknife', which never deletes.",
    ),
    "late": (
        NotConvergedWarning,
        "The deletion of {} did not converge: its error is larger than that of the "
        "others. With deletion='exact', raise max_iter; 'halley' has kept its Newton "
        "step: use 'exact'.",
    ),
    "missed_changes": (
        ActiveSetWarning,
        "The deletion of {} would change the active set: a coefficient would become "
        "zero, or cease to be, which its deltas do not see. Use deletion='exact', which "
        "follows the change.",
    ),
}


def groups_of(groups: Any, n_train: int) -> tuple[list[Any], list[str]]:
    """Row numbers of each group, and names for messages."""
    if isinstance(groups, list | tuple) and len(groups) and np.ndim(groups[0]) == 1:
        listed = [_members(rows, i, n_train) for i, rows in enumerate(groups)]
        return listed, [f"group {i}" for i in range(len(listed))]
    labels = to_numpy(groups)
    if labels.shape != (n_train,):
        raise InvalidParameterError(
            f"groups must hold one label for each of the {n_train} training rows, or be "
            f"a list of arrays of row numbers; got shape {labels.shape}."
        )
    if np.any(labels != labels):
        raise InvalidParameterError(
            "groups must not hold missing labels (NaN). Give rows without a group a "
            "label of their own, or pass lists of row numbers."
        )
    try:
        names, codes = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise InvalidParameterError(
            "groups must hold labels that can be sorted, all numbers or all texts; got "
            f"{labels[:3].tolist()}, ..."
        ) from error
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes))[:-1]
    return list(np.split(order, ends)), [f"group {name!s}" for name in names]


def _members(rows: Any, number: int, n_train: int) -> Any:
    rows = to_numpy(rows)
    if len(rows) == 0 or (rows.dtype == bool and not np.any(rows)):
        raise InvalidParameterError(
            f"Group {number} is empty: give each group at least one training row."
        )
    return np.unique(checks.indices(rows, n_train))


def others(rows: Any, n: int) -> Any:
    """Numbers of all other rows."""
    mask = np.ones(n, dtype=bool)
    mask[rows] = False
    return np.flatnonzero(mask)


def refuse_all(members: list[Any], names: list[str], weight: Any) -> None:
    """Refuse groups that leave no row of positive weight."""
    weight = to_numpy(weight)
    n_present = np.count_nonzero(weight)
    for rows, name in zip(members, names, strict=True):
        if np.count_nonzero(weight[rows]) == n_present:
            raise InvalidParameterError(
                f"The {name} holds all {n_present} training rows (of positive weight): "
                "without it no row is left. Delete smaller groups."
            )


def _side_by_side(parts: list[list[Any]]) -> Any:
    """Values by block of groups and by quantity, as one array."""
    xp = array_namespace(parts[0][0])
    columns = [xp.concat(column, axis=-1) for column in zip(*parts, strict=True)]
    return columns[0] if len(columns) == 1 else xp.concat(columns, axis=-1)
