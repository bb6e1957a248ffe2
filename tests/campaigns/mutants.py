"""Mutation testing of the mathematics: do the tests notice a wrong sign?

``make mutants`` draws places in the code, lets Cosmic Ray change each of them in a copy
of the repository, and runs the tests of that module. A change that no test notices has
survived: it is equivalent, or a test is missing.
"""

import argparse
import ast
import difflib
import importlib
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPY = ROOT / "build" / "mutants"
TABLE = ROOT / "docs" / "tables" / "mutants.rst"
LEAST_PER_AREA = 8
OPTIONS = [
    "-x",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-p",
    "no:hypothesispytest",
]

# Test files of each area and module, those first that fail soonest; the longest prefix
# of a module's path decides.
AREAS = {
    "losses": "losses exponential_family",
    "losses/_links.py": "exponential_family",
    "losses/_families.py": "exponential_family",
    "losses/_exponential_family.py": "exponential_family losses",
    "losses/_expected.py": "diagnostics",
    "_penalty.py": "deletion_steps curvature polish active_set",
    "_layout.py": "layout curvature deletion_steps",
    "_objective.py": "curvature deletion_steps polish offset",
    "curvature": "curvature deletion_steps shifts",
    "solvers": "deletion_steps polish curvature",
    "solvers/_active_set.py": "active_set",
    "solvers/_corners.py": "active_set",
    "solvers/_polish.py": "polish bad_input",
    "solvers/_no_minimum.py": "polish bad_input",
    "solvers/_cholesky.py": "deletion_steps curvature shifts solvers",
    "solvers/_woodbury.py": "woodbury solver_contract",
    "solvers/_conjugate_gradient.py": "solver_contract solvers",
    "solvers/_lissa.py": "solver_contract solvers",
    "influence": "top influence",
    "influence/_features.py": "features",
    "influence/_moves.py": "groups",
    "influence/_relative.py": "features",
    "deletion": "deletion_steps halley woodbury groups",
    "deletion/_exact.py": "deletion_steps exact_passes deletion",
    "deletion/_passes.py": "exact_passes",
    "deletion/_halley.py": "deletion_steps halley",
    "deletion/_active_set.py": "active_set",
    "deletion/_influential_sets.py": "influential_sets",
    "deletion/_rest.py": "wild_rows",
    "diagnostics": "diagnostics",
}


@dataclass(frozen=True)
class Mutant:
    """One change, and what became of it."""

    area: str
    place: str  # module:line
    operator: str
    outcome: str
    seconds: float
    diff: list[str]


def tests_of(module):
    """Test files of a module, given by its path below the package."""
    prefixes = [prefix for prefix in AREAS if module.startswith(prefix)]
    names = AREAS[max(prefixes, key=len)].split()
    paths = [f"tests/test_{name}.py" for name in names]
    return [path for path in paths if (COPY / path).exists()]


def area_of(module):
    return module.split("/")[0].removesuffix(".py").removeprefix("_")


def copy_repository():
    """A copy of the files that git knows, compiled."""
    shutil.rmtree(COPY, ignore_errors=True)
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True)
    for name in filter(None, listed.split("\0")):
        target = COPY / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            shutil.copy2(ROOT / name, target)
    subprocess.run([sys.executable, "-m", "compileall", "-q", "skinfluence"], cwd=COPY)


def drawn(n, seed):
    """Changes to make, spread over the areas by the number of places in each."""
    from cosmic_ray.commands import init
    from cosmic_ray.work_db import WorkDB, use_db

    paths = [COPY / "skinfluence" / prefix for prefix in AREAS]
    modules = sorted(
        {m for p in paths for m in (p.rglob("*.py") if p.is_dir() else [p])}
    )
    modules = [m.relative_to(COPY) for m in modules if m.name != "__init__.py"]
    session = COPY / "session.sqlite"
    known = session.exists()
    with use_db(str(session), WorkDB.Mode.create) as database:
        if not known:
            init(modules, database, {})
        changes = [item.mutations[0] for item in database.work_items]
    skipped = {module: lines_without_meaning(module) for module in modules}
    places = {}  # by area and place: one change is drawn of those at a place
    for change in changes:
        if change.start_pos in skipped[change.module_path] or not means(change):
            continue
        module = change.module_path.relative_to("skinfluence").as_posix()
        place = module, change.start_pos
        places.setdefault(area_of(module), {}).setdefault(place, []).append(change)
    total = sum(map(len, places.values()))
    for area, at in sorted(places.items()):
        rng = random.Random(f"{seed} {area}")  # whatever becomes of the other areas
        share = max(LEAST_PER_AREA, round(n * len(at) / total))
        for place in rng.sample(sorted(at), min(share, len(at))):
            yield area, rng.choice(sorted(at[place], key=repr))


def means(change):
    """Whether an operator changes what a program computes."""
    return not change.operator_name.endswith(("RemoveDecorator", "NoOp"))


def lines_without_meaning(module):
    """Positions inside annotations and decorators: no test of values can see them."""
    positions = set()
    for node in ast.walk(ast.parse((COPY / module).read_text(encoding="utf-8"))):
        parts = [getattr(node, name, None) for name in ("annotation", "returns")]
        for part in filter(None, parts + getattr(node, "decorator_list", [])):
            for line in range(part.lineno, part.end_lineno + 1):
                first = part.col_offset if line == part.lineno else 0
                last = part.end_col_offset if line == part.end_lineno else 200
                positions |= {(line, column) for column in range(first, last)}
    return positions


