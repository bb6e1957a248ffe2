"""Docstrings whose examples need an optional library are run where it is installed."""

import sys
from importlib.util import find_spec

import pytest

NEEDED = {"skinfluence/plotting": "matplotlib", "skinfluence/report": "jinja2"}
collect_ignore = [
    folder for folder, library in NEEDED.items() if find_spec(library) is None
]


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    """Examples draw; pyplot holds a figure until it is closed."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
