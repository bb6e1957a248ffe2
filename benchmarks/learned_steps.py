"""What it costs to learn the steps of a pipeline again: "auto" against "held", in one run.

    python benchmarks/learned_steps.py [--rows 100000] [--turns 5] [--out FILE]

Of ``fit`` and one question after it. Each pipeline gets a process of its own with one
BLAS thread, and one more for each side to measure memory: the most that was resident, less
what was before ``fit``. Times are of the processor, which other programs on the machine
disturb least; both sides take turns, and the ratio is that of their least times.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
import warnings
from datetime import date
from pathlib import Path

import numpy as np
import scipy
import sklearn
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import skinfluence
from skinfluence import InfluenceExplainer

COLUMNS, CODES = 50, 5  # of which so many are codes where a pipeline encodes them
# The ratios that fit and loo_predict are meant to keep.
TARGETS = {"scaler": 1.4, "columns": 2.0}
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def drawn(n):
    """Normal columns, codes of ten categories in the last ones, and two classes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, COLUMNS))
    y = (X[:, 0] + rng.normal(size=n) > 0).astype(int)
    return X, y, rng.integers(10, size=(n, CODES))


def problem(name, n):
    """A fitted pipeline and its rows."""
    X, y, codes = drawn(n)
    steps = StandardScaler()
    if name == "columns":
        numbers = list(range(COLUMNS - CODES))
        X[:, COLUMNS - CODES :] = codes
        steps = make_column_transformer(
            (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            (OneHotEncoder(), list(range(COLUMNS - CODES, COLUMNS))),
        )
    return make_pipeline(steps, LogisticRegression()).fit(X, y), X, y


def questions():
    """What is asked after ``fit``, by name."""
    return {
        "loo_predict": lambda explainer, X, y: explainer.loo_predict(),
        "loo_delta, 5 points": lambda explainer, X, y: explainer.loo_delta(
            X[:5], y[:5]
        ),
        "self_influence": lambda explainer, X, y: explainer.self_influence(),
        "loo_params": lambda explainer, X, y: explainer.loo_params(),
    }


def timed(name, n, turns):
    """By question and mode: the least seconds of ``fit``, and of the question."""
    pipeline, X, y = problem(name, n)
    best = {}
    for _ in range(turns):
        for mode in ("held", "auto"):
            explainer = InfluenceExplainer(pipeline, preprocessing=mode)
            calls = {"fit": lambda e, X, y: e.fit(X, y), **questions()}
            for question, call in calls.items():
                start = time.process_time()
                call(explainer, X, y)
                seconds = time.process_time() - start
                key = question, mode
                best[key] = min(best.get(key, seconds), seconds)
    return {
        question: {mode: best[question, mode] for mode in ("held", "auto")}
        for question in calls
    }


def peak(name, n, mode):
    """Most MiB resident in ``fit`` and ``loo_predict``, beyond those before."""
    pipeline, X, y = problem(name, n)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    InfluenceExplainer(pipeline, preprocessing=mode).fit(X, y).loo_predict()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def apart(*arguments):
    """What this program prints in a process of its own, with one BLAS thread."""
    command = [sys.executable, __file__, *map(str, arguments)]
    environment = {**os.environ, **ONE_THREAD}
    text = subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True
    )
    return json.loads(text.stdout)


def compared(n, turns):
    """Times, ratios and memory of all pipelines."""
    results = {}
    for name in TARGETS:
        times = apart("--rows", n, "--turns", turns, "--time", name)
        fit = times.pop("fit")
        for question, both in times.items():
            whole = {mode: fit[mode] + both[mode] for mode in both}
            ratio = whole["auto"] / whole["held"]
            results[f"{name}, fit and {question}"] = {**whole, "ratio": ratio}
        memory = {
            mode: apart("--rows", n, "--peak", name, mode) for mode in ("held", "auto")
        }
        results[f"{name}, MiB of fit and loo_predict"] = {
            **memory,
            "ratio": memory["auto"] / memory["held"],
        }
    return results


def versions():
    """Of what the numbers depend on."""
    modules = np, scipy, sklearn, skinfluence
    return {
        "python": platform.python_version(),
        **{module.__name__: module.__version__ for module in modules},
    }


def main() -> None:
    """Measure in processes of their own, print the table and store it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=5)
    here = Path(__file__).parent / "results" / "learned_steps.json"
    parser.add_argument("--out", type=Path, default=here)
    parser.add_argument("--time", help=argparse.SUPPRESS)
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.time:
        print(json.dumps(timed(args.time, args.rows, args.turns)))
        return
    if args.peak:
        name, mode = args.peak
        print(json.dumps(peak(name, args.rows, mode)))
        return
    content = {
        "date": date.today().isoformat(),
        "machine": platform.processor() or platform.machine(),
        "versions": versions(),
        "rows": args.rows,
        "columns": COLUMNS,
        "dtype": "float64",
        "results": compared(args.rows, args.turns),
    }
    args.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"{args.rows} x {COLUMNS}, float64; {content['versions']}")
    print(f"{'seconds, or MiB':42} {'held':>8} {'auto':>8} {'ratio':>6}")
    for name, row in content["results"].items():
        print(f"{name:42} {row['held']:8.3f} {row['auto']:8.3f} {row['ratio']:6.2f}")


if __name__ == "__main__":
    main()
