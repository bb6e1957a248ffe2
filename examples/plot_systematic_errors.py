"""
==============================================
What if many labels are wrong in the same way?
==============================================

Most of the sevens are labelled one, and most of the threes eight. Such errors confirm
each other: a model without one wrong row still learns from the others. A few hundred
rows that are known to be right solve the problem: which of the other rows raise the
loss *on them*?
"""

# %%
# The data, and the errors
# ------------------------
#
# A quarter of the training rows is trusted: checked by hand, and right.

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
# Accuracy
# --------
#
# ``"loo_loss"`` judges each row by its own loss, and finds some of these errors.
# ``"influence"`` uses the loss on the trusted rows, in rounds, and stops where they are
# predicted best. The last bar, a fit without the errors, is about the best that
# cleaning can reach; in practice the errors are not known.

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
bars = ax.barh(list(accuracy), list(accuracy.values()))
bars[-1].set_color("0.7")
ax.bar_label(bars, fmt="%.3f", padding=3)
ax.set(xlabel="accuracy on test rows with right labels", xlim=(0.5, 1.05))
ax.invert_yaxis()

# %%
# Inside cross-validation, route the mask: ``cleaner.set_fit_request(trusted=True)`` and
# ``params={"trusted": trusted}``.

plt.show()
