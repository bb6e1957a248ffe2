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

        That is the derivative in one weight added to every row of the group:
        ``I_up(G, z) = sum_{i in G} I_up(z_i, z)``, whatever the rows weighed before.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Test rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Their targets, needed for the loss.
        groups : array-like of shape (n_train,), or list of array-likes of int
            A label for each training row (customers, annotators, days): the columns of
            the result are in the order of ``np.unique(groups)``. Or one array of row
            indices (or mask) for each group, in that order; these may overlap. After
            ``set_output(transform="pandas")`` or ``"polars"`` the result names them.
        on : {"auto", "loss", "prediction", "decision"}, default="auto"
            As for ``influence``.
        aggregate : {None, "mean", "sum"}, default=None
            Over the test rows.

        Returns
        -------
        influence : array of shape (n_samples, n_groups), or (n_groups,) if aggregated
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
        >>> explainer.group_influence(
        ...     [[4.0]], [7.0], groups=["a", "b", "b", "c"]
        ... ).round(2)
        array([[ 0.8,  1.6, -2.4]])
        """
        values = self._ask(
            questions.group_influence,
            X,
            y,
            groups=groups,
            on=on,
            aggregate=aggregate,
        )
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

        By the constructor's ``deletion``: "jackknife" adds the rows' linear terms up;
        "newton" takes one Newton step without the whole group, which is exact for least
        squares and ridge; "halley" corrects it by third derivatives, where the
        correction is small; "exact" steps to the minimum until the next is below
        ``tol``.

        Parameters
        ----------
        X, y, groups, on, aggregate
            As for ``group_influence``.

        Returns
        -------
        delta : array of shape (n_samples, n_groups), or (n_groups,) if aggregated
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
        >>> explainer.group_delta([[4.0]], groups=[[3], [0, 1]]).round(2)
        array([[-2.,  2.]])
        """
        values = self._ask(
            questions.group_delta,
            X,
            y,
            groups=groups,
            on=on,
            aggregate=aggregate,
        )
        return self._with_labels(values, groups, X)

    def cv_predict(
        self, cv: Any = None, *, groups: Any = None, method: str = "predict"
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
        return self._ask(questions.cv_predict, cv, groups=groups, method=method)

    def influential_set(
        self,
        target: Any,
        *,
        k: int | None = None,
        fraction: float | None = None,
        direction: str = "flip",
    ) -> Bunch:
        """The rows whose joint deletion moves a number most, or flips its sign.

        Parameters
        ----------
        target : str, int, tuple or array-like
            What to move.

            - A coefficient: the name of its feature, or its number; "intercept".
              ``(output, name)`` where the model has several outputs.
            - The linear predictor of one row, ``X`` of shape (1, n_features): the
              prediction of least squares, the decision value of two classes, for more
              classes that of the predicted class above the second. ``(output, X)`` for
              one of several outputs.
            - The mean loss of test rows, ``(X, y)``.
        k : int or None, default=None
            How many rows to delete, 1 up to the rows of positive weight less one. For
            "flip", the most to try; half the rows by default.
        fraction : float or None, default=None
            The same as a share of the rows (of positive weight), in ``(0, 1)``, rounded
            down, but at least one row.
        direction : {"flip", "decrease", "increase"}, default="flip"
            The fewest rows without which the number has the other sign; or the ``k``
            rows without which it is smallest, or largest.

        Returns
        -------
        found : Bunch
            ``rows``, numbers of training rows, ascending (fewer than ``k`` where the
            model cannot do without any further one); ``initial``, the number with
            all rows; ``predicted``, without ``rows`` by the constructor's ``deletion``;
            ``achieved``, by one real refit without them (transformers and class weights
            held; NaN where no finite refit exists); ``flipped``, whether the sign of
            ``achieved`` is another (None unless asked for); ``method``, how the rows
            were found; ``lower_bound``, what is proved: for "flip" that no fewer rows
            do it; for "decrease" that no k rows bring the number lower than this, for
            "increase" higher. None where nothing is proved.

        Raises
        ------
        InvalidParameterError
            If the target is unknown, ``k`` or ``fraction`` is missing, out of range or
            both are given, or the sign of a loss or of zero should flip.

        Warns
        -----
        UnreachedFlipWarning
            If no set was found that flips the sign; what came nearest is returned.

        See Also
        --------
        group_delta : The effects of sets that are known.

        Notes
        -----
        Rows are chosen one by one, each by its effect on the model without those chosen
        before; then exchanged in pairs as long as that helps; then, for a flip, put back
        as long as the sign stays. One parameter of least squares or ridge (one feature,
        no intercept) has its exact optimum by Dinkelbach's algorithm. Other coefficients
        and predictions of least squares and ridge have it where all sets can be tried,
        up to 250,000, which is what ``lower_bound`` tells. Elsewhere a smaller set may
        exist: the method is a heuristic, and ``achieved`` the truth about its answer.

        Weighed against each other are at most 2,048 rows at a time, the best by their
        single effects. Where the loss is not quadratic, the model is made anew each time
        an eighth of the rows still to go is chosen; softmax models do without exchanges.
        With L1 penalties the search holds the active set; ``achieved`` does not, and a
        coefficient that would change its sign stops at 0 there.

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
        return self._ask(
            questions.influential_set,
            target,
            k=k,
            fraction=fraction,
            direction=direction,
        )

    def _with_labels(self, values: Any, groups: Any, X: Any) -> Any:
        """Values by group as ``set_output`` asks: arrays, or columns with labels."""
        study = study_of(self)
        labels = questions.groups_of(groups, study.n_train).labels
        names = [str(label) for label in labels]
        n_sides = values.shape[-1] // len(names)
        if n_sides > 1:
            names = [f"{name}_output_{k}" for k in range(n_sides) for name in names]
        return self._labelled(values, names, getattr(X, "index", None))
