"""Tables for the command line, and what it writes, read back."""

import csv
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from skinfluence.cli import main

PAGE = {"report.html"} if find_spec("jinja2") else set()
FILES = PAGE | {"influence.csv", "diagnostics.csv", "summary.json"}


def write(path, names, X, y):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([*x, label] for x, label in zip(X.tolist(), y, strict=True))


def rows_of(directory="skinfluence-audit"):
    """Read ``influence.csv`` as columns, in the order of the input's rows."""
    with open(f"{directory}/influence.csv", newline="", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["row"]))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def refuse(constant):
    raise AssertionError(f"{constant} is not strict JSON")


def summary_of(directory="skinfluence-audit"):
    with open(f"{directory}/summary.json", encoding="utf-8") as file:
        return json.load(file, parse_constant=refuse)


def audit(*arguments):
    assert main(["audit", *map(str, arguments)]) == 0


def files_in(directory):
    return {path.name for path in Path(directory).iterdir()}
