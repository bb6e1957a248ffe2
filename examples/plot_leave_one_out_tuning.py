"""
========================================
Which penalty does leave-one-out choose?
========================================

Leave-one-out is cross-validation without a choice of folds: it needs no seed, and does
not vary from split to split. With one fit for each candidate it is also cheaper than
ten folds.
"""

# %%
# Two searches over the same grid
# -------------------------------

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfluence import LeaveOneOutSearchCV

X, y = load_breast_cancer(return_X_y=True)
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
strengths = np.logspace(-3, 2, 11)
grid = {"logisticregression__C": strengths}
options = {"scoring": "neg_log_loss", "refit": False}

start = time.perf_counter()
search = LeaveOneOutSearchCV(model, grid, **options).fit(X, y)
seconds = time.perf_counter() - start
scores = search.cv_results_["mean_test_score"]

start = time.perf_counter()
folded = []
for seed in range(3):
    cv = StratifiedKFold(10, shuffle=True, random_state=seed)
    found = GridSearchCV(model, grid, cv=cv, **options).fit(X, y)
    folded.append(found.cv_results_["mean_test_score"])
print(f"leave-one-out: {seconds:.2f} s")
print(f"ten folds:     {(time.perf_counter() - start) / 3:.2f} s for each seed")

# %%
# The curves
# ----------

fig, ax = plt.subplots(figsize=(5.5, 3.5), layout="constrained")
for seed, curve in enumerate(folded):
    label = None if seed else "ten folds, three seeds"
    ax.semilogx(strengths, -curve, color="0.7", label=label)
ax.semilogx(strengths, -scores, "o-", label="leave-one-out, every row in turn")
best = search.best_params_["logisticregression__C"]
ax.axvline(best, color="tab:blue", ls=":")
ax.set(xlabel="C", ylabel="log loss of rows left out", ylim=(0.06, 0.2))
ax.legend()

# %%
# The scaler is fitted to all rows and stays fixed when a row is left out: one row of
# hundreds hardly changes it. Tune steps that use y, such as a selection of features,
# with ``GridSearchCV``.

plt.show()
