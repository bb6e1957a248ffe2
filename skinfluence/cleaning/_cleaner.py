"""``InfluenceCleaner``: fit without the training rows that look wrong."""

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils.validation import has_fit_parameter

from skinfluence._delegation import DelegationMixin
from skinfluence.cleaning._actions import Rows, relabelled
from skinfluence.cleaning._choice import trusted_mask, valid_scores, worst
from skinfluence.cleaning._flags import flagged
from skinfluence.cleaning._rounds import TrustedRounds
from skinfluence.cross_influence import cross_val_influence
from skinfluence.deletion import DELETIONS
from skinfluence.exceptions import InvalidParameterError, UnsupportedEstimatorError
from skinfluence.explainer import InfluenceExplainer
from skinfluence.questions import LeftOut, left_out
from skinfluence.study import answer, study_of
from skinfluence.support import (
    checks,
    of_model,
    required_row,
    routed_to_fit,
    take_rows,
    unwrapped,
    weight_name,
)

_CRITERIA = ("loo_loss", "self_influence", "influence")
# Criteria of which only the order matters: a fit this near its minimum, in median
# deletion effects, changes it less than one Newton step for a deletion does (Spearman
# 0.9999 against 0.9993 on the digits with wrong labels).
_RANKINGS, _NEAR_ENOUGH = ("loo_loss", "self_influence"), 0.1
_ACTIONS = ("drop", "downweight", "relabel")


