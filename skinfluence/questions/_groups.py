"""What groups of training rows did: customers, annotators, days, folds."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from skinfluence._array import Array, array_namespace, to_numpy
from skinfluence._rows import row_blocks
from skinfluence.exceptions import (
    InvalidParameterError,
)
from skinfluence.influence import (
    changes,
    group_gradients,
    linear_changes,
    spread_of_groups,
    spread_per_weight,
)
from skinfluence.questions._absent_classes import are_endless, outputs_without_classes
from skinfluence.questions._effects import AGGREGATES
from skinfluence.questions._left_out import reader_of, without_lost
from skinfluence.questions._refits import (
    Answers,
    Changes,
    groups_by_refits,
    own_outputs,
    refuse_derivative,
)
from skinfluence.study import Asked, Study, verdicts
from skinfluence.support import checks


class Groups(NamedTuple):
    """Groups of training rows, in the order of an answer's columns."""

    members: list[np.ndarray]  # indices of the rows of each
    labels: np.ndarray  # of the groups; 0, 1, ... where they came as lists of rows

    @property
    def names(self) -> list[str]:
        """How messages call them."""
        return [f"group {label!s}" for label in self.labels]

    def at(self, places: np.ndarray) -> "Groups":
        """Some of the groups."""
        return Groups([self.members[place] for place in places], self.labels[places])


def group_influence(
    study: Study, X: Any, y: Any, groups: Any, on: str, aggregate: str | None
) -> Any:
    """See ``InfluenceExplainer.group_influence``."""
    checks.one_of("aggregate", aggregate, AGGREGATES)
    refuse_derivative(study)
    asked, point = study.asked(X, y, on), study.point

    def effects(block: slice, members: list[Array]) -> list[Any]:
        gradients = -point.objective.weight_sum * group_gradients(point, members)
        theta = point.factor.loss_steps(gradients)
        spread = spread_per_weight(point, asked.design, members)
        return [
            linear_changes(point, theta, asked.design, quantity, aggregate, spread)
            for quantity in asked.quantities
        ]

    members = groups_of(groups, study.n_train, study.labels).members
    return _blockwise(study, members, effects)


def group_delta(
    study: Study, X: Any, y: Any, groups: Any, on: str, aggregate: str | None
) -> Any:
    """See ``InfluenceExplainer.group_delta``."""
    checks.one_of("aggregate", aggregate, AGGREGATES)
    asked = study.asked(X, y, on)
    listed = groups_of(groups, study.n_train, study.labels)
    return group_delta_on(study, asked, listed, aggregate)


def group_delta_on(
    study: Study, asked: Asked, groups: Groups, aggregate: str | None
) -> Any:
    """The same on points that are at hand."""
    refuse_all(groups.members, groups.names, to_numpy(study.objective.weight))
    places = groups_by_refits(study, groups.names, groups.members)
    some = groups.at(places)
    refitted = Changes.of(study, asked, aggregate, places, some.members, some.names)
    if len(refitted.places) == len(groups.members):
        return refitted.values
    deletion = study.deletion(len(groups.members))
    change = linear_changes if deletion.linear else changes

    def effects(block: slice, members: list[Array]) -> list[Any]:
        deltas = deletion.group_deltas(members)
        verdicts().note_groups(groups.names[block], deltas)
        point, linear = study.point, deletion.linear
        spread = spread_of_groups(point, asked.design, members, linear)
        values = [
            change(point, deltas.theta, asked.design, quantity, aggregate, spread)
            for quantity in asked.quantities
        ]
        if aggregate:  # shares of the mean or sum, block of points by block
            xp = array_namespace(deltas.theta)
            values = [xp.sum(v, axis=0) if v.ndim == 2 else v for v in values]
        for i, each in enumerate(values):
            refitted.put(each, block, i)
        return values

    return _blockwise(study, groups.members, effects)


def _blockwise(
    study: Study,
    members: list[np.ndarray],
    effects: Callable[[slice, list[Array]], list[Any]],
) -> Any:
    """Effects by quantity of blocks of groups, one quantity beside the other."""
    parts = [
        effects(block, [study.here(rows) for rows in members[block]])
        for block in row_blocks(
            len(members), study.vector_length, place=study.point.theta
        )
    ]
    xp = array_namespace(parts[0][0])
    columns = [xp.concat(column, axis=-1) for column in zip(*parts, strict=True)]
    return columns[0] if len(columns) == 1 else xp.concat(columns, axis=-1)


def cv_predict(study: Study, cv: Any, groups: Any, method: str) -> Any:
    """See ``InfluenceExplainer.cv_predict``."""
    reader, n = reader_of(study, method), study.n_train
    tests = _test_folds(study, cv, groups)
    held_out = [others(train, n) for train, _ in tests]
    names = [f"fold {i}" for i in range(len(tests))]
    refuse_all(held_out, names, to_numpy(study.objective.weight))
    u = np.full_like(study.outputs, np.nan)
    places = groups_by_refits(study, names, held_out)
    some = [held_out[k] for k in places], [names[k] for k in places]
    refitted = Answers.of(study, own_outputs(study), places, *some)
    for k, answer in zip(refitted.places, refitted.answers, strict=True):
        if answer is not None:
            test = tests[k][1]
            u[test] = answer[np.searchsorted(held_out[k], test), : u.shape[1]]
    left = others(refitted.places, len(tests))
    if len(left):
        folds = [(names[k], held_out[k], tests[k][1]) for k in left]
        _deleted_outputs(study, folds, u)
    lost = np.isnan(u).any(axis=1)
    u[lost] = study.outputs[lost]
    with np.errstate(divide="ignore"):  # the logarithm of the probability 0
        predictions = getattr(reader, method)(u)
    if method == "decision_function":
        lost = lost | are_endless(u)
    return without_lost(study, predictions, method, lost)


