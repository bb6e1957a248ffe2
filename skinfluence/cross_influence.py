"""``cross_val_influence``: the effect of each row on the loss on held-out folds."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils import Bunch
from sklearn.utils.parallel import Parallel, delayed

from skinfluence._progress import Progress
from skinfluence.explainer import InfluenceExplainer
from skinfluence.support import checks, required_row, unwrapped


def cross_val_influence(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    cv: Any = None,
    sample_weight: Any = None,
    deletion: str = "newton",
    n_jobs: int | None = None,
    params: dict[str, Any] | None = None,
    return_estimator: bool = False,
    verbose: int = 0,
) -> Bunch:
    """Mean change of the held-out loss caused by each row, over the folds that train on it.

    For each fold a clone is fitted to the training part, and its ``loo_delta`` on the
    held-out part is computed.

    Sign: positive = the row *raises* the held-out loss (harmful). This is the loss with
    the row minus the loss without it, so minus a ``loo_delta``.

    Parameters
    ----------
    estimator : estimator
        Any supported model, a whole pipeline included; a clone is fitted in each fold.
    X : array-like, sparse matrix or DataFrame of shape (n, n_features)
        Rows.
    y : array-like of shape (n,) or (n, n_outputs)
        Their targets.
    groups : array-like of shape (n,) or None, default=None
        Labels that ``cv`` keeps together (customers, annotators).
    cv : int, splitter, iterable or None, default=None
        As in ``cross_validate``; None is 5 folds, stratified for classifiers.
    sample_weight : array-like of shape (n,) or None, default=None
        Weights of the fits. The held-out loss is the unweighted mean over its rows.
    deletion : {"newton", "jackknife", "halley", "exact"}, default="newton"
        How deletions are computed, as in ``InfluenceExplainer``.
    n_jobs : int or None, default=None
        Number of folds to run in parallel, by joblib.
    params : dict or None, default=None
        Further metadata of ``fit``; values of length n are split with the rows.
    return_estimator : bool, default=False
        Whether to return the fitted explainer of each fold.
    verbose : int, default=0
        1 reports progress on standard error.

    Returns
    -------
    found : Bunch
        ``harm`` (n,), in units of the mean held-out loss, NaN for rows that no fold
        trained on or could delete; ``count`` (n,), the number of folds in the mean;
        ``std`` (n,), their standard deviation; ``indices``, dict of the ``train`` and
        ``test`` row indices of each fold; ``estimator``, list of
        ``InfluenceExplainer``, with ``return_estimator=True``.

    Raises
    ------
    UnsupportedEstimatorError, InvalidParameterError, InvalidDataError
        If the model, a parameter or the data cannot be used.

    Notes
    -----
    Cost: per fold one fit, and a loss for each pair of training and held-out row
    ("jackknife": one solve). Wrong labels in the held-out part distort the result; see
    ``docs/cleaning.rst``.

    References
    ----------
    .. [1] Koh & Liang (2017). Understanding black-box predictions via influence
       functions. ICML. Section 5.4.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from skinfluence import cross_val_influence
    >>> X = np.arange(10.0)[:, None]
    >>> y = 2 * X[:, 0]
    >>> y[7] = -20.0
    >>> found = cross_val_influence(Ridge(), X, y, cv=5)
    >>> int(np.argmax(found.harm))
    7
    """
    required_row(estimator)
    classifier = is_classifier(unwrapped(estimator))
    checked_y = checks.targets(X, y, classifier=classifier)
    n = checked_y.shape[0]
    if sample_weight is not None:
        sample_weight = checks.weights(sample_weight, n)
    folds = checks.folds(cv, X, checked_y, groups, classifier=classifier)
    task = _Fold(estimator, X, y, sample_weight, params or {}, deletion)
    progress = Progress(
        "cross_val_influence", sum(len(train) for train, _ in folds), verbose=verbose
    )
    explainers, harms = [], np.full((len(folds), n), np.nan)
    tasks = (delayed(_explained)(task, *fold, return_estimator) for fold in folds)
    found = Parallel(n_jobs=n_jobs, return_as="generator")(tasks)
    for k, (harm, explainer) in enumerate(found):
        train = folds[k][0]
        harms[k, train] = harm
        explainers.append(explainer)
        progress(len(train))
    result = Bunch(**_moments(harms), indices=_named(folds))
    if return_estimator:
        result.estimator = explainers
    return result


def taken_rows(data: Any, rows: Any) -> Any:
    """Some rows of an array, sparse matrix, frame or list, in its own type."""
    if hasattr(data, "iloc"):
        return data.iloc[rows]
    if not hasattr(data, "shape"):
        data = np.asarray(data)
    if hasattr(data, "tocsr"):
        data = data.tocsr()
    return data[rows]


@dataclass(frozen=True)
class _Fold:
    """What all folds share."""

    estimator: Any
    X: Any
    y: Any
    weight: Any
    params: dict[str, Any]
    deletion: str

    def fit_params(self, rows: Any) -> dict[str, Any]:
        """Metadata of some rows."""
        given = {
            name: taken_rows(value, rows) if _by_row(value, self.y) else value
            for name, value in self.params.items()
        }
        if self.weight is not None:
            given["sample_weight"] = self.weight[rows]
        return given


def _by_row(value: Any, y: Any) -> bool:
    """Whether a piece of metadata has one entry per row."""
    if isinstance(value, str) or not hasattr(value, "__len__"):
        return False
    return len(value) == len(y)


def _explained(task: _Fold, train: Any, test: Any, keeps: bool) -> tuple[Any, Any]:
    """Harm of the training rows of one fold, and its explainer if it is returned."""
    explainer = InfluenceExplainer(
        clone(task.estimator), prefit=False, deletion=task.deletion
    )
    X, y = taken_rows(task.X, train), taken_rows(task.y, train)
    explainer.fit(X, y, **task.fit_params(train))
    X_test, y_test = taken_rows(task.X, test), taken_rows(task.y, test)
    delta = explainer.loo_delta(X_test, y_test, on="loss", aggregate="mean")
    return -np.asarray(delta), explainer if keeps else None


def _moments(harms: Any) -> dict[str, Any]:
    """Mean, number and standard deviation over the folds, (n,) each, NaN left out."""
    seen = np.isfinite(harms)
    count = seen.sum(axis=0)
    some = np.where(count > 0, count, 1)
    mean = np.where(seen, harms, 0.0).sum(axis=0) / some
    spread = np.where(seen, harms - mean, 0.0)
    std = np.sqrt((spread**2).sum(axis=0) / some)
    lost = count == 0
    mean[lost] = std[lost] = np.nan
    return dict(harm=mean, count=count, std=std)


def _named(folds: Iterable[tuple[Any, Any]]) -> dict[str, list[Any]]:
    trains, tests = zip(*folds, strict=True)
    return {"train": list(trains), "test": list(tests)}
