"""
=======================================================
Is the row with the worst fit the most influential one?
=======================================================

A large residual is conspicuous, but how far a row moves the coefficients also depends
on its leverage. Here the waists of twenty men are explained by their exercises. The row
with the largest residual is not the one with the largest Cook's distance; without the
latter a coefficient more than doubles.
"""

# %%
# Residual against leverage
# -------------------------
#
# Rows far from zero are fitted badly; rows on the right have leverage. Cook's distance
# is large if both come together, on and beyond the dashed lines.

import numpy as np
from sklearn.datasets import load_linnerud
from sklearn.linear_model import LinearRegression

from skinfluence import DfbetasDisplay, InfluenceExplainer, LeverageDisplay

data = load_linnerud(as_frame=True)
X, y = data.data, data.target["Waist"]
explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
display = LeverageDisplay.from_explainer(explainer, k=4, name="waist by exercises")

# %%
# The two rows in numbers
# -----------------------
#
# Row 9 pulls the fit so close to itself that its residual is small.

table = explainer.diagnostics()
worst_fit = table["resid_studentized_internal"].abs().idxmax()
strongest = table["cooks_distance"].idxmax()
columns = ["resid_studentized_internal", "leverage", "cooks_distance"]
print(table.loc[[worst_fit, strongest], columns].round(2).to_string())
print(X.assign(Waist=y).loc[[worst_fit, strongest]].to_string())

# %%
# What each row does to each coefficient
# --------------------------------------
#
# In standard errors, with the row minus without it. The man of row 9 jumped 250 times,
# far more than the others, and the coefficient of jumps depends on him.

display = DfbetasDisplay.from_explainer(explainer, k=3)

# %%
# Comparison with refits
# ----------------------
#
# For least squares the deletion of a row is exact: the refits agree to rounding.

coef = explainer.loo_params().coef
print("coefficients of", *X.columns)
print("all rows:     ", LinearRegression().fit(X, y).coef_.round(3))
for row in (worst_fit, strongest):
    refit = LinearRegression().fit(X.drop(index=row), y.drop(index=row))
    place = X.index.get_loc(row)
    without = explainer.estimator_.coef_ + coef[place]
    np.testing.assert_allclose(without, refit.coef_)
    print(f"without row {row:2}:", without.round(3))
