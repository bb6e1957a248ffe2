"""Draws the picture of README.md and the front page: ``python docs/make_pictures.py``."""

from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfluence import InfluenceDisplay, InfluenceExplainer, LeaveOneOutDisplay

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
model = make_pipeline(StandardScaler(), LogisticRegression())
explainer = InfluenceExplainer(model, deletion="exact").fit(X_train, y_train)

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
figure.savefig(Path(__file__).parent / "_static" / "breast_cancer.png", dpi=110)
