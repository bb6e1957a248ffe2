"""
==========================================================
Which rows determine the sign of a regression coefficient?
==========================================================

A coefficient with a small standard error may still depend on a handful of rows.
``influential_set`` looks for the fewest rows without which its sign is another, and
checks the answer by one refit.
"""

# %%
# A coefficient in question
# -------------------------
#
# The diabetes data: progression of the disease after a year, explained by ten
# measurements.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression

from skinfluence import InfluenceExplainer

data = load_diabetes()
X, y, names = data.data, data.target, data.feature_names
explainer = InfluenceExplainer(LinearRegression()).fit(X, y)

for j, name in enumerate(names):
    found = explainer.influential_set(j)
    print(
        f"{name:4} {found.initial:8.1f}   {len(found.rows):3d} rows of {len(y)} flip it: "
        f"{found.achieved:6.1f} without them (no fewer than {found.lower_bound} can)"
    )

# %%
# ``achieved`` is a refit without the rows; ``lower_bound`` is proved by trying all
# smaller sets, if there are not too many. The signs of ``s2`` and ``s4`` depend on a
# few patients, that of ``bmi`` on many.

# %%
# See them
# --------
#
# The coefficient of s4 is the slope of this plot: the residuals of y against the
# residuals of s4, both after a regression on the other measurements.

j = names.index("s4")
found = explainer.influential_set(j)
others = np.delete(X, j, axis=1)


def left_of(values, rows):
    """Residuals of a fit of the other columns on some rows."""
    fit = LinearRegression().fit(others[rows], values[rows])
    return values - fit.predict(others)


every = np.arange(len(y))
kept = np.setdiff1d(every, found.rows)
x_left, y_left = left_of(X[:, j], every), left_of(y, every)

fig, ax = plt.subplots(figsize=(5.5, 4), layout="constrained")
ax.scatter(x_left[kept], y_left[kept], s=12, color="0.7", label="other rows")
ax.scatter(
    x_left[found.rows], y_left[found.rows], s=30, color="tab:red", label="the set"
)
ends = np.array([x_left.min(), x_left.max()])
ax.plot(ends, found.initial * ends, "k-", label=f"all rows: {found.initial:.0f}")
ax.plot(
    ends,
    found.achieved * ends,
    "--",
    color="tab:red",
    label=f"without the set: {found.achieved:.0f}",
)
ax.set(xlabel="s4, given the others", ylabel="progression, given the others")
ax.legend(fontsize="small")

plt.show()
