"""Fuzzing of every public callable: wild arguments work, or are refused in words.

Each argument of each public function and method is replaced by each wild value (and, in
the long run, pairs of arguments by pairs of values). A call must return without a NaN
that nobody spoke of, or raise an error of the package; in either case it must leave its
arguments, and an object that fails to fit, as they were. ``make campaign`` runs this
file, which prints a table; ``tests/test_fuzz.py`` runs a part of it.
"""

import argparse
import copy
import datetime
import inspect
import os
import pickle
import sys
import tempfile
import textwrap
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skinfluence
from skinfluence import (
    InfluenceCleaner,
    InfluenceExplainer,
    InfluenceReport,
    LeaveOneOutSearchCV,
    check_leave_one_out,
    cross_val_influence,
    refit_leave_one_out,
    register_estimator,
    register_transformer,
)
from skinfluence.exceptions import SkinfluenceError, SkinfluenceWarning
from skinfluence.preprocessing import Rule
from skinfluence.preprocessing._registry import _RULES
from skinfluence.support._table import _TABLE

N, P = 14, 2
TABLE = Path(__file__).parents[2] / "docs" / "tables" / "fuzz.rst"
SLOW = 10.0  # seconds of work, after which a call of 14 rows counts as one that hangs


def _data(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, P))
    y = X @ [1.0, -2.0] + rng.normal(size=N)
    return X, y, (y > np.median(y)).astype(int)


X, Y, LABELS = _data()


# --- wild values ---


def _masked() -> Any:
    mask = np.zeros((N, P), dtype=bool)
    mask[2, 1] = True
    return np.ma.MaskedArray(X.copy(), mask)


def _with(value: Any, shape: tuple[int, ...] = (N, P)) -> Any:
    values = np.linspace(1.0, 2.0, int(np.prod(shape))).reshape(shape)
    values[1] = value
    return values


def _frames() -> dict[str, Callable[[], Any]]:
    try:
        import pandas as pd
    except ImportError:
        return {}
    backwards = np.arange(N)[::-1]
    return {
        "frame": lambda: pd.DataFrame(X, columns=["a", "b"]),
        "frame of an odd index": lambda: pd.DataFrame(X, index=[3] * N),
        "frame with a missing entry": lambda: pd.DataFrame(_with(np.nan)),
        "frame of texts": lambda: pd.DataFrame({"a": ["u", None] * 7, "b": "v"}),
        "frame of dates": lambda: pd.DataFrame({"a": [pd.Timestamp(0)] * N}),
        "empty frame": pd.DataFrame,
        "series": lambda: pd.Series(Y, index=backwards),
        "series of categories": lambda: pd.Series(LABELS).astype("category"),
        "series with NA": lambda: pd.Series([1, None] * 7, dtype="Int64"),
    }


