"""
======================================
Which training texts misled the model?
======================================

A linear model on TF-IDF features has a coefficient per word. It shows which words moved
a prediction, but not which *texts* the model learned that from. ``top_influences``
does, on a sparse matrix, without a refit.

The texts are the docstrings of SciPy's functions: is a function about statistics or
linear algebra? Some of the training labels are swapped on purpose.
"""

# %%
# Texts and labels
# ----------------

import inspect

import matplotlib.pyplot as plt
import numpy as np
import scipy.linalg
import scipy.stats
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from skinfluence import InfluenceExplainer


def described(module):
    """First paragraphs of the docstrings of the public functions of a module."""
    found = {}
    for name in sorted(set(module.__all__)):
        value = getattr(module, name)
        if inspect.isfunction(value) and value.__doc__:
            text = inspect.cleandoc(value.__doc__).split("Parameters\n")[0]
            found[name] = " ".join(text.split())
    return found


statistics, algebra = described(scipy.stats), described(scipy.linalg)
names = np.array([*statistics, *algebra])
texts = np.array([*statistics.values(), *algebra.values()])
y = np.repeat([0, 1], [len(statistics), len(algebra)])  # 1: linear algebra
print(f"{len(statistics)} functions of scipy.stats, {len(algebra)} of scipy.linalg")

train, test = train_test_split(
    np.arange(len(y)), test_size=0.3, random_state=0, stratify=y
)
rng = np.random.default_rng(0)
swapped = rng.choice(train, 8, replace=False)
given = y.copy()
given[swapped] = 1 - y[swapped]

# %%
# Which texts were most harmful to a misclassified text?
# ------------------------------------------------------
#
# The test text with the largest loss, and the training texts whose weight raises it
# most.

model = make_pipeline(
    TfidfVectorizer(sublinear_tf=True, stop_words="english"), LogisticRegression(C=10)
)
explainer = InfluenceExplainer(model).fit(texts[train], given[train])
p = explainer.predict_proba(texts[test])[np.arange(len(test)), y[test]]
asked = test[p.argmin()]
print(f"{names[asked]}: p = {p.min():.2f} for its own class\n  {texts[asked][:80]}\n")

values, rows = explainer.top_influences(
    texts[[asked]], y[[asked]], k=5, order="harmful", relative=True
)
for value, row in zip(values[0], train[rows[0]], strict=True):
    mark = "  <- swapped" if row in swapped else ""
    kind = ["stats", "linalg"][given[row]]
    print(
        f"{value:6.2f}  {names[row]} (labelled {kind}){mark}\n        {texts[row][:75]}"
    )

# %%
# And to all test texts together?
# -------------------------------
#
# One value per training text, at the cost of one solve. The swapped labels should come
# first.

harm = explainer.influence(texts[test], y[test], aggregate="mean")
order = train[harm.argsort()[::-1]]
found = np.isin(order[:8], swapped).sum()
print(f"{found} of the 8 swapped labels among the 8 most harmful of {len(train)} texts")

top = order[:12][::-1]
fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
colors = np.where(np.isin(top, swapped), "#d55e00", "0.7")
ax.barh(names[top], np.sort(harm)[-12:], color=colors)
ax.set(xlabel="influence on the mean loss of the test texts, per unit of weight")
ax.set_title("most harmful training texts (orange: label swapped)", fontsize="medium")

# %%
# Does the leave-one-out loss find them?
# --------------------------------------
#
# It needs no test labels: it ranks the texts that a model without them contradicts
# most.

p_own = explainer.loo_predict("predict_proba")[np.arange(len(train)), given[train]]
order = train[p_own.argsort()]
found = np.isin(order[:8], swapped).sum()
print(f"{found} of the 8 swapped labels among the 8 least expected texts")
