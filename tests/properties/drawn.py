"""Problems that hypothesis draws, explainers of them, and how answers are compared.

What is drawn is the structure: shapes, what each column is, weights, scales and the
strength of the penalty. The numbers themselves come from a seeded generator, so an
example that fails is rebuilt from its printed line.
"""

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest

pytest.importorskip("hypothesis")

from hypothesis import strategies as st
from kinds import BY_NAME, KINDS
from tally import Refused

from skinfluence import InfluenceExplainer
from skinfluence._array import to_numpy
from skinfluence.exceptions import (
    NotConvergedWarning,
    SkinfluenceError,
    SkinfluenceWarning,
)

M = 4  # test rows
EPS = float(np.finfo(float).eps)

# Relative errors where the curvature feels each digit of the minimum: of losses that are
# not quadratic, and of those with a wild row the least that would have to be flagged.
CURVED, WILD = 1e-5, 1e-2

# What a column may be, before it is scaled.
PLAIN, CONSTANT, COPY, NEARLY, INDICATOR, SHIFTED, INTEGERS = COLUMNS = (
    "plain",
    "constant",
    "copy",
    "nearly a copy",
    "indicator",
    "shifted",
    "integers",
)
NO_WEIGHTS, EVEN, UNEVEN, ZEROS, EXTREME = WEIGHTS = (
    "none",
    "even",
    "uneven",
    "with zeros",
    "from 1e-12 to 1e12",
)


