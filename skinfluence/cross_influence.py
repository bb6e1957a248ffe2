"""``cross_val_influence``: the effect of each row on the loss on held-out folds."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils import Bunch
from sklearn.utils.parallel import Parallel, delayed

from skinfluence._progress import Progress
from skinfluence.exceptions import InvalidParameterError
from skinfluence.explainer import InfluenceExplainer
from skinfluence.support import (
    by_row,
    checks,
    naming_bad_targets,
    required_row,
    take_rows,
    unwrapped,
)


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
        Further metadata of ``fit``; values of length n are split with the rows. Weights
        may be among them, as in ``InfluenceExplainer.fit``.
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
    checks.option("params", params, Mapping)
    checks.jobs(n_jobs)
    checks.switch("verbose", verbose)
    checks.switch("return_estimator", return_estimator)
    classifier = is_classifier(unwrapped(estimator))
    checked_y = checks.targets(X, y, classifier=classifier)
    n = checked_y.shape[0]
    metadata = dict(params or {})
    if sample_weight is not None:
        if metadata.get("sample_weight") is not None:
            raise InvalidParameterError(
                "sample_weight is given twice, as an argument and in params. Give it "
                "once."
            )
        index = getattr(X, "index", None)
        metadata["sample_weight"] = checks.weights(sample_weight, n, index)
    checks.refuse_chunks("groups", groups)
    checks.warn_of_other_order(getattr(X, "index", None), groups=groups)
    folds = checks.folds(cv, X, checked_y, groups, classifier=classifier)
    explainer = InfluenceExplainer(estimator, prefit=False, deletion=deletion)
    n_fits = sum(len(train) for train, _ in folds)
    progress = Progress("cross_val_influence", n_fits, verbose=verbose)
    tasks = (
        delayed(_harm)(explainer, X, y, metadata, *fold, return_estimator)
        for fold in folds
    )
    results = Parallel(n_jobs=n_jobs, return_as="generator")(tasks)
    explainers, harms = [], np.full((len(folds), n), np.nan)
    with naming_bad_targets(estimator, y):  # by their rows among all, not in a fold
        for k, (harm, explained) in enumerate(results):
            train, _ = folds[k]
            harms[k, train] = harm
            explainers.append(explained)
            progress(len(train))
    seen = np.ma.masked_invalid(harms)
    trains, tests = zip(*folds, strict=True)
    result = Bunch(
        harm=seen.mean(axis=0).filled(np.nan),
        count=seen.count(axis=0),
        std=seen.std(axis=0).filled(np.nan),
        indices={"train": list(trains), "test": list(tests)},
    )
    if return_estimator:
        result.estimator = explainers
    return result


def _harm(
    explainer: InfluenceExplainer,
    X: Any,
    y: Any,
    metadata: dict[str, Any],
    train: np.ndarray,
    test: np.ndarray,
    returns_explainer: bool,
) -> tuple[np.ndarray, InfluenceExplainer | None]:
    """Harm of the training rows of one fold, and its explainer if it is returned."""
    given = {
        name: take_rows(value, train) if by_row(value, y) else value
        for name, value in metadata.items()
    }
    explainer = clone(explainer).fit(take_rows(X, train), take_rows(y, train), **given)
    X_test, y_test = take_rows(X, test), take_rows(y, test)
    delta = explainer.loo_delta(X_test, y_test, on="loss", aggregate="mean")
    return -np.asarray(delta), explainer if returns_explainer else None
