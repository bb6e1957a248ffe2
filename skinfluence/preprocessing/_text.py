"""Vectorizers of text: which terms there are without rows, and how rare."""

from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any, final

import numpy as np
from sklearn.feature_extraction.text import (
    CountVectorizer,
    TfidfTransformer,
    TfidfVectorizer,
)

from skinfluence._array import Array, array_namespace, to_numpy
from skinfluence._following import Affine
from skinfluence.preprocessing._base import (
    AbstractState,
    Deciding,
    NotFollowed,
    Rule,
    StepColumns,
)
from skinfluence.preprocessing._fitted import refuse_other_rows
from skinfluence.preprocessing._guards import GuardedState, falls, may_rise, rows_with
from skinfluence.preprocessing._registry import register_transformer
from skinfluence.preprocessing._terms import Terms


@final
@dataclass(frozen=True, eq=False)
class TfidfState(AbstractState):
    """``idf = log((n + s) / (df + s)) + 1``, for df rows with a term, and s = 0 or 1.

    A term that no other row has keeps its factor: its column is zero, whatever that is.
    """

    counts: Any  # (q,) df
    n_rows: int
    smooth: float  # s
    idf: Any  # (q,)

    @classmethod
    def of(cls, tfidf: Any, step: StepColumns, weight: Any) -> "TfidfState":
        """The state of a fitted step, whose rows have to be those it was fitted to."""
        counts, n = step.columns.nonzeros(), step.columns.shape[0]
        idf = step.fitted(tfidf.idf_)
        xp = array_namespace(idf)
        idf = xp.where(counts > 0, idf, xp.ones_like(idf))  # it may be infinite
        state = cls(counts, n, float(tfidf.smooth_idf), idf)
        refuse_other_rows(state._idf(float(n), counts), idf)
        return state

    def without(self, X: Array, rows: Array) -> Affine:
        xp = array_namespace(X)
        has = xp.astype(X != 0, X.dtype)
        return self._affine(self.n_rows - 1.0, self.counts - has)

    def without_group(self, X: Array, rows: Array) -> Affine:
        xp = array_namespace(X)
        has = xp.sum(xp.astype(X != 0, X.dtype), axis=0, keepdims=True)
        return self._affine(float(self.n_rows - X.shape[0]), self.counts - has)

    def derivative(self, X: Array, rows: Array) -> Affine:
        """``d idf = -dn / (n + s) + d df / (df + s)`` as rows leave."""
        xp = array_namespace(X)
        has, df = xp.astype(X != 0, X.dtype), self.counts + self.smooth
        df = xp.where(df > 0, df, xp.ones_like(df))
        ratio = (1 / (self.n_rows + self.smooth) - has / df) / self.idf
        return Affine(ratio, xp.zeros_like(ratio))

    def _idf(self, n: float, counts: Any) -> Any:
        """New factors; the old ones of terms that no row has."""
        xp, df = array_namespace(counts), counts + self.smooth
        new = (
            xp.log((n + self.smooth) / xp.where(counts > 0, df, n + self.smooth)) + 1.0
        )
        return xp.where(counts > 0, new, self.idf + 0.0 * counts)

    def _affine(self, n: float, counts: Any) -> Affine:
        ratio = self.idf / self._idf(n, counts)
        return Affine(ratio, array_namespace(counts).zeros_like(ratio))


def _scaled(tfidf: Any, state: Any, **kinds: Any) -> Rule | str:
    """The rule of terms that are multiplied, and of rows divided by their lengths."""
    powers = {None: None, "l1": 1, "l2": 2}
    if tfidf.norm not in powers:
        return f"norm={tfidf.norm!r} divides each row by a term that may be another"
    return Rule(state, scales=True, norm=powers[tfidf.norm], **kinds)


def _rule_of_tfidf(tfidf: TfidfTransformer) -> Rule | str:
    return _scaled(tfidf, TfidfState.of) if tfidf.use_idf else Rule()


def _limits(vectorizer: Any) -> str | None:
    """What a limit does that the terms left do not tell, if it has one."""
    limit, most = vectorizer.max_features, vectorizer.max_df
    if limit is not None and len(vectorizer.vocabulary_) >= limit:
        return "max_features may choose other terms when a row leaves"
    if isinstance(most, Integral) or most < 1.0:
        return "max_df may drop a term, or take one back, when a row leaves"
    return None


_MIN_DF = "min_df drops a term, or takes one in, when a row leaves"


def _keeps_all(vectorizer: Any) -> bool:
    """Whether no term is ever left out, or the vocabulary is given."""
    return bool(vectorizer.fixed_vocabulary_) or (
        isinstance(vectorizer.min_df, Integral) and vectorizer.min_df <= 1
    )


def _guarded(
    vectorizer: Any, step: StepColumns, weight: Any, scaled: bool = False
) -> AbstractState:
    """Terms that become too rare, or frequent enough, without rows."""
    inner = TfidfState.of(vectorizer, step, weight) if scaled else None
    limits = _limits(vectorizer)
    if limits is not None or not isinstance(vectorizer.min_df, Integral):
        if step.given is not None:
            terms = Terms.of(vectorizer, step.given.rows)
            return _counted(terms, step, limits or _MIN_DF, inner)
    if limits is not None:
        raise NotFollowed(limits)
    counts, n = to_numpy(step.columns.nonzeros()), step.columns.shape[0]
    minimum = 1 if _keeps_all(vectorizer) else vectorizer.min_df
    deciding = np.full(n, True)  # where what was too rare may be frequent enough
    if not may_rise(minimum, n, 1):
        least = np.flatnonzero(falls(counts, 1, minimum, n, 1))
        deciding = rows_with(step.columns, least)

    def changed(X: Any, rows: Any) -> np.ndarray:
        leaving = np.count_nonzero(to_numpy(X), axis=0)
        risen = may_rise(minimum, n, X.shape[0])
        return falls(counts, leaving, minimum, n, X.shape[0]) | risen

    return GuardedState(changed, Deciding(deciding, _MIN_DF), inner)


def _counted(
    terms: Terms, step: StepColumns, reason: str, inner: AbstractState | None
) -> AbstractState:
    """The same by all terms of the texts, also those that are left out."""

    def changed(X: Any, rows: Any) -> np.ndarray:
        return np.full(len(step.own), terms.changes_without(rows))

    return GuardedState(changed, Deciding(terms.deciding(), reason), inner)


def _rule_of_counts(vectorizer: CountVectorizer) -> Rule:
    if vectorizer.fixed_vocabulary_:
        return Rule()
    if _limits(vectorizer) is None and _keeps_all(vectorizer):
        return Rule()
    return Rule(_guarded, decides=True)


def _rule_of_both(vectorizer: TfidfVectorizer) -> Rule | str:
    counts = _rule_of_counts(vectorizer)
    if isinstance(counts, str) or not vectorizer.use_idf:
        return counts
    return _scaled(vectorizer, partial(_guarded, scaled=True), decides=True)


register_transformer(TfidfTransformer, _rule_of_tfidf)
register_transformer(CountVectorizer, _rule_of_counts)
register_transformer(TfidfVectorizer, _rule_of_both)
