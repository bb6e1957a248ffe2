"""What the training rows did to parameters, diagnostics and themselves: the methods."""

from typing import Any

from sklearn.utils import Bunch

from skinfluence import questions
from skinfluence.explainer._answering import Answering


class AboutRows(Answering):
    """Questions about the training rows alone, for ``InfluenceExplainer``."""

    def param_influence(self, rows: Any = None) -> Bunch:
        """Influence of training rows on the coefficients and intercepts.

        ``I_up,params(z_i) = -inv(H_bar) grad loss(z_i)``.

        Parameters
        ----------
        rows : array-like of int or None, default=None
            Indices of training rows; all by default.

        Returns
        -------
        influence : Bunch
            ``coef`` and ``intercept`` (and ``scale`` of a ``HuberRegressor``) in the
            shapes of the estimator's ``coef_`` and ``intercept_``, after an axis of rows
            and, for a wrapper, an axis of its members: the derivative of the parameter
            with respect to the weight of the row, per unit of the total weight. Positive
            = up-weighting the row raises the parameter. ``n_steps`` (zeros) and
            ``error_bound`` (rounding) as in ``loo_params``.

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
        return self._ask(questions.param_influence, rows)

    def loo_params(self, rows: Any = None) -> Bunch:
        """Deletion deltas of the coefficients and intercepts: without minus with.

        Parameters
        ----------
        rows : array-like of int or None, default=None
            Indices of training rows; all by default.

        Returns
        -------
        delta : Bunch
            ``coef`` and ``intercept`` (and ``scale`` of a ``HuberRegressor``), in units
            of the parameters and in the estimator's shapes after an axis of rows;
            ``n_steps`` (n_rows,), Newton steps taken; ``error_bound`` (n_rows,), a bound
            on the Euclidean error of the delta, rounding included: for "exact", and by
            self-concordance for one step of logistic, softmax, Poisson, Gamma and like
            losses; infinite where none is known. With an L1 penalty
            or ``positive=True`` also ``active_set_changes`` (n_rows,), whether the
            deletion frees a coefficient that is zero or makes one zero. "exact" follows
            such changes; the others only flag them, within their own accuracy.

        Raises
        ------
        UnidentifiedDeletionError, SeparableDataError
            If a row in ``rows`` cannot be deleted, because the others do not determine
            the model or have separable classes.

        Warns
        -----
        UnidentifiedDeletionWarning, SeparableDeletionWarning
            The same with ``rows=None``; NaN are the parameters that the others leave open,
            or all of them where the classes can be separated.
        DoubtfulDeletionWarning
            If the error of one step may be as large as the delta.

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
        return self._ask(questions.loo_params, rows)

    def self_influence(self) -> Any:
        """Influence of each training row on its own loss, ``-g_i' inv(H_bar) g_i``.

        Returns
        -------
        influence : ndarray of shape (n_train,)
            In units of the loss, never positive; more negative = the row pulls the model
            harder.

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
        return self._ask(questions.self_influence)

    def diagnostics(self) -> Any:
        """Textbook diagnostics of every training row, in closed form.

        For least squares, ridge and generalized linear models, also weighted. Names and
        scales are those of R. Notation: ``s`` weight of the row, ``mu`` its fitted
        mean, ``V`` the variance function (1 for least squares), ``w = (d mu/du)**2 / V``,
        ``H = X' diag(s w) X + P`` the *expected* information with the second derivative
        P of the penalty, ``h`` the leverage, ``phi`` the dispersion, ``phi_i`` that
        without the row, ``edf`` the sum of the leverages, ``delta`` the change of the
        parameters by the constructor's ``deletion``, without the row minus with it.

        Returns
        -------
        columns : DataFrame of n_train rows, or a Bunch of arrays (n_train,)
            The index is ``train_index_``; a Bunch if pandas is not installed.

            leverage
                ``h = s w x' inv(H) x``, of the penalised fit, 0 to 1; R's ``hatvalues``.
            resid
                ``y - mu``, in units of y, unweighted; classifiers: label 0 or 1 (the
                ridge classifiers: -1 or 1) minus its mean.
            resid_pearson
                ``sqrt(s) (y - mu) / sqrt(V)``.
            resid_deviance
                Square root of ``s`` times the unit deviance, signed as ``y - mu``.
            resid_studentized_internal
                ``resid_deviance / sqrt(phi (1 - h))``; R's ``rstandard``.
            resid_studentized_external
                ``sqrt(resid_deviance**2 + h resid_pearson**2 / (1 - h)) / sqrt(phi_i)``
                with the sign of ``y - mu``; R's ``rstudent``. For least squares the
                residual over its standard error, ``phi_i`` in it.
            cooks_distance
                ``delta' H delta / (edf phi)``, never negative. "exact" and "halley" use
                their own delta. Otherwise it is R's ``cooks.distance``, by one step of
                Fisher scoring: exact for least squares, much too small for the worst
                rows of a logit.
            dffits
                ``-x' delta / sqrt(phi_i x' inv(H) x)``: the linear predictor with the
                row minus without it, in standard errors.
            dfbetas_<feature>, dfbetas_intercept
                ``-delta_j / sqrt(phi_i inv(H)_jj)``: the coefficient *with* the row
                minus without it (R's sign, not that of ``loo_params``), in standard
                errors. In a pipeline of the features that the linear model reads.
            cov_ratio
                ``(phi_i / phi_d)**rank / (1 - h)``, with ``phi_d`` the deviance over
                ``n - edf``: determinant of the parameters' covariance without the row
                over that with it.
            loo_resid
                ``y`` minus the mean predicted by the model without the row.
            self_influence, loss
                As ``self_influence()``, and the unweighted loss of the row.

            Models with several uncoupled outputs (several targets, one-vs-rest ridge
            classifiers) have one set of columns per output, with the suffix
            ``_output_<k>``, except for the last two.

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
        ``covratio`` estimates them nevertheless. Where the other rows fit exactly, as
        with one typo in an exact relation, ``phi_i`` is 0: the external residual,
        ``dffits`` and ``dfbetas`` of that row are infinite and its ``cov_ratio`` is 0.
        Where all rows fit exactly, ``phi`` and all that is divided by it are NaN.

        Without penalty and weights these are the formulas of R's ``lm``. For penalised
        least squares they agree with refits. If the estimator minimises a mean loss, so
        that a row carries a share of the penalty, the parameters and the deviance
        without the row are without that share; ``h``, ``cov_ratio`` and the degrees of
        freedom use the whole penalty.

        For penalised models ``inv(H)`` takes the place of the covariance of the
        parameters over ``phi`` (the posterior covariance, with the penalty as prior),
        and ``edf`` that of the number of parameters; ``rank`` in ``cov_ratio`` counts
        all parameters.

        Rows of weight 0 have leverage 0 and distance 0, and their own residuals. Values
        that cannot be estimated are NaN: rows of leverage 1, and scaled columns without
        degrees of freedom or residuals.

        dffits and dfbetas of generalized linear models use ``deletion``. R computes them
        from deviance residuals (median error 40 % on small logits). statsmodels'
        ``get_influence`` agrees with one Newton step for canonical links with a positive
        slope, and has the wrong sign for the inverse link.

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
        return self._ask(questions.diagnostics)

    def loo_predict(self, method: str = "predict") -> Any:
        """Prediction of each training row by the model without it, without a refit.

        As ``cross_val_predict(estimator, X, y, cv=LeaveOneOut(), method=method)``, but
        what ``held_steps_`` names stays as it was fitted.

        Parameters
        ----------
        method : str, default="predict"
            "predict", "predict_proba", "predict_log_proba" or "decision_function", if
            the estimator has it.

        Returns
        -------
        predictions : ndarray of shape (n_train,) or (n_train, n_outputs)
            In units of the prediction. Rows without a finite refit have NaN, or the
            label predicted by the model of all rows; but the probability of a class that
            no other row has is 0. What the other rows leave open is of minimum norm, as
            in the refit of ``LinearRegression``.

        Warns
        -----
        UnidentifiedDeletionWarning, SeparableDeletionWarning
            If rows cannot be deleted.

        Notes
        -----
        Cost: ``n d**2`` for "newton" and "jackknife"; no (n, d) array is formed.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_diabetes(return_X_y=True)
        >>> explainer = InfluenceExplainer(Ridge(alpha=0.1)).fit(X, y)
        >>> y_without = explainer.loo_predict()
        >>> refit = Ridge(alpha=0.1).fit(X[1:], y[1:])
        >>> bool(abs(y_without[0] - refit.predict(X[:1])[0]) < 1e-8)
        True
        """
        return self._ask(questions.loo_predict, method)

    def loo_score(self, scoring: Any = None) -> float:
        """Leave-one-out score of the model, without a refit.

        Parameters
        ----------
        scoring : str, callable or None, default=None
            As in scikit-learn; None is the estimator's own ``score``, computed over all
            leave-one-out predictions together.

        Returns
        -------
        score : float
            Rows without a finite refit are left out, with a warning that says how many.
            All others count alike, whatever weights the model was fitted with, as in
            ``score``; ``LeaveOneOutSearchCV`` weights them.

        Raises
        ------
        InvalidParameterError
            If ``scoring`` is no scorer.
        UnidentifiedDeletionError
            If no row can be deleted.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_diabetes(return_X_y=True)
        >>> explainer = InfluenceExplainer(Ridge(alpha=0.1)).fit(X, y)
        >>> round(explainer.score(X, y), 2), round(explainer.loo_score(scoring="r2"), 2)
        (0.51, 0.49)
        """
        return self._ask(questions.loo_score, scoring)
