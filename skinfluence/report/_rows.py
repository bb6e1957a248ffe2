"""The numbers of every training row."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from skinfluence import questions
from skinfluence._array import to_numpy
from skinfluence.exceptions import UnsupportedEstimatorError
from skinfluence.questions import LeftOut
from skinfluence.study import Study, answer

_DIAGNOSTICS = ("leverage", "resid_studentized_external", "cooks_distance")
# Numbers that diagnostics() may hold, dfbetas of all rows among them: 400 MB.
_MOST_NUMBERS = 5e7
# This many of several outputs are shown.
_MOST_OUTPUTS = 3


@dataclass(frozen=True, eq=False)
class Rows:
    """Columns (n,) by name, what the models without each row say, and what is missing."""

    columns: dict[str, np.ndarray]
    left_out: LeftOut
    notes: list[str]


def measured(study: Study) -> Rows:
    """Ask a study about each training row itself."""
    without, notes = answer(study, questions.left_out), []
    objective = study.objective
    loss = objective.loss.value(objective.targets, study.point.outputs)
    columns = {
        **_outputs("target", study.y),
        **_outputs("prediction", study.predicted(study.outputs)),
        **_outputs("loo_prediction", without.predictions(), lost=without.lost),
        **_probabilities(study, without),
        "loss": to_numpy(loss),
        "loo_loss": without.losses(),
        "self_influence": to_numpy(answer(study, questions.self_influence)),
    }
    table, reason = _diagnostics(study)
    if reason:
        notes.append(reason)
    return Rows({**columns, **table}, without, notes)


def _outputs(
    name: str, values: ArrayLike, lost: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """One column, or the first few of several outputs."""
    values = np.asarray(values)
    if lost is not None and values.dtype.kind == "f":
        values = np.where(lost.reshape(-1, *[1] * (values.ndim - 1)), np.nan, values)
    if values.ndim == 1:
        return {name: values}
    shown = range(min(values.shape[1], _MOST_OUTPUTS))
    return {f"{name}_{k}": values[:, k] for k in shown}


def _probabilities(study: Study, without: LeftOut) -> dict[str, np.ndarray]:
    """Probability of each row's own label, with the row and without it."""
    reader = study.model.on_outputs()
    if not study.picks_class or not hasattr(reader, "predict_proba"):
        return {}
    own = np.searchsorted(study.classes, study.y)[:, None]

    def of(outputs: np.ndarray) -> np.ndarray:
        return np.take_along_axis(reader.predict_proba(outputs), own, axis=1)[:, 0]

    return {
        "p_target": of(study.outputs),
        "loo_p_target": np.where(without.lost, np.nan, of(without.outputs)),
    }


def _diagnostics(study: Study) -> tuple[dict[str, np.ndarray], str]:
    """Textbook columns where they are defined, else why not; the worst of the outputs."""
    design = study.objective.design
    if design.n_rows * (design.n_features + 13) > _MOST_NUMBERS:
        return {}, (
            "Leverage and Cook's distance are left out: their table would hold "
            f"{design.n_rows:,} x {design.n_features:,} coefficient changes."
        )
    try:
        table = answer(study, questions.diagnostics)
    except UnsupportedEstimatorError:
        return {}, (
            "Leverage, studentized residuals and Cook's distance are defined for least "
            "squares and generalized linear models of one output only; this is another "
            "model."
        )
    columns = {}
    for name in _DIAGNOSTICS:
        parts = np.stack([np.asarray(table[k]) for k in table if _is_output(k, name)])
        worst = np.argmax(np.abs(parts), axis=0)
        columns[name] = np.take_along_axis(parts, worst[None], axis=0)[0]
    return columns, ""


def _is_output(key: object, name: str) -> bool:
    return key == name or str(key).startswith(f"{name}_output_")
