"""The report says what the explainer says, and data stays data."""

import base64
import hashlib
import json
import re
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import (
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skinfluence import (
    InfluenceExplainer,
    InfluenceReport,
    check_leave_one_out,
    questions,
)
from skinfluence.exceptions import (
    InvalidDataError,
    InvalidParameterError,
    MissingDependencyError,
)
from skinfluence.report import _effect
from skinfluence.report._page import json_in_html, table_of

HOSTILE = (
    "<script>window.hit = 1</script><!--</title>\u2028'\"&amp;<img src=x onerror=hit=1>"
)


def problem(n=60, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n + 30, 4))
    u = X @ [2.0, -1.0, 0.5, 0.0] + rng.logistic(size=n + 30)
    return X[:n], u[:n], X[n:], u[n:]


def classifier(model=None, **options):
    X, u, X_test, u_test = problem()
    model = make_pipeline(StandardScaler(), model or LogisticRegression())
    y, y_test = np.where(u > 0, "yes", "no"), np.where(u_test > 0, "yes", "no")
    return InfluenceExplainer(model, **options).fit(X, y), X, y, X_test, y_test


def regressor(model=None, **options):
    X, u, X_test, u_test = problem()
    explainer = InfluenceExplainer(model or Ridge(), **options).fit(X, u)
    return explainer, X, u, X_test, u_test


def column(report, name):
    values = report.to_dict()["rows"]["columns"][name]
    return np.array([np.nan if v is None else v for v in values])


def html_of(report):
    pytest.importorskip("jinja2")
    return report.html()


# --- the numbers are the explainer's ---


@pytest.mark.parametrize("make", [classifier, regressor])
def test_effects_on_test_rows_are_the_explainers(make):
    explainer, _, _, X_test, y_test = make()
    report = InfluenceReport(explainer, X_test, y_test, figures=False)
    influence = explainer.influence(X_test, y_test, aggregate="mean")
    delta = explainer.loo_delta(X_test, y_test, aggregate="mean")
    np.testing.assert_allclose(column(report, "influence"), influence)
    np.testing.assert_allclose(column(report, "loo_delta"), delta)
    worst, best = np.argmin(delta), np.argmax(delta)
    content = report.to_dict()
    assert content["most_harmful"][0]["row"] == worst
    assert content["most_helpful"][0]["row"] == best
    assert content["most_harmful"][0]["influence"] > 0 > delta[worst]


@pytest.mark.parametrize("make", [classifier, regressor])
def test_numbers_of_a_row_are_the_explainers(make):
    explainer, X, y, *_ = make()
    report = InfluenceReport(explainer, figures=False)
    diagnostics = explainer.diagnostics()
    for name in ("leverage", "cooks_distance", "resid_studentized_external"):
        np.testing.assert_allclose(column(report, name), diagnostics[name])
    own = explainer.self_influence()
    np.testing.assert_allclose(column(report, "self_influence"), own)
    found = report.to_dict()["rows"]["columns"]
    assert found["target"] == y.tolist()
    assert found["loo_prediction"] == explainer.loo_predict().tolist()
    np.testing.assert_allclose(
        column(report, "loo_loss") - column(report, "loss"),
        np.diag(explainer.loo_delta(X, y, on="loss")),
        rtol=1e-6,
    )


def test_probabilities_are_those_of_the_rows_own_label():
    explainer, _, y, *_ = classifier()
    report = InfluenceReport(explainer, figures=False)
    loo = explainer.loo_predict(method="predict_proba")
    own = loo[np.arange(len(y)), (y == "yes").astype(int)]
    np.testing.assert_allclose(column(report, "loo_p_target"), own)