@dataclass(frozen=True)
class Drawn:
    """A model and its data; two that print the same are the same."""

    name: str  # of its kind
    n: int
    p: int
    seed: int = 0
    columns: tuple[str, ...] = ()
    scales: tuple[int, ...] = ()  # exponents of two, one per column
    scale_of_y: int = 0  # the same, of a regressor's targets
    wild: tuple[int, int] | None = None  # a row, and the power of ten of its typo
    weights: str = NO_WEIGHTS
    log_strength: float = 0.0  # of ten
    intercept: bool = True

    @property
    def kind(self):
        return BY_NAME[self.name]

    @property
    def strength(self):
        return 10.0**self.log_strength

    @property
    def estimator(self):
        return self.kind.make(self.strength, self.intercept)

    @cached_property
    def _plain(self):
        return np.random.default_rng(self.seed).normal(size=(self.n + M, self.p))

    @cached_property
    def _unscaled(self):
        rng = np.random.default_rng(self.seed + 1)
        X = self._plain.copy()
        for j, column in enumerate(self.columns):
            if column == CONSTANT:
                X[:, j] = 3.0
            elif column == COPY:
                X[:, j] = X[:, 0]
            elif column == NEARLY:
                X[:, j] = X[:, 0] + 1e-4 * rng.normal(size=len(X))
            elif column == INDICATOR:
                X[:, j] = rng.uniform(size=len(X)) < 0.2
            elif column == SHIFTED:
                X[:, j] += 1e4
            elif column == INTEGERS:
                X[:, j] = np.round(2 * X[:, j])
        return X

    @cached_property
    def _rows(self):
        """Training rows, and test rows behind them."""
        X = self._unscaled * 2.0 ** np.array(self.scales or (0,) * self.p)
        if self.wild is not None:
            row, power = self.wild
            X[row % self.n, 0] *= 10.0**power
        return X

    @property
    def X(self):
        return self._rows[: self.n]

    @property
    def X_test(self):
        return self._rows[self.n :]

    @cached_property
    def y(self):
        rng = np.random.default_rng(self.seed + 2)
        y = self.kind.targets(rng, self._plain[: self.n].sum(axis=1) / self.p**0.5)
        return y if y.dtype.kind == "U" else y * 2.0**self.scale_of_y

    @cached_property
    def weight(self):
        """Sample weights; None without."""
        rng = np.random.default_rng(self.seed + 3)
        if self.weights == NO_WEIGHTS:
            return None
        if self.weights == EVEN:
            return np.full(self.n, 2.5)
        weight = rng.uniform(0.3, 3.0, self.n)
        if self.weights == ZEROS:
            weight[rng.permutation(self.n)[: self.n // 4]] = 0.0
        if self.weights == EXTREME:
            weight = 10.0 ** rng.uniform(-12, 12, self.n)
        return weight

    def weight_of_rows(self):
        """Sample weights, ones where there are none."""
        return np.ones(self.n) if self.weight is None else self.weight


@st.composite
def problems(
    draw, kinds=KINDS, *, most_rows=24, plain=False, weights=WEIGHTS, strengths=None
):
    """Problems of some kinds; ``plain`` ones have standard normal columns.

    ``strengths`` are powers of ten, from the lowest to the highest.
    """
    kind = draw(st.sampled_from(kinds))
    rough = kind.wild and not plain
    fewest = 4 * kind.n_classes if kind.n_classes else (2 if rough else 8)
    n = draw(st.integers(fewest, max(most_rows, fewest)))
    p = draw(st.integers(1, 5 if kind.penalised else 3))
    columns, scales, scale_of_y, typo = (PLAIN,) * p, (0,) * p, 0, None
    if rough:
        columns = (PLAIN, *draw(st.tuples(*[st.sampled_from(COLUMNS)] * (p - 1))))
        scales = draw(
            st.one_of(st.just(scales), st.tuples(*[st.integers(-26, 26)] * p))
        )
        typos = st.tuples(st.integers(0, n - 1), st.integers(1, 8))
        typo = draw(st.one_of(st.none(), typos))
        if kind.targets.__name__ in ("numbers", "two_numbers"):
            scale_of_y = draw(st.one_of(st.just(0), st.integers(-26, 26)))
    weights = [w for w in weights if kind.weighs or w == NO_WEIGHTS]
    strengths = strengths or ((-8, 6) if rough else (-3, 1))
    return Drawn(
        kind.name,
        n,
        p,
        draw(st.integers(0, 2**16)),
        columns,
        scales,
        scale_of_y,
        typo,
        draw(
            st.sampled_from(weights if rough else [w for w in weights if w != EXTREME])
        ),
        draw(st.integers(*strengths)),
        draw(st.booleans()),
    )


# --- fits and answers ---


def explained(
    problem, X=None, y=None, weight=None, model=None, fitted=False, **options
):
    """The fitted explainer of a problem; of other rows or another model where given.

    Raises ``Refused`` where the library refuses in words or says that its fit has not
    converged: then it is not silently wrong.
    """
    X = problem.X if X is None else X
    y = problem.y if y is None else y
    weight = problem.weight if weight is None else weight
    params = {} if weight is None else {"sample_weight": weight}
    model = problem.estimator if model is None else model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not fitted:
            try:
                # A copy: LassoCV without an intercept scales the X of Fortran order.
                model.fit(X.copy(), y, **params)
            except (ValueError, np.linalg.LinAlgError) as error:
                raise Refused("scikit-learn does not fit it") from error
        warnings.simplefilter("error", NotConvergedWarning)
        try:
            return InfluenceExplainer(model, **options).fit(X, y, **params)
        except (SkinfluenceError, NotConvergedWarning) as error:
            raise Refused(type(error).__name__) from error


def answer(ask, *args, **kwargs):
    """What a method answers, and the categories of its warnings."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            values = ask(*args, **kwargs)
        except SkinfluenceError as error:
            raise Refused(type(error).__name__) from error
    said = {each.category for each in told}
    assert all(issubclass(category, SkinfluenceWarning) for category in said), [
        str(each.message) for each in told
    ]
    return values, said


@dataclass(frozen=True)
class Moves:
    """Changes of the outputs at test rows, and what their rounding is measured by."""

    values: np.ndarray  # (n, outputs)
    size: np.ndarray  # (n, outputs): the same sums of absolute values

    def of(self, rows):
        return Moves(self.values[rows], self.size[rows])


def moves(params, X_test):
    """Changes of parameters as changes of the outputs, free of units."""
    p = X_test.shape[1]
    coef = to_numpy(params["coef"])
    coef = coef.reshape(len(coef), -1, p)  # (n, K, p)
    intercept = to_numpy(params["intercept"]).reshape(len(coef), -1)[:, :, None]
    intercept = np.broadcast_to(intercept, (*coef.shape[:2], 1))
    values = coef @ X_test.T + intercept  # (n, K, m)
    size = np.abs(coef) @ np.abs(X_test.T) + np.abs(intercept)
    return Moves(values.reshape(len(coef), -1), size.reshape(len(coef), -1))


def assert_same(found, truth, explainers, problem, rtol=1e-7):
    """Two answers agree, row by row, within the rounding that the problem allows.

    That is ``rtol`` of a row's largest change; rounding times the condition number of
    the curvature, of that change; and rounding of the outputs themselves, times its root.
    """
    lost = np.isnan(truth.values)
    condition = max(explainer.condition_ for explainer in explainers)
    curved = not explainers[0]._study.objective.loss.quadratic
    if curved:
        rtol = max(rtol, WILD if problem.wild else CURVED)
    gone = np.isnan(found.values)
    if curved and problem.wild:  # one of them may have been refused in words
        gone = lost = lost | gone
    np.testing.assert_array_equal(gone, lost)
    relative = rtol + 64 * EPS * condition
    largest = np.max(np.where(lost, 0.0, np.abs(truth.values)), axis=1, keepdims=True)
    rounding = 1e4 * EPS * condition**0.5 * size_of_outputs(explainers[0], problem)
    allowed = relative * largest + 1e3 * EPS * (truth.size + found.size) + rounding
    wrong = ~lost & (np.abs(found.values - truth.values) > allowed)
    if np.any(wrong):
        row = int(np.argmax(np.any(wrong, axis=1)))
        raise AssertionError(
            f"row {row}: {found.values[row]} and {truth.values[row]}, allowed "
            f"{allowed[row]}; condition {condition:.1e}"
        )


def size_of_outputs(explainer, problem):
    """The largest output at a test row, no term cancelled."""
    study = explainer._study
    params = study.parameters(study.point.theta[None, ...])
    params = {name: to_numpy(values) for name, values in params.items()}
    return moves(params, problem.X_test).size.max()
