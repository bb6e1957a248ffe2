"""The audit as strict JSON: what was read, how well it did, and the top rows."""

import datetime
import math
import platform
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from skinfluence.cli._audit import Audit
from skinfluence.cli._console import Console
from skinfluence.cli._data import Data
from skinfluence.cli._subject import Subject

PACKAGES = ("skinfluence", "numpy", "scipy", "sklearn", "pandas")
FITTED = ("solver_", "stationarity_", "condition_", "effective_dof_")


def summary(
    found: Audit, subject: Subject, *, top: int, files: list[str], console: Console
) -> dict[str, Any]:
    """Collect the audit in a dict that ``json.dumps(..., allow_nan=False)`` accepts.

    NaN and infinity become None. Rows are numbered as in the file, from 0.
    """
    content = {
        "command": "audit",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "data": _read(subject.data),
        "test": None if subject.test is None else _read(subject.test),
        "target": subject.target,
        "columns": subject.columns.parts,
        "numeric_columns": subject.features.numeric,
        "categorical_columns": subject.features.categorical,
        "model": _model(found, subject),
        "deletion": found.explainer.deletion,
        "scores": found.scores,
        "effect": {
            "on": found.effect["on"],
            "loss": found.words.loss,
            "score": found.words.score,
            "with_all_rows": found.effect["mean_loss"],
            "first_order": found.effect["first_order"],
            "influence": "positive: the row is harmful",
            "loo_delta": "loss without the row minus with it; negative: harmful",
        },
        "most_harmful": [_row(found, subject, i) for i in found.most_harmful(top)],
        "most_helpful": [_row(found, subject, i) for i in found.most_helpful(top)],
        "groups": found.groups,
        "agreement": found.agreement and vars(found.agreement),
        "seconds": console.seconds,
        "notes": console.notes,
        "files": files,
    }
    return plain(content)


def plain(value: Any) -> Any:
    """Python's own types for NumPy's and pandas', None for NaN and infinity."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    text = str(value)
    return None if text in {"NaT", "<NA>"} else text


def versions() -> dict[str, str]:
    """Versions of what computed."""
    import importlib

    found = {name: importlib.import_module(name).__version__ for name in PACKAGES}
    return {"python": platform.python_version(), **found}


def _read(data: Data) -> dict[str, Any]:
    return {
        "file": data.source,
        "rows_read": data.n_read,
        "rows_used": len(data),
        "features": data.X.shape[1],
    }


def _model(found: Audit, subject: Subject) -> dict[str, Any]:
    fitted = found.explainer.estimator_
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
        **{name: getattr(found.explainer, name) for name in FITTED},
    }


def _row(found: Audit, subject: Subject, i: int) -> dict[str, Any]:
    row = found.row(i)
    table = subject.data.table
    values = {name: table[name].iloc[i] for name in subject.features.names}
    return {**row, "values": values}
