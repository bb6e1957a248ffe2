"""How far the model can be relied on: numbers, thresholds and a plain verdict."""

from typing import Any

import numpy as np

from skinfluence.exceptions import UnidentifiedDeletionError
from skinfluence.questions import LeftOut, score_of
from skinfluence.study import Study

GOOD, LOOK, BAD = "good", "look", "bad"


def verdict(value: float, good: float, look: float) -> str:
    """``good`` up to the first bound, ``look`` up to the second, else ``bad``."""
    if not np.isfinite(value):
        return BAD
    return GOOD if value <= good else LOOK if value <= look else BAD


def health(
    study: Study, columns: dict[str, Any], lost: Any, gap: float
) -> list[dict[str, Any]]:
    """One entry per number: value, verdict, thresholds, and what it means."""
    items = [
        _score_gap(gap),
        _stationarity(study),
        _condition(study),
        _effective_dof(study),
    ]
    if "leverage" in columns:
        items.append(_leverage(columns["leverage"]))
    items.append(_lost(lost))
    if study.solver.residuals is not None:
        items.append(_residual(study))
    return items


def _score_gap(gap: float) -> dict[str, Any]:
    return _item(
        "score_gap",
        "training score minus leave-one-out score",
        gap,
        verdict(gap, 0.02, 0.1),
        "good up to 0.02, look up to 0.1",
        "How much of the score on the training rows the model owes to having seen them.",
    )


def _stationarity(study: Study) -> dict[str, Any]:
    meaning = (
        "Distance of the fitted coefficients from the minimum of their objective, in "
        "median effects of deleting one row. "
    )
    if study.options.polish:
        look, threshold = 100.0, "good up to 1, look up to 100"
        meaning += (
            "The numbers here are computed at the minimum itself; a large value means "
            "that the optimiser stopped early: lower its tol."
        )
    else:
        look, threshold = 1.0, "good up to 1"
        meaning += (
            "The numbers here are computed at the coefficients as they are: with "
            "polish=True they would be at the minimum."
        )
    value = study.minimum.stationarity
    found = verdict(value, 1.0, look)
    return _item("stationarity", "stationarity", value, found, threshold, meaning)


def _condition(study: Study) -> dict[str, Any]:
    condition = study.point.factor.condition
    return _item(
        "condition",
        "condition number",
        condition,
        verdict(condition, 1e6, 1e10),
        "good up to 1e6, look up to 1e10",
        "How nearly dependent the features are, after scaling. Large: coefficients of "
        "the dependent features cannot be told apart.",
    )


def _effective_dof(study: Study) -> dict[str, Any]:
    n, dof = study.y.size, study.point.factor.effective_dof
    return _item(
        "effective_dof",
        "effective degrees of freedom",
        dof,
        verdict(dof / n, 0.1, 0.5),
        f"good up to n / 10 = {n / 10:g}, look up to n / 2 = {n / 2:g}",
        f"How many of the {n:,} targets the model can follow freely: the sum of the "
        "leverages.",
    )


def _lost(lost: Any) -> dict[str, Any]:
    return _item(
        "lost_rows",
        "rows that cannot be left out",
        int(np.sum(lost)),
        LOOK if np.any(lost) else GOOD,
        "good if none, else look",
        "Without such a row the others do not determine the model, so its "
        "leave-one-out numbers are empty.",
    )


def _residual(study: Study) -> dict[str, Any]:
    largest = study.solver.residuals.largest if study.solver.residuals else 0.0
    return _item(
        "residual",
        "relative residual of the solver",
        largest,
        verdict(largest, 1e-6, 1e-3),
        "good up to 1e-6, look up to 1e-3",
        "How exactly the iterative solver has solved its equations.",
    )


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


def scores(without: LeftOut) -> tuple[float, float]:
    """The estimator's own score on the training rows, and leave-one-out."""
    study = without.study
    training = float(study.model.on_outputs().score(study.outputs, study.y))
    try:
        return training, score_of(without)
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
