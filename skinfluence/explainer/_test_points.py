"""What each training row did to test rows: to their loss, or to their predictions."""

from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skinfluence._array import (
    array_namespace,
    device_of,
    is_foreign,
)
from skinfluence._design import Design
from skinfluence._rows import working_entries
from skinfluence.exceptions import InvalidParameterError
from skinfluence.explainer._domain import refuse_outside_domain
from skinfluence.explainer._residuals import speak_of_residuals
from skinfluence.explainer._verdicts import Verdicts
from skinfluence.influence import (
    AbstractQuantity,
    Loss,
    Output,
    Response,
    delta_blocks,
    feature_influence,
    influence_blocks,
    relative_blocks,
    self_influence_of,
    top_blocks,
)
from skinfluence.support import (
    checks,
    fewer_rows,
    room_on_device,
)


class TestPointsMixin:
    """Questions about test rows, for ``InfluenceExplainer``."""

    def influence(
        self: Any,
        X: Any,
        y: Any = None,
        *,
        on: str = "auto",
        aggregate: str | None = None,
        relative: bool = False,
    ) -> Any:
        """Influence of every training row: the derivative in the row's weight.

        ``I_up(z_i, z) = -grad f(z)' inv(H_bar) grad loss(z_i)``, ``H_bar`` the Hessian of
        the average training loss.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Test rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Their targets, needed for the loss.
        on : {"auto", "loss", "prediction", "decision"}, default="auto"
            The quantity f: the loss, the predicted value, or the linear predictor. For
            classifiers "prediction" and "decision" are both the decision value (of the
            predicted class where there are more than two). "auto" is the loss if ``y``
            is given, else the prediction.
        aggregate : {None, "mean", "sum"}, default=None
            Over the test rows; costs one solve instead of ``n_samples``.
        relative : bool, default=False
            Whether to divide by the root of the row's own pull, ``sqrt(-I_up(z_i, z_i))``
            (RelatIF [2]_): rows that move every prediction, such as outliers, then no
            longer head every list. Unit: root of loss, whatever the units of X.

        Returns
        -------
        influence : ndarray of shape (n_samples, n_train), or (n_train,) if aggregated
            Unit: loss (or value) per unit of average training weight. Positive =
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
        design, quantities = self._asked(X, y, on, aggregate)
        checks.one_of("relative", relative, (True, False))
        parts = [slice(0, design.n_rows)]
        if aggregate is None:
            parts = self._point_blocks(design.n_rows)
        with self._room_for(design, quantities):
            found = self._empty(design.n_rows, len(quantities), aggregate)
            for part in parts:
                some = design if len(parts) == 1 else design.part(part)
                for i, quantity in enumerate(quantities):
                    blocks = self._influence_blocks(
                        some, quantity.at(part), aggregate, relative
                    )
                    self._fill(found, blocks, i, () if aggregate else (part,))
        speak_of_residuals(self._solver)
        return found

    def loo_delta(
        self: Any,
        X: Any,
        y: Any = None,
        *,
        on: str = "auto",
        aggregate: str | None = None,
    ) -> Any:
        """Leave-one-out delta: the quantity without each training row minus with it.

        By the constructor's ``deletion``. With "newton" and "exact" the loss is
        evaluated at the new parameters, with "jackknife" it is linearised.

        Parameters
        ----------
        X, y, on, aggregate
            As for ``influence``.

        Returns
        -------
        delta : ndarray of shape (n_samples, n_train), or (n_train,) if aggregated
            In units of the loss (or value). Positive loss delta = the row was helping.
            NaN for rows that cannot be deleted.

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
        design, quantities = self._asked(X, y, on, aggregate)
        verdicts = Verdicts()
        with self._room_for(design, quantities):
            found = self._empty(design.n_rows, len(quantities), aggregate)
            for i, quantity in enumerate(quantities):
                blocks = self._delta_blocks(design, quantity, aggregate, verdicts)
                self._fill(found, blocks, i, () if aggregate else (slice(None),))
        verdicts.speak()
        speak_of_residuals(self._solver)
        return found

    def top_influences(
        self: Any,
        X: Any,
        y: Any = None,
        *,
        k: int = 10,
        order: str = "absolute",
        on: str = "auto",
        quantity: str = "influence",
        relative: bool = False,
    ) -> tuple[Any, Any]:
        """The k training rows that matter most to each row of X.

        Works in blocks: the (n_samples, n_train) matrix never exists.

        Parameters
        ----------
        X, y, on
            As for ``influence``.
        k : int, default=10
            Rows to return, 1 to ``n_train_``.
        order : {"absolute", "harmful", "helpful"}, default="absolute"
            Largest magnitude first; or the rows first that raise the loss (value) most,
            or that lower it most.
        quantity : {"influence", "loo_delta"}, default="influence"
            What to rank by.
        relative : bool, default=False
            Whether to divide influence as ``influence`` does (RelatIF).

        Returns
        -------
        values, indices : ndarrays of shape (n_samples, k)
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
        self._check_top(k, order, quantity, relative)
        design, quantities = self._asked(X, y, on, None)
        verdicts = Verdicts()
        found = []
        for part in self._point_blocks(design.n_rows):
            some = design.part(part)
            for asked in quantities:
                if quantity == "influence":
                    blocks, sign = (
                        self._influence_blocks(some, asked.at(part), None, relative),
                        1.0,
                    )
                else:
                    blocks, sign = (
                        self._delta_blocks(some, asked.at(part), None, verdicts),
                        -1.0,
                    )
                found.append(top_blocks(blocks, k, order, sign))
        verdicts.speak()
        speak_of_residuals(self._solver)
        n_side, xp = len(quantities), array_namespace(found[0][0])
        values, indices = (
            xp.concat(
                [
                    xp.concat(column[i : i + n_side], axis=1)
                    for i in range(0, len(column), n_side)
                ],
                axis=0,
            )
            for column in zip(*found, strict=True)
        )
        return values, indices

    def score_samples(self: Any, X: Any, y: Any = None) -> Any:
        """Self-influence that the given rows would have: higher is more normal.

        Without ``y``, the same for the predicted (or decision) value in place of the
        loss, ``-grad f(z)' inv(H_bar) grad f(z)``: minus a leverage.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows, of the training set or new.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Their targets.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            ``I_up,loss(z, z)``, never positive; more negative = the row would pull the
            model harder.

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
        design, quantities = self._asked(X, y, "auto", None)
        return sum(self_influence_of(self._point, design, q) for q in quantities)

    def feature_influence(self: Any, X: Any, y: Any, rows: Any) -> Any:
        """Gradient of the mean loss influence in the features of training rows.

        What a small error in ``x_ij`` does to the loss at X: moving training row i by
        ``d`` changes the mean loss by about ``s_i / S`` times this gradient times ``d``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Test rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        rows : array-like of int
            Training rows, from 0.

        Returns
        -------
        gradient : ndarray of shape (len(rows), n_features)
            ``- grad loss(z)' inv(H_bar) d2 loss_i / (d theta d x_i)``, per unit of the
            features that the linear model reads: in a pipeline those that come out of
            its transformers, and as many of them. Positive = raising ``x_ij`` raises
            the influence of the row on the loss.

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
           functions. ICML. Equation 5: theta and H are held.

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
        design, quantities = self._asked(X, y, "loss", None)
        chosen = np.arange(self.n_train_) if rows is None else self._rows(rows)
        return feature_influence(self._point, design, quantities[0], self._here(chosen))

    def _asked(
        self: Any, X: Any, y: Any, on: str, aggregate: str | None
    ) -> tuple[Design, list[AbstractQuantity]]:
        """Test rows as a design, and the quantities asked about them."""
        check_is_fitted(self)
        checks.one_of("on", on, ("auto", "loss", "prediction", "decision"))
        checks.one_of("aggregate", aggregate, (None, "mean", "sum"))
        design = self._points(X)
        objective = self._point.objective
        if on == "loss" or (on == "auto" and y is not None):
            refuse_outside_domain(self._point, design)
            return design, [Loss(objective.loss, self._targets_of(X, y))]
        xp, K = array_namespace(self._point.theta), objective.layout.n_outputs
        eye = self._here(np.eye(K))
        if self._picks_class:
            u = replace(objective, design=design).outputs(self._point.theta)
            return design, [Output(xp.take(eye, xp.argmax(u, axis=1), axis=0))]
        shape = design.n_rows, K
        columns = [  # a fitted scale is no prediction
            xp.broadcast_to(eye[k, :], shape) for k in range(self._model.n_outputs)
        ]
        if on == "decision" or self._classifies:
            return design, [Output(column) for column in columns]
        return design, [Response(objective.loss, column) for column in columns]

    def _points(self: Any, X: Any) -> Design:
        """Rows of X in the coordinates of the training design."""
        check_is_fitted(self)
        reads_X = self._model.transformer is None
        rows = checks.rows(self, X, reset=False, reads_X=reads_X)
        if not reads_X:
            with checks.data_errors():
                rows = checks.transformed(self._model.transformed(rows))
        design = self._point.objective.design
        if hasattr(rows, "tocsr"):
            rows = rows.toarray() if is_foreign(design.centre) else rows
        return design.of(rows if hasattr(rows, "tocsr") else self._here(rows))

    def _targets_of(self: Any, X: Any, y: Any) -> Any:
        y = checks.targets(X, y, classifier=self._classifies)
        return self._here(self._model.targets(y))

    def _influence_blocks(
        self: Any,
        design: Design,
        quantity: AbstractQuantity,
        aggregate: str | None,
        relative: bool,
    ) -> Any:
        blocks = influence_blocks(self._point, design, quantity, aggregate)
        return relative_blocks(self._point, blocks) if relative else blocks

    def _delta_blocks(
        self: Any,
        design: Design,
        quantity: AbstractQuantity,
        aggregate: str | None,
        verdicts: Verdicts,
    ) -> Any:
        return delta_blocks(
            self._point,
            self._deletion(self.n_train_),
            design,
            quantity,
            aggregate,
            entries=working_entries(),
            watch=verdicts.watch,
            alone=self._in_order,
        )

    def _room_for(self: Any, design: Design, quantities: list[Any]) -> Any:
        """Advice where the matrix of an answer does not fit a device."""
        numbers = self.n_train_ * len(quantities)
        advice = fewer_rows(design.n_rows, numbers)
        return room_on_device(self._point.theta, advice)

    def _empty(
        self: Any, n_points: int, n_quantities: int, aggregate: str | None
    ) -> Any:
        """Room for the effects of all training rows, one quantity beside the other."""
        place, n = self._point.theta, self.n_train_ * n_quantities
        shape = (n,) if aggregate else (n_points, n)
        xp = array_namespace(place)
        return xp.empty(shape, dtype=xp.float64, device=device_of(place))

    def _fill(
        self: Any, found: Any, blocks: Any, i: int, points: tuple[Any, ...]
    ) -> None:
        """Write blocks of training rows where they stay: quantity i, some points."""
        for rows, values in blocks:
            first = i * self.n_train_ + rows.start
            found[(*points, slice(first, first + values.shape[-1]))] = values

    def _check_top(
        self: Any, k: int, order: str, quantity: str, relative: bool
    ) -> None:
        check_is_fitted(self)
        checks.one_of("order", order, ("absolute", "harmful", "helpful"))
        checks.one_of("quantity", quantity, ("influence", "loo_delta"))
        checks.one_of("relative", relative, (True, False))
        if relative and quantity != "influence":
            raise InvalidParameterError(
                f"relative=True divides influences; got quantity={quantity!r}. Use "
                "quantity='influence'."
            )
        checks.at_least("k", k, 1, Integral)
        if k > self.n_train_:
            raise InvalidParameterError(
                f"k must not exceed the number of training rows, {self.n_train_}; got "
                f"{k}. Use influence for all of them."
            )

    def _point_blocks(self: Any, n_points: int) -> list[slice]:
        """Slices of test rows whose blocks of effects fit the working memory."""
        layout = self._point.objective.layout
        numbers = layout.n_groups * layout.size + 4 * 4096
        size = max(working_entries() // numbers, 16)
        starts = range(0, n_points, size)
        return [slice(first, min(first + size, n_points)) for first in starts]
