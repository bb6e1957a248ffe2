"""
=======================================
Five minutes: which rows hurt my model?
=======================================

A logistic regression on the breast-cancer data: which rows raise and lower its test
loss, how the model would change without the worst of them, and whether refits agree.
"""

# %%
# A fitted model and its training rows
# ------------------------------------

from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfluence import InfluenceDisplay, InfluenceExplainer, LeaveOneOutDisplay

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X_train, y_train)
explainer = InfluenceExplainer(model, deletion="exact").fit(X_train, y_train)

# %%
# Which training rows raise the test loss?
# ----------------------------------------
#
# A positive influence is harmful: giving the row more weight raises the mean test loss.
# Rows are labelled by the index of the DataFrame.

display = InfluenceDisplay.from_explainer(explainer, X_test, y_test, k=8)

# %%
# What would the loss be without the worst of them?
# -------------------------------------------------
#
# Without minus with, from one fit: a negative delta means that the loss falls.

influence = explainer.influence(X_test, y_test, aggregate="mean")
delta = explainer.loo_delta(X_test, y_test, aggregate="mean")
worst = influence.argmax()
name = explainer.train_index_[worst]
p = explainer.loo_predict("predict_proba")[worst]
before, after = explainer.score(X_train, y_train), explainer.loo_score()
print(f"row {name}, of class {y_train.loc[name]}")
print(f"class probabilities by the model without it: {p.round(3)}")
print(f"mean test loss without it: {delta[worst]:+.4f}")
print(f"accuracy of all rows: {before:.4f}, each left out: {after:.4f}")

# %%
# Do refits agree?
# ----------------
#
# The model is refitted without each of fifty rows.

rows = range(0, len(X_train), 8)
display = LeaveOneOutDisplay.from_explainer(explainer, X_train, y_train, rows=rows)