class InfluenceCleaner(DelegationMixin, MetaEstimatorMixin, BaseEstimator):
    """Fit an estimator without the training rows that look wrong.

    Rows are judged and removed only inside ``fit``, never in ``predict`` or ``score``: in
    cross-validation no held-out row is removed, so the scores stay unbiased. Around a
    whole pipeline, its transformers are refitted to the remaining rows.

    Parameters
    ----------
    estimator : estimator
        Any model that ``InfluenceExplainer`` supports, or a pipeline that ends in one.
        Clones are fitted.
    criterion : {"loo_loss", "self_influence", "influence"} or callable, \
            default="loo_loss"
        The score of a row, higher = worse; see ``row_scores_``.

        "loo_loss": the loss of the row by the model without it. It needs one fit and no
        folds. For labels that are wrong at random it is as good as out-of-fold
        confidence.

        "self_influence": minus the influence of the row on its own loss, that is how
        strongly it pulls the model towards itself.

        "influence": how much the row raises the mean loss on the ``trusted`` rows given
        to ``fit`` (with the row minus without it), the steps of a pipeline held. It finds
        *systematic* errors, given a few hundred trusted rows. Without trusted rows, the
        loss on held-out folds of ``cv`` is used. These are as wrong as the rest, so labels
        that are wrong at random are found only if the penalty averages them out.

        A callable gets ``(explainer, X, y)``, with the ``InfluenceExplainer`` of all rows,
        and returns one score per row. Rows with score NaN are never cleaned.
    contamination : "auto" or float, default="auto"
        Share of the rows to clean, in ``(0, 0.5]``: those with the highest scores.
        "auto": for classifiers the rows whose label the model without them contradicts;
        for regressors the rows whose externally studentized residual exceeds the
        Bonferroni bound at 5 %. (For models without one, such as Huber's, it is the
        leave-one-out residual over the median absolute deviation.) This cannot find
        systematic errors.

        "auto" with ``criterion="influence"`` and ``trusted``: the most harmful twentieth
        of the rows is removed, the others are judged again by the model without it, and
        so on up to half of the rows. The round whose model predicts the trusted rows
        best, each left out in turn, decides. Give a few hundred trusted rows, so that
        their noise does not decide.
    action : {"drop", "downweight", "relabel"}, default="drop"
        "drop" removes the rows. "downweight" multiplies their weights by
        ``(k - 1/2) / m``, with k = 1 for the worst of m rows and k = m for the mildest.
        "relabel" (classifiers) gives them the label that the model without them predicts,
        if it differs.
    cv : int, splitter or iterable, default=5
        Folds of ``criterion="influence"`` without trusted rows.
    deletion : {"newton", "jackknife", "halley", "exact"}, default="newton"
        How deletions are computed, as in ``InfluenceExplainer``.
    random_state : int, RandomState instance or None, default=None
        Shuffles the folds if ``cv`` is an int; None keeps the order of the rows.
    n_jobs : int or None, default=None
        Number of folds to run in parallel.
    verbose : int, default=0
        1 reports progress of long work on standard error.

    Attributes
    ----------
    estimator_ : estimator
        The clone fitted to the cleaned rows.
    row_scores_ : ndarray of shape (n,)
        The score of each row, higher = worse; NaN if the row cannot be deleted.
    support_ : ndarray of bool of shape (n,)
        Mask of the rows used by the last fit: all but the dropped ones.
    cleaned_indices_ : ndarray of int
        Indices of the rows that were dropped, downweighted or relabelled, worst first
        (within each round, if "auto" uses trusted rows).
    cleaned_index_ : ndarray
        The same rows by the index of X, if it was a DataFrame.
    cleaned_labels_ : ndarray
        The new labels of these rows; ``action="relabel"`` only.
    classes_ : ndarray of shape (n_classes,)
        Class labels; classifiers only.
    n_features_in_ : int
        Number of features of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had string names.

    See Also
    --------
    cross_val_influence : The ranking of "influence" without trusted rows.

    Notes
    -----
    Cost: two fits, and ``n d**2`` for the scores. "influence" adds one loss per pair of
    training and trusted row, or ``cv`` fits with their pairs; "auto" with trusted rows
    does that up to eleven times.

    At least one row of each class remains. Trusted rows and rows of weight 0 are never
    cleaned, and the latter do not count for the share.

    Tune ``contamination`` by accuracy or AUC, not by log loss: held-out labels are as
    wrong as the others, and log loss penalises a cleaned model for being confident
    against them; see ``docs/cleaning.rst``.

    A row of weight 2 is judged as a whole, two rows of weight 1 are judged separately.

    References
    ----------
    .. [1] Koh & Liang (2017). Understanding black-box predictions via influence
       functions. ICML. Section 5.4.
    .. [2] Cook & Weisberg (1982). Residuals and influence in regression. Section 2.2.1,
       the outlier test behind "auto".

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skinfluence import InfluenceCleaner
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> wrong = y.copy()
    >>> wrong[:400:10] = 1 - wrong[:400:10]
    >>> model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    >>> cleaner = InfluenceCleaner(model).fit(X[:400], wrong[:400])
    >>> int((cleaner.cleaned_indices_ % 10 == 0).sum())  # of the 40 wrong labels
    39
    >>> round(model.fit(X[:400], wrong[:400]).score(X[400:], y[400:]), 2)
    0.95
    >>> round(cleaner.score(X[400:], y[400:]), 2)
    0.99
    """

    def __init__(
        self,
        estimator: Any,
        *,
        criterion: Any = "loo_loss",
        contamination: Any = "auto",
        action: str = "drop",
        cv: Any = 5,
        deletion: str = "newton",
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.criterion = criterion
        self.contamination = contamination
        self.action = action
        self.cv = cv
        self.deletion = deletion
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        trusted: Any = None,
        **params: Any,
    ) -> Self:
        """Judge and clean the rows, and fit the estimator to the result.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n, n_features)
            Training rows.
        y : array-like of shape (n,) or (n, n_outputs)
            Their targets; some may be wrong.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the fits.
        trusted : array-like of bool of shape (n,) or None, default=None
            Mask of rows known to be right. They are never cleaned, and "influence"
            measures harm on them.
        **params : dict
            Further metadata for fitting; values of length n belong to the rows. Weights
            may be among them, by the name of a step (``ridge__sample_weight``) or the
            name that the model requests.

        Returns
        -------
        self : InfluenceCleaner

        Raises
        ------
        UnsupportedEstimatorError
            If the model is not supported, or takes no weights with
            ``action="downweight"``.
        InvalidParameterError
            If a parameter of the constructor is out of range.
        InvalidDataError
            If X, y, the weights or ``trusted`` cannot be used.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> from skinfluence import InfluenceCleaner
        >>> X, y = load_iris(return_X_y=True)
        >>> wrong = np.where(np.arange(150) % 15 == 0, (y + 1) % 3, y)
        >>> cleaner = InfluenceCleaner(LogisticRegression(max_iter=1000)).fit(X, wrong)
        >>> cleaner.cleaned_indices_
        array([105, 135, 120,  15,  60,  75,   0,  45,  30,  90,  83,  70])
        """
        with checks.unchanged_on_failure(self):
            if sample_weight is not None:
                params["sample_weight"] = sample_weight
            self._fit(X, y, params, trusted)
        return self

    def _fit(self, X: Any, y: Any, metadata: dict[str, Any], trusted: Any) -> None:
        self._check_parameters()
        explainer = self._explained(X, y, metadata)
        n = explainer.n_train_
        given = of_model(self.estimator, self._routed(metadata))
        weight = checks.weights(given.get("sample_weight"), n)
        name = weight_name(self.estimator, metadata, self)
        rows = Rows(X, y, metadata, n, name)
        checks.warn_of_other_order(getattr(X, "index", None), trusted=trusted)
        trusted = trusted_mask(trusted, n, needed=self.criterion == "influence")
        without = answer(study_of(explainer), left_out)
        scores = self._scores(explainer, without, rows, trusted)
        open_rows = (weight > 0) & np.isfinite(scores)
        if trusted is not None:
            open_rows &= ~trusted
        labels = without.study.y if without.study.classifies else None
        if self.action == "relabel":
            open_rows &= without.contradicts()
        if self.contamination != "auto":
            n_most = int(self.contamination * np.sum(weight > 0) + 0.5)
            chosen = worst(scores, open_rows, n_most, weight > 0, labels)
        elif trusted is not None and self.criterion == "influence":
            rounds = TrustedRounds(
                self._explained_rows, rows, trusted, weight > 0, labels
            )
            chosen = rounds.chosen(explainer, open_rows)
        else:
            open_rows &= flagged(without, weight > 0)
            chosen = worst(scores, open_rows, n, weight > 0, labels)
        # Where nothing is to be changed, the first fit is the last one.
        self.estimator_ = explainer.estimator_
        if len(chosen):
            labels = without.predictions()[chosen]
            self.estimator_ = self._fitted(rows.after(self.action, chosen, labels))
        self._describe(explainer, scores, chosen)
        if self.action == "relabel":
            self.cleaned_labels_ = without.predictions()[chosen]

    def _describe(
        self, explainer: InfluenceExplainer, scores: Any, chosen: Any
    ) -> None:
        """Set the attributes that tell what was found and done."""
        for name in ("cleaned_labels_", "feature_names_in_", "classes_"):
            self.__dict__.pop(name, None)
        self.row_scores_ = scores
        self.cleaned_indices_ = chosen
        self.cleaned_index_ = explainer.train_index_[chosen]
        self.support_ = np.ones(explainer.n_train_, dtype=bool)
        if self.action == "drop":
            self.support_[chosen] = False
        for name in ("n_features_in_", "feature_names_in_", "classes_"):
            if hasattr(explainer, name):
                setattr(self, name, getattr(explainer, name))

    def _check_parameters(self) -> None:
        if not callable(self.criterion):
            checks.one_of("criterion", self.criterion, _CRITERIA)
        checks.one_of("action", self.action, _ACTIONS)
        checks.one_of("deletion", self.deletion, DELETIONS)
        share = self.contamination
        if not (isinstance(share, str) and share == "auto"):
            good = isinstance(share, Real) and not isinstance(share, bool)
            if not (good and 0 < share <= 0.5):
                raise InvalidParameterError(
                    "contamination must be 'auto' or a share of the rows in (0, 0.5]; "
                    f"got {share!r}."
                )
        required_row(self.estimator)
        model = unwrapped(self.estimator)
        if self.action == "relabel" and not is_classifier(model):
            raise InvalidParameterError(
                f"action='relabel' is for classifiers; {type(model).__name__} has no "
                "labels. Use 'drop' or 'downweight'."
            )
        if self.action == "downweight" and not has_fit_parameter(
            model, "sample_weight"
        ):
            raise UnsupportedEstimatorError(
                f"action='downweight' needs sample weights, which "
                f"{type(model).__name__} does not take. Use action='drop'."
            )

    def _routed(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Metadata of this object's fit as the estimator's gets them."""
        params = dict(metadata)
        weight = params.pop("sample_weight", None)
        return routed_to_fit(self.estimator, params, owner=self, sample_weight=weight)

    def _explained(
        self, X: Any, y: Any, metadata: dict[str, Any]
    ) -> InfluenceExplainer:
        """The explainer of a clone fitted on these rows."""
        explainer = InfluenceExplainer(
            clone(self.estimator),
            prefit=False,
            deletion=self.deletion,
            # How a row moves the units of columns says nothing about its label.
            preprocessing="held" if self.criterion == "influence" else "auto",
            polish=True if self._needs_minimum else _NEAR_ENOUGH,
            verbose=self.verbose,
        )
        return explainer.fit(X, y, **metadata)

    def _explained_rows(self, rows: Rows) -> InfluenceExplainer:
        return self._explained(rows.X, rows.y, rows.metadata)

    @property
    def _needs_minimum(self) -> bool:
        """Whether the scores are more than an order of the rows among themselves."""
        return self.deletion == "exact" or self.criterion not in _RANKINGS

    def _scores(
        self, explainer: InfluenceExplainer, without: LeftOut, rows: Rows, trusted: Any
    ) -> Any:
        """The criterion of each row, (n,), higher = worse."""
        if callable(self.criterion):
            return valid_scores(self.criterion(explainer, rows.X, rows.y), rows.n)
        if self.criterion == "loo_loss":
            return np.where(without.undetermined, np.nan, without.losses())
        if self.criterion == "self_influence":
            return -np.asarray(explainer.self_influence())
        if trusted is None:
            return self._out_of_fold(rows)
        asked = rows.at(np.flatnonzero(trusted))
        delta = explainer.loo_delta(asked.X, asked.y, on="loss", aggregate="mean")
        return -np.asarray(delta)

    def _out_of_fold(self, rows: Rows) -> Any:
        """Harm of each row to the loss on the folds that were not fitted with it."""
        cv = self.cv
        if isinstance(cv, Integral) and self.random_state is not None:
            folds = KFold
            if is_classifier(unwrapped(self.estimator)) and np.ndim(rows.y) == 1:
                folds = StratifiedKFold
            cv = folds(cv, shuffle=True, random_state=self.random_state)
        return cross_val_influence(
            self.estimator,
            rows.X,
            rows.y,
            cv=cv,
            params=rows.metadata,
            deletion=self.deletion,
            n_jobs=self.n_jobs,
            verbose=self.verbose,
        ).harm

    def _fitted(self, rows: Rows) -> Any:
        """A clone fitted on cleaned rows."""
        with checks.data_errors():
            return clone(self.estimator).fit(
                rows.X, rows.y, **self._routed(rows.metadata)
            )

    def fit_resample(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        trusted: Any = None,
        **params: Any,
    ) -> tuple[Any, Any]:
        """Fit, and return the cleaned rows: a sampler of imbalanced-learn's pipelines.

        Parameters
        ----------
        X, y, sample_weight, trusted, **params
            As for ``fit``.

        Returns
        -------
        X, y : same types as given
            The remaining rows ("drop"), with their index; or all rows with corrected y
            ("relabel").

        Raises
        ------
        InvalidParameterError
            If ``action="downweight"``: weights cannot be returned.

        Notes
        -----
        imbalanced-learn's pipeline passes ``trusted`` and ``sample_weight`` on only by
        metadata routing; without it, they are silently ignored. Import it before this
        package, and request them in both methods:
        ``cleaner.set_fit_request(trusted=True)`` and
        ``cleaner.set_fit_resample_request(trusted=True)``.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> from skinfluence import InfluenceCleaner
        >>> X, y = load_iris(return_X_y=True)
        >>> wrong = np.where(np.arange(150) % 15 == 0, (y + 1) % 3, y)
        >>> cleaner = InfluenceCleaner(LogisticRegression(max_iter=1000))
        >>> X_kept, y_kept = cleaner.fit_resample(X, wrong)
        >>> X_kept.shape
        (138, 4)
        """
        if self.action == "downweight":
            raise InvalidParameterError(
                "fit_resample returns rows, not weights, so action='downweight' cannot "
                "be seen in them. Use action='drop' or 'relabel', or fit."
            )
        # One fit more than a sampler needs; in return nothing is half-fitted.
        self.fit(X, y, sample_weight=sample_weight, trusted=trusted, **params)
        if self.action == "relabel" and len(self.cleaned_indices_):
            return X, relabelled(y, self.cleaned_indices_, self.cleaned_labels_)
        kept = np.flatnonzero(self.support_)
        return take_rows(X, kept), take_rows(y, kept)
