"""Objectives made by hand from arrays of any namespace: for the layers below the table."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from reference import Problem
from scipy import sparse

from skinfluence._design import Design
from skinfluence._layout import Layout
from skinfluence._objective import Objective
from skinfluence._penalty import Penalty
from skinfluence._sources import source_of
from skinfluence.losses import (
    HalfBinomialLoss,
    HalfMultinomialLoss,
    HalfSquaredError,
)

N, P, M = 50, 4, 6


@dataclass(frozen=True)
class Setting:
    """A loss with its penalty: one strength per output, free intercepts if any."""

    loss: Any
    strength: tuple[float, ...]
    intercept: bool = True
    mean_form: bool = False
    held: tuple[int, ...] = ()  # features whose entry in the first output stays at 0

    @property
    def n_outputs(self):
        return len(self.strength)


SETTINGS = {
    "binary": Setting(HalfBinomialLoss(), (0.7,)),
    "binary, no intercept": Setting(HalfBinomialLoss(), (0.7,), intercept=False),
    "binary, no penalty": Setting(HalfBinomialLoss(), (0.0,)),
    "binary, mean form": Setting(HalfBinomialLoss(), (0.7,), mean_form=True),
    "softmax": Setting(HalfMultinomialLoss(), (0.5, 0.5, 0.5)),
    "softmax, no penalty": Setting(HalfMultinomialLoss(), (0.0, 0.0, 0.0)),
    "softmax, mean form": Setting(HalfMultinomialLoss(), (0.5,) * 3, mean_form=True),
    "one target": Setting(HalfSquaredError(), (2.0,)),
    "two targets alike": Setting(HalfSquaredError(), (2.0, 2.0)),
    "two targets": Setting(HalfSquaredError(), (0.3, 8.0)),
    "two targets, held": Setting(HalfSquaredError(), (2.0, 2.0), held=(1, 2)),
}


@cache
def rows(n_outputs, classes):
    """X, targets and weights in NumPy, training rows before the M test rows."""
    rng = np.random.default_rng(n_outputs)
    X = rng.normal(size=(N + M, P)) @ rng.normal(size=(P, P)) + rng.normal(size=P)
    u = (X - X.mean(axis=0)) @ rng.normal(size=(P, n_outputs))
    if not classes:
        y = u + rng.normal(size=u.shape)
    elif n_outputs == 1:
        y = (u + 2 * rng.logistic(size=u.shape) > 0).astype(float)
    else:
        best = np.argmax(u + 2 * rng.gumbel(size=u.shape), axis=1)
        y = (best[:, None] == np.arange(n_outputs)).astype(float)
    weight = rng.uniform(0.5, 2.0, N)
    weight[3] = 0.0
    theta = rng.normal(size=(n_outputs, P + 1)) * 0.3
    return X, y, weight, theta


def build(setting, xp=np, store=lambda X: X, device=None):
    """The objective, some theta (not its minimum), and test rows with their targets."""

    def asarray(values):
        return (
            xp.asarray(values) if device is None else xp.asarray(values, device=device)
        )

    classes = not isinstance(setting.loss, HalfSquaredError)
    X, y, weight, B = rows(setting.n_outputs, classes)
    weight = asarray(weight)
    design = Design(source_of(store(asarray(X[:N]))), asarray(np.zeros(P)), True)
    if setting.intercept:
        design = design.centred_by(weight)
    else:
        design = Design(design.source, design.centre, False)
    groups = setting.loss.n_groups(setting.n_outputs)
    layout = Layout(design.width, groups, setting.n_outputs // groups)
    table = np.repeat(np.array(setting.strength)[:, None], design.width, axis=1)
    free = np.ones_like(table, dtype=bool)
    free[0, list(setting.held)] = False
    if setting.intercept:
        table[:, -1] = 0.0
    B = np.where(free, B[:, : design.width], 0.0)
    strength = layout.pack(asarray(table.T))
    if len(set(setting.strength)) == 1:
        strength = strength[:1, :]
    total = float(xp.sum(weight))
    objective = Objective(
        setting.loss,
        design,
        asarray(y[:N]),
        weight,
        Penalty(strength, share=1 / total if setting.mean_form else 0.0),
        layout,
        layout.pack(asarray(free.T)) if setting.held else None,
    )
    test = design.of(asarray(X[N:])), asarray(y[N:])
    return objective, layout.pack(asarray(B.T)), test


def judged(setting):
    """The same objective by the judge, in working coordinates, and theta (K, q)."""
    objective, theta, _ = build(setting)
    block = objective.design.block(slice(None))
    ridge = np.broadcast_to(objective.penalty.strength, theta.shape)
    B = theta.reshape(setting.n_outputs, -1)
    name = {
        HalfSquaredError: "squared",
        HalfBinomialLoss: "binomial",
        HalfMultinomialLoss: "multinomial",
    }[type(setting.loss)]
    problem = Problem(
        block,
        objective.targets,
        objective.weight,
        name,
        ridge.reshape(B.shape),
        intercept=False,  # its column stands in the block
    )
    return problem, B


STORES = {
    "C order": np.ascontiguousarray,
    "Fortran order": np.asfortranarray,
    "CSR": sparse.csr_array,
    "CSC": sparse.csc_array,
    "CSR matrix": sparse.csr_matrix,
}


def is_of(array, xp):
    """Whether an array lives in a namespace."""
    return array_namespace(array).__name__ == array_namespace(xp.zeros(1)).__name__
