"""What a reader of the displays needs: room, scales, numbers and words."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
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
from skinfluence.plotting._canvas import MOST_POINTS, cloud
from skinfluence.plotting._names import crossing, label_points, segments_of
from skinfluence.plotting._scales import few_ticks, follow_spread, number

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
plt = pytest.importorskip("matplotlib.pyplot")

SIZES = [(6.4, 4.8), (4, 3)]


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def linear():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    return InfluenceExplainer(LinearRegression()).fit(X, y), X, y


@pytest.fixture(scope="module")
def logistic():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    explainer = InfluenceExplainer(model, preprocessing="held")
    return explainer.fit(X[:400], y[:400]), X[400:], y[400:]


@pytest.fixture(scope="module")
def drawn(linear, logistic):
    """Displays by name, ready to be drawn: ``plot`` is what is tested."""
    of_bars = InfluenceDisplay.from_explainer(*logistic)
    explainer = linear[0]
    long = [f"a column with the long name {j}" for j in range(3)]
    rng = np.random.default_rng(0)
    x = np.arange(20.0)
    displays = {
        "bars": (of_bars, {}),
        "loss": (of_bars, {"kind": "loss", "k": 5}),
        "leverage": (LeverageDisplay.from_explainer(explainer), {}),
        "dfbetas": (DfbetasDisplay.from_explainer(explainer), {}),
        "many": (DfbetasDisplay.from_explainer(logistic[0]), {}),
        "few": (DfbetasDisplay(rng.normal(size=(9, 3)), long, range(9)), {}),
        "by class": (SelfInfluenceDisplay.from_explainer(logistic[0]), {}),
        "by quarter": (SelfInfluenceDisplay.from_explainer(explainer), {}),
        "agreement": (LeaveOneOutDisplay(x, x**1.1, 0.99, 1.0, range(20)), {}),
    }
    plt.close("all")
    return displays


NAMES = [
    "bars",
    "loss",
    "leverage",
    "dfbetas",
    "many",
    "few",
    "by class",
    "by quarter",
    "agreement",
]


def plotted(drawn, name, size):
    display, options = drawn[name]
    with plt.rc_context({"figure.figsize": size}):
        display.plot(**options)
    display.figure_.draw_without_rendering()
    return display


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", SIZES)
def test_labels_lie_inside_the_figure_and_beside_each_other(drawn, name, size):
    display = plotted(drawn, name, size)
    ax, whole = display.ax_, display.figure_.bbox
    titles = (ax.xaxis.label, ax.yaxis.label, ax.title)
    labels = [label for label in titles if label.get_text()]
    for axis in (ax.xaxis, ax.yaxis):
        low, high = np.sort(axis.get_view_interval())
        ticks = [
            label
            for place, label in zip(
                axis.get_majorticklocs(), axis.get_ticklabels(), strict=True
            )
            if low <= place <= high and label.get_text()
        ]
        boxes = [label.get_window_extent() for label in ticks]
        for i, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:i])
        labels += ticks
    for label in labels:
        box = label.get_window_extent()
        assert whole.x0 <= box.x0 and box.x1 <= whole.x1, label.get_text()
        assert whole.y0 <= box.y0 and box.y1 <= whole.y1, label.get_text()


@pytest.mark.parametrize("name", ["loss", "leverage", "dfbetas", "many", "by quarter"])
@pytest.mark.parametrize("size", SIZES)
def test_names_cross_neither_lines_nor_bars(drawn, name, size):
    ax = plotted(drawn, name, size).ax_
    for line in [line for line in ax.lines if line.get_linewidth() == 0.5]:
        line.remove()  # a name's own line leads to it
    segments, half = segments_of(ax)
    assert len(segments)
    for text in ax.texts:
        box = text.get_window_extent().extents
        assert not crossing(box, segments, half).any(), text.get_text()


def test_a_name_makes_way_for_bars_lines_and_dots():
    ax = plt.subplots()[1]
    ax.set(xlim=(0, 10), ylim=(0, 10))
    ax.hlines(5, 0, 10, linewidth=5)
    ax.axvline(2)
    ax.scatter(np.linspace(3, 9, 20), np.full(20, 8))
    for x, y in ((5, 5), (2, 3)):
        (text,) = label_points(ax, np.array([x]), np.array([y]), ["a long name"], "red")
        box = text.get_window_extent().extents
        assert not crossing(box, *segments_of(ax)).any()
    (text,) = label_points(ax, np.array([6]), np.array([8]), ["a long name"], "red")
    (low, high) = ax.transData.inverted().transform(text.get_window_extent())[:, 1]
    assert not low < 8 < high


def test_a_name_stands_beside_its_own_mark():
    ax = plt.subplots()[1]
    ax.set(xlim=(0, 10), ylim=(0, 10))
    x = np.array([9.6, 9.3, 9.0])  # the first has no room on its right
    y = np.full(3, 5.0)
    texts = label_points(ax, x, y, ["right", "middle", "left"], "red")
    assert len(texts) == 3
    marks = ax.transData.transform(np.column_stack([x, y]))
    for own, text in enumerate(texts):
        low, high = text.get_window_extent().extents.reshape(2, 2)
        outside = np.maximum(np.maximum(low - marks, marks - high), 0)
        gaps = np.linalg.norm(outside, axis=1)
        assert gaps[own] <= gaps.min() + 1.4


def test_a_line_leads_from_a_name_that_is_far_to_its_mark():
    ax = plt.subplots()[1]
    ax.set(xlim=(0, 10), ylim=(0, 10))
    label_points(ax, np.array([5.0]), np.array([5.0]), ["near"], "red")
    assert len(ax.lines) == 0
    x, y = np.meshgrid(np.linspace(1.5, 2.5, 30), np.linspace(1.4, 2.6, 30))
    ax.scatter(x, y)
    (text,) = label_points(ax, np.array([2.0]), np.array([2.0]), ["far"], "red")
    (line,) = ax.lines
    assert line.get_xydata()[0] == pytest.approx([2, 2])
    end = ax.transData.transform(line.get_xydata()[1])
    assert text.get_window_extent().contains(*end)


def test_segments_meet_a_box():
    box = np.array([0.0, 0, 2, 1])
    segments = np.array(
        [[-1, 0.5, 3, 0.5], [1, -5, 1, 5], [-1, 0.5, -0.5, 0.5], [-1, 2, 3, 2]]
    )
    half = np.zeros(4)
    np.testing.assert_array_equal(crossing(box, segments, half), [1, 1, 0, 0])
    np.testing.assert_array_equal(crossing(box, segments, half + 1.5), [1, 1, 1, 1])


@pytest.mark.parametrize("n", [1000, MOST_POINTS + 1000])
def test_scales_follow_the_spread_for_dots_and_density_alike(n):
    rng = np.random.default_rng(0)
    plain, heavy = rng.normal(size=n), rng.standard_cauchy(n)
    ax = plt.subplots()[1]
    follow_spread(ax.xaxis, heavy)
    follow_spread(ax.yaxis, plain)
    found = cloud(ax, heavy, plain, {})
    assert (ax.get_xscale(), ax.get_yscale()) == ("asinh", "linear")
    if n > MOST_POINTS:
        assert found.get_array().sum() == n  # each row is in one cell
        edges = ax.xaxis.get_transform().transform(found.get_coordinates()[0, :, 0])
        np.testing.assert_allclose(np.diff(edges), np.ptp(edges) / (len(edges) - 1))
    ax.figure.draw_without_rendering()
    pixels = ax.transData.transform(np.c_[heavy, plain])[:, 0]
    low, high = np.quantile(pixels, [0.25, 0.75])
    assert (high - low) / ax.bbox.width > 0.1  # half of the rows: more than a corner


def test_the_effect_of_noise_is_not_drawn(linear):
    explainer, X, y = linear
    display = InfluenceDisplay.from_explainer(explainer, X, y)
    assert np.any(display.values != 0)
    assert len(display.bars_) == 0
    (text,) = display.ax_.texts
    assert text.get_text().startswith("No row has an effect beyond rounding")
    display.plot(kind="loss")
    assert len(display.cloud_.get_offsets()) == 0
    assert len(display.ax_.texts) == 1


@pytest.mark.parametrize("quantity", ["influence", "loo_delta"])
@pytest.mark.parametrize("unit", [1e-9, 1, 1e9])
def test_a_small_unit_is_no_noise(linear, quantity, unit):
    _, X, y = linear
    explainer = InfluenceExplainer(Ridge(alpha=0.01)).fit(X[:300], unit * y[:300])
    test = X[300:], unit * y[300:]
    display = InfluenceDisplay.from_explainer(explainer, *test, quantity=quantity)
    assert len(display.bars_) == 20


def test_over_many_coefficients_rows_are_dots_and_over_few_they_are_joined(drawn):
    for name, style in (("many", "None"), ("few", "-")):
        display = plotted(drawn, name, (6.4, 4.8))
        marked = [line for line in display.ax_.lines if line.get_marker() != "None"]
        assert {line.get_linestyle() for line in marked} == {style}
        assert len({line.get_marker() for line in marked}) == len(display.rows_)


def test_as_many_coefficients_are_drawn_as_have_room_for_their_names(drawn):
    display = plotted(drawn, "many", (4, 3))
    size = np.abs(display.dfbetas).max(axis=0)
    left_out = np.setdiff1d(np.arange(31), display.shown_)
    assert 0 < len(left_out) < 15
    assert size[left_out].max() <= size[display.shown_].min()
    assert display.ax_.get_ylabel() == f"{31 - len(left_out)} of 31 coefficients"


@pytest.mark.parametrize(
    ("top", "scale", "texts"),
    [
        (1, "linear", ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (40_000, "linear", ["0", "10,000", "20,000", "30,000", "40,000"]),
        (
            2e-11,
            "linear",
            [
                "0",
                r"0.5\times10^{-11}",
                "10^{-11}",
                r"1.5\times10^{-11}",
                r"2\times10^{-11}",
            ],
        ),
        (
            2e6,
            "linear",
            ["0", r"0.5\times10^{6}", "10^{6}", r"1.5\times10^{6}", r"2\times10^{6}"],
        ),
        (1000, "spread", ["0", "10", "100", "1,000"]),
        (1e5, "spread", ["0", "10^{3}", "10^{4}", "10^{5}"]),
        (1e-4, "spread", ["0", "10^{-6}", "10^{-5}", "10^{-4}"]),
    ],
)
def test_numbers_of_an_axis_have_one_form(top, scale, texts):
    ax = plt.subplots()[1]
    if scale == "linear":
        few_ticks(ax.xaxis)
    else:
        follow_spread(ax.xaxis, np.array([0.001, 0.001, 0.001, 1]) * top)
    ax.set_xlim(0, top)
    ax.figure.draw_without_rendering()
    places = ax.xaxis.get_majorticklocs()
    labels = np.array([label.get_text() for label in ax.get_xticklabels()])
    found = labels[places <= top]
    bare = [text.removeprefix(r"$\mathdefault{").removesuffix("}$") for text in found]
    assert bare == texts


@pytest.mark.parametrize("top", [1e2, 1e3, 1e4, 1e6, 1e9])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_spread_axis_has_numbers_up_to_its_largest(top, sign):
    ax = plt.subplots()[1]
    follow_spread(ax.yaxis, np.array([1, 1, 1, 1, sign, top]))
    ticks = ax.get_yticks()
    assert ticks.max() == top
    assert 0 in ticks
    assert 3 <= len(ticks) <= 7
    assert (ticks.min() == -top) == (sign < 0)


def test_single_numbers_are_readable():
    assert number(0.004) == "0.004"
    assert number(-12345) == "−12,300"  # noqa: RUF001
    assert number(2.44e-11) == r"$\mathdefault{2.4\times10^{-11}}$"


@pytest.mark.parametrize("name", NAMES)
def test_name_is_the_title(drawn, name):
    display, options = drawn[name]
    display.plot(name="the new model", **options)
    assert display.ax_.get_title().split("\n")[0] == "the new model"


def test_titles_of_axes_stand_beside_each_other(drawn):
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.8), layout="constrained")
    for ax in axes:
        drawn["agreement"][0].plot(ax, name="exact")
    figure.draw_without_rendering()
    boxes = [ax.title.get_window_extent() for ax in axes]
    assert all(0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_artists_take_options(drawn):
    for line in drawn["many"][0].plot(markersize=9).ax_.lines[:5]:
        assert line.get_markersize() == 9
    dots = drawn["by class"][0].plot(s=31).ax_.collections[0]
    assert dots.get_sizes() == [31]