WILD: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "0": lambda: 0,
    "-1": lambda: -1,
    "3": lambda: 3,
    "10**30": lambda: 10**30,
    "2.5": lambda: 2.5,
    "NaN": lambda: np.nan,
    "infinity": lambda: np.inf,
    "1e-320": lambda: 1e-320,
    "1j": lambda: 1j,
    "fraction": lambda: Fraction(1, 3),
    "empty text": lambda: "",
    "text": lambda: "words",
    "bytes": lambda: b"bytes",
    "date": lambda: datetime.date(2020, 1, 1),
    "empty list": list,
    "empty dict": dict,
    "dict": lambda: {"a": 1},
    "set": lambda: {1, 2},
    "range": lambda: range(N),
    "ragged list": lambda: [[1.0], [1.0, 2.0]] * 7,
    "list of None": lambda: [None] * N,
    "object": object,
    "type": lambda: int,
    "ellipsis": lambda: ...,
    "generator": lambda: (i for i in range(N)),
    "function": lambda: len,
    "model": Ridge,
    "class of a model": lambda: LogisticRegression,
    "unfitted explainer": lambda: InfluenceExplainer(Ridge()),
    "scalar array": lambda: np.array(1.5),
    "empty array": lambda: np.empty(0),
    "no rows": lambda: np.empty((0, P)),
    "no columns": lambda: np.empty((N, 0)),
    "rows": lambda: X.copy(),
    "fewer rows": lambda: X[:-1].copy(),
    "more columns": lambda: np.c_[X, X],
    "three axes": lambda: X[None].copy(),
    "vector": lambda: Y.copy(),
    "short vector": lambda: Y[:-1].copy(),
    "column": lambda: Y[:, None].copy(),
    "negative vector": lambda: -np.abs(Y),
    "zeros": lambda: np.zeros(N),
    "vector with NaN": lambda: _with(np.nan, (N,)),
    "vector with infinity": lambda: _with(np.inf, (N,)),
    "vector of 1e308": lambda: np.full(N, 1e308),
    "vector of 1e-320": lambda: np.full(N, 1e-320),
    "labels": lambda: LABELS.copy(),
    "texts": lambda: np.array(["a", "b"] * 7),
    "truths": lambda: LABELS.astype(bool),
    "complex vector": lambda: Y + 1j,
    "dates": lambda: np.arange(N).astype("datetime64[D]"),
    "durations": lambda: np.arange(N).astype("timedelta64[s]"),
    "huge integers": lambda: np.full(N, 2**64 - 1, dtype=np.uint64),
    "integers beyond 64 bits": lambda: np.array([2**70] * N, dtype=object),
    "objects": lambda: np.array([None, "a"] * 7, dtype=object),
    "row numbers out of range": lambda: np.array([0, 99]),
    "negative row numbers": lambda: np.array([-1, -99]),
    "rows with NaN": lambda: _with(np.nan),
    "rows with infinity": lambda: _with(-np.inf),
    "rows of 1e308": lambda: np.full((N, P), 1e308),
    "constant rows": lambda: np.ones((N, P)),
    "complex rows": lambda: X + 1j,
    "rows of texts": lambda: np.full((N, P), "a"),
    "rows of objects": lambda: np.full((N, P), None, dtype=object),
    "rows of dates": lambda: np.zeros((N, P), "datetime64[s]"),
    "half precision": lambda: X.astype(np.float16),
    "long double": lambda: X.astype(np.longdouble),
    "records": lambda: np.zeros(N, dtype=[("a", float), ("b", int)]),
    "masked rows": _masked,
    "matrix": lambda: np.matrix(X),
    "sparse rows": lambda: sparse.csr_matrix(X),
    "sparse columns": lambda: sparse.csc_array(X),
    "sparse coordinates": lambda: sparse.coo_array(X),
    "sparse rows with NaN": lambda: sparse.csr_array(_with(np.nan)),
    "sparse vector": lambda: sparse.csr_array(Y[:, None]),
    **_frames(),
}
# Numbers of processes that no machine has are started all the same.
UNTRIED = {"n_jobs": {"3", "10**30", "-1", "2.5", "True", "fraction"}}
# The user's own functions fail in their own words.
_CALLABLE = {"function", "type", "model", "class of a model", "unfitted explainer"}
_OWN = ("criterion", "scoring", "refit", "weight", "held", "refusal", "targets", "loss")
UNTRIED |= {name: _CALLABLE for name in (*_OWN, "strength", "l1", "intercept_strength")}


# --- calls ---


@dataclass(frozen=True)
class Call:
    """A public callable, good arguments for it, and the names of all it takes."""

    name: str
    function: Callable[..., Any]
    good: dict[str, Any]
    names: tuple[str, ...]


class HalfFitted(Exception):
    """A failed fit has changed the object."""


def _named(name: str, function: Callable[..., Any], good: dict[str, Any]) -> Call:
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return Call(
        name, function, good, tuple(p.name for p in parameters if p.kind not in kinds)
    )


def _fitted(
    cls: type,
    of_class: dict[str, Any],
    of_fit: dict[str, Any],
    ask: Callable[[Any, Any], Any],
    name: str = "",
) -> Call:
    """A constructor, its fit, and a question: errors may come at any of them."""
    names = list(inspect.signature(cls).parameters)
    fit_names = [name for name in inspect.signature(cls.fit).parameters][1:]

    def run(**given: Any) -> Any:
        made = cls(**{key: value for key, value in given.items() if key in names})
        fit = {key: value for key, value in given.items() if key not in names}
        before = {key: id(value) for key, value in vars(made).items()}
        try:
            made.fit(**fit)
        except Exception:
            if before != {key: id(value) for key, value in vars(made).items()}:
                raise HalfFitted from None
            raise
        return ask(made, fit["X"])

    every = [key for key in (*names, *fit_names) if key != "params"]
    return Call(name or cls.__name__, run, {**of_class, **of_fit}, tuple(every))


