"""The rows that a step was given, made of those of the user when they are asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np


@final
@dataclass(frozen=True, eq=False)
class Given:
    """Training rows after some fitted steps, on the host."""

    make: Callable[[], Any]

    @cached_property
    def rows(self) -> Any:
        """The rows: an array, a frame, sparse rows, texts."""
        return self.make()

    def after(self, step: Any) -> "Given":
        """The rows that a fitted step makes of these."""
        return Given(lambda: step.transform(self.rows))

    def columns(self, which: np.ndarray, single: bool) -> "Given":
        """Some columns, by their positions; the rows of a single one have no axis."""

        def make() -> Any:
            indices = int(which[0]) if single else which
            X = self.rows
            if hasattr(X, "iloc"):
                return X.iloc[:, indices]
            X = X if hasattr(X, "shape") else np.asarray(X)
            return X[:, indices]

        return Given(make)
