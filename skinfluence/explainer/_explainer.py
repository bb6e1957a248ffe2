"""``InfluenceExplainer``: what did each training row do to this model?"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Self

import numpy as np
from sklearn import get_config
from sklearn.base import (
    BaseEstimator,
    MetaEstimatorMixin,
    TransformerMixin,
    is_classifier,
)

from skinfluence import support
from skinfluence._array import is_foreign
from skinfluence._delegation import DelegationMixin
from skinfluence._following import AbstractFollowing
from skinfluence.exceptions import UnfittedEstimatorError, UnsupportedEstimatorError
from skinfluence.explainer._about_groups import AboutGroups
from skinfluence.explainer._about_points import AboutPoints
from skinfluence.explainer._about_rows import AboutRows
from skinfluence.explainer._containers import in_container
from skinfluence.explainer._parameters import check_parameters, near_enough
from skinfluence.explainer._rows_of_fit import rows_of_fit
from skinfluence.explainer._targets import following_targets
from skinfluence.preprocessing import AS_ASKED, Followed, follow
from skinfluence.refit import without_draws
from skinfluence.solvers import on_all_features, solver_for
from skinfluence.study import (
    Fitted,
    Options,
    Study,
    TrainingFeatures,
    at_minimum,
    listening,
    study_of,
)
from skinfluence.support import checks


class InfluenceExplainer(
    AboutPoints,
    AboutRows,
    AboutGroups,
    DelegationMixin,
    MetaEstimatorMixin,
    TransformerMixin,
    BaseEstimator,
):
    """What each training row did to a fitted linear or generalized linear model.

    Influence is the derivative of a quantity with respect to the weight of a training
    row, with the exact Hessian of the training objective. A deletion delta is the change
    of the quantity when the row is deleted, computed without a refit.

    Signs: *influence*: positive = up-weighting the row raises the loss (harmful).
    *Delta*: without the row minus with it, so a negative loss delta is harmful too.

    Parameters
    ----------
    estimator : estimator
        Any linear model of scikit-learn that minimises a twice differentiable loss:
        least squares, ridge, lasso and elastic net, Bayesian ridge, logistic regression,
        Poisson, Gamma and other Tweedie regressions, Huber's, linear support vector
        machines with squared losses, stochastic gradient descent with smooth losses,
        and those of ``register_estimator``. Alone, one per output in a
        ``OneVsRestClassifier`` or ``MultiOutput...``, as the last step of a ``Pipeline``
        (see ``preprocessing``), in a
        ``TransformedTargetRegressor`` (losses on the transformed scale) or a
        ``FrozenEstimator``, or as the best estimator of a search. It is never changed.
    prefit : "auto" or bool, default="auto"
        "auto" explains a fitted estimator as it is, and fits a clone of an unfitted
        one. True requires a fitted estimator; False always fits a clone.
    deletion : {"newton", "jackknife", "halley", "exact"}, default="newton"
        How deletion deltas are computed. "jackknife" is linear in the influence.
        "newton" takes one Newton step without the row, which is exact for least squares
        and ridge. "halley" corrects it by third derivatives, which is often a thousand
        times closer; hinge and Huber losses have none. "exact" takes steps until each
        row's certificate is below ``tol``.
    preprocessing : {"auto", "held", "refitted"}, default="auto"
        What happens to the transformers of a pipeline, and to balanced class weights,
        when a row leaves. "auto": those whose change is known are learned again, as
        ``clone(estimator).fit`` without the row would, and the others are held as they
        were fitted; see ``followed_steps_`` and ``held_steps_``. Deletions of the few
        rows that decide which columns a transformer makes are refits. With imputed gaps
        and tf-idf under a norm, "newton" and "halley" are of first order in how other
        rows change, and "exact" refits for each deletion. "held" holds all.
        "refitted" learns all again: where one has no rule, each deletion is a refit of
        the estimator with ``deletion="exact"``, and an error that names the transformer
        and the reason with any other.
    solver : {"auto", "direct", "dual", "cg", "lissa"}, default="auto"
        "direct" factors the Hessian by Cholesky, or by QR of the rows if columns are
        nearly dependent. "dual" factors a matrix of rows instead, for penalised models
        with fewer rows than columns. "cg" uses preconditioned conjugate gradients, which
        need only products with the Hessian, for models too wide for a factor. "lissa" is
        the stochastic series of the literature, for comparison: slow, with an error of
        some per cent. "auto" chooses by size and memory; see ``solver_``.
    damping : float, default=0.0
        Added to the diagonal of the Hessian of the average loss. Valid range
        ``[0, inf)``; 0 leaves the curvature exact.
    polish : bool or float, default=True
        Whether to take Newton steps from the estimator's coefficients to the minimum of
        its objective before anything is computed: optimisers stop early, often many
        deletion effects away. A float is the distance, in median deletion effects, at
        which to stop (True: 1e-9); 0.1 saves time if only the ranking of rows matters.
        ``estimator`` itself is not changed.
    backend : {"auto", "numpy", "cupy", "torch"}, default="auto"
        Which arrays to compute with. "auto": those of X (CuPy, PyTorch or any other
        library of the array API standard), or of the model's ``coef_`` if X is a NumPy
        array. The others copy X to the host, to the current CUDA device or to PyTorch's
        default device. Results are arrays of the same library on the same device.
    tol : float, default=1e-8
        For "exact": the length of the last certified step of each deletion, relative to
        the longer of its delta and the median delta.
    max_iter : int or None, default=None
        Maximum number of Newton steps of a polish or an exact deletion; None is 50.
    random_state : int, RandomState instance or None, default=None
        For ``solver="lissa"``, which samples rows.
    n_jobs : int or None, default=None
        Processes for refits of this explainer by ``check_leave_one_out``.
    verbose : int, default=0
        1 reports progress of long work on standard error.

    Attributes
    ----------
    estimator_ : estimator
        The explained model: ``estimator`` itself if it was fitted, else a fitted clone.
    n_train_ : int
        Number of training rows n.
    n_features_in_ : int
        Number of features of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had string names.
    classes_ : ndarray of shape (n_classes,)
        Class labels; classifiers only.
    solver_ : str
        The solver chosen: "direct", "dual", "cg" or "lissa".
    residual_ : float
        Largest relative residual of all right-hand sides solved so far; 0 for "direct"
        and "dual", which do not iterate. One warning counts the right-hand sides that
        did not converge.
    stationarity_ : float
        Distance of the estimator's coefficients from the minimum of its objective: the
        length of the first Newton step over the median length of the deletion effects
        (of at most 1,000 evenly spaced rows), in the norm of the Hessian.
    condition_ : float
        Estimated condition number of the Hessian with centred columns and unit
        diagonal; for "cg", of the preconditioned Hessian.
    effective_dof_ : float
        Sum of the leverages, the effective degrees of freedom. "cg" and "lissa" estimate
        it with random signs.
    n_iter_ : int
        Newton steps computed by ``fit``; the first measures ``stationarity_``.
    followed_steps_ : list of str
        Transformers that are learned again without a row, by their names in
        ``get_params``, those inside another as ``columns__scale``.
    held_steps_ : list of str
        Transformers that are held as they were fitted. Reasons are in
        ``held_reasons_``, a dict.
    train_index_ : ndarray of shape (n_train,)
        Index of the training DataFrame, else ``0 .. n_train_ - 1``.

    Notes
    -----
    Class weights of "balanced" are learned again when a row leaves, as scalers are; the
    name ``class_weight`` in ``followed_steps_`` or ``held_steps_`` stands for them. Inside
    ``cross_validate`` and similar functions the clone is unfitted, so it is
    refitted in each fold. All computations are in float64. X in float32 is converted
    block by block, and gives results within 1e-4 of those of the same X in float64 if
    its columns are not nearly dependent (``condition_`` below about 1e6).

    References
    ----------
    .. [1] Koh & Liang (2017). Understanding black-box predictions via influence
       functions. ICML. Equations 1 and 2.
    .. [2] Cook & Weisberg (1982). Residuals and influence in regression. Chapter 5.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skinfluence import InfluenceExplainer
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), LogisticRegression())
    >>> explainer = InfluenceExplainer(model).fit(X[:400], y[:400])
    >>> harm = explainer.influence(X[400:], y[400:], aggregate="mean")
    >>> harm.shape
    (400,)
    """

    def __init__(
        self,
        estimator: Any,
        *,
        prefit: Any = "auto",
        deletion: str = "newton",
        preprocessing: str = "auto",
        solver: str = "auto",
        damping: float = 0.0,
        polish: Any = True,
        backend: str = "auto",
        tol: float = 1e-8,
        max_iter: int | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.prefit = prefit
        self.deletion = deletion
        self.preprocessing = preprocessing
        self.solver = solver
        self.damping = damping
        self.polish = polish
        self.backend = backend
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    # --- fitting -------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        offset: Any = None,
        **params: Any,
    ) -> Self:
        """Read the training rows, and prepare the curvature at the minimum.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_train, n_features)
            The *training* rows of the estimator.
        y : array-like of shape (n_train,) or (n_train, n_outputs)
            Their targets.
        sample_weight : array-like of shape (n_train,) or None, default=None
            The weights that the estimator was or will be fitted with. With metadata
            routing they are routed, and those that reach the linear model count.
        offset : array-like of shape (n_train,) or (n_train, n_outputs), default=None
            Added to the linear predictor of each row, in its unit: for example the log
            exposure of a Poisson regression. The ``fit`` of an unfitted estimator must
            accept it. Test points have none.
        **params : dict
            Further metadata for fitting an unfitted estimator. Weights may be among
            them, by the name of a step (``ridge__sample_weight``) or the name that the
            model requests; for a fitted estimator, too.

        Returns
        -------
        self : InfluenceExplainer

        Raises
        ------
        UnsupportedEstimatorError
            If the model has no row in the support table, or a step changes the rows that
            it is fitted to in a way that is not known.
        InvalidParameterError
            If a parameter is out of range, or weights are given twice and differ.
        UnfittedEstimatorError
            If ``prefit=True`` and the estimator is not fitted.
        InvalidDataError, InvalidWeightError, UnknownLabelError, SingleClassError
            If X, y or the weights cannot be used.
        SeparableDataError
            If an unpenalised classifier has no finite optimum on these rows.

        Warns
        -----
        NotStationaryWarning
            If the estimator's coefficients are far from the minimum on these rows; or if
            a step gave it other rows in its fit, which are not known.
        DoubtfulInputWarning
            If ``preprocessing="refitted"`` and a step is held as it draws at random.
        RankDeficientWarning
            If unpenalised columns are linearly dependent.

        Notes
        -----
        Cost: ``n d**2 / 2 + d**3 / 3`` multiplications for the curvature and its factor,
        more if the polish takes steps. Where a step has a ``fit_transform`` of its own,
        which may give the model other rows than ``transform``, a fitted estimator's steps
        are fitted again, twice if they do. X is referenced, not copied: do not change it in
        place while the explainer is in use.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_diabetes(return_X_y=True)
        >>> explainer = InfluenceExplainer(Ridge(alpha=0.1)).fit(X, y)
        >>> explainer.n_train_, explainer.solver_
        (442, 'direct')
        """
        with checks.unchanged_on_failure(self):
            self._fit(X, y, sample_weight, offset, params)
        return self

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, offset: Any, params: dict[str, Any]
    ) -> None:
        check_parameters(self)
        support.required_row(self.estimator)
        reads_X = support.reads_features(self.estimator)
        checked_X = checks.rows(self, X, reset=True, reads_X=reads_X)
        classifier = is_classifier(support.unwrapped(self.estimator))
        checked_y = checks.targets(X, y, classifier=classifier)
        if classifier:
            checks.refuse_single_class(checked_y)
        by_row = {"sample_weight": sample_weight, "offset": offset}
        inner, prefit = self.estimator, self._is_prefit()
        if prefit:
            given = support.of_fitted_model(inner, params, owner=self, **by_row)
            params = support.given_to_fit(inner, params, owner=self, **by_row)
        else:
            params = support.routed_to_fit(inner, params, owner=self, **by_row)
            given = support.of_model(inner, params)
        index = getattr(X, "index", None)
        checks.warn_of_other_order(index, offset=given.get("offset"))
        weight = checks.weights(given.get("sample_weight"), checked_y.shape[0], index)
        estimator, outputs = inner, None
        if not prefit:
            estimator, outputs = self._fitted_clone(X, y, params)
        as_given = self.preprocessing == "held"
        weight = support.as_drawn(weight, estimator, rows_as_given=as_given)
        model = support.read(estimator)
        offset = checks.offsets(
            given.get("offset"), checked_y.shape[0], model.n_outputs
        )
        whole = support.WholeFit(estimator, X, checked_y, weight, offset, params)
        if self.preprocessing == "refitted":
            whole.refuse_steps()
        in_fit = rows_of_fit(whole, outputs)
        rows = in_fit.X
        if rows is None:
            rows = checks.known_rows(self, estimator, model, X, checked_X)
        rows = support.placed(rows, estimator, self.backend)
        followed, targets = self._followed(estimator, model, rows, checked_y, params, X)
        followed = in_fit.naming_unknown(followed)
        with checks.in_range():
            objective, theta = model.objective(
                rows,
                checked_y,
                weight,
                offset,
                centred=not self.damping,
                following=followed.following,
                balances=support.CLASS_WEIGHT in followed.followed_steps,
                gaps=followed.gaps,
            )
        solver = solver_for(self.solver, objective, random_state=self.random_state)
        with (
            checks.in_range(),
            listening(solver),
            support.room_on_device(theta, support.smaller_model, objective.layout.size),
        ):
            minimum = at_minimum(
                objective,
                theta,
                solver if solver.polishes else solver_for("auto", objective),
                damping=self.damping,
                near=near_enough(self.polish),
                max_iter=self._max_iter,
                same_rows=not in_fit.unknown,
            )
            if not solver.polishes:
                minimum = minimum.prepared_by(solver)
        in_fit.warn_of_unknown(minimum.stationarity)
        self.estimator_ = estimator
        self.n_train_ = objective.n_rows
        self.solver_ = solver.name
        self.stationarity_ = minimum.stationarity
        self.condition_ = minimum.point.factor.condition
        self.n_iter_ = minimum.n_steps + 1
        self.train_index_ = _row_labels(X, objective.n_rows)
        refits_held = self.preprocessing == "refitted" and bool(followed.held_steps)
        following = followed.following
        decided = following is not None and following.decides() is not None
        drawing: tuple[str, ...] = ()
        if refits_held:  # a step without a rule is fitted again, unless it draws
            drawing = without_draws(whole.recording(in_fit.outputs)).held
        if classifier:
            self.classes_ = model.estimator.classes_
        if self.deletion == "exact":  # it may free what a penalty holds at zero
            minimum = minimum._replace(point=on_all_features(minimum.point))
        self._study = Study(
            minimum,
            model,
            Fitted(estimator, weight, params, in_fit.outputs),
            solver,
            Options(
                self.deletion,
                self.tol,
                self._max_iter,
                self.polish,
                self.n_jobs,
                self.random_state,
                self.verbose,
                self.preprocessing,
            ),
            checked_y,
            self.train_index_,
            TrainingFeatures.of(self),
            followed,
            X if refits_held or decided or followed.spreads else None,
            drawing,
            targets,
        )
        self.followed_steps_ = self._study.followed_steps
        self.held_steps_ = self._study.held_steps
        self.held_reasons_ = self._study.held_reasons

    def _followed(
        self,
        estimator: BaseEstimator,
        model: Any,
        rows: Any,
        y: Any,
        params: dict[str, Any],
        X: Any,
    ) -> tuple[Followed, AbstractFollowing | None]:
        """What is learned again without rows, and what is held; bad wishes refused.

        And how the targets move.
        """
        shifts, mode = model.absorbs_shifts, self.preprocessing
        followed = follow(
            model.transformer,
            rows,
            params,
            absorbs_shifts=shifts,
            mode=mode,
            X=None if is_foreign(X) else X,
        )
        followed = followed.renamed(partial(support.path_of_step, estimator))
        sampling = support.samplers(estimator)
        draws = "which rows it draws may change when a row leaves"
        followed = followed.holding(dict.fromkeys(sampling, draws))
        if support.balances(support.unwrapped(estimator)):
            reason = model.reason_against_balancing(y)
            if sampling:
                reason = "they count the rows that a sampler has drawn"
            reason = AS_ASKED if mode == "held" else reason
            followed = followed.with_step(support.CLASS_WEIGHT, reason)
        names = support.steps_of_targets(estimator)
        followed, targets = following_targets(followed, names, model, y, mode)
        if mode == "refitted" and followed.held_steps and self.deletion != "exact":
            raise UnsupportedEstimatorError(
                f"preprocessing='refitted' with deletion={self.deletion!r} needs to know "
                "how each step moves without a row, which is not known of "
                f"{followed.in_words()}. Use deletion='exact', which refits the estimator "
                "for each deletion, or preprocessing='auto', which holds these steps."
            )
        return followed, targets

    @property
    def _max_iter(self) -> int:
        return 50 if self.max_iter is None else int(self.max_iter)

    @property
    def effective_dof_(self) -> float:
        """Sum of the leverages, computed on first access."""
        return study_of(self).point.factor.effective_dof

    @property
    def residual_(self) -> float:
        """Largest relative residual of all right-hand sides solved so far."""
        residuals = study_of(self).solver.residuals
        return 0.0 if residuals is None else residuals.largest

    def _is_prefit(self) -> bool:
        fitted = support.is_fitted(self.estimator)
        if self.prefit is True and not fitted:
            raise UnfittedEstimatorError(
                f"prefit=True needs a fitted estimator, but this "
                f"{type(self.estimator).__name__} is not fitted. Fit it first, or use "
                "prefit='auto', which fits a clone."
            )
        return fitted and self.prefit is not False

    def _fitted_clone(
        self, X: Any, y: Any, params: dict[str, Any]
    ) -> tuple[BaseEstimator, Mapping[str, support.TrainingOutput] | None]:
        """A fitted clone, and the outputs of its steps that cross-fit."""
        inner = support.unwrapped(self.estimator)
        with support.naming_bad_targets(self.estimator, y):
            given = {
                name: support.readable(inner, value) for name, value in params.items()
            }
            return support.fitted_clone(
                self.estimator,
                support.readable(inner, X),
                support.readable(inner, y),
                **given,
            )

    # --- as a transformer ------------------------------------------------------------

    def transform(self, X: Any, y: Any = None) -> Any:
        """Influence of every training row on every row of X.

        On the loss if ``y`` is given; otherwise on the predicted value (regressors), the
        decision value (two classes) or the decision value of the predicted class (more).

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Test rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Their targets.

        Returns
        -------
        influence : ndarray of shape (n_samples, n_train)
            Positive: up-weighting the training row raises the loss (harmful), or the
            value. With several outputs and no ``y``, the matrices of the outputs are
            side by side.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_diabetes(return_X_y=True)
        >>> explainer = InfluenceExplainer(Ridge(alpha=0.1)).fit(X[:300], y[:300])
        >>> explainer.transform(X[300:], y[300:]).shape
        (142, 300)
        """
        return self.influence(X, y)

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Names of the columns of ``transform``: one per training row.

        Parameters
        ----------
        input_features : ignored
            For scikit-learn's interface.

        Returns
        -------
        names : ndarray of str
            ``row_<label>`` by ``train_index_``; with several outputs
            ``row_<label>_output_<k>``, output by output.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_diabetes(return_X_y=True)
        >>> explainer = InfluenceExplainer(Ridge(alpha=0.1)).fit(X, y)
        >>> explainer.get_feature_names_out()[:2]
        array(['row_0', 'row_1'], dtype=object)
        """
        study = study_of(self)
        names = [f"row_{label}" for label in study.labels]
        if study.n_columns > 1:
            outputs = range(study.n_columns)
            names = [f"{name}_output_{k}" for k in outputs for name in names]
        return np.asarray(names, dtype=object)

    def set_output(self, *, transform: str | None = None) -> Self:
        """Choose the container of ``transform`` and of results about groups.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"} or None, default=None
            "pandas" and "polars" give frames whose columns are named after training
            rows or groups. Aggregated results about groups are a pandas Series, or a
            polars frame of one row. None keeps the current choice.

        Returns
        -------
        self : InfluenceExplainer

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_diabetes(return_X_y=True)
        >>> explainer = InfluenceExplainer(Ridge(alpha=0.1)).fit(X, y)
        >>> _ = explainer.set_output(transform="pandas")
        >>> thirds = ["first", "second"] * 221
        >>> delta = explainer.group_delta(X, y, groups=thirds, aggregate="mean")
        >>> list(delta.index)
        ['first', 'second']
        """
        super().set_output(transform=transform)
        if transform is not None:
            self._container = transform
        return self

    def __sklearn_clone__(self) -> Self:
        other = super().__sklearn_clone__()
        if hasattr(self, "_container"):
            other._container = self._container
        return other

    def _labelled(
        self, values: Any, columns: Callable[[], list[str]], index: Any = None
    ) -> Any:
        """Values as ``set_output`` asks for them."""
        kind = getattr(self, "_container", get_config()["transform_output"])
        if kind == "default":
            return values
        return in_container(kind, values, columns(), index)


def _row_labels(X: Any, n_rows: int) -> Any:
    """Index of a DataFrame, else 0 to n - 1."""
    if hasattr(X, "iloc") and hasattr(X, "index"):
        return np.asarray(X.index)
    return np.arange(n_rows)
