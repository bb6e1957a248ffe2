"""The whole estimator without some rows: steps learned again, the model polished."""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from sklearn.base import is_classifier

from skinfluence import support
from skinfluence._array import is_foreign, to_numpy
from skinfluence._objective import Objective
from skinfluence._warn import listed, warn
from skinfluence.exceptions import DoubtfulInputWarning
from skinfluence.refit._columns import Columns, with_columns
from skinfluence.refit._minimum import refitted_theta
from skinfluence.support import AbstractModel, Seen, WholeFit, checks


@final
@dataclass(frozen=True, eq=False)
class LeftOut:
    """The whole estimator as ``fit`` on the other rows makes it, at its minimum."""

    full: AbstractModel  # of all rows
    model: AbstractModel  # its steps are those of the other rows
    objective: Objective  # of the other rows, on all their columns
    theta: np.ndarray  # (G, D)
    places: np.ndarray | None  # (p,) of the full fit's columns here, -1: vanished
    held: tuple[support.AsSeen, ...] = ()  # its steps that cross-fit, and are held

    @property
    def parameters(self) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (K, p) and intercepts (K,), by the columns of the full fit.

        In the units of its own columns and targets. 0 for a column that has vanished,
        NaN where the columns are not some of those of the full fit.
        """
        objective = self.objective
        coef, intercept = objective.design.to_estimator(
            objective.layout.unpack(self.theta)
        )
        n_columns = self.full.parameters[0].shape[1]
        if self.places is None:
            coef = np.full((len(coef), n_columns), np.nan)
            return coef, np.full(intercept.shape, np.nan)
        padded = np.pad(coef, ((0, 0), (0, 1)))  # the last one, -1, is zero
        return padded[:, self.places], intercept

    def outputs(self, X: Any, rows: np.ndarray | None = None) -> np.ndarray:
        """Linear outputs of rows X, as they are given to the estimator, (m, K).

        Without offset, and on the scale that the full fit has for its targets. Held
        steps that cross-fit give training ``rows`` what they gave them in the fit.
        """
        X = to_numpy(X) if is_foreign(X) else X
        in_fit = nullcontext() if rows is None else support.in_fit(self.held, rows)
        with checks.data_errors(), in_fit:
            read = support.host_rows(checks.transformed(self.model.transformed(X)))
        design = self.objective.design.of(read)
        objective = replace(self.objective, design=design, offset=None)
        return self._on_full_scale(objective.outputs(self.theta))

    def own_outputs(
        self, X: Any, rows: np.ndarray, offset: np.ndarray | None
    ) -> np.ndarray:
        """Those of some training rows of all, X, with their offset (n, K), (g, K)."""
        X = to_numpy(X) if is_foreign(X) else X
        outputs = self.outputs(support.take_rows(X, rows), rows)
        if offset is not None:
            outputs[:, : offset.shape[1]] += offset[rows]
        return outputs

    def _on_full_scale(self, outputs: np.ndarray) -> np.ndarray:
        if not any(map(support.learns_targets, self.full.target_transformers)):
            return outputs
        K = self.full.n_outputs

        def moved(outputs: np.ndarray) -> np.ndarray:
            return self.full.own_targets(self.model.given_targets(outputs))

        base = moved(outputs[:, :K])
        scale = [  # of a fit that has one
            moved(outputs[:, :K] + outputs[:, [k]]) - base
            for k in range(K, outputs.shape[1])
        ]
        return np.concatenate([base, *scale], axis=1)


def left_out(
    whole: WholeFit,
    rows: np.ndarray,
    columns: Columns,
    *,
    polish: bool = True,
    warm: bool = False,
) -> LeftOut | None:
    """The estimator without rows; None where the last step has no finite fit.

    ``columns`` are those of the full fit.
    """
    kept = np.setdiff1d(np.arange(whole.n_rows), rows)
    if _loses_class(whole, kept):
        return None
    seen = whole.learned(kept)
    width = seen.X.shape[1]
    places = columns.places_in(Columns.of(seen.model, width))
    model = with_columns(seen.model, places, width)
    objective = model.wide_objective(seen.X, seen.y, seen.weight, seen.offset)
    start, how = model.theta(objective), {"polish": polish, "warm": warm}
    theta = refitted_theta(model, objective, seen.y, start, **how)
    if theta is None:
        return None
    return LeftOut(whole.model, model, objective, theta, places, seen.held)


def without_draws(whole: WholeFit) -> WholeFit:
    """The same with steps held that draw at random without a seed; says so."""
    other = whole.holding_draws()
    if drawing := other.held[len(whole.held) :]:
        warn(
            f"The steps {listed(drawing)} draw at random and have no random_state: two "
            "fits to the same rows differ. They are held as they were fitted. Give them "
            "a random_state to have them refitted.",
            DoubtfulInputWarning,
        )
    return other


def columns_of(seen: Seen) -> Columns:
    """The columns of the full fit."""
    return Columns.of(seen.model, seen.X.shape[1])


def _loses_class(whole: WholeFit, kept: np.ndarray) -> bool:
    """Whether a class has no rows of positive weight among those kept."""
    weighs = whole.weight > 0
    if not np.any(weighs[kept]):
        return True
    if not is_classifier(whole.model.estimator):
        return False
    y = whole.y.reshape(whole.n_rows, -1)
    rest = kept[weighs[kept]]
    return any(
        len(np.unique(labels[rest])) < len(np.unique(labels[weighs])) for labels in y.T
    )
