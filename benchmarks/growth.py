"""Time per row of every public call at n and at 10 n rows: nothing grows faster than n.

    python benchmarks/growth.py [--rows 1000000] [--columns 2] [--out results/growth.json]

Times are of the processor, which other programs on the machine disturb least. Ten calls
at n rows and one at ten times as many take turns, so that a machine that slows down slows
both; the table has the median of their ratios.
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
FACTOR, TURNS = 10, 3


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


def seconds(call, repeats=1):
    """Processor time of so many calls, in all."""
    gc.collect()
    start = time.process_time()
    for _ in range(repeats):
        call()
    return time.process_time() - start


def drawn(n, columns, classify):
    """Rows with normal features and noise."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, columns))
    y = X[:, 0] + rng.normal(size=n)
    return X, (y > 0).astype(int) if classify else y


def growth(model, n, columns):
    """By call: seconds of ten calls at n, of one at 10 n, and the median ratio."""
    sizes = n, FACTOR * n
    data = [drawn(n, columns, isinstance(model, LogisticRegression)) for n in sizes]
    explainers = [InfluenceExplainer(model) for _ in sizes]
    few, many = (
        {
            "fit": lambda e=explainer, rows=rows: e.fit(*rows),
            **calls(explainer, *rows),
            "InfluenceCleaner.fit": lambda rows=rows: InfluenceCleaner(model).fit(
                *rows
            ),
        }
        for explainer, rows in zip(explainers, data, strict=True)
    )
    result = {}
    for name in few:
        few[name]()  # not counted: what only the first call does
        pairs = [
            (seconds(few[name], FACTOR), seconds(many[name])) for _ in range(TURNS)
        ]
        ratio = float(np.median([after / before for before, after in pairs]))
        result[name] = {"seconds": np.median(pairs, axis=0).tolist(), "per_row": ratio}
        print(f"  {name:22} {pairs} {ratio:5.2f}", flush=True)
    return result


def main() -> None:
    """Measure at both sizes, print the table and store it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=2)
    here = Path(__file__).parent / "results" / "growth.json"
    parser.add_argument("--out", type=Path, default=here)
    args = parser.parse_args()
    results = {
        type(model).__name__: growth(model, args.rows, args.columns)
        for model in (Ridge(), LogisticRegression())
    }
    content = {
        "date": date.today().isoformat(),
        "machine": platform.processor() or platform.machine(),
        "rows": [args.rows, FACTOR * args.rows],
        "columns": args.columns,
        "results": results,
    }
    args.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for model, rows in results.items():
        print(
            f"{model}: seconds of ten calls and of one with ten times the rows; ratio"
        )
        for name, row in rows.items():
            few, many = row["seconds"]
            mark = " !" if row["per_row"] > MOST else ""
            print(f"  {name:22} {few:8.2f} {many:8.2f} {row['per_row']:6.2f}{mark}")


if __name__ == "__main__":
    main()
