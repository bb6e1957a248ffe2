"""Docstrings whose examples need an optional library are run where it is installed."""

from importlib.util import find_spec

NEEDED = {"skinfluence/plotting": "matplotlib", "skinfluence/report": "jinja2"}
collect_ignore = [
    folder for folder, library in NEEDED.items() if find_spec(library) is None
]
