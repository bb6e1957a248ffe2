"""Draws the pictures of README.md and the pages: ``python docs/make_pictures.py``."""

from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfluence import (
    DfbetasDisplay,
    InfluenceDisplay,
    InfluenceExplainer,
    LeaveOneOutDisplay,
    LeverageDisplay,
    SelfInfluenceDisplay,
)

STATIC = Path(__file__).parent / "_static"

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
model = make_pipeline(StandardScaler(), LogisticRegression())
explainer = InfluenceExplainer(model, deletion="exact").fit(X_train, y_train)

# --- the front page ---

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
InfluenceDisplay.from_explainer(explainer, X_test, y_test, k=5, ax=left)
left.set_title("The training rows that hurt and help\nthe test loss most")
agreement = LeaveOneOutDisplay.from_explainer(
    explainer, X_train, y_train, rows=range(0, 400, 4), ax=right
)
right.set_title(
    "100 rows really left out and refitted:\n"
    f"r = {agreement.pearson:.6f}, slope = {agreement.slope:.4f}"
)
figure.savefig(STATIC / "breast_cancer.png", dpi=110)

# --- all displays ---

diabetes = load_diabetes(return_X_y=True, as_frame=True)
linear = InfluenceExplainer(LinearRegression()).fit(*diabetes)

figure, axes = plt.subplots(3, 2, figsize=(11, 12), layout="constrained")
bars, cloud, classes, agreement, leverage, dfbetas = axes.flat
InfluenceDisplay.from_explainer(
    explainer, X_test, y_test, ax=bars, name='InfluenceDisplay, kind="rows"'
)
InfluenceDisplay.from_explainer(
    explainer,
    X_test,
    y_test,
    kind="loss",
    k=5,
    ax=cloud,
    name='InfluenceDisplay, kind="loss"',
)
SelfInfluenceDisplay.from_explainer(explainer, ax=classes, name="SelfInfluenceDisplay")
LeaveOneOutDisplay.from_explainer(
    explainer, X_train, y_train, rows=100, ax=agreement, name="LeaveOneOutDisplay"
)
LeverageDisplay.from_explainer(linear, ax=leverage, name="LeverageDisplay")
DfbetasDisplay.from_explainer(linear, ax=dfbetas, name="DfbetasDisplay")
figure.savefig(STATIC / "displays.png", dpi=90)
