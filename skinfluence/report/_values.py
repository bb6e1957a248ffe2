"""The values of single rows: as they were given, or as the linear model reads them."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from skinfluence.exceptions import InvalidDataError
from skinfluence.explainer._diagnostics import coefficient_names
from skinfluence.refit import refuse_other_rows

# Values shown of one row.
_MOST = 12


@final
@dataclass(frozen=True, eq=False)
class Values:
    """Rows and the names of their columns."""

    X: Any
    names: list[str]
    weights: Any  # (p,) size of the coefficients, or None: columns in their order
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


def is_training(explainer: Any, X: Any, y: Any) -> bool:
    """Whether these are the explainer's own rows."""
    if X is None:
        return False
    try:
        refuse_other_rows(explainer, X, y)
    except InvalidDataError:
        return False
    return True


def values_of(explainer: Any, X_train: Any) -> Values:
    """The training rows, checked to be those of the explainer if they are given."""
    model = explainer._model
    if X_train is not None:
        refuse_other_rows(explainer, X_train, explainer._train_y)
        if hasattr(X_train, "columns"):
            names = [str(name) for name in X_train.columns]
            frame = X_train if hasattr(X_train, "iloc") else X_train.to_numpy()
            return Values(frame, names, None, True)
        X = X_train.tocsr() if hasattr(X_train, "tocsr") else np.asarray(X_train)
        plain = model.transformer is None
        size = np.abs(model.parameters[0]).sum(axis=0) if plain else None
        given = getattr(explainer, "feature_names_in_", None)
        names = [f"x{j}" for j in range(X.shape[1])] if given is None else list(given)
        return Values(X, names, size, True)
    names = coefficient_names(model, getattr(explainer, "feature_names_in_", None))
    X = explainer._point.objective.design.X
    X = X.tocsr() if hasattr(X, "tocsr") else np.asarray(X)
    size = np.abs(model.parameters[0]).sum(axis=0)
    return Values(X, names, size, model.transformer is None)
