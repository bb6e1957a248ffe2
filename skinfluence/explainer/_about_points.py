"""What each training row did to test points: the methods and their documentation."""

from typing import Any

from skinfluence import questions
from skinfluence.explainer._answering import Answering


class AboutPoints(Answering):
    """Questions about test points, for ``InfluenceExplainer``."""

    def influence(
        self,
        X: Any,
        y: Any = None,
        *,
        on: str = "auto",
        aggregate: str | None = None,
        relative: bool = False,
    ) -> Any:
        """Influence of every training row: the derivative with respect to its weight.

        ``I_up(z_i, z) = -grad f(z)' inv(H_bar) grad loss(z_i)``, where ``H_bar`` is the
        Hessian of the average training loss.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Test rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Their targets, needed for the loss.
        on : {"auto", "loss", "prediction", "decision"}, default="auto"
            The quantity f: the loss, the predicted value, or the linear predictor. For
            classifiers "prediction" and "decision" are both the decision value (of the
            predicted class if there are more than two). "auto" is the loss if ``y`` is
            given, else the prediction.
        aggregate : {None, "mean", "sum"}, default=None
            Over the test rows; costs one solve instead of ``n_samples``.
        relative : bool, default=False
            Whether to divide by ``sqrt(-I_up(z_i, z_i))``, the pull of the row on itself
            (RelatIF [2]_), so that rows that move every prediction, such as outliers, no
            longer come first everywhere. Unit: square root of a loss.

        Returns
        -------
        influence : ndarray of shape (n_samples, n_train), or (n_train,) if aggregated
            Unit: loss (or value) per unit of the total training weight. Positive =
            up-weighting the row raises the loss (harmful).

        Raises
        ------
        InvalidParameterError, InvalidDataError
            If a parameter is out of range, or X or y cannot be used.

        Notes
        -----
        Cost: ``n_samples`` solves of ``d**2`` and a product of ``n_samples n_train d``.

        References
        ----------
        .. [1] Koh & Liang (2017). Understanding black-box predictions via influence
           functions. ICML. Equation 2.
        .. [2] Barshan, Brunet & Dziugaite (2020). RelatIF: identifying explanatory
           training examples via relative influence. AISTATS. Section 4.2.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.linear_model import LinearRegression
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = np.arange(4.0)[:, None], np.array([0.0, 1.0, 2.0, 5.0])
        >>> explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
        >>> explainer.influence([[4.0]], [7.0]).round(2) + 0.0
        array([[ 0.8,  0. ,  1.6, -2.4]])
        """
        return self._ask(questions.influence, X, y, on, aggregate, relative)

    def loo_delta(
        self, X: Any, y: Any = None, *, on: str = "auto", aggregate: str | None = None
    ) -> Any:
        """Leave-one-out delta: the quantity without each training row minus with it.

        Computed by the constructor's ``deletion``. "jackknife" linearises the loss; the
        others evaluate it at the new parameters.

        Parameters
        ----------
        X, y, on, aggregate
            As for ``influence``.

        Returns
        -------
        delta : ndarray of shape (n_samples, n_train), or (n_train,) if aggregated
            In units of the loss (or value). Negative loss delta = the loss is lower
            without the row (harmful). NaN for rows that cannot be deleted.

        Warns
        -----
        UnidentifiedDeletionWarning, SeparableDeletionWarning, NotConvergedWarning
            If rows cannot be deleted, or did not reach ``tol``.

        Notes
        -----
        Cost: as ``influence``, with ``n_train n_samples`` losses. "exact" adds a few
        passes of ``n_train**2 d`` where the loss is not quadratic.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_diabetes(return_X_y=True)
        >>> explainer = InfluenceExplainer(Ridge(alpha=0.1)).fit(X[:300], y[:300])
        >>> delta = explainer.loo_delta(X[300:], y[300:], aggregate="mean")
        >>> worst = delta.argmin()  # without it, the mean loss falls most
        >>> int(worst), round(float(delta[worst]), 2)
        (37, -5.52)
        """
        return self._ask(questions.loo_delta, X, y, on, aggregate)

    def top_influences(
        self,
        X: Any,
        y: Any = None,
        *,
        k: int = 10,
        order: str = "absolute",
        on: str = "auto",
        quantity: str = "influence",
        relative: bool = False,
        aggregate: str | None = None,
    ) -> tuple[Any, Any]:
        """The k training rows with the largest effect on each row of X.

        Works in blocks: the (n_samples, n_train) matrix is never formed.

        Parameters
        ----------
        X, y, on
            As for ``influence``.
        k : int, default=10
            Number of training rows to return, 1 to ``n_train_``.
        order : {"absolute", "harmful", "helpful"}, default="absolute"
            Largest magnitude first, or the rows that raise the loss (value) most, or
            those that lower it most.
        quantity : {"influence", "loo_delta"}, default="influence"
            What to rank by.
        relative : bool, default=False
            Whether to divide influence as ``influence`` does (RelatIF).
        aggregate : {None, "mean", "sum"}, default=None
            Over the rows of X: the k training rows with the largest effect on all.

        Returns
        -------
        values, indices : ndarrays of shape (n_samples, k), or (k,) if aggregated
            Positive influence = harmful; positive ``loo_delta`` of a loss = helpful.
            Indices count training rows from 0.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_diabetes(return_X_y=True)
        >>> explainer = InfluenceExplainer(Ridge(alpha=0.1)).fit(X[:300], y[:300])
        >>> values, rows = explainer.top_influences(
        ...     X[300:], y[300:], k=3, order="harmful"
        ... )
        >>> values.shape, rows[0]
        ((142, 3), array([ 56,  27, 147]))
        """
        return self._ask(
            questions.top_influences, X, y, k, order, on, quantity, relative, aggregate
        )

    def score_samples(self, X: Any, y: Any = None) -> Any:
        """Self-influence that the given rows would have: higher is more normal.

        Without ``y``, the predicted (or decision) value takes the place of the loss,
        ``-grad f(z)' inv(H_bar) grad f(z)``, which is minus a leverage.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows, of the training set or new.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Their targets.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            ``I_up(z, z)``, in units of the loss, never positive; more negative = the row
            would pull the model harder.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_diabetes(return_X_y=True)
        >>> explainer = InfluenceExplainer(Ridge(alpha=0.1)).fit(X[:300], y[:300])
        >>> scores = explainer.score_samples(X[300:], y[300:])
        >>> int(scores.argmin())  # the most unusual of the new rows
        82
        """
        return self._ask(questions.score_samples, X, y)

    def feature_influence(self, X: Any, y: Any, rows: Any) -> Any:
        """Gradient of the mean loss influence with respect to training features.

        The effect of a small error in ``x_ij`` on the loss at X: moving training row i by
        ``d`` changes the mean loss by about ``s_i / S`` times this gradient times ``d``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Test rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        rows : array-like of int
            Indices of training rows.

        Returns
        -------
        gradient : ndarray of shape (len(rows), n_features)
            ``- grad loss(z)' inv(H_bar) d2 loss_i / (d theta d x_i)``, per unit of the
            features of the linear model; in a pipeline these are the outputs of its
            transformers. Positive = raising ``x_ij`` raises the influence of the row on
            the loss.

        Raises
        ------
        InvalidParameterError, InvalidDataError
            If a row is out of range, or X or y cannot be used.

        Notes
        -----
        Cost: one solve, and ``n_features`` times outputs for each row.

        References
        ----------
        .. [1] Koh & Liang (2017). Understanding black-box predictions via influence
           functions. ICML. Equation 5, with theta and H fixed.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.linear_model import LinearRegression
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = np.arange(4.0)[:, None], np.array([0.0, 1.0, 2.0, 5.0])
        >>> explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
        >>> explainer.feature_influence([[4.0]], [7.0], rows=[3]).shape
        (1, 1)
        """
        return self._ask(questions.feature_influence, X, y, rows)
