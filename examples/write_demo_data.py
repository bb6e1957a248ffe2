"""Write scikit-learn's breast-cancer data to a CSV file.

Thirty measurements per row under scikit-learn's own column names, and the target
``diagnosis`` with the values ``malignant`` and ``benign``. Used by ``make demo``.

Usage: python examples/write_demo_data.py [PATH]
"""

import csv
import sys
from pathlib import Path

from sklearn.datasets import load_breast_cancer


def main(path="build/demo/breast_cancer.csv"):
    data = load_breast_cancer()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*data.feature_names, "diagnosis"])
        for features, target in zip(data.data, data.target, strict=True):
            writer.writerow([*features.tolist(), data.target_names[target]])
    print(f"Wrote {len(data.target)} rows to {path}")


if __name__ == "__main__":
    main(*sys.argv[1:])
