"""How far the model can be relied on: numbers, thresholds and a plain verdict."""

from typing import Any

import numpy as np
from sklearn.base import is_classifier

from skinfluence._array import to_numpy
from skinfluence.exceptions import UnidentifiedDeletionError

GOOD, LOOK, BAD, NONE = "good", "look", "bad", "none"


def verdict(value: float, good: float, look: float) -> str:
    """``good`` up to the first bound, ``look`` up to the second, else ``bad``."""
    if not np.isfinite(value):
        return BAD
    return GOOD if value <= good else LOOK if value <= look else BAD


def health(explainer: Any, columns: dict[str, Any], lost: Any) -> list[dict[str, Any]]:
    """One entry per number: value, verdict, thresholds, and what it means."""
    n, dof = explainer._train_y.size, explainer.effective_dof_
    training, left_out = scores(explainer)
    gap = training - left_out
    items = [
        _item(
            "score_gap",
            "training score minus leave-one-out score",
            gap,
            verdict(gap, 0.02, 0.1),
            "good up to 0.02, look up to 0.1",
            f"{_score_name(explainer)}: {training:.4f} on the training rows, "
            f"{left_out:.4f} when each row is predicted without it. The gap is what the "
            "model owes to having seen the rows.",
        ),
        _item(
            "stationarity",
            "stationarity",
            explainer.stationarity_,
            verdict(explainer.stationarity_, 1.0, 100.0 if explainer.polish else 1.0),
            "good up to 1, look up to 100"
            if explainer.polish
            else "good up to 1; polish=False, so nothing mends more",
            "Distance of the fitted coefficients from the minimum of their objective, "
            "in median effects of deleting one row. "
            + (
                "Everything here is computed at the minimum; a large value means that "
                "the optimiser stopped early: lower its tol."
                if explainer.polish
                else "Everything here is computed at the coefficients as they are."
            ),
        ),
        _item(
            "condition",
            "condition number",
            explainer.condition_,
            verdict(explainer.condition_, 1e6, 1e10),
            "good up to 1e6, look up to 1e10",
            "How nearly dependent the features are, after scaling. Large: coefficients "
            "of the dependent features cannot be told apart.",
        ),
        _item(
            "effective_dof",
            "effective degrees of freedom",
            dof,
            verdict(dof / n, 0.1, 0.5),
            f"good up to n / 10 = {n / 10:g}, look up to n / 2 = {n / 2:g}",
            f"How many of the {n:,} targets the model can follow freely: the sum of "
            "the leverages.",
        ),
    ]
    if "leverage" in columns:
        items.append(_leverage(columns["leverage"]))
    items.append(
        _item(
            "lost_rows",
            "rows that cannot be left out",
            int(np.sum(lost)),
            GOOD if not np.any(lost) else LOOK,
            "good if none, else look",
            "Without such a row the others do not determine the model, so its "
            "leave-one-out numbers are empty.",
        )
    )
    if explainer.solver_ in ("cg", "lissa"):
        items.append(
            _item(
                "residual",
                "relative residual of the solver",
                explainer.residual_,
                verdict(explainer.residual_, 1e-6, 1e-3),
                "good up to 1e-6, look up to 1e-3",
                "How exactly the iterative solver has solved its equations.",
            )
        )
    return items


def _leverage(leverage: Any) -> dict[str, Any]:
    largest = float(np.nanmax(leverage))
    return _item(
        "largest_leverage",
        "largest leverage",
        largest,
        verdict(largest, 0.5, 0.99),
        "good up to 0.5, look up to 0.99",
        f"Row {int(np.nanargmax(leverage))}: the share of its prediction that its own "
        "target decides. Near 1 the model passes through the row.",
    )


def scores(explainer: Any) -> tuple[float, float]:
    """The estimator's own score on the training rows, and leave-one-out."""
    model, point = explainer._model, explainer._point
    outputs = to_numpy(point.outputs)[:, : model.n_outputs]
    training = float(model.on_outputs().score(outputs, explainer._train_y))
    try:
        return training, explainer.loo_score()
    except UnidentifiedDeletionError:
        return training, np.nan


def agreement_item(agreement: Any) -> dict[str, Any]:
    """The verdict on estimates against refits."""
    pearson, slope = float(agreement.pearson), float(agreement.slope)
    good = pearson >= 0.99 and abs(slope - 1) <= 0.05
    fair = pearson >= 0.9 and abs(slope - 1) <= 0.25
    return _item(
        "agreement",
        "agreement with refits",
        pearson,
        GOOD if good else LOOK if fair else BAD,
        "good from r = 0.99 and a slope of 1 within 0.05, look from r = 0.9 and 0.25",
        f"Correlation r of the predicted with the refitted change, over "
        f"{len(agreement.rows)} rows really left out; the slope of refitted on "
        f"predicted is {slope:.4f}. If it is not good, use deletion='exact'.",
    )


def _score_name(explainer: Any) -> str:
    return "Accuracy" if is_classifier(explainer._model.estimator) else "Score"


def _item(
    name: str, label: str, value: Any, found: str, threshold: str, meaning: str
) -> dict[str, Any]:
    return dict(
        name=name,
        label=label,
        value=value,
        verdict=found,
        threshold=threshold,
        meaning=meaning,
    )
