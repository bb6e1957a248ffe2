"""The numbers of every training row."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from skinfluence._array import to_numpy
from skinfluence.cleaning._left_out import LeftOut
from skinfluence.exceptions import UnsupportedEstimatorError

_DIAGNOSTICS = ("leverage", "resid_studentized_external", "cooks_distance")
# Numbers that diagnostics() may hold, dfbetas of all rows among them: 400 MB.
_MOST_NUMBERS = 5e7
# Of several outputs, so many are shown.
_MOST_OUTPUTS = 3


@dataclass(frozen=True, eq=False)
class Rows:
    """Columns (n,) by name, what the models without each row say, and what is missing."""

    columns: dict[str, Any]
    left_out: LeftOut
    notes: list[str]


def measured(explainer: Any) -> Rows:
    """Ask a fitted explainer about each training row itself."""
    left_out = LeftOut.of(explainer)
    point, notes = explainer._point, []
    outputs = to_numpy(point.outputs)
    columns = {
        **_outputs("target", explainer._train_y),
        **_outputs("prediction", _predictions(explainer, outputs)),
        **_outputs("loo_prediction", left_out.predictions(), lost=left_out.lost),
        **_probabilities(explainer, left_out),
        "loss": to_numpy(point.objective.loss.value(point.objective.targets, outputs)),
        "loo_loss": left_out.losses(),
        "self_influence": to_numpy(explainer.self_influence()),
    }
    table, reason = _diagnostics(explainer)
    if reason:
        notes.append(reason)
    return Rows({**columns, **table}, left_out, notes)


def _predictions(explainer: Any, outputs: Any) -> Any:
    model = explainer._model
    found = model.on_outputs().predict(outputs[:, : model.n_outputs])
    return np.reshape(found, explainer._train_y.shape)


def _outputs(name: str, values: Any, lost: Any = None) -> dict[str, Any]:
    """One column, or the first few of several outputs."""
    values = np.asarray(values)
    if lost is not None and values.dtype.kind == "f":
        values = np.where(lost.reshape(-1, *[1] * (values.ndim - 1)), np.nan, values)
    if values.ndim == 1:
        return {name: values}
    shown = range(min(values.shape[1], _MOST_OUTPUTS))
    return {f"{name}_{k}": values[:, k] for k in shown}


def _probabilities(explainer: Any, left_out: LeftOut) -> dict[str, Any]:
    """Probability of each row's own label, with the row and without it."""
    model, y = explainer._model, explainer._train_y
    reader = model.on_outputs()
    if not explainer._picks_class or not hasattr(reader, "predict_proba"):
        return {}
    own = np.searchsorted(explainer.classes_, y)[:, None]

    def of(u: Any) -> Any:
        found = reader.predict_proba(u[:, : model.n_outputs])
        return np.take_along_axis(found, own, axis=1)[:, 0]

    return {
        "p_target": of(to_numpy(explainer._point.outputs)),
        "loo_p_target": np.where(left_out.lost, np.nan, of(left_out.outputs)),
    }


def _diagnostics(explainer: Any) -> tuple[dict[str, Any], str]:
    """Textbook columns where they are defined, else why not; the worst of the outputs."""
    design = explainer._point.objective.design
    if design.n_rows * (design.n_features + 13) > _MOST_NUMBERS:
        return {}, (
            "Leverage and Cook's distance are left out: their table would hold "
            f"{design.n_rows:,} x {design.n_features:,} coefficient changes."
        )
    try:
        table = explainer.diagnostics()
    except UnsupportedEstimatorError:
        return {}, (
            "Leverage, studentized residuals and Cook's distance are defined for least "
            "squares and generalized linear models of one output only; this is another "
            "model."
        )
    found = {}
    for name in _DIAGNOSTICS:
        parts = [np.asarray(table[key]) for key in table if _is_output(key, name)]
        worst = np.argmax(np.abs(np.stack(parts)), axis=0)
        found[name] = np.take_along_axis(np.stack(parts), worst[None], axis=0)[0]
    return found, ""


def _is_output(key: object, name: str) -> bool:
    return key == name or str(key).startswith(f"{name}_output_")
