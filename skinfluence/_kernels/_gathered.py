"""Quadratic forms of sparse rows from single entries of their matrices.

``x' V x`` is a sum over pairs of the row's own entries: ``k (k + 1) / 2`` entries of V for
a row of k entries, where a product with a factor of V takes k for each of its columns.
"""

from typing import Any, NamedTuple, final

import numpy as np
from scipy.linalg import lapack

from skinfluence._array import Array
from skinfluence._kernels import _blas
from skinfluence._kernels._numpy import NUMPY
from skinfluence._kernels._sparse import SparseRows

# Seconds for a gathered entry, of a multiplication by a sparse row, and of one between
# dense matrices: medians on one core, of which only the ratios matter.
_GATHERED, _MULTIPLIED, _DENSE = 8e-9, 1e-9, 2e-11
# Entries gathered at once: they and their indices fit the second-level cache.
_ENTRIES = 2**16
# The terms of a form, against their sum: of more, four digits would be lost.
_MOST_CANCELLED = 1e4


class _Entries(NamedTuple):
    table: Any  # (p p, P) the entries of two columns, for all matrices side by side
    last: Any  # (p, P) those of a column and the intercept's
    corner: Any  # (P,) those of the intercept's own
    size: Any  # (p, d) root of the diagonal, for d matrices on the diagonal
    shift: Any  # (d,) the same of the intercept, and of centring


@final
class GatheredForms:
    """``X~_i inv(H) X~_i'`` of sparse rows, for ``inv(H) = root root'``.

    The centre goes into the matrices, not into the rows: ``x~' V x~`` is
    ``[x, 1]' W [x, 1]`` with ``W = E' V E`` and ``E = [I, -centre; 0, 1]``. Rows where the
    terms of that sum cancel are left to the caller.
    """

    def __init__(self, root: np.ndarray, n_outputs: int, *, triangular: bool) -> None:
        self.root = root  # (G, Kb q, r)
        self.n_outputs = n_outputs  # Kb
        self.triangular = triangular
        self._spent = 0.0  # seconds of products in place of these forms
        self._entries: _Entries | None = None
        self._raw: Any = None  # (G Kb, q, r) the root in coordinates [x, 1], in C order

    def __getstate__(self) -> dict[str, Any]:  # both are made again when asked for
        return {**vars(self), "_entries": None, "_raw": None}

    @property
    def _pairs(self) -> list[tuple[int, int]]:
        outputs = range(self.n_outputs)
        return [(k, j) for k in outputs for j in outputs if k <= j]

    def of(self, block: Any) -> Any:
        """(b, G, Kb, Kb), NaN in rows whose terms cancel; None where products are faster.

        The matrices are formed when products so far would have paid for them.
        """
        counts = np.diff(block.X.indptr).astype(np.float64)
        G, _, r = self.root.shape
        pairs = len(self._pairs) * G
        gathered = _GATHERED * float(counts @ (counts + 1)) / 2 * (1 + pairs) / 2
        multiplied = _MULTIPLIED * float(counts.sum()) * G * self.n_outputs * r
        entries = self._worth(block, gathered, multiplied)
        return None if entries is None else self._matrices(*_forms(block.X, entries))

    def steps(self, block: Any, slope: Array) -> Any:
        """``inv(H) X~_i' c_i`` for slopes c (b, G, 1), (b, G, D); None and NaN as above."""
        if self.n_outputs > 1:
            return None
        (b, n_groups), (G, D, r) = slope.shape[:2], self.root.shape
        multiplied = _MULTIPLIED * block.X.nnz * G * D
        entries = self._worth(block, multiplied, _DENSE * 2 * b * n_groups * D * r)
        if entries is None:
            return None
        forms, bounds = _forms(block.X, entries)
        rows_of_inverse = np.empty((b, n_groups, D))
        for g in range(n_groups):
            own = min(g, G - 1)
            rows_of_inverse[:, g, :] = slope[:, g] * self._products(block, entries, own)
        rows_of_inverse[np.any(bounds > _MOST_CANCELLED * forms, axis=1)] = np.nan
        return rows_of_inverse

    def _products(self, block: SparseRows, entries: _Entries, g: int) -> Any:
        """``inv(H) x~`` for each row, (b, D): ``E'^-1 W [x, 1]``."""
        X, p = block.X, block.X.shape[1]
        product = X @ entries.table[:, g].reshape(p, p)
        if not block.has_intercept:
            return product
        product += entries.last[:, g]
        own = X @ entries.last[:, g] + entries.corner[g] + product @ block.centre
        return np.concatenate([product, own[:, None]], axis=1)

    def halves(self, block: Any) -> Any:
        """Rows times the root, for each output, (G Kb, b, r)."""
        p = block.X.shape[1]
        if self._raw is None:  # centred, and in the order that SciPy multiplies, once
            G, _, r = self.root.shape
            shape = (G * self.n_outputs, block.shape[1], r)
            self._raw = np.array(self.root.reshape(shape), order="C")
            if block.has_intercept:
                for part in self._raw:
                    part[p] -= block.centre @ part[:p]
        halves = np.empty((len(self._raw), len(block), self._raw.shape[2]))
        for half, part in zip(halves, self._raw, strict=True):
            half[...] = block.X @ part[:p]
            if block.has_intercept:
                half += part[p]
        return halves

    def _worth(self, block: SparseRows, with_them: float, without: float) -> Any:
        """The matrices, if that many seconds with them are fewer than without."""
        G, D, r = self.root.shape
        if self._entries is None:
            self._spent += without
            formed = _DENSE * G * float(D) ** 2 * r / (3 if self.triangular else 1)
            if self._spent < formed + with_them:
                return None
        if without < with_them:
            return None
        if self._entries is None:
            self._raw = None  # room for what takes its place
            self._entries = self._formed(block.centre, block.has_intercept)
        return self._entries

    def _matrices(self, forms: Any, bounds: Any) -> Any:
        """Forms of all pairs (b, G P) as matrices, NaN where bounds (b, G Kb) say so."""
        G, Kb = self.root.shape[0], self.n_outputs
        forms = forms.reshape(len(forms), G, len(self._pairs))
        A = np.empty((len(forms), G, Kb, Kb))
        for place, (k, j) in enumerate(self._pairs):
            A[:, :, k, j] = A[:, :, j, k] = forms[:, :, place]
        own = np.diagonal(A, axis1=-2, axis2=-1).reshape(len(A), G * Kb)
        A[np.any(bounds > _MOST_CANCELLED * own, axis=1)] = np.nan
        return A

    def _formed(self, centre: np.ndarray, has_intercept: bool) -> _Entries:
        p, parts, sizes = len(centre), [], []
        for root in self.root:
            V = self._inverse(root)
            V = V.reshape(
                self.n_outputs, -1, self.n_outputs, V.shape[0] // self.n_outputs
            )
            sizes += [np.sqrt(np.diagonal(V[k, :, k])) for k in range(self.n_outputs)]
            parts += [
                (V[k, :, j] + V[k, :, j].T) / 2 if k < j else V[k, :, k]
                for k, j in self._pairs
            ]
        size = np.stack(sizes, axis=1)
        P = len(parts)
        table = parts[0][:p, :p].reshape(-1, 1) if P == 1 else np.empty((p * p, P))
        if P > 1:
            for place, part in enumerate(parts):
                table[:, place] = part[:p, :p].reshape(-1)
        last, corner, shift = np.zeros((p, P)), np.zeros(P), np.zeros(size.shape[1])
        if has_intercept:
            for place, part in enumerate(parts):
                last[:, place] = part[:p, p] - part[:p, :p] @ centre
                corner[place] = part[p, p] - centre @ (part[:p, p] + last[:, place])
            shift = size[p] + np.abs(centre) @ size[:p]
        return _Entries(table, last, corner, size[:p], shift)

    def _inverse(self, root: np.ndarray) -> Any:
        """``root root'``, symmetric."""
        if self.triangular and len(root) <= _blas.MOST_WHOLE:
            return NUMPY.finished_gram(lapack.dlauum(root, lower=False)[0])
        V = np.empty((len(root), len(root)))
        blocks = _blas.blocks_of(len(root))
        for k, rows in enumerate(blocks):
            for columns in blocks[k:]:
                # Nothing stands below the diagonal of a triangle.
                inner = slice(columns.start if self.triangular else 0, None)
                V[rows, columns] = root[rows, inner] @ root[columns, inner].T
                V[columns, rows] = V[rows, columns].T
        return V


