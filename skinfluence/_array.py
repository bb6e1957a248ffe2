"""Array namespaces and devices, and the few operations that the array API lacks."""

from typing import Any, Protocol, TypeAlias

import array_api_compat
import array_api_compat.numpy as numpy_namespace
import numpy as np
from array_api_compat import device as device_of
from array_api_compat import (
    is_array_api_obj,
    is_cupy_array,
    is_dask_array,
    is_numpy_array,
    is_numpy_namespace,
    is_torch_array,
    to_device,
)


class Array(Protocol):
    """An array that keeps the array API standard: of NumPy, CuPy, PyTorch, or another.

    Operators give whatever their library makes of them. Host-only code says
    ``np.ndarray`` instead.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    @property
    def ndim(self) -> int:
        """Number of axes."""

    @property
    def dtype(self) -> Any:
        """Type of the elements."""

    @property
    def T(self) -> Any:
        """Two axes, exchanged."""

    def __getitem__(self, other: Any, /) -> Any: ...
    def __add__(self, other: Any, /) -> Any: ...
    def __radd__(self, other: Any, /) -> Any: ...
    def __sub__(self, other: Any, /) -> Any: ...
    def __rsub__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...
    def __rmul__(self, other: Any, /) -> Any: ...
    def __truediv__(self, other: Any, /) -> Any: ...
    def __rtruediv__(self, other: Any, /) -> Any: ...
    def __pow__(self, other: Any, /) -> Any: ...
    def __matmul__(self, other: Any, /) -> Any: ...
    def __rmatmul__(self, other: Any, /) -> Any: ...
    def __lt__(self, other: Any, /) -> Any: ...
    def __le__(self, other: Any, /) -> Any: ...
    def __gt__(self, other: Any, /) -> Any: ...
    def __ge__(self, other: Any, /) -> Any: ...
    def __setitem__(self, key: Any, value: Any, /) -> None: ...
    def __neg__(self) -> Any: ...
    def __invert__(self) -> Any: ...
    def __abs__(self) -> Any: ...
    def __float__(self) -> float: ...
    def __int__(self) -> int: ...
    def __bool__(self) -> bool: ...


# Training rows: consecutive ones, or by their indices.
Rows: TypeAlias = slice | Array


def array_namespace(*arrays: Any) -> Any:
    """The namespace of the arrays; NumPy's, asked for all the time, without a search."""
    for array in arrays:
        if type(array) is not np.ndarray:
            return array_api_compat.array_namespace(*arrays)
    return numpy_namespace


def is_foreign(array: Any) -> bool:
    """Whether this is an array of the array API standard, but not of NumPy."""
    return is_array_api_obj(array) and not is_numpy_array(array)


def to_numpy(array: Any) -> np.ndarray:
    """Host copy of an array of any library (NumPy arrays pass through)."""
    if type(array) is np.ndarray:
        return array
    if not is_foreign(array):
        return _from_other_containers(array)
    if is_cupy_array(array):  # it refuses __array__ and __dlpack__ to the host
        return array.get()
    if is_torch_array(array):
        return array.detach().cpu().numpy()
    host = array_namespace(array).__array_namespace_info__().default_device()
    return np.asarray(to_device(array, host))


def _from_other_containers(values: Any) -> np.ndarray:
    """Lists, tables, and what RAPIDS keeps attributes in (cuDF columns, Numba arrays)."""
    for method in ("copy_to_host", "to_numpy"):
        if hasattr(values, "__cuda_array_interface__") and hasattr(values, method):
            return np.asarray(getattr(values, method)())
    if type(values).__module__.startswith("cudf"):
        return values.to_numpy()
    return np.asarray(values)


def like(values: Any, reference: Any, dtype: Any = None) -> Any:
    """``values`` as a float64 array in the namespace and on the device of another."""
    xp = array_namespace(reference)
    return moved(values, reference, xp.float64 if dtype is None else dtype)


def moved(values: Any, reference: Any, dtype: Any = None) -> Any:
    """``values``, of their own type, in the namespace and on the device of another."""
    xp, device = array_namespace(reference), device_of(reference)
    if not is_foreign(values):
        values = _from_other_containers(values) if is_foreign(reference) else values
    elif _library(values) != _library(reference):
        values = to_numpy(values)
    elif device_of(values) != device:
        values = to_device(values, device)
    return xp.asarray(values, dtype=dtype, device=device)


def _library(array: Any) -> str:
    return array_namespace(array).__name__


def masked(array: Any, mask: Any) -> Any:
    """Rows of an array where the mask (n,) holds."""
    xp = array_namespace(array)
    return xp.take(array, xp.nonzero(mask)[0], axis=0)


def placed(values: Any, mask: Any) -> Any:
    """The reverse of ``masked``: values where the mask (n,) holds, else zeros."""
    xp = array_namespace(values)
    shape, device = (1, *values.shape[1:]), device_of(values)
    zero = xp.zeros(shape, dtype=values.dtype, device=device)
    padded = xp.concat([zero, values], axis=0)
    # Where the mask holds, its running count is the row of ``padded``.
    count = xp.cumulative_sum(xp.astype(mask, xp.int64)) * xp.astype(mask, xp.int64)
    return xp.take(padded, count, axis=0)


def spread(values: Any, columns: Any, width: int) -> Any:
    """Entries of the last axis at some indices of a longer one, among zeros."""
    xp, n_columns = array_namespace(values), columns.shape[0]
    place = np.full(width, n_columns)
    place[to_numpy(columns)] = np.arange(n_columns)
    shape, device = (*values.shape[:-1], 1), device_of(values)
    zeros = xp.zeros(shape, dtype=values.dtype, device=device)
    padded = xp.concat([values, zeros], axis=-1)
    return xp.take(padded, like(place, values, xp.int64), axis=-1)


def take_rows(array: Any, rows: Rows) -> Any:
    """Rows of an array, by a slice (a view) or by indices."""
    if isinstance(rows, slice):
        return array[rows, ...]
    return array_namespace(array).take(array, rows, axis=0)


def indices_in(rows: Rows, n_rows: int, place: Array) -> Any:
    """Rows of a slice or index array as indices, beside an array ``place``."""
    xp = array_namespace(place)
    if not isinstance(rows, slice):
        return like(rows, place, xp.int64)
    first, stop, _ = rows.indices(n_rows)
    return xp.arange(first, stop, device=device_of(place))


def of_group(array: Any, g: int, axis: int = 0) -> Any:
    """What holds for group g, where an axis has one entry per group or one for all."""
    return array[(*[slice(None)] * axis, min(g, array.shape[axis] - 1), ...)]
