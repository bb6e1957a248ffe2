"""Golden numbers of every case, and pickles of earlier generations that still load."""

import json
import pickle
import warnings

import numpy as np
import pytest
from golden import make

FILE = make.HERE / "numbers.npz"
EVERY = dict(make.every_case())
GENERATIONS = sorted((make.HERE / "pickles").iterdir())


def golden():
    """Numbers by case and kind, and the versions they were made with."""
    with np.load(FILE) as file:
        keys = json.loads(str(file["keys"]))
        rows = np.split(file["values"], np.cumsum(file["lengths"])[:-1])
        made_with = json.loads(str(file["versions"]))
    return {tuple(key): row for key, row in zip(keys, rows, strict=True)}, made_with


GOLDEN, MADE_WITH = golden()
# Fits by another version of scikit-learn end elsewhere, and Bayesian models estimate
# their penalty there.
CLOSE = 1e-8 if make.versions() == MADE_WITH else 1e-5


def test_every_case_has_golden_numbers():
    assert {name for name, _ in GOLDEN} == set(EVERY)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", EVERY)
def test_numbers_are_the_golden_ones(name):
    expected = {kind: row for (case, kind), row in GOLDEN.items() if case == name}
    found = make.numbers_of(EVERY[name])
    assert found.keys() == expected.keys()
    for kind, row in expected.items():
        scale = np.nanmax(np.abs(row), initial=0.0)
        np.testing.assert_allclose(found[kind], row, rtol=0, atol=CLOSE * scale)


def _loaded(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of another version of scikit-learn
        if path.suffix == ".pickle":
            return pickle.loads(path.read_bytes())
        io = pytest.importorskip("skops.io")
        return io.load(path, trusted=io.get_untrusted_types(file=path))


def _check(path, answers):
    found = make.answers_of(path.stem, _loaded(path))
    scale = np.max(np.abs(answers))
    np.testing.assert_allclose(found, answers, rtol=0, atol=1e-8 * scale)


@pytest.mark.parametrize("folder", GENERATIONS, ids=lambda folder: folder.name)
def test_pickles_of_a_generation_load_and_answer(folder):
    kept = json.loads((folder / "answers.json").read_text())
    assert {path.stem for path in folder.glob("*.pickle")} == set(kept["answers"])
    for path in folder.glob("*.pickle"):
        _check(path, kept["answers"][path.stem])


@pytest.mark.parametrize("folder", GENERATIONS, ids=lambda folder: folder.name)
def test_files_of_skops_load_and_answer(folder):
    kept = json.loads((folder / "answers.json").read_text())
    for path in folder.glob("*.skops"):
        _check(path, kept["answers"][path.stem])


def test_golden_files_are_small():
    files = [FILE, *(path for folder in GENERATIONS for path in folder.iterdir())]
    assert sum(path.stat().st_size for path in files) < 300_000
