"""``skinfluence clean``: the copy without the rows that look wrong."""

import csv
import gzip
import json
import random

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import files_in, refuse

from skinfluence import InfluenceCleaner
from skinfluence.cli import main
from skinfluence.cli._original import CsvOriginal


def clean(*arguments):
    assert main(["clean", *map(str, arguments)]) == 0


def lines_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def tricky(rng, n=60, *, sep=",", end="\n", flips=(7, 20)):
    """A table of which no cell would survive being read and written by pandas."""
    lines = []
    for i in range(n):
        x = rng.uniform(-2, 2)
        label = "yes" if (x > 0) != (i in flips) else "no"
        day = f"{i % 28 + 1:02d}.03.2024"
        said = ['"said ""hi"""', '"two\nlines"', "plain", '"a' + sep + 'b"', " sp "][
            i % 5
        ]
        cells = [f"{i:05d}", f"{x:+.3f}0", day, said, ["NA", "", "-"][i % 3], label]
        lines.append(sep.join(cells) + end)
    return sep.join(["id", "x", "day", "said", "gap", "bought"]) + end, lines


@pytest.mark.parametrize("sep", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_character_of_a_row_kept_survives(pd, here, sep, end, encoding):
    head, lines = tricky(random.Random(0), sep=sep, end=end)
    raw = (head + "".join(lines)).encode(encoding)
    (here / "data.csv").write_bytes(raw)
    clean(
        *["data.csv", "--target", "bought", "--out", "out/kept.csv"],
        *["--drop", "id", "--encoding", encoding.removesuffix("-sig")],
    )
    assert (here / "data.csv").read_bytes() == raw
    removed = lines_of("out/kept.removed.csv")
    rows = [int(row["row"]) for row in removed]
    assert {7, 20} <= set(rows)
    assert [row["id"] for row in removed] == [f"{row:05d}" for row in rows]
    kept = head + "".join(line for i, line in enumerate(lines) if i not in rows)
    assert (here / "out/kept.csv").read_bytes() == kept.encode(encoding)


def test_rows_are_those_of_the_cleaner_worst_first(pd, cancer, capsys):
    clean("cancer.csv", "--target", "diagnosis", "--out", "kept.csv", "--json")
    found = json.loads(capsys.readouterr().out, parse_constant=refuse)
    X, y = cancer
    model = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-10))
    cleaner = InfluenceCleaner(model).fit(X, y)
    assert set(found["cleaned"]["row"]) == set(cleaner.cleaned_indices_)
    scores = [float(row["score"]) for row in lines_of("kept.removed.csv")]
    assert scores == sorted(scores, reverse=True) == found["cleaned"]["score"]
    truth = cleaner.row_scores_[found["cleaned"]["row"]]
    np.testing.assert_allclose(scores, truth, rtol=1e-5)
    assert found["rows_written"] == len(lines_of("kept.csv")) == len(y) - len(scores)


def test_relabelling_changes_one_cell_of_one_row(pd, here):
    head, lines = tricky(random.Random(1))
    (here / "data.csv").write_text(head + "".join(lines), newline="")
    command = ["data.csv", "--target", "bought", "--drop", "id", "--action", "relabel"]
    clean(*command, "--out", "mended.csv")
    before, after = lines_of("data.csv"), lines_of("mended.csv")
    removed = {int(row["row"]): row for row in lines_of("mended.removed.csv")}
    assert {7, 20} <= set(removed)
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        assert {**old, "bought": ""} == {**new, "bought": ""}
        assert (old["bought"] != new["bought"]) == (i in removed)
        if i in removed:
            assert removed[i]["new target"] == new["bought"]
            assert removed[i]["bought"] == old["bought"]


def test_rows_without_a_target_stay(pd, here, capsys):
    head, lines = tricky(random.Random(2))
    lines[3] = lines[3].rsplit(",", 1)[0] + ",\n"
    (here / "data.csv").write_text(head + "\n" + "".join(lines), newline="")
    clean("data.csv", "--target", "bought", "--drop", "id", "--out", "kept.csv")
    assert "dropped 1 row" in capsys.readouterr().err
    assert "00003" in {row["id"] for row in lines_of("kept.csv")}


