"""Operations that backends do differently: one file per backend, the same names in each.

``kernels(array)`` chooses by the array; no formula elsewhere asks what it holds.
"""

from types import ModuleType
from typing import Any

from array_api_compat import is_cupy_array, is_torch_array

from skinfluence._array import Array, is_numpy_array
from skinfluence._kernels import _generic, _numpy, _shifted, _sparse
from skinfluence._kernels._centred import ShiftedRows, SparseRows, densified
from skinfluence._kernels._gathered import GatheredForms
from skinfluence._kernels._grams import (
    AbstractGrams,
    PairwiseGrams,
    SeparateGrams,
    pays,
)
from skinfluence._kernels._shifted import ShiftedGrams
from skinfluence._kernels._sparse_grams import SparseGrams
from skinfluence.exceptions import MissingDependencyError


def kernels(array: Array) -> ModuleType:
    """The kernels that suit ``array``."""
    if isinstance(array, SparseRows):
        return _sparse
    if isinstance(array, ShiftedRows):
        return _shifted
    if is_numpy_array(array):
        return _numpy
    if is_cupy_array(array):
        return _load_cupy()
    return _load_torch() if is_torch_array(array) else _generic


def is_sparse(block: Array) -> bool:
    """Whether products with a block cost by its entries, not by its columns."""
    return isinstance(block, SparseRows)


def device_place(backend: str) -> Any:
    """An empty array of a backend, "cupy" or "torch", on its current device."""
    return (_load_cupy if backend == "cupy" else _load_torch)().place()


def _load_cupy() -> ModuleType:
    try:
        from skinfluence._kernels import _cupy
    except ImportError as error:
        raise MissingDependencyError(
            "backend='cupy' needs CuPy, built for your version of CUDA: pip install "
            "'skinfluence[cupy-cuda12x]' or 'skinfluence[cupy-cuda13x]' "
            f"({error})."
        ) from error
    return _cupy


def _load_torch() -> ModuleType:
    try:
        from skinfluence._kernels import _torch
    except ImportError as error:
        raise MissingDependencyError(
            f"backend='torch' needs PyTorch: pip install 'skinfluence[torch]' ({error})."
        ) from error
    return _torch


def weighted_grams(rows: Array, n_weights: int) -> AbstractGrams:
    """Zero totals (q, q) of this many weights of each row, for rows like some (b, q)."""
    width = rows.shape[1]
    if isinstance(rows, SparseRows):
        return SparseGrams(rows, n_weights)
    on_host = isinstance(rows, ShiftedRows) or is_numpy_array(rows)
    if on_host and pays(n_weights, width):
        return PairwiseGrams.empty(n_weights, width)
    if isinstance(rows, ShiftedRows):
        return ShiftedGrams.empty(n_weights, rows.centre)
    empty = kernels(rows).empty_gram
    return SeparateGrams([empty(width, rows) for _ in range(n_weights)], kernels)


def contenders(values: Any, least: Any, direction: float) -> Any:
    """Scores (m, b) above the least one of their row; None where nobody looks.

    See ``_numpy.contenders``. An accelerator sorts faster than it picks out.
    """
    if not is_numpy_array(values):
        return None
    return _numpy.contenders(values, least, direction)
