"""``InfluenceExplainer``: what did each training row do to this model?"""

from collections.abc import Callable
from dataclasses import replace
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn import get_config
from sklearn.base import (
    BaseEstimator,
    MetaEstimatorMixin,
    TransformerMixin,
    clone,
    is_classifier,
)
from sklearn.metrics import get_scorer
from sklearn.utils import Bunch
from sklearn.utils.metadata_routing import (
    process_routing,
)
from sklearn.utils.validation import check_is_fitted

from skinfluence._array import (
    array_namespace,
    device_of,
    is_foreign,
    moved,
    to_numpy,
)
from skinfluence._delegation import DelegationMixin
from skinfluence._design import Design
from skinfluence._progress import Progress
from skinfluence._rows import map_blocks, row_blocks, training_blocks, working_entries
from skinfluence.deletion import (
    AbstractDeletion,
    Deltas,
    Exact,
    Halley,
    Jackknife,
    Newton,
    following,
)
from skinfluence.exceptions import (
    InvalidParameterError,
    UnfittedEstimatorError,
    UnidentifiedDeletionError,
)
from skinfluence.explainer._diagnostics import (
    blocks_of,
    coefficient_names,
    filled,
    framed,
    refuse_other_models,
)
from skinfluence.explainer._domain import refuse_outside_domain
from skinfluence.explainer._groups import GroupsMixin
from skinfluence.explainer._influential_sets import SetsMixin
from skinfluence.explainer._minimum import at_minimum
from skinfluence.explainer._parameters import check_parameters, near_enough
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
    influence_on_parameters,
    relative_blocks,
    self_influence,
    self_influence_of,
    top_blocks,
)
from skinfluence.solvers import solver_for, widened
from skinfluence.support import (
    checks,
    fewer_rows,
    is_fitted,
    placed,
    read,
    readable,
    reads_features,
    required_row,
    room_on_device,
    smaller_model,
    unwrapped,
    weight_name,
)


