"""What is audited: the rows, the target, the features and the model, as chosen."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sklearn.pipeline import Pipeline

from skinfluence.cli import _model
from skinfluence.cli._console import Console
from skinfluence.cli._data import Data, with_target
from skinfluence.cli._errors import UsageError, listed, missing_column, plural
from skinfluence.cli._features import Features, texts
from skinfluence.cli._task import AbstractTask


@dataclass(frozen=True)
class Source:
    """A table and the path it came from."""

    path: str
    table: Any


@dataclass(frozen=True)
class Subject:
    """Everything chosen before the first fit.

    Parameters
    ----------
    target : str
        Column to predict.
    model : str
        Key of ``MODELS``.
    reason : str or None
        Why this model; None if the user asked for it.
    task : AbstractTask
        What the target asks for.
    features : Features
        Columns to predict from.
    data, test : Data
        Training rows; rows to measure harm on, or None.
    """

    target: str
    model: str
    reason: str | None
    task: AbstractTask
    features: Features
    data: Data
    test: Data | None

    def pipeline(self) -> Pipeline:
        """Unfitted pipeline from the columns to the target."""
        return _model.pipeline(_model.MODELS[self.model], self.features)

    def describe_model(self, fitted: Pipeline) -> str:
        """Name the fitted model in words, and why it was chosen."""
        name = _model.MODELS[self.model].describe(fitted[-1])
        return f"{name} (auto: {self.reason})" if self.reason else name


def choose_subject(
    source: Source,
    test: Source | None,
    *,
    target: str | None,
    model: str,
    drop: Collection[str],
    console: Console,
) -> Subject:
    """Choose target, model and features, and divide the tables by them.

    Parameters
    ----------
    source, test : Source
        Training table; table to measure harm on, or None.
    target : str or None
        Column to predict; None only if the user forgot it.
    model : {"auto", "linear", "ridge", "logistic"}
        Model to fit.
    drop : collection of str
        Columns not to use.
    console : Console
        Hears what was decided unasked.

    Raises
    ------
    UsageError
        If a column is missing or cannot be used.
    """
    if target is None:
        columns = listed(source.table.columns, 40)
        raise UsageError(
            f"Name the column to predict with --target. {source.path} has: {columns}."
        )
    if target in drop:
        raise UsageError(f"'{target}' is the target; it cannot be left out by --drop.")
    for name in drop:
        if name not in source.table.columns:
            raise UsageError(missing_column(source.path, name, source.table.columns))
    table = with_target(source.table, source.path, target, console)
    reason = None
    if model == "auto":
        model, reason = _model.choose(table[target])
    task = _model.MODELS[model].task.of(table[target], source.path)
    features = Features.of(table, without={target, *drop}, console=console)

    def divided(of: Source) -> Data:
        used = with_target(of.table, of.path, target, console)
        y = task.code(used[target], of.path)
        X = features.frame(used, of.path, console)
        return Data(of.path, len(of.table), used, X, y)

    data = divided(source)
    if test is None:
        return Subject(target, model, reason, task, features, data, None)
    tested = divided(test)
    _note_unknown(features, data, tested, console)
    return Subject(target, model, reason, task, features, data, tested)


def _note_unknown(features: Features, data: Data, test: Data, console: Console) -> None:
    for name in features.categorical:
        known = set(texts(data.X[name]).dropna())
        unknown = set(test.X[name].dropna()) - known
        if unknown:
            values = plural(len(unknown), "value")
            console.note(
                f"'{name}' in {test.source} has {values} that the training data lack "
                f"({listed(sorted(unknown), 3)}); they count as a rare or no category"
            )
