"""Warnings point at the user's own line, whatever stands between it and the finding."""

import ast
import inspect
import pathlib
import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import (
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    Ridge,
)
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import skinfluence
from skinfluence import (
    InfluenceCleaner,
    InfluenceExplainer,
    LeaveOneOutSearchCV,
    check_leave_one_out,
    cross_val_influence,
    exceptions,
    refit_leave_one_out,
)
from skinfluence._warn import listed

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = X @ [1.0, -2.0, 0.5] + RNG.normal(size=40)
LABELS = (Y > 0).astype(int)
# Row 0 alone has a value in the last column; rows 1 to 39 do not determine it.
CARRIER = np.c_[X, np.arange(40) == 0]
TWINS = np.c_[X, X[:, 0]]
# Class 1 has one row; without it nothing is left to tell apart.
LONE = (np.arange(40) == 5).astype(int)
# Letters a and b are as frequent: one row less of either, and the other is kept.
THREE_LETTERS = np.array(["a"] * 15 + ["b"] * 15 + ["c"] * 10)[:, None]
WIDE = np.random.default_rng(4).normal(size=(60, 6))
WEAK = WIDE @ [0.5, -0.3, 0.1, 0.05, 0.0, 0.0]
WEAK = WEAK + 0.2 * np.random.default_rng(5).normal(size=60)


def explained(model, rows=X, y=Y, **options):
    return InfluenceExplainer(model, **options).fit(rows, y)


def carrier():
    return explained(LinearRegression(), CARRIER)


def lone():
    return explained(LogisticRegression(C=np.inf, tol=1e-10), X[:, :1], LONE)


def hard(deletion="halley"):
    rows, y = load_breast_cancer(return_X_y=True)
    rows = StandardScaler().fit_transform(rows)
    return explained(
        LogisticRegression(C=100, max_iter=1000), rows, y, deletion=deletion
    )


def frames():
    import pandas as pd

    return pd.DataFrame(X), pd.Series(Y)


def iterated():
    explainer = explained(Ridge(1e-6), solver="cg")
    explainer._study.solver.__dict__["max_iter"] = 1  # frozen, but for tests
    return explainer


