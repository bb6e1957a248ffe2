"""A part of the fuzzing of every public callable; ``make campaign`` runs all of it."""

import numpy as np
import pytest
from campaigns import fuzz

import skinfluence
from skinfluence import InfluenceExplainer

pytest.importorskip("matplotlib").use("agg")
pytest.importorskip("jinja2")

# Every so many of the trials, which are some 14,000.
EVERY = 53


@pytest.fixture(scope="module")
def calls():
    return fuzz.calls()


def test_every_public_name_is_called(calls):
    names = {call.name.partition(",")[0].partition(".")[0] for call in calls}
    assert set(skinfluence.__all__) <= names
    methods = {call.name.partition(": ")[2] for call in calls}
    public = {
        name
        for name in dir(InfluenceExplainer)
        if not name.startswith("_") and callable(getattr(InfluenceExplainer, name))
    }
    # The rest are scikit-learn's own, but for fit, which is called with its class.
    assert public - methods <= fuzz.NO_QUESTIONS


def test_good_arguments_work(calls):
    for call in calls:
        assert fuzz.Trial(call, {}).verdict() == ("works", ""), call.name


@pytest.mark.parametrize("part", range(4))
def test_wild_arguments_work_or_are_refused_in_words(calls, part):
    trials = fuzz.single_trials(calls)[::EVERY][part::4]
    tally = fuzz.run(trials)
    assert tally.faults == []
    assert {"works", "refused"} <= set(sum(tally.counts.values(), fuzz.Counter()))


def test_wrong_verdicts_are_seen():
    """A function that answers NaN, one that fails bare, and one that writes to X."""

    def spoils(X):
        X[0] = 0

    for function, kind in (
        (lambda X: np.array([np.nan]), "silent NaN"),
        (lambda X: X[99], "bare error"),
        (spoils, "changes its arguments"),
    ):
        call = fuzz.Call("one", function, {"X": fuzz.X}, ("X",))
        assert fuzz.Trial(call, {"X": "rows"}).verdict()[0] == kind
