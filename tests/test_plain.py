"""One way from values to JSON and to text, for the command line and the report."""

import datetime
import json

import numpy as np
import pytest

from skinfluence._plain import number, plain, versions


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (float("nan"), None),
        (np.float64("inf"), None),
        (np.datetime64("2020-01-02T03:04:05", "ns"), "2020-01-02T03:04:05.000000000"),
        (np.datetime64("NaT"), None),
        (np.timedelta64(3, "s"), "3 seconds"),
        (np.timedelta64("NaT"), None),
        (datetime.date(2020, 1, 2), "2020-01-02"),
        (np.array([[1, 2]]), [[1, 2]]),
        ({1: (np.nan, "NaT")}, {"1": [None, "NaT"]}),
    ],
)
def test_values_are_those_of_json(value, expected):
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)
    json.dumps(found, allow_nan=False)


def test_values_of_pandas_are_those_of_json():
    pd = pytest.importorskip("pandas")
    column = pd.Series(pd.to_datetime(["2020-01-02", None]))
    assert plain(column.tolist()) == ["2020-01-02 00:00:00", None]
    assert plain(column.to_numpy())[1] is None
    assert plain(pd.array([1, None], dtype="Int64").tolist()) == [1, None]
    assert plain(pd.Timedelta(days=1)) == "1 days 00:00:00"


def test_numbers_are_whole_or_short():
    shown = [3.0, 0.123456, 12345.6, 1e-12, -2.5, 1e20, np.float32(0.5), 123456789012]
    assert [number(value) for value in shown] == (
        ["3", "0.1235", "12346", "1e-12", "-2.5", "1e+20", "0.5", "123456789012"]
    )


def test_versions_are_those_of_the_modules():
    assert versions("numpy")["numpy"] == np.__version__
    assert set(versions("numpy")) == {"python", "numpy"}
