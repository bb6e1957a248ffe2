"""What each training row did to the parameters, and the textbook's diagnostics."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from skinfluence._array import (
    array_namespace,
    device_of,
)
from skinfluence._rows import row_blocks, stream_blocks, training_blocks
from skinfluence.deletion import Deltas
from skinfluence.explainer._diagnostics import (
    blocks_of,
    coefficient_names,
    filled,
    framed,
    refuse_other_models,
)
from skinfluence.explainer._residuals import speak_of_residuals
from skinfluence.explainer._verdicts import Verdicts
from skinfluence.influence import (
    influence_on_parameters,
    self_influence,
)
from skinfluence.support import checks


class TrainingRowsMixin:
    """Questions about the training rows alone, for ``InfluenceExplainer``."""

    def param_influence(self: Any, rows: Any = None) -> Bunch:
        """Influence of training rows on the coefficients and intercepts.

        ``I_up,params(z_i) = -inv(H_bar) grad loss(z_i)``.

        Parameters
        ----------
        rows : array-like of int or None, default=None
            Training rows, all by default.

        Returns
        -------
        influence : Bunch
            ``coef`` and ``intercept`` (and ``scale`` of a ``HuberRegressor``) in the
            shapes of the estimator's ``coef_`` and ``intercept_`` with an axis of rows
            in front, that of the members of a wrapper following: the derivative of the
            parameter in the weight of the row, per unit of average weight. Positive =
            up-weighting the row raises the parameter. ``n_steps`` (zeros: nothing is
            iterated) and ``error_bound`` (rounding) as in ``loo_params``.

        References
        ----------
        .. [1] Koh & Liang (2017). Equation 1.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_diabetes(return_X_y=True)
        >>> explainer = InfluenceExplainer(Ridge(alpha=0.1)).fit(X, y)
        >>> pull = explainer.param_influence(rows=[0, 1])
        >>> pull.coef.shape, pull.intercept.shape
        ((2, 10), (2,))
        """
        chosen, bounds = self._rows(rows), []
        xp = array_namespace(self._point.theta)

        def influence(some: Any) -> Any:
            found = influence_on_parameters(self._point, some)
            return found, self._error_bound(found, xp.zeros_like(found))

        theta = self._blockwise(
            chosen, influence, lambda some, bound: bounds.append(bound)
        )
        return Bunch(
            **self._parameters(theta),
            n_steps=self._here(np.zeros(theta.shape[0], dtype=np.int64)),
            error_bound=xp.concat(bounds),
        )

    def loo_params(self: Any, rows: Any = None) -> Bunch:
        """Deletion deltas of the coefficients and intercepts: without minus with.

        Parameters
        ----------
        rows : array-like of int or None, default=None
            Training rows, all by default.

        Returns
        -------
        delta : Bunch
            ``coef`` and ``intercept`` (and ``scale`` of a ``HuberRegressor``) in the
            estimator's shapes with an axis of rows in front; ``n_steps`` (n_rows,),
            Newton steps taken; ``error_bound`` (n_rows,), a bound on the Euclidean error
            of the delta, the last step whose length was certified (infinite for
            approximations, rounding for exact ones). With an L1 penalty or
            ``positive=True`` also ``active_set_changes`` (n_rows,), whether the deletion
            frees a coefficient that is zero, or makes one zero: "exact" follows that, the
            others do not, and flag it within their own accuracy.

        Raises
        ------
        UnidentifiedDeletionError, SeparableDataError
            If a row asked for by number cannot be deleted: the others do not determine
            the model, or leave separable classes.

        Warns
        -----
        UnidentifiedDeletionWarning, SeparableDeletionWarning
            The same with ``rows=None``; deltas are NaN then.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_diabetes(return_X_y=True)
        >>> explainer = InfluenceExplainer(Ridge(alpha=0.1)).fit(X, y)
        >>> deltas = explainer.loo_params(rows=[0, 1])
        >>> deltas.coef.shape, deltas.intercept.round(3)
        ((2, 10), array([ 0.112, -0.004]))
        >>> refit = Ridge(alpha=0.1).fit(X[1:], y[1:])
        >>> without = explainer.estimator_.coef_ + deltas.coef[0]
        >>> bool(abs(without - refit.coef_).max() < 1e-8)
        True
        """
        chosen = self._rows(rows)
        verdicts = Verdicts()
        deletion = self._deletion(self.n_train_ if chosen is None else len(chosen))
        xp = array_namespace(self._point.theta)
        parts, bounds = [], []

        def deltas(some: Any) -> Any:
            found = deletion.deltas(some)
            bound = self._error_bound(found.theta, found.last_step)
            return found.theta, (found._replace(theta=None, last_step=None), bound)

        def note(some: Any, rest: tuple[Deltas, Any]) -> None:
            verdicts.watch(some, rest[0])
            parts.append(rest[0])
            bounds.append(rest[1])

        theta = self._blockwise(chosen, deltas, note)
        verdicts.speak(strict=rows is not None)
        speak_of_residuals(self._solver)
        return Bunch(
            **self._parameters(theta),
            n_steps=xp.concat([part.n_steps for part in parts], axis=0),
            error_bound=xp.concat(bounds, axis=0),
            **_active_set_changes(parts),
        )

    def self_influence(self: Any) -> Any:
        """Influence of each training row on its own loss, ``-g_i' inv(H_bar) g_i``.

        Returns
        -------
        influence : ndarray of shape (n_train,)
            Never positive: more negative = the row pulls the model harder.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_diabetes(return_X_y=True)
        >>> explainer = InfluenceExplainer(Ridge(alpha=0.1)).fit(X, y)
        >>> own = explainer.self_influence()
        >>> own.shape, bool((own <= 0).all())
        ((442,), True)
        """
        return self._blockwise(
            self._rows(None),
            lambda some: (self_influence(self._point, some), None),
            lambda some, rest: None,
        )

    def diagnostics(self: Any) -> Any:
        """Textbook diagnostics of every training row, in closed form.

        For least squares, ridge and generalized linear models, weights included; names
        and scaling are those of R. Notation: ``s`` weight of the row, ``mu`` its fitted
        mean, ``V`` the variance function (1 for least squares), ``w = (d mu/du)**2 / V``,
        ``H = X' diag(s w) X + P`` the *expected* information with the second derivative
        P of the penalty, ``h`` the leverage, ``phi`` the dispersion, ``phi_i`` that
        without the row, ``edf`` the sum of the leverages, ``delta`` the change of the
        parameters by the constructor's ``deletion``, without the row minus with it.

        Returns
        -------
        columns : DataFrame of n_train rows, or a Bunch of arrays (n_train,)
            The index is ``train_index_``; a Bunch where pandas is not installed.

            leverage
                ``h = s w x' inv(H) x``, of the penalised fit, 0 to 1; R's ``hatvalues``.
            resid
                ``y - mu``, in units of y, unweighted; classifiers: label 0 or 1 (the
                ridge classifiers: -1 or 1) minus its mean.
            resid_pearson
                ``sqrt(s) (y - mu) / sqrt(V)``.
            resid_deviance
                Root of ``s`` times the unit deviance, with the sign of ``y - mu``.
            resid_studentized_internal
                ``resid_deviance / sqrt(phi (1 - h))``; R's ``rstandard``.
            resid_studentized_external
                ``sqrt(resid_deviance**2 + h resid_pearson**2 / (1 - h)) / sqrt(phi_i)``
                with the sign of ``y - mu``; R's ``rstudent``. For least squares the
                residual over its standard error, ``phi_i`` in it.
            cooks_distance
                ``delta' H delta / (edf phi)``, never negative. With "exact" and "halley"
                by their delta; otherwise by one step of Fisher scoring, R's
                ``cooks.distance``, exact for least squares and badly low for the worst
                rows of logits.
            dffits
                ``-x' delta / sqrt(phi_i x' inv(H) x)``: the linear predictor with the
                row minus without it, in standard errors.
            dfbetas_<feature>, dfbetas_intercept
                ``-delta_j / sqrt(phi_i inv(H)_jj)``: the coefficient *with* the row
                minus without it (R's sign, not that of ``loo_params``), in standard
                errors. In a pipeline of the features that the linear model reads.
            cov_ratio
                ``(phi_i / phi)**rank / (1 - h)``: determinant of the parameters'
                covariance without the row over that with it.
            loo_resid
                ``y`` minus the mean predicted for the row by the model without it.
            self_influence, loss
                As ``self_influence()``; and the row's loss at the fit, unweighted.

            Models of several outputs that nothing couples (regressions of several
            targets, one-vs-rest ridge classifiers) have one set of columns per output,
            with the suffix ``_output_<k>``, apart from the last two.

        Raises
        ------
        UnsupportedEstimatorError
            If the loss is no deviance (Huber, hinge), or couples outputs (softmax).

        Warns
        -----
        UnidentifiedDeletionWarning, SeparableDeletionWarning, NotConvergedWarning
            If rows cannot be deleted, or did not reach ``tol``.

        Notes
        -----
        Dispersion: ``phi`` is Pearson's chi2 over ``n - edf``, and ``phi_i`` the deviance
        without the row over its own degrees of freedom, as in R; n counts the rows of
        positive weight. Both are 1 for binomial and Poisson models, where R's
        ``covratio`` estimates them all the same.

        Without penalty and weights these are the formulas of a plain ``lm``. Penalised
        least squares gets what refits would find. Where the estimator averages its loss,
        so that a row takes its share of the penalty along, that share is counted in the
        parameters and the deviance, while ``h``, ``cov_ratio`` and degrees of freedom
        are by the penalty as it was.

        Penalised models: ``inv(H)`` stands for the covariance of the parameters over
        ``phi``, which is that of the posterior with the penalty as prior, and ``edf``
        for the number of parameters; ``rank`` in ``cov_ratio`` counts all of them.

        Rows of weight 0 have leverage 0 and distance 0, and their own residuals. NaN
        stands where nothing can be estimated: rows of leverage 1, and scaled columns
        where no degrees of freedom or no residuals are left.

        dffits and dfbetas of generalized linear models are those of ``deletion``. R
        builds them on deviance residuals (40 % off in the median on small logits).
        statsmodels' ``get_influence`` agrees with one Newton step for canonical links
        with a positive slope, and has the wrong sign for the inverse link.

        Cost: ``n d**2`` multiplications, about four times; more with "exact".

        References
        ----------
        .. [1] Belsley, Kuh & Welsch (1980). Regression diagnostics. Chapter 2.
        .. [2] Cook & Weisberg (1982). Residuals and influence in regression. Chapters 3
           and 5.
        .. [3] Pregibon (1981). Logistic regression diagnostics. Annals of Statistics 9.
        .. [4] Williams (1987). Generalized linear model diagnostics using the deviance
           and single case deletions. Applied Statistics 36.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.linear_model import LinearRegression
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = np.arange(5.0)[:, None], np.array([0.0, 1.0, 2.0, 3.0, 9.0])
        >>> explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
        >>> columns = explainer.diagnostics()
        >>> np.asarray(columns["leverage"]).round(2)
        array([0.6, 0.3, 0.2, 0.3, 0.6])
        >>> np.asarray(columns["cooks_distance"]).round(2)
        array([0.56, 0.  , 0.05, 0.37, 2.25])
        """
        check_is_fitted(self)
        point = self._point
        refuse_other_models(point, type(self._model.estimator).__name__)
        verdicts = Verdicts()
        blocks = blocks_of(
            point,
            self._solver,
            self._deletion(self.n_train_),
            self.deletion,
            verdicts.watch,
            alone=self._in_order,
        )
        table, names = filled(
            blocks,
            self.n_train_,
            coefficient_names(self._model, getattr(self, "feature_names_in_", None)),
            point.objective.design.has_intercept,
        )
        verdicts.speak()
        speak_of_residuals(self._solver)
        return framed(table, names, self.train_index_)

    def _rows(self: Any, rows: Any) -> Any:
        """Indices of training rows; None for all."""
        check_is_fitted(self)
        return None if rows is None else checks.indices(rows, self.n_train_)

    def _blockwise(
        self: Any,
        rows: Any,
        function: Callable[[Any], tuple[Any, Any]],
        note: Callable[[Any, Any], None],
    ) -> Any:
        """Values of indices, or of all rows for None, block by block in one array.

        ``function`` gives values and what ``note`` takes note of, in order.
        """
        design, place = self._point.objective.design, self._point.theta
        layout = self._point.objective.layout
        n_rows = self.n_train_ if rows is None else len(rows)
        whole, width = None, layout.n_groups * layout.size
        blocks = row_blocks(max(n_rows, 1), width, place=place)
        if rows is None and design.is_wide_sparse:
            blocks = training_blocks(design, width)

        def found(block: slice) -> Any:
            some = block if rows is None else self._here(rows[block])
            return block, some, *function(some)

        for block, some, part, rest in stream_blocks(
            found, blocks, design, width=width, alone=self._in_order
        ):
            if whole is None:
                shape = (n_rows, *part.shape[1:])
                whole = array_namespace(place).empty(
                    shape, dtype=part.dtype, device=device_of(part)
                )
            whole[block, ...] = part
            note(some, rest)
        return whole

    def _parameters(self: Any, theta: Any) -> dict[str, Any]:
        """Vectors (b, G, D) by name, in the shapes of ``coef_`` and ``intercept_``."""
        objective = self._point.objective
        return self._model.shaped(
            *objective.design.to_estimator(objective.layout.unpack(theta))
        )

    def _error_bound(self: Any, theta: Any, last_step: Any) -> Any:
        """Euclidean length of the last certified steps, and of rounding, (b,)."""
        objective = self._point.objective
        design, layout = objective.design, objective.layout

        xp = array_namespace(theta)

        def length(vectors: Any) -> Any:
            coef, intercept = design.to_estimator(layout.unpack(vectors))
            squared = xp.sum(coef**2, axis=(1, 2)) + xp.sum(intercept**2, axis=1)
            return xp.sqrt(squared)

        finite = xp.all(xp.isfinite(last_step), axis=(1, 2))
        if not bool(xp.any(finite)):
            return xp.full_like(theta[:, 0, 0], xp.inf)
        zeros = xp.zeros_like(last_step)
        certified = length(xp.where(finite[:, None, None], last_step, zeros))
        size = length(theta) + length(self._point.theta[None, ...])
        rounding = float(64 * np.finfo(float).eps * self.condition_**0.5) * size
        bound = certified + rounding
        return xp.where(finite, bound, xp.full_like(bound, xp.inf))


def _active_set_changes(parts: list[Deltas]) -> dict[str, Any]:
    """The flags of all rows by their name, where the penalty has corners."""
    flags = [part.active_set_changes for part in parts]
    if flags[0] is None:
        return {}
    return dict(active_set_changes=array_namespace(flags[0]).concat(flags))
