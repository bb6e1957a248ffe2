"""Tables that several commands are tried on."""

import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from tables import write


@pytest.fixture
def pd():
    return pytest.importorskip("pandas")


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """No step is announced as slow, however slow the machine is."""
    monkeypatch.setattr("skinfluence.cli._console.PATIENCE", 1e6)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cancer(here):
    data = load_breast_cancer()
    labels = data.target_names[data.target]
    write("cancer.csv", [*data.feature_names, "diagnosis"], data.data, labels)
    return data.data, labels


@pytest.fixture
def diabetes(here):
    data = load_diabetes(scaled=False)
    write("diabetes.csv", [*data.feature_names, "progression"], data.data, data.target)
    return data.data, data.target
