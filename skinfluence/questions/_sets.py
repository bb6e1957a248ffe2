"""The few rows that a conclusion hangs on, chosen and then checked by a refit."""

from dataclasses import dataclass
from numbers import Integral
from typing import Any, final

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import Bunch

from skinfluence._array import Array, array_namespace, like, to_numpy
from skinfluence._design import Design
from skinfluence._objective import Objective
from skinfluence._penalty import Penalty
from skinfluence._warn import warn
from skinfluence.deletion._influential_sets import (
    AbstractTarget,
    LinearTarget,
    LossTarget,
    SetSearch,
)
from skinfluence.exceptions import InvalidParameterError, UnreachedFlipWarning
from skinfluence.losses import AbstractLoss
from skinfluence.questions._refits import (
    Answers,
    groups_by_refits,
    refuse_derivative,
    warn_of_held,
)
from skinfluence.refit import TestOutputs, host_point, refitted_theta
from skinfluence.solvers import on_active_set, on_all_features
from skinfluence.study import Study
from skinfluence.support import checks, host_rows

_DIRECTIONS = {"decrease": 1.0, "increase": -1.0}


def influential_set(
    study: Study, target: Any, k: int | None, fraction: float | None, direction: str
) -> Bunch:
    """See ``InfluenceExplainer.influential_set``."""
    refuse_derivative(study)
    checks.one_of("direction", direction, ("decrease", "increase", "flip"))
    point = on_active_set(study.point)
    asked = _quantity_of(study, target)
    n_present = int(np.count_nonzero(to_numpy(point.objective.weight)))
    size = _size(k, fraction, direction, n_present)
    aim = asked.of(point.objective)
    initial = aim.value(point.theta)
    sign = _sign(direction, initial, aim)
    search = SetSearch(point, study.solver, aim, sign)
    flips = direction == "flip"
    chosen = search.flipping(size) if flips else search.of_size(size)
    predicted, achieved = initial, initial
    by_refit = _by_refit(study, chosen.rows, asked) if len(chosen.rows) else None
    if by_refit is not None:
        predicted = achieved = by_refit
    elif len(chosen.rows):
        delta = study.deletion(1).group_deltas([study.here(chosen.rows)]).theta[0, ...]
        predicted = asked.of(study.objective).value(study.point.theta + delta)
        achieved = _refitted(study, chosen.rows, asked)
    flipped = bool(sign * achieved < 0) if flips else None
    if flips and not flipped:
        _warn_of_unreached(chosen, size, initial, achieved)
    bound = chosen.bound
    return Bunch(
        rows=chosen.rows,
        initial=initial,
        predicted=predicted,
        achieved=achieved,
        flipped=flipped,
        lower_bound=int(bound) if flips and bound is not None else bound,
        method=chosen.method,
    )


@final
@dataclass(frozen=True, eq=False)
class _LinearQuantity:
    """``sum_k factor_k (features @ coef_k + constant intercept_k)`` over outputs k."""

    features: np.ndarray  # (p,)
    constant: float
    factors: dict[int, float]  # by output
    X: Any = None  # the row of these features as the user gave it; None: a coefficient

    def of_outputs(self, outputs: np.ndarray) -> float:
        """The quantity from the linear outputs of the row, (1, K)."""
        return float(sum(f * outputs[0, k] for k, f in self.factors.items()))

    def of(self, objective: Objective) -> AbstractTarget:
        """The quantity as a function of the parameters of an objective."""
        design, layout = objective.design, objective.layout
        used = slice(None) if design.columns is None else to_numpy(design.columns)
        row = self.features[used] - self.constant * to_numpy(design.centre)
        if design.has_intercept:
            row = np.append(row, self.constant)
        table = np.zeros((layout.n_outputs, layout.width))
        for output, factor in self.factors.items():
            table[output] = factor * row
        return LinearTarget(layout.pack(like(table, objective.weight).T))


@final
@dataclass(frozen=True, eq=False)
class _MeanLoss:
    """The mean loss of test rows."""

    design: Design
    targets: Array
    loss: AbstractLoss
    X: Any  # as the user gave them

    def of_outputs(self, outputs: np.ndarray) -> float:
        """The quantity from their linear outputs, (m, K)."""
        return float(
            np.mean(to_numpy(self.loss.value(to_numpy(self.targets), outputs)))
        )

    def of(self, objective: Objective) -> AbstractTarget:
        """An objective of the test rows, without a penalty."""
        xp, m = array_namespace(objective.weight), self.design.n_rows
        rows = Objective(
            objective.loss,
            objective.design.of(self.design.source),
            self.targets,
            like(np.full(m, 1.0 / m), objective.weight),
            Penalty(xp.zeros_like(objective.penalty.strength)),
            objective.layout,
        )
        return LossTarget(rows)


