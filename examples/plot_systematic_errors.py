"""
=======================================================
What if the labels are wrong in the same way all over?
=======================================================

Most of the sevens were entered as ones, and most of the threes as eights. Such errors
confirm each other: no row contradicts the model without it, because the other wrong rows
are still there. A few hundred rows that are known to be right break the circle: they ask
which of the other rows harm the model *on them*.
"""

# %%
# The data, and the errors
# ------------------------
#
# A quarter of the training rows was checked by hand, and is right.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfluence import InfluenceCleaner

X, y = load_digits(return_X_y=True)
some = np.isin(y, [1, 3, 7, 8])
X, X_test, y, y_test = train_test_split(X[some], y[some], test_size=0.4, random_state=0)
rng = np.random.default_rng(0)
trusted = rng.random(len(y)) < 0.25
spoilt = ~trusted & (rng.random(len(y)) < 0.7)
given = np.where(spoilt & (y == 7), 1, np.where(spoilt & (y == 3), 8, y))
wrong = given != y
print(f"{wrong.sum()} of {len(y)} labels are wrong, {trusted.sum()} rows are trusted")

# %%
# Four ways to fit
# ----------------

model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))


def fitted(criterion):
    """Fit with the rows left out that look wrong by a criterion."""
    cleaner = InfluenceCleaner(model, criterion=criterion)
    cleaner.fit(X, given, trusted=trusted)
    dropped = ~cleaner.support_
    print(
        f"{criterion}: {dropped.sum()} rows dropped, "
        f"{(dropped & wrong).sum()} of the {wrong.sum()} errors among them"
    )
    return cleaner.score(X_test, y_test)


accuracy = {
    "all rows, as given": model.fit(X, given).score(X_test, y_test),
    "trusted rows alone": model.fit(X[trusted], y[trusted]).score(X_test, y_test),
    'cleaned by "loo_loss"': fitted("loo_loss"),
    'cleaned by "influence"': fitted("influence"),
    "right rows alone": model.fit(X[~wrong], y[~wrong]).score(X_test, y_test),
}

# %%
# What it is worth
# ----------------
#
# ``"loo_loss"`` asks each row about itself, and finds some of these errors. ``"influence"``
# asks the trusted rows, in rounds, and stops where they are predicted best. The last bar
# is what no cleaning can beat by much: the errors are not known in practice.

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
bars = ax.barh(list(accuracy), list(accuracy.values()))
bars[-1].set_color("0.7")
ax.bar_label(bars, fmt="%.3f", padding=3)
ax.set(xlabel="accuracy on test rows with right labels", xlim=(0.5, 1.05))
ax.invert_yaxis()

# %%
# Inside cross-validation, route the mask along: ``cleaner.set_fit_request(trusted=True)``
# and ``params={"trusted": trusted}``.

plt.show()
