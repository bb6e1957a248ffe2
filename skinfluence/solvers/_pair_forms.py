"""``X~_i inv(H) X~_i'`` of rows with several outputs, for all pairs of outputs at once."""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any, Self, final

from skinfluence._array import Array, array_namespace, device_of


@final
@dataclass(frozen=True, eq=False)
class PairForms:
    """The blocks ``S_kl`` of ``inv(H)`` for outputs k <= l, side by side.

    ``A_i[k, l] = x~_i' S_kl x~_i``: half the multiplications of squaring ``X~_i root``,
    in one product of matrices. It loses digits in proportion to the condition number of H,
    not to its square root.
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
        blocks = [S[:, k, :, m, :] for k, m in _pairs(K)]
        return cls(xp.concat(blocks, axis=-1), K)

    def of_rows(self, block: Array) -> Any:
        """``A_i`` of dense working rows (b, q), (b, G', K, K)."""
        xp, K = array_namespace(block), self.group_size
        b, q = block.shape
        products = xp.matmul(block[None, :, :], self.forms)
        products = xp.reshape(products, (self.forms.shape[0], b, -1, q))
        values = xp.matmul(products, block[None, :, :, None])[..., 0]  # (G', b, P)
        number = {pair: i for i, pair in enumerate(_pairs(K))}
        both = [number[min(k, m), max(k, m)] for k in range(K) for m in range(K)]
        A = xp.take(values, xp.asarray(both, device=device_of(block)), axis=-1)
        A = xp.reshape(A, (self.forms.shape[0], b, K, K))
        return xp.permute_dims(A, (1, 0, 2, 3))


def _pairs(K: int) -> list[tuple[int, int]]:
    """Pairs of outputs k <= m."""
    return list(combinations_with_replacement(range(K), 2))
