"""Rows of X, wherever they are and however they are stored: one contract for all.

``source_of`` chooses the kind once, when X arrives. Nothing above asks again.
"""

from typing import Any

from scipy.sparse import issparse

from skinfluence._array import Array, is_foreign, moved, to_numpy
from skinfluence._kernels._sparse import as_csr
from skinfluence._sources._base import AbstractSource
from skinfluence._sources._dense import (
    AbstractDenseSource,
    ArraySource,
    FrameSource,
    HostSource,
)
from skinfluence._sources._sizes import LEAST_ROWS, rows_in_block, working_entries
from skinfluence._sources._sparse import SparseSource


def source_of(X: Any, place: Array | None = None) -> AbstractSource:
    """Rows of X as a source, in the library and on the device of ``place``.

    Where none is given, they stay where they are. Sparse X is filled for a device.
    """
    on_device = is_foreign(X if place is None else place)
    if isinstance(X, AbstractSource):
        if place is None or is_foreign(X.place) == on_device:
            return X
        X = X.on_host()
    if issparse(X):
        if not on_device:
            return SparseSource(as_csr(X))
        X = X.toarray()
    if on_device:
        return ArraySource(X if place is None else moved(X, place))
    return ArraySource(to_numpy(X))
