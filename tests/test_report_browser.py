"""The page of a report in a real browser: clicked, searched, and attacked."""

import os
import shutil
import tempfile

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skinfluence import InfluenceExplainer, InfluenceReport

pytest.importorskip("jinja2")
webdriver = pytest.importorskip("selenium.webdriver")
By = pytest.importorskip("selenium.webdriver.common.by").By
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
Service = pytest.importorskip("selenium.webdriver.chrome.service").Service

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
DRIVER = shutil.which("chromedriver") or shutil.which(
    "chromedriver", path=os.environ.get("CHROMEWEBDRIVER", os.devnull)
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (BROWSER and DRIVER), reason="no Chromium or Chrome with its chromedriver"
    ),
]

HOSTILE = "</script><script>window.hit=1</script><img src=x onerror='window.hit=1'><!--"


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}", "--window-size=1400,1000"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        yield driver
        driver.quit()


@pytest.fixture(scope="module")
def regression(tmp_path_factory):
    """The report of 300 rows, and its file."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    y = X @ [1.0, 2.0, 3.0] + rng.normal(size=300)
    report = InfluenceReport(
        InfluenceExplainer(Ridge()).fit(X, y),
        names=[f"customer {i}" for i in range(300)],
        figures=False,
    )
    return report, report.write_html(tmp_path_factory.mktemp("report") / "r.html")


@pytest.fixture
def opened(browser, regression):
    browser.get_log("browser")
    browser.get(regression[1].as_uri())
    yield browser
    assert browser.get_log("browser") == []


def rows_shown(driver):
    cells = driver.find_elements(By.CSS_SELECTOR, "#skf-body th[scope=row]")
    return [int(cell.text) for cell in cells]


def heading(driver, label):
    buttons = driver.find_elements(By.CSS_SELECTOR, "#skf-head button")
    return next(button for button in buttons if button.text.split(" ↕")[0] == label)


def test_the_table_opens_with_the_most_harmful_row(opened, regression):
    delta = regression[0].rows["loo_delta"].to_numpy()
    found = delta[rows_shown(opened)]
    np.testing.assert_allclose(found, np.sort(delta)[:25], rtol=2e-3)
    assert opened.find_element(By.ID, "skf-count").text == "300 of 300 rows"


@pytest.mark.parametrize(
    "label, name",
    [("influence", "influence"), ("leverage", "leverage"), ("row", "row")],
)
def test_a_click_sorts_and_a_second_one_the_other_way(opened, regression, label, name):
    values = regression[0].rows[name].to_numpy()
    button = heading(opened, label)
    cell = button.find_element(By.XPATH, "..")
    button.click()
    assert cell.get_attribute("aria-sort") == "ascending"
    found = values[rows_shown(opened)]
    np.testing.assert_allclose(found, np.sort(values)[:25], rtol=2e-3)
    button.click()
    assert cell.get_attribute("aria-sort") == "descending"
    found = values[rows_shown(opened)]
    np.testing.assert_allclose(found, np.sort(values)[::-1][:25], rtol=2e-3)
    others = opened.find_elements(By.CSS_SELECTOR, "#skf-head th[aria-sort=none]")
    assert len(others) == len(opened.find_elements(By.CSS_SELECTOR, "#skf-head th")) - 1


def test_the_keyboard_sorts_too(opened):
    button = heading(opened, "loss")
    button.send_keys(Keys.ENTER)
    cell = button.find_element(By.XPATH, "..")
    assert cell.get_attribute("aria-sort") == "ascending"


def test_searching_leaves_the_rows_that_match(opened):
    field = opened.find_element(By.ID, "skf-search")
    field.send_keys("CUSTOMER 29")
    assert sorted(rows_shown(opened)) == [29, *range(290, 300)]
    assert opened.find_element(By.ID, "skf-count").text == "11 of 300 rows"
    field.send_keys(" nobody")
    assert rows_shown(opened) == []
    assert opened.find_element(By.ID, "skf-count").text == "0 of 300 rows"
    field.send_keys(Keys.CONTROL, "a", Keys.BACKSPACE)
    assert len(rows_shown(opened)) == 25


def test_pages_turn_to_the_end_and_back(opened):
    seen = rows_shown(opened)
    following, last = (opened.find_element(By.ID, f"skf-{k}") for k in ("next", "last"))
    while following.is_enabled():
        following.click()
        seen += rows_shown(opened)
    assert sorted(seen) == list(range(300))
    assert opened.find_element(By.ID, "skf-page").text == "Page 12 of 12"
    assert not last.is_enabled()
    opened.find_element(By.ID, "skf-first").click()
    assert rows_shown(opened) == seen[:25]
    opened.find_element(By.CSS_SELECTOR, "#skf-size option:nth-child(2)").click()
    assert len(rows_shown(opened)) == 100


def test_hostile_data_runs_nothing(browser, tmp_path):
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, 2)), columns=[HOSTILE, HOSTILE + "2"])
    X.index = [f"{HOSTILE}{i}" for i in range(60)]
    y = np.where(X.iloc[:, 0] + rng.normal(size=60) > 0, HOSTILE, "fine")
    X["cell"] = np.where(X.iloc[:, 1] > 0, HOSTILE, "fine")
    encoded = make_column_transformer(
        (OneHotEncoder(), ["cell"]), remainder="passthrough"
    )
    model = make_pipeline(encoded, LogisticRegression())
    explainer = InfluenceExplainer(model).fit(X, y)
    report = InfluenceReport(
        explainer, groups=y, X_train=X, agreement=0, title=HOSTILE, figures=False
    )
    browser.get_log("browser")
    browser.get(report.write_html(tmp_path / "hostile.html").as_uri())
    assert len(rows_shown(browser)) == 25
    field = browser.find_element(By.ID, "skf-search")
    field.send_keys("<img")
    assert len(rows_shown(browser)) == 25
    text = browser.find_element(By.CSS_SELECTOR, "#skf-body td").text
    assert text.startswith(HOSTILE[:40])
    assert browser.execute_script("return window.hit") is None
    assert browser.find_elements(By.CSS_SELECTOR, "main img") == []
    assert browser.title == HOSTILE
    assert browser.get_log("browser") == []
    # In a notebook there is no policy: the fragment has to be safe by itself.
    bare = tmp_path / "bare.html"
    bare.write_text(
        "<!DOCTYPE html><meta charset=utf-8>" + report._repr_html_(), "utf-8"
    )
    browser.get(bare.as_uri())
    assert browser.find_elements(By.CSS_SELECTOR, "img, script") == []
    assert browser.execute_script("return window.hit") is None


def test_the_fragment_leaves_the_page_around_it_alone(browser, regression, tmp_path):
    page = (
        "<!DOCTYPE html><meta charset=utf-8><body><h3>Mine</h3>"
        "<table border=1><tr><td>mine</td></tr></table><p>mine</p>"
    )
    look = (
        "return ['h3', 'table', 'td', 'p'].map((tag) => {"
        "const s = getComputedStyle(document.querySelector(tag));"
        "return [s.font, s.color, s.padding, s.margin, s.border, s.backgroundColor];})"
    )
    looks = []
    for name, more in (("without", ""), ("with", regression[0]._repr_html_())):
        path = tmp_path / f"{name}.html"
        path.write_text(page + more, "utf-8")
        browser.get(path.as_uri())
        looks.append(browser.execute_script(look))
    assert looks[0] == looks[1]


@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_is_never_wider_than_the_window(browser, regression, width):
    size = dict(width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.get(regression[1].as_uri())
        found = browser.execute_script("return document.documentElement.scrollWidth")
        assert found <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