NO_QUESTIONS = {
    "fit",
    "fit_transform",
    "get_metadata_routing",
    "get_params",
    "set_fit_request",
    "set_output",
    "set_params",
    "set_score_request",
    "set_transform_request",
}


def _methods(model: Any, y: Any) -> Iterator[Call]:
    """Every public method of a fitted explainer, with arguments that are good."""
    explainer = InfluenceExplainer(clone(model)).fit(X, y)
    good = {"X": X[:4], "y": y[:4], "rows": [0, 3], "target": 0}
    own: dict[str, dict[str, Any]] = {
        "top_influences": {"k": 3},
        "cv_predict": {"cv": 3},
        "group_influence": {"groups": LABELS},
        "group_delta": {"groups": LABELS},
        "influential_set": {"k": 2, "direction": "increase"},
    }
    for name, method in inspect.getmembers(explainer, callable):
        if name.startswith("_") or name in NO_QUESTIONS:
            continue
        names = inspect.signature(method).parameters
        given = {key: value for key, value in good.items() if key in names}
        given |= own.get(name, {})
        yield _named(f"{type(model).__name__}: {name}", method, given)


def _displays(explainer: Any) -> Iterator[Call]:
    good = {"explainer": explainer, "X": X[:4], "y": Y[:4]}
    for name in skinfluence.__all__:
        make = getattr(getattr(skinfluence, name), "from_explainer", None)
        if make is None:
            continue
        names = inspect.signature(make).parameters
        given = {key: value for key, value in good.items() if key in names}
        if name == "LeaveOneOutDisplay":
            given |= {"X": X, "y": Y, "rows": [0, 3]}
        yield _named(f"{name}.from_explainer", make, given)
        yield _named(f"{name}.plot", make(**given).plot, {})


def _registered(
    estimator: Any,
    loss: Any,
    targets: Any = None,
    strength: Any = 0.0,
    l1: Any = 0.0,
    intercept_strength: Any = 0.0,
    mean_form: Any = False,
    weight: Any = None,
    held: Any = None,
    refusal: Any = None,
) -> Any:
    """Register a model, explain one, and forget it again."""
    before = dict(_TABLE)
    try:
        given = {key: value for key, value in locals().items() if key != "before"}
        model = register_estimator(**given)
        if model is Mine:
            return InfluenceExplainer(model()).fit(X, Y).self_influence()
        return None
    finally:
        _TABLE.clear()
        _TABLE.update(before)


class Mine(Ridge):
    """A model of the user's own."""


class Scaled(StandardScaler):
    """A transformer of the user's own."""


def _transforming(transformer: Any, rule: Any) -> Any:
    """Register a transformer, explain a pipeline with it, and forget it again."""
    before = dict(_RULES)
    try:
        if register_transformer(transformer, rule) is Scaled:
            pipeline = make_pipeline(Scaled(), Ridge())
            return InfluenceExplainer(pipeline).fit(X, Y).self_influence()
        return None
    finally:
        _RULES.clear()
        _RULES.update(before)


def _predicted(made: Any, X: Any) -> Any:
    return made.predict(X)


