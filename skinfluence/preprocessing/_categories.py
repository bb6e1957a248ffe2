"""OneHotEncoder and OrdinalEncoder: which categories there are without rows."""

from numbers import Integral
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from skinfluence._array import to_numpy
from skinfluence.preprocessing._base import (
    AbstractState,
    Deciding,
    NotFollowed,
    Rule,
    StepColumns,
)
from skinfluence.preprocessing._guards import GuardedState, falls, may_rise, rows_with
from skinfluence.preprocessing._registry import register_transformer


def _rule_of_one_hot(encoder: OneHotEncoder) -> Rule | str:
    """A category that vanishes leaves a column of zeros, unless others depend on it."""
    merges = encoder.min_frequency is not None or encoder.max_categories is not None
    if not merges and (encoder.drop is None or encoder.categories != "auto"):
        return Rule()
    if not merges:
        return Rule(_dropping, decides=True)
    if encoder.drop is not None:
        return (
            "drop together with infrequent categories changes columns when a row leaves"
        )
    if encoder.min_frequency is None and not _merges_most(encoder):
        return Rule()
    return Rule(_merging, decides=True)


def _merges_most(encoder: Any) -> bool:
    """Whether ``max_categories`` merges: already one that is too many for a merged one."""
    most = encoder.max_categories
    return most is not None and any(len(each) >= most for each in encoder.categories_)


def _dropping(encoder: OneHotEncoder, step: StepColumns, weight: Any) -> AbstractState:
    """``drop``: which category has no column depends on which have rows."""
    n_categories = [len(each) for each in encoder.categories_]
    drops = [False] * len(n_categories)
    if encoder.drop_idx_ is not None:
        drops = [each is not None for each in encoder.drop_idx_]
    widths = [n - drop for n, drop in zip(n_categories, drops, strict=True)]
    _refuse_parts(step, sum(widths))
    columns = step.columns
    counts, n = to_numpy(columns.nonzeros()), columns.shape[0]
    parts = _parts(widths)

    def is_other(feature: int, rest: np.ndarray, n_rest: int) -> bool:
        """Whether a feature has other columns, when so many rows of each are left."""
        unseen = n_rest - rest.sum()  # rows of the category that is dropped
        n_left = np.count_nonzero(rest) + (drops[feature] and unseen > 0)
        if encoder.drop == "if_binary":
            before = n_categories[feature]
            return bool(n_left != before and (before == 2 or n_left <= 2))
        return drops[feature] and bool(unseen <= 0)

    deciding, alone = np.zeros(n, dtype=bool), []
    for feature, part in enumerate(parts):
        own = counts[part]
        if is_other(feature, own, n):  # of other rows than it was fitted to
            deciding[:] = True
        # Without the last row of its category; that of the one dropped has no column.
        for k in np.flatnonzero(own == 1):
            if is_other(feature, own - (np.arange(len(own)) == k), n - 1):
                alone.append(part.start + k)
        if n - own.sum() == 1 and is_other(feature, own, n - 1):
            deciding |= ~rows_with(columns, np.arange(part.start, part.stop))
    deciding |= rows_with(columns, np.array(alone, dtype=int))

    def changed(X: Any, rows: Any) -> np.ndarray:
        rest, flags = (
            counts - to_numpy(X).sum(axis=0),
            np.zeros(len(counts), dtype=bool),
        )
        for feature, part in enumerate(parts):
            flags[part] = is_other(feature, rest[part], n - X.shape[0])
        return flags

    reason = (
        f"drop={encoder.drop!r} drops another category when the only row of one leaves"
    )
    return GuardedState(changed, Deciding(deciding, reason))


def _merging(encoder: OneHotEncoder, step: StepColumns, weight: Any) -> AbstractState:
    """Categories with a column of their own, which have to stay frequent."""
    if step.given is not None:
        return _counting(encoder, step, weight)
    if _merges_most(encoder):
        raise NotFollowed("max_categories may merge other categories when a row leaves")
    merged = [each is not None for each in encoder.infrequent_categories_]
    widths = [
        len(each) if rare is None else len(each) - len(rare) + 1
        for each, rare in zip(
            encoder.categories_, encoder.infrequent_categories_, strict=True
        )
    ]
    _refuse_parts(step, sum(widths))
    counts, n = to_numpy(step.columns.nonzeros()), step.columns.shape[0]
    minimum = encoder.min_frequency
    parts = _parts(widths)
    own = np.ones(len(counts), dtype=bool)  # not of merged categories, which come last
    for part, has_merged in zip(parts, merged, strict=True):
        if has_merged:
            own[part.stop - 1] = False

    def other(leaving: Any, n_leaving: int) -> np.ndarray:
        fallen = own & falls(counts, leaving, minimum, n, n_leaving)
        rises = may_rise(minimum, n, n_leaving)
        flags = np.zeros(len(counts), dtype=bool)
        for part, has_merged in zip(parts, merged, strict=True):
            flags[part] = np.any(fallen[part]) or (has_merged and rises)
        return flags

    # A share of fewer rows is less: what was merged may then be frequent enough.
    rises = may_rise(minimum, n, 1) and any(merged)
    least = np.flatnonzero(own & falls(counts, 1, minimum, n, 1))
    deciding = np.full(n, True) if rises else rows_with(step.columns, least)
    reason = "min_frequency merges other categories when a row leaves"
    return GuardedState(
        lambda X, rows: other(to_numpy(X).sum(axis=0), X.shape[0]),
        Deciding(deciding, reason),
    )


