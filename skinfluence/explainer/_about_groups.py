"""What groups, folds and sets of training rows did: the methods."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from sklearn.utils import Bunch

from skinfluence import questions
from skinfluence.exceptions import InvalidParameterError
from skinfluence.explainer._answering import Answering
from skinfluence.study import study_of

Method = TypeVar("Method", bound=Callable[..., Any])


def groups_by_keyword(method: Method) -> Method:
    """Refuse groups given by position, as older calls did, with the new call."""

    @wraps(method)
    def checked(self: "AboutGroups", *args: Any, **kwargs: Any) -> Any:
        if len(args) > 2 or kwargs.get("groups") is None:
            raise InvalidParameterError(
                f"{method.__name__} takes groups by keyword: call "
                f"{method.__name__}(X, y, groups=groups), with a label for each "
                "training row or a list of arrays of row indices; got "
                f"{len(args)} arguments by position and "
                f"{'no groups' if kwargs.get('groups') is None else 'groups'} by keyword."
            )
        return method(self, *args, **kwargs)

    return checked  # type: ignore[return-value]


class AboutGroups(Answering):
    """Questions about groups and sets of training rows, for ``InfluenceExplainer``."""

    @groups_by_keyword
    def group_influence(
        self,
        X: Any,
        y: Any = None,
        *,
        groups: Any = None,
        on: str = "auto",
        aggregate: str | None = None,
    ) -> Any:
        """Influence of groups of training rows: the sum of the rows' influences.

        The derivative with respect to a weight added to every row of the group,
        ``I_up(G, z) = sum_{i in G} I_up(z_i, z)``, whatever the weights of the rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Test rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Their targets, needed for the loss.
        groups : array-like of shape (n_train,), or list of array-likes of int
            One label per training row (customers, annotators, days); the columns of the
            result are in the order of ``np.unique(groups)``. Or one array of row indices
            (or boolean mask) per group, in that order; groups may then overlap. After
            ``set_output(transform="pandas")`` or ``"polars"`` the columns are named.
        on : {"auto", "loss", "prediction", "decision"}, default="auto"
            As for ``influence``.
        aggregate : {None, "mean", "sum"}, default=None
            Over the test rows.

        Returns
        -------
        influence : array of shape (n_samples, n_groups), or (n_groups,) if aggregated
            Unit: loss (or value) per unit of the total training weight. Positive =
            up-weighting the group raises the loss (harmful). With several outputs and no
            ``y``, the matrices of the outputs are side by side.

        Raises
        ------
        InvalidParameterError
            If groups are empty, of another length or out of range.
        InvalidDataError
            If X or y cannot be used.

        See Also
        --------
        group_delta : The effect of deleting the groups, not linearised.

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
        >>> explainer.group_influence(
        ...     [[4.0]], [7.0], groups=["a", "b", "b", "c"]
        ... ).round(2)
        array([[ 0.8,  1.6, -2.4]])
        """
        values = self._ask(questions.group_influence, X, y, groups, on, aggregate)
        return self._with_labels(values, groups, X)

    @groups_by_keyword
    def group_delta(
        self,
        X: Any,
        y: Any = None,
        *,
        groups: Any = None,
        on: str = "auto",
        aggregate: str | None = None,
    ) -> Any:
        """Deletion delta of groups: the quantity without the group minus with it.

        Computed by the constructor's ``deletion``. "jackknife" adds the linear terms of
        the rows. "newton" takes one Newton step without the whole group, which is exact
        for least squares and ridge. "halley" corrects it by third derivatives where the
        correction is small. "exact" takes steps until the next is below ``tol``.

        Parameters
        ----------
        X, y, groups, on, aggregate
            As for ``group_influence``.

        Returns
        -------
        delta : array of shape (n_samples, n_groups), or (n_groups,) if aggregated
            In units of the loss (or value). Negative loss delta = the loss is lower
            without the group (harmful). NaN for groups that cannot be deleted. With
            several outputs and no ``y``, the matrices of the outputs are side by side.

        Raises
        ------
        InvalidParameterError
            If groups are empty, of another length, out of range, or hold all rows.
        InvalidDataError
            If X or y cannot be used.

        Warns
        -----
        UnidentifiedDeletionWarning
            If the remaining rows do not determine the model: the coefficients without
            the group are those of minimum norm then.
        SeparableDeletionWarning
            If a class is missing, or the classes are separable, and no finite fit exists.
        NotConvergedWarning, ActiveSetWarning
            As for ``loo_delta``.

        Notes
        -----
        Cost of each group of m rows (times coupled outputs): ``m**2 d + m**3`` up to
        ``m = d``, else ``m d**2 + d**3``. "exact" adds some passes of ``4 n d``, or of
        ``n d**2`` for groups so large that the curvature is formed again. What
        ``held_steps_`` names stays as it was fitted.

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
        >>> explainer.group_delta([[4.0]], groups=[[3], [0, 1]]).round(2)
        array([[-2.,  2.]])
        """
        values = self._ask(questions.group_delta, X, y, groups, on, aggregate)
        return self._with_labels(values, groups, X)

    def cv_predict(
        self, cv: Any = None, *, groups: Any = None, method: str = "predict"
    ) -> Any:
        """Cross-validated predictions of the training rows, without a refit.

        As ``cross_val_predict(estimator, X, y, groups=groups, cv=cv, method=method)``,
        with the folds deleted as groups by the constructor's ``deletion``.
        Hyper-parameters, and what ``held_steps_`` names, stay as they were fitted to all
        rows.

        Parameters
        ----------
        cv : int, scikit-learn splitter, iterable of (train, test) or labels, default=None
            As for ``cross_val_predict``; None is 5 folds. An array-like of length
            ``n_train_`` gives the fold of each row.
        groups : array-like of shape (n_train,), default=None
            For splitters that need them, such as ``GroupKFold``.
        method : str, default="predict"
            "predict", "predict_proba", "predict_log_proba" or "decision_function", if
            the estimator has it.

        Returns
        -------
        predictions : ndarray of shape (n_train,) or (n_train, n_outputs)
            In units of the prediction. Folds that cannot be deleted have NaN, or the
            labels predicted by the model of all rows. A class that only the fold has
            gets probability 0; the others, if two or more are left, are by the
            estimator's own refit.

        Raises
        ------
        InvalidParameterError
            If the test folds are not a partition of the rows.

        Warns
        -----
        UnidentifiedDeletionWarning, SeparableDeletionWarning, NotConvergedWarning
            If folds cannot be deleted, or did not reach ``tol``.

        Notes
        -----
        "newton" is exact for least squares and ridge, and costs ``n d**2`` for all folds
        together and ``d**3`` for each. For other losses use "exact"; the cost is that of
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
        return self._ask(questions.cv_predict, cv, groups, method)

    def influential_set(
        self,
        target: Any,
        *,
        k: int | None = None,
        fraction: float | None = None,
        direction: str = "flip",
    ) -> Bunch:
        """The rows whose joint deletion moves a quantity most, or flips its sign.

        Parameters
        ----------
        target : str, int, tuple or array-like
            The quantity to move.

            - A coefficient: the name or index of its feature, or "intercept".
              ``(output, name)`` if the model has several outputs.
            - The linear predictor of one row, ``X`` of shape (1, n_features): the
              prediction of least squares, the decision value of two classes, or, with
              more classes, the margin of the predicted class over the second.
              ``(output, X)`` for one of several outputs.
            - The mean loss of test rows, ``(X, y)``.
        k : int or None, default=None
            Number of rows to delete, from 1 to the rows of positive weight minus one.
            For "flip", the largest number to try; half of the rows by default.
        fraction : float or None, default=None
            The same as a share of the rows (of positive weight), in ``(0, 1)``, rounded
            down, but at least one row.
        direction : {"flip", "decrease", "increase"}, default="flip"
            The fewest rows whose deletion flips the sign of the quantity, or the ``k``
            rows without which it is smallest or largest.

        Returns
        -------
        found : Bunch
            ``rows``, indices of training rows, ascending (fewer than ``k`` if no further
            row can be deleted); ``initial``, the quantity with all rows; ``predicted``,
            the quantity without ``rows`` by the constructor's ``deletion``;
            ``achieved``, the same by a refit (what ``held_steps_`` names stays;
            NaN if no finite refit exists); ``flipped``, whether the sign of ``achieved``
            differs from that of ``initial`` (None unless ``direction="flip"``);
            ``method``, how the rows were found; ``lower_bound``, what is proved: for
            "flip" that no fewer rows suffice, for "decrease" or "increase" that no k
            rows bring the quantity below or above this value. None if nothing is proved.

        Raises
        ------
        InvalidParameterError
            If the target is unknown; if ``k`` or ``fraction`` is missing or out of
            range, or both are given; or if the sign of a loss or of zero is to flip.

        Warns
        -----
        UnreachedFlipWarning
            If no set was found that flips the sign; the nearest one is returned.

        See Also
        --------
        group_delta : The effects of given sets.

        Notes
        -----
        Rows are chosen one by one, each by its effect on the model without those already
        chosen; then exchanged in pairs as long as that helps; then, for a flip, put back
        as long as the sign stays flipped. For a single parameter of least squares or
        ridge (one feature, no intercept) Dinkelbach's algorithm finds the optimum. For
        other coefficients and predictions of least squares and ridge the optimum is
        found if all sets, at most 250,000, can be tried; ``lower_bound`` tells. In all
        other cases the search is a heuristic and a smaller set may exist; ``achieved``
        is always a refit.

        At most 2,048 rows, the best by their single effects, are compared at a time. If
        the loss is not quadratic, the model is updated each time an eighth of the
        remaining rows is chosen; softmax models skip the exchanges. With L1 penalties
        the search keeps the active set fixed. ``achieved`` does not: there a coefficient
        that would change its sign stops at 0.

        Cost: ``n d**2`` for each of a few models, and ``2048**2`` for each row chosen or
        exchanged.

        References
        ----------
        .. [1] Broderick, Giordano & Meager (2020). An automatic finite-sample robustness
           metric. arXiv:2011.14999. Section 2.2.
        .. [2] Kuschnig, Zens & Crespo Cuaresma (2021). Hidden in plain sight: influential
           sets in linear models. CESifo Working Paper 8981. Algorithm 2.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.linear_model import LinearRegression
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = np.arange(5.0)[:, None], np.array([2.0, 1.0, 1.5, 0.5, 4.0])
        >>> explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
        >>> found = explainer.influential_set(0)
        >>> found.rows, found.lower_bound
        (array([4]), 1)
        >>> bool(found.achieved < 0 < found.initial)
        True
        """
        return self._ask(questions.influential_set, target, k, fraction, direction)

    def _with_labels(self, values: Any, groups: Any, X: Any) -> Any:
        """Values by group as ``set_output`` asks: arrays, or columns with labels."""

        def names() -> list[str]:
            listed = questions.groups_of(groups, study_of(self).n_train)
            labels = [str(label) for label in listed.labels]
            n_sides = values.shape[-1] // len(labels)
            if n_sides == 1:
                return labels
            return [f"{label}_output_{k}" for k in range(n_sides) for label in labels]

        return self._labelled(values, names, getattr(X, "index", None))
