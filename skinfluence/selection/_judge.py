"""The score of a fitted candidate: that of its leave-one-out predictions."""

from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any, final

import numpy as np

from skinfluence._warn import warn
from skinfluence.exceptions import UnidentifiedDeletionError
from skinfluence.explainer import InfluenceExplainer
from skinfluence.questions import left_out, reader_of, warn_of_lost
from skinfluence.selection._path import StrengthPath
from skinfluence.selection._warm_start import WarmStarted
from skinfluence.study import Study, answer, study_of


@final
@dataclass(frozen=True)
class LeaveOneOutJudge:
    """Scorer of a fitted candidate by its leave-one-out predictions."""

    scorer: Any
    deletion: str
    of_model: dict[str, Any]  # weights and offsets that the model is fitted with
    score_params: dict[str, Any]
    path: StrengthPath | None = None  # of all candidates, where there is one
    names: tuple[str, ...] = ()  # of several scores
    error_score: Any = "raise"  # of one of several that fails, alone

    def __call__(
        self, estimator: Any, X: Any, y: Any, sample_weight: Any = None
    ) -> Any:
        """One score, or a dict of several, with the weights of ``score_params``."""
        if isinstance(estimator, WarmStarted):
            estimator = estimator.estimator
        if self.path is not None:
            u = self.path.outputs_of(estimator)
            return self._score(self.path.study, u, np.zeros(len(u), dtype=bool))
        try:
            explainer = InfluenceExplainer(
                estimator, prefit=True, deletion=self.deletion
            )
            study = study_of(explainer.fit(X, y, **self.of_model))
            without = answer(study, left_out)
            return self._score(study, without.outputs, without.lost)
        except Exception as error:
            if not self.names or self.error_score == "raise":
                raise  # a search has its own answer where there is one score
            return self._without_failed(dict.fromkeys(self.names, str(error)))

    def _without_failed(self, scores: dict[str, Any]) -> dict[str, Any]:
        """Scores, ``error_score`` in place of the text of an error."""
        failed = {name: text for name, text in scores.items() if isinstance(text, str)}
        for name, text in failed.items():
            warn(
                f"Scoring failed: {name!r} of this candidate is set to "
                f"{self.error_score}. Details:\n{text}",
                UserWarning,
            )
        return {**scores, **dict.fromkeys(failed, self.error_score)}

    def _score(self, study: Study, u: np.ndarray, lost: np.ndarray) -> Any:
        """Score of outputs of rows without them; of those that can be deleted."""
        if np.all(lost):
            raise UnidentifiedDeletionError(
                "No row of this candidate has a leave-one-out prediction: without any "
                "one of them the others do not determine the model. Penalise it."
            )
        warn_of_lost(lost)
        kept = np.flatnonzero(~lost)
        params = {
            name: value if value is None else np.asarray(value)[kept]
            for name, value in self.score_params.items()
        }
        reader = reader_of(study, "predict")
        scores = self.scorer(reader, u[kept], study.y[kept], **params)
        return self._without_failed(scores) if self.names else scores


def takes_weights(scoring: Any) -> bool:
    """Whether weights may be handed to the scores; scikit-learn's own scorers say so."""
    if not callable(scoring):
        return True
    names = signature(scoring).parameters
    kinds = [parameter.kind for parameter in names.values()]
    return "sample_weight" in names or Parameter.VAR_KEYWORD in kinds