def calls() -> list[Call]:
    """Every public name, and every method of a fitted explainer."""
    numbers, classes = {"X": X, "y": Y}, {"X": X, "y": LABELS}
    explainer = InfluenceExplainer(Ridge()).fit(X, Y)
    grid = {"estimator": Ridge(), "param_grid": {"alpha": [0.1, 1.0]}}
    softened = {"estimator": LogisticRegression(), "action": "downweight"}
    return [
        _fitted(
            InfluenceExplainer,
            {"estimator": Ridge()},
            numbers,
            lambda made, X: made.loo_params(),
        ),
        _fitted(
            InfluenceExplainer,
            {"estimator": LogisticRegression()},
            classes,
            lambda made, X: made.self_influence(),
            "InfluenceExplainer, classes",
        ),
        _fitted(
            InfluenceCleaner, {"estimator": LinearRegression()}, numbers, _predicted
        ),
        _fitted(
            InfluenceCleaner, softened, classes, _predicted, "InfluenceCleaner, classes"
        ),
        _fitted(LeaveOneOutSearchCV, grid, numbers, _predicted),
        _named(
            "cross_val_influence",
            cross_val_influence,
            {"estimator": Ridge(), "cv": 3, **numbers},
        ),
        _named(
            "check_leave_one_out",
            check_leave_one_out,
            {"explainer": explainer, "rows": [0, 3], **numbers},
        ),
        _named(
            "refit_leave_one_out",
            refit_leave_one_out,
            {"estimator": Ridge(), "rows": [0, 3], **numbers},
        ),
        _named(
            "register_estimator",
            _registered,
            {"estimator": Mine, "loss": "squared_error"},
        ),
        _named(
            "register_transformer",
            _transforming,
            {"transformer": Scaled, "rule": lambda scaler: Rule()},
        ),
        _named(
            "InfluenceReport",
            lambda explainer, X_test=None, y_test=None, **options: InfluenceReport(
                explainer, X_test, y_test, **options
            ).to_dict(),
            {
                "explainer": explainer,
                "X_test": X[:4],
                "y_test": Y[:4],
                "figures": False,
            },
        ),
        *_methods(Ridge(), Y),
        *_methods(LogisticRegression(), LABELS),
        *_displays(explainer),
    ]


# --- the verdict about a call ---


