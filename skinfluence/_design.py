"""A design: rows of X in coordinates that lose no digits, and the way back.

A working row is ``x~ = [x - centre, 1]`` (without the 1, and without centring, where
there is no free intercept). X itself is never copied: blocks are made when asked for.
"""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, final

from skinfluence._array import Array, Rows, array_namespace, device_of, spread, to_numpy
from skinfluence._following import Gaps
from skinfluence._sources import AbstractSource, source_of

# Rows up to which a Gram matrix is kept, of 512 MiB: Newton steps share it.
_MOST_KEPT = 8192


@final
@dataclass(frozen=True, eq=False)
class Design:
    """Rows of X, with their intercept column and centre.

    ``B`` (q, K) are parameters in working coordinates, ``coef`` (K, p) and
    ``intercept`` (K,) those of the estimator: ``B = [coef', intercept + centre'coef']``.
    """

    source: AbstractSource  # (n, p), and which of the p columns are in use
    centre: Any  # (columns in use,) zero where the intercept is not free
    has_intercept: bool
    gaps: Gaps | None = None  # entries that steps have filled in, if those are followed

    @property
    def n_rows(self) -> int:
        """Number of rows n."""
        return self.source.shape[0]

    @property
    def n_features(self) -> int:
        """Number of features p."""
        return self.source.shape[1]

    @property
    def width(self) -> int:
        """Number of working columns q."""
        return self.source.width + self.has_intercept

    @property
    def columns(self) -> Any:
        """Features in use, of p; None for all."""
        return self.source.columns

    @property
    def is_sparse(self) -> bool:
        """Whether blocks are sparse: products cost by their entries."""
        return self.source.is_sparse

    @property
    def row_entries(self) -> int:
        """Entries of a working row, about."""
        return self.source.row_entries + self.has_intercept

    def block(self, rows: Rows, scratch: Any = None) -> Any:
        """Working rows ``x~`` of a slice or index array, (b, q): see the source."""
        return self.source.block(rows, self.centre, self.has_intercept, scratch)

    def of(self, X: Any, gaps: Gaps | None = None) -> "Design":
        """Other rows, an array of any kind or a source, in the same coordinates."""
        source = source_of(X, self.centre).with_columns(self.source.columns)
        return replace(self, source=source, gaps=gaps)

    def on_host(self) -> "Design":
        """The same design in NumPy."""
        columns = None if self.columns is None else to_numpy(self.columns)
        source = source_of(self.source.on_host()).with_columns(columns)
        gaps = self.gaps
        if gaps is not None:
            gaps = gaps._replace(mask=to_numpy(gaps.mask))
        return replace(self, source=source, centre=to_numpy(self.centre), gaps=gaps)

    def take(self, rows: Rows) -> "Design":
        """Some of the rows, by a slice or by indices."""
        gaps = None if self.gaps is None else self.gaps.take(rows)
        return replace(self, source=self.source.take(rows), gaps=gaps)

    def with_columns(self, columns: Array) -> "Design":
        """Some of the features, by their indices among those in use: all of them here."""
        centre = array_namespace(self.centre).take(self.centre, columns)
        return replace(self, source=self.source.with_columns(columns), centre=centre)

    @cached_property
    def for_products(self) -> "Design":
        """The same design, its blocks in the form that is multiplied fastest."""
        source = self.source.for_products(self.centre, self.has_intercept)
        return self if source is self.source else replace(self, source=source)

    def centred_by(self, weight: Array) -> "Design":
        """The same rows, centred by a weighted mean where the intercept is free."""
        return replace(self, centre=self.source.weighted_mean(weight))

    def row_gram(self, weight: Array) -> tuple[Any, bool]:
        """``X~ diag(weight) X~'``, (n, n), for weights of the working columns (q,).

        And whether it is kept, for the next weights alike, and must not be changed.
        """
        key = to_numpy(weight).tobytes()
        if key in self._grams:
            return self._grams[key], True
        constant = float(weight[-1]) if self.has_intercept else 0.0
        features = weight[: self.source.width]
        source = self.for_products.source
        gram = source.row_gram(self.centre, features, constant)
        if self.n_rows > _MOST_KEPT:
            return gram, False
        self._grams[key] = gram
        return gram, True

    @cached_property
    def _grams(self) -> dict[bytes, Any]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def to_working(self, coef: Array, intercept: Array) -> Any:
        """Parameters of the estimator, (K, p) and (K,), as ``B`` (q, K)."""
        xp = array_namespace(self.centre)
        if self.columns is not None:
            coef = xp.take(coef, self.columns, axis=1)
        if not self.has_intercept:
            return coef.T
        return xp.concat([coef.T, (intercept + coef @ self.centre)[None, :]], axis=0)

    def to_estimator(self, B: Array) -> tuple[Any, Any]:
        """``(..., K, q)`` to coefficients ``(..., K, p)`` and intercepts ``(..., K)``."""
        xp = array_namespace(B)
        if not self.has_intercept:
            zeros = xp.zeros(B.shape[:-1], dtype=B.dtype, device=device_of(B))
            return self._scattered(B), zeros
        coef = B[..., :-1]
        return self._scattered(coef), B[..., -1] - coef @ self.centre

    def _scattered(self, coef: Array) -> Any:
        """Coefficients of the features in use among zeros for the others."""
        return (
            coef
            if self.columns is None
            else spread(coef, self.columns, self.n_features)
        )
