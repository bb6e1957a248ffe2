"""
==========================================
Which annotator should label no more data?
==========================================

Eight people labelled the training rows. ``group_delta`` gives, from one fit, the change
of the loss on checked rows without all the labels of one of them. Refits confirm it.
"""

# %%
# Eight annotators, one of them careless and one with a bias
# ----------------------------------------------------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skinfluence import InfluenceExplainer

X, y = load_breast_cancer(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, random_state=0)
scaler = StandardScaler().fit(X)
X, X_test = scaler.transform(X), scaler.transform(X_test)

rng = np.random.default_rng(0)
people = np.array(["Ann", "Ben", "Cleo", "Dan", "Eve", "Fay", "Gil", "Hana"])
annotator = rng.choice(people, len(y))
careless = (annotator == "Dan") & (rng.random(len(y)) < 0.4)
biased = (annotator == "Gil") & (rng.random(len(y)) < 0.7)
given = np.where(careless, 1 - y, np.where(biased, 1, y))

# %%
# The effect of each on the loss on checked rows
# ----------------------------------------------
#
# Groups are in the order of ``np.unique``. A negative delta is harmful: the loss falls
# without the group.

model = LogisticRegression(C=0.1, tol=1e-8)
explainer = InfluenceExplainer(model, deletion="exact").fit(X, given)
names = np.unique(annotator)
delta = explainer.group_delta(X_test, y_test, groups=annotator, aggregate="mean")


def loss_of(rows):
    """Loss on the checked rows after a refit."""
    fit = LogisticRegression(C=0.1, tol=1e-8).fit(X[rows], given[rows])
    return log_loss(y_test, fit.predict_proba(X_test))


full = loss_of(np.ones(len(y), dtype=bool))
refits = np.array([loss_of(annotator != name) - full for name in names])
print(f"largest difference from the refits: {np.abs(delta - refits).max():.1e}")

# %%
# Two of them stand out
# ---------------------

fig, ax = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
ax.barh(names, delta, color=np.where(delta < 0, "tab:red", "tab:blue"))
ax.plot(refits, names, "k|", ms=14, label="by a refit")
ax.axvline(0, color="black", lw=0.8)
ax.set(xlabel="change of the loss on checked rows, without the annotator")
ax.legend(loc="upper left")
ax.invert_yaxis()

plt.show()
