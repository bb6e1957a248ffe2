"""Predictions and scores of the training rows by the model without them."""

from typing import Any

import numpy as np
from sklearn.metrics import get_scorer
from sklearn.utils.validation import check_is_fitted

from skinfluence._array import to_numpy
from skinfluence._rows import stream_blocks, training_blocks
from skinfluence.exceptions import UnidentifiedDeletionError
from skinfluence.explainer._verdicts import Verdicts
from skinfluence.support import checks


class LeaveOneOutMixin:
    """Leave-one-out predictions, for ``InfluenceExplainer``."""

    def loo_predict(self: Any, method: str = "predict") -> Any:
        """Prediction of each training row by the model without it, without a refit.

        As ``cross_val_predict(estimator, X, y, cv=LeaveOneOut(), method=method)``, with
        transformers and class weights held as they were fitted.

        Parameters
        ----------
        method : str, default="predict"
            "predict", "predict_proba", "predict_log_proba" or "decision_function", as
            far as the estimator has them.

        Returns
        -------
        predictions : ndarray of shape (n_train,) or (n_train, n_outputs)
            NaN for rows that cannot be deleted; for labels, which cannot be NaN, the
            label that the model of all rows predicts.

        Warns
        -----
        UnidentifiedDeletionWarning, SeparableDeletionWarning
            If rows cannot be deleted.

        Notes
        -----
        Cost: ``n d**2`` for "newton" and "jackknife"; no (n, d) array is made.

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
        reader = self._reader(method)
        u, lost = self._loo_outputs()
        outputs = to_numpy(self._point.outputs)[:, : u.shape[1]]
        found = getattr(reader, method)(np.where(lost[:, None], outputs, u))
        return self._predictions(found, method, lost)

    def loo_score(self: Any, scoring: Any = None) -> float:
        """Leave-one-out score of the model, without a refit.

        Parameters
        ----------
        scoring : str, callable or None, default=None
            As in scikit-learn; None is the estimator's own ``score``, computed over all
            leave-one-out predictions together.

        Returns
        -------
        score : float
            Rows that cannot be deleted are left out.

        Raises
        ------
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
        reader = self._reader("predict")
        u, lost = self._loo_outputs()
        if np.all(lost):
            raise UnidentifiedDeletionError(
                "No row has a leave-one-out prediction: without any one of the "
                f"{self.n_train_} rows the others do not determine the model. Penalise "
                "it, or drop features."
            )
        y = self._train_y[~lost]
        if scoring is None:
            return float(reader.score(u[~lost], y))
        scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
        return float(scorer(reader, u[~lost], y))

    def _reader(self: Any, method: str) -> Any:
        check_is_fitted(self)
        reader = self._model.on_outputs()
        allowed = [
            name
            for name in (
                "predict",
                "predict_proba",
                "predict_log_proba",
                "decision_function",
            )
            if hasattr(reader, name)
        ]
        checks.one_of("method", method, tuple(allowed))
        return reader

    def _predictions(self: Any, found: Any, method: str, lost: Any) -> Any:
        """Predictions without those of lost rows, where the arrays live."""
        if isinstance(found, list):  # one per output
            return [self._predictions(part, method, lost) for part in found]
        if found.dtype.kind == "f" and not (method == "predict" and self._classifies):
            found[lost] = np.nan
        return self._here(found) if found.dtype.kind in "fiub" else found

    def _loo_outputs(self: Any) -> tuple[Any, Any]:
        """Outputs of each row without it, and the mask of rows without any; host arrays."""
        deletion, verdicts = self._deletion(self.n_train_), Verdicts()
        objective, parts = self._point.objective, []
        design, layout = objective.design, objective.layout

        def asked(rows: slice) -> Any:
            return rows, deletion.outputs(rows), deletion.missed_changes(rows)

        blocks = training_blocks(design, layout.n_outputs * layout.size)
        for rows, (u, unidentified, unbounded), missed in stream_blocks(
            asked, blocks, design, width=design.width, alone=self._in_order
        ):
            verdicts.add(rows, unidentified, unbounded, changing=missed)
            parts.append((to_numpy(u), to_numpy(unidentified | unbounded)))
        verdicts.speak()
        u, lost = (np.concatenate(column) for column in zip(*parts, strict=True))
        return u[:, : self._model.n_outputs], lost
