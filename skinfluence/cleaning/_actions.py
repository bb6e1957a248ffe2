"""What is done about rows that look wrong: drop, downweight or relabel them."""

from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from skinfluence.support import by_row, checks, take_rows


@final
@dataclass(frozen=True)
class Rows:
    """Training rows as the user gave them, in their own types."""

    X: Any
    y: Any
    metadata: dict[str, Any]  # of fit; entries of length n belong to the rows
    n: int
    weight_name: str = "sample_weight"  # of the model's, among the metadata

    def after(self, action: str, chosen: Any, labels: Any) -> "Rows":
        """The rows after an action on the chosen ones, whose new labels are given."""
        if action == "drop":
            return self.at(np.setdiff1d(np.arange(self.n), chosen))
        if action == "downweight":
            return self._downweighted(chosen)
        return replace(self, y=relabelled(self.y, chosen, labels))

    def at(self, rows: Any) -> "Rows":
        """Some of the rows."""
        metadata = {
            name: take_rows(value, rows) if by_row(value, self.y) else value
            for name, value in self.metadata.items()
        }
        return replace(
            self,
            X=take_rows(self.X, rows),
            y=take_rows(self.y, rows),
            metadata=metadata,
            n=len(rows),
        )

    def _downweighted(self, chosen: Any) -> "Rows":
        """Weights in the order of the chosen rows: next to nothing for the worst."""
        name = self.weight_name
        weight = checks.weights(self.metadata.get(name), self.n).copy()
        weight[chosen] *= (np.arange(len(chosen)) + 0.5) / len(chosen)
        return replace(self, metadata={**self.metadata, name: weight})


def relabelled(y: Any, rows: Any, labels: Any) -> Any:
    """A copy of y, in its own type, with other labels for some rows."""
    if hasattr(y, "iloc"):
        y = y.copy()
        y.iloc[rows] = np.reshape(labels, y.iloc[rows].shape)
        return y
    if hasattr(y, "scatter"):  # a series of polars, changed in place
        return y.clone().scatter(rows, labels)
    y = np.asarray(y).copy()  # np.array(y) does not copy what __array__ returns
    y[rows] = np.reshape(labels, y[rows].shape)
    return y
