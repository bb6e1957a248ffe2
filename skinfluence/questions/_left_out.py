"""Predictions and scores of the training rows by the model without them."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from sklearn.base import BaseEstimator

from skinfluence._array import like, to_numpy
from skinfluence._rows import stream_blocks, training_blocks
from skinfluence._warn import listed, warn
from skinfluence.deletion import Deltas
from skinfluence.exceptions import SeparableDeletionWarning, UnidentifiedDeletionError
from skinfluence.questions._absent_classes import are_endless, outputs_without_classes
from skinfluence.questions._refits import Answers, own_outputs
from skinfluence.study import Study, verdicts
from skinfluence.support import checks

_ARRAYS = 12
_METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")


@final
@dataclass(frozen=True, eq=False)
class LeftOut:
    """What the models without each row say about it. Host arrays."""

    study: Study
    outputs: np.ndarray  # (n, K); of rows that cannot be deleted, those of the full fit
    lost: np.ndarray  # (n,) bool: rows that cannot be deleted
    undetermined: np.ndarray  # (n,) bool: the others leave directions open

    @property
    def endless(self) -> np.ndarray:
        """Rows whose class the others lack, (n,) bool: its probability is 0."""
        return are_endless(self.outputs)

    def losses(self) -> np.ndarray:
        """Each row's own loss without it, (n,), NaN where there is no finite one."""
        objective = self.study.objective
        outputs = np.array(to_numpy(self.study.point.outputs))
        known = ~(self.lost | self.endless)
        outputs[known, : self.outputs.shape[1]] = self.outputs[known]  # a scale stays
        values = objective.loss.value(
            objective.targets, like(outputs, objective.targets)
        )
        return np.where(known, to_numpy(values), np.nan)

    def predictions(self) -> np.ndarray:
        """Each row's prediction without it, in the shape of y."""
        return self.study.predicted(self.outputs)

    def contradicts(self) -> np.ndarray:
        """Rows whose label is not the one predicted without them, (n,) bool."""
        wrong = self.predictions() != self.study.y
        return wrong.reshape(len(wrong), -1).any(axis=1) & ~self.lost


def left_out(study: Study) -> LeftOut:
    """Outputs of each row by the model without it; no (n, d) array is made."""
    refitted = Answers.of_rows(study, own_outputs(study))
    without = _untouched(study) if study.refits_all else _deleted(study)
    for row, answer in zip(refitted.places, refitted.answers, strict=True):
        without.lost[row], without.undetermined[row] = answer is None, False
        kept = study.outputs[row]
        if answer is not None:
            kept = answer[0, : kept.shape[0]]
        without.outputs[row] = kept
    return without


def _untouched(study: Study) -> LeftOut:
    """As if no row did anything."""
    no = np.zeros((2, study.n_train), dtype=bool)
    return LeftOut(study, np.array(study.outputs), *no)


def _deleted(study: Study) -> LeftOut:
    """The same by deletion."""
    deletion, objective = study.deletion(study.n_train), study.objective
    design, layout = objective.design, objective.layout
    without = _untouched(study)
    outputs, lost, undetermined = without.outputs, without.lost, without.undetermined

    def asked(rows: slice) -> tuple[slice, Any, Deltas]:
        u, flags = deletion.left_out(rows)
        flags = flags._replace(missed_changes=deletion.missed_changes(rows))
        return rows, u, flags

    # A dozen arrays of a block must stay in the cache, where penalties differ by row and
    # each has a delta of its own.
    coupled = layout.group_size > 1 or objective.balanced is not None
    n_arrays = _ARRAYS if objective.learns and coupled else 1
    blocks = training_blocks(design, n_arrays * layout.n_outputs * layout.size)
    for rows, u, flags in stream_blocks(
        asked, blocks, design, width=design.width, in_order=study.in_order
    ):
        verdicts().note_rows(rows, flags)
        undetermined[rows] = to_numpy(flags.unidentified)
        kept = to_numpy(u)[:, : outputs.shape[1]]
        lost[rows] = np.isnan(kept).any(axis=1)
        outputs[rows] = np.where(lost[rows, None], outputs[rows], kept)
    for row in _last_of_their_class(study, lost & ~study.refitted_rows):
        limit = outputs_without_classes(study, np.array([row]), np.array([row]))
        if limit is not None:
            outputs[row], lost[row] = limit[0], False
    return without


def _last_of_their_class(study: Study, lost: np.ndarray) -> list[int]:
    """Those of the lost rows that alone (of positive weight) have their label."""
    if not (lost.any() and study.picks_class):
        return []
    present = to_numpy(study.objective.weight) > 0
    labels, counts = np.unique(study.y[present], return_counts=True)
    single = np.isin(study.y, labels[counts == 1]) & present
    return np.flatnonzero(lost & single).tolist()


def loo_predict(study: Study, method: str = "predict") -> Any:
    """See ``InfluenceExplainer.loo_predict``."""
    reader = reader_of(study, method)
    without = left_out(study)
    with np.errstate(divide="ignore"):  # the logarithm of the probability 0
        predictions = getattr(reader, method)(without.outputs)
    lost = without.lost
    if method == "decision_function":
        lost = lost | without.endless
    return without_lost(study, predictions, method, lost)


def loo_score(study: Study, scoring: Any = None) -> float:
    """See ``InfluenceExplainer.loo_score``."""
    if scoring is not None:
        scoring = checks.scorer(scoring)  # refused before any work
    return score_of(left_out(study), scoring)


def score_of(without: LeftOut, scoring: Any = None) -> float:
    """The score of left-out outputs that are at hand."""
    study, lost = without.study, without.lost
    reader = reader_of(study, "predict")
    warn_of_lost(lost)
    if np.all(lost):
        raise UnidentifiedDeletionError(
            "No row has a leave-one-out prediction: without any one of the "
            f"{study.n_train} rows the others do not determine the model. Penalise "
            "it, or drop features."
        )
    outputs, y = without.outputs[~lost], study.y[~lost]
    if scoring is None:
        return float(reader.score(outputs, y))
    return float(checks.scorer(scoring)(reader, outputs, y))


def warn_of_lost(lost: np.ndarray) -> None:
    """Say how many rows a score leaves out."""
    if lost.any():
        warn(
            f"The leave-one-out score leaves out {lost.sum()} of {len(lost)} rows, "
            "without which there is no finite fit: it may be too high. The rows are "
            f"{listed(np.flatnonzero(lost).tolist())}.",
            SeparableDeletionWarning,
        )


def reader_of(study: Study, method: str) -> BaseEstimator:
    """The estimator that reads linear outputs in place of X, if it has the method."""
    reader = study.model.on_outputs()
    offered = tuple(name for name in _METHODS if hasattr(reader, name))
    checks.one_of("method", method, offered)
    return reader


def without_lost(study: Study, predictions: Any, method: str, lost: np.ndarray) -> Any:
    """Predictions, NaN for lost rows where they are no labels, beside the rows."""
    if isinstance(predictions, list):  # one per output
        return [without_lost(study, part, method, lost) for part in predictions]
    labels = method == "predict" and study.classifies
    if predictions.dtype.kind == "f" and not labels:
        predictions[lost] = np.nan
    is_number = predictions.dtype.kind in "fiub"
    return study.here(predictions) if is_number else predictions
