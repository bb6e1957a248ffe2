"""Libraries that not every user has, asked for where they are used."""

import importlib
from typing import Any

from skinfluence.exceptions import MissingDependencyError


def require(module: str, purpose: str, extra: str, instead: str = "") -> Any:
    """A library by the name of its module, or an error that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise MissingDependencyError(
            f"{purpose} needs {name}, which is not installed. Install it with: "
            f"pip install 'skinfluence[{extra}]'.{instead}"
        ) from error
