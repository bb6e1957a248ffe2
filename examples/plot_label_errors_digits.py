"""
==============================
Which of the labels are wrong?
==============================

A tenth of the labels of the digits is replaced by another digit. The rows are ranked by
their leave-one-out loss, from one fit. The first tenth of the ranking holds nearly all
wrong labels.
"""

# %%
# The data, and the errors
# ------------------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfluence import InfluenceCleaner

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, random_state=0)
rng = np.random.default_rng(0)
wrong = rng.random(len(y)) < 0.1
given = np.where(wrong, (y + rng.integers(1, 10, len(y))) % 10, y)
print(f"{wrong.sum()} of {len(y)} labels are wrong")

# %%
# Rank the rows, and fit without the worst
# ----------------------------------------
#
# ``InfluenceCleaner`` ranks the rows and removes those whose label the model without
# them contradicts. It does so only inside ``fit``, so test rows are never removed.

model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
cleaner = InfluenceCleaner(model).fit(X, given)
as_given = model.fit(X, given).score(X_test, y_test)
print(f"Accuracy on right labels, all rows:     {as_given:.3f}")
print(f"Accuracy on right labels, cleaned rows: {cleaner.score(X_test, y_test):.3f}")

# %%
# How far down the ranking are the errors?
# ----------------------------------------

order = np.argsort(-cleaner.row_scores_)
share = np.arange(1, len(y) + 1) / len(y)
found = np.cumsum(wrong[order]) / wrong.sum()

fig, ax = plt.subplots(figsize=(5, 4), layout="constrained")
ax.plot(share, found, label="ranked by leave-one-out loss")
ax.plot([0, wrong.mean(), 1], [0, 1, 1], "k:", label="perfect")
ax.plot([0, 1], [0, 1], color="0.7", label="random")
ax.set(xlabel="share of the rows inspected", ylabel="share of the errors found")
ax.legend(loc="lower right")

# %%
# The worst rows
# --------------
#
# Above each image is its label; wrong labels are red. A black label is a digit that is
# hard to read, which is also worth a look.

fig, axes = plt.subplots(3, 6, figsize=(7, 4.2), layout="constrained")
for ax, row in zip(axes.flat, order, strict=False):
    ax.imshow(X[row].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"given: {given[row]}", color="tab:red" if wrong[row] else "black")
    ax.set_axis_off()

plt.show()
