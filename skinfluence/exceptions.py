"""Every error and warning that skinfluence raises, one sentence each.

Errors derive from ``SkinfluenceError`` and from the built-in (or scikit-learn) type
that a user would expect, so ``except ValueError`` works as it does in scikit-learn.
"""

from sklearn.exceptions import NotFittedError

__all__ = [
    "SkinfluenceError",
    "UnsupportedEstimatorError",
    "UnfittedEstimatorError",
    "InvalidParameterError",
    "InvalidDataError",
    "InvalidTypeError",
    "InvalidWeightError",
    "UnknownLabelError",
    "SingleClassError",
    "SeparableDataError",
    "IndefiniteCurvatureError",
    "UnidentifiedDeletionError",
    "MissingDependencyError",
    "DeviceMemoryError",
    "SkinfluenceWarning",
    "NotStationaryWarning",
    "NotConvergedWarning",
    "RankDeficientWarning",
    "SeparableDeletionWarning",
    "UnidentifiedDeletionWarning",
    "PreprocessingDeletionWarning",
    "DoubtfulDeletionWarning",
    "ActiveSetWarning",
    "UnreachedFlipWarning",
    "DoubtfulInputWarning",
]


class SkinfluenceError(Exception):
    """Base of every error of this package."""


class UnsupportedEstimatorError(SkinfluenceError, TypeError):
    """The estimator, its loss or its penalty has no row in the support table."""


class UnfittedEstimatorError(SkinfluenceError, NotFittedError):
    """``prefit=True`` needs a fitted estimator, but it is not fitted."""


class InvalidParameterError(SkinfluenceError, ValueError):
    """A parameter of a constructor or method is outside its valid range."""


class InvalidDataError(SkinfluenceError, ValueError):
    """X or y cannot be used: NaN, infinity, a wrong shape, another number of features."""


class InvalidTypeError(InvalidDataError, TypeError):
    """X, y or another argument is of a type that cannot be read."""


class InvalidWeightError(InvalidDataError):
    """Sample weights are negative, all zero, not finite or of another length."""


class UnknownLabelError(InvalidDataError):
    """y holds labels that are unknown to the fitted classifier."""


class SingleClassError(InvalidDataError):
    """A classifier was given rows of one class only."""


class SeparableDataError(SkinfluenceError, ValueError):
    """The classes are separable and nothing is penalised: no finite optimum exists."""


class IndefiniteCurvatureError(SkinfluenceError, ArithmeticError, ValueError):
    """The curvature has a negative direction: the parameters are not at a minimum."""


class UnidentifiedDeletionError(SkinfluenceError, ValueError):
    """Without the row, the other rows do not determine the model."""


class MissingDependencyError(SkinfluenceError, ImportError):
    """An optional package is needed; the message names the extra that installs it."""


class DeviceMemoryError(SkinfluenceError, MemoryError):
    """The device has too little memory, even for small blocks of rows."""


class SkinfluenceWarning(UserWarning):
    """Base of every warning of this package."""


class NotStationaryWarning(SkinfluenceWarning):
    """The fitted parameters are far from the minimum of their objective on these rows."""


class NotConvergedWarning(SkinfluenceWarning):
    """An iteration stopped before its tolerance: the polish, or some exact deletions."""


class RankDeficientWarning(SkinfluenceWarning):
    """The rows do not determine all coefficients; minimum-norm ones are used."""


class SeparableDeletionWarning(SkinfluenceWarning):
    """Deleting these rows leaves separable classes: their refits have no finite optimum."""


class UnidentifiedDeletionWarning(SkinfluenceWarning):
    """Deleting these rows leaves a parameter undetermined: it is of minimum norm."""


class PreprocessingDeletionWarning(SkinfluenceWarning):
    """Without these rows, steps before the model cannot be fitted, or differ in shape."""


class DoubtfulDeletionWarning(SkinfluenceWarning):
    """The deltas of these rows are one step whose error may be as large as they are."""


class ActiveSetWarning(SkinfluenceWarning):
    """Deleting these rows would free or zero coefficients, which was not followed."""


class UnreachedFlipWarning(SkinfluenceWarning):
    """No set of rows was found whose deletion flips the sign."""


class DoubtfulInputWarning(SkinfluenceWarning):
    """What was given is used as it stands, but may not be what was meant."""
