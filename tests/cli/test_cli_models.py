"""Models by name, and fitted models from files."""

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from tables import audit, rows_of, summary_of, write

from skinfluence import InfluenceExplainer
from skinfluence.cli import main
from skinfluence.cli._model import wording


class Scaler(StandardScaler):
    """A type that no file may bring along unasked."""


@pytest.fixture
def skops():
    return pytest.importorskip("skops.io")


@pytest.fixture
def joblib():
    return pytest.importorskip("joblib")


@pytest.mark.parametrize(
    "model", ["linear", "ridge", "lasso", "elasticnet", "huber", "gamma", "poisson"]
)
def test_regressions_agree_with_refits(pd, diabetes, model, capsys):
    command = ["diabetes.csv", "--target", "progression", "--model", model]
    audit(*command, "--deletion", "exact", "--check", 8)
    summary = summary_of()
    assert summary["model"]["name"] == model
    assert summary["agreement"]["pearson"] > 0.999999
    assert summary["agreement"]["max_abs_error"] < (
        1e-5 * summary["agreement"]["max_abs_change"]
    )
    relative = model not in ("gamma", "poisson")
    assert ("in percent of it" in capsys.readouterr().out) == relative


def test_effects_on_a_fit_without_residuals_are_no_percentages(pd, here, capsys):
    """Fewer rows than columns: the mean loss is rounding, and no measure of anything."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(8, 12)), rng.normal(size=8)
    write("wide.csv", [*(f"x{j}" for j in range(12)), "y"], X, y)
    audit("wide.csv", "--target", "y", "--model", "linear", "--check", 0)
    shown = capsys.readouterr().out
    assert "%" not in shown.split("Most harmful")[1].split("all but the 10%")[0]
    assert "in percent of it" not in shown


@pytest.mark.parametrize("loss", ["ExponentialFamilyLoss", "HalfTweedieIdentityLoss"])
def test_every_family_is_told_in_the_words_of_the_common_ones(loss):
    assert wording(loss).loss == wording("HalfTweedieLoss").loss


def test_svm_agrees_with_refits(pd, cancer):
    command = ["cancer.csv", "--target", "diagnosis", "--model", "svm"]
    audit(*command, "--deletion", "exact", "--check", 40)
    assert summary_of()["agreement"]["pearson"] > 0.999999
    assert "p_target" not in rows_of()


def test_effects_on_a_negative_deviance_keep_their_sign(pd, here, capsys):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1))
    write("counts.csv", ["x", "n"], x, rng.poisson(np.exp(2 + x[:, 0])))
    audit("counts.csv", "--target", "n", "--model", "poisson", "--check", 0)
    summary = summary_of()
    assert summary["scores"]["training"]["mean_loss"] < 0
    harmful = capsys.readouterr().out.split("Most harmful")[1].splitlines()[2]
    assert harmful.split()[1].startswith("-")


@pytest.mark.parametrize(
    ("model", "words"), [("poisson", "0 or more"), ("gamma", "above 0")]
)
def test_targets_out_of_domain(pd, diabetes, capsys, model, words):
    X, y = diabetes
    write(
        "low.csv", [f"x{j}" for j in range(10)] + ["y"], X, np.where(y == y[9], -1, y)
    )
    assert main(["audit", "low.csv", "--target", "y", "--model", model]) == 2
    assert f"must be {words} for this model; row" in (err := capsys.readouterr().err)
    assert "holds -1" in err


def test_a_fitted_pipeline_gets_its_columns_by_name(pd, skops, diabetes):
    y = diabetes[1]
    table = pd.read_csv("diabetes.csv")
    names = list(table.columns[:4])[::-1]
    fitted = make_pipeline(StandardScaler(), Ridge(3.0)).fit(table[names], y)
    skops.dump(fitted, "ridge.skops")
    audit("diabetes.csv", "--target", "progression", "--model", "ridge.skops")
    explainer = InfluenceExplainer(fitted).fit(table[names], y)
    np.testing.assert_allclose(
        rows_of()["self_influence"].astype(float), explainer.self_influence()
    )
    assert sorted(summary_of()["numeric_columns"]) == sorted(names)
    assert summary_of()["agreement"]["pearson"] == pytest.approx(1)


def test_a_classifier_that_encodes_text(pd, skops, here):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"city": rng.choice(["a", "b"], 80), "x": rng.normal(size=80)})
    table["y"] = np.where(table.x + rng.normal(size=80) > 0, "yes", "no")
    table.to_csv("t.csv", index=False)
    encode = make_column_transformer(
        (OneHotEncoder(), ["city"]), (StandardScaler(), ["x"])
    )
    fitted = make_pipeline(encode, LogisticRegression()).fit(
        table[["city", "x"]], table.y
    )
    skops.dump(fitted, "m.skops")
    audit("t.csv", "--target", "y", "--model", "m.skops", "--check", 4)
    np.testing.assert_array_equal(rows_of()["prediction"], fitted.predict(table))
    assert summary_of()["categorical_columns"] == ["city"]


def test_a_model_without_names_gets_the_numbers_in_order(pd, skops, diabetes, capsys):
    X, y = diabetes
    fitted = Ridge(3.0).fit(X, y)
    skops.dump(fitted, "m.skops")
    command = ["diabetes.csv", "--target", "progression", "--model", "m.skops"]
    audit(*command, "--check", 4)
    np.testing.assert_allclose(rows_of()["prediction"].astype(float), fitted.predict(X))
    assert main(["audit", *command, "--drop", "s1"]) == 2
    assert "fitted to 10 columns without names, but" in capsys.readouterr().err


def test_other_types_have_to_be_trusted_by_name(pd, skops, diabetes, capsys):
    X, y = diabetes
    skops.dump(make_pipeline(Scaler(), Ridge()).fit(X, y), "own.skops")
    command = [
        "audit",
        "diabetes.csv",
        "--target",
        "progression",
        "--model",
        "own.skops",
    ]
    name = f"{Scaler.__module__}.Scaler"
    assert main(command) == 2
    assert f"--trust-type {name}" in capsys.readouterr().err
    assert main([*command, "--trust"]) == 2  # is about pickles
    assert main([*command, "--trust-type", name, "--check", "0"]) == 0
    trusted = make_pipeline(FunctionTransformer(np.log1p), Ridge()).fit(abs(X), y)
    skops.dump(trusted, "numpy.skops")
    audit(*command[1:-1], "numpy.skops", "--check", 0)


def test_pickles_are_programs(pd, joblib, diabetes, capsys, here):
    X, y = diabetes

    class Trap:
        def __reduce__(self):
            return open, ("sprung", "w")

    joblib.dump(Trap(), "trap.joblib")
    command = ["audit", "diabetes.csv", "--target", "progression", "--check", "0"]
    assert main([*command, "--model", "trap.joblib"]) == 2
    assert "executes whatever code" in (err := capsys.readouterr().err)
    assert "--trust" in err
    assert not (here / "sprung").exists()
    for name in ("m.joblib", "m.pkl"):
        joblib.dump(Ridge().fit(X, y), name)
        assert main([*command, "--model", name]) == 2
        assert main([*command, "--model", name, "--trust"]) == 0


def test_files_that_hold_no_fitted_model(pd, skops, diabetes, capsys, here):
    X, y = diabetes
    skops.dump(Ridge(), "unfitted.skops")
    skops.dump([1, 2], "list.skops")
    skops.dump(
        Ridge().fit(pd.DataFrame(X[:, :2], columns=["bmi", "weight"]), y), "w.skops"
    )
    (here / "fake.skops").write_text("no")
    for name, words in {
        "none.skops": "no model file",
        "unfitted.skops": "is not fitted",
        "list.skops": "not a scikit-learn estimator",
        "fake.skops": "cannot be read as a skops file",
        "w.skops": "lacks: weight. Its columns:",
    }.items():
        command = ["audit", "diabetes.csv", "--target", "progression", "--model", name]
        assert main(command) == 2
        assert words in capsys.readouterr().err


def test_a_model_of_other_rows_is_noticed(pd, skops, diabetes, capsys):
    X, y = diabetes
    skops.dump(Ridge().fit(X[:200], y[:200]), "other.skops")
    command = ["diabetes.csv", "--target", "progression", "--model", "other.skops"]
    audit(*command, "--check", 0)
    assert "was the model fitted to other rows" in capsys.readouterr().err