# What warns, by the category: how it is made ready, and the call.
CALLS = {
    "far from the minimum": (
        "NotStationaryWarning",
        lambda: Ridge().fit(X, Y + 10 * X[:, 0]),
        lambda model: InfluenceExplainer(model).fit(X, Y),
    ),
    "far, and held": (
        "NotStationaryWarning",
        lambda: LogisticRegression(max_iter=3).fit(X, LABELS),
        lambda model: InfluenceExplainer(model, polish=False).fit(X, LABELS),
    ),
    "dependent columns": (
        "RankDeficientWarning",
        lambda: InfluenceExplainer(LinearRegression()),
        lambda explainer: explainer.fit(TWINS, Y),
    ),
    "through fit_transform": (
        "RankDeficientWarning",
        lambda: InfluenceExplainer(LinearRegression()),
        lambda explainer: explainer.fit_transform(TWINS, Y),
    ),
    "through a pipeline": (
        "RankDeficientWarning",
        lambda: make_pipeline(StandardScaler(), InfluenceExplainer(LinearRegression())),
        lambda pipe: pipe.fit(TWINS, Y),
    ),
    "through cross-validation": (
        "RankDeficientWarning",
        lambda: InfluenceExplainer(LinearRegression()),
        lambda explainer: cross_val_score(explainer, TWINS, Y, cv=2),
    ),
    "steps cut short": (
        "NotConvergedWarning",
        lambda: InfluenceExplainer(LogisticRegression(max_iter=2), max_iter=1),
        lambda explainer: explainer.fit(X, LABELS),
    ),
    "iterations cut short": (
        "NotConvergedWarning",
        iterated,
        lambda explainer: explainer.param_influence(),
    ),
    "loo_params": (
        "UnidentifiedDeletionWarning",
        carrier,
        lambda explainer: explainer.loo_params(),
    ),
    "loo_predict": (
        "UnidentifiedDeletionWarning",
        carrier,
        lambda explainer: explainer.loo_predict(),
    ),
    "loo_score": (
        "UnidentifiedDeletionWarning",
        carrier,
        lambda explainer: explainer.loo_score(),
    ),
    "loo_delta": (
        "UnidentifiedDeletionWarning",
        carrier,
        lambda explainer: explainer.loo_delta(CARRIER[:2]),
    ),
    "diagnostics": (
        "UnidentifiedDeletionWarning",
        carrier,
        lambda explainer: explainer.diagnostics(),
    ),
    "group_delta": (
        "UnidentifiedDeletionWarning",
        carrier,
        lambda explainer: explainer.group_delta(CARRIER[:2], groups=[[0, 1]]),
    ),
    "cv_predict": (
        "UnidentifiedDeletionWarning",
        carrier,
        lambda explainer: explainer.cv_predict(cv=4),
    ),
    "frames": (
        "UnidentifiedDeletionWarning",
        lambda: carrier().set_output(transform="pandas"),
        lambda explainer: explainer.group_delta(CARRIER[:2], groups=[[0, 1]]),
    ),
    "a lone member of a class": (
        "SeparableDeletionWarning",
        lone,
        lambda explainer: explainer.group_delta(X[:2, :1], groups=[[5, 6]]),
    ),
    "refits": (
        "SeparableDeletionWarning",
        lambda: LogisticRegression(C=np.inf, tol=1e-10),
        lambda model: refit_leave_one_out(model, X[:, :1], LONE, rows=[5]),
    ),
    "columns that only a refit has": (
        "PreprocessingDeletionWarning",
        lambda: make_pipeline(OneHotEncoder(max_categories=2), Ridge()),
        lambda model: refit_leave_one_out(model, THREE_LETTERS, Y, rows=[0, 15]),
    ),
    "a check by refits": (
        "SeparableDeletionWarning",
        lone,
        lambda explainer: check_leave_one_out(explainer, X[:, :1], LONE, rows=[5, 6]),
    ),
    "steps not trusted": (
        "NotConvergedWarning",
        hard,
        lambda explainer: explainer.loo_params(),
    ),
    "steps that nothing vouches for": (
        "DoubtfulDeletionWarning",
        lambda: hard("newton"),
        lambda explainer: explainer.loo_params(),
    ),
    "an active set": (
        "ActiveSetWarning",
        lambda: explained(ElasticNet(alpha=0.05), WIDE, WEAK),
        lambda explainer: explainer.loo_params(),
    ),
    "no flip": (
        "UnreachedFlipWarning",
        lambda: explained(Ridge()),
        lambda explainer: explainer.influential_set(1, k=1),
    ),
    "labels of frames in another order": (
        "DoubtfulInputWarning",
        lambda: (frames()[0], frames()[1][::-1]),
        lambda given: InfluenceExplainer(Ridge()).fit(*given),
    ),
    "the cleaner": (
        "UnidentifiedDeletionWarning",
        lambda: InfluenceCleaner(LinearRegression()),
        lambda cleaner: cleaner.fit(CARRIER, Y),
    ),
    "a search": (
        "UnidentifiedDeletionWarning",
        lambda: LeaveOneOutSearchCV(
            LinearRegression(), {"fit_intercept": [True, False]}
        ),
        lambda search: search.fit(CARRIER, Y),
    ),
    "folds": (
        "UnidentifiedDeletionWarning",
        lambda: LinearRegression(),
        lambda model: cross_val_influence(model, CARRIER, Y, cv=4),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_warning_points_at_the_line_of_the_call(name):
    if "frames" in name:
        pytest.importorskip("pandas")
    category, make, call = CALLS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ready = make()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(ready)
    ours = [w for w in caught if w.category is getattr(exceptions, category)]
    assert ours
    lines, first = inspect.getsourcelines(call)
    for warning in ours:
        assert warning.filename == __file__
        assert first <= warning.lineno < first + len(lines)


def test_every_warning_of_the_package_is_tried():
    tried = {category for category, _, _ in CALLS.values()}
    own = {
        name
        for name, kind in vars(exceptions).items()
        if isinstance(kind, type) and issubclass(kind, exceptions.SkinfluenceWarning)
    }
    assert tried == own - {"SkinfluenceWarning"}


def test_a_question_warns_once_however_many_blocks_it_reads(monkeypatch):
    explainer = carrier()
    monkeypatch.setattr("skinfluence._sources._sizes._MOST_ENTRIES", 20)
    with pytest.warns(
        exceptions.UnidentifiedDeletionWarning, match="Row 0 has"
    ) as record:
        explainer.loo_params()
    assert len(record) == 1


def test_a_question_that_fails_says_nothing_of_the_next():
    explainer = carrier()
    with pytest.raises(exceptions.UnidentifiedDeletionError, match="Row 0"):
        explainer.loo_params(rows=[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explainer.loo_params(rows=[1])


def test_a_script_is_shown_its_own_line(tmp_path):
    script = tmp_path / "audit.py"
    script.write_text(
        "import numpy as np\n"
        "from sklearn.linear_model import LinearRegression\n"
        "from skinfluence import InfluenceExplainer\n"
        "X = np.arange(8.0)[:, None] * [1.0, 1.0]\n"
        "InfluenceExplainer(LinearRegression()).fit(X, np.arange(8.0) ** 2)\n"
    )
    root = pathlib.Path(skinfluence.__file__).parents[1]
    run = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        cwd=root,
        env={"PYTHONPATH": str(root)},
    )
    assert run.returncode == 0, run.stderr
    assert f"{script}:5: RankDeficientWarning" in run.stderr
    assert ".fit(X, np.arange(8.0) ** 2)" in run.stderr


def test_no_module_warns_by_itself():
    """All warnings leave through the one door that knows the user's line."""
    root = pathlib.Path(skinfluence.__file__).parent
    for path in root.rglob("*.py"):
        if path.name == "_warn.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in ("warn", "warn_explicit") or not (
                    isinstance(node.func.value, ast.Name)
                    and node.func.value.id == "warnings"
                ), path


def test_long_lists_are_cut():
    assert listed([3, 5]) == "3, 5"
    assert listed(range(12)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
