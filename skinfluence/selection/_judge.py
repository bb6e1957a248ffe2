"""The score of a fitted candidate: that of its leave-one-out predictions."""

from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any, final

import numpy as np

from skinfluence.exceptions import UnidentifiedDeletionError
from skinfluence.explainer import InfluenceExplainer
from skinfluence.questions import left_out, reader_of
from skinfluence.selection._path import StrengthPath
from skinfluence.selection._warm_start import WarmStarted
from skinfluence.study import Study, answer, study_of


@final
@dataclass(frozen=True)
class LeaveOneOutJudge:
    """Scorer of a fitted candidate by its leave-one-out predictions."""

    scorer: Any
    deletion: str
    sample_weight: Any
    score_params: dict[str, Any]
    path: StrengthPath | None = None  # of all candidates, where there is one

    def __call__(
        self, estimator: Any, X: Any, y: Any, sample_weight: Any = None
    ) -> Any:
        """One score, or a dict of several, with the weights of ``score_params``."""
        if isinstance(estimator, WarmStarted):
            estimator = estimator.estimator
        if self.path is not None:
            u = self.path.outputs_of(estimator)
            return self._score(self.path.study, u, np.zeros(len(u), dtype=bool))
        explainer = InfluenceExplainer(estimator, prefit=True, deletion=self.deletion)
        explainer.fit(X, y, sample_weight=self.sample_weight)
        study = study_of(explainer)
        without = answer(study, left_out)
        return self._score(study, without.outputs, without.lost)

    def _score(self, study: Study, u: np.ndarray, lost: np.ndarray) -> Any:
        """Score of outputs of rows without them; of those that can be deleted."""
        if np.all(lost):
            raise UnidentifiedDeletionError(
                "No row of this candidate has a leave-one-out prediction: without any "
                "one of them the others do not determine the model. Penalise it."
            )
        kept = np.flatnonzero(~lost)
        params = {
            name: value if value is None else np.asarray(value)[kept]
            for name, value in self.score_params.items()
        }
        reader = reader_of(study, "predict")
        return self.scorer(reader, u[kept], study.y[kept], **params)


def takes_weights(scoring: Any) -> bool:
    """Whether weights may be handed to the scores; scikit-learn's own scorers say so."""
    if not callable(scoring):
        return True
    names = signature(scoring).parameters
    kinds = [parameter.kind for parameter in names.values()]
    return "sample_weight" in names or Parameter.VAR_KEYWORD in kinds