class InfluenceExplainer(
    GroupsMixin,
    SetsMixin,
    DelegationMixin,
    MetaEstimatorMixin,
    TransformerMixin,
    BaseEstimator,
):
    """What each training row did to a fitted linear or generalized linear model.

    Influence is the derivative of a quantity in the weight of a training row, by the
    exact Hessian of the training objective; deletion deltas are the change of the
    quantity when the row is left out, without a refit.

    Signs: *influence*: positive = up-weighting the row raises the loss (harmful).
    *Delta*: without the row minus with it, so a positive loss delta means that the row
    was helping.

    Parameters
    ----------
    estimator : estimator
        Any linear model of scikit-learn that minimises a twice differentiable loss:
        least squares, ridge, lasso and elastic net, Bayesian ridge, logistic regression,
        Poisson, Gamma and other Tweedie regressions, Huber's, linear support vector
        machines with squared losses, stochastic gradient descent with smooth losses,
        and those of ``register_estimator``. Alone, one per output in a
        ``OneVsRestClassifier`` or ``MultiOutput...``, as the last step of a ``Pipeline``
        (whose transformers are held as they were fitted), in a
        ``TransformedTargetRegressor`` (losses on the transformed scale) or a
        ``FrozenEstimator``, or as the best estimator of a search. It is never changed.
    prefit : "auto" or bool, default="auto"
        "auto" explains a fitted estimator as it is, and fits a clone of an unfitted
        one. True and False force either.
    deletion : {"newton", "jackknife", "halley", "exact"}, default="newton"
        How deletion deltas are computed. "jackknife" is linear in the influence;
        "newton" takes one Newton step without the row (exact for least squares and
        ridge); "halley" corrects it by third derivatives, often a thousand times
        closer (every loss that has them: not hinges and Huber's); "exact" takes steps
        until each row's certificate is below ``tol``.
    solver : {"auto", "direct", "dual", "cg", "lissa"}, default="auto"
        "direct" factors the Hessian by Cholesky, or by QR of the rows where columns are
        nearly dependent. "dual" factors a matrix of rows instead, for penalised models
        with fewer rows than columns. "cg" needs products with the Hessian only:
        preconditioned conjugate gradients on many columns at once, for models too wide
        for a factor. "lissa" is the stochastic series of the literature, for
        comparison: slow, and right to some per cent. "auto" chooses by sizes and
        memory; ``solver_`` says what.
    damping : float, default=0.0
        Added to the diagonal of the Hessian of the average loss, ``[0, inf)``. 0 leaves
        the curvature exact.
    polish : bool or float, default=True
        Whether to take Newton steps from the estimator's coefficients to the minimum of
        its objective before anything is computed: optimisers stop early, often many
        deletion effects away. A number is the distance, in median deletion effects,
        that is near enough (True: 1e-9): 0.1 saves time where only the order of the
        rows matters. ``estimator`` itself is not touched.
    backend : {"auto", "numpy", "cupy", "torch"}, default="auto"
        Which arrays to compute with. "auto": those of X (CuPy, PyTorch or any other that
        keeps the array API standard), or of the model's ``coef_`` where X is NumPy's.
        The others bring X to the host, to the current CUDA device or to PyTorch's
        default device. Results are arrays of the same library, on the same device.
    tol : float, default=1e-8
        For "exact": the length of the last certified step of each deletion, relative to
        the longer of its delta and the median delta.
    max_iter : int or None, default=None
        Most Newton steps of a polish or an exact deletion; None is 50.
    random_state : int, RandomState instance or None, default=None
        For ``solver="lissa"``, which samples rows.
    n_jobs : int or None, default=None
        Processes for refits of this explainer by ``check_leave_one_out``.
    verbose : int, default=0
        1 reports progress of long work on standard error.

    Attributes
    ----------
    estimator_ : estimator
        What is explained: ``estimator`` itself if it was fitted, else a fitted clone.
    n_train_ : int
        Number of training rows n.
    n_features_in_ : int
        Number of features of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, where X had string names.
    classes_ : ndarray of shape (n_classes,)
        Class labels; classifiers only.
    solver_ : str
        The solver chosen: "direct", "dual", "cg" or "lissa".
    residual_ : float
        Largest relative residual of all columns solved so far; 0 for "direct" and
        "dual", which do not iterate. One warning counts the columns that did not
        converge.
    stationarity_ : float
        Distance of the estimator's coefficients from the minimum of its objective, as a
        Newton step before polishing, over the median deletion effect (of at most 1,000
        evenly spaced rows), both measured by the curvature.
    condition_ : float
        Estimated condition number of the Hessian with centred columns and unit
        diagonal; for "cg", of the preconditioned Hessian.
    effective_dof_ : float
        Sum of the leverages, the effective degrees of freedom. Estimated with random
        signs by "cg" and "lissa".
    n_iter_ : int
        Newton steps computed at the fit; the first measures ``stationarity_``.
    train_index_ : ndarray of shape (n_train,)
        Index of the training DataFrame, else ``0 .. n_train_ - 1``.

    Notes
    -----
    Class weights are held as they were at the fit when a row is deleted, "balanced"
    ones too. Inside ``cross_validate`` and friends the clone is unfitted, so it is
    refitted in each fold. All computation is in float64: X in float32 is read as it
    is, block by block, and gives results within 1e-4 of those of the same X in float64,
    as long as its columns are not nearly dependent (``condition_`` below about 1e6).

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

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **params: Any) -> Self:
        """Read the training rows, and prepare the curvature at the minimum.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_train, n_features)
            The *training* rows of the estimator.
        y : array-like of shape (n_train,) or (n_train, n_outputs)
            Their targets.
        sample_weight : array-like of shape (n_train,) or None, default=None
            The weights that the estimator was, or is to be, fitted with.
        **params : dict
            Further metadata for fitting an unfitted estimator.

        Returns
        -------
        self : InfluenceExplainer

        Raises
        ------
        UnsupportedEstimatorError
            If the model has no row in the support table.
        UnfittedEstimatorError
            If ``prefit=True`` and the estimator is not fitted.
        InvalidDataError, InvalidWeightError, UnknownLabelError, SingleClassError
            If X, y or the weights cannot be used.
        SeparableDataError
            If an unpenalised classifier has no finite optimum on these rows.

        Warns
        -----
        NotStationaryWarning
            If the estimator's coefficients are far from the minimum on these rows.
        RankDeficientWarning
            If unpenalised columns are linearly dependent.

        Notes
        -----
        Cost: ``n d**2 / 2 + d**3 / 3`` multiplications for the curvature and its factor,
        more where polishing moves. X is referenced, not copied: do not change it in
        place as long as the explainer is asked.

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
            self._fit(X, y, sample_weight, params)
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any, params: dict[str, Any]) -> None:
        check_parameters(self)
        required_row(self.estimator)
        reads_X = reads_features(self.estimator)
        checked_X = checks.rows(self, X, reset=True, reads_X=reads_X)
        classifier = is_classifier(unwrapped(self.estimator))
        checked_y = checks.targets(X, y, classifier=classifier)
        if classifier:
            checks.refuse_single_class(checked_y)
        weight = checks.weights(sample_weight, checked_y.shape[0])
        estimator = self._fitted_estimator(X, y, sample_weight, params)
        model = read(estimator)
        rows = checks.known_rows(self, estimator, model, X, checked_X)
        rows = placed(rows, estimator, self.backend)
        objective, theta = model.objective(
            rows, checked_y, weight, centred=not self.damping
        )
        solver = solver_for(self.solver, objective, random_state=self.random_state)
        layout = objective.layout
        with room_on_device(theta, smaller_model(layout.size)):
            minimum = at_minimum(
                objective,
                theta,
                solver if solver.polishes else solver_for("auto", objective),
                damping=self.damping,
                near=near_enough(self.polish),
                max_iter=self._max_iter,
            )
        self.estimator_ = estimator
        self.n_train_ = objective.n_rows
        if not solver.polishes:
            minimum = minimum.prepared_by(solver)
        self.solver_ = solver.name
        self.stationarity_ = minimum.stationarity
        self.condition_ = minimum.point.factor.condition
        self.n_iter_ = minimum.n_steps + 1
        self.train_index_ = _row_labels(X, objective.n_rows)
        if classifier:
            self.classes_ = model.estimator.classes_
        self._model = model
        # Exact deletions may free any feature that a penalty holds at zero.
        exact = self.deletion == "exact"
        self._point = widened(minimum.point) if exact else minimum.point
        self._solver = solver
        self._typical = minimum.typical
        self._train_y = checked_y
        speak_of_residuals(solver)

    @property
    def effective_dof_(self) -> float:
        """Sum of the leverages; made when asked for, which iterations have to."""
        return self._point.factor.effective_dof

    @property
    def residual_(self) -> float:
        """Largest relative residual of all columns solved so far."""
        noted = self._solver.residuals
        return 0.0 if noted is None else noted.largest

    def _fitted_estimator(
        self, X: Any, y: Any, sample_weight: Any, params: dict[str, Any]
    ) -> Any:
        fitted = is_fitted(self.estimator)
        if self.prefit is True and not fitted:
            raise UnfittedEstimatorError(
                f"prefit=True needs a fitted estimator, but this "
                f"{type(self.estimator).__name__} is not fitted. Fit it first, or use "
                "prefit='auto', which fits a clone."
            )
        if fitted and self.prefit is not False:
            return self.estimator
        inner = unwrapped(self.estimator)
        with checks.data_errors():
            given = self._fit_params(sample_weight, params)
            given = {name: readable(inner, value) for name, value in given.items()}
            return clone(self.estimator).fit(
                readable(inner, X), readable(inner, y), **given
            )

    def _fit_params(self, sample_weight: Any, params: dict[str, Any]) -> dict[str, Any]:
        """Metadata for the inner ``fit``, routed where routing is on."""
        given = dict(params)
        if get_config()["enable_metadata_routing"]:
            if sample_weight is not None:
                given["sample_weight"] = sample_weight
            return dict(process_routing(self, "fit", **given).estimator.fit)
        if sample_weight is not None:
            given[weight_name(self.estimator)] = sample_weight
        return given

    @property
    def _max_iter(self) -> int:
        return 50 if self.max_iter is None else int(self.max_iter)

    # --- influence -----------------------------------------------------------------

    def transform(self, X: Any, y: Any = None) -> Any:
        """Influence of every training row on every row of X.

        On the loss if ``y`` is given; otherwise on the predicted value (regressors), the
        decision value (two classes) or the decision value of the predicted class (more).

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to ask about.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Their targets.

        Returns
        -------
        influence : ndarray of shape (n_samples, n_train)
            Positive: up-weighting the training row raises the loss (harmful), or the
            value. With several outputs and no ``y``, one such matrix per output stands
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
        check_is_fitted(self)
        names = [f"row_{label}" for label in self.train_index_]
        n_outputs = self._n_columns
        if n_outputs > 1:
            names = [f"{name}_output_{k}" for k in range(n_outputs) for name in names]
        return np.asarray(names, dtype=object)

    @property
    def _n_columns(self) -> int:
        """Matrices that stand side by side where no target is given."""
        return 1 if self._picks_class else self._model.n_outputs

    def influence(
        self,
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
        self, X: Any, y: Any = None, *, on: str = "auto", aggregate: str | None = None
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
        self,
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

    def param_influence(self, rows: Any = None) -> Bunch:
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
        xp, bounds = array_namespace(self._point.theta), []

        def influence(some: Any) -> Any:
            found = influence_on_parameters(self._point, some)
            bounds.append(self._error_bound(found, xp.zeros_like(found)))
            return found

        theta = self._blockwise(self._rows(rows), influence)
        return Bunch(
            **self._parameters(theta),
            n_steps=self._here(np.zeros(theta.shape[0], dtype=np.int64)),
            error_bound=xp.concat(bounds),
        )

    def loo_params(self, rows: Any = None) -> Bunch:
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
            verdicts.watch(some, found)
            bounds.append(self._error_bound(found.theta, found.last_step))
            parts.append(found._replace(theta=None, last_step=None))
            return found.theta

        theta = self._blockwise(chosen, deltas)
        verdicts.speak(strict=rows is not None)
        speak_of_residuals(self._solver)
        return Bunch(
            **self._parameters(theta),
            n_steps=xp.concat([part.n_steps for part in parts], axis=0),
            error_bound=xp.concat(bounds, axis=0),
            **_active_set_changes(parts),
        )

    def self_influence(self) -> Any:
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
            self._rows(None), lambda some: self_influence(self._point, some)
        )

    def score_samples(self, X: Any, y: Any = None) -> Any:
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

    def feature_influence(self, X: Any, y: Any, rows: Any) -> Any:
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
        >>> X, y = np.arange(4.0)[:, None], np.array([0.0, 1.0, 2.0, 5.0])
        >>> explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
        >>> explainer.feature_influence([[4.0]], [7.0], rows=[3]).shape
        (1, 1)
        """
        design, quantities = self._asked(X, y, "loss", None)
        chosen = np.arange(self.n_train_) if rows is None else self._rows(rows)
        return feature_influence(self._point, design, quantities[0], self._here(chosen))

    def diagnostics(self) -> Any:
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

    # --- leave-one-out predictions ---------------------------------------------------

    def loo_predict(self, method: str = "predict") -> Any:
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

    def _reader(self, method: str) -> Any:
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

    def _predictions(self, found: Any, method: str, lost: Any) -> Any:
        """Predictions without those of lost rows, where the arrays live."""
        if isinstance(found, list):  # one per output
            return [self._predictions(part, method, lost) for part in found]
        if found.dtype.kind == "f" and not (method == "predict" and self._classifies):
            found[lost] = np.nan
        return self._here(found) if found.dtype.kind in "fiub" else found

    def _here(self, values: Any) -> Any:
        """Values of the host in the namespace and on the device of the rows."""
        return moved(values, self._point.theta)

    def _loo_outputs(self) -> tuple[Any, Any]:
        """Outputs of each row without it, and the mask of rows without any; host arrays."""
        deletion, verdicts = self._deletion(self.n_train_), Verdicts()
        objective, parts = self._point.objective, []
        design, layout = objective.design, objective.layout

        def asked(rows: slice) -> Any:
            return rows, deletion.outputs(rows), deletion.missed_changes(rows)

        blocks = training_blocks(design, layout.n_outputs * layout.size)
        alone = self.deletion == "exact"  # it reports progress, in order
        for rows, (u, unidentified, unbounded), missed in map_blocks(
            asked, blocks, design, alone=alone
        ):
            verdicts.add(rows, unidentified, unbounded, changing=missed)
            parts.append((to_numpy(u), to_numpy(unidentified | unbounded)))
        verdicts.speak()
        u, lost = (np.concatenate(column) for column in zip(*parts, strict=True))
        return u[:, : self._model.n_outputs], lost

    # --- below the surface -----------------------------------------------------------

    @property
    def _classifies(self) -> bool:
        return is_classifier(self._model.estimator)

    @property
    def _picks_class(self) -> bool:
        """Whether a prediction is one class, and not several labels."""
        return self._classifies and self._train_y.ndim == 1

    def _asked(
        self, X: Any, y: Any, on: str, aggregate: str | None
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

    def _points(self, X: Any) -> Design:
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

    def _targets_of(self, X: Any, y: Any) -> Any:
        y = checks.targets(X, y, classifier=self._classifies)
        return self._here(self._model.targets(y))

    def _deletion(self, n_rows: int) -> AbstractDeletion:
        if self.deletion == "jackknife":
            return Jackknife(self._point)
        if self.deletion == "newton":
            return following(Newton(self._point))
        if self.deletion == "halley":
            return following(Halley.of(self._point))
        exact = Exact(
            self._point,
            self._solver,
            typical=self._typical,
            tol=self.tol,
            max_iter=self._max_iter,
            progress=Progress("exact deletion", n_rows, verbose=self.verbose),
        )
        return following(exact)

    def _influence_blocks(
        self,
        design: Design,
        quantity: AbstractQuantity,
        aggregate: str | None,
        relative: bool,
    ) -> Any:
        blocks = influence_blocks(self._point, design, quantity, aggregate)
        return relative_blocks(self._point, blocks) if relative else blocks

    def _delta_blocks(
        self,
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
        )

    def _room_for(self, design: Design, quantities: list[Any]) -> Any:
        """Advice where the matrix of an answer does not fit a device."""
        numbers = self.n_train_ * len(quantities)
        advice = fewer_rows(design.n_rows, numbers)
        return room_on_device(self._point.theta, advice)

    def _empty(self, n_points: int, n_quantities: int, aggregate: str | None) -> Any:
        """Room for the effects of all training rows, one quantity beside the other."""
        place, n = self._point.theta, self.n_train_ * n_quantities
        shape = (n,) if aggregate else (n_points, n)
        xp = array_namespace(place)
        return xp.empty(shape, dtype=xp.float64, device=device_of(place))

    def _fill(self, found: Any, blocks: Any, i: int, points: tuple[Any, ...]) -> None:
        """Write blocks of training rows where they stay: quantity i, some points."""
        for rows, values in blocks:
            first = i * self.n_train_ + rows.start
            found[(*points, slice(first, first + values.shape[-1]))] = values

    def _check_top(self, k: int, order: str, quantity: str, relative: bool) -> None:
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

    def _point_blocks(self, n_points: int) -> list[slice]:
        """Slices of test rows whose blocks of effects fit the working memory."""
        layout = self._point.objective.layout
        numbers = layout.n_groups * layout.size + 4 * 4096
        size = max(working_entries() // numbers, 16)
        starts = range(0, n_points, size)
        return [slice(first, min(first + size, n_points)) for first in starts]

    def _rows(self, rows: Any) -> Any:
        """Indices of training rows; None for all."""
        check_is_fitted(self)
        return None if rows is None else checks.indices(rows, self.n_train_)

    def _blockwise(self, rows: Any, function: Callable[[Any], Any]) -> Any:
        """Values of indices, or of all rows for None, block by block in one array."""
        layout, place = self._point.objective.layout, self._point.theta
        n_rows = self.n_train_ if rows is None else len(rows)
        whole = None
        for block in row_blocks(
            max(n_rows, 1), layout.n_groups * layout.size, place=place
        ):
            part = function(block if rows is None else self._here(rows[block]))
            if whole is None:
                shape = (n_rows, *part.shape[1:])
                whole = array_namespace(place).empty(
                    shape, dtype=part.dtype, device=device_of(part)
                )
            whole[block, ...] = part
        return whole

    def _parameters(self, theta: Any) -> dict[str, Any]:
        """Vectors (b, G, D) by name, in the shapes of ``coef_`` and ``intercept_``."""
        objective = self._point.objective
        return self._model.shaped(
            *objective.design.to_estimator(objective.layout.unpack(theta))
        )

    def _error_bound(self, theta: Any, last_step: Any) -> Any:
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


def _row_labels(X: Any, n_rows: int) -> Any:
    """Index of a DataFrame, else 0 to n - 1."""
    if hasattr(X, "iloc") and hasattr(X, "index"):
        return np.asarray(X.index)
    return np.arange(n_rows)
