"""The command line: what it reads, computes, writes, prints and refuses."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import FILES, PAGE, audit, files_in, refuse, rows_of, summary_of, write

import skinfluence
from skinfluence import InfluenceExplainer
from skinfluence.cli import main
from skinfluence.cli._console import Console, in_own_words
from skinfluence.cli._features import Features
from skinfluence.cli._model import MODELS, by_weight, pipeline
from skinfluence.cli._text import clip, number, percentages, render, width
from skinfluence.cli._write import write_table
from skinfluence.deletion import Deltas
from skinfluence.report._page import _environment
from skinfluence.study._verdicts import Verdicts

# --- numbers ---------------------------------------------------------------------------


def test_logistic_rows_are_those_of_the_explainer(pd, cancer):
    audit("cancer.csv", "--target", "diagnosis", "--check", 5)
    X, y = cancer
    model = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-10))
    explainer = InfluenceExplainer(model).fit(X, y)
    rows = rows_of()
    own = explainer.loo_predict(method="predict_proba")
    own = own[np.arange(len(y)), (y == "malignant").astype(int)]
    np.testing.assert_array_equal(rows["row"].astype(int), np.arange(len(y)))
    np.testing.assert_array_equal(rows["target"], y)
    np.testing.assert_array_equal(rows["loo_prediction"], explainer.loo_predict())
    np.testing.assert_allclose(
        rows["loo_loss"].astype(float), -np.log(own), rtol=1e-6, atol=1e-12
    )
    np.testing.assert_allclose(
        rows["self_influence"].astype(float), explainer.self_influence(), rtol=1e-6
    )
    scores = summary_of()["scores"]
    assert scores["training"]["score"] == explainer.score(X, y)
    assert scores["leave_one_out"]["score"] == explainer.loo_score()


def test_effect_is_on_the_test_rows_where_there_are_some(pd, diabetes):
    X, y = diabetes
    names = [*load_diabetes().feature_names, "progression"]
    write("train.csv", names, X[:300], y[:300])
    write("test.csv", names, X[300:], y[300:])
    audit("train.csv", "--target", "progression", "--test", "test.csv")
    rows, summary = rows_of(), summary_of()
    model = make_pipeline(StandardScaler(), Ridge(summary["model"]["alpha_"]))
    explainer = InfluenceExplainer(model).fit(X[:300], y[:300])
    for name, truth in {
        "influence": explainer.influence(X[300:], y[300:], aggregate="mean"),
        "loo_delta": explainer.loo_delta(X[300:], y[300:], aggregate="mean"),
    }.items():
        error = np.abs(rows[name].astype(float) - truth).max()
        assert error < 1e-9 * np.abs(truth).max()
    half_error = 0.5 * np.mean(
        (model.fit(X[:300], y[:300]).predict(X[300:]) - y[300:]) ** 2
    )
    assert summary["scores"]["test"]["mean_loss"] == pytest.approx(half_error)
    assert summary["agreement"]["pearson"] == pytest.approx(1)


@pytest.mark.parametrize("deletion", ["newton", "exact"])
def test_effect_is_on_the_other_predictable_rows_otherwise(pd, diabetes, deletion):
    """By refitting the scaler and the ridge model."""
    X, y = diabetes
    audit("diabetes.csv", "--target", "progression", "--deletion", deletion)
    rows, alpha = rows_of(), summary_of()["model"]["alpha_"]
    Z = StandardScaler().fit_transform(X)
    loo_loss = rows["loo_loss"].astype(float)
    core = loo_loss <= np.quantile(loo_loss, 0.9)
    base = 0.5 * (Ridge(alpha).fit(Z, y).predict(Z) - y) ** 2
    inside, outside = np.flatnonzero(core)[:3], np.flatnonzero(~core)[:3]
    for i in [*inside, *outside]:
        others = np.arange(len(y)) != i
        model = make_pipeline(StandardScaler(), Ridge(alpha)).fit(X[others], y[others])
        refit = 0.5 * (model.predict(X) - y) ** 2
        assert float(rows["loss"][i]) == pytest.approx(base[i])
        assert float(rows["loo_loss"][i]) == pytest.approx(refit[i])
        change = np.mean((refit - base)[others & core])
        assert float(rows["loo_delta"][i]) == pytest.approx(change, rel=1e-6)


def test_influence_is_the_derivative_of_the_same_mean(pd, diabetes):
    X, y = diabetes
    audit("diabetes.csv", "--target", "progression", "--check", 0)
    rows, alpha = rows_of(), summary_of()["model"]["alpha_"]
    loo_loss = rows["loo_loss"].astype(float)
    core = loo_loss <= np.quantile(loo_loss, 0.9)
    h = 1e-4
    for i in (np.argmax(core), np.argmin(core)):
        losses = []
        for shift in (h, -h):
            weight = np.ones(len(y))
            weight[i] += shift * len(y)
            each = {
                f"{step}__sample_weight": weight for step in ("standardscaler", "ridge")
            }
            fitted = make_pipeline(StandardScaler(), Ridge(alpha)).fit(X, y, **each)
            loss = 0.5 * (fitted.predict(X) - y) ** 2
            losses.append(np.mean(loss[core & (np.arange(len(y)) != i)]))
        slope = (losses[0] - losses[1]) / (2 * h)
        assert float(rows["influence"][i]) == pytest.approx(slope, rel=1e-3)


def test_jackknife_is_linear_in_the_influence(pd, diabetes):
    audit("diabetes.csv", "--target", "progression", "--deletion", "jackknife")
    rows = rows_of()
    influence, delta = (rows[name].astype(float) for name in ("influence", "loo_delta"))
    np.testing.assert_allclose(delta, -influence / len(delta), rtol=1e-12)


def test_jackknife_is_linear_on_test_rows_too(pd, diabetes):
    command = ["diabetes.csv", "--target", "progression", "--test", "diabetes.csv"]
    audit(*command, "--deletion", "jackknife")
    X, y = diabetes
    model = make_pipeline(StandardScaler(), Ridge(summary_of()["model"]["alpha_"]))
    explainer = InfluenceExplainer(model, deletion="jackknife").fit(X, y)
    truth = explainer.loo_delta(X, y, aggregate="mean")
    error = np.abs(rows_of()["loo_delta"].astype(float) - truth).max()
    assert error < 1e-9 * np.abs(truth).max()


def test_many_pairs_of_rows_are_first_order_and_said_so(
    pd, diabetes, monkeypatch, capsys
):
    monkeypatch.setattr("skinfluence.report._effect.MOST_PAIRS", 1000)
    audit("diabetes.csv", "--target", "progression")
    rows = rows_of()
    influence, delta = (rows[name].astype(float) for name in ("influence", "loo_delta"))
    np.testing.assert_allclose(delta, -influence / len(delta), rtol=1e-12)
    assert "first-order" in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(3))
def test_flipped_labels_are_found_among_the_most_harmful(pd, cancer, seed):
    X, y = cancer
    flipped = np.random.default_rng(seed).choice(len(y), len(y) // 20, replace=False)
    labels = y.copy()
    labels[flipped] = np.where(y[flipped] == "benign", "malignant", "benign")
    write("flipped.csv", [*load_breast_cancer().feature_names, "d"], X, labels)
    audit("flipped.csv", "--target", "d", "--check", 0)
    summary = summary_of()
    found = {
        name: {row["row"] for row in summary[name]}
        for name in summary
        if "most" in name
    }
    assert len(found["most_harmful"] & set(flipped)) >= 9
    assert len(found["most_helpful"] & set(flipped)) <= 1


def test_agreement_with_refits_is_exact_where_deletion_is(pd, cancer, capsys):
    audit("cancer.csv", "--target", "diagnosis", "--deletion", "exact", "--check", 20)
    agreement = summary_of()["agreement"]
    assert agreement["n_rows"] == 20
    assert agreement["pearson"] == pytest.approx(1, abs=1e-6)
    assert agreement["slope"] == pytest.approx(1, abs=1e-6)
    assert agreement["max_abs_error"] < 1e-5 * agreement["max_abs_change"]
    assert "Checked against 20 real refits" in capsys.readouterr().out


def test_rough_estimates_are_called_rough(pd, here, capsys):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 8))
    y = np.where(X[:, 0] + rng.normal(size=30) > 0, "yes", "no")
    write("few.csv", [f"x{j}" for j in range(8)] + ["y"], X, y)
    audit("few.csv", "--target", "y", "--deletion", "jackknife")
    assert "estimates are rough" in capsys.readouterr().out
    audit("few.csv", "--target", "y", "--deletion", "exact")
    assert "rough" not in capsys.readouterr().out


# --- what is read ----------------------------------------------------------------------


@pytest.fixture
def people(pd):
    """Every kind of column that a table may hold."""
    rng = np.random.default_rng(0)
    n = 90
    table = pd.DataFrame(
        {
            "age": rng.normal(40, 10, n),
            "city": rng.choice(["Paris", "Lyon", "東京"], n),
            "member": rng.choice([True, False], n),
            "since": pd.Timestamp("2020-01-01")
            + pd.to_timedelta(rng.integers(0, 900, n), unit="D"),
            "name": [f"person {i}" for i in range(n)],
            "constant": 1,
            "empty": np.nan,
        }
    )
    table["income"] = 10 * table.age + 80 * (table.city == "Paris")
    table["income"] += rng.normal(0, 50, n)
    table["bought"] = np.where(table.income > table.income.median(), "yes", "no")
    table["children"] = rng.integers(0, 4, n)
    table.loc[rng.random(n) < 0.2, "age"] = np.nan
    table.loc[rng.random(n) < 0.2, "city"] = None
    table.loc[3, "city"] = 'Aix\n"en" Provence'
    return table


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "csv.xz", "csv.zip", "parquet"])
@pytest.mark.parametrize("target", ["income", "bought", "children"])
def test_every_kind_of_column_in_every_kind_of_file(
    people, here, capsys, suffix, target
):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
        people.to_parquet(f"people.{suffix}")
    else:
        people.to_csv(f"people.{suffix}", index=False)
    audit(f"people.{suffix}", "--target", target, "--check", 4)
    summary = summary_of()
    assert summary["model"]["name"] == ("ridge" if target == "income" else "logistic")
    assert "city" in summary["categorical_columns"]
    assert {"age", "member"} - {target} <= set(summary["numeric_columns"])
    # Only Parquet says that a column is a date.
    assert ("since" in summary["numeric_columns"]) == (suffix == "parquet")
    notes = capsys.readouterr().err
    assert "'name' (text, 90 different values in 90 rows)" in notes
    assert "'constant' (one value only)" in notes
    assert "'empty' (no values)" in notes


def test_rows_keep_their_numbers_when_others_have_no_target(pd, diabetes, capsys):
    X, y = diabetes
    y = y.astype(object)
    y[[0, 5, 6]] = ""
    y[7] = "inf"
    write("gaps.csv", [*load_diabetes().feature_names, "progression"], X, y)
    audit("gaps.csv", "--target", "progression")
    rows = rows_of()
    kept = np.setdiff1d(np.arange(len(y)), [0, 5, 6, 7])
    np.testing.assert_array_equal(rows["row"].astype(int), kept)
    np.testing.assert_array_equal(rows["target"].astype(float), y[kept].astype(float))
    top = summary_of()["most_harmful"][0]
    assert top["values"]["bmi"] == X[top["row"], 2]
    assert "dropped 4 rows of gaps.csv with no value" in capsys.readouterr().err


def test_rows_are_written_most_harmful_first(pd, diabetes):
    audit("diabetes.csv", "--target", "progression", "--top", 3)
    with open("skinfluence-audit/influence.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    delta = [float(row["loo_delta"]) for row in rows]
    assert delta == sorted(delta)
    summary = summary_of()
    order = [int(row["row"]) for row in rows]
    assert [row["row"] for row in summary["most_harmful"]] == order[:3]
    assert [row["row"] for row in summary["most_helpful"]] == order[:-4:-1]


@pytest.mark.parametrize("sep", [";", "\t", "|"])
def test_the_separator_is_found(pd, here, sep):
    text = sep.join(["a, in metres", "b", "y"])
    rows = "\n".join(f"{i * i % 7}{sep}{i}{sep}{i % 5 + 0.5}" for i in range(30))
    (here / "data.csv").write_text(f"{text}\n{rows}\n")
    audit("data.csv", "--target", "y", "--check", 0)
    assert summary_of()["data"]["features"] == 2


def test_row_numbers_in_the_file_are_no_feature(pd, diabetes, capsys):
    pd.read_csv("diabetes.csv").to_csv("indexed.csv")
    audit("indexed.csv", "--target", "progression", "--check", 0)
    assert summary_of()["data"]["features"] == 10
    assert "only counts the rows" in capsys.readouterr().err


def test_columns_can_be_left_out(pd, diabetes):
    audit("diabetes.csv", "--target", "progression", "--drop", "s1", "--drop", "s2")
    assert not {"s1", "s2"} & set(summary_of()["numeric_columns"])


def test_stray_text_among_numbers_is_missing(pd, diabetes, capsys):
    table = pd.read_csv("diabetes.csv").astype({"bmi": object})
    table.loc[5, "bmi"] = "n/d"
    table.to_csv("stray.csv", index=False)
    audit("stray.csv", "--target", "progression", "--check", 0)
    assert "bmi" in summary_of()["numeric_columns"]
    assert "1 cell is not a number (row 5 holds 'n/d')" in capsys.readouterr().err


def test_categories_that_the_training_data_lack(people, here, capsys):
    people[:60].to_csv("train.csv", index=False)
    people[60:].assign(city="Nice").to_csv("test.csv", index=False)
    for model in ("ridge", "linear"):
        audit("train.csv", "--target", "income", "--test", "test.csv", "--model", model)
        assert "'city' in test.csv has 1 value" in capsys.readouterr().err


def test_steps_that_nothing_vouches_for_are_called_rough(here, capsys):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=60), rng.normal(size=60) > 0
    x[:2], y[:2] = 30.0, [True, False]
    lines = [f"{a},{'yes' if b else 'no'}" for a, b in zip(x, y, strict=True)]
    (here / "far.csv").write_text("\n".join(["x,kind", *lines]))
    for deletion, says_so in {"newton": True, "exact": False}.items():
        audit("far.csv", "--target", "kind", "--deletion", deletion, "--force")
        notes = capsys.readouterr().err
        assert ("the effects of some rows are rough" in notes) == says_so
        assert "vouched" not in notes  # the library's words name rows by position


def test_a_row_whose_category_no_other_has_is_named(pd, here, capsys):
    rng = np.random.default_rng(0)
    lines = [f"{rng.normal()},{'ab'[i % 2]},{rng.normal()}" for i in range(20)]
    lines[13] = "0.5,only here,0.7"
    (here / "lone.csv").write_text("\n".join(["x,g,y", *lines]))
    audit("lone.csv", "--target", "y", "--model", "linear")
    rows = rows_of()
    assert abs(float(rows["loo_delta"][13])) < 1e-12  # no other row depends on it
    assert float(rows["loo_loss"][13]) > 0  # as of the refit, of minimum norm
    assert "without 1 row the others do not determine all coefficients: 13." in (
        notes := capsys.readouterr().err
    )
    assert "leverage 1" not in notes  # the library's words, by position
    assert summary_of()["scores"]["leave_one_out"]["mean_loss"] > 0


def test_a_number_that_is_a_category_stays_one(pd):
    columns = {"kind": pd.Categorical(range(1, 31)), "x": range(30)}
    features = Features.of(pd.DataFrame(columns), without=(), console=Console())
    assert features == Features(numeric=("x",), categorical=())  # 30 kinds in 30 rows
    columns["kind"] = pd.Categorical([1, 2] * 15)
    features = Features.of(pd.DataFrame(columns), without=(), console=Console())
    assert features == Features(numeric=("x",), categorical=("kind",))


@pytest.mark.parametrize(("model", "columns"), [("linear", 2), ("ridge", 3)])
def test_only_an_unpenalised_model_drops_a_category(pd, model, columns):
    table = pd.DataFrame({"kind": ["a", "b", "c", "c"] * 3})
    encoder = pipeline(MODELS[model], Features((), ("kind",)))[:-1]
    assert encoder.fit_transform(table).shape == (12, columns)


@pytest.mark.parametrize(
    ("values", "model"),
    [
        (["a", "b"] * 20, "logistic"),
        (["True", "False"] * 20, "logistic"),
        ([0, 1, 2, 3] * 10, "logistic"),
        ([0.0, 1.0, ""] * 14, "logistic"),
        ([0.5, 1.5] * 20, "ridge"),
        (list(range(40)), "ridge"),
        ([*range(10), *range(10)], "ridge"),  # each seen twice only
        ([*range(10)] * 3, "logistic"),
        ([*range(11)] * 4, "ridge"),
    ],
)
def test_the_model_is_chosen_by_the_rule_in_the_help(pd, here, values, model):
    X = np.random.default_rng(0).normal(size=(len(values), 2))
    write("data.csv", ["a", "b", "y"], X, values)
    audit("data.csv", "--target", "y", "--check", 0)
    assert summary_of()["model"]["name"] == model


# --- what is printed and written -------------------------------------------------------


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("target", ["income", "bought"])
def test_the_report_fits_the_terminal(
    people, here, capsys, monkeypatch, columns, target
):
    monkeypatch.setenv("COLUMNS", str(columns))
    people.to_csv("people.csv", index=False)
    audit("people.csv", "--target", target, "--check", 3, "--top", 90, "--out", "o")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(width, lines)) <= columns
    assert any(line.startswith("Most harmful rows") for line in lines)
    assert any(line.startswith("Most helpful rows") for line in lines)
    assert any("training  leave-one-out" in line for line in lines)


def test_nothing_is_printed_twice_or_to_the_wrong_place(pd, diabetes, capsys):
    command = ["diabetes.csv", "--target", "progression", "--check", 2]
    audit(*command, "--json", "--out", "machine")
    out, err = capsys.readouterr()
    assert json.loads(out, parse_constant=refuse) == summary_of("machine")
    assert err == ""
    audit(*command, "--quiet", "--out", "quiet")
    assert capsys.readouterr() == ("", "")
    audit(*command, "--quiet", "--json", "--out", "both")
    out, err = capsys.readouterr()
    assert json.loads(out, parse_constant=refuse) == summary_of("both")
    assert err == ""
    assert files_in("quiet") == FILES
    audit(*command, "--verbose")
    out, err = capsys.readouterr()
    assert "Most harmful" in out
    assert "Fitting to 442 rows: 0." in err


def test_the_harmful_harm_and_the_helpful_help(pd, diabetes):
    audit("diabetes.csv", "--target", "progression", "--top", 442, "--check", 0)
    summary = summary_of()
    harmful = [row["loo_delta"] for row in summary["most_harmful"]]
    helpful = [row["loo_delta"] for row in summary["most_helpful"]]
    assert len(harmful) + len(helpful) == 442
    assert max(harmful) < 0 < min(helpful)
    assert all(row["influence"] > 0 for row in summary["most_harmful"][:10])


def test_columns_with_most_weight_are_shown_first(pd, diabetes, capsys):
    X, y = diabetes
    audit("diabetes.csv", "--target", "progression", "--check", 0)
    fitted = Ridge(summary_of()["model"]["alpha_"]).fit(
        StandardScaler().fit_transform(X), y
    )
    order = np.argsort(-np.abs(fitted.coef_))
    names = [load_diabetes().feature_names[j] for j in order]
    header = next(
        line for line in capsys.readouterr().out.splitlines() if "row  " in line
    )
    shown = header.split("left out")[1].split()
    assert len(shown) > 3
    assert shown == names[: len(shown)]


def test_notes_are_told_once(capsys):
    console = Console()
    console.note("a")
    console.note("a")
    assert console.notes == ["a"]
    assert capsys.readouterr().err == "note: a\n"


def test_top_and_check_may_be_none(pd, diabetes, capsys):
    audit("diabetes.csv", "--target", "progression", "--top", 0, "--check", 0)
    out = capsys.readouterr().out
    assert "Most" not in out
    assert "Checked" not in out
    summary = summary_of()
    assert summary["most_harmful"] == summary["most_helpful"] == []
    assert summary["agreement"] is None


def test_steps_that_learn_again_are_named(pd, diabetes, capsys):
    audit("diabetes.csv", "--target", "progression", "--top", 1, "--check", 0)
    out, model = " ".join(capsys.readouterr().out.split()), summary_of()["model"]
    (names,) = re.findall(r"again (.*), without each row: held as", out)
    assert names.split(", ") == model["followed_steps_"]
    assert "encode__numbers__standardscaler" in model["followed_steps_"]
    share = float(re.search(r"own loss off by up to ([\d.]+) %", out)[1])
    assert share == pytest.approx(100 * model["learned_share"], rel=0.01)


def test_an_audit_can_be_repeated(pd, diabetes):
    for _ in range(2):
        audit("diabetes.csv", "--target", "progression", "--out", "deep/er")
        assert files_in("deep/er") == FILES
    first = summary_of("deep/er")["agreement"]
    audit("diabetes.csv", "--target", "progression")
    assert summary_of()["agreement"]["max_abs_change"] == first["max_abs_change"]


def test_warnings_become_notes(pd, diabetes, capsys):
    table = pd.read_csv("diabetes.csv")
    table["twice"] = 2 * table["bmi"]
    table.to_csv("twice.csv", index=False)
    audit("twice.csv", "--target", "progression", "--model", "linear")
    assert "linearly dependent" in capsys.readouterr().err
    assert any("linearly dependent" in note for note in summary_of()["notes"])


def test_a_terminal_without_unicode_is_no_error(people, here):
    people.to_csv("people.csv", index=False)
    root = str(Path(skinfluence.__file__).parents[1])
    command = [sys.executable, "-m", "skinfluence", "audit", "people.csv"]
    run = subprocess.run(
        [*command, "--target", "income", "--check", "0"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": root},
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "??" in run.stdout


def test_help_and_version(capsys):
    for argument in ("--version", "--help"):
        assert main([argument]) == 0
    assert main(["audit", "--help"]) == 0
    text = capsys.readouterr().out
    assert "counted from 0" in text
    assert max(map(len, text.splitlines())) <= 80


# --- refusals --------------------------------------------------------------------------

TABLES = {
    "good.csv": "x,z,kind\n"
    + "".join(f"{i},{i * i % 7},{'ab'[i % 2]}\n" for i in range(20)),
    "empty.csv": "",
    "header.csv": "x,kind\n",
    "one.csv": "x,kind\n1,a\n2,a\n3,a\n",
    "constant.csv": "x,y\n1,2.5\n2,2.5\n3,2.5\n",
    "missing.csv": "x,kind\n1,\n2,\n3,\n",
    "names.csv": "x,kind\n" + "".join(f"{i},person {i}\n" for i in range(20)),
    "stray.csv": "x,y\n" + "".join(f"{i},{i * 1.5}\n" for i in range(30)) + "3,oops\n",
    "ragged.csv": "x,y\n1,2\n3,4,5\n",
    "latin.csv": "ville,y\nOrl\xe9ans,1\nParis,2\nNice,3\n",
    "alone.csv": "y\n1.5\n2\n3\n4\n",
    "notext.csv": "x,z,kind\nlow,1,a\nhigh,2,b\nlow,3,a\n",
    "newclass.csv": "x,z,kind\n1,1,a\n2,2,c\n3,3,b\n",
    "nocolumn.csv": "x,kind\n1,a\n2,b\n3,a\n",
    "fake.parquet": "no",
    "fake.csv.gz": "no",
    "book.xlsx": "PK",
}

REFUSALS = {
    "": "required: COMMAND",
    "dance": "invalid choice",
    "audit": "required: DATA",
    "audit good.csv": "Name the column to predict with --target. good.csv has: x, z, kind",
    "audit goood.csv --target kind": "no file goood.csv. Did you mean good.csv",
    "audit no/good.csv --target kind": "no directory no either",
    "audit . --target kind": "is a directory",
    "audit empty.csv --target kind": "empty.csv is empty",
    "audit header.csv --target kind": "header of 2 columns, but no rows",
    "audit good.csv --target kinds": "no column 'kinds'. Did you mean 'kind'",
    "audit good.csv --target KIND": "Did you mean 'kind'",
    "audit good.csv --target kind --drop w": "no column 'w'",
    "audit good.csv --target kind --drop kind": "is the target",
    "audit one.csv --target kind": "one class only in one.csv ('a' in 3 rows)",
    "audit constant.csv --target y --model ridge": "is 2.5 in every row",
    "audit missing.csv --target kind": "0 rows with a value in 'kind' (of 3)",
    "audit names.csv --target kind": "20 different values in 20 rows, too many",
    "audit stray.csv --target y": "1 cell is not a number (row 30 holds 'oops')",
    "audit stray.csv --target y --model linear": "row 30 holds 'oops'",
    "audit good.csv --target kind --model ridge": "not numeric: it holds 'a'",
    "audit good.csv --target x --model logistic": "too many to be classes",
    "audit good.csv --target kind --model forest": "invalid choice: 'forest'",
    "audit ragged.csv --target y": "cannot be read as CSV",
    "audit latin.csv --target y": "--encoding latin-1",
    "audit latin.csv --target y --encoding klingon": "unknown encoding: klingon",
    "audit fake.parquet --target y": "cannot be read as Parquet",
    "audit fake.csv.gz --target y": "cannot be read as CSV",
    "audit book.xlsx --target y": "save it as CSV or Parquet",
    "audit alone.csv --target y": "No usable column is left besides the target",
    "audit good.csv --target kind --test nocolumn.csv": "nocolumn.csv has no column 'z'",
    "audit good.csv --target kind --test newclass.csv": "classes that the training data "
    "lack: c (1 row)",
    "audit good.csv --target kind --test notext.csv": "holds text, such as 'low'",
    "audit good.csv --target kind --test none.csv": "no file none.csv",
    "audit good.csv --target kind --top -1": "'-1' is not a whole number, 0 or more",
    "audit good.csv --target kind --check 2.5": "'2.5' is not a whole number",
    "audit good.csv --target kind --sep ;;": "not one character",
    "audit good.csv --target kind --out empty.csv": "is a file, not a directory",
    "audit good.csv --target kind --deletion none": "invalid choice: 'none'",
    "audit good.csv --target kind --quiet --verbose": "not allowed with",
}


@pytest.mark.parametrize("command", REFUSALS)
def test_refusals_are_one_line_and_exit_code_2(pd, here, capsys, command):
    for name, text in TABLES.items():
        (here / name).write_bytes(text.encode("latin-1"))
    assert main(command.split()) == 2
    out, err = capsys.readouterr()
    *notes, error = err.splitlines()
    assert error.startswith("skinfluence: error: ")
    assert REFUSALS[command] in error
    assert all(note.startswith("note: ") for note in notes)
    assert out == ""
    assert files_in(here) == set(TABLES)


def test_without_jinja2_the_rest_is_written(pd, diabetes, monkeypatch, capsys):
    _environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    audit("diabetes.csv", "--target", "progression", "--check", 0)
    assert files_in("skinfluence-audit") == FILES - PAGE
    note = capsys.readouterr().err.splitlines()[-1]
    assert note.startswith("note: no report.html:")
    assert "skinfluence[report]" in note
    assert not any("report.html" in name for name in summary_of()["files"])


def test_files_of_an_earlier_audit_do_not_stay(pd, diabetes, cancer):
    audit("diabetes.csv", "--target", "progression", "--check", 0)
    Path("skinfluence-audit/notes.txt").write_text("mine")
    audit("cancer.csv", "--target", "diagnosis", "--model", "svm", "--check", 0)
    assert files_in("skinfluence-audit") == FILES - {"diagnostics.csv"} | {"notes.txt"}


def test_diagnostics_are_those_of_the_explainer_by_row_of_the_file(pd, diabetes):
    X, y = diabetes
    gaps = y.astype(object)
    gaps[3] = ""
    write("gaps.csv", [*load_diabetes().feature_names, "progression"], X, gaps)
    audit("gaps.csv", "--target", "progression", "--check", 0)
    table = pd.read_csv("skinfluence-audit/diagnostics.csv")
    kept = np.arange(len(y)) != 3
    model = make_pipeline(StandardScaler(), Ridge(summary_of()["model"]["alpha_"]))
    truth = InfluenceExplainer(model).fit(X[kept], y[kept]).diagnostics()
    np.testing.assert_array_equal(table["row"], np.flatnonzero(kept))
    for name in ("leverage", "cooks_distance", "dffits"):
        np.testing.assert_allclose(table[name], truth[name], rtol=1e-9)


def test_groups_are_left_out_together_and_are_no_feature(pd, diabetes, capsys):
    X, y = diabetes
    customer = np.arange(len(y)) % 5
    table = pd.DataFrame(X, columns=load_diabetes().feature_names)
    table.assign(progression=y, customer=customer).to_csv("g.csv", index=False)
    command = ["g.csv", "--target", "progression", "--group", "customer", "--check", 0]
    audit(*command, "--test", "diabetes.csv")
    summary = summary_of()
    assert "customer" not in summary["numeric_columns"]
    model = make_pipeline(StandardScaler(), Ridge(summary["model"]["alpha_"]))
    explainer = InfluenceExplainer(model).fit(X, y)
    truth = explainer.group_delta(X, y, groups=customer, aggregate="mean")
    found = {int(group["group"]): group["loo_delta"] for group in summary["groups"]}
    np.testing.assert_allclose([found[k] for k in range(5)], truth, rtol=1e-6)
    assert [group["n_rows"] for group in summary["groups"]].count(88) == 3
    assert "Groups: effect" in capsys.readouterr().out
    np.testing.assert_array_equal(rows_of()["group"].astype(int), customer)


def test_weights_count(pd, diabetes):
    X, y = diabetes
    weight = np.arange(len(y)) % 3 + 0.5
    table = pd.DataFrame(X, columns=load_diabetes().feature_names)
    table.assign(progression=y, w=weight).to_csv("w.csv", index=False)
    audit("w.csv", "--target", "progression", "--model", "linear", "--weight", "w")
    fitted = LinearRegression().fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(rows_of()["prediction"].astype(float), fitted.predict(X))
    assert summary_of()["agreement"]["pearson"] == pytest.approx(1)


def test_german_numbers_are_read_and_said_so(pd, diabetes, capsys):
    audit("diabetes.csv", "--target", "progression", "--check", 0, "--out", "a")
    table = pd.read_csv("diabetes.csv")
    table.to_csv("german.csv", sep=";", decimal=",", index=False, encoding="utf-8-sig")
    capsys.readouterr()
    audit("german.csv", "--target", "progression", "--check", 0, "--out", "b")
    assert "decimal comma" in capsys.readouterr().err
    np.testing.assert_array_equal(rows_of("a")["loo_delta"], rows_of("b")["loo_delta"])
    audit("german.csv", "--target", "progression", "--check", 0, "--decimal", ",")
    assert "decimal" not in capsys.readouterr().err


def test_one_hot_columns_are_named_by_column_and_category(pd, here):
    rng = np.random.default_rng(0)
    X = np.c_[rng.normal(size=40).round(3), rng.integers(0, 2, 40), np.arange(40) % 3]
    table = pd.DataFrame(X, columns=["x", "a", "a=b"])
    table = table.assign(
        **{name: table[name].map("c{:g}".format) for name in ("a", "a=b")}
    )
    table.assign(y=rng.normal(size=40) + 9 * X[:, 2]).to_csv("few.csv", index=False)
    audit("few.csv", "--target", "y", "--model", "linear", "--check", 3)
    names = pd.read_csv("skinfluence-audit/diagnostics.csv").columns
    shown = [name for name in names if name.startswith("dfbetas_categories")]
    assert shown == [
        "dfbetas_categories__a=c1",
        "dfbetas_categories__a=b=c1",
        "dfbetas_categories__a=b=c2",
    ]


def test_columns_with_most_weight_come_first(pd):
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 60)
    table = pd.DataFrame({"x": rng.normal(size=60), "x=y": kind}).astype({"x=y": str})
    model = pipeline(MODELS["linear"], Features(("x",), ("x=y",)))
    assert by_weight(model.fit(table, 9.0 * kind), table) == ["x=y", "x"]


def test_without_pandas_the_extra_is_named(here, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pandas", None)
    (here / "good.csv").write_text(TABLES["good.csv"])
    assert main(["audit", "good.csv", "--target", "kind"]) == 2
    assert "pip install 'skinfluence[cli]'" in capsys.readouterr().err


def test_an_interrupt_is_no_traceback(pd, diabetes, monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    before = files_in(".")
    for place in (
        "cli._agreement.check_leave_one_out",
        "cli._commands.audit.write_json",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"skinfluence.{place}", interrupt)
            assert main(["audit", "diabetes.csv", "--target", "progression"]) == 130
        assert "interrupted" in capsys.readouterr().err
        assert files_in(".") == before


# --- pieces ----------------------------------------------------------------------------


def test_no_note_names_rows_by_position():
    """The command line counts rows of the file, which may have lost some."""
    deltas = Deltas.of(np.zeros((1, 1, 2)), np.zeros((1, 1, 2)), 1, converged=False)
    yes = np.array([True])
    deltas = deltas._replace(doubtful=yes, missed_changes=yes)
    spoken = Verdicts()
    spoken.note_rows(np.array([7]), deltas)
    with pytest.warns() as told:
        spoken.warn()
    notes = {in_own_words(str(warning.message)) for warning in told}
    assert len(notes) == 3
    assert not any("7" in note for note in notes)


def test_numbers_for_a_reader():
    shown = [3.0, 0.123456, 12345.6, 1e-12, -2.5, float("nan"), 1e20, np.float32(0.5)]
    assert [number(value) for value in shown] == (
        ["3", "0.1235", "12346", "1e-12", "-2.5", "n/a", "1e+20", "0.5"]
    )
    assert percentages([-0.174, 0.0009]) == ["-17.4 %", "+0.1 %"]
    assert percentages([0.00012, float("nan")]) == ["+0.0120 %", "n/a"]
    assert percentages([]) == []


def test_cells_are_one_line_of_limited_width():
    assert clip("a\nb\tc") == "a b c"
    assert clip("x" * 40, 10) == "x" * 9 + "…"
    assert width(clip("東京" * 20, 11)) <= 11
    assert clip("\x1b[31mred") == "[31mred"


def test_columns_are_shown_while_they_fit():
    columns = [("a", ["1", "22"]), ("b", ["東", "x"]), ("wide", ["1" * 30, ""])]
    assert render(columns, 40) == [
        "   a   b" + " " * 28 + "wide",
        *render(columns, 40)[1:],
    ]
    assert {width(line) for line in render(columns, 40)} == {40}
    assert render(columns, 20) == ["   a   b", "   1  東", "  22   x"]
    assert len(render(columns, 1, needed=2)[0]) == 8


# --- files that others read --------------------------------------------------------------


FORMULAS = ["=HYPERLINK(1)", "+x", "-x", "@x", "\tx", "'=x", "-2+3"]
PLAIN = ["x", "'x", "-5", "+5.2", "-1,234.5", "-2.5e-3", "-7 %", ""]


def test_text_cannot_run_as_a_formula_and_comes_back(pd, here):
    table = pd.DataFrame({"=a": FORMULAS + PLAIN, "n": -np.arange(15.0)})
    write_table(Path("t.csv"), table)
    read = pd.read_csv("t.csv", keep_default_na=False)
    assert list(read) == ["'=a", "n"]
    assert list(read["n"]) == list(table["n"])
    assert list(read["'=a"][:7]) == [f"'{text}" for text in FORMULAS]
    assert list(read["'=a"][7:]) == PLAIN


def test_labels_and_groups_of_an_audit_are_text(pd, here):
    rng = np.random.default_rng(0)
    x, label = rng.normal(size=60), np.array(["=1+1", "@no"])[np.arange(60) % 2]
    table = pd.DataFrame({"x": x, "z": x[::-1], "g": "-A", "y": label})
    table.loc[:20, "g"] = '=HYPERLINK("http://a.b")'
    table.to_csv("d.csv", index=False)
    audit("d.csv", "--target", "y", "--group", "g", "--check", 0)
    rows = rows_of()
    assert set(rows["target"]) == {"'=1+1", "'@no"}
    assert set(rows["group"]) == {"'-A", '\'=HYPERLINK("http://a.b")'}
    for name in ("influence.csv", "diagnostics.csv"):
        text = Path("skinfluence-audit", name).read_bytes()
        assert b"\0" not in text
        cells = [cell for row in csv.reader(text.decode().splitlines()) for cell in row]
        assert not [c for c in cells if c[:1] in "=@\t" and c]
    assert b"\0" not in Path("skinfluence-audit/summary.json").read_bytes()


def test_no_file_of_others_is_replaced_unasked(pd, diabetes, capsys):
    place = Path("skinfluence-audit")
    place.mkdir()
    (place / "report.html").write_text("mine")
    command = ["audit", "diabetes.csv", "--target", "progression", "--check", "0"]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "report.html, but no summary.json" in error
    assert "--force" in error
    assert (place / "report.html").read_text() == "mine"
    assert files_in(place) == {"report.html"}
    assert main([*command, "--force"]) == 0
    assert "replaced" not in capsys.readouterr().err
    assert main(command) == 0
    assert f"earlier audit in {place} are replaced" in capsys.readouterr().err
