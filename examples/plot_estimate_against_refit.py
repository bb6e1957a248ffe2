"""
==================================================
Can one fit stand in for a refit without each row?
==================================================

Three estimates of the effect of deleting a row from a logistic regression, all from one
fit, against refits. The rows are those that pull hardest on the model; others are
easier.
"""

# %%
# Refits without each of sixty rows
# ---------------------------------
#
# ``check_leave_one_out`` refits the model without each row, and compares the change of
# the mean training loss with the estimate.

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfluence import InfluenceExplainer, LeaveOneOutDisplay, check_leave_one_out

X, y = load_breast_cancer(return_X_y=True)
model = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-8, max_iter=1000))
explainer = InfluenceExplainer(model).fit(X, y)
rows = np.argsort(explainer.self_influence())[:60]

# %%
# From the cheapest estimate to the exact one
# -------------------------------------------
#
# On the line, estimate and refit agree. "jackknife" is linear in the influence and
# misses rows with high leverage; "newton" takes one step without the row, which is too
# small only for a few; "exact" repeats the step until it converges.

fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.8), layout="constrained")
for deletion, ax in zip(("jackknife", "newton", "exact"), axes, strict=True):
    explainer = InfluenceExplainer(model, deletion=deletion).fit(X, y)
    start = time.perf_counter()
    explainer.loo_params()
    seconds = time.perf_counter() - start
    found = check_leave_one_out(explainer, X, y, rows=rows)
    error = np.abs(found.predicted - found.refit).max()
    print(
        f"{deletion:9}  r = {found.pearson:.6f}  largest error = {error:.1e}  "
        f"{1e3 * seconds:6.1f} ms for all {len(y)} rows"
    )
    LeaveOneOutDisplay.from_check(found, ax=ax, name=deletion)

# %%
# What do the refits cost?
# ------------------------

start = time.perf_counter()
for row in rows[:10]:
    model.fit(np.delete(X, row, axis=0), np.delete(y, row))
per_row = (time.perf_counter() - start) / 10
print(f"refits of all {len(y)} rows would take {per_row * len(y):.1f} s")

plt.show()
