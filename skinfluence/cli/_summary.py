"""The audit as strict JSON: what was read, how well it did, and the top rows."""

import datetime
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from skinfluence._plain import plain, versions
from skinfluence.cli._audit import Audit
from skinfluence.cli._console import Console
from skinfluence.cli._data import Data
from skinfluence.cli._subject import Subject

PACKAGES = ("skinfluence", "numpy", "scipy", "sklearn", "pandas")
FITTED = (
    "solver_", "stationarity_", "condition_", "effective_dof_", "followed_steps_",
    "held_steps_",
)  # fmt: skip


def summary(
    audit: Audit, subject: Subject, *, top: int, files: list[str], console: Console
) -> dict[str, Any]:
    """Collect the audit in a dict that ``json.dumps(..., allow_nan=False)`` accepts.

    NaN and infinity become None. Rows are numbered as in the file, from 0.
    """
    content = {
        "command": "audit",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions(*PACKAGES),
        "data": _read(subject.data),
        "test": None if subject.test is None else _read(subject.test),
        "target": subject.target,
        "columns": subject.columns.parts,
        "numeric_columns": subject.features.numeric,
        "categorical_columns": subject.features.categorical,
        "model": _model(audit, subject),
        "deletion": audit.explainer.deletion,
        "scores": audit.scores,
        "effect": {
            "on": audit.effect["on"],
            "loss": audit.words.loss,
            "score": audit.words.score,
            "with_all_rows": audit.effect["mean_loss"],
            "first_order": audit.effect["first_order"],
            "influence": "positive: the row is harmful",
            "loo_delta": "loss without the row minus with it; negative: harmful",
        },
        "most_harmful": _rows(audit, subject, audit.most_harmful(top)),
        "most_helpful": _rows(audit, subject, audit.most_helpful(top)),
        "groups": audit.groups,
        "agreement": audit.agreement and vars(audit.agreement),
        "seconds": console.seconds,
        "notes": console.notes,
        "files": files,
    }
    return plain(content)


def _read(data: Data) -> dict[str, Any]:
    return {
        "file": data.source,
        "rows_read": data.n_read,
        "rows_used": len(data),
        "features": data.X.shape[1],
    }


def _model(audit: Audit, subject: Subject) -> dict[str, Any]:
    fitted = audit.explainer.estimator_
    if isinstance(fitted, Pipeline):
        fitted = fitted[-1]
    return {
        "name": subject.model,
        "reason": subject.reason,
        "estimator": type(fitted).__name__,
        **{
            name: getattr(fitted, name)
            for name in ("alpha_", "alpha", "C")
            if name in vars(fitted)
        },
        **{name: getattr(audit.explainer, name) for name in FITTED},
        "learned_share": audit.learned_share,
    }


def _rows(
    audit: Audit, subject: Subject, positions: np.ndarray
) -> list[dict[str, Any]]:
    table = subject.data.table.iloc[positions][list(subject.features.names)]
    pairs = zip(audit.records(positions), table.to_dict("records"), strict=True)
    return [{**row, "values": values} for row, values in pairs]