def _deleted_outputs(
    study: Study, folds: Sequence[tuple[str, np.ndarray, np.ndarray]], u: np.ndarray
) -> None:
    """Fill in outputs (n, K) of the test rows of folds: names, rows out, and test rows."""
    deletion, objective = study.deletion(len(folds)), study.objective
    for name, rows, test in folds:
        deltas = deletion.group_deltas([study.here(rows)])
        verdicts().note_groups([name], deltas)
        limit = None
        if bool(deltas.unbounded[0]):
            limit = outputs_without_classes(study, rows, test)
        if limit is not None:
            u[test] = limit
            continue
        B = objective.layout.unpack(deltas.theta[0, ...])  # (K, q)
        moves = to_numpy(objective.design.block(study.here(test)) @ B.T)
        moves = moves + _of_own_rows(study, rows, test, deltas.theta, deletion.linear)
        u[test] = study.outputs[test] + moves[:, : u.shape[1]]


def _of_own_rows(
    study: Study, rows: np.ndarray, test: np.ndarray, delta: Array, linear: bool
) -> Any:
    """What outputs of training rows gain as steps move them anew, (m, K) or 0."""
    point, design = study.point, study.objective.design
    spread = spread_of_groups(point, design, [study.here(rows)], linear)
    if spread is None:
        return 0.0
    theta = point.theta + (0.0 if linear else 1.0) * delta
    points, every = design.take(study.here(test)), slice(0, len(test))
    return to_numpy(spread.outputs(point, points, every, theta))[..., 0]


def groups_of(groups: Any, n_train: int, index: Any = None) -> Groups:
    """Rows and labels of each group, from labels of rows or lists of rows."""
    if isinstance(groups, list | tuple) and len(groups) and np.ndim(groups[0]) == 1:
        listed = [_members(rows, i, n_train) for i, rows in enumerate(groups)]
        return Groups(listed, np.arange(len(listed)))
    checks.refuse_chunks("groups", groups)
    checks.warn_of_other_order(index, groups=groups)
    labels = to_numpy(groups)
    if labels.shape != (n_train,):
        raise InvalidParameterError(
            f"groups must hold one label for each of the {n_train} training rows, or be "
            f"a list of arrays of row numbers; got shape {labels.shape}."
        )
    if np.any(labels != labels):
        raise InvalidParameterError(
            "groups must not hold missing labels (NaN). Give rows without a group a "
            "label of their own, or pass lists of row numbers."
        )
    try:
        unique, codes = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise InvalidParameterError(
            "groups must hold labels that can be sorted, all numbers or all texts; got "
            f"{labels[:3].tolist()}, ..."
        ) from error
    # Of short integers NumPy sorts by radix, in linear time.
    short = codes.astype(np.min_scalar_type(len(unique)))
    order = np.argsort(short, kind="stable")
    ends = np.cumsum(np.bincount(codes))[:-1]
    return Groups(list(np.split(order, ends)), unique)


def _members(rows: Any, i: int, n_train: int) -> np.ndarray:
    rows = to_numpy(rows)
    if len(rows) == 0 or (rows.dtype == bool and not np.any(rows)):
        raise InvalidParameterError(
            f"Group {i} is empty: give each group at least one training row."
        )
    return np.unique(checks.indices(rows, n_train))


def others(rows: np.ndarray, n: int) -> np.ndarray:
    """Indices of all other rows."""
    left = np.ones(n, dtype=bool)
    left[rows] = False
    return np.flatnonzero(left)


def refuse_all(
    members: Sequence[np.ndarray], names: Sequence[str], weight: np.ndarray
) -> None:
    """Refuse groups that leave no row of positive weight."""
    n_present = np.count_nonzero(weight)
    for rows, name in zip(members, names, strict=True):
        if np.count_nonzero(weight[rows]) == n_present:
            raise InvalidParameterError(
                f"The {name} holds all {n_present} training rows (of positive weight): "
                "without it no row is left. Delete smaller groups."
            )


def _are_labels(cv: Any, n: int) -> bool:
    """Whether ``cv`` holds one label per row, and no pairs of training and test rows."""
    try:
        if isinstance(cv, str) or len(cv) != n:
            return False
    except TypeError:  # a splitter, a generator, a scalar
        return False
    first = next(iter(cv))
    return isinstance(first, str) or not hasattr(first, "__len__")


def _test_folds(
    study: Study, cv: Any, groups: Any
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of training and test rows; the tests are a partition."""
    n = study.n_train
    if _are_labels(cv, n):
        tests = groups_of(cv, n, study.labels).members
        return [(others(test, n), test) for test in tests]
    folds = checks.folds(cv, np.zeros(n), study.y, groups, classifier=study.classifies)
    tested = np.concatenate([test for _, test in folds])
    if len(tested) != n or not np.all(np.bincount(tested, minlength=n) == 1):
        raise InvalidParameterError(
            f"cv must test every training row once; its {len(folds)} folds test "
            f"{len(tested)} rows ({len(np.unique(tested))} different) of {n}. Use a "
            "splitter that partitions the rows, such as KFold."
        )
    return folds
