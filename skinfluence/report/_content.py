"""Everything that a report says, before it is a page."""

import datetime
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch

from skinfluence import questions
from skinfluence._plain import versions
from skinfluence.refit import check_study
from skinfluence.report._chosen import extremes, suspects, top
from skinfluence.report._columns import COLUMNS, SIGN, Column
from skinfluence.report._effect import Effect, group_effects, on_others, on_test
from skinfluence.report._health import agreement_item, health, scores
from skinfluence.report._rows import measured
from skinfluence.report._values import Values, is_training, values_of
from skinfluence.study import Study

_PACKAGES = ("skinfluence", "numpy", "scipy", "sklearn")
QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)


@dataclass(frozen=True, eq=False)
class Asked:
    """The parameters of the report, checked."""

    X_test: Any
    y_test: Any
    X_train: Any
    groups: Any
    agreement: Bunch | int  # or a number of refits
    names: Any
    top: int
    max_rows: int
    title: str | None


@dataclass(frozen=True, eq=False)
class Content:
    """The results of a report."""

    title: str
    model: dict[str, Any]
    health: list[dict[str, Any]]
    scores: dict[str, Any]
    effect: Effect
    columns: dict[str, np.ndarray]  # (n,) each
    values: Values
    harmful: np.ndarray  # positions
    helpful: np.ndarray
    suspects: dict[str, Any]
    groups: list[dict[str, Any]]
    agreement: Bunch | None
    shown: np.ndarray  # positions of the rows in the table
    notes: list[str]
    created: str

    def row(self, position: int) -> dict[str, Any]:
        """The numbers and values of one row."""
        row = {name: column[position] for name, column in self.columns.items()}
        return {**row, "values": self.values.of(position)}

    def meaning(self, name: str) -> Column:
        """Label and sentence of a column; of several outputs, with the number."""
        if name in COLUMNS:
            return COLUMNS[name]
        stem, _, output = name.rpartition("_")
        label, meaning = COLUMNS[stem]
        return Column(f"{label} {output}", f"{meaning}, output {output}")

    @property
    def summary(self) -> dict[str, list[float]]:
        """Quantiles of the numbers over all rows."""
        return {
            name: _quantiles(column)
            for name, column in self.columns.items()
            if name not in ("row", "name", "group")
            and column.dtype.kind == "f"
            and not np.isnan(column).all()
        }

    def as_dict(self) -> dict[str, Any]:
        """All of it by name."""
        return {
            "title": self.title,
            "created": self.created,
            "versions": versions(*_PACKAGES),
            "sign": SIGN,
            "model": self.model,
            "health": self.health,
            "scores": self.scores,
            "effect": {
                "on": self.effect.on,
                "n_rows": self.effect.n_rows,
                "mean_loss": self.effect.mean_loss,
                "first_order": self.effect.linear,
            },
            "most_harmful": [self.row(i) for i in self.harmful],
            "most_helpful": [self.row(i) for i in self.helpful],
            "suspects": {
                **self.suspects,
                "rows": [self.row(i) for i in self.suspects["rows"]],
            },
            "groups": self.groups,
            "agreement": self.agreement and dict(self.agreement),
            "columns": {name: self.meaning(name)._asdict() for name in self.columns},
            "summary": {"quantiles": QUANTILES, **self.summary},
            "rows": {
                "n_train": self.model["n_train"],
                "n_shown": len(self.shown),
                "columns": {k: v[self.shown] for k, v in self.columns.items()},
            },
            "notes": self.notes,
        }


