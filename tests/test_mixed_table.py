"""A table with gaps, rare categories and text: everything learned again, beside refits."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_wine
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skinfluence import InfluenceExplainer

pandas = pytest.importorskip("pandas")

TIGHT = {"solver": "newton-cholesky", "tol": 1e-13, "max_iter": 10_000}
MODELS = {"ridge": Ridge(), "softmax": LogisticRegression(**TIGHT)}
NUMBERS, CATEGORIES = ["alcohol", "ash", "magnesium"], ["strength", "vat"]
GROUPS = [[0, 7, 8, 13], list(range(9, 15))]


def wines():
    """Seventeen wines: three columns of numbers, two of categories, and a text.

    Gaps are where a sixth of the cells were erased. Categories are cut from columns: the
    greatest value of each is alone in its category, as is the only row of a vat. Texts
    describe further columns, with a term that two rows have and one that one row has.
    """
    bunch = load_wine(as_frame=True)
    wine = bunch.frame.iloc[::11].reset_index(drop=True)
    rng = np.random.default_rng(0)
    table = wine[NUMBERS].copy()
    table = table.mask(rng.random(table.shape) < 0.17)
    for name, column in zip(CATEGORIES, ["color_intensity", "proline"], strict=True):
        edges = np.quantile(wine[column], [0.3, 0.7])
        edges = [-np.inf, *edges, wine[column].nlargest(2).mean(), np.inf]
        table[name] = pandas.cut(wine[column], edges, labels=list("abcd")).astype(str)
    hue = np.where(wine["hue"] > 1, "bluish", "brownish red")
    acid = np.where(wine["malic_acid"] > 2, "sharp", "mild mild")
    table["note"] = pandas.Series(hue) + " and " + acid
    table.loc[[5, 9], "note"] += " corked"
    table.loc[13, "note"] += " peppery"
    return table, bunch.target.iloc[::11].to_numpy(), wine["flavanoids"].to_numpy()


def pipeline(model):
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer(
        [
            ("numbers", numbers, NUMBERS),
            ("categories", OneHotEncoder(handle_unknown="ignore"), CATEGORIES),
            ("note", TfidfVectorizer(), "note"),
        ]
    )
    return make_pipeline(columns, clone(model))


def losses(pipe, X, y):
    if hasattr(pipe, "predict_proba"):
        return -np.log(pipe.predict_proba(X)[np.arange(len(y)), y])
    return (pipe.predict(X) - y) ** 2 / 2


@pytest.mark.parametrize("name", MODELS)
def test_rows_and_groups_of_a_mixed_table_are_refits(name):
    X, classes, flavanoids = wines()
    y = classes if name == "softmax" else flavanoids
    assert X[NUMBERS].isna().any().all()
    single = [(X[column] == "d").to_numpy() for column in CATEGORIES]
    assert all(rows.sum() == 1 for rows in single)
    rows = [int(np.argmax(each)) for each in single] + [5, 13]
    pipe = pipeline(MODELS[name])
    explainer = InfluenceExplainer(pipe, preprocessing="refitted", deletion="exact")
    explainer.fit(X, y)
    assert explainer.held_steps_ == []
    method = "decision_function" if name == "softmax" else "predict"
    own = explainer.loo_predict(method=method)[rows]
    group = explainer.group_delta(X[:6], y[:6], groups=GROUPS)
    full = clone(pipe).fit(X, y)
    fits = {
        str(leaving): clone(pipe).fit(X.drop(leaving), np.delete(y, leaving))
        for leaving in [*([row] for row in rows), *GROUPS]
    }
    before = getattr(full, method)(X.loc[rows])
    wanted = [getattr(fits[str([row])], method)(X.loc[[row]])[0] for row in rows]
    assert close(own - before, np.array(wanted) - before)
    before = losses(full, X[:6], y[:6])
    wanted = [losses(fits[str(leaving)], X[:6], y[:6]) - before for leaving in GROUPS]
    assert close(group.T, np.array(wanted))


def close(given, wanted):
    return np.abs(given - wanted).max() <= 1e-8 * np.abs(wanted).max()
