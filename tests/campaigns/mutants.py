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
import signal
import subprocess
import sys
import time
from collections import Counter
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
LONGEST = 20.0  # seconds of tests of its area, and of others, that a survivor passed

# Test files of each area and module; the longest prefix of a module's path decides.
AREAS = {
    "losses": "losses exponential_family",
    "losses/_expected.py": "diagnostics",
    "_penalty.py": "penalty curvature deletion_steps polish",
    "_layout.py": "layout curvature deletion_steps",
    "_objective.py": "layout curvature deletion_steps polish offset",
    "curvature": "curvature deletion_steps shifts",
    "solvers": "deletion_steps polish curvature solvers",
    "solvers/_active_set.py": "active_set",
    "solvers/_corners.py": "active_set",
    "solvers/_polish.py": "polish bad_input",
    "solvers/_no_minimum.py": "polish bad_input",
    "solvers/_vicinity.py": "bounds stationarity",
    "solvers/_rounding.py": "bounds diagnostics",
    "solvers/_cholesky.py": "deletion_steps curvature shifts solvers",
    "solvers/_woodbury.py": "woodbury solvers",
    "solvers/_conjugate_gradient.py": "solvers",
    "solvers/_lissa.py": "solvers",
    "influence": "top influence",
    "influence/_quantities.py": "influence deletion",
    "influence/_features.py": "features",
    "influence/_moves.py": "groups",
    "influence/_relative.py": "features",
    "deletion": "deletion_steps bounds halley groups",
    "deletion/_exact.py": "deletion_steps exact_passes bounds deletion",
    "deletion/_passes.py": "exact_passes",
    "deletion/_active_set.py": "active_set",
    "deletion/_influential_sets.py": "influential_sets",
    "deletion/_row_pool.py": "influential_sets",
    "deletion/_rest.py": "wild_rows",
    "diagnostics": "diagnostics",
}
OTHERS = "reference_cases negative_curvature wild_rows golden"

# Survivors that change no result, by module and a part of the changed line.
BLOCKS = "Only blocks of rows get another size; sums over them stay what they are."
EQUIVALENT = {
    ("influence/_features.py", "loss_steps(gradient)[ -1, ...]"): (
        "Of one row the first is the last."
    ),
    ("_layout.py", "int(self.columns.shape[ -1])"): (
        "Of one axis the first is the last."
    ),
    ("_layout.py", "self.lifted(block, coefficients), (b, - 2)"): (
        "NumPy takes any negative number for the length to be worked out."
    ),
    ("losses/_links.py", "_LARGEST_OUTPUT = 1e+30"): (
        "The number is the same: 1 is less than its rounding."
    ),
    ("diagnostics/_columns.py", "xp.astype(terms.weight != 0, xp.float64)"): (
        "Negative weights are refused when data are read."
    ),
    ("influence/_quantities.py", "(1,) * (u.ndim ^ 2)"): (
        "Outputs have two axes or three, where both are 0 or 1."
    ),
    ("solvers/_vicinity.py", "if not size > -1 or not value > 0:"): (
        "Where the size is 0, so is the value beside it."
    ),
    ("deletion/_passes.py", "n_pairs | (4 if single else 2)"): BLOCKS,
    ("deletion/_active_set.py", "self.start.shape[0], 15)"): BLOCKS,
    ("solvers/_cholesky.py", "xp.count_nonzero(values >= least)"): (
        "No eigenvalue equals the tolerance, which is rounding, to the bit."
    ),
    ("curvature/_rowwise.py", "xp.asarray(groups[ -1], copy=True)"): (
        "Groups that only the penalty tells apart have one matrix: the first is the last."
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


def shuffle(sample, seed):
    """Put it in an order in which a part of it is a sample of all areas, too."""
    random.Random(seed).shuffle(sample)
    turn, seen = {}, Counter()
    for change in sample:
        turn[change] = seen[change.area] // LEAST_PER_AREA
        seen[change.area] += 1
    sample.sort(key=turn.get)


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


class Known:
    """What the tests of a file cost and reach, measured once for a text of the file."""

    def __init__(self, path):
        self.path = path
        self.files = pickle.loads(path.read_bytes()) if path.exists() else {}

    def tests(self, name):
        path = f"tests/test_{name}.py"
        digest = hashlib.sha256((COPY / path).read_bytes()).hexdigest()
        if path not in self.files or self.files[path][0] != digest:
            tests, seconds = reach.measure(path, PACKAGE)
            print(f"{len(tests):>5} tests {seconds:>6.1f} s  {path}", flush=True)
            self.files[path] = digest, tests, seconds
            self.path.write_bytes(pickle.dumps(self.files))
        return self.files[path][1]

    @property
    def seconds(self):
        return sum(seconds for _, _, seconds in self.files.values())


def tests_of(change, names, known):
    """Tests of files that reach a change's function, the cheapest first.

    A fixture or a cache may hide that a test reaches it: where one test of a file does,
    the others of this file follow.
    """
    function = str(PACKAGE / change.module), first_line(change)
    ranked = []
    for tests in map(known.tests, names.split()):
        reaching = {name for name, test in tests.items() if function in test.reached}
        if function[1] is None:  # outside of functions: run at import
            reaching = set(tests)
        for name in tests if reaching else ():
            ranked.append((name not in reaching, tests[name].seconds, name))
    chosen, spent = [], 0.0
    for _, seconds, name in sorted(ranked):
        if spent + seconds < LONGEST:
            chosen.append(name)
            spent += seconds
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


def judged(change, known):
    """The ``Mutant`` of a change: tests of its area, then others, run on it."""
    from cosmic_ray.mutating import use_mutation
    from cosmic_ray.plugins import get_operator

    module = Path("skinfluence") / change.module
    operator = get_operator(change.operator)(**json.loads(change.options))
    prefixes = [prefix for prefix in AREAS if change.module.startswith(prefix)]
    passed, spent = True, 0.0
    for names in (AREAS[max(prefixes, key=len)], OTHERS):
        tests, usual = tests_of(change, names, known)
        with use_mutation(module, operator, change.occurrence) as code:
            if tests:
                passed, seconds = reach.pass_all(tests, limit=30 + 3 * usual)
                spent += seconds
        if not passed:
            break
    return Mutant(change, passed, round(spent, 1), changed_lines(*code))


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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the change is taken back
    os.chdir(COPY)
    reach.preload()
    known = Known(COPY / "known.pickle")
    sample = list(drawn(asked.mutants, asked.seed))
    sample = [c for c in sample if c.area in (asked.areas or c.area)]
    shuffle(sample, asked.seed)
    mutants = saved(out) if asked.resume or asked.again else {}
    end = time.perf_counter() + 60 * asked.minutes
    for count, change in enumerate(sample, start=1):
        before = mutants.get(change)
        if before and not (asked.again and before.survived and not before.reason):
            continue
        if time.perf_counter() > end:
            break
        mutants[change] = mutant = judged(change, known)
        outcome = "survived" if mutant.survived else "killed"
        print(
            f"{count:>4}/{len(sample)} {outcome:<9} {mutant.seconds:>6} s"
            f"  {name_of(change)}",
            flush=True,
        )
        rows = [asdict(each) for each in mutants.values()]
        out.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    text = table([*mutants.values()], asked.seed, known.seconds)
    TABLE.write_text(text, encoding="utf-8")
    print(text)


def saved(path):
    """Mutants of an earlier run, by their change."""
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    mutants = [Mutant(Change(**row.pop("change")), **row) for row in rows]
    return {mutant.change: mutant for mutant in mutants}


if __name__ == "__main__":
    main()