def content_of(study: Study, asked: Asked) -> Content:
    """Compute everything; warnings become notes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        content = _content_of(study, asked)
    content.notes.extend(dict.fromkeys(str(warning.message) for warning in caught))
    return content


def _content_of(study: Study, asked: Asked) -> Content:
    itself = is_training(study, asked.X_test, asked.y_test)
    X_train = asked.X_test if itself and asked.X_train is None else asked.X_train
    values = values_of(study, X_train)
    rows = measured(study)
    own = rows.columns
    if asked.X_test is None:
        effect = on_others(study, own["loss"], own["loo_loss"])
    else:
        effect = on_test(study, asked.X_test, asked.y_test)
    groups, labels = _groups(study, asked, own["loo_loss"])
    columns = _ordered(study, asked, own, effect, labels)
    agreement, notes = _agreement(study, asked), list(rows.notes)
    training, left_out = scores(rows.left_out)
    lost = rows.left_out.lost | rows.left_out.undetermined
    items = health(study, columns, lost, training - left_out)
    if agreement is not None:
        items.append(agreement_item(agreement))
    if effect.linear:
        notes.append(
            "The deltas of the mean loss are first-order, -influence times the row's "
            "share of the weight: their pairs of rows are too many to evaluate."
        )
    if itself:
        notes.append(
            "X_test and y_test are the training rows: each effect holds that of the row "
            "on its own loss. Leave them out to ask the other rows only."
        )
    name = type(study.model.estimator).__name__
    return Content(
        title=asked.title or f"What each row did to this {name}",
        model=_model(study),
        health=items,
        scores={
            "name": "accuracy" if study.classifies else "score",
            "training": training,
            "leave_one_out": left_out,
            "training_loss": float(np.mean(own["loss"])),
            "leave_one_out_loss": _mean(own["loo_loss"]),
        },
        effect=effect,
        columns=columns,
        values=values,
        harmful=top(effect.loo_delta, asked.top),
        helpful=top(-effect.loo_delta, asked.top),
        suspects=suspects(study, rows, asked.top),
        groups=groups,
        agreement=agreement,
        shown=extremes(columns, asked.max_rows),
        notes=notes,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _quantiles(values: np.ndarray) -> list[float]:
    with np.errstate(invalid="ignore"):  # between a finite and an infinite value
        return np.nanquantile(values, QUANTILES).tolist()


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if not np.isnan(values).all() else np.nan


def _ordered(
    study: Study,
    asked: Asked,
    own: dict[str, Any],
    effect: Effect,
    labels: np.ndarray | None,
) -> dict[str, Any]:
    """All columns, in the order of their table of meanings."""
    n = study.n_train
    index = study.labels if asked.names is None else np.asarray(asked.names)
    columns = {**own, "row": np.arange(n)}
    columns |= {"loo_delta": effect.loo_delta, "influence": effect.influence}
    if asked.names is not None or not np.array_equal(index, np.arange(n)):
        columns["name"] = index
    if labels is not None:
        columns["group"] = labels
    order = list(COLUMNS)

    def place(name: str) -> int:
        return order.index(name if name in COLUMNS else name.rpartition("_")[0])

    return {name: columns[name] for name in sorted(columns, key=place)}


def _model(study: Study) -> dict[str, Any]:
    model, objective = study.model, study.objective
    steps = None if model.transformer is None else _steps(model.transformer)
    n_columns = objective.design.n_features
    description = {
        "estimator": type(model.estimator).__name__,
        "parameters": _parameters(model.estimator),
        "steps": None if steps is None else [type(step).__name__ for step in steps],
        "followed_steps": study.followed_steps,
        "held_steps": study.held_steps,
        "n_train": study.n_train,
        "n_features": getattr(study.features, "n_features_in_", n_columns),
        "n_columns": n_columns,
        "n_outputs": model.n_outputs,
        "deletion": study.options.deletion,
        "solver": study.solver.name,
        "polish": study.options.polish,
        "loss": type(objective.loss).__name__,
    }
    if study.classifies:
        description["classes"] = study.classes
    return description


def _steps(transformer: BaseEstimator) -> list[BaseEstimator]:
    return [step for _, step in getattr(transformer, "steps", [("", transformer)])]


def _parameters(estimator: BaseEstimator) -> dict[str, str]:
    """Parameters that differ from their defaults, as text."""
    try:
        usual = type(estimator)().get_params(deep=False)
    except TypeError:  # it has parameters without a default
        usual = {}
    given = estimator.get_params(deep=False)
    return {
        name: repr(value)
        for name, value in given.items()
        if name not in usual or repr(usual[name]) != repr(value)
    }


def _groups(
    study: Study, asked: Asked, loo_loss: np.ndarray
) -> tuple[list[dict[str, Any]], Any]:
    """Groups, most harmful first, and the group of each row where it is one label."""
    if asked.groups is None:
        return [], None
    groups = questions.groups_of(asked.groups, study.n_train, study.labels)
    delta = group_effects(study, groups, asked.X_test, asked.y_test, loo_loss)
    table = [
        {
            "group": str(groups.labels[i]),
            "n_rows": len(groups.members[i]),
            "loo_delta": delta[i],
        }
        for i in np.argsort(delta, kind="stable")
    ]
    labels = np.asarray(asked.groups, dtype=object)
    return table, labels.astype(str) if labels.shape == (study.n_train,) else None


def _agreement(study: Study, asked: Asked) -> Bunch | None:
    if not isinstance(asked.agreement, int):
        return asked.agreement
    if asked.agreement == 0:
        return None
    test = dict(X_test=asked.X_test, y_test=asked.y_test)
    n = study.n_train
    # The same rows each time: a report does not change when it is made again.
    rng = np.random.default_rng(0)
    rows = rng.choice(n, min(asked.agreement, n), replace=False)
    return check_study(study, asked.X_train, study.y, rows=rows, **test)
