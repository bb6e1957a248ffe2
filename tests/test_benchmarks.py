"""The benchmark programs run, at tiny sizes, and their contestants answer the question."""

import contextlib
import importlib
import inspect
import io
import json
import os
import pkgutil
import re
import runpy
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
DOCS = Path(__file__).parents[1] / "docs"
EXTENSIONS = DOCS / "_ext"
sys.path.insert(0, str(BENCHMARKS))

import contests  # noqa: E402
import peers  # noqa: E402
import pipelines  # noqa: E402
import suite  # noqa: E402
from contests import _attempt  # noqa: E402

CONTESTS = {
    f"{module.name}.{contest.name}": contest
    for module in pkgutil.iter_modules(contests.__path__)
    if not module.name.startswith("_")
    for contest in importlib.import_module(f"contests.{module.name}").CONTESTS
}
ANSWERS = [
    pytest.param(contest, own, id=f"{name}-{own.name}")
    for name, contest in CONTESTS.items()
    for own in contest.contestants
    if not own.absent
]


# Warnings are the peers' own.
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("contest, own", ANSWERS)
def test_contestant_answers(contest, own):
    if own.package:
        pytest.importorskip(own.package)
    problem = contest.problem(**contest.small)
    found = own.prepare(problem)()
    if own.read is not None:
        assert contest.judge(own.read(found), contest.definition(problem))


EXACT = [
    pytest.param(CONTESTS[name], id=name)
    for name in ("influence.matrix", "influence.self")
]


@pytest.mark.parametrize("contest", EXACT)
def test_skinfluence_meets_the_definition(contest):
    problem = contest.problem(**contest.small)
    ours = contest.contestants[0]
    found = ours.read(ours.prepare(problem)())
    # Rounding, of values relative to the largest.
    assert float(contest.judge(found, contest.definition(problem))) < 1e-10


@pytest.fixture
def driver(monkeypatch):
    """The driver in this process; what it starts twice is started once, then called."""
    start, started = peers.run, set()

    def run(command):
        _, program, *rest = command
        if program not in started:
            started.add(program)
            return start(command)
        if program == str(peers.ATTEMPT):
            return _attempt.main(*rest)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(rest[0], {})
        return json.loads(out.getvalue())

    def main(*arguments):
        command = ["peers.py", "--python", sys.executable, *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        peers.main()

    monkeypatch.setattr(peers, "run", run)
    return main


def test_driver_prints_tables_and_writes_the_record(tmp_path, driver, capsys):
    chosen = ["--only", "influence.self", "--small", "--rounds", "2"]
    driver(*chosen, "--out", tmp_path)
    assert "| NumPy, by hand |" in capsys.readouterr().out
    lines = json.loads((tmp_path / "peers.json").read_text())["contests"][0]["lines"]
    assert [line["name"] for line in lines[:2]] == ["skinfluence", "NumPy, by hand"]
    assert lines[0]["rounds"] == 2 and lines[0]["ratio"] == 1.0
    assert all(line["cpu"] > 0 for line in lines[:2])
    # Another contest stands beside it; what is there is not run again.
    more = ["--only", "influence.self", "scoring.ridge_search", "--resume", "--small"]
    driver(*more, "--rounds", "1", "--out", tmp_path)
    held = json.loads((tmp_path / "peers.json").read_text())["contests"]
    assert [each["name"] for each in held] == [
        "influence.self",
        "scoring.ridge_search",
    ]
    assert [each["lines"][0]["rounds"] for each in held] == [2, 1]


# --- the tables made of the record that is committed ---

RECORD = BENCHMARKS / "results" / "peers.json"
CONTESTANTS = [
    line["name"]
    for contest in json.loads(RECORD.read_text())["contests"]
    for line in contest["lines"]
]


def test_show_prints_the_record_and_runs_nothing():
    program = [sys.executable, BENCHMARKS / "peers.py", "--show"]
    command = [*program, "--out", RECORD.parent]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    cells = [line.split(" | ") for line in shown.splitlines() if line.startswith("| ")]
    names = [row[0].removeprefix("| ").partition(" [")[0] for row in cells]
    assert [name for name in names if name not in ("contestant", "---")] == CONTESTANTS
    assert {len(row) for row in cells} == {7}


def test_documentation_makes_its_tables_from_the_record(tmp_path):
    pytest.importorskip("sphinx")
    page = (
        f"Results\n-------\n\n.. peers-tables:: {os.path.relpath(RECORD, tmp_path)}\n"
    )
    (tmp_path / "index.rst").write_text(page)
    program = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "-C",
        "-D",
        "extensions=peers_tables",
    ]
    subprocess.run(
        [*program, "-b", "xml", tmp_path, tmp_path / "out"],
        check=True,
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([str(BENCHMARKS), str(EXTENSIONS)])},
    )
    rows = ElementTree.parse(tmp_path / "out" / "index.xml").findall(".//tbody/row")
    cells = [["".join(entry.itertext()).strip() for entry in row] for row in rows]
    assert [row[0].partition(" [")[0] for row in cells] == CONTESTANTS
    assert {len(row) for row in cells} == {7}


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ["accuracy", "solvers", "selection"])
def test_small_runs_end(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--quick"])
    runpy.run_path(str(BENCHMARKS / f"{name}.py"), run_name="__main__")
    last = capsys.readouterr().out.splitlines()[-1]
    ends = {
        "accuracy": "| exact |",
        "solvers": "cg against",
        "selection": "GridSearchCV",
    }
    assert ends[name] in last


def test_pipelines_are_compared_with_refits(monkeypatch):
    monkeypatch.setattr(pipelines, "CASES", [("wine", 1.0)])
    _, _, _, row, _ = pipelines.rows_of_the_table(6)
    name, held, newton, exact = re.split(r"\s{2,}", row)
    assert name == "wine, 1"
    assert float(held.partition(" %")[0]) > 5 > 1 > float(newton.partition(" %")[0])
    assert float(exact.partition(",")[0]) < 1e-8


def test_the_tables_of_pipelines_show_the_same_numbers():
    stored = (DOCS / "tables" / "pipelines.rst").read_text(encoding="utf-8")
    rows = [re.split(r"\s{2,}", line.strip()) for line in stored.splitlines()[3:-1]]
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert len(rows) == 4
    for row in rows:
        assert f"| {' | '.join(row)} |" in readme


# --- the suite of asv ---

TINY = {"n": 60, "p": 4, "m": 5, "classes": 3}
PROBLEMS = [
    kind
    for module in pkgutil.iter_modules(suite.__path__)
    for _, kind in inspect.getmembers(
        importlib.import_module(f"suite.{module.name}"), inspect.isclass
    )
    if kind.__module__ == f"suite.{module.name}" and not inspect.isabstract(kind)
]
MEASURED = [
    pytest.param(kind, name, value, id="-".join([kind.__name__, name, *value]))
    for kind in PROBLEMS
    for name, _ in inspect.getmembers(kind, inspect.isfunction)
    if name.startswith(("time_", "peakmem_"))
    for value in ([(each,) for each in getattr(kind, "params", ())] or [()])
]


@pytest.mark.parametrize("kind, name, value", MEASURED)
def test_benchmark_of_the_suite_runs(kind, name, value, monkeypatch):
    for size, tiny in TINY.items():
        if hasattr(kind, size):
            monkeypatch.setattr(kind, size, tiny)
    problem = kind()
    problem.setup(*value)
    getattr(problem, name)(*value)
