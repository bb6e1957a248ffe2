"""What the models without each row say about it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm, t

from skinfluence._array import like, to_numpy
from skinfluence.exceptions import UnsupportedEstimatorError
from skinfluence.explainer import InfluenceExplainer

# Chance that "auto" flags any row at all of a regression with normal errors.
_FALSE_ALARM = 0.05


@dataclass(frozen=True)
class LeftOut:
    """What the models without each row say about it."""

    explainer: InfluenceExplainer
    outputs: Any  # (n, K) linear outputs of each row without it; with it where lost
    lost: Any  # (n,) bool: rows that cannot be deleted

    @classmethod
    def of(cls, explainer: InfluenceExplainer) -> "LeftOut":
        """Ask an explainer, once."""
        u, lost = explainer._loo_outputs()
        outputs = np.array(
            to_numpy(explainer._point.outputs)
        )  # a fitted scale stays as it is
        outputs[:, : u.shape[1]] = np.where(lost[:, None], outputs[:, : u.shape[1]], u)
        return cls(explainer, outputs, lost)

    @property
    def classifies(self) -> bool:
        """Whether the targets are labels."""
        return self.explainer._classifies

    def losses(self) -> Any:
        """Each row's own loss without it, (n,), NaN where it cannot be deleted."""
        objective = self.explainer._point.objective
        outputs = like(self.outputs, objective.targets)
        losses = objective.loss.value(objective.targets, outputs)
        return np.where(self.lost, np.nan, to_numpy(losses))

    def predictions(self) -> Any:
        """Each row's prediction without it, in the shape of y."""
        model = self.explainer._model
        found = model.on_outputs().predict(self.outputs[:, : model.n_outputs])
        return np.reshape(found, self.explainer._train_y.shape)

    def contradicts(self) -> Any:
        """Rows whose label is not the one predicted without them, (n,) bool."""
        wrong = self.predictions() != self.explainer._train_y
        return wrong.reshape(len(wrong), -1).any(axis=1) & ~self.lost

    def flagged(self, weighty: Any) -> Any:
        """Rows that contradict the model without them, (n,) bool: what "auto" cleans."""
        if self.classifies:
            return self.contradicts()
        n = int(weighty.sum())
        chance = _FALSE_ALARM / (2 * n * self.explainer._model.n_outputs)
        try:
            columns = self.explainer.diagnostics()
        except UnsupportedEstimatorError:
            return self._far_off(weighty, norm.isf(chance))
        scaled = np.stack(
            [
                np.asarray(columns[name])
                for name in columns
                if str(name).startswith("resid_studentized_external")
            ]
        )  # (K, n)
        dof = n - self.explainer.effective_dof_ / len(scaled) - 1
        bound = t.isf(chance, dof) if dof > 0 else np.inf
        return (np.abs(scaled) > bound).any(axis=0)  # NaN: not flagged

    def _far_off(self, weighty: Any, bound: float) -> Any:
        """Rows with residuals beyond a bound on the scale of the median deviation."""
        residuals = self.explainer._train_y - self.predictions()
        residuals = residuals.reshape(len(residuals), -1)
        centre = np.median(residuals[weighty], axis=0)
        deviation = np.median(np.abs(residuals[weighty] - centre), axis=0)
        scale = deviation / norm.ppf(0.75)
        return (np.abs(residuals) > bound * scale).any(axis=1) & ~self.lost
