"""The few rows that a conclusion hangs on, found and then checked by a refit."""

import warnings
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from skinfluence._array import array_namespace, like, to_numpy
from skinfluence._objective import Objective
from skinfluence._penalty import Penalty
from skinfluence.deletion import without_rows
from skinfluence.deletion._influential_sets import (
    AbstractTarget,
    LinearTarget,
    LossTarget,
    SetSearch,
)
from skinfluence.exceptions import InvalidParameterError, UnreachedFlipWarning
from skinfluence.explainer._diagnostics import coefficient_names
from skinfluence.explainer._residuals import speak_of_residuals
from skinfluence.solvers import (
    expand,
    has_no_minimum,
    minimise_with_corners,
    on_active_set,
    on_all_features,
    solver_for,
)
from skinfluence.support import checks, host_rows

_REFIT_STEPS = 100
_DIRECTIONS = {"decrease": 1.0, "increase": -1.0}


class SetsMixin:
    """The most influential sets of rows, for ``InfluenceExplainer``."""

    def influential_set(
        self: Any,
        target: Any,
        *,
        k: int | None = None,
        fraction: float | None = None,
        direction: str = "flip",
    ) -> Bunch:
        """The rows whose joint deletion moves a number most, or flips its sign.

        Parameters
        ----------
        target : str, int, tuple or array-like
            What to move.

            - A coefficient: the name of its feature, or its number; "intercept".
              ``(output, name)`` where the model has several outputs.
            - The linear predictor of one row, ``X`` of shape (1, n_features): the
              prediction of least squares, the decision value of two classes, for more
              classes that of the predicted class above the second. ``(output, X)`` for
              one of several outputs.
            - The mean loss of test rows, ``(X, y)``.
        k : int or None, default=None
            How many rows to delete, 1 up to the rows of positive weight less one. For
            "flip", the most to try; half the rows by default.
        fraction : float or None, default=None
            The same as a share of the rows (of positive weight), in ``(0, 1)``, rounded
            down, but at least one row.
        direction : {"flip", "decrease", "increase"}, default="flip"
            The fewest rows without which the number has the other sign; or the ``k``
            rows without which it is smallest, or largest.

        Returns
        -------
        found : Bunch
            ``rows``, numbers of training rows, ascending (fewer than ``k`` where the
            model cannot do without any further one); ``initial``, the number with
            all rows; ``predicted``, without ``rows`` by the constructor's ``deletion``;
            ``achieved``, by one real refit without them (transformers and class weights
            held; NaN where no finite refit exists); ``flipped``, whether the sign of
            ``achieved`` is another (None unless asked for); ``method``, how the rows
            were found; ``lower_bound``, what is proved: for "flip" that no fewer rows
            do it; for "decrease" that no k rows bring the number lower than this, for
            "increase" higher. None where nothing is proved.

        Raises
        ------
        InvalidParameterError
            If the target is unknown, ``k`` or ``fraction`` is missing, out of range or
            both are given, or the sign of a loss or of zero should flip.

        Warns
        -----
        UnreachedFlipWarning
            If no set was found that flips the sign; what came nearest is returned.

        See Also
        --------
        group_delta : The effects of sets that are known.

        Notes
        -----
        Rows are chosen one by one, each by its effect on the model without those chosen
        before; then exchanged in pairs as long as that helps; then, for a flip, put back
        as long as the sign stays. One parameter of least squares or ridge (one feature,
        no intercept) has its exact optimum by Dinkelbach's algorithm. Other coefficients
        and predictions of least squares and ridge have it where all sets can be tried,
        up to 250,000, which is what ``lower_bound`` tells. Elsewhere a smaller set may
        exist: the method is a heuristic, and ``achieved`` the truth about its answer.

        Weighed against each other are at most 2,048 rows at a time, the best by their
        single effects. Where the loss is not quadratic, the model is made anew each time
        an eighth of the rows still to go is chosen; softmax models do without exchanges.
        With L1 penalties the search holds the active set; ``achieved`` does not, and a
        coefficient that would change its sign stops at 0 there.

        Cost: ``n d**2`` for each of a few models, and ``2048**2`` for each row chosen or
        exchanged.

        References
        ----------
        .. [1] Broderick, Giordano & Meager (2020). An automatic finite-sample robustness
           metric. arXiv:2011.14999. Section 2.2.
        .. [2] Kuschnig, Zens & Crespo Cuaresma (2021). Hidden in plain sight: influential
           sets in linear models. CESifo Working Paper 8981. Algorithm 2.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.linear_model import LinearRegression
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = np.arange(5.0)[:, None], np.array([2.0, 1.0, 1.5, 0.5, 4.0])
        >>> explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
        >>> found = explainer.influential_set(0)
        >>> found.rows, found.lower_bound
        (array([4]), 1)
        >>> bool(found.achieved < 0 < found.initial)
        True
        """
        check_is_fitted(self)
        checks.one_of("direction", direction, ("decrease", "increase", "flip"))
        point = on_active_set(self._point)
        objective = point.objective
        asked = _Asked(self, target)
        n_present = int(np.count_nonzero(to_numpy(objective.weight)))
        size = _size(k, fraction, direction, n_present)
        aim = asked.of(objective)
        initial = aim.value(point.theta)
        sign = _sign(direction, initial, aim)
        search = SetSearch(point, self._solver, aim, sign)
        flips = direction == "flip"
        found = search.flipping(size) if flips else search.of_size(size)
        predicted, achieved = initial, initial
        if len(found.rows):
            rows = self._here(found.rows)
            delta = self._deletion(1).group_deltas([rows]).theta[0, ...]
            theta = self._point.theta + delta
            predicted = asked.of(self._point.objective).value(theta)
            achieved = _refitted(self, rows, asked)
        flipped = bool(sign * achieved < 0) if flips else None
        if flips and not flipped:
            _speak_of_unreached(found, size, initial, achieved)
        speak_of_residuals(self._solver)
        bound = found.bound
        if bound is not None and flips:
            bound = int(bound)
        return Bunch(
            rows=found.rows,
            initial=initial,
            predicted=predicted,
            achieved=achieved,
            flipped=flipped,
            lower_bound=bound,
            method=found.method,
        )


