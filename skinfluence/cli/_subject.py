"""What is audited: the rows, the target, the features and the model, as chosen."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from skinfluence.cli import _load, _model
from skinfluence.cli._console import Console
from skinfluence.cli._data import Data, groups_of, weights_of, with_target
from skinfluence.cli._errors import UsageError, listed, missing_column, plural
from skinfluence.cli._features import Features, texts
from skinfluence.cli._table import Table
from skinfluence.cli._task import AbstractTask


class Source(NamedTuple):
    """A table and the path it came from."""

    path: str
    table: Table


@dataclass(frozen=True)
class Columns:
    """Columns with a part of their own: none of them is a feature.

    Parameters
    ----------
    target : str or None
        Column to predict; None only if the user forgot it.
    weight, group, trusted : str or None
        Columns of weights, groups, and rows known to be right.
    drop : sequence of str
        Columns not to use.
    """

    target: str | None
    weight: str | None = None
    group: str | None = None
    trusted: str | None = None
    drop: Collection[str] = ()

    @property
    def parts(self) -> dict[str, str]:
        """Names by option, those that were given."""
        return {
            option: name
            for option, name in vars(self).items()
            if option != "drop" and name is not None
        }

    @property
    def held(self) -> set[str]:
        """Everything that is no feature."""
        return {*self.parts.values(), *self.drop}

    def check(self, source: Source) -> None:
        """Refuse names that are missing, and a column with two parts."""
        path, target = source.path, self.target
        names = source.table.columns
        if target is None:
            raise UsageError(
                f"Name the column to predict with --target. {path} has: "
                f"{listed(names, 40)}."
            )
        if target in self.drop:
            raise UsageError(f"'{target}' is the target; it cannot be --drop too.")
        for option, name in self.parts.items():
            if option != "target" and name == target:
                raise UsageError(
                    f"'{target}' is the target; it cannot be --{option} too."
                )
        for name in (*self.parts.values(), *self.drop):
            if name not in names:
                raise UsageError(missing_column(path, name, names))


@dataclass(frozen=True)
class Subject:
    """Everything chosen before the first fit.

    Parameters
    ----------
    columns : Columns
        Which column is the target, and which others are no features.
    model : str
        Key of ``MODELS``, or the file that the model came from.
    reason : str or None
        Why this model; None if the user asked for it.
    task : AbstractTask
        What the target asks for.
    features : Features
        Columns to predict from.
    estimator : BaseEstimator
        Unfitted pipeline from the columns to the target, or a fitted model.
    data, test : Data
        Training rows; rows to measure harm on, or None.
    """

    columns: Columns
    model: str
    reason: str | None
    task: AbstractTask
    features: Features
    estimator: BaseEstimator
    data: Data
    test: Data | None

    @property
    def target(self) -> str:
        """Name of the column to predict."""
        assert self.columns.target is not None
        return self.columns.target

    @property
    def test_rows(self) -> dict[str, Any]:
        """Rows to measure harm on as arguments; none without a test table."""
        test = self.test
        return {} if test is None else {"X_test": test.X, "y_test": test.y}

    @property
    def fitted(self) -> bool:
        """Whether the model came fitted, from a file."""
        return self.model not in _model.MODELS

    def describe_model(self, fitted: BaseEstimator) -> str:
        """Name the fitted model in words, and why it was chosen."""
        last = fitted[-1] if isinstance(fitted, Pipeline) else fitted
        if self.fitted:
            return f"{type(last).__name__} from {self.model}, as it was fitted"
        words = _model.MODELS[self.model].words.format_map(vars(last))
        return f"{words} (auto: {self.reason})" if self.reason else words

    def by_weight(self, fitted: BaseEstimator) -> list[str]:
        """Names of the features, those that move the prediction most first."""
        if self.fitted:
            return list(self.features.names)
        return _model.by_weight(fitted, self.data.X)


def choose_subject(
    source: Source,
    test: Source | None,
    *,
    columns: Columns,
    model: str,
    console: Console,
    load: Callable[[str], BaseEstimator],
) -> Subject:
    """Choose target, model and features, and divide the tables by them.

    Parameters
    ----------
    source, test : Source
        Training table; table to measure harm on, or None.
    columns : Columns
        Names that the user gave.
    model : str
        "auto", a key of ``MODELS``, or the path of a fitted model.
    console : Console
        Is told what was decided without being asked.
    load : callable
        Reads a fitted estimator from a path.

    Raises
    ------
    UsageError
        If a column is missing or cannot be used.
    """
    columns.check(source)
    target = columns.target or ""
    table = with_target(source.table, source.path, target, console)
    reason, by_name, is_fitted = None, True, _load.is_file(model)
    if is_fitted:
        estimator = load(model)
        task = _load.task_of(estimator)
        features, by_name = _load.features_of(
            estimator, table, source.path, columns.held
        )
    else:
        if model == "auto":
            model, reason = _model.choose(table[target])
        chosen = _model.MODELS[model]
        task = chosen.task.fitted(table[target], source.path)
        features = Features.of(table, without=columns.held, console=console)
        estimator = _model.pipeline(chosen, features)

    def divided(of: Source, columns: Columns) -> Data:
        used = with_target(of.table, of.path, target, console)
        y = task.code(used[target], of.path)
        if not is_fitted:
            X = features.frame(used, of.path, console)
        else:
            X = _as_fitted(estimator, features, used, of.path, by_name)
        weight, group = columns.weight, columns.group
        weights = None if weight is None else weights_of(used[weight], of.path)
        groups = None if group is None else groups_of(used[group])
        return Data(of.path, len(of.table), used, X, y, weights, groups)

    data = divided(source, columns)
    tested = None if test is None else divided(test, Columns(target))
    if tested is not None and not is_fitted:
        _note_unknown(features, data, tested, console)
    return Subject(columns, model, reason, task, features, estimator, data, tested)


def _as_fitted(
    model: BaseEstimator, features: Features, table: Table, source: str, by_name: bool
) -> Table | np.ndarray:
    """The columns that a fitted model reads, as they stand in the table."""
    for name in features.names:
        if name not in table.columns:
            raise UsageError(missing_column(source, name, table.columns))
    if by_name:
        return table[list(model.feature_names_in_)]
    return table[list(features.numeric)].to_numpy(dtype=float, na_value=np.nan)


def _note_unknown(features: Features, data: Data, test: Data, console: Console) -> None:
    for name in features.categorical:
        known = set(texts(data.X[name]).dropna())
        unknown = set(test.X[name].dropna()) - known
        if unknown:
            values = plural(len(unknown), "value")
            console.note(
                f"'{name}' in {test.source} has {values} that the training data lack "
                f"({listed(sorted(unknown), 3)}); treated as a rare category or as none"
            )
