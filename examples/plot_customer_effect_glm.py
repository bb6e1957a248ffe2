"""
============================================
How much does one customer move the premium?
============================================

An insurer sets prices by a Gamma regression of the size of claims. Some customers have
a whole fleet. If a large customer leaves or has a bad year, how far do the prices of
all others move? ``group_delta`` gives the answer for every customer from one fit.

The portfolio is made up here: rating factors with known effects, Gamma claims, fleets
of very different size, and one fleet whose claims are three times too high.
"""

# %%
# A portfolio
# -----------

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import GammaRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skinfluence import InfluenceExplainer

rng = np.random.default_rng(0)
n_claims = 1 + rng.geometric(0.12, 400)  # of each of 400 customers
customer = np.repeat(np.arange(400), n_claims)
claims = pd.DataFrame(
    {
        "age": rng.uniform(18, 80, len(customer)),
        "power": rng.integers(4, 13, len(customer)),
        "region": rng.choice(["north", "south", "coast"], len(customer)),
    }
)
expected = 900 * np.exp(
    0.5 * (claims["age"] < 25)
    + 0.08 * (claims["power"] - 8)
    + 0.3 * (claims["region"] == "coast")
)
bad_fleet = int(np.argsort(n_claims)[-5])
expected[customer == bad_fleet] *= 3
amount = rng.gamma(2.0, expected / 2.0)
print(f"{len(customer)} claims; the largest customer has {n_claims.max()}")

# %%
# One fit, and the effect of every customer
# -----------------------------------------
#
# The quantity is the predicted price of some typical policies, without the customer
# minus with it, in the currency of the claims.

model = make_pipeline(
    make_column_transformer(
        (StandardScaler(), ["age", "power"]), (OneHotEncoder(), ["region"])
    ),
    GammaRegressor(alpha=1e-3, tol=1e-8, max_iter=1000),
)
explainer = InfluenceExplainer(model, deletion="exact").fit(claims, amount)
profiles = pd.DataFrame(
    {"age": [22, 45, 70], "power": [6, 8, 11], "region": ["coast", "north", "south"]}
)
price = explainer.predict(profiles)
delta = explainer.group_delta(profiles, groups=customer)  # (3 profiles, 400 customers)
relative = 100 * delta / price[:, None]
top = np.abs(relative).max(axis=0).argsort()[::-1][:5]
table = pd.DataFrame(
    relative[:, top].T.round(2),
    index=pd.Index(top, name="customer"),
    columns=["22, coast", "45, north", "70, south"],
)
table.insert(0, "claims", n_claims[top])
print("price without the customer, change in per cent")
print(table)

# %%
# Is it the size of the fleet?
# ----------------------------
#
# Size alone does not matter: most large fleets hardly change the prices.

average = relative.mean(axis=0)
fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
ax.axhline(0, color="0.7", lw=0.8)
ax.scatter(n_claims, average, s=14, color="#0072b2", alpha=0.6, label="customers")
ax.scatter(
    n_claims[bad_fleet],
    average[bad_fleet],
    s=40,
    color="#d55e00",
    label="the fleet with claims three times too high",
)
ax.set(xlabel="claims of the customer", ylabel="price without the customer (%)")
ax.legend(loc="lower left")

# %%
# Comparison with refits
# ----------------------
#
# The model is refitted without each of the five customers.

for number in top:
    kept = customer != number
    transform, gamma = model[0], model[1]  # held, and refitted
    Z = transform.fit(claims).transform(claims)
    full = gamma.fit(Z, amount).predict(transform.transform(profiles))
    without = gamma.fit(Z[kept], amount[kept]).predict(transform.transform(profiles))
    error = np.abs(without - full - delta[:, number]).max()
    print(f"customer {number:3}: largest difference from the refit {error:.1e}")
