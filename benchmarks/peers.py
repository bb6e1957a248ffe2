"""skinfluence beside other programs: one command, one run, one table.

``python benchmarks/peers.py`` makes an environment with the peers in ``build/peers`` (the
first time it needs a network connection and some minutes), lets everybody answer the same
questions, and writes ``peers.md``, ``peers.rst`` and ``peers.json``, after each contest.
``--list`` names the contests, ``--only influence`` runs some of them; those that the
folder has from the same machine and versions stay in the table. ``--resume`` runs those
only that it lacks, so that a run that was cut loses nothing.

Each contestant runs in a process of its own, with one thread, after a warm-up on a small
problem. The contestants of a contest take turns, for several rounds; medians are given,
and ratios are medians of the ratios within a round. The driver itself needs nothing but
the standard library.
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
HEADS = ("contestant", "CPU s", "wall s", "MiB", "process MiB", "{judged}", "CPU ratio")


def main() -> None:
    """Make the environment, run the contests, write the tables."""
    options = arguments()
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
        print(markdown([held[name]]), flush=True)
        write(options.out, facts, [held[each] for each in names if each in held])
    if options.resume and held:  # nothing was left to run: the tables alone
        write(options.out, facts, [held[each] for each in names if each in held])


def arguments() -> argparse.Namespace:
    """What can be chosen."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="*", default=[""], help="parts of names")
    parser.add_argument("--list", action="store_true", help="name the contests")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--resume", action="store_true", help="only contests that --out lacks"
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
    """Contests that the folder holds, by name, if the machine and versions are these."""
    try:
        record = json.loads((folder / "peers.json").read_text())
    except FileNotFoundError:
        return {}
    if any(record.get(key) != value for key, value in facts.items()):
        return {}
    return {each["name"]: each for each in record["contests"] if each["small"] == small}


# --- the environment ------------------------------------------------------------------


def environment(folder: Path) -> str:
    """Interpreter of an environment that has the peers and this checkout."""
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
found = dict(Python=platform.python_version(), skinfluence=skinfluence.__version__)
for name in {PACKAGES}:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(dict(versions=found)))
"""
LIST = """
import importlib, pkgutil
import contests
names = []
for module in pkgutil.iter_modules(contests.__path__):
    if not module.name.startswith("_"):
        found = importlib.import_module("contests." + module.name).CONTESTS
        names += [module.name + "." + contest.name for contest in found]
print(json.dumps(names))
"""


def ask(python: str, program: str) -> Any:
    """What a small program prints as JSON."""
    path = f"import json, sys; sys.path.insert(0, {str(HERE)!r})\n"
    return run([python, "-c", path + program])


def run(command: list[str]) -> Any:
    """Last line of a program's output; one thread for everybody."""
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
    """Its class, not its name."""
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
    """Pose the problem, and let everybody answer it in turns."""
    with tempfile.TemporaryDirectory() as folder:
        size = ["small"] if small else []
        posed = run([python, str(ATTEMPT), "pose", name, folder, *size])
        if "absent" in posed:
            sys.exit(f"{name} could not be posed: {posed['absent']}")
        found: list[list[dict[str, Any]]] = [[] for _ in posed["contestants"]]
        for _ in range(rounds):
            for number, own in enumerate(found):
                if own and ("absent" in own[0] or own[0]["took"] > SLOW):
                    continue
                attempt = [python, str(ATTEMPT), "answer", name, str(number), folder]
                own.append(run(attempt))
                print(".", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    ours = found[0]
    lines = [
        summary(who, own, ours)
        for who, own in zip(posed["contestants"], found, strict=True)
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
    """A line as text."""
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


def table(contest: dict[str, Any]) -> tuple[str, list[str], list[list[str]], list[str]]:
    """Title, heads, rows and numbered notes of a contest."""
    notes = list(contest["notes"])
    rows = []
    for line in contest["lines"]:
        mark = ""
        if line["note"]:
            notes.append(line["note"])
            mark = f" [{len(notes)}]"
        rows.append(cells(line, mark))
    sizes = ", ".join(f"{key} = {value:,}" for key, value in contest["sizes"].items())
    title = f"{contest['title']} ({sizes})" if sizes else contest["title"]
    heads = [head.format(judged=contest["judged"]) for head in HEADS]
    return title, heads, rows, [f"[{i}] {note}" for i, note in enumerate(notes, 1)]


def losses(results: list[dict[str, Any]]) -> list[str]:
    """Where another contestant took less time, and why, each reason once."""
    lost, said = [], {""}
    for contest in results:
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


def markdown(results: list[dict[str, Any]]) -> str:
    """Tables for reading on a terminal or a forge."""
    text = []
    for contest in results:
        title, heads, rows, notes = table(contest)
        text.append(f"\n## {title}\n")
        text.append("| " + " | ".join(heads) + " |\n" + "| --- " * len(heads) + "|")
        text += ["| " + " | ".join(row) + " |" for row in rows]
        text.append("")
        text += [f"- {note}" for note in notes]
    return "\n".join(text)


def restructured(results: list[dict[str, Any]]) -> str:
    """The same for the documentation."""
    text = []
    for contest in results:
        title, heads, rows, notes = table(contest)
        text.append(f"\n{title}\n{'~' * len(title)}\n")
        text.append(".. list-table::\n   :header-rows: 1\n")
        for row in [heads, *rows]:
            text += [
                f"   {'*' if i == 0 else ' '} - {cell}" for i, cell in enumerate(row)
            ]
        text.append("")
        text += [f"| {note}" for note in notes]
    return "\n".join(text)


def write(folder: Path, facts: dict[str, Any], results: list[dict[str, Any]]) -> None:
    """All three files."""
    folder.mkdir(parents=True, exist_ok=True)
    versions = ", ".join(f"{key} {value}" for key, value in facts["versions"].items())
    dates = sorted({contest["date"] for contest in results})
    rounds = {
        max(line.get("rounds", 1) for line in contest["lines"]) for contest in results
    }
    head = (
        f"{' to '.join(dates[:: max(len(dates) - 1, 1)])}; {facts['machine']}; one thread, "
        f"float64; medians of {' or '.join(map(str, sorted(rounds)))} rounds in turns. "
        f"{versions}."
    )
    lost = losses(results)
    title = "skinfluence beside its peers"
    lose = "Where skinfluence takes longer"
    text = f"# {title}\n\n{head}\n{markdown(results)}\n\n## {lose}\n\n"
    (folder / "peers.md").write_text(text + "".join(f"- {each}.\n" for each in lost))
    text = f"{head}\n{restructured(results)}\n\n{lose}\n{'~' * len(lose)}\n\n"
    (folder / "peers.rst").write_text(text + "".join(f"* {each}.\n" for each in lost))
    record = json.dumps(facts | {"contests": results}, indent=1)
    (folder / "peers.json").write_text(record + "\n")


if __name__ == "__main__":
    main()
