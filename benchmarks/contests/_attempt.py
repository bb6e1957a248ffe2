"""Answer one contest as one contestant, in this process, and print what it cost as JSON.

``benchmarks/peers.py`` starts it: ``_attempt.py pose CONTEST FOLDER`` makes the problem
and the truth, ``_attempt.py answer CONTEST NUMBER FOLDER`` lets a contestant answer.
"""

import contextlib
import gc
import importlib
import json
import resource
import statistics
import sys
import time
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import joblib

sys.path.insert(0, str(Path(__file__).parents[1]))

from contests._contest import Contest, Contestant

AT_MOST = 5  # runs of one process
ENOUGH = 1.0  # seconds of CPU, after which it is not run again


def main(task: str, name: str, *rest: str) -> dict[str, Any]:
    """Pose or answer."""
    warnings.simplefilter("ignore")
    contest = find(name)
    if task == "pose":
        return pose(contest, Path(rest[0]), small=rest[1:] == ("small",))
    contestant = contest.contestants[int(rest[0])]
    if contestant.absent:
        return {"absent": contestant.absent}
    if contestant.package:
        try:
            version(contestant.package)
        except PackageNotFoundError:
            return {"absent": f"{contestant.package} is not installed"}
    return answer(contest, contestant, Path(rest[1]))


def find(name: str) -> Contest:
    """The contest ``file.name``."""
    module, _, own = name.partition(".")
    contests = importlib.import_module(f"contests.{module}").CONTESTS
    return next(contest for contest in contests if contest.name == own)


def pose(contest: Contest, folder: Path, small: bool) -> dict[str, Any]:
    """Write the problem and its truth, and say what they are."""
    sizes = dict(contest.small if small else contest.sizes)
    problem = contest.problem(**sizes)
    truth = contest.definition(problem) if contest.definition else None
    joblib.dump(problem, folder / "problem")
    joblib.dump(truth, folder / "truth")
    joblib.dump(contest.problem(**contest.small), folder / "small")
    return {
        "title": contest.title,
        "sizes": sizes,
        "judged": contest.judged,
        "notes": contest.notes,
        "contestants": [
            {"name": own.name, "note": own.note, "reason": own.reason}
            for own in contest.contestants
        ],
    }


def answer(contest: Contest, own: Contestant, folder: Path) -> dict[str, Any]:
    """Warm up on a small problem, then run and measure, then judge."""
    own.prepare(joblib.load(folder / "small"))()
    run = own.prepare(joblib.load(folder / "problem"))
    gc.collect()
    forget_peak()
    idle = peak()
    cpu, wall, most = [], [], 0.0
    while len(cpu) < AT_MOST and sum(cpu) < ENOUGH:
        found = None  # the last answer goes before the next one comes
        start = time.perf_counter(), time.process_time()
        found = run()
        cpu.append(time.process_time() - start[1])
        wall.append(time.perf_counter() - start[0])
        # Of the first run: torch keeps what it once had, and later ones add to it.
        most = most or peak()
    scale = own.extrapolate(contest.sizes) if own.extrapolate else 1.0
    judged = ""
    if own.read is not None:
        judged = contest.judge(own.read(found), joblib.load(folder / "truth"))
    return {
        "cpu": statistics.median(cpu) * scale,
        "wall": statistics.median(wall) * scale,
        "memory": most - idle,
        "process": most,
        "judged": judged,
        "took": sum(cpu),
        "scale": scale,
    }


def forget_peak() -> None:
    """Set the peak back to what is held now, so that preparing does not hide running."""
    with contextlib.suppress(OSError):  # Linux only; elsewhere small peaks stay hidden
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """Most memory this process held since the last ``forget_peak``, in MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    print("\n" + json.dumps(main(*sys.argv[1:])))
