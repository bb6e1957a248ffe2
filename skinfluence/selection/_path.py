"""Ridge candidates that differ in their strength only: one decomposition for all."""

from dataclasses import dataclass
from numbers import Real
from typing import Any, Self, final

import numpy as np
from sklearn import get_config
from sklearn.base import clone
from sklearn.linear_model import Ridge, RidgeClassifier

from skinfluence._rows import iterate
from skinfluence._tolerances import LEAST_REMAINDER, MOST_CONDITION
from skinfluence.explainer import InfluenceExplainer
from skinfluence.selection._warm_start import last_step
from skinfluence.study import Study, study_of


@final
@dataclass(frozen=True)
class StrengthPath:
    """Leave-one-out outputs of all strengths at once, as ``RidgeCV`` has them.

    ``R' H R = I`` and ``R' P R = diag(g)`` for the Hessian H and the penalty P at the
    least strength a; at ``t a`` the Hessian is ``H + (t - 1) P``, so leverages are
    ``s_i sum_j (x_i' R)_j**2 / (1 + (t - 1) g_j)``, and no term is negative.

    References
    ----------
    .. [1] Golub, Heath & Wahba (1979). Generalized cross-validation as a method for
       choosing a good ridge parameter. Technometrics 21. Section 2.
    """

    study: Study  # at the least strength
    strengths: list[float]
    outputs: Any  # (A, n, K) of each row without it

    @classmethod
    def of(cls, study: Study, strengths: list[float]) -> Self | None:
        """From the least strength; None where each needs a factor of its own."""
        point, objective = study.point, study.objective
        root = point.factor.inverse_root  # inv(H) = root root'
        if root is None or point.factor.condition > MOST_CONDITION:
            return None
        P = objective.penalty.strength
        if len(root) != 1 or len(P) != 1 or root.shape[1] != root.shape[2]:
            return None
        g, turn = np.linalg.eigh(root[0].T @ (P[0][:, None] * root[0]))
        R = root[0] @ turn
        t = np.asarray(strengths) / min(strengths)
        shrunk = 1 / (1 + np.multiply.outer(t - 1, np.maximum(g, 0)))  # (A, q)
        theta = turn.T @ np.linalg.solve(root[0], point.theta.T)  # (q, K)
        moved = (shrunk[..., None] * theta).transpose(1, 0, 2).reshape(len(g), -1)
        K = theta.shape[1]
        outputs = np.empty((len(t), objective.n_rows, K))
        for rows, (block, y, s) in iterate(
            objective.design, objective.targets, objective.weight, dense=True
        ):
            turned = block @ R
            u = (turned @ moved).reshape(len(y), len(t), K)
            h = s[:, None] * (turned**2 @ shrunk.T)  # (b, A)
            if np.any(np.abs(1 - h) < LEAST_REMAINDER):
                return None
            u += (h / (1 - h))[..., None] * (u - y[:, None, :])
            outputs[:, rows, :] = u.transpose(1, 0, 2)
        return cls(study, list(strengths), outputs)

    def outputs_of(self, estimator: Any) -> Any:
        """Those of a candidate, (n, K)."""
        return self.outputs[self.strengths.index(last_step(estimator).alpha)]


def strengths_of(estimator: Any, candidates: list[dict[str, Any]]) -> list[float]:
    """What ``alpha`` is in each candidate, if that is all they differ in; else none."""
    model = last_step(estimator)
    if type(model) not in (Ridge, RidgeClassifier) or model.positive:
        return []
    names = {name for candidate in candidates for name in candidate}
    if len(names) != 1 or len(candidates) < 2:
        return []
    (name,) = names
    strengths = [candidate[name] for candidate in candidates]
    if not all(isinstance(a, Real) and 0 < float(a) < np.inf for a in strengths):
        return []
    means_it = last_step(clone(estimator).set_params(**{name: -1.0})).alpha == -1.0
    return strengths if means_it else []


def path_of(
    estimator: Any,
    candidates: list[dict[str, Any]],
    deletion: str,
    X: Any,
    y: Any,
    sample_weight: Any,
    fit_params: dict[str, Any],
) -> StrengthPath | None:
    """One decomposition for candidates that are ridge regressions of one kind, else None.

    None too where it cannot be had, whatever the reason.
    """
    strengths = strengths_of(estimator, candidates)
    routed = get_config()["enable_metadata_routing"]
    if not strengths or routed or deletion == "jackknife":
        return None
    try:
        first = clone(estimator)
        last_step(first).set_params(alpha=min(strengths))
        first.fit(X, y, **fit_params)
        explainer = InfluenceExplainer(first, prefit=True, deletion=deletion)
        explainer.fit(X, y, sample_weight=sample_weight)
        study = study_of(explainer)
        if study.objective.learns:  # each row has a Hessian of its own
            return None
        return StrengthPath.of(study, strengths)
    except (ValueError, TypeError):
        return None  # each candidate says for itself what is wrong
