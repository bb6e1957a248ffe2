"""The few rows that a conclusion hangs on, chosen and then checked by a refit."""

from numbers import Integral
from typing import Any, final

import numpy as np
from sklearn.utils import Bunch

from skinfluence._array import array_namespace, like, to_numpy
from skinfluence._objective import Objective
from skinfluence._penalty import Penalty
from skinfluence._warn import warn
from skinfluence.deletion import without_rows
from skinfluence.deletion._influential_sets import (
    AbstractTarget,
    LinearTarget,
    LossTarget,
    SetSearch,
)
from skinfluence.exceptions import InvalidParameterError, UnreachedFlipWarning
from skinfluence.refit import host_point, refitted_theta
from skinfluence.solvers import on_active_set, on_all_features
from skinfluence.study import Study
from skinfluence.support import checks

_DIRECTIONS = {"decrease": 1.0, "increase": -1.0}


def influential_set(
    study: Study, target: Any, k: int | None, fraction: float | None, direction: str
) -> Bunch:
    """See ``InfluenceExplainer.influential_set``."""
    checks.one_of("direction", direction, ("decrease", "increase", "flip"))
    point = on_active_set(study.point)
    asked = _Target(study, target)
    n_present = int(np.count_nonzero(to_numpy(point.objective.weight)))
    size = _size(k, fraction, direction, n_present)
    aim = asked.of(point.objective)
    initial = aim.value(point.theta)
    sign = _sign(direction, initial, aim)
    search = SetSearch(point, study.solver, aim, sign)
    flips = direction == "flip"
    chosen = search.flipping(size) if flips else search.of_size(size)
    predicted, achieved = initial, initial
    if len(chosen.rows):
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
class _Target:
    """A target as the user gave it, and as a function of parameters of any layout."""

    def __init__(self, study: Study, target: Any) -> None:
        self.study = study
        self.output: int | None = None
        self.column: int | None = None  # of the coefficients; -1 is the intercept
        self.design: Any = None  # of the rows asked about
        self.targets: Any = None
        first = target[0] if isinstance(target, tuple) and len(target) == 2 else None
        if first is not None and not _is_number(first):
            self.design = study.design_of(first)
            self.targets = study.targets_of(*target)
            return
        if first is not None:
            n_outputs = study.model.n_outputs
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
        names = self.study.coefficient_names
        if isinstance(target, str):
            if target in names:
                self.column = names.index(target)
            elif target == "intercept" and self.study.objective.design.has_intercept:
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
        self.design = self.study.design_of(target)
        if self.design.n_rows != 1:
            raise InvalidParameterError(
                f"target must be one row of X to move its prediction; got "
                f"{self.design.n_rows} rows. Give (X, y) for a mean loss."
            )
        if not self.study.classifies:
            self._choose_output()

    def _choose_output(self) -> None:
        n_outputs = self.study.model.n_outputs
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
            row = to_numpy(objective.design.of(self.design.source).block(slice(0, 1)))[
                0
            ]
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
        point = self.study.point
        n_outputs = self.study.model.n_outputs
        u = point.objective.design.of(self.design.source).block(slice(0, 1))
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
            objective.design.of(self.design.source),
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


def _refitted(study: Study, rows: np.ndarray, target: _Target) -> float:
    """The target by a refit without rows, polished; NaN where there is none."""
    point = host_point(study.point)
    objective = without_rows(point.objective, rows)
    y = study.y[np.flatnonzero(objective.weight > 0)]
    if study.picks_class and np.all(y == y[0]):
        return float("nan")
    theta = refitted_theta(study.model, objective, study.y, point.theta)
    if theta is None:
        return float("nan")
    # The target reads no rows of the training set: where the others are is enough.
    return target.of(on_all_features(study.point).objective).value(study.here(theta))


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
