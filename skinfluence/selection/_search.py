"""``LeaveOneOutSearchCV``: choose hyper-parameters by leave-one-out, one fit for each."""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV, ParameterGrid, ParameterSampler
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skinfluence import support
from skinfluence._delegation import DelegationMixin
from skinfluence.deletion import DELETIONS
from skinfluence.exceptions import InvalidParameterError, UnfittedEstimatorError
from skinfluence.selection._judge import LeaveOneOutJudge, takes_weights
from skinfluence.selection._path import path_of
from skinfluence.selection._warm_start import Starts, WarmStarted, starts_warm
from skinfluence.support import checks


def _has_score(search: Any) -> bool:
    """Whether there is a score of the best estimator: for ``available_if``."""
    return search.scoring is not None or hasattr(search._described, "score")


class LeaveOneOutSearchCV(DelegationMixin, MetaEstimatorMixin, BaseEstimator):
    """Choose hyper-parameters by leave-one-out scores that cost one fit each.

    Does for every supported model what ``RidgeCV`` does for ridge, with the interface of
    ``GridSearchCV``: each candidate is fitted once, to all rows, and scored by all of its
    leave-one-out predictions together.

    Parameters
    ----------
    estimator : estimator
        Any model that ``InfluenceExplainer`` supports, or a pipeline that ends in one.
    param_grid : dict or list of dict
        Values of each parameter, as for ``GridSearchCV``; or, with ``n_iter``,
        distributions to draw from, as for ``RandomizedSearchCV``.
    scoring : str, callable, list, dict or None, default=None
        One score or several, as for ``GridSearchCV``; None is the estimator's own.
    refit : bool, str or callable, default=True
        Whether to fit the best candidate to all rows; with several scores the name of the
        one that decides, or a function of ``cv_results_`` that returns an index.
    n_iter : int or None, default=None
        Number of candidates to draw; None tries the whole grid.
    deletion : {"newton", "jackknife", "halley", "exact"}, default="newton"
        How deletions are computed, as in ``InfluenceExplainer``. "newton" is exact for
        least squares and ridge; "exact" certifies the others.
    random_state : int, RandomState instance or None, default=None
        For drawing candidates.
    n_jobs : int or None, default=None
        Number of candidates to run in parallel.
    verbose : int, default=0
        As for ``GridSearchCV``.
    error_score : "raise" or float, default=nan
        Score of candidates that cannot be fitted or scored; of several scores those that
        fail, each with a warning.

    Attributes
    ----------
    cv_results_ : dict of ndarrays
        As in ``GridSearchCV`` with one split: ``mean_test_score`` (with several scores,
        ``mean_test_<name>``) is the leave-one-out score, ``std_test_score`` is 0.
    best_estimator_ : estimator
        The best candidate, fitted to all rows; only with ``refit``.
    best_params_ : dict
        Its parameters.
    best_score_ : float
        Its leave-one-out score.
    best_index_ : int
        Its index in ``cv_results_``.
    scorer_ : callable or dict
        The scorers, for held-out rows.
    multimetric_ : bool
        Whether there are several scores.
    n_splits_ : int
        1, since there are no splits.
    refit_time_ : float
        Seconds of the last fit.
    classes_ : ndarray of shape (n_classes,)
        Class labels; classifiers only.
    n_features_in_ : int
        Number of features of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had string names.

    Notes
    -----
    Cost: one fit per candidate, ``n d**2`` for its score, and one last fit. If the model
    has ``warm_start``, candidates that differ only in ``C`` or ``alpha`` start from the fit
    of the previous candidate, in the order of the grid; the last fit does not. Candidates
    of ``Ridge`` and ``RidgeClassifier`` that differ only in ``alpha`` share one
    decomposition, as in ``RidgeCV``: about three passes of ``n d**2`` for all of them (the
    fit times in ``cv_results_`` are then meaningless). A pipeline that ends in one of
    these fits its transformers once.

    The transformers of a pipeline are fitted to all rows for each candidate, and stay
    fixed when a row is left out. For a scaler or a PCA of many rows this is a small bias.
    Transformers that use y (target encoding, feature selection) would leak it, so choose
    their parameters by ``GridSearchCV``. Class weights stay fixed too.

    A score is computed from all predictions together. Scores that are means over rows
    equal the mean over the folds of ``GridSearchCV(cv=LeaveOneOut())``; R2 or AUC, which
    are undefined for one row, are well defined here. Rows that cannot be deleted are left
    out of the score. Sample weights apply to the scores too, as in ``RidgeCV``, unless
    ``scoring`` is a function that takes none, or metadata routing says otherwise. A row of
    weight 2 is left out as a whole.

    References
    ----------
    .. [1] Rad & Maleki (2020). A scalable estimate of the out-of-sample prediction error
       via approximate leave-one-out cross-validation. JRSS B 82. Equation 7.
    .. [2] Allen (1974). The relationship between variable selection and data
       augmentation and a method for prediction. Technometrics 16. PRESS.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from skinfluence import LeaveOneOutSearchCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> search = LeaveOneOutSearchCV(Ridge(), {"alpha": [0.001, 0.01, 1.0]})
    >>> search.fit(X, y).best_params_
    {'alpha': 0.01}
    """

    def __init__(
        self,
        estimator: Any,
        param_grid: Any,
        *,
        scoring: Any = None,
        refit: Any = True,
        n_iter: int | None = None,
        deletion: str = "newton",
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        error_score: Any = np.nan,
    ) -> None:
        self.estimator = estimator
        self.param_grid = param_grid
        self.scoring = scoring
        self.refit = refit
        self.n_iter = n_iter
        self.deletion = deletion
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.error_score = error_score

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **params: Any) -> Self:
        """Score every candidate, and fit the best one.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n, n_features)
            Training rows.
        y : array-like of shape (n,) or (n, n_outputs)
            Their targets.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the fits.
        **params : dict
            Further metadata for fitting. Weights may be among them, by the name of a
            step (``ridge__sample_weight``) or the name that the model requests.

        Returns
        -------
        self : LeaveOneOutSearchCV

        Raises
        ------
        UnsupportedEstimatorError
            If a candidate is not supported.
        InvalidParameterError
            If the grid, ``scoring`` or another parameter cannot be used.
        InvalidDataError
            If X, y or the weights cannot be used.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import LeaveOneOutSearchCV
        >>> X, y = load_diabetes(return_X_y=True)
        >>> search = LeaveOneOutSearchCV(Ridge(), {"alpha": [0.01, 1.0]}).fit(X, y)
        >>> search.best_params_
        {'alpha': 0.01}
        """
        with checks.unchanged_on_failure(self):
            self._fit(X, y, sample_weight, params)
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any, params: dict[str, Any]) -> None:
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)  # of an earlier fit
        candidates = self._candidates()
        checks.one_of("deletion", self.deletion, DELETIONS)
        raises = isinstance(self.error_score, str) and self.error_score == "raise"
        if not (raises or isinstance(self.error_score, Real)):
            raise InvalidParameterError(
                f"error_score must be 'raise' or a number; got "
                f"{checks.brief(self.error_score)}."
            )
        scorer = self._scorer()
        if isinstance(sample_weight, Real):  # one for all rows, which are split
            sample_weight = np.full(
                X.shape[0] if hasattr(X, "shape") else len(X), sample_weight
            )
        fit_params, score_params = self._routed(sample_weight, params)
        of_model = self._of_model(fit_params)
        weight = of_model.get("sample_weight")
        n = self._check_data(X, y, weight)
        path = path_of(
            self.estimator, candidates, self.deletion, X, y, weight, fit_params
        )
        judge = LeaveOneOutJudge(
            check_scoring(self.estimator, self.scoring, raise_exc=raises),
            self.deletion,
            of_model,
            score_params,
            path,
            tuple(scorer) if isinstance(scorer, dict) else (),
            self.error_score,
        )
        estimator = self.estimator
        if path is not None or (len(candidates) > 1 and starts_warm(estimator)):
            starts = Starts(len(candidates), needless=path is not None)
            estimator = WarmStarted(clone(estimator), starts)
        # Each candidate is fitted once, on all rows; where a path knows the scores, none
        # is, and rows to look at would be copies.
        every = np.arange(n if path is None else 1)
        search = GridSearchCV(
            estimator,
            [{name: [value] for name, value in c.items()} for c in candidates],
            scoring=judge,
            cv=[(every, every)],
            refit=self.refit,
            n_jobs=self.n_jobs if path is None else None,
            verbose=self.verbose,
            error_score=self.error_score,
        )
        with support.naming_bad_targets(self.estimator, y):
            search.fit(X, y, **fit_params)
        learnt = {name: v for name, v in vars(search).items() if name.endswith("_")}
        self.__dict__.update(learnt, scorer_=scorer)
        if hasattr(search, "classes_"):
            self.classes_ = search.classes_
        if isinstance(learnt.get("best_estimator_"), WarmStarted):
            self.best_estimator_ = search.best_estimator_.estimator

    def _candidates(self) -> list[dict[str, Any]]:
        """Parameters of every candidate; refused if one cannot be set or explained."""
        if not hasattr(self.estimator, "set_params"):
            support.required_row(self.estimator)
        if self.n_iter is not None:
            checks.at_least("n_iter", self.n_iter, 1, Integral)
        try:
            if self.n_iter is None:
                draws = ParameterGrid(self.param_grid)
            else:
                draws = ParameterSampler(
                    self.param_grid, self.n_iter, random_state=self.random_state
                )
            candidates = list(draws)
            models = [_with_parameters(self.estimator, c) for c in candidates]
        except (TypeError, ValueError) as error:
            advice = " Distributions need n_iter." if self.n_iter is None else ""
            raise InvalidParameterError(
                f"param_grid cannot be used: {error}{advice}"
            ) from error
        for model in models:
            support.required_row(model)
        return candidates

    def _scorer(self) -> Any:
        """Scorers for held-out rows: one, or a dict of several, one of them for refit."""
        scoring = self.scoring
        if scoring is None or isinstance(scoring, str) or callable(scoring):
            return self._known(scoring)
        if not isinstance(scoring, Mapping):
            try:
                scoring = {name: name for name in scoring}
            except TypeError as error:
                raise InvalidParameterError(
                    "scoring must be a name, a function, or a list or dict of them; got "
                    f"{checks.brief(scoring)}."
                ) from error
        scorers = {name: self._known(scorer) for name, scorer in scoring.items()}
        if self.refit is not False and not callable(self.refit):
            checks.one_of("refit", self.refit, (False, *scorers))
        return scorers

    def _known(self, scoring: Any) -> Any:
        try:
            return check_scoring(self.estimator, scoring)
        except (TypeError, ValueError) as error:
            raise InvalidParameterError(f"scoring cannot be used: {error}") from error

    def _check_data(self, X: Any, y: Any, sample_weight: Any) -> int:
        """Number of rows; refuses what no candidate could be fitted to."""
        checks.rows(self, X, reset=True, reads_X=support.reads_features(self.estimator))
        classifier = is_classifier(support.unwrapped(self.estimator))
        y = checks.targets(X, y, classifier=classifier)
        index = getattr(X, "index", None)
        weight = checks.weights(sample_weight, y.shape[0], index)
        if classifier:
            checks.refuse_single_class(y[weight > 0])
        return int(y.shape[0])

    def _routed(
        self, sample_weight: Any, params: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Metadata for the fits, and for the scores."""
        inner = self.estimator
        if get_config()["enable_metadata_routing"]:
            given = dict(params)
            if sample_weight is not None:
                given["sample_weight"] = sample_weight
            to_score = dict(process_routing(self, "fit", **given).scorer.score)
            # The search inside routes once more, so it gets the names as they came.
            return support.consumed_by_fit(inner, given), to_score
        to_fit = support.routed_to_fit(inner, params, sample_weight=sample_weight)
        weight = self._of_model(to_fit).get("sample_weight")
        if weight is None or not takes_weights(self.scoring):
            return to_fit, {}
        return to_fit, {"sample_weight": weight}  # as RidgeCV scores

    def _of_model(self, fit_params: dict[str, Any]) -> dict[str, Any]:
        """Weights and offsets among the metadata of fits that reach the model."""
        inner = self.estimator
        return support.of_model(inner, support.routed_to_fit(inner, fit_params))

    # --- the best estimator's own methods ----------------------------------------------

    @property
    def _described(self) -> Any:
        return getattr(self, "best_estimator_", self.estimator)

    @property
    def _predictor(self) -> Any:
        return self._best()

    def _best(self) -> Any:
        check_is_fitted(self)
        if not hasattr(self, "best_estimator_"):
            raise UnfittedEstimatorError(
                "There is no best estimator: the search was made with refit=False. Use "
                "refit=True, or fit an estimator with best_params_."
            )
        return self.best_estimator_

    @available_if(_has_score)
    def score(self, X: Any, y: Any, **params: Any) -> float:
        """Score of the best estimator on held-out rows, by ``scoring``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Test rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        **params : dict
            Metadata for the scorer.

        Returns
        -------
        score : float
            By the score that decided.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import LeaveOneOutSearchCV
        >>> X, y = load_diabetes(return_X_y=True)
        >>> search = LeaveOneOutSearchCV(Ridge(), {"alpha": [0.001, 0.1]}).fit(X, y)
        >>> round(search.score(X, y), 3)
        0.518
        """
        best, scorer = self._best(), self.scorer_
        if isinstance(scorer, dict):
            name = self.refit if isinstance(self.refit, str) else next(iter(scorer))
            scorer = scorer[name]
        scores = scorer(best, X, y, **params)
        return scores[self.refit] if isinstance(scores, dict) else scores

    def get_metadata_routing(self) -> MetadataRouter:
        """Routing of metadata: what this object uses itself, and what it passes on.

        Returns
        -------
        routing : MetadataRouter
            To the estimator's ``fit``, and to the scorers in ``fit`` and ``score``.

        Examples
        --------
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import LeaveOneOutSearchCV
        >>> search = LeaveOneOutSearchCV(Ridge(), {"alpha": [0.1, 1.0]})
        >>> type(search.get_metadata_routing()).__name__
        'MetadataRouter'
        """
        to_fit = MethodMapping().add(caller="fit", callee="fit")
        to_score = MethodMapping().add(caller="fit", callee="score")
        to_score = to_score.add(caller="score", callee="score")
        router = MetadataRouter(owner=self).add_self_request(self)
        router = router.add(estimator=self.estimator, method_mapping=to_fit)
        scorer = check_scoring(self.estimator, self.scoring)
        return router.add(scorer=scorer, method_mapping=to_score)


def _with_parameters(estimator: Any, parameters: dict[str, Any]) -> Any:
    """A clone with the parameters of a candidate, which may be estimators."""
    return clone(estimator).set_params(**clone(parameters, safe=False))
