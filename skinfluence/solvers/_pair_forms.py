"""``X~_i inv(H) X~_i'`` of rows with several outputs, for all pairs of outputs at once."""

from dataclasses import dataclass
from typing import Any, Self, final

from skinfluence._array import Array, array_namespace, device_of


@final
@dataclass(frozen=True, eq=False)
class PairForms:
    """The blocks ``S_kl`` of ``inv(H)`` for outputs k <= l, side by side.

    ``A_i[k, l] = x~_i' S_kl x~_i``: half the multiplications of squaring ``X~_i root``,
    in one product of matrices. The digits that it loses are those of the condition number
    of H, not of its square root.
    """

    forms: Any  # (G', q, P q), of P = K (K + 1) / 2 pairs
    group_size: int

    @classmethod
    def of(cls, root: Array, group_size: int) -> Self:
        """From a root (G', K q, r), ``inv(H) = root root'``."""
        xp, K = array_namespace(root), group_size
        S = xp.matmul(root, xp.matrix_transpose(root))
        shape = (root.shape[0], K, root.shape[1] // K, K, root.shape[1] // K)
        S = xp.reshape(S, shape)
        pairs = [S[:, k, :, m, :] for k in range(K) for m in range(k, K)]
        return cls(xp.concat(pairs, axis=-1), K)

    def of_rows(self, block: Array) -> Any:
        """``A_i`` of dense working rows (b, q), (b, G', K, K)."""
        xp, K = array_namespace(block), self.group_size
        b, q = block.shape
        products = xp.matmul(block[None, :, :], self.forms)
        products = xp.reshape(products, (self.forms.shape[0], b, -1, q))
        values = xp.matmul(products, block[None, :, :, None])[..., 0]  # (G', b, P)
        place = [[_place(k, m, K) for m in range(K)] for k in range(K)]
        numbers = xp.reshape(xp.asarray(place, device=device_of(block)), (-1,))
        A = xp.take(values, numbers, axis=-1)
        A = xp.reshape(A, (self.forms.shape[0], b, K, K))
        return xp.permute_dims(A, (1, 0, 2, 3))


def _place(k: int, m: int, K: int) -> int:
    """Number of the pair of outputs k and m among those with k <= m."""
    k, m = min(k, m), max(k, m)
    return k * K - k * (k - 1) // 2 + m - k
