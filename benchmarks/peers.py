"""Compare skinfluence with other programs: one command, one run, one table.

``python benchmarks/peers.py`` makes an environment with the peers in ``build/peers`` (the
first run needs a network connection and some minutes), puts the same questions to every
contestant, prints the tables, and writes ``peers.json`` after each contest. The page
docs/benchmarks.rst is made from that file. ``--list`` names the contests and
``--only influence`` runs some of them; contests already in the file, from the same machine
and versions, are kept. ``--resume`` runs only the contests that the file lacks, so an
interrupted run can continue. ``--show`` runs nothing and prints the tables of the file.

Each contestant runs in its own process, with one thread, after a warm-up on a small
problem. The contestants take turns for several rounds. Times are medians, and ratios are
medians of the ratios within a round. The driver needs only the standard library.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PACKAGES = (
    *("numpy", "scipy", "scikit-learn", "pandas", "statsmodels"),
    *("torch", "pydvl", "captum", "cleanlab"),
)
SLOW = 5.0  # seconds of CPU, after which a contestant has one round only
THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")
ATTEMPT = HERE / "contests" / "_attempt.py"
RECORD = "peers.json"
HEADS = ("contestant", "CPU s", "wall s", "MiB", "process MiB", "{judged}", "CPU ratio")
LOSSES = "Where skinfluence takes longer"


def main() -> None:
    """Make the environment, run the contests, print the tables, write the record."""
    options = arguments()
    if options.show:
        print(markdown(json.loads((options.out / RECORD).read_text())))
        return
    python = options.python or environment(ROOT / "build" / "peers")
    names = ask(python, LIST)
    chosen = [name for name in names if any(part in name for part in options.only)]
    if options.list:
        print("\n".join(names))
        return
    facts = ask(python, FACTS) | {"machine": machine()}
    held = earlier(options.out, facts, options.small)
    for name in chosen:
        if options.resume and name in held:
            continue
        held[name] = hold(python, name, options.rounds, options.small)
        print(markdown_table(held[name]), flush=True)
        results = [held[each] for each in names if each in held]
        write(options.out, facts | {"contests": results})


def arguments() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="*", default=[""], help="parts of names")
    parser.add_argument("--list", action="store_true", help="name the contests")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--resume", action="store_true", help="only contests that --out lacks"
    )
    parser.add_argument(
        "--show", action="store_true", help="print the tables of --out, run nothing"
    )
    parser.add_argument(
        "--small", action="store_true", help="tiny sizes, to try it out"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "peers-results")
    parser.add_argument(
        "--python", help="an interpreter that has the packages; makes no environment"
    )
    return parser.parse_args()


def earlier(folder: Path, facts: dict[str, Any], small: bool) -> dict[str, Any]:
    """Contests in the folder, by name, if they come from this machine and versions."""
    try:
        record = json.loads((folder / RECORD).read_text())
    except FileNotFoundError:
        return {}
    if any(record.get(key) != value for key, value in facts.items()):
        return {}
    return {each["name"]: each for each in record["contests"] if each["small"] == small}


# --- the environment ------------------------------------------------------------------


def environment(folder: Path) -> str:
    """Interpreter of an environment with the peers and this checkout."""
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    wanted = HERE / "requirements-peers.txt"
    stamp = folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != wanted.read_text():
        print(f"Making {folder.relative_to(ROOT)} with the peers", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "-r", str(wanted), "-e", str(ROOT)], check=True)
        stamp.write_text(wanted.read_text())
    return str(python)


FACTS = f"""
from importlib.metadata import PackageNotFoundError, version
import platform
import skinfluence
versions = dict(Python=platform.python_version(), skinfluence=skinfluence.__version__)
for name in {PACKAGES}:
    try:
        versions[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(dict(versions=versions)))
"""
LIST = """
import importlib, pkgutil
import contests
names = []
for module in pkgutil.iter_modules(contests.__path__):
    if not module.name.startswith("_"):
        held = importlib.import_module("contests." + module.name).CONTESTS
        names += [module.name + "." + contest.name for contest in held]
