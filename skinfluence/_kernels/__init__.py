"""What each array library does differently, and rows that multiply without being arrays.

``kernels(array)`` chooses by the array. A block of working rows is an array, or rows
centred by formula; ``@`` multiplies either, and the functions below take either.
"""

from typing import Any

from array_api_compat import is_cupy_array, is_torch_array

from skinfluence._array import Array, is_numpy_array, to_numpy
from skinfluence._kernels._centred import AbstractCentredRows, densified
from skinfluence._kernels._gathered import GatheredForms
from skinfluence._kernels._generic import AbstractKernels, PortableKernels
from skinfluence._kernels._grams import (
    AbstractGrams,
    PairwiseGrams,
    SeparateGrams,
    pays,
)
from skinfluence._kernels._numpy import NUMPY
from skinfluence._kernels._shifted import ShiftedGrams, ShiftedRows
from skinfluence._kernels._sparse import SparseRows
from skinfluence._kernels._sparse_grams import SparseGrams
from skinfluence.exceptions import MissingDependencyError

_PORTABLE = PortableKernels()


def kernels(array: Array) -> AbstractKernels[Any]:
    """The kernels that suit an array."""
    if is_numpy_array(array):
        return NUMPY
    if is_cupy_array(array):
        return _load_cupy()
    return _load_torch() if is_torch_array(array) else _PORTABLE


def device_place(backend: str) -> Array:
    """An empty array of a backend, "cupy" or "torch", on its current device."""
    return (_load_cupy if backend == "cupy" else _load_torch)().place()


def _load_cupy() -> Any:
    try:
        from skinfluence._kernels._cupy import CupyKernels
    except ImportError as error:
        raise MissingDependencyError(
            "backend='cupy' needs CuPy, built for your version of CUDA: pip install "
            "'skinfluence[cupy-cuda12x]' or 'skinfluence[cupy-cuda13x]' "
            f"({error})."
        ) from error
    return CupyKernels()


def _load_torch() -> Any:
    try:
        from skinfluence._kernels._torch import TorchKernels
    except ImportError as error:
        raise MissingDependencyError(
            f"backend='torch' needs PyTorch: pip install 'skinfluence[torch]' ({error})."
        ) from error
    return TorchKernels()


def is_sparse(block: Any) -> bool:
    """Whether products with a block cost by its entries, not by its columns."""
    return isinstance(block, SparseRows)


def squared_columns(block: Any, weight: Array) -> Any:
    """``sum_i weight_ik x~_ij**2``, (K, q), for weights (b, K)."""
    if isinstance(block, AbstractCentredRows):
        return block.squared_columns(to_numpy(weight))
    return weight.T @ block**2


def squared_row_norms(block: Any, T: Array, *, triangular: bool) -> Any:
    """Squared norms of the rows of ``block @ T``, (b,); T may be upper triangular."""
    if isinstance(block, AbstractCentredRows):
        return block.squared_row_norms(to_numpy(T), triangular=triangular)
    return kernels(block).squared_row_norms(block, T, triangular=triangular)


def weighted_grams(rows: Any, n_weights: int) -> AbstractGrams:
    """Zero totals (q, q) of this many weights of each row, for blocks like some rows."""
    width = rows.shape[1]
    if isinstance(rows, SparseRows):
        return SparseGrams(rows, n_weights)
    shifted = isinstance(rows, ShiftedRows)
    if pays(n_weights, width) and (shifted or is_numpy_array(rows)):
        return PairwiseGrams.empty(n_weights, width)
    if shifted:
        return ShiftedGrams.empty(n_weights, rows.centre)
    kernel = kernels(rows)
    totals = [kernel.empty_gram(width, rows) for _ in range(n_weights)]
    return SeparateGrams(totals, kernel)
