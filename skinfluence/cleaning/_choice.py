"""Which rows are open to cleaning, and which of them are chosen."""

from typing import Any

import numpy as np

from skinfluence._warn import listed, warn
from skinfluence.exceptions import (
    DoubtfulInputWarning,
    InvalidDataError,
    InvalidParameterError,
)
from skinfluence.support import checks


def trusted_mask(trusted: Any, n: int, *, needed: bool) -> Any:
    """``trusted`` as a mask (n,), or None if not given."""
    if trusted is None:
        return None
    checks.refuse_chunks("trusted", trusted)
    mask = np.asarray(trusted)
    if mask.shape != (n,) or mask.dtype != bool:
        raise InvalidDataError(
            f"trusted must be a mask of True and False, one per row, shape ({n},); got "
            f"shape {mask.shape} of type {mask.dtype}. From row numbers: "
            "np.isin(np.arange(len(X)), rows)."
        )
    if needed and not mask.any():
        raise InvalidDataError(
            "criterion='influence' asks about the loss on trusted rows, but trusted is "
            "False for all of them. Mark some, or leave trusted out: held-out folds "
            "are asked then."
        )
    return mask


def valid_scores(scores: Any, n: int) -> Any:
    """What a callable criterion returned, as floats (n,); NaN is warned of."""
    try:
        values = checks.floats("criterion", scores)
    except InvalidDataError:
        values = np.empty(())
    if values.shape != (n,):
        raise InvalidParameterError(
            f"criterion must return one number per row, shape ({n},); it returned "
            f"{type(scores).__name__} of shape {np.shape(scores)}."
        )
    unknown = np.flatnonzero(np.isnan(values))
    if len(unknown) == n:
        raise InvalidParameterError(
            "criterion returned NaN for all rows: there is nothing to judge them by."
        )
    if len(unknown):
        warn(
            f"criterion returned NaN for {len(unknown)} of {n} rows, which are never "
            f"cleaned: {listed(unknown.tolist())}.",
            DoubtfulInputWarning,
        )
    return values


def worst(scores: Any, open_rows: Any, n_most: int, weighty: Any, labels: Any) -> Any:
    """At most ``n_most`` open rows with the highest scores, worst first.

    No class is emptied: where nothing else holds it, its mildest row stays.
    """
    # In single precision rows that are equal but for rounding tie, in their order.
    ranked = np.where(open_rows, scores, -np.inf).astype(np.float32)
    order = np.argsort(-ranked, kind="stable")
    order = order[: int(open_rows.sum())]
    if labels is not None and labels.ndim == 1:
        held = set(labels[weighty & ~open_rows].tolist())
        mildest = {labels[row]: row for row in order}  # the last of each class
        stays = [row for label, row in mildest.items() if label not in held]
        order = order[~np.isin(order, stays)]
    return order[:n_most]