def judged(changes):
    """Yield a ``Mutant`` for each change, the tests of its module run on it."""
    from cosmic_ray.mutating import use_mutation
    from cosmic_ray.plugins import get_operator

    usual = {}  # seconds of the unchanged code
    for area, change in changes:
        module = change.module_path.relative_to("skinfluence").as_posix()
        files = tests_of(module)
        if tuple(files) not in usual:
            passed, usual[tuple(files)] = run(files, timeout=600)
            if not passed:
                print(f"Left out: the unchanged code fails {' '.join(files)}.")
                usual[tuple(files)] = None
        if usual[tuple(files)] is None:
            continue
        operator = get_operator(change.operator_name)(**change.operator_args)
        with use_mutation(change.module_path, operator, change.occurrence) as code:
            passed, seconds = run(files, timeout=30 + 5 * usual[tuple(files)])
        yield Mutant(
            area,
            f"{module}:{change.start_pos[0]}",
            change.operator_name.removeprefix("core/"),
            "survived" if passed else "killed",
            round(seconds, 1),
            changed_lines(*code),
        )


def preload():
    """Import what all tests import, so that each forked run need not."""
    modules = "pytest scipy.optimize scipy.stats scipy.sparse.linalg threadpoolctl"
    sklearn = "compose frozen linear_model model_selection multiclass pipeline svm"
    sklearn = [f"sklearn.{name}" for name in sklearn.split()]
    for name in [*modules.split(), *sklearn]:
        importlib.import_module(name)


def run(files, timeout):
    """Whether the tests pass in a fork of this process, and the seconds they took."""
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        os.setsid()
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        sys.dont_write_bytecode = True
        sys.path[:0] = [str(COPY)]
        pytest = importlib.import_module("pytest")
        os._exit(pytest.main([*OPTIONS, *files]))
    while time.perf_counter() - start < timeout:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0, time.perf_counter() - start
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False, time.perf_counter() - start


def changed_lines(before, after):
    """The lines that differ, each behind a minus or a plus."""
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [f"{line[0]} {line[1:].strip()}" for line in lines if line[0] in "+-"]


def table(mutants, seed):
    """What the page on testing shows."""
    seconds = sum(mutant.seconds for mutant in mutants)
    survived = [mutant for mutant in mutants if mutant.outcome == "survived"]
    kinds = Counter((m.area, m.outcome == "survived") for m in mutants)
    lines = [
        f"On {date.today()}, with Cosmic Ray {version('cosmic-ray')} and Python "
        f"{platform.python_version()}: seed {seed}, {seconds / 60:.0f} minutes in one "
        "process. ::",
        "",
        f"    {'area':<14}{'mutants':>9}{'killed':>9}{'survived':>10}{'rate':>8}",
    ]

    def line(name, n_killed, n_survived):
        n = n_killed + n_survived
        rate = f"{n_killed / n:.0%}"
        return f"    {name:<14}{n:>9}{n_killed:>9}{n_survived:>10}{rate:>8}"

    areas = sorted({mutant.area for mutant in mutants})
    lines += [line(a, kinds[a, False], kinds[a, True]) for a in areas]
    lines.append(line("all", len(mutants) - len(survived), len(survived)))
    if survived:
        lines += ["", "Survivors::", ""]
    for mutant in survived:
        lines.append(f"    {mutant.place}  {mutant.operator}")
        lines += [f"        {changed}" for changed in mutant.diff]
    return "\n".join(lines) + "\n"


def main():
    """Draw, judge, print, and save the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=200, help="about so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--areas", nargs="+", help="only these; others stay as they were saved"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with a run of the same arguments"
    )
    parser.add_argument(
        "--minutes", type=float, default=90.0, help="stop after so many"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "mutants.json")
    asked = parser.parse_args()
    out = asked.out.resolve()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    if not asked.resume:
        copy_repository()
    os.chdir(COPY)
    preload()
    changes = list(drawn(asked.mutants, asked.seed))
    areas = set(asked.areas or {area for area, _ in changes})
    changes = [(area, change) for area, change in changes if area in areas]
    random.Random(asked.seed).shuffle(changes)  # a run cut short is a sample too
    mutants = [m for m in saved(out) if asked.resume or m.area not in areas]
    if asked.resume:
        changes = changes[len(mutants) :]
    end = time.perf_counter() + 60 * asked.minutes
    for count, mutant in enumerate(judged(changes), start=1):
        mutants.append(mutant)
        print(
            f"{count:>4}/{len(changes)} {mutant.outcome:<9} {mutant.seconds:>6} s"
            f"  {mutant.place}  {mutant.operator}",
            flush=True,
        )
        out.write_text(
            json.dumps([asdict(each) for each in mutants], indent=1), encoding="utf-8"
        )
        if time.perf_counter() > end:
            break
    text = table(mutants, asked.seed)
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(text, encoding="utf-8")
    print(text)


def saved(path):
    """Mutants of an earlier run."""
    if not path.exists():
        return []
    return [Mutant(**each) for each in json.loads(path.read_text(encoding="utf-8"))]


if __name__ == "__main__":
    main()