@pytest.mark.parametrize("deletion", ["newton", "jackknife", "exact"])
@pytest.mark.parametrize("make", [classifier, regressor])
def test_without_test_rows_the_others_are_asked(make, deletion):
    """Row by row: the mean over the core without the row itself."""
    explainer, X, y, *_ = make(deletion=deletion)
    report = InfluenceReport(explainer, figures=False)
    loo_loss = column(report, "loo_loss")
    core = loo_loss <= np.quantile(loo_loss, 0.9)
    delta = explainer.loo_delta(X, y, on="loss")
    influence = explainer.influence(X, y)
    for row in (0, int(np.argmax(loo_loss)), 7):
        others = core & (np.arange(len(y)) != row)
        expected = delta[others, row].mean()
        np.testing.assert_allclose(column(report, "loo_delta")[row], expected)
        expected = influence[others, row].mean()
        np.testing.assert_allclose(column(report, "influence")[row], expected)


def test_too_many_pairs_are_of_first_order_and_said_to_be(monkeypatch):
    X, y, X_test, y_test = problem()
    weight = np.linspace(0.5, 2, len(y))
    explainer = InfluenceExplainer(Ridge()).fit(X, y, sample_weight=weight)
    monkeypatch.setattr(_effect, "MOST_PAIRS", 10)
    report = InfluenceReport(explainer, X_test, y_test, figures=False)
    jackknife = InfluenceExplainer(Ridge(), deletion="jackknife")
    jackknife.fit(X, y, sample_weight=weight)
    expected = jackknife.loo_delta(X_test, y_test, aggregate="mean")
    np.testing.assert_allclose(column(report, "loo_delta"), expected)
    assert report.to_dict()["effect"]["first_order"]
    assert any("first-order" in note for note in report.to_dict()["notes"])


def test_health_holds_the_explainers_numbers_with_verdicts():
    explainer, X, y, *_ = classifier()
    content = InfluenceReport(explainer, figures=False).to_dict()
    health = {item["name"]: item for item in content["health"]}
    for name in ("stationarity", "condition", "effective_dof"):
        assert health[name]["value"] == pytest.approx(getattr(explainer, f"{name}_"))
    scores = content["scores"]
    assert scores["leave_one_out"] == pytest.approx(explainer.loo_score())
    assert scores["training"] == pytest.approx(explainer.score(X, y))
    gap = scores["training"] - scores["leave_one_out"]
    assert health["score_gap"]["value"] == pytest.approx(gap)
    assert all(item["meaning"] and item["threshold"] for item in health.values())


@pytest.mark.parametrize(
    "model, deletion",
    [(LogisticRegression(), "newton"), (Lasso(0.1), "newton"), (Lasso(0.1), "exact")],
)
def test_health_says_what_steps_that_learn_again_make_of_a_delta(model, deletion):
    X, u, *_ = problem()
    y = u if isinstance(model, Lasso) else u > 0
    deltas, items = [], []
    for preprocessing in ("auto", "held"):
        pipe, options = make_pipeline(StandardScaler(), model), {"deletion": deletion}
        explainer = InfluenceExplainer(pipe, preprocessing=preprocessing, **options)
        content = InfluenceReport(explainer.fit(X, y), figures=False).to_dict()
        columns = {k: np.array(v) for k, v in content["rows"]["columns"].items()}
        order = np.argsort(columns["row"])
        deltas.append((columns["loo_loss"] - columns["loss"])[order])
        items.append({item["name"]: item for item in content["health"]})
    delta, held = deltas
    assert len(delta) == len(X) and "learned_share" not in items[1]
    share = np.abs(held / delta - 1) * (np.abs(delta) >= np.median(np.abs(delta)))
    item = items[0]["learned_share"]
    assert item["value"] == pytest.approx(share.max(), rel=1e-6)
    assert f"(row {share.argmax()};" in item["meaning"]
    turned = np.sum(np.sign(held) != np.sign(delta))
    assert f"turn the sign of {turned} of 60." in item["meaning"]


