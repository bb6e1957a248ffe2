"""``skinfluence check``: agreement with refits, and its exit code."""

import csv
import json

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
from tables import files_in, refuse, write

from skinfluence.cli import main


def test_estimates_that_agree(pd, cancer, capsys):
    assert main(["check", "cancer.csv", "--target", "diagnosis", "--rows", "20"]) == 0
    out = capsys.readouterr().out
    assert "Checked against 20 real refits" in out
    assert "The estimates agree with the refits." in out
    assert files_in(".") == {"cancer.csv"}


def test_estimates_that_do_not(pd, cancer, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    command = ["check", "cancer.csv", "--target", "diagnosis", "--rows", "20"]
    assert main([*command, "--deletion", "jackknife"]) == 1
    out = capsys.readouterr().out
    assert "DISAGREE" in out
    assert max(map(len, out.splitlines())) <= 60


def test_rows_without_any_effect_agree(pd, cancer):
    """No row of these is within the margin of the machine."""
    command = ["check", "cancer.csv", "--target", "diagnosis", "--model", "svm"]
    assert main([*command, "--rows", "8", "--deletion", "exact"]) == 0
    assert main([*command, "--rows", "1"]) == 0


def test_rows_are_those_of_the_file_and_refits_are_refits(pd, diabetes, capsys):
    X, y = diabetes
    gaps = y.astype(object)
    gaps[:5] = ""
    write("gaps.csv", [f"x{j}" for j in range(10)] + ["y"], X, gaps)
    command = ["check", "gaps.csv", "--target", "y", "--model", "ridge", "--json"]
    assert main([*command, "--rows", "6", "--out", "rows.csv"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out, parse_constant=refuse)
    assert err == "note: dropped 5 rows of gaps.csv with no value in 'y'\n"
    assert found["agrees"] is True
    alpha = float(found["model"].split("alpha=")[1].split()[0])
    X, y = StandardScaler().fit_transform(X[5:]), y[5:]
    row, refit = found["rows"]["row"][0], found["rows"]["refit"][0]

    def loss(kept):
        fitted = Ridge(alpha).fit(X[kept], y[kept])
        return 0.5 * (fitted.predict(X[[row - 5]])[0] - y[row - 5]) ** 2

    others = np.arange(len(y)) != row - 5
    change = loss(others) - loss(np.full(len(y), True))
    assert refit == pytest.approx(change, rel=1e-2)  # alpha is printed to four digits
    with open("rows.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(line["row"]) for line in rows] == found["rows"]["row"]
    errors = [abs(float(line["error"])) for line in rows]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("--rows 0", "leaves nothing to compare"),
        ("--out diabetes.csv/rows.csv", "is a file, not a directory"),
        ("--model forest", "invalid choice: 'forest'"),
    ],
)
def test_refusals(pd, diabetes, capsys, command, words):
    command = ["check", "diabetes.csv", "--target", "progression", *command.split()]
    assert main(command) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1


def test_no_file_is_replaced_unasked(pd, diabetes, here, capsys):
    (here / "rows.csv").write_text("mine")
    command = ["check", "diabetes.csv", "--target", "progression", "--rows", "3"]
    for name, words in {
        "rows.csv": "add --force",
        "diabetes.csv": "is an input",
    }.items():
        assert main([*command, "--out", name]) == 2
        assert words in capsys.readouterr().err
    assert (here / "rows.csv").read_text() == "mine"
    assert main([*command, "--out", "rows.csv", "--force"]) == 0
    assert (here / "rows.csv").read_text().startswith("row,")