@pytest.mark.parametrize("share", ["0.1", "0.05"])
def test_a_share_and_trusted_rows(pd, here, share):
    head, lines = tricky(random.Random(0))
    lines = [line.rstrip("\n") + f",{i == 7}\n" for i, line in enumerate(lines)]
    text = head.rstrip("\n") + ",known\n" + "".join(lines)
    (here / "data.csv").write_text(text, newline="")
    command = ["data.csv", "--target", "bought", "--drop", "id", "--out", "kept.csv"]
    clean(*command, "--trusted", "known", "--contamination", share)
    rows = {int(row["row"]) for row in lines_of("kept.removed.csv")}
    assert len(rows) == round(60 * float(share))
    assert 20 in rows
    assert 7 not in rows


def test_parquet_keeps_its_types(pd, here):
    pytest.importorskip("pyarrow")
    rng = np.random.default_rng(0)
    x = rng.normal(size=80)
    table = pd.DataFrame(
        {
            "x": x.astype(np.float32),
            "day": pd.Timestamp("2024-01-01")
            + pd.to_timedelta(np.arange(80), unit="D"),
            "kind": pd.Categorical(["a", "b"] * 40),
            "count": pd.array([1, None] * 40, dtype="Int16"),
            "y": np.where((x > 0) != (np.arange(80) == 5), "yes", "no"),
        }
    )
    table.to_parquet("data.parquet")
    clean("data.parquet", "--target", "y", "--out", "kept.parquet")
    rows = [int(row["row"]) for row in lines_of("kept.removed.csv")]
    assert 5 in rows
    expected = pd.read_parquet("data.parquet").drop(index=rows).reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_parquet("kept.parquet"), expected)
    command = ["data.parquet", "--target", "y", "--action", "relabel"]
    clean(*command, "--out", "mended.parquet")
    mended = pd.read_parquet("mended.parquet")
    assert mended["y"][5] != table["y"][5]
    assert mended.dtypes.equals(pd.read_parquet("data.parquet").dtypes)


def test_compressed_files(pd, here):
    head, lines = tricky(random.Random(0))
    with gzip.open("data.csv.gz", "wb") as file:
        file.write((head + "".join(lines)).encode())
    clean("data.csv.gz", "--target", "bought", "--drop", "id", "--out", "kept.csv.gz")
    assert gzip.open("kept.csv.gz").read().decode().startswith(head)
    assert files_in(".") == {"data.csv.gz", "kept.csv.gz", "kept.removed.csv"}


def test_nothing_is_ever_replaced_unasked(pd, here, capsys):
    head, lines = tricky(random.Random(0))
    (here / "data.csv").write_text(head + "".join(lines), newline="")
    (here / "link.csv").symlink_to(here / "data.csv")
    (here / "there.csv").write_text("mine")
    before = (here / "data.csv").read_bytes()
    command = ["clean", "data.csv", "--target", "bought", "--drop", "id"]
    for options, words in {
        "": "--out CLEANED.csv",
        "--out data.csv": "is an input",
        "--out ./data.csv --force": "is an input",
        "--out link.csv --force": "is an input",
        "--out kept.csv --removed data.csv --force": "is an input",
        "--out there.csv": "add --force",
        "--out kept.csv --removed there.csv": "add --force",
        "--out kept.csv --removed kept.csv": "are one file",
        "--out kept.parquet": "is CSV, so the copy must be too",
        "--out kept.zip": ".csv.gz",
        "--out kept.csv --contamination 0.6": "'0.6' is not auto or a share",
        "--out kept.csv --trusted said": "must say yes or no",
        "--out kept.csv --trusted nobody": "no column 'nobody'",
    }.items():
        assert main([*command, *options.split()]) == 2
        out, err = capsys.readouterr()
        assert words in err.splitlines()[-1]
        assert out == ""
        assert files_in(".") == {"data.csv", "link.csv", "there.csv"}
        assert (here / "there.csv").read_text() == "mine"
        assert (here / "data.csv").read_bytes() == before
    assert main([*command, "--out", "there.csv", "--force"]) == 0
    assert (here / "there.csv").read_text().startswith("id,")


def test_lines_that_cannot_be_matched_with_rows_are_refused(
    pd, here, capsys, monkeypatch
):
    head, lines = tricky(random.Random(0))
    (here / "data.csv").write_text(head + "".join(lines), newline="")
    monkeypatch.setattr(CsvOriginal, "agrees", lambda *args: False)
    command = ["clean", "data.csv", "--target", "bought", "--out", "kept.csv"]
    assert main(command) == 2
    assert "cannot be matched to its" in capsys.readouterr().err
    assert files_in(".") == {"data.csv"}