print(json.dumps(names))
"""


def ask(python: str, program: str) -> Any:
    """Run a short program, and return the JSON that it prints."""
    path = f"import json, sys; sys.path.insert(0, {str(HERE)!r})\n"
    return run([python, "-c", path + program])


def run(command: list[str]) -> Any:
    """Last line of a program's output, as JSON; the program has one thread."""
    one = {f"{name}_NUM_THREADS": "1" for name in THREADS}
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    path = {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(
        command, env=os.environ | one | path, capture_output=True, text=True
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
        return {"absent": f"failed: {last[0]}"}
    return json.loads(done.stdout.splitlines()[-1])


def machine() -> str:
    """System, processor and number of cores; not the host name."""
    cores = f"{os.cpu_count()} cores"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line for line in lines if line.startswith("model name"))
        model = model.partition(":")[2].strip()
    except (OSError, StopIteration):
        model = platform.processor()
    parts = [platform.system(), platform.machine(), model, cores]
    return ", ".join(part for part in parts if part)


# --- a contest ------------------------------------------------------------------------


def hold(python: str, name: str, rounds: int, small: bool) -> dict[str, Any]:
    """Pose the problem, and let the contestants answer it in turns."""
    with tempfile.TemporaryDirectory() as folder:
        size = ["small"] if small else []
        posed = run([python, str(ATTEMPT), "pose", name, folder, *size])
        if "absent" in posed:
            sys.exit(f"{name} could not be posed: {posed['absent']}")
        rounds_of: list[list[dict[str, Any]]] = [[] for _ in posed["contestants"]]
        for _ in range(rounds):
            for number, own in enumerate(rounds_of):
                if own and ("absent" in own[0] or own[0]["took"] > SLOW):
                    continue
                attempt = [python, str(ATTEMPT), "answer", name, str(number), folder]
                own.append(run(attempt))
                print(".", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    lines = [
        summary(who, own, rounds_of[0])
        for who, own in zip(posed.pop("contestants"), rounds_of, strict=True)
    ]
    date = str(datetime.date.today())
    return posed | {"name": name, "small": small, "date": date, "lines": lines}


def summary(who: dict[str, Any], own: list[dict[str, Any]], ours: Any) -> dict:
    """Medians of a contestant's rounds."""
    if "absent" in own[0]:
        return who | {"absent": own[0]["absent"]}
    line = {
        key: statistics.median(each[key] for each in own)
        for key in ("cpu", "wall", "memory", "process", "scale")
    }
    pairs = zip(own, ours, strict=False)
    ratios = [each["cpu"] / one["cpu"] for each, one in pairs if "cpu" in one]
    line["ratio"] = statistics.median(ratios) if ratios else None
    line["rounds"] = len(own)
    return who | line | {"judged": own[0]["judged"]}


# --- the tables -----------------------------------------------------------------------


def cells(line: dict[str, Any], mark: str) -> list[str]:
    """Cells of a line, as text."""
    name = line["name"] + mark
    if "absent" in line:
        return [name, line["absent"], *[""] * (len(HEADS) - 2)]
    about = "~ " if line["scale"] != 1 else ""
    return [
        name,
        about + in_seconds(line["cpu"]),
        about + in_seconds(line["wall"]),
        f"{line['memory']:.0f}",
        f"{line['process']:.0f}",
        line["judged"] or "-",
        in_digits(line["ratio"]),
    ]


def in_digits(ratio: float | None) -> str:
    """Two digits."""
    if ratio is None:
        return "-"
    return f"{ratio:.2g}" if ratio < 100 else f"{ratio:,.0f}"


def in_seconds(number: float) -> str:
    """Three digits."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def table(contest: dict[str, Any]) -> tuple[str, list[list[str]], list[str]]:
    """Title, rows (the headings first) and numbered notes of a contest."""
    notes = list(contest["notes"])
    rows = [[head.format(judged=contest["judged"]) for head in HEADS]]
    for line in contest["lines"]:
        mark = ""
        if line["note"]:
            notes.append(line["note"])
            mark = f" [{len(notes)}]"
        rows.append(cells(line, mark))
    sizes = ", ".join(f"{key} = {value:,}" for key, value in contest["sizes"].items())
    title = f"{contest['title']} ({sizes})" if sizes else contest["title"]
    return title, rows, [f"[{i}] {note}" for i, note in enumerate(notes, 1)]


def conditions(record: dict[str, Any]) -> str:
    """When, where and how the contests were run, in one paragraph."""
    contests = record["contests"]
    dates = sorted({contest["date"] for contest in contests})
    rounds = sorted(
        {max(line.get("rounds", 1) for line in each["lines"]) for each in contests}
    )
    versions = ", ".join(f"{key} {value}" for key, value in record["versions"].items())
    return (
        f"{' to '.join(dates[:: max(len(dates) - 1, 1)])}; {record['machine']}; one "
        f"thread, float64; medians of {' or '.join(map(str, rounds))} rounds. {versions}."
    )


def losses(contests: list[dict[str, Any]]) -> list[str]:
    """Where another contestant took less time, and why; each reason is given once."""
    lost, said = [], {""}
    for contest in contests:
        for line in contest["lines"]:
            ratio, reason = line.get("ratio") or 1.0, line["reason"]
            if ratio >= 1.0 or line["name"].startswith("skinfluence"):
                continue
            text = (
                f"{contest['title']}: {line['name']} takes {ratio:.2g} of the CPU time"
            )
            lost.append(text if reason in said else f"{text}: {reason}")
            said.add(reason)
    return lost


def markdown(record: dict[str, Any]) -> str:
    """All tables, and where skinfluence takes longer."""
    tables = "\n".join(markdown_table(each) for each in record["contests"])
    lost = "\n".join(f"- {each}." for each in losses(record["contests"]))
    return f"{conditions(record)}\n{tables}\n\n## {LOSSES}\n\n{lost}"


def markdown_table(contest: dict[str, Any]) -> str:
    """One contest."""
    title, rows, notes = table(contest)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "| --- " * len(HEADS) + "|")
    return "\n".join([f"\n## {title}\n", *lines, "", *(f"- {note}" for note in notes)])


def write(folder: Path, record: dict[str, Any]) -> None:
    """Save the record, from which the documentation makes its tables."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
