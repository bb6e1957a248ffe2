"""Kernels for PyTorch tensors: totals in place, factors without exceptions."""

from typing import Any, final

import torch

from skinfluence._kernels._generic import AbstractKernels

# A block and the temporaries made from it, in blocks; and the largest block, 1 GiB.
_TEMPORARIES, _MOST_ENTRIES = 16, 2**27


@final
class TorchKernels(AbstractKernels[Any]):
    """Totals in place, factors without exceptions, and the memory of the device."""

    def place(self) -> Any:
        """An empty tensor on PyTorch's default device."""
        return torch.empty(0, dtype=torch.float64)

    def free_bytes(self, like: Any) -> float:
        """Memory that tensors beside ``like`` can have; of the host, without a bound."""
        if like.device.type != "cuda":
            return float("inf")
        free, _ = torch.cuda.mem_get_info(like.device)
        held = torch.cuda.memory_reserved(like.device)
        return free + held - torch.cuda.memory_allocated(like.device)

    def block_entries(self, like: Any) -> int | None:
        """Entries of a block of rows; None for blocks that suit the host's cache."""
        if like.device.type != "cuda":
            return None
        return int(min(self.free_bytes(like) // (8 * _TEMPORARIES), _MOST_ENTRIES))

    def out_of_memory(self) -> tuple[type[BaseException], ...]:
        """What is raised where the device has no memory left."""
        return (torch.cuda.OutOfMemoryError,)

    def release(self) -> None:
        """Give memory that is held for later back to the device."""
        torch.cuda.empty_cache()

    def add_gram(self, total: Any, block: Any, weight: Any) -> Any:
        """``total + block' diag(weight) block``, in place; weights may have any sign."""
        return total.addmm_(block.T, weight[:, None] * block)

    def inverse_root_in_place(self, matrix: Any) -> Any | None:
        """T with ``T T' = inv(matrix)``; None unless positive definite."""
        L, info = torch.linalg.cholesky_ex(matrix)
        if int(info) != 0:
            return None
        eye = torch.eye(matrix.shape[0], dtype=matrix.dtype, device=matrix.device)
        T = torch.linalg.solve_triangular(L, eye, upper=False).T
        return T if bool(torch.isfinite(T).all()) else None

    def largest(self, scores: Any, k: int) -> Any:
        """Columns of the k largest scores of each row, in any order, (m, min(k, b))."""
        k = min(k, scores.shape[1])
        return torch.sort(
            torch.topk(scores, k, dim=1, sorted=False).indices, dim=1
        ).values
