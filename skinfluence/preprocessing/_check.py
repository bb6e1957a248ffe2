"""Whether the rule of a transformer says what its refits do."""

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import Bunch

from skinfluence._following import Affine
from skinfluence._sources import source_of
from skinfluence.exceptions import InvalidParameterError
from skinfluence.preprocessing._base import Rule
from skinfluence.preprocessing._follow import Followed, follow
from skinfluence.preprocessing._registry import rule_of

_WEIGHT = "sample_weight"
# A derivative is a difference of fits to that many copies of each row, one row with a
# copy less and one with a copy more. What differs between the two is no derivative.
_COPIES = (128, 256)
_DERIVATIVE_ROWS, _DERIVATIVE_TOL = 5, 1e-3
_PROBED = 3  # rows that are left out of fits with weights, and of a part of the rows
_OF_OTHERS = "it follows columns of rows that it was not fitted to; "


def check_transformer(
    transformer: Any,
    X: Any,
    y: Any = None,
    *,
    rows: Any = None,
    groups: Any = None,
    tol: float = 1e-8,
) -> Bunch:
    """Compare the rule of a transformer with refits of the transformer.

    The transformer is fitted to all rows of ``X``, and to those without each row and
    without each group. The rule has to move the columns of the first fit to those of the
    others. A rule that is wrong is an ``AssertionError``, which says where.

    Parameters
    ----------
    transformer : transformer
        Of a registered class. It is cloned, never changed. The check holds for its
        parameters: repeat it for others that the rule reads.
    X : array, sparse matrix or DataFrame of shape (n, p)
        Some dozen rows, with the ties, gaps and extremes that the rule has to survive.
    y : array of shape (n,) or None, default=None
        Passed to ``fit``.
    rows : array of int or None, default=None
        Rows that are left out one by one; None leaves out each.
    groups : list of arrays of int or None, default=None
        Groups that are left out; None draws groups of 2 rows, a quarter and a half.
    tol : float, default=1e-8
        Largest error of rows and groups, as a part of the column's largest entry.

    Returns
    -------
    check : Bunch
        ``row_error``, ``group_error``
            Largest error of the columns, as a part of the largest entry of each.
        ``derivative_error``
            The same of the first-order change with a row's weight, of 5 rows; None where
            a fit to copies of all rows is another fit, or has no derivative.

    Raises
    ------
    AssertionError
        If the rule moves columns otherwise than refits; follows columns that the
        transformer was not fitted to; or states what is not so (``shifts``, ``scales``,
        ``absorbs_shifts``, ``absorbs_scales``, ``passes``).
    InvalidParameterError
        If the transformer is held: its class has no rule, or the rule gives a reason.

    See Also
    --------
    skinfluence.register_transformer : Registers a rule.
    skinfluence.check_leave_one_out : Compares results of a whole pipeline with refits.

    Notes
    -----
    Answers of NaN, by which a rule says that it does not know, and rows that its state
    ``decides`` by, which results are refits of, are not compared. Cost: a
    fit for each row and group, and twenty fits to 256 copies of all rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skinfluence.preprocessing import check_transformer
    >>> X = np.random.default_rng(0).normal(size=(30, 2))
    >>> check = check_transformer(StandardScaler(), X)
    >>> check.row_error < 1e-12
    True
    """
    fit = _Fit(transformer, _indexable(X), None if y is None else _indexable(y))
    if fit.followed.held_steps:
        raise InvalidParameterError(
            f"{transformer!r} is held: {fit.followed.in_words()}. Only a rule that follows "
            "it can be checked; register one with register_transformer."
        )
    n = fit.n_rows
    rows = np.arange(n) if rows is None else np.asarray(rows)
    groups = _drawn(n) if groups is None else [np.asarray(each) for each in groups]
    row_error, group_error = fit.row_error(rows, tol), fit.group_error(groups, tol)
    rule = rule_of(fit.fitted)
    if isinstance(rule, Rule):
        _refuse_false_statements(fit, rule, tol)
        if rule.takes_weights:
            weights = np.random.default_rng(0).gamma(1.0, size=n)
            weighted = replace(fit, weights=weights, blamed="with weights, ")
            weighted.row_error(rows[:_PROBED], tol)
            weighted.group_error(groups, tol)
    half = replace(fit, fitted_to=np.arange((n + 1) // 2), blamed=_OF_OTHERS)
    if not half.followed.held_steps:
        half.row_error(rows[:_PROBED], tol)
    return Bunch(
        row_error=row_error,
        group_error=group_error,
        derivative_error=fit.derivative_error(rows[:_DERIVATIVE_ROWS]),
    )


@final
@dataclass(frozen=True, eq=False)
class _Fit:
    """A transformer fitted to some of the rows, and what its rule says of all of them."""

    transformer: Any
    X: Any  # n rows
    y: Any
    weights: np.ndarray | None = None  # (n,)
    fitted_to: np.ndarray | None = None  # None: all rows
    blamed: str = ""

    @property
    def n_rows(self) -> int:
        return int(self.X.shape[0])

    def refit(self, rows: np.ndarray) -> Any:
        """A clone, fitted to some rows."""
        y = () if self.y is None else (_rows_of(self.y, rows),)
        named = {} if self.weights is None else {_WEIGHT: self.weights[rows]}
        return clone(self.transformer).fit(_rows_of(self.X, rows), *y, **named)

    def by_refit(self, rows: np.ndarray) -> np.ndarray:
        """All rows as a fit to some of them transforms them, (n, q)."""
        with warnings.catch_warnings():  # of categories that only rows have which left
            warnings.simplefilter("ignore")
            return _dense(self.refit(rows).transform(self.X))

    @cached_property
    def fitted(self) -> Any:
        every = np.arange(self.n_rows)
        return self.refit(every if self.fitted_to is None else self.fitted_to)

    @cached_property
    def columns(self) -> np.ndarray:
        return _dense(self.fitted.transform(self.X))

    @cached_property
    def followed(self) -> Followed:
        named = {} if self.weights is None else {f"__{_WEIGHT}": self.weights}
        source = source_of(self.columns)
        return follow(self.fitted, source, named, absorbs_shifts=True, X=self.X)

    def row_error(self, rows: np.ndarray, tol: float) -> float:
        """The largest error of columns without each of the rows that do not decide."""
        following = self.followed.following
        decided = None if following is None else following.decides()
        rows = rows if decided is None else rows[~decided[rows]]
        affine = self.answer("without", rows)
        errors = [
            self._error(Affine(*(each[k] for each in affine)), rows[k : k + 1], tol)
            for k in range(len(rows))
        ]
        return max(errors, default=0.0)

    def group_error(self, groups: list[np.ndarray], tol: float) -> float:
        """The largest error of columns without each of the groups."""
        affines = [self.answer("without_group", rows, 1) for rows in groups]
        errors = [
            self._error(Affine(*(each[0] for each in affine)), rows, tol)
            for affine, rows in zip(affines, groups, strict=True)
        ]
        return max(errors, default=0.0)

    def derivative_error(self, rows: np.ndarray) -> float | None:
        """The largest error of first-order changes; None where there is none to see."""
        ratio, shift = self.answer("derivative", rows)
        errors: list[float] = []
        for k, row in enumerate(rows):
            wanted, known = self._derivative(row)
            change = -shift[k] - ratio[k] * self.columns
            error = _error(change[:, known], wanted[:, known])
            errors.extend(error)
            if np.any(error > _DERIVATIVE_TOL):
                column = np.flatnonzero(known)[np.argmax(error)]
                raise AssertionError(
                    f"The rule of {self.name} has a wrong derivative in the weight of row "
                    f"{row}: column {column} is off by {np.max(error):.2g} of its largest "
                    f"change. It gives ratio {ratio[k, column]:.6g} and shift "
                    f"{shift[k, column]:.6g}."
                )
        return float(max(errors)) if errors else None

    @property
    def name(self) -> str:
        return type(self.transformer).__name__

    def differs(self, columns: np.ndarray, tol: float) -> bool:
        """Whether these are not the columns of the fit."""
        same_shape = columns.shape == self.columns.shape
        return not same_shape or bool(np.any(_error(columns, self.columns) > tol))

    def answer(self, ask: str, rows: np.ndarray, length: int | None = None) -> Affine:
        """What the rule says, of the right shape."""
        shape = (len(rows) if length is None else length, self.columns.shape[1])
        following = self.followed.following
        if following is None:
            unmoved = np.full(shape, 0.0 if ask == "derivative" else 1.0)
            return Affine(unmoved, np.zeros(shape))
        affine: Affine = getattr(following, ask)(rows)
        if any(np.shape(each) != shape for each in affine):
            raise AssertionError(
                f"{ask} of the rule of {self.name} must give ratio and shift of shape "
                f"{shape}; got {np.shape(affine.ratio)} and {np.shape(affine.shift)}."
            )
        return affine

    def _error(self, affine: Affine, leaving: np.ndarray, tol: float) -> float:
        """The largest error of the columns that a rule has moved."""
        rest = np.setdiff1d(np.arange(self.n_rows), leaving)
        wanted, moved = (
            self.by_refit(rest),
            (self.columns - affine.shift) / affine.ratio,
        )
        if wanted.shape != moved.shape and not np.any(np.isnan(affine.ratio)):
            # What vanishes with the rows may leave a column of zeros to the others.
            moved, wanted = _not_zero(moved[rest]), _not_zero(wanted[rest])
        where = f"The rule of {self.name} is wrong: {self.blamed}without rows {leaving}"
        if wanted.shape != moved.shape:
            if np.any(np.isnan(affine.ratio)):
                return 0.0
            raise AssertionError(
                f"{where} a refit has {wanted.shape[1]} columns, the rule "
                f"{moved.shape[1]}."
            )
        error = _error(moved, wanted)
        if np.any(error > tol):
            column = int(np.argmax(error))
            raise AssertionError(
                f"{where} column {column} is off by {error[column]:.2g} of its largest "
                f"entry. It gives ratio {affine.ratio[column]:.6g} and shift "
                f"{affine.shift[column]:.6g}."
            )
        return float(np.max(error, initial=0.0))

    def _derivative(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Change of the columns per weight of a row that goes, and where it is known."""
        slopes, known = [], np.ones(self.columns.shape[1], dtype=bool)
        for copies in _COPIES:
            every = np.repeat(np.arange(self.n_rows), copies)
            less, more = np.delete(every, row * copies), np.append(every, row)
            fits = [self.by_refit(rows) for rows in (every, less, more)]
            if any(columns.shape != self.columns.shape for columns in fits):
                return self.columns, np.zeros_like(known)
            known &= _error(fits[0], self.columns) < _DERIVATIVE_TOL
            slopes.append((fits[1] - fits[2]) * copies / 2)
        return slopes[1], known & (_error(slopes[0], slopes[1]) < _DERIVATIVE_TOL)


def _refuse_false_statements(fit: _Fit, rule: Rule, tol: float) -> None:
    """Refuse a rule whose flags are not what the transformer does."""
    ratio, shift = fit.answer("without", np.arange(fit.n_rows))
    false = {
        "shifts=False": not rule.shifts and np.any(shift),
        "scales=False": not rule.scales and np.any(ratio != 1),
        "passes=True": rule.passes and fit.differs(_dense(fit.X), tol),
    }
    chooses = isinstance(fit.fitted, SelectorMixin)  # passes what it does not absorb
    if rule.absorbs_shifts and not chooses:
        shifted = replace(fit, X=_dense(fit.X) + 1.0)
        false["absorbs_shifts=True"] = fit.differs(shifted.columns, tol)
    if rule.absorbs_scales and not chooses:
        scaled = replace(fit, X=2.0 * fit.X)
        false["absorbs_scales=True"] = fit.differs(scaled.columns, tol)
    for statement, is_false in false.items():
        if is_false:
            raise AssertionError(
                f"The rule of {fit.name} says {statement}; it is not so."
            )


def _error(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Largest difference in each column, per its largest entry, (q,).

    NaN among the values is no answer, and no error.
    """
    size = np.max(np.abs(np.nan_to_num(wanted)), axis=0, initial=0.0)
    gap = np.where(np.isnan(wanted), np.inf, np.abs(values - wanted))
    gap = np.where(np.isnan(values), 0.0, gap)
    return np.max(gap, axis=0, initial=0.0) / np.where(size > 0, size, 1.0)


def _not_zero(columns: np.ndarray) -> np.ndarray:
    return columns[:, np.any(columns != 0, axis=0)]


def _drawn(n_rows: int) -> list[np.ndarray]:
    """Groups of 2 rows, a quarter and a half."""
    rng = np.random.default_rng(0)
    return [rng.choice(n_rows, max(m, 2), False) for m in (2, n_rows // 4, n_rows // 2)]


def _indexable(X: Any) -> Any:
    return X if hasattr(X, "iloc") else X.tocsr() if issparse(X) else np.asarray(X)


def _rows_of(X: Any, rows: np.ndarray) -> Any:
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def _dense(Z: Any) -> np.ndarray:
    return Z.toarray() if issparse(Z) else np.asarray(Z)
