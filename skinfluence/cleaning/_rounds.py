"""Which rows harm the trusted ones: judged in rounds, and how many by their own loss."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from skinfluence._array import to_numpy
from skinfluence.cleaning._actions import Rows
from skinfluence.cleaning._choice import worst
from skinfluence.exceptions import SeparableDataError
from skinfluence.explainer import InfluenceExplainer
from skinfluence.influence import HeldOut
from skinfluence.questions import left_out, loo_delta_on
from skinfluence.study import answer, study_of

# Share of the rows that is dropped between two models, and of all that may be.
_STEP, _MOST = 0.05, 0.5
# Rounds without a lower loss, after which no lower one is expected.
_PATIENCE = 3


@final
@dataclass(frozen=True)
class TrustedRounds:
    """Drops the most harmful rows, a twentieth at a time, and keeps the best round.

    Harm and loss are those on the trusted rows, each by the model without it: trusted
    rows are training rows, too, and what a model did to fit them is no evidence. The
    round is chosen whose model has the lowest mean loss on them.
    """

    explained: Callable[[Rows], InfluenceExplainer]
    rows: Rows
    trusted: Any  # (n,) bool
    weighty: Any  # (n,) bool: rows of positive weight
    labels: Any  # (n,) of classifiers, else None

    def chosen(self, explainer: InfluenceExplainer, open_rows: Any) -> Any:
        """Rows to clean, the first to be dropped first; ``explainer`` is of all rows."""
        kept = np.arange(self.rows.n)
        dropped = np.arange(0)
        best, lowest, n_worse = dropped, np.inf, 0
        step = max(int(_STEP * np.sum(self.weighty)), 1)
        most = int(_MOST * np.sum(self.weighty))
        while True:
            loss, harm = self._judged(explainer, kept)
            n_worse = 0 if loss < lowest else n_worse + 1
            if loss < lowest:
                best, lowest = dropped, loss
            present = np.isin(np.arange(self.rows.n), kept)
            some = min(step, most - len(dropped))
            harmful = open_rows & present & (harm > 0)
            further = worst(harm, harmful, some, self.weighty & present, self.labels)
            if len(further) == 0 or n_worse == _PATIENCE:
                return best
            dropped = np.concatenate([dropped, further])
            kept = np.setdiff1d(kept, further)
            try:
                explainer = self.explained(self.rows.at(kept))
            except SeparableDataError:  # these rows have no finite fit any more
                return best

    def _judged(self, explainer: InfluenceExplainer, kept: Any) -> tuple[float, Any]:
        """Mean loss on the trusted rows, and the harm of each row to it, (n,)."""
        study = study_of(explainer)
        without = answer(study, left_out)
        asked = np.flatnonzero(self.trusted[kept])
        points = study.about_training(asked)
        moves = np.zeros((len(asked), study.objective.layout.n_outputs))
        moves[:, : study.outputs.shape[1]] = (without.outputs - study.outputs)[asked]
        quantity = HeldOut(points.quantities[0], moves)
        harm = np.full(self.rows.n, -np.inf)
        points = points._replace(quantities=[quantity])
        harm[kept] = -to_numpy(answer(study, loo_delta_on, points, "mean"))
        return float(np.nanmean(without.losses()[asked])), harm