class _Asked:
    """A target as the user gave it, and as a function of parameters of any layout."""

    def __init__(self, explainer: Any, target: Any) -> None:
        self.explainer = explainer
        self.output: int | None = None
        self.column: int | None = None  # of the coefficients; -1 is the intercept
        self.design: Any = None  # of the rows asked about
        self.targets: Any = None
        first = target[0] if isinstance(target, tuple) and len(target) == 2 else None
        if first is not None and not _is_number(first):
            self.design = explainer._points(first)
            self.targets = explainer._targets_of(*target)
            return
        if first is not None:
            n_outputs = explainer._model.n_outputs
            checks.at_least("The output of target", first, 0, Integral)
            if first >= n_outputs:
                raise InvalidParameterError(
                    f"target names output {first}, but the model has {n_outputs}."
                )
            self.output, target = int(first), target[1]
        if isinstance(target, str) or _is_number(target):
            self._name(target)
        elif np.ndim(target) == 0:
            raise InvalidParameterError(
                "target must be a coefficient (its name, or its number from 0), a row of "
                f"X to move its prediction, or (X, y) for a mean loss; got {target!r}."
            )
        else:
            self._row(target)

    def _name(self, target: Any) -> None:
        explainer = self.explainer
        given = getattr(explainer, "feature_names_in_", None)
        names = coefficient_names(explainer._model, given)
        if isinstance(target, str):
            if target in names:
                self.column = names.index(target)
            elif (
                target == "intercept"
                and explainer._point.objective.design.has_intercept
            ):
                self.column = -1
            else:
                raise InvalidParameterError(
                    f"target {target!r} is not a coefficient of the model. Its "
                    f"{len(names)} features are {names[:10]}{' ...' * (len(names) > 10)}; "
                    "'intercept' stands for the intercept, where there is one."
                )
        else:
            checks.at_least("target", target, 0, Integral)
            if target >= len(names):
                raise InvalidParameterError(
                    f"target is coefficient {target}, but the model has {len(names)}."
                )
            self.column = int(target)
        self._choose_output()

    def _row(self, target: Any) -> None:
        if hasattr(target, "to_frame"):  # a row of a DataFrame
            target = target.to_frame().T
        elif np.ndim(target) == 1:
            target = np.asarray(target)[None, :]
        self.design = self.explainer._points(target)
        if self.design.n_rows != 1:
            raise InvalidParameterError(
                f"target must be one row of X to move its prediction; got "
                f"{self.design.n_rows} rows. Give (X, y) for a mean loss."
            )
        if not self.explainer._classifies:
            self._choose_output()

    def _choose_output(self) -> None:
        n_outputs = self.explainer._model.n_outputs
        if self.output is None and n_outputs > 1:
            raise InvalidParameterError(
                f"The model has {n_outputs} outputs: say which one, as (output, target)."
            )
        self.output = self.output or 0

    def of(self, objective: Objective) -> AbstractTarget:
        """The target as a function of the parameters of an objective."""
        if self.targets is not None:
            return LossTarget(self._loss(objective))
        layout = objective.layout
        table = np.zeros((layout.n_outputs, layout.width))
        if self.column is not None:
            self._fill(table[self.output or 0], objective)
        else:
            row = to_numpy(objective.design.of(self.design.X).block(slice(0, 1)))[0]
            for output, factor in self._outputs(row, objective):
                table[output] += factor * row
        return LinearTarget(layout.pack(like(table, objective.weight).T))

    def _fill(self, entries: Any, objective: Objective) -> None:
        """Ones and centres, so that ``entries @ theta`` is the coefficient."""
        design = objective.design
        if self.column == -1:
            entries[-1] = 1.0
            entries[:-1] -= to_numpy(design.centre)
            return
        columns = design.columns
        known = np.arange(design.n_features) if columns is None else to_numpy(columns)
        entries[: len(known)] = known == self.column

    def _outputs(self, row: Any, objective: Objective) -> list[tuple[int, float]]:
        """Outputs of the decision value: the predicted class less the second."""
        if self.output is not None:
            return [(self.output, 1.0)]
        point = self.explainer._point
        n_outputs = self.explainer._model.n_outputs
        u = point.objective.design.of(self.design.X).block(slice(0, 1))
        u = to_numpy(u @ point.objective.layout.unpack(point.theta).T)[0, :n_outputs]
        if n_outputs == 1:
            return [(0, 1.0)]
        second, first = np.argsort(u, kind="stable")[-2:]
        return [(int(first), 1.0), (int(second), -1.0)]

    def _loss(self, objective: Objective) -> Objective:
        """The mean loss of the test rows as an objective without a penalty."""
        xp, m = array_namespace(objective.weight), self.design.n_rows
        none = xp.zeros_like(objective.penalty.strength)
        return Objective(
            objective.loss,
            objective.design.of(self.design.X),
            self.targets,
            like(np.full(m, 1.0 / m), objective.weight),
            Penalty(none),
            objective.layout,
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _size(k: Any, fraction: Any, direction: str, n_present: int) -> int:
    """The number of rows asked for."""
    if k is not None and fraction is not None:
        raise InvalidParameterError(
            f"Give k or fraction, not both; got k={k!r} and fraction={fraction!r}."
        )
    if fraction is not None:
        checks.at_least("fraction", fraction, 0.0)
        if not 0 < fraction < 1:
            raise InvalidParameterError(
                f"fraction must lie between 0 and 1, both excluded; got {fraction!r}."
            )
        return max(int(fraction * n_present), 1)
    if k is None:
        if direction == "flip":
            return max(n_present // 2, 1)
        raise InvalidParameterError(
            f"direction={direction!r} needs the number of rows to delete: give k or "
            "fraction."
        )
    checks.at_least("k", k, 1, Integral)
    if k >= n_present:
        raise InvalidParameterError(
            f"k must be less than the number of training rows (of positive weight), "
            f"{n_present}; got {k}."
        )
    return int(k)


def _sign(direction: str, initial: float, aim: AbstractTarget) -> float:
    """+1 to lower the target, -1 to raise it."""
    if direction != "flip":
        return _DIRECTIONS[direction]
    if not aim.linear:
        raise InvalidParameterError(
            "A mean loss has no sign that could flip: use direction='decrease' or "
            "'increase' with k or fraction."
        )
    if initial == 0:
        raise InvalidParameterError(
            "target is 0 already (a coefficient that is not active?): it has no sign "
            "that could flip. Use direction='decrease' or 'increase'."
        )
    return 1.0 if initial > 0 else -1.0


def _refitted(explainer: Any, rows: Any, asked: _Asked) -> float:
    """The target by a refit without rows, polished; NaN where there is none."""
    model, point = explainer._model, on_all_features(on_active_set(explainer._point))
    objective = without_rows(point.objective, rows)
    kept = np.flatnonzero(to_numpy(objective.weight) > 0)
    y = explainer._train_y[kept]
    one_class = is_classifier(model.estimator) and y.ndim == 1 and np.all(y == y[0])
    if one_class or has_no_minimum(objective, objective.outputs(point.theta)):
        return float("nan")
    start = _fitted_start(model, objective, y, kept)
    solver = solver_for("auto", objective)
    narrow = expand(*objective.narrowed(start), solver)
    end = minimise_with_corners(narrow, solver, length=0.0, max_iter=_REFIT_STEPS)
    if end.unbounded:
        return float("nan")
    return asked.of(end.point.objective).value(end.point.theta)


def _fitted_start(model: Any, objective: Objective, y: Any, kept: Any) -> Any:
    """Theta of scikit-learn's own fit to the rows kept; the polish finishes it."""
    if not hasattr(model, "row"):  # several estimators as one: the polish does it all
        return model.theta(objective)
    held = model.row.held(model.estimator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        X, weight = host_rows(objective.design.X), to_numpy(objective.weight)
        held.fit(X[kept], y, sample_weight=weight[kept])
    return replace(model, estimator=held).theta(objective)


def _speak_of_unreached(found: Any, size: int, initial: float, achieved: float) -> None:
    proof = ""
    if found.bound is not None and found.bound > size:
        proof = " None exists: all sets were tried."
    warnings.warn(
        f"No set of up to {size} rows was found whose deletion flips the sign of the "
        f"target: it is {initial:.6g} with all rows, and {achieved:.6g} without the "
        f"{len(found.rows)} that came nearest.{proof} Raise k to try more rows.",
        UnreachedFlipWarning,
        stacklevel=3,
    )
