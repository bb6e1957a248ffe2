"""Two BLAS routines called without the interpreter's lock, so that threads overlap.

SciPy's own wrappers of BLAS hold the lock. ``scipy.linalg.cython_blas`` publishes the
routines behind them, and ``ctypes`` lets the lock go while it calls one. They also take
a leading dimension, where the wrappers would copy.
"""

import ctypes
import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
from scipy import LowLevelCallable
from scipy.linalg import cython_blas

from skinfluence._array import Array

# Entries that a thread keeps between blocks, 16 MiB: memory that is in the cache already
# is written twice as fast as new memory.
_MOST_KEPT = 2**21
# OpenBLAS crashes in a threaded Cholesky or symmetric product of 20,000 columns (seen in
# 0.3.31 at 2 threads): from here on blocks take their place.
MOST_WHOLE, BLOCK = 8192, 2048
# Entries that fit the second-level cache, and rows enough for BLAS to be at its speed.
_CACHED = 2**17
_LEAST_ROWS, _MOST_ROWS = 512, 2048


class _Kept(threading.local):
    entries = np.empty(0)


_kept = _Kept()


def in_cache(rows: Array) -> Iterator[slice]:
    """Slices of rows (b, q) that fit the cache and still keep BLAS busy."""
    n, width = rows.shape
    size = min(max(_CACHED // max(width, 1), _LEAST_ROWS), _MOST_ROWS)
    for first in range(0, n, size):
        yield slice(first, min(first + size, n))


def scratch(shape: tuple[int, int]) -> np.ndarray:
    """Rows (b, q) to write to, in memory that this thread's next call hands out again."""
    size = shape[0] * shape[1]
    if size > _MOST_KEPT:
        return np.empty(shape)
    if _kept.entries.shape[0] < size:
        _kept.entries = np.empty(size)
    return _kept.entries[:size].reshape(shape)


def scratch_copy(rows: np.ndarray) -> np.ndarray:
    """Rows (b, q) in float64 and C order, in such memory."""
    copied = scratch(rows.shape)
    np.copyto(copied, rows)
    return copied


def add_own_product(total: np.ndarray, rows: np.ndarray, sign: float) -> None:
    """``total += sign rows' rows`` in the upper triangle of total (q, q), in place.

    ``rows`` (b, q) in C order, ``total`` in Fortran's, both float64.
    """
    b, q = rows.shape
    if b == 0 or q == 0:
        return
    if q > MOST_WHOLE:
        for columns in blocks_of(q):
            above = slice(0, columns.stop)
            total[above, columns] += sign * (rows[:, above].T @ rows[:, columns])
        return
    # Rows in C order are the columns of rows' in Fortran's.
    _routine("dsyrk", 10)(
        b"U",
        b"N",
        _int(q),
        _int(b),
        _double(sign),
        _data(rows),
        _int(rows.strides[0] // rows.itemsize),
        _double(1.0),
        _data(total),
        _int(total.strides[1] // total.itemsize),
    )


def products_of_rows(rows: np.ndarray) -> np.ndarray:
    """``rows rows'``, (b, b)."""
    if len(rows) <= MOST_WHOLE:
        return rows @ rows.T  # NumPy sees the symmetry
    products = np.empty((len(rows), len(rows)), dtype=rows.dtype)
    for own in blocks_of(len(rows)):
        before = slice(0, own.stop)
        products[own, before] = rows[own] @ rows[before].T
        products[before, own] = products[own, before].T
    return products


def blocks_of(size: int) -> list[slice]:
    """Rows or columns of a matrix that is too large for BLAS as a whole."""
    return [slice(k, min(k + BLOCK, size)) for k in range(0, size, BLOCK)]


def multiply_triangular(
    rows: np.ndarray, T: np.ndarray, *, transposed: bool = False
) -> None:
    """``rows = rows @ T`` in place, or ``rows @ T'``, for T upper triangular.

    ``rows`` (b, q) in C order, T (q, q) with its rows or columns contiguous, float64.
    """
    b, q = rows.shape
    if b == 0 or q == 0:
        return
    # rows' = T' rows' in Fortran's order; a T in C order is a lower T' there.
    by_rows = T.strides[1] == T.itemsize
    if not by_rows and T.strides[0] != T.itemsize:
        T = np.asfortranarray(T)
    _routine("dtrmm", 11)(
        b"L",
        b"L" if by_rows else b"U",
        b"N" if by_rows != transposed else b"T",
        b"N",
        _int(q),
        _int(b),
        _double(1.0),
        _data(T),
        _int(max(T.strides[0 if by_rows else 1] // T.itemsize, 1)),
        _data(rows),
        _int(rows.strides[0] // rows.itemsize),
    )


@cache
def _routine(name: str, n_arguments: int) -> Callable[..., None]:
    capsule = LowLevelCallable.from_cython(cython_blas, name).function
    name_of = ctypes.pythonapi.PyCapsule_GetName
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype = ctypes.c_void_p
    pointer_of.argtypes = [ctypes.py_object, ctypes.c_char_p]
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * n_arguments)
    return kind(pointer_of(capsule, name_of(capsule)))


def _int(value: int) -> Any:
    return ctypes.byref(ctypes.c_int(value))


def _double(value: float) -> Any:
    return ctypes.byref(ctypes.c_double(value))


def _data(array: np.ndarray) -> Any:
    return array.ctypes.data
