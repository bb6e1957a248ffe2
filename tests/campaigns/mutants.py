"""Mutation testing of the mathematics: do the tests notice a wrong sign?

``make mutants`` draws places in the code, lets Cosmic Ray change each of them in a copy
of the repository, and runs the tests that reach the changed function, those of its area
first and the cheapest first, until one fails. A change that no test notices has
survived: it is equivalent, or a test is missing.
"""

import argparse
import ast
import difflib
import hashlib
import json
import os
import pickle
import platform
import random
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import reach

ROOT = Path(__file__).parents[2]
COPY = ROOT / "build" / "mutants"
PACKAGE = COPY / "skinfluence"
TABLE = ROOT / "docs" / "tables" / "mutants.rst"
LEAST_PER_AREA = 12
LONGEST = 60.0  # seconds of tests after which none of other areas are added

# Test files of each area and module; the longest prefix of a module's path decides.
AREAS = {
    "losses": "losses exponential_family",
    "losses/_expected.py": "diagnostics",
    "_penalty.py": "curvature deletion_steps polish active_set",
    "_layout.py": "layout curvature deletion_steps",
    "_objective.py": "curvature deletion_steps polish offset",
    "curvature": "curvature deletion_steps shifts",
    "solvers": "deletion_steps polish curvature solvers",
    "solvers/_active_set.py": "active_set",
    "solvers/_corners.py": "active_set",
    "solvers/_polish.py": "polish bad_input",
    "solvers/_no_minimum.py": "polish bad_input",
    "solvers/_vicinity.py": "bounds stationarity",
    "solvers/_rounding.py": "bounds diagnostics",
    "solvers/_cholesky.py": "deletion_steps curvature shifts solvers",
    "solvers/_woodbury.py": "woodbury solver_contract",
    "solvers/_conjugate_gradient.py": "solver_contract solvers",
    "solvers/_lissa.py": "solver_contract solvers",
    "influence": "top influence",
    "influence/_features.py": "features",
    "influence/_moves.py": "groups",
    "influence/_relative.py": "features",
    "deletion": "deletion_steps halley woodbury groups bounds",
    "deletion/_exact.py": "deletion_steps exact_passes deletion bounds",
    "deletion/_passes.py": "exact_passes",
    "deletion/_active_set.py": "active_set",
    "deletion/_influential_sets.py": "influential_sets",
    "deletion/_row_pool.py": "influential_sets",
    "deletion/_rest.py": "wild_rows",
    "diagnostics": "diagnostics",
}
OTHERS = "reference_cases negative_curvature centred_rows scaling stationarity golden"

# Survivors that change no result, by module and a part of the changed line.
EQUIVALENT = {
    ("influence/_features.py", "loss_steps(gradient)[ -1, ...]"): (
        "Of one row the first is the last."
    ),
}


@dataclass(frozen=True)
class Change:
    """What is drawn: an operator of Cosmic Ray, at one of the places where it acts."""

    module: str
    line: int
    operator: str
    options: str  # JSON
    occurrence: int

    @property
    def area(self):
        return self.module.split("/")[0].removesuffix(".py").removeprefix("_")


@dataclass(frozen=True)
class Mutant:
    """What became of a change."""

    change: Change
    survived: bool
    seconds: float
    diff: list[str]

    @property
    def reason(self):
        """Why nobody can see the change, or nothing."""
        new = "\n".join(line for line in self.diff if line.startswith("+"))
        reasons = (
            reason
            for (module, part), reason in EQUIVALENT.items()
            if module == self.change.module and part in new
        )
        return next(reasons, None)