@dataclass(frozen=True)
class Trial:
    """A call with some arguments replaced by wild values, by their names."""

    call: Call
    wild: dict[str, str]

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value}" for name, value in self.wild.items())
        return f"{self.call.name}({given})"

    def verdict(self) -> tuple[str, str]:
        """ "works" or "refused", or what is wrong, and the words about it."""
        given = copy.deepcopy(self.call.good)
        if "explainer" in given:  # asked, not changed: as good as a copy
            given["explainer"] = self.call.good["explainer"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # np.matrix is not recommended
            given |= {name: WILD[value]() for name, value in self.wild.items()}
        before = {name: _digest(value) for name, value in given.items()}
        start = time.process_time()  # other programs may hold the processor
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                answer = self.call.function(**given)
            except HalfFitted:
                return "half-fitted", ""
            except Exception as error:
                kind, text = _judged(error)
            else:
                kind, text = "works", ""
                said = any(isinstance(w.message, SkinfluenceWarning) for w in caught)
                if not said and _has_nan(answer):
                    kind = "silent NaN"
        if before != {name: _digest(value) for name, value in given.items()}:
            return "changes its arguments", text
        if time.process_time() - start > SLOW:
            return "slow", f"{time.process_time() - start:.0f} s"
        return kind, text


def _judged(error: Exception) -> tuple[str, str]:
    """Whether an error is one in the words of the package."""
    text = f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
    if isinstance(error, (SkinfluenceError, NotFittedError)) and str(error):
        return "refused", text
    if isinstance(error, TypeError) and "argument" in text and "fuzz" in place:
        return "refused", text  # by Python: the function has no such argument
    own = [frame for frame in frames if "skinfluence/" in frame.filename]
    if own and own[-1].filename.endswith("_delegation.py"):
        if isinstance(error, (TypeError, ValueError)):  # of the estimator itself
            return "refused", text
    if own:
        place = (
            f"{own[-1].filename.split('skinfluence/')[-1]}:{own[-1].lineno}, {place}"
        )
    return "bare error", f"{text[:160]} ({place})"


def _digest(value: Any) -> Any:
    """Something that differs where the value has changed."""
    if isinstance(value, InfluenceExplainer):  # fitted ones keep what they were asked
        return repr(value.get_params())
    if sparse.issparse(value):
        return value.toarray().tobytes()
    if isinstance(value, np.ndarray) and value.dtype != object:
        mask = np.ma.getmaskarray(value).tobytes() if np.ma.isMA(value) else b""
        return value.dtype.str, value.shape, np.asarray(value).tobytes(), mask
    if hasattr(value, "to_dict"):
        return repr(value.to_dict())
    try:
        return pickle.dumps(value)
    except Exception:  # generators and the like have nothing that could change
        return id(value)


def _has_nan(answer: Any) -> bool:
    if isinstance(answer, dict):
        return any(_has_nan(value) for value in answer.values())
    if isinstance(answer, (list, tuple)):
        return any(_has_nan(value) for value in answer)
    if hasattr(answer, "to_numpy"):
        answer = answer.to_numpy()
    if isinstance(answer, (float, np.ndarray, np.floating)):
        array = np.asarray(answer)
        return array.dtype.kind == "f" and bool(np.isnan(array).any())
    return False


# --- campaigns ---


def single_trials(made: list[Call]) -> list[Trial]:
    """Each argument of each callable replaced by each wild value."""
    return [
        Trial(call, {name: value})
        for call in made
        for name in call.names
        for value in WILD
        if value not in UNTRIED.get(name, ())
    ]


def random_trials(made: list[Call], n: int, seed: int) -> Iterator[Trial]:
    """Two or three arguments at a time."""
    random = np.random.default_rng(seed)
    several = [call for call in made if len(call.names) > 1]
    for _ in range(n):
        call = several[random.integers(len(several))]
        size = min(int(random.integers(2, 4)), len(call.names))
        names = random.choice(call.names, size, replace=False)
        values = [str(random.choice(list(WILD))) for _ in names]
        wild = {
            str(name): value
            for name, value in zip(names, values, strict=True)
            if value not in UNTRIED.get(name, ())
        }
        yield Trial(call, wild)


@dataclass
class Tally:
    """Verdicts by the name of the callable, and the faults in words."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add(self, trial: Trial) -> None:
        """Run a trial and note its verdict."""
        kind, text = trial.verdict()
        self.counts.setdefault(trial.call.name, Counter())[kind] += 1
        if kind not in ("works", "refused"):
            self.faults.append(f"{trial}: {kind}. {text}")

    def __str__(self) -> str:
        lines = [f"{'callable':<42}{'calls':>7}{'work':>7}{'refused':>9}{'faults':>8}"]
        rows = dict(self.counts)
        rows["all"] = sum(self.counts.values(), Counter())
        for name, counts in rows.items():
            total, works, refused = counts.total(), counts["works"], counts["refused"]
            faults = total - works - refused
            lines.append(f"{name:<42}{total:>7}{works:>7}{refused:>9}{faults:>8}")
        return "\n".join(lines)


def run(trials: Iterator[Trial] | list[Trial]) -> Tally:
    """Run trials in an empty folder, as some write files."""
    tally, here = Tally(), Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for k, trial in enumerate(trials):
                tally.add(trial)
                if "matplotlib.pyplot" in sys.modules and k % 50 == 0:
                    sys.modules["matplotlib.pyplot"].close("all")
        finally:
            os.chdir(here)
    return tally


def main() -> int:
    """Every argument by every value, then random pairs and triples of arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--random", type=int, default=20_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="NAME")
    parser.add_argument("--every", type=int, default=1, metavar="K")
    parser.add_argument("--output", type=Path, default=TABLE)
    options = parser.parse_args()
    made = [call for call in calls() if options.only in call.name]
    start = time.perf_counter()
    single = single_trials(made)[options.seed % options.every :: options.every]
    tally = run([*single, *random_trials(made, options.random, options.seed)])
    print(tally)
    minutes = (time.perf_counter() - start) / 60
    said = (
        f"On {datetime.date.today()}: one in {options.every} single changes of an "
        f"argument and {options.random} random ones, in {minutes:.0f} minutes. ::"
    )
    options.output.parent.mkdir(exist_ok=True)
    shown = textwrap.indent(str(tally), "    ")
    options.output.write_text(f"{said}\n\n{shown}\n", encoding="utf-8")
    by_place: dict[str, list[str]] = {}
    for fault in tally.faults:
        by_place.setdefault(fault.rpartition("(")[2], []).append(fault)
    for place, faults in by_place.items():
        print(f"{len(faults)} at {place.rstrip(')')}, such as")
        print("\n".join(f"    {fault[:300]}" for fault in faults[:3]))
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