def test_verdicts_turn_with_the_number():
    """A model with as many parameters as rows is not to be relied on."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 15)), rng.normal(size=20)
    X[:, 14] = X[:, 13] + 1e-9 * rng.normal(size=20)
    explainer = InfluenceExplainer(Ridge(alpha=1e-12)).fit(X, y)
    content = InfluenceReport(explainer, figures=False).to_dict()
    found = {item["name"]: item["verdict"] for item in content["health"]}
    assert found["effective_dof"] == found["score_gap"] == "bad"
    assert found["condition"] == "bad"
    assert found["lost_rows"] == "good"


# --- suspects, groups, agreement, values ---


def test_flipped_labels_are_suspected():
    X = problem(200)[0]
    y = np.where(X @ [2.0, -1.0, 0.5, 0.0] > 0, "yes", "no")
    flipped = np.argsort(-np.abs(X[:, 0]))[:5]
    y[flipped] = np.where(y[flipped] == "yes", "no", "yes")
    explainer = InfluenceExplainer(LogisticRegression()).fit(X, y)
    suspects = InfluenceReport(explainer, figures=False, top=5).to_dict()["suspects"]
    assert {row["row"] for row in suspects["rows"]} == set(flipped.tolist())
    contradicted = explainer.loo_predict() != y
    assert suspects["count"] == contradicted.sum()
    losses = [row["loo_loss"] for row in suspects["rows"]]
    assert losses == sorted(losses, reverse=True)


def test_a_wrong_target_of_a_regression_is_suspected():
    X, y, *_ = problem()
    y = y.copy()
    y[11] += 40
    explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
    suspects = InfluenceReport(explainer, figures=False).to_dict()["suspects"]
    assert suspects["rows"][0]["row"] == 11
    assert suspects["kind"] == "targets"


def test_groups_are_the_explainers():
    explainer, _, y, X_test, y_test = classifier()
    groups = np.arange(len(y)) % 3
    report = InfluenceReport(explainer, X_test, y_test, groups=groups, figures=False)
    delta = explainer.group_delta(X_test, y_test, groups=groups, aggregate="mean")
    found = report.to_dict()["groups"]
    assert [g["group"] for g in found] == [str(i) for i in np.argsort(delta)]
    np.testing.assert_allclose([g["loo_delta"] for g in found], np.sort(delta))
    assert report.to_dict()["rows"]["columns"]["group"][:4] == ["0", "1", "2", "0"]


def test_groups_without_test_rows_are_asked_about_the_rows_outside():
    explainer, X, y, *_ = regressor()
    groups = [np.arange(5), np.arange(10, 30)]
    report = InfluenceReport(explainer, groups=groups, figures=False)
    loo_loss = column(report, "loo_loss")
    outside = loo_loss <= np.quantile(loo_loss, 0.9)
    outside[groups[1]] = False
    delta = explainer.group_delta(
        X[outside], y[outside], groups=[groups[1]], aggregate="mean"
    )
    found = {g["group"]: g["loo_delta"] for g in report.to_dict()["groups"]}
    np.testing.assert_allclose(found["1"], delta[0])


def test_training_rows_bring_values_and_refits():
    explainer, X, y, X_test, y_test = classifier()
    report = InfluenceReport(
        explainer, X_test, y_test, X_train=X, agreement=8, figures=False
    )
    content = report.to_dict()
    assert len(content["agreement"]["rows"]) == 8
    assert content["agreement"]["pearson"] > 0.99
    first = content["most_harmful"][0]
    assert first["values"] == {f"x{j}": X[first["row"], j] for j in range(4)}
    given = check_leave_one_out(explainer, X, y, rows=[1, 2, 3])
    found = InfluenceReport(explainer, agreement=given, figures=False).to_dict()
    assert found["agreement"]["slope"] == given.slope


def test_without_training_rows_values_are_those_the_model_reads():
    explainer, X, *_ = classifier()
    first = InfluenceReport(explainer, figures=False).to_dict()["most_harmful"][0]
    read = explainer.estimator_[0].transform(X)[first["row"]]
    np.testing.assert_allclose(list(first["values"].values()), read)


def test_training_rows_given_as_test_rows_are_noticed():
    explainer, X, y, X_test, y_test = classifier()
    content = InfluenceReport(explainer, X, y, figures=False).to_dict()
    assert any("are the training rows" in note for note in content["notes"])
    first = content["most_harmful"][0]
    assert first["values"] == {f"x{j}": X[first["row"], j] for j in range(4)}
    content = InfluenceReport(explainer, X_test, y_test, figures=False).to_dict()
    assert not content["notes"]


def test_the_index_of_the_frame_names_the_rows():
    pd = pytest.importorskip("pandas")
    X, y, *_ = problem()
    frame = pd.DataFrame(X, columns=list("abcd"), index=[f"r{i}" for i in range(60)])
    explainer = InfluenceExplainer(Ridge()).fit(frame, y)
    report = InfluenceReport(explainer, X_train=frame, agreement=0, figures=False)
    first = report.to_dict()["most_harmful"][0]
    assert first["name"] == f"r{first['row']}"
    assert first["values"] == frame.iloc[first["row"]].to_dict()
    assert report.rows.index.tolist() == frame.index.tolist()


MODELS = {
    "several outputs": (Ridge(), lambda u: np.c_[u, -u]),
    "softmax": (LogisticRegression(), lambda u: np.digitize(u, [-1, 1])),
    "huber": (HuberRegressor(max_iter=1000), lambda u: u),
    "poisson": (PoissonRegressor(), lambda u: np.floor(np.exp(u / 3))),
}


@pytest.mark.parametrize("model, target", MODELS.values(), ids=MODELS)
def test_every_kind_of_model_has_a_page(model, target):
    X, u, X_test, u_test = problem()
    explainer = InfluenceExplainer(clone(model)).fit(X, target(u))
    report = InfluenceReport(
        explainer, X_test, target(u_test), groups=np.arange(60) % 4, figures=False
    )
    assert json.loads(report.json()) == report.to_dict()
    assert "What each row did" in html_of(report)


def test_sparse_rows_have_a_page():
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(0)
    X = sparse.random_array((50, 400), density=0.02, rng=rng, format="csr")
    y = rng.integers(0, 2, 50)
    explainer = InfluenceExplainer(LogisticRegression()).fit(X, y)
    report = InfluenceReport(explainer, X_train=X, agreement=3, figures=False)
    first = report.to_dict()["most_harmful"][0]
    assert 0 < len(first["values"]) <= X[[first["row"]]].nnz
    html_of(report)


# --- the page ---


@pytest.mark.parametrize("given", [True, False])
def test_hostile_data_stays_text(given):
    """In cells, names of columns, index labels, class labels, groups and the title."""
    pd = pytest.importorskip("pandas")
    X, u, *_ = problem()
    frame = pd.DataFrame(X, columns=[HOSTILE, "b", "c", "d"])
    frame["d"] = np.where(X[:, 3] > 0, HOSTILE, "fine")
    frame.index = [HOSTILE + str(i) for i in range(60)]
    y = np.where(u > 0, HOSTILE, "</script><b>no</b>")
    encoded = make_column_transformer((OneHotEncoder(), ["d"]), remainder="passthrough")
    model = make_pipeline(encoded, LogisticRegression())
    report = InfluenceReport(
        InfluenceExplainer(model).fit(frame, y),
        groups=y,
        X_train=frame if given else None,
        title=HOSTILE,
        figures=False,
        agreement=0,
    )
    html = html_of(report)
    for page in (html, report._repr_html_()):
        assert "<img" not in page
        assert "<b>no" not in page
        assert "<!--" not in page
        assert "&lt;script&gt;" in page
    assert len(re.findall(r"<script\b", html)) == len(re.findall("</script", html)) == 2
    assert "<script" not in report._repr_html_()
    data = re.search(r'id="skf-data">(.*?)</script>', html, re.DOTALL)[1]
    assert not set("<>&\u2028\u2029") & set(data)
    columns = {c["name"]: c for c in json.loads(data)["columns"]}
    assert columns["name"]["values"][3] == HOSTILE + "3"


def test_json_in_html_comes_back_as_it_was():
    value = {"a": [HOSTILE, "\u2029", None, 1.5]}
    assert json.loads(json_in_html(value)) == value


def test_the_page_refers_to_nothing_outside():
    explainer, X, _, X_test, y_test = classifier()
    html = html_of(InfluenceReport(explainer, X_test, y_test, X_train=X))
    outside = re.sub(r'src="data:[^"]*"', "", html)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", outside)
    assert not re.search(r'\b(src|href)="(?!#|data:)', html)
    for data in re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', html):
        svg = base64.b64decode(data).decode()
        svg = re.sub(r'xmlns(:\w+)?="[^"]*"|<!DOCTYPE[^>]*>', "", svg)
        assert not re.search(r'(href|src)="(?!#)', svg)


def test_the_page_allows_its_own_script_only():
    html = html_of(InfluenceReport(classifier()[0], figures=False))
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in html
    assert "default-src 'none'" in html
    assert not re.search(r"\son\w+=", html)


def test_numbers_on_the_page_are_rounded_not_changed():
    explainer, *_ = regressor()
    report = InfluenceReport(explainer, figures=False)
    table = {c["name"]: c["values"] for c in table_of(report._content)["columns"]}
    for name in ("influence", "loo_delta", "leverage", "loo_loss"):
        np.testing.assert_allclose(table[name], column(report, name), rtol=6e-4)
    html = html_of(report)
    first = report.to_dict()["most_harmful"][0]
    assert f"{first['influence']:.4g}" in html


def test_a_hundred_thousand_rows_stay_below_5_mb():
    pd = pytest.importorskip("pandas")
    n, rng = 100_000, np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(n, 5)), index=[f"customer {i}" for i in range(n)])
    X.columns = [f"feature {j}" for j in range(5)]
    y = X.to_numpy() @ np.arange(5.0) + rng.normal(size=n)
    explainer = InfluenceExplainer(Ridge()).fit(X, y)
    report = InfluenceReport(explainer, groups=np.arange(n) % 7, figures=False)
    html = html_of(report)
    assert len(html.encode()) < 4e6  # figures come on top
    assert "10,000 of 100,000 rows" in html
    shown = set(report.to_dict()["rows"]["columns"]["row"])
    content = report.to_dict()
    rows = report.rows
    for name in ("loo_delta", "influence", "loo_loss", "cooks_distance"):
        assert set(np.argsort(-np.abs(rows[name].to_numpy()))[:1000]) <= shown
    named = {row["row"] for row in content["most_harmful"] + content["most_helpful"]}
    assert named <= shown


def test_the_notebook_gets_a_fragment_with_styles_of_its_own():
    pytest.importorskip("jinja2")
    html = InfluenceReport(classifier()[0], figures=False)._repr_html_()
    assert html.lstrip().startswith('<div class="skf')
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    rules = re.sub(r"@media[^{]*\{", "", style)
    selectors = re.findall(r"([^{}]+)\{[^}]*\}", rules)
    assert selectors
    for selector in selectors:
        assert all(part.strip().startswith(".skf") for part in selector.split(","))
    assert not re.search(r'\bid="', html)


def test_without_jinja2_the_numbers_remain(monkeypatch):
    from skinfluence.report import _page

    monkeypatch.setitem(sys.modules, "jinja2", None)
    _page._environment.cache_clear()
    report = InfluenceReport(classifier()[0], figures=False)
    with pytest.raises(MissingDependencyError, match=r"skinfluence\[report\]"):
        report.html()
    assert report._repr_html_() is None
    assert report.to_dict()["most_harmful"]
    assert "InfluenceReport of LogisticRegression" in repr(report)


def test_without_pandas_rows_are_arrays(monkeypatch):
    report = InfluenceReport(classifier()[0], figures=False)
    monkeypatch.setitem(sys.modules, "pandas", None)
    rows = report.rows
    assert rows["influence"].shape == (60,)


def test_figures_are_drawn_and_named():
    pytest.importorskip("matplotlib")
    explainer, X, _, X_test, y_test = classifier()
    report = InfluenceReport(explainer, X_test, y_test, X_train=X, agreement=5)
    html = html_of(report)
    figures, reason = report._drawn()
    assert len(figures) == 5 and not reason
    for figure in figures:
        assert f'src="{figure.uri}"' in html
        assert f'alt="{figure.title}. ' in html
    assert report.html() == html  # the same again, byte by byte
    softmax = InfluenceExplainer(LogisticRegression()).fit(X, np.arange(60) % 3)
    titles = [figure.title for figure in InfluenceReport(softmax)._drawn()[0]]
    assert "Residual against leverage" not in titles and len(titles) == 3


@pytest.mark.parametrize("make", [classifier, regressor])
def test_the_explainer_is_asked_once(monkeypatch, make):
    pytest.importorskip("matplotlib")
    asked = {name: 0 for name in ("diagnostics", "self_influence", "left_out")}

    def counted(name):
        question = getattr(questions, name)

        def counting(study):
            asked[name] += 1
            return question(study)

        return counting

    for name in asked:
        monkeypatch.setattr(questions, name, counted(name))
    report = InfluenceReport(make()[0])
    assert len(report._drawn()[0]) == 4
    assert set(asked.values()) == {1}
    assert report.explainer._study.memory is None  # the caller's is as it was


def test_without_matplotlib_the_page_says_so(monkeypatch):
    pytest.importorskip("jinja2")
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    html = InfluenceReport(classifier()[0]).html()
    assert "matplotlib is not installed" in html
    assert "<img" not in html


def test_figures_are_drawn_without_pyplot():
    """A figure that pyplot knows would show up in a notebook."""
    plt = pytest.importorskip("matplotlib.pyplot")
    before = plt.get_fignums()
    assert InfluenceReport(classifier()[0])._drawn()[0]
    assert plt.get_fignums() == before


def test_write_and_open(tmp_path, monkeypatch):
    pytest.importorskip("jinja2")
    import webbrowser

    report = InfluenceReport(classifier()[0], figures=False)
    path = report.write_html(tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == report.html()
    shown = []
    monkeypatch.setattr(webbrowser, "open", shown.append)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert shown == [] and report.open().as_uri() == shown[0]


# --- errors, and what is left alone ---


def test_errors_say_what_to_do():
    explainer, X, _, X_test, _ = classifier()
    with pytest.raises(InvalidParameterError, match="InfluenceExplainer"):
        InfluenceReport(LogisticRegression())
    with pytest.raises(ValueError, match="not fitted"):
        InfluenceReport(InfluenceExplainer(LogisticRegression()))
    with pytest.raises(InvalidDataError, match="without y_test"):
        InfluenceReport(explainer, X_test)
    with pytest.raises(InvalidDataError, match="not the rows"):
        InfluenceReport(explainer, X_train=X[::-1], agreement=0)
    with pytest.raises(InvalidParameterError, match="give X_train"):
        InfluenceReport(explainer, agreement=10)
    with pytest.raises(InvalidParameterError, match="agreement must be"):
        InfluenceReport(explainer, agreement="yes")
    with pytest.raises(InvalidParameterError, match="one name for each"):
        InfluenceReport(explainer, names=["a"])
    with pytest.raises(InvalidParameterError, match="top"):
        InfluenceReport(explainer, top=0)
    with pytest.raises(InvalidParameterError, match="max_rows"):
        InfluenceReport(explainer, max_rows=-1)
    with pytest.raises(InvalidParameterError, match="groups must hold"):
        InfluenceReport(explainer, groups=[1, 2])


def test_nothing_of_the_callers_is_changed():
    explainer, X, y, X_test, y_test = classifier()
    before = dict(vars(explainer))
    copies = [array.copy() for array in (X, y, X_test, y_test)]
    InfluenceReport(explainer, X_test, y_test, X_train=X, agreement=3, figures=False)
    InfluenceReport(explainer, figures=False)
    assert vars(explainer) == before
    for array, copy in zip((X, y, X_test, y_test), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_warnings_become_notes():
    """Without a row of leverage 1 the others leave something open: the page says so."""
    X = np.r_[np.c_[np.arange(6.0), np.zeros(6)], [[2.0, 1.0]]]
    explainer = InfluenceExplainer(LinearRegression()).fit(X, np.arange(7.0) ** 2)
    content = InfluenceReport(explainer, figures=False).to_dict()
    assert any("Row 6 has leverage 1" in note for note in content["notes"])
    assert content["rows"]["columns"]["loo_loss"][6] > 400
    health = {item["name"]: item for item in content["health"]}
    assert health["lost_rows"]["value"] == 1
    assert health["lost_rows"]["verdict"] == "look"
