"""Balanced class weights: what other rows weigh when rows leave."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

from skinfluence._array import Array, array_namespace, device_of, like, take_rows

# A class of which rounding leaves this part of its sum has no rows.
_GONE = 1e-12


@final
@dataclass(frozen=True, eq=False)
class BalancedWeights:
    """Class weights ``W / (K N_c)``, learned of the rows and again without some.

    ``N_c`` is the sum over class c of what its rows count, W the sum over all classes,
    and K the number of classes that have rows. Weights are those of a row in each group
    of outputs, or the same in all: G or 1. Where one model is fitted to each class
    against the rest, a group has one such class, and the weights of the rest stay.
    """

    classes: Any  # (n, G or 1) int: class of each row; C where its weight stays
    counted: Any  # (n,) what each row counts: its sample weight, or 1
    n_classes: int  # C
    by_weight: bool  # sample weights are what is counted

    def beside(self, place: Array) -> "BalancedWeights":
        """The same with its arrays where ``place`` is."""
        classes = like(self.classes, place, array_namespace(place).int64)
        return replace(self, classes=classes, counted=like(self.counted, place))

    def without(self, rows: Array) -> Any:
        """What weights are multiplied by without each row (index), (b, C + 1, G or 1).

        1 for a class of which no rows are left; the last class is that of weights that
        stay.
        """
        return self._factors(self._counts(rows))

    def without_group(self, rows: Array) -> Any:
        """The same without these rows together, (1, C + 1, G or 1)."""
        counts = array_namespace(self.counted).sum(self._counts(rows), axis=0)
        return self._factors(counts[None, ...])

    def derivative(self, rows: Array) -> Any:
        """To first order, how factors differ from 1 as each row's weight goes to zero.

        Zero where classes are counted by rows.
        """
        counts = self._counts(rows)
        if not self.by_weight:
            return 0.0 * counts
        xp = array_namespace(counts)
        sums = xp.where(self._sums > 0, self._sums, xp.ones_like(self._sums))
        change = counts / sums - self._leaving(counts) / self._total
        return self._with_last(change[:, :-1, :], 0.0)

    def of_rows(self, factors: Array, rows: Array) -> Any:
        """What the weight of each row (index) is multiplied by, (b, G or 1).

        ``factors`` has a leading axis of these rows, or of length 1.
        """
        classes = take_rows(self.classes, rows)
        if factors.shape[0] == 1:
            return self.of_pairs(factors, classes)[..., 0]
        xp, (b, size, G) = array_namespace(factors), factors.shape
        place = xp.arange(b, device=device_of(factors))[:, None] * size + classes
        place = place * G + xp.arange(G, device=device_of(factors))
        values = xp.take(xp.reshape(factors, (-1,)), xp.reshape(place, (-1,)), axis=0)
        return xp.reshape(values, (b, G))

    def of_pairs(self, factors: Array, classes: Array) -> Any:
        """The same of rows of these classes by all factors (b, ...), (m, G or 1, b)."""
        xp, (b, size, G) = array_namespace(factors), factors.shape
        table = xp.reshape(xp.permute_dims(factors, (1, 2, 0)), (size * G, b))
        place = classes * G + xp.arange(G, device=device_of(factors))
        values = xp.take(table, xp.reshape(place, (-1,)), axis=0)
        return xp.reshape(values, (classes.shape[0], G, b))

    def of_class(self, c: int) -> Any:
        """Whether a row is of class c, in each group, (n, G or 1) bool."""
        return self.classes == c

    @cached_property
    def _sums(self) -> Any:
        """``N_c``, (C + 1, G or 1)."""
        xp = array_namespace(self.counted)
        counted, zero = self.counted[:, None], xp.zeros_like(self.counted)[:, None]
        return xp.stack(
            [
                xp.sum(xp.where(self.of_class(c), counted, zero), axis=0)
                for c in range(self.n_classes + 1)
            ]
        )

    @cached_property
    def _total(self) -> Any:
        """W, of one group as of any other."""
        return array_namespace(self.counted).sum(self.counted)

    def _counts(self, rows: Array) -> Any:
        """What rows (indices) count in their classes, (b, C + 1, G or 1)."""
        xp = array_namespace(self.counted)
        counted = take_rows(self.counted, rows)[:, None, None]
        own = self._indicator(take_rows(self.classes, rows))
        return xp.where(own, counted, xp.zeros_like(counted))

    def _indicator(self, classes: Array) -> Any:
        """Classes (b, G or 1) as a mask (b, C + 1, G or 1)."""
        xp = array_namespace(self.counted)
        every = xp.arange(self.n_classes + 1, device=device_of(self.counted))
        return classes[:, None, :] == every[:, None]

    def _leaving(self, counts: Array) -> Any:
        """What leaves W, (b, 1, 1)."""
        return array_namespace(counts).sum(counts[:, :, :1], axis=1, keepdims=True)

    def _factors(self, counts: Array) -> Any:
        """``(W' / W) (N_c / N_c') (K / K')`` where these counts leave."""
        xp, sums = array_namespace(counts), self._sums[:-1, :]
        left = sums - counts[:, :-1, :]
        some, before = left > _GONE * sums, sums[None, ...] > 0
        ratio = sums / xp.where(some, left, xp.ones_like(left))
        total = 1 - self._leaving(counts) / self._total
        factors = ratio * total * self._present(before) / self._present(some)
        factors = xp.where(some, factors, xp.ones_like(factors))
        return self._with_last(factors, 1.0)

    def _present(self, some: Array) -> Any:
        """How many classes have rows, (b, 1, G or 1); at least one.

        Of one class against the rest each, the groups have one class each.
        """
        axes = (1,) if self.n_classes > 1 else (1, 2)
        xp = array_namespace(some)
        number = xp.sum(xp.astype(some, xp.float64), axis=axes, keepdims=True)
        return xp.where(number > 0, number, xp.ones_like(number))

    def _with_last(self, values: Array, last: float) -> Any:
        """Values of classes, and behind them one of weights that stay."""
        xp = array_namespace(values)
        return xp.concat([values, xp.full_like(values[:, :1, :], last)], axis=1)