def copy_repository(below=""):
    """Copy the files that git knows, or those below a folder."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.check_output([*command, f"./{below}"], cwd=ROOT, text=True)
    for name in filter(None, listed.split("\0")):
        target = COPY / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            shutil.copy2(ROOT / name, target)


# --- the sample ---


def drawn(n, seed):
    """Changes to make: some of each area, the others by the number of its places."""
    from cosmic_ray.commands import init
    from cosmic_ray.work_db import WorkDB, use_db

    paths = [PACKAGE / prefix for prefix in AREAS]
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
    for each in changes:
        if each.start_pos in skipped[each.module_path] or not means(each):
            continue
        change = Change(
            each.module_path.relative_to("skinfluence").as_posix(),
            each.start_pos[0],
            each.operator_name,
            json.dumps(each.operator_args),
            each.occurrence,
        )
        place = change.module, each.start_pos
        places.setdefault(change.area, {}).setdefault(place, []).append(change)
    total = sum(map(len, places.values()))
    rest = n - LEAST_PER_AREA * len(places)
    for area, at in sorted(places.items()):
        rng = random.Random(f"{seed} {area}")  # whatever becomes of the other areas
        share = LEAST_PER_AREA + max(0, round(rest * len(at) / total))
        for place in rng.sample(sorted(at), min(share, len(at))):
            yield rng.choice(sorted(at[place], key=repr))


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


# --- the tests of a mutant ---


def measured_tests(saved_in):
    """What each test costs and reaches, by file; measured where a file has changed.

    And the seconds that it took.
    """
    known = pickle.loads(saved_in.read_bytes()) if saved_in.exists() else {}
    names = dict.fromkeys(" ".join([*AREAS.values(), OTHERS]).split())
    for path in [f"tests/test_{name}.py" for name in names]:
        digest = hashlib.sha256((COPY / path).read_bytes()).hexdigest()
        if path not in known or known[path][0] != digest:
            tests, seconds = reach.measure(path, PACKAGE)
            known[path] = digest, tests, seconds
            print(f"{len(tests):>5} tests {seconds:>6.1f} s  {path}", flush=True)
            saved_in.write_bytes(pickle.dumps(known))
    tests = {path: tests for path, (_, tests, _) in known.items()}
    return tests, sum(seconds for _, _, seconds in known.values())


def tests_of(change, measured):
    """Tests that reach a line's function: of its area, then others, the cheapest first.

    A fixture or a cache may hide that a test reaches it: the other tests of a file of
    its area that has one which does are run too, last.
    """
    prefixes = [prefix for prefix in AREAS if change.module.startswith(prefix)]
    own = {f"tests/test_{name}.py" for name in AREAS[max(prefixes, key=len)].split()}
    function = str(PACKAGE / change.module), first_line(change)
    ranked, spent = [], 0.0
    for path, tests in measured.items():
        reaching = {name for name, test in tests.items() if function in test.reached}
        if function[1] is None:  # outside of functions: run at import
            reaching = set(tests)
        for name in tests if reaching and path in own else reaching:
            rank = 2 if path not in own else int(name not in reaching)
            ranked.append((rank, tests[name].seconds, name))
    chosen = []
    for rank, seconds, name in sorted(ranked):
        spent += seconds
        if rank < 2 or spent < LONGEST:
            chosen.append(name)
    return chosen, spent


def first_line(change):
    """First line, decorators included, of the innermost function around a line."""
    tree = ast.parse((PACKAGE / change.module).read_text(encoding="utf-8"))
    around = [
        min([node.lineno, *(each.lineno for each in node.decorator_list)])
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and node.lineno <= change.line <= node.end_lineno
    ]
    return max(around, default=None)


# --- the verdicts ---


def judged(change, measured):
    """The ``Mutant`` of a change: the tests that reach it run on it."""
    from cosmic_ray.mutating import use_mutation
    from cosmic_ray.plugins import get_operator

    module = Path("skinfluence") / change.module
    operator = get_operator(change.operator)(**json.loads(change.options))
    tests, usual = tests_of(change, measured)
    passed, seconds = True, 0.0
    with use_mutation(module, operator, change.occurrence) as code:
        if tests:
            passed, seconds = reach.pass_all(tests, limit=30 + 3 * usual)
    return Mutant(change, passed, round(seconds, 1), changed_lines(*code))


def changed_lines(before, after):
    """The lines that differ, each behind a minus or a plus."""
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [f"{line[0]} {line[1:].strip()}" for line in lines if line[0] in "+-"]


def table(mutants, seed, unchanged):
    """What the page on testing shows."""
    seconds = unchanged + sum(mutant.seconds for mutant in mutants)
    survivors = [mutant for mutant in mutants if mutant.survived]
    lines = [
        f"On {date.today()}, with Cosmic Ray {version('cosmic-ray')} and Python "
        f"{platform.python_version()}: seed {seed}, {seconds / 60:.0f} minutes of one "
        f"processor, {unchanged / 60:.0f} of them to see which tests reach which "
        "function. Decorators and annotations were left out. ::",
        "",
        f"    {'area':<14}{'mutants':>9}{'killed':>9}{'rate':>8}{'survived':>10}"
        f"{'of them equivalent':>20}",
    ]

    def line(name, of):
        n, alive = len(of), [mutant for mutant in of if mutant.survived]
        n_equivalent = sum(bool(mutant.reason) for mutant in alive)
        return (
            f"    {name:<14}{n:>9}{n - len(alive):>9}{1 - len(alive) / n:>8.0%}"
            f"{len(alive):>10}{n_equivalent:>20}"
        )

    for area in sorted({mutant.change.area for mutant in mutants}):
        lines.append(line(area, [m for m in mutants if m.change.area == area]))
    lines.append(line("all", mutants))
    if survivors:
        lines += ["", "Survivors::", ""]
    for mutant in sorted(survivors, key=lambda mutant: str(mutant.change)):
        lines.append(f"    {name_of(mutant.change)}")
        lines += [f"        {changed}" for changed in mutant.diff]
        lines.append(f"        {mutant.reason or 'A test is missing.'}")
    return "\n".join(lines) + "\n"


def name_of(change):
    operator = change.operator.removeprefix("core/")
    return f"{change.module}:{change.line}  {operator}"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=150, help="about so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--areas", nargs="+", help="only these")
    parser.add_argument(
        "--resume", action="store_true", help="go on with a run of the same arguments"
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="after a run: judge its survivors again, by the tests of now",
    )
    parser.add_argument(
        "--minutes", type=float, default=90.0, help="stop after so many"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "mutants.json")
    return parser.parse_args()


def main():
    """Draw, judge, print, and save the table."""
    asked = arguments()
    out = asked.out.resolve()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    if asked.again:
        copy_repository("tests")
    elif not asked.resume:
        shutil.rmtree(COPY, ignore_errors=True)
        copy_repository()
        subprocess.run([sys.executable, "-m", "compileall", "-q", PACKAGE])
    os.chdir(COPY)
    reach.preload()
    measured, unchanged = measured_tests(COPY / "measured.pickle")
    sample = list(drawn(asked.mutants, asked.seed))
    sample = [c for c in sample if c.area in (asked.areas or c.area)]
    random.Random(asked.seed).shuffle(sample)  # a run cut short is a sample too
    mutants = saved(out) if asked.resume or asked.again else {}
    end = time.perf_counter() + 60 * asked.minutes
    for count, change in enumerate(sample, start=1):
        before = mutants.get(change)
        if before and not (asked.again and before.survived and not before.reason):
            continue
        if time.perf_counter() > end:
            break
        mutants[change] = mutant = judged(change, measured)
        outcome = "survived" if mutant.survived else "killed"
        print(
            f"{count:>4}/{len(sample)} {outcome:<9} {mutant.seconds:>6} s"
            f"  {name_of(change)}",
            flush=True,
        )
        rows = [asdict(each) for each in mutants.values()]
        out.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    text = table([*mutants.values()], asked.seed, unchanged)
    TABLE.write_text(text, encoding="utf-8")
    print(text)


def saved(path):
    """Mutants of an earlier run, by their change."""
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    mutants = [Mutant(Change(**row.pop("change")), **row) for row in rows]
    return {mutant.change: mutant for mutant in mutants}


if __name__ == "__main__":
    main()
