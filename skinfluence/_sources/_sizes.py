"""How many rows a block holds, for the host's cache or for a device."""

from sklearn import get_config

from skinfluence._array import Array
from skinfluence._kernels import kernels

# A block should fit the second-level cache together with one scaled copy of itself.
BLOCK_ENTRIES = 2**16
LEAST_ROWS, _MOST_ROWS = 256, 4096
# Not even the least number of rows may hold more entries than this, 64 MiB.
_MOST_ENTRIES = 2**23
# Rows that are multiplied where they lie: kernels copy parts of them into the cache.
_PLAIN_ENTRIES, _LEAST_PLAIN_ROWS, _MOST_PLAIN_ROWS = 2**19, 2048, 8192
# A sparse row has few entries, but what it is multiplied by is wide.
_MOST_SPARSE_ROWS = 2**15


def rows_in_block(
    width: int, place: Array | None = None, least_rows: int = LEAST_ROWS
) -> int:
    """Rows of ``width`` entries in a block that suits the cache of the host.

    Or the accelerator of an array ``place``: as many as its free memory allows, since
    each block costs the launch of its kernels.
    """
    width = max(width, 1)
    entries = None if place is None else kernels(place).block_entries(place)
    if entries is not None:
        return max(entries // width, 1)
    size = max(min(BLOCK_ENTRIES // width, _MOST_ROWS), least_rows)
    return max(min(size, _MOST_ENTRIES // width), 1)


def plain_rows_in_block(width: int) -> int:
    """Rows that are read where they lie, ``width`` entries read or made of each.

    Not more at a time than scikit-learn's ``working_memory`` holds.
    """
    entries = min(_PLAIN_ENTRIES, working_entries())
    return min(max(entries // max(width, 1), _LEAST_PLAIN_ROWS), _MOST_PLAIN_ROWS)


def sparse_rows_in_block(entries: int) -> int:
    """Sparse rows of about so many entries each, of which little is made."""
    return max(min(_MOST_SPARSE_ROWS, _MOST_ENTRIES // max(entries, 1)), 1)


def working_entries() -> int:
    """Float64 entries that fit scikit-learn's ``working_memory``."""
    return int(get_config()["working_memory"] * 2**20 / 8)