def _quantity_of(study: Study, target: Any) -> _LinearQuantity | _MeanLoss:
    """What the user gave as ``target``."""
    output, n_outputs = None, study.model.n_outputs
    if isinstance(target, tuple) and len(target) == 2:
        if not _is_number(target[0]):
            X, y = target
            loss = study.objective.loss
            return _MeanLoss(study.design_of(X), study.targets_of(X, y), loss, X)
        output, target = target
        checks.at_least("The output of target", output, 0, Integral)
        if output >= n_outputs:
            raise InvalidParameterError(
                f"target names output {output}, but the model has {n_outputs}."
            )
    row = None
    if isinstance(target, str) or _is_number(target):
        features, constant = _coefficient(study, target)
    elif np.ndim(target) == 0:
        raise InvalidParameterError(
            "target must be a coefficient (its name, or its number from 0), a row of "
            f"X to move its prediction, or (X, y) for a mean loss; got {target!r}."
        )
    else:
        row = _as_table(target)
        features, constant = _features_of(study, row), 1.0
        if study.classifies and output is None:
            return _LinearQuantity(features, constant, _margin(study, features), row)
    if output is None and n_outputs > 1:
        raise InvalidParameterError(
            f"The model has {n_outputs} outputs: say which one, as (output, target)."
        )
    return _LinearQuantity(features, constant, {int(output or 0): 1.0}, row)


def _coefficient(study: Study, target: str | int) -> tuple[np.ndarray, float]:
    """Features and constant of which the linear predictor is a coefficient."""
    names = study.coefficient_names
    features = np.zeros(len(names))
    if target == "intercept" and "intercept" not in names:
        if study.objective.design.has_intercept:
            return features, 1.0
    if isinstance(target, str):
        if target not in names:
            raise InvalidParameterError(
                f"target {target!r} is not a coefficient of the model. Its "
                f"{len(names)} features are {names[:10]}{' ...' * (len(names) > 10)}; "
                "'intercept' stands for the intercept, where there is one."
            )
        target = names.index(target)
    checks.at_least("target", target, 0, Integral)
    if target >= len(names):
        raise InvalidParameterError(
            f"target is coefficient {target}, but the model has {len(names)}."
        )
    features[target] = 1.0
    return features, 0.0


def _as_table(row: Any) -> Any:
    """A row of X as a table of one row."""
    if hasattr(row, "to_frame"):  # a row of a DataFrame
        return row.to_frame().T
    return np.asarray(row)[None, :] if np.ndim(row) == 1 else row


def _features_of(study: Study, row: Any) -> np.ndarray:
    """The features of a table of one row, (p,), as the linear model reads them."""
    rows = host_rows(study.design_of(row).source)
    if rows.shape[0] != 1:
        raise InvalidParameterError(
            f"target must be one row of X to move its prediction; got "
            f"{rows.shape[0]} rows. Give (X, y) for a mean loss."
        )
    return np.asarray(rows.toarray() if issparse(rows) else rows, dtype=float)[0]


def _margin(study: Study, features: np.ndarray) -> dict[int, float]:
    """Outputs of the decision value of a row: the predicted class less the second."""
    n_outputs, objective = study.model.n_outputs, study.objective
    if n_outputs == 1:
        return {0: 1.0}
    outputs = [_LinearQuantity(features, 1.0, {k: 1.0}) for k in range(n_outputs)]
    u = [output.of(objective).value(study.point.theta) for output in outputs]
    second, first = np.argsort(u, kind="stable")[-2:]
    return {int(first): 1.0, int(second): -1.0}


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


def _refitted(
    study: Study, rows: np.ndarray, asked: _LinearQuantity | _MeanLoss
) -> float:
    """The target by a refit without rows, polished; NaN where there is none."""
    point = host_point(study.point)
    objective = point.without(rows)
    y = study.y[np.flatnonzero(objective.weight > 0)]
    if study.picks_class and np.all(y == y[0]):
        return float("nan")
    theta = refitted_theta(study.model, objective, study.y, point.theta)
    if theta is None:
        return float("nan")
    # The target reads no rows of the training set: where the others are is enough.
    return asked.of(on_all_features(study.point).objective).value(study.here(theta))


def _by_refit(
    study: Study, rows: np.ndarray, asked: _LinearQuantity | _MeanLoss
) -> float | None:
    """The target by a refit of the whole estimator, where the rows decide columns.

    None where they do not; and for a coefficient, which a refit has in other units.
    """
    name = ["the chosen rows"]
    places = groups_by_refits(study, name, [rows])
    if not len(places):
        return None
    if asked.X is None:
        warn_of_held(name)
        return None
    outputs = Answers.of(study, TestOutputs(asked.X), places, [rows], name).answers
    if not outputs:  # the refit cannot read the target
        return None
    return float("nan") if outputs[0] is None else asked.of_outputs(outputs[0])


def _warn_of_unreached(chosen: Any, size: int, initial: float, achieved: float) -> None:
    proof = ""
    if chosen.bound is not None and chosen.bound > size:
        proof = " None exists: all sets were tried."
    warn(
        f"No set of up to {size} rows was found whose deletion flips the sign of the "
        f"target: it is {initial:.6g} with all rows, and {achieved:.6g} without the "
        f"{len(chosen.rows)} that came nearest.{proof} Raise k to try more rows.",
        UnreachedFlipWarning,
    )
