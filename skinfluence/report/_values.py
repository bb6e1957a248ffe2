"""The values of single rows: as they were given, or as the linear model reads them."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from scipy.sparse import issparse

from skinfluence.exceptions import InvalidDataError
from skinfluence.refit import refuse_other_rows
from skinfluence.study import Study
from skinfluence.support import host_rows

# Values shown of one row.
_MOST = 12


@final
@dataclass(frozen=True, eq=False)
class Values:
    """Rows and the names of their columns."""

    X: Any
    names: list[str]
    # (p,) size of the coefficients, or None: columns in their order
    weights: np.ndarray | None
    as_given: bool

    def of(self, row: int) -> dict[str, Any]:
        """Values of one row by name: all, or those with the largest share in it."""
        cells = self._cells(row)
        if self.weights is None:
            chosen = np.arange(min(len(cells), _MOST))
        else:
            size = np.abs(np.asarray(cells, dtype=float)) * self.weights
            chosen = np.sort(np.argsort(-size, kind="stable")[:_MOST])
            if len(cells) > _MOST:
                chosen = chosen[size[chosen] > 0]
        return {self.names[j]: cells[j] for j in chosen}

    def _cells(self, row: int) -> Any:
        X = self.X
        if hasattr(X, "iloc"):
            return list(X.iloc[row])
        if hasattr(X, "toarray"):
            return X[[row]].toarray()[0]
        return X[row]


def is_training(study: Study, X: Any, y: Any) -> bool:
    """Whether these are the training rows."""
    if X is None:
        return False
    try:
        refuse_other_rows(study, X, y)
    except InvalidDataError:
        return False
    return True


def values_of(study: Study, X_train: Any) -> Values:
    """The training rows, checked to be those of the study if they are given."""
    model = study.model
    size = np.abs(model.parameters[0]).sum(axis=0)
    if X_train is None:
        X = host_rows(study.objective.design.source)
        return Values(X, study.coefficient_names, size, model.transformer is None)
    refuse_other_rows(study, X_train, study.y)
    if hasattr(X_train, "columns"):
        names = [str(name) for name in X_train.columns]
        frame = X_train if hasattr(X_train, "iloc") else X_train.to_numpy()
        return Values(frame, names, None, True)
    X = X_train.tocsr() if issparse(X_train) else np.asarray(X_train)
    if X.ndim == 1:  # texts
        return Values(
            X[:, None], [getattr(X_train, "name", None) or "text"], None, True
        )
    given = getattr(study.features, "feature_names_in_", None)
    names = [f"x{j}" for j in range(X.shape[1])] if given is None else list(given)
    return Values(X, names, size if model.transformer is None else None, True)