def _rule_of_ordinal(encoder: OrdinalEncoder) -> Rule | str:
    if encoder.min_frequency is not None or encoder.max_categories is not None:
        return Rule(_counting, decides=True)
    return Rule(_coding, decides=True) if encoder.categories == "auto" else Rule()


def _coding(encoder: OrdinalEncoder, step: StepColumns, weight: Any) -> AbstractState:
    """A category that vanishes lowers the codes above its own."""
    X = to_numpy(step.columns.block(slice(None)))
    # Missing values come last and have a code of their own; nothing is above the last.
    # Where it is unknown without its only row, that row itself gets another code.
    last = encoder.handle_unknown == "use_encoded_value"
    n_below = [_n_observed(encoder.categories_[k]) - 1 + last for k in step.own]
    counts = [_code_counts(X[:, k], n) for k, n in enumerate(n_below)]
    deciding = np.zeros(len(X), dtype=bool)
    for k, each in enumerate(counts):
        deciding |= np.isin(X[:, k], np.flatnonzero(each == 1))

    def changed(X: Any, rows: Any) -> np.ndarray:
        X = to_numpy(X)
        return np.array(
            [
                bool(np.any(_code_counts(X[:, k], len(each)) == each))
                for k, each in enumerate(counts)
            ]
        )

    reason = "other categories get other codes when the only row of one leaves"
    return GuardedState(changed, Deciding(deciding, reason))


def _counting(encoder: Any, step: StepColumns, weight: Any) -> AbstractState:
    """Which categories are merged for being rare, by the counts of all of them."""
    reason = "infrequent categories may be merged otherwise when a row leaves"
    if step.given is None:
        raise NotFollowed(reason)
    each_own = OneHotEncoder(categories=encoder.categories_, handle_unknown="ignore")
    has = csr_array(each_own.fit_transform(step.given.rows))  # (n, all categories)
    (n, _), counts = has.shape, has.sum(axis=0)
    parts = _parts([len(each) for each in encoder.categories_])
    merged = [_is_merged(encoder, counts[part], n) for part in parts]
    codes = isinstance(encoder, OrdinalEncoder)  # lower ones where one below vanishes

    def is_other(feature: int, rest: np.ndarray, n_rest: int) -> bool:
        there, before = rest > 0, merged[feature]
        if codes and not np.all(there | before | (counts[parts[feature]] == 0)):
            return True
        after = _is_merged(encoder, rest[there], n_rest)
        return not np.array_equal(after, before[there])

    alone = np.zeros(has.shape[1], dtype=bool)  # categories that lose one row
    for feature, part in enumerate(parts):
        own, one = counts[part], np.eye(part.stop - part.start)
        for k in np.flatnonzero(own):
            alone[part.start + k] = is_other(feature, own - one[k], n - 1)

    def changed(X: Any, rows: Any) -> np.ndarray:
        rest = counts - has[to_numpy(rows)].sum(axis=0)
        features = enumerate(parts)
        other = any(is_other(k, rest[part], n - len(rows)) for k, part in features)
        return np.full(len(step.own), other)

    return GuardedState(changed, Deciding(has[:, alone].sum(axis=1) > 0, reason))


def _is_merged(encoder: Any, counts: np.ndarray, n_rows: int) -> np.ndarray:
    """Categories that an encoder merges for their counts, (m,), as scikit-learn does."""
    minimum, most = encoder.min_frequency, encoder.max_categories
    merged = np.zeros(len(counts), dtype=bool)
    if minimum is not None:
        least = minimum if isinstance(minimum, Integral) else minimum * n_rows
        merged = counts < least
    if most is not None and most < len(counts) - np.sum(merged) + 1:
        order = np.argsort(counts, kind="stable")
        merged[order[: len(counts) - (most - 1)]] = True
    return merged


def _code_counts(codes: np.ndarray, n_codes: int) -> np.ndarray:
    """Rows with each of the first codes."""
    codes = codes[(codes >= 0) & (codes < n_codes)]
    return np.bincount(codes.astype(int), minlength=n_codes)


def _n_observed(categories: np.ndarray) -> int:
    """Categories but the missing value, which is not equal to itself, or None."""
    last = categories[-1] if len(categories) else None
    missing = last is None or (isinstance(last, float) and np.isnan(last))
    return len(categories) - missing


def _parts(widths: list[int]) -> list[slice]:
    """Columns of each feature."""
    ends = np.cumsum(widths)
    return [
        slice(int(end) - width, int(end))
        for end, width in zip(ends, widths, strict=True)
    ]


def _refuse_parts(step: StepColumns, width: int) -> None:
    if not np.array_equal(step.own, np.arange(width)):
        raise NotFollowed("some of its columns do not reach the model")


register_transformer(OneHotEncoder, _rule_of_one_hot)
register_transformer(OrdinalEncoder, _rule_of_ordinal)
