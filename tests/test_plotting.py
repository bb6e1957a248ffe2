"""Displays hold the explainer's numbers, draw few artists, and hide no name."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import (
    HuberRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfluence import (
    DfbetasDisplay,
    InfluenceDisplay,
    InfluenceExplainer,
    LeaveOneOutDisplay,
    LeverageDisplay,
    SelfInfluenceDisplay,
    check_leave_one_out,
)
from skinfluence.exceptions import InvalidParameterError, MissingDependencyError
from skinfluence.plotting._canvas import cloud, short
from skinfluence.plotting._names import label_points

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def classifier():
    X, y = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    return InfluenceExplainer(model).fit(X[:400], y[:400]), X, y


@pytest.fixture(scope="module")
def regressor():
    X, y = load_diabetes(return_X_y=True)
    return InfluenceExplainer(LinearRegression()).fit(X, y), X, y


def drawings(classifier, regressor):
    """Every display by name, drawn."""
    explainer, X, y = classifier
    linear = regressor[0]
    test = X[400:], y[400:]
    return {
        "rows": lambda **o: InfluenceDisplay.from_explainer(explainer, *test, **o),
        "loss": lambda **o: InfluenceDisplay.from_explainer(
            explainer, *test, kind="loss", **o
        ),
        "leverage": lambda **o: LeverageDisplay.from_explainer(linear, **o),
        "agreement": lambda **o: LeaveOneOutDisplay.from_explainer(
            explainer, X[:400], y[:400], rows=20, **o
        ),
        "dfbetas": lambda **o: DfbetasDisplay.from_explainer(linear, **o),
        "self-influence": lambda **o: SelfInfluenceDisplay.from_explainer(
            explainer, **o
        ),
    }


NAMES = ["rows", "loss", "leverage", "agreement", "dfbetas", "self-influence"]


@pytest.mark.parametrize("name", NAMES)
def test_from_explainer_draws_on_the_given_axes_and_plot_on_new_ones(
    classifier, regressor, name
):
    _, ax = plt.subplots()
    display = drawings(classifier, regressor)[name](ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert display.plot() is display
    assert display.ax_ is not ax


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(6.4, 4.8), (4, 3)])
def test_no_name_hides_another_or_leaves_the_axes(classifier, regressor, name, size):
    with plt.rc_context({"figure.figsize": size}):
        display = drawings(classifier, regressor)[name]()
    display.figure_.draw_without_rendering()
    boxes = [text.get_window_extent() for text in display.ax_.texts]
    inside = display.ax_.bbox
    for i, box in enumerate(boxes):
        assert inside.x0 - 1 <= box.x0 and box.x1 <= inside.x1 + 1
        assert inside.y0 - 1 <= box.y0 and box.y1 <= inside.y1 + 1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_construction_draws_nothing():
    ones = np.ones(3)
    InfluenceDisplay(ones, ones, range(3))
    LeverageDisplay(ones, ones, ones, 1.0, range(3))
    LeaveOneOutDisplay(ones, ones, 1.0, 1.0, range(3))
    DfbetasDisplay(np.ones((3, 2)), ["a", "b"], range(3))
    SelfInfluenceDisplay(-ones, range(3), range(3))
    assert plt.get_fignums() == []


@pytest.mark.parametrize("quantity", ["influence", "loo_delta"])
def test_bars_are_the_most_harmful_and_helpful_rows(classifier, quantity):
    explainer, X, y = classifier
    test = X[400:], y[400:]
    display = InfluenceDisplay.from_explainer(explainer, *test, quantity=quantity, k=4)
    values = getattr(explainer, quantity)(*test, aggregate="mean")
    np.testing.assert_array_equal(display.values, values)
    harm = np.argsort(-values if quantity == "influence" else values)
    rows = [int(label.get_text()) for label in display.ax_.get_yticklabels()]
    assert rows[::-1] == [*harm[:4], *harm[-4:]]  # the most harmful on top
    lengths = [bar.get_width() for bar in display.bars_]
    np.testing.assert_allclose(lengths, values[rows])
    assert {text.get_text() for text in display.ax_.texts} == {"harmful", "helpful"}


def test_what_is_no_loss_is_not_called_harm(regressor):
    explainer, X, _ = regressor
    display = InfluenceDisplay.from_explainer(explainer, X[:1])
    words = {text.get_text() for text in display.ax_.texts}
    assert words == {"raises the prediction", "lowers the prediction"}
    np.testing.assert_allclose(display.values, explainer.influence(X[:1])[0])


def test_own_losses_are_the_models(classifier):
    explainer, X, y = classifier
    display = InfluenceDisplay.from_explainer(explainer, X[400:], y[400:], kind="loss")
    found = np.ma.getdata(display.cloud_.get_offsets())
    np.testing.assert_allclose(found[:, 0], explainer.diagnostics()["loss"])
    np.testing.assert_allclose(found[:, 1], display.values)


def test_contours_are_cooks_distances(regressor):
    explainer = regressor[0]
    display = LeverageDisplay.from_explainer(explainer)
    table = explainer.diagnostics()
    h, t = display.leverage, display.residual
    np.testing.assert_allclose(t, table["resid_studentized_internal"])
    on_contour = t**2 * h / (1 - h) / display.effective_dof
    np.testing.assert_allclose(on_contour, table["cooks_distance"])
    level = display.levels_[0]
    x, y = display.ax_.lines[1].get_data()
    np.testing.assert_allclose(
        y**2 * x / (1 - x) / display.effective_dof, level, rtol=1e-12
    )


def test_contours_are_cooks_distances_of_generalized_linear_models():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = rng.poisson(np.exp(0.5 * X[:, 0]))
    explainer = InfluenceExplainer(PoissonRegressor(alpha=0)).fit(X, y)
    display = LeverageDisplay.from_explainer(explainer)
    h = display.leverage
    on_contour = display.residual**2 * h / (1 - h) / display.effective_dof
    np.testing.assert_allclose(on_contour, display.cooks_distance, rtol=1e-8)


def test_leverage_names_the_rows_with_the_largest_distance_by_their_index():
    pd = pytest.importorskip("pandas")
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    X.index = y.index = pd.Index([f"patient {i}" for i in range(len(X))])
    explainer = InfluenceExplainer(LinearRegression()).fit(X, y)
    display = LeverageDisplay.from_explainer(explainer, k=3)
    worst = explainer.diagnostics()["cooks_distance"].nlargest(3).index
    assert {text.get_text() for text in display.ax_.texts} == set(worst)


def test_leverage_of_one_of_several_outputs():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(30, 2)), rng.normal(size=(30, 2))
    explainer = InfluenceExplainer(Ridge()).fit(X, Y)
    display = LeverageDisplay.from_explainer(explainer, output=1)
    table = explainer.diagnostics()
    np.testing.assert_array_equal(
        display.cooks_distance, table["cooks_distance_output_1"]
    )
    with pytest.raises(InvalidParameterError, match="output=2 is none"):
        LeverageDisplay.from_explainer(explainer, output=2)


def test_agreement_is_that_of_the_check(classifier):
    explainer, X, y = classifier
    found = check_leave_one_out(explainer, X[:400], y[:400], rows=15)
    display = LeaveOneOutDisplay.from_check(found)
    offsets = np.ma.getdata(display.cloud_.get_offsets())
    np.testing.assert_array_equal(offsets, np.c_[found.predicted, found.refit])
    assert f"{found.pearson:.6f}" in display.ax_.get_title()
    assert display.line_.get_slope() == 1


def test_only_visible_errors_are_named():
    x = np.linspace(0, 1, 20)
    refit = x.copy()
    refit[7] += 0.3
    display = LeaveOneOutDisplay(x, refit, 0.9, 1.0, np.arange(20)).plot()
    assert [text.get_text() for text in display.ax_.texts] == ["7"]


def test_dfbetas_are_those_of_the_diagnostics(regressor):
    explainer = regressor[0]
    display = DfbetasDisplay.from_explainer(explainer, k=2)
    table = explainer.diagnostics()
    names = [f"dfbetas_{name}" for name in display.parameters]
    np.testing.assert_array_equal(
        display.dfbetas, np.column_stack([*map(table.get, names)])
    )
    extreme = np.argsort(-np.abs(display.dfbetas).max(axis=1))[:2]
    np.testing.assert_array_equal(display.rows_, extreme)


@pytest.mark.parametrize(
    "model", [HuberRegressor(max_iter=1000), LogisticRegression(C=0.1)]
)
def test_other_models_have_jackknife_standard_errors(model):
    X, y = load_diabetes(return_X_y=True)
    y = np.digitize(y, [100, 180]) if hasattr(model, "C") else y
    explainer = InfluenceExplainer(model).fit(X, y)
    display = DfbetasDisplay.from_explainer(explainer)
    coef = explainer.loo_params().coef.reshape(len(X), -1)
    error = np.sqrt((len(X) - 1) * np.var(coef, axis=0))
    np.testing.assert_allclose(display.dfbetas[:, : coef.shape[1]], -coef / error)
    assert "jackknife" in display.ax_.get_xlabel()
    assert len(display.parameters) == display.dfbetas.shape[1]


def test_self_influence_is_drawn_by_class(classifier):
    explainer = classifier[0]
    display = SelfInfluenceDisplay.from_explainer(explainer, k=3)
    pull = explainer.self_influence()
    np.testing.assert_array_equal(display.self_influence, pull)
    assert display.groups_ == [0, 1]
    assert {t.get_text() for t in display.ax_.texts} == {
        str(row) for row in np.argsort(pull)[:3]
    }


def test_self_influence_of_a_regression_is_drawn_by_quarters(regressor):
    explainer, _, y = regressor
    display = SelfInfluenceDisplay.from_explainer(explainer)
    assert len(display.groups_) == 4
    first = display.groups == display.groups_[0]
    assert first.sum() == np.sum(y <= np.quantile(y, 0.25))


def test_a_million_rows_are_a_few_artists():
    rng = np.random.default_rng(0)
    n = 1_000_000
    x, y = rng.normal(size=(2, n))
    names = np.arange(n)
    displays = [
        InfluenceDisplay(x, np.abs(y), names).plot(kind="loss"),
        LeverageDisplay(1 / n + np.abs(x) / 1e4, y, y**2 / n, 5.0, names).plot(),
        DfbetasDisplay(np.c_[x, y], ["a", "b"], names).plot(),
        SelfInfluenceDisplay(-np.abs(x), names % 3, names).plot(),
    ]
    for display in displays:
        points = sum(len(part.get_offsets()) for part in display.ax_.collections)
        lines = sum(len(line.get_xdata()) for line in display.ax_.lines)
        assert points + lines < 10_000


def test_rows_without_a_number_are_left_out():
    x, y = np.array([0.0, 1.0, np.nan, 2.0]), np.array([1.0, np.inf, 1.0, 3.0])
    _, ax = plt.subplots()
    assert len(cloud(ax, x, y, {}).get_offsets()) == 2
    assert [t.get_text() for t in label_points(ax, x, y, list("abcd"), "red")] == [
        "a",
        "d",
    ]


def test_names_are_short_and_stay_text():
    assert short("a" * 50) == "a" * 23 + "…"
    assert short("two\nlines") == "two lines"
    _, ax = plt.subplots()
    (text,) = label_points(ax, np.ones(1), np.ones(1), [r"$\frac{$"], "red")
    ax.figure.canvas.draw()  # a formula would not parse
    assert text.get_text() == r"\$\frac{\$"


def test_unknown_kinds_are_refused(classifier):
    explainer, X, y = classifier
    with pytest.raises(InvalidParameterError, match="kind must be one of"):
        InfluenceDisplay.from_explainer(explainer, X[:3], y[:3], kind="bars")
    with pytest.raises(InvalidParameterError, match="quantity must be one of"):
        InfluenceDisplay.from_explainer(explainer, X[:3], y[:3], quantity="delta")


def test_models_without_diagnostics_have_no_leverage_display():
    X, y = load_diabetes(return_X_y=True)
    explainer = InfluenceExplainer(HuberRegressor(max_iter=1000)).fit(X, y)
    with pytest.raises(TypeError, match="self_influence, loo_params"):
        LeverageDisplay.from_explainer(explainer)


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.delattr(matplotlib, "pyplot", raising=False)
    with pytest.raises(MissingDependencyError, match=r"skinfluence\[plot\]"):
        SelfInfluenceDisplay(-np.ones(3), range(3), range(3)).plot()


def test_displays_are_named_without_importing_matplotlib():
    code = (
        "import sys; from skinfluence import InfluenceDisplay, LeverageDisplay; "
        "sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_changes_of_coefficients_without_a_scale_are_drawn_empty():
    nothing = np.full((30, 60), np.nan)
    names = [f"x{j}" for j in range(60)]
    display = DfbetasDisplay(nothing, names, np.arange(30)).plot()
    assert display.ax_.get_xlabel().startswith("dfbetas")
