"""Time per row of every public call at n and at 10 n rows: nothing grows faster than n.

    python benchmarks/growth.py [--rows 1000000] [--columns 2] [--out results/growth.json]

Times are of the processor, which other programs on the machine disturb least. A call is
repeated at the smaller n, and its least time taken.
"""

import argparse
import gc
import json
import platform
import time
from datetime import date
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge

from skinfluence import InfluenceCleaner, InfluenceExplainer

MOST = 1.2  # times the time per row at n, at 10 n
REPEATS = 3


def calls(explainer, X, y):
    """Public calls by name, as functions of nothing."""
    groups, few = np.arange(len(y)) % 10, (X[:5], y[:5])
    return {
        "influence, mean": lambda: explainer.influence(*few, aggregate="mean"),
        "influence": lambda: explainer.influence(*few),
        "influence, relative": lambda: explainer.influence(*few, relative=True),
        "loo_delta, mean": lambda: explainer.loo_delta(*few, aggregate="mean"),
        "top_influences": lambda: explainer.top_influences(*few, k=10),
        "self_influence": explainer.self_influence,
        "score_samples": lambda: explainer.score_samples(X, y),
        "param_influence": explainer.param_influence,
        "loo_params": explainer.loo_params,
        "loo_predict": explainer.loo_predict,
        "loo_score": explainer.loo_score,
        "diagnostics": explainer.diagnostics,
        "group_influence": lambda: explainer.group_influence(*few, groups=groups),
        "group_delta": lambda: explainer.group_delta(*few, groups=groups),
        "cv_predict": lambda: explainer.cv_predict(cv=5),
        "influential_set": lambda: explainer.influential_set(
            0, k=10, direction="decrease"
        ),
    }


def seconds(call, repeats):
    """Least processor time of some calls."""
    times = []
    for _ in range(repeats):
        gc.collect()
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def times_at(n, columns, model, repeats):
    """Processor seconds of each call with n rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, columns))
    y = X[:, 0] + rng.normal(size=n)
    if isinstance(model, LogisticRegression):
        y = (y > 0).astype(int)
    explainer = InfluenceExplainer(model)
    times = {"fit": seconds(lambda: explainer.fit(X, y), repeats)}
    for name, call in calls(explainer, X, y).items():
        times[name] = seconds(call, repeats)
        print(f"  {n:>10,} rows  {name:20} {times[name]:8.2f} s", flush=True)
    cleaner = InfluenceCleaner(model)
    times["InfluenceCleaner.fit"] = seconds(lambda: cleaner.fit(X, y), 1)
    return times


def main() -> None:
    """Measure at both sizes, print the table and store it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=2)
    here = Path(__file__).parent / "results" / "growth.json"
    parser.add_argument("--out", type=Path, default=here)
    args = parser.parse_args()
    results = {}
    for model in (Ridge(), LogisticRegression()):
        small = times_at(args.rows, args.columns, model, REPEATS)
        large = times_at(10 * args.rows, args.columns, model, 1)
        results[type(model).__name__] = {
            name: {
                "seconds": [small[name], large[name]],
                "per_row": large[name] / small[name] / 10,
            }
            for name in small
        }
    content = {
        "date": date.today().isoformat(),
        "machine": platform.processor() or platform.machine(),
        "rows": [args.rows, 10 * args.rows],
        "columns": args.columns,
        "results": results,
    }
    args.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for model, rows in results.items():
        print(f"{model}: seconds at {args.rows:,} and {10 * args.rows:,} rows, per row")
        for name, row in rows.items():
            few, many = row["seconds"]
            mark = " !" if row["per_row"] > MOST else ""
            print(f"  {name:22} {few:8.3f} {many:8.2f} {row['per_row']:6.2f}{mark}")


if __name__ == "__main__":
    main()
