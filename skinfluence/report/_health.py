"""How far the model can be relied on: numbers, thresholds and a plain verdict."""

from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skinfluence._array import take_rows, to_numpy
from skinfluence.exceptions import UnidentifiedDeletionError
from skinfluence.questions import LeftOut, score_of
from skinfluence.study import Study

GOOD, LOOK, BAD = "good", "look", "bad"
# Agreement with refits: the least correlation, and how far the slope may be from 1.
GOOD_PEARSON, GOOD_SLOPE = 0.99, 0.05
# Rows that are left out once more with all steps held, to see what these make.
_LEARNED_ROWS = 200
_SCORE_GAP = (
    "How much of the score on the training rows the model owes to having seen them."
)
_CONDITION = (
    "How nearly dependent the features are, after scaling. If it is large, the "
    "coefficients of dependent features are not determined separately."
)
_RESIDUAL = "How exactly the iterative solver has solved its equations."
_LOST = (
    "Without such a row the others do not determine the model: its leave-one-out numbers "
    "are those of minimum norm, or empty where there is no finite fit."
)


def health(
    study: Study, columns: dict[str, np.ndarray], lost: np.ndarray, gap: float
) -> list[dict[str, Any]]:
    """One entry per number: value, verdict, thresholds, and what it means."""
    label = "training score minus leave-one-out score"
    condition = study.point.factor.condition
    items = [
        _up_to((0.02, 0.1), "score_gap", label, gap, _SCORE_GAP),
        _stationarity(study),
        _up_to((1e6, 1e10), "condition", "condition number", condition, _CONDITION),
        _effective_dof(study),
    ]
    if "leverage" in columns:
        items.append(_leverage(columns["leverage"]))
    if (learned := _learned(study, columns)) is not None:
        items.append(learned)
    label, n_lost = "rows that cannot be left out", int(np.sum(lost))
    graded = LOOK if n_lost else GOOD, "good if none, else look"
    items.append(_item("lost_rows", label, n_lost, *graded, _LOST))
    if (residuals := study.solver.residuals) is not None:
        label = "relative residual of the solver"
        item = _up_to((1e-6, 1e-3), "residual", label, residuals.largest, _RESIDUAL)
        items.append(item)
    return items


def _stationarity(study: Study) -> dict[str, Any]:
    meaning = (
        "Distance of the fitted coefficients from the minimum of their objective, in "
        "median effects of deleting one row. The numbers here are computed at the "
    )
    if study.options.polish:
        look = 100.0
        meaning += (
            "minimum itself; a large value means that the optimiser stopped early: lower "
            "its tol."
        )
    else:
        look = 1.0
        meaning += (
            "coefficients as they are: with polish=True they would be at the minimum."
        )
    value = study.minimum.stationarity
    return _up_to((1.0, look), "stationarity", "stationarity", value, meaning)


def _effective_dof(study: Study) -> dict[str, Any]:
    n, dof = study.y.size, study.point.factor.effective_dof
    label = "effective degrees of freedom"
    meaning = (
        f"How many of the {n:,} targets the model can follow freely: the sum of the "
        "leverages."
    )
    item = _up_to((n / 10, n / 2), "effective_dof", label, dof, meaning)
    threshold = f"good up to n / 10 = {n / 10:g}, look up to n / 2 = {n / 2:g}"
    return {**item, "threshold": threshold}


def _leverage(leverage: np.ndarray) -> dict[str, Any]:
    largest = float(np.nanmax(leverage))
    meaning = (
        f"Row {int(np.nanargmax(leverage))}: the share of its prediction that its own "
        "target decides. Near 1 the model passes through the row."
    )
    return _up_to((0.5, 0.99), "largest_leverage", "largest leverage", largest, meaning)


def _learned(study: Study, columns: dict[str, np.ndarray]) -> dict[str, Any] | None:
    """How much of the change of rows' own losses comes from steps that learn again."""
    if study.objective.following is None and study.refits is None:
        return None
    n, rows = study.n_train, np.arange(study.n_train)
    if n > _LEARNED_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(n, _LEARNED_ROWS, replace=False))
    held, loss = study.held, columns["loss"][rows]
    objective, there = held.objective, held.here(rows)
    outputs, _ = held.deletion(len(rows)).left_out(there)
    targets = take_rows(objective.targets, there)
    with_held = to_numpy(objective.loss.value(targets, outputs)) - loss
    delta = columns["loo_loss"][rows] - loss
    known = np.isfinite(delta) & np.isfinite(with_held) & (delta != 0)
    if not known.any():
        return None
    rows, delta, with_held = rows[known], delta[known], with_held[known]
    share = np.abs(delta - with_held) / np.abs(delta)
    share = np.where(np.abs(delta) >= np.median(np.abs(delta)), share, 0.0)
    most, turned = int(np.argmax(share)), int(np.sum(delta * with_held < 0))
    off = 100 * share[most]
    meaning = (
        "The steps of the pipeline learn again without a row. Held as fitted, they would "
        f"put the change of its own loss off by up to {off:.{0 if off > 10 else 1}f} % "
        f"(row {rows[most]}; of rows that change by the median or more), and turn the "
        f"sign of {turned:,} of {len(rows):,}."
    )
    label, graded = (
        "largest share of a delta from preprocessing",
        "good: it is followed",
    )
    return _item("learned_share", label, float(share[most]), GOOD, graded, meaning)


def scores(without: LeftOut) -> tuple[float, float]:
    """The estimator's own score on the training rows, and leave-one-out."""
    study = without.study
    training = float(study.model.on_outputs().score(study.outputs, study.y))
    try:
        return training, score_of(without)
    except UnidentifiedDeletionError:
        return training, np.nan


def agreement_item(agreement: Bunch) -> dict[str, Any]:
    """The verdict on estimates against refits."""
    pearson, slope = float(agreement.pearson), float(agreement.slope)
    good = pearson >= GOOD_PEARSON and abs(slope - 1) <= GOOD_SLOPE
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


def _up_to(
    bounds: tuple[float, float], name: str, label: str, value: float, meaning: str
) -> dict[str, Any]:
    """``good`` up to the first bound, ``look`` up to the second, else ``bad``."""
    good, look = bounds
    verdict = GOOD if value <= good else LOOK if value <= look else BAD  # NaN is bad
    threshold = f"good up to {_bound(good)}"
    threshold += f", look up to {_bound(look)}" if look > good else ""
    return _item(name, label, value, verdict, threshold, meaning)


def _bound(value: float) -> str:
    """1e6, where Python writes 1e+06."""
    return f"{value:g}".replace("e+", "e").replace("e0", "e").replace("e-0", "e-")


def _item(
    name: str, label: str, value: float, verdict: str, threshold: str, meaning: str
) -> dict[str, Any]:
    keys = ("name", "label", "value", "verdict", "threshold", "meaning")
    values = (name, label, value, verdict, threshold, meaning)
    return dict(zip(keys, values, strict=True))