def _forms(X: Any, entries: _Entries) -> tuple[Any, Any]:
    """``[x, 1]' W [x, 1]`` of each row and matrix (b, P); bounds of its terms (b, d)."""
    forms = _pair_sums(X, entries.table) + 2 * (X @ entries.last) + entries.corner
    return forms, (abs(X) @ entries.size + entries.shift) ** 2


def _pair_sums(X: Any, table: Any) -> Any:
    """``x' W x`` for each row and matrix, (b, P)."""
    counts = np.diff(X.indptr)
    order = np.argsort(counts, kind="stable")  # rows alike in length: little to fill up
    p, P = X.shape[1], table.shape[1]
    sums = np.zeros((len(counts), P))
    first = int(np.searchsorted(counts[order], 1))  # empty rows have none
    while first < len(order):
        size = max(_ENTRIES // (int(counts[order[first]]) * P), 1)
        rows = order[first : first + size]
        most = int(counts[rows[-1]])
        places = np.arange(most)[:, None]
        own = X.indptr[rows] + np.minimum(places, counts[rows] - 1)  # (k, b)
        columns = X.indices[own].astype(np.intp)
        values = np.where(places < counts[rows], X.data[own], 0.0)
        sums[rows] = _padded_sums(columns, values, table, p)
        first += size
    return sums


def _padded_sums(columns: np.ndarray, values: np.ndarray, table: Any, p: int) -> Any:
    """The same of rows of k columns and values, (k, b) each."""
    own = np.einsum("kb,kbj->bj", values**2, table[columns * (p + 1)])
    if table.shape[1] == 1:
        flat, total = table[:, 0], own[:, 0]
        for a in range(len(columns) - 1):
            gathered = flat.take(columns[a + 1 :] + columns[a] * p)
            gathered *= values[a + 1 :]
            total += 2 * values[a] * gathered.sum(axis=0)
        return total[:, None]
    for a in range(len(columns) - 1):
        gathered = table.take(columns[a + 1 :] + columns[a] * p, axis=0)
        own += (
            2 * values[a][:, None] * np.einsum("kb,kbj->bj", values[a + 1 :], gathered)
        )
    return own
