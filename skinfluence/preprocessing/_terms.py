"""Which terms a vectorizer keeps, by its limits of how rare and how common they are."""

from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import Any, final

import numpy as np
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer

from skinfluence._array import to_numpy
from skinfluence.preprocessing._base import NotFollowed


@final
@dataclass(frozen=True, eq=False)
class Terms:
    """All terms of the training texts, and which of them are chosen."""

    counts: csr_array  # (n, V)
    chosen: np.ndarray  # (V,) bool
    least: float  # min_df and max_df: a number of texts, or a share
    most: float
    limit: int | None  # max_features

    @classmethod
    def of(cls, vectorizer: Any, texts: Any) -> "Terms":
        """Those of a fitted vectorizer, counted again without its limits."""
        least, most = vectorizer.min_df, vectorizer.max_df
        every = clone(vectorizer).set_params(min_df=1, max_df=1.0, max_features=None)
        counts = csr_array(CountVectorizer.fit_transform(every, texts))
        chosen = np.zeros(counts.shape[1], dtype=bool)
        if not vectorizer.vocabulary_.keys() <= every.vocabulary_.keys():
            raise NotFollowed("it was fitted to other texts")
        chosen[[every.vocabulary_[term] for term in vectorizer.vocabulary_]] = True
        return cls(counts, chosen, least, most, vectorizer.max_features)

    @cached_property
    def texts(self) -> np.ndarray:
        """How many texts have each term, (V,)."""
        return np.bincount(self.counts.indices, minlength=self.counts.shape[1])

    @cached_property
    def totals(self) -> np.ndarray:
        """How often each term occurs, (V,)."""
        return self.counts.sum(axis=0)

    def deciding(self) -> np.ndarray:
        """Rows without which others are chosen, (n,) bool; perhaps a few more."""
        n, df = self.counts.shape[0], self.texts
        has, before = self.counts != 0, self._within(df, n)
        falls = (self._within(df - 1, n - 1) != before) & (df > 1)  # of terms it has
        moves = self._within(df, n - 1) != before
        rows = (has @ falls > 0) | (np.sum(moves) - has @ moves.astype(int) > 0)
        outside = self.totals[before & ~self.chosen]
        if len(outside):  # the chosen ones are more frequent than those
            entries = self.counts.tocoo()
            at, term = entries.coords
            left = self.totals[term] - entries.data
            close = self.chosen[term] & (left <= np.max(outside))
            rows[at[close]] = True
            rows |= np.any(self.totals[self.chosen] <= np.max(outside))
        return rows

    def changes_without(self, rows: Any) -> bool:
        """Whether others are chosen without a group."""
        leaving = self.counts[to_numpy(rows)]
        df = self.texts - np.bincount(leaving.indices, minlength=leaving.shape[1])
        totals, there = self.totals - leaving.sum(axis=0), df > 0
        within = self._within(df, self.counts.shape[0] - leaving.shape[0]) & there
        if self.limit is None or np.sum(within) <= self.limit:
            return bool(np.any((within != self.chosen)[there]))
        inside, outside = totals[within & self.chosen], totals[within & ~self.chosen]
        lost = np.any((self.chosen & ~within)[there]) or len(inside) != self.limit
        return bool(lost or np.max(outside) >= np.min(inside))

    def _within(self, texts: np.ndarray, n: int) -> np.ndarray:
        """Terms that are neither too rare nor too common among n texts."""
        least, most = (
            limit if isinstance(limit, Integral) else limit * n
            for limit in (self.least, self.most)
        )
        return (texts >= least) & (texts <= most)
