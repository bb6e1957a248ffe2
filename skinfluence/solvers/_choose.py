"""Which solver: one table, from sizes and memory."""

from collections.abc import Callable
from typing import Any, NamedTuple

from skinfluence._array import array_namespace
from skinfluence._objective import Objective
from skinfluence.solvers._base import AbstractSolver
from skinfluence.solvers._cholesky import Cholesky
from skinfluence.solvers._conjugate_gradient import ConjugateGradient
from skinfluence.solvers._lissa import Lissa
from skinfluence.solvers._woodbury import Dual

# Solvers by the name that a user gives, made with a random state.
_BY_NAME: dict[str, Callable[[Any], AbstractSolver]] = {
    "direct": lambda seed: Cholesky(),
    "dual": lambda seed: Dual(),
    "cg": lambda seed: ConjugateGradient(),
    "lissa": lambda seed: Lissa(random_state=seed),
}
SOLVERS = ("auto", *_BY_NAME)

# A factor, and what is needed to make it, may take this many bytes.
_MEMORY = 2**31
# Unpenalised entries per group that may border the dual: intercepts, and a few more.
_MOST_BORDER = 64


class Sizes(NamedTuple):
    """What the choice depends on."""

    rows: int  # n Kb of one group of coupled outputs
    entries: int  # D of one group
    factors: int  # groups that need a factor of their own
    unpenalised: int  # entries of a group that move and have no penalty

    @property
    def direct_bytes(self) -> int:
        """H, its equilibrated copy, a factor and its inverse."""
        return 4 * 8 * self.factors * self.entries**2

    @property
    def dual_bytes(self) -> int:
        """The matrix of the rows, which its factor replaces, and a copy."""
        return 2 * 8 * self.factors * self.rows**2

    @property
    def has_dual(self) -> bool:
        """Whether the rows are fewer than the columns, and the columns penalised."""
        bordered = self.unpenalised <= min(_MOST_BORDER, self.rows)
        return self.rows < self.entries and bordered


class Rule(NamedTuple):
    """A row of the table."""

    solver: str
    suits: Callable[[Sizes], bool]


# The first rule that suits is used.
TABLE = (
    # Fewer rows than columns: factor the matrix of the rows.
    Rule("dual", lambda s: s.has_dual and s.dual_bytes <= _MEMORY),
    # The Hessian and its factor fit in memory: every solve is exact and cheap.
    Rule("direct", lambda s: s.direct_bytes <= _MEMORY),
    # Only products with the Hessian fit in memory.
    Rule("cg", lambda s: True),
)


def sizes_of(objective: Objective) -> Sizes:
    """The sizes of an objective."""
    layout, strength = objective.layout, objective.penalty.strength
    xp = array_namespace(strength)
    bordering = strength == 0
    if objective.free is not None:
        bordering = bordering & objective.free
    unpenalised = int(xp.max(xp.sum(xp.astype(bordering, xp.int64), axis=1)))
    alike = objective.loss.quadratic and strength.shape[0] == 1
    factors = 1 if alike else layout.n_groups
    return Sizes(
        objective.n_rows * layout.group_size, layout.size, factors, unpenalised
    )


def solver_for(
    name: str, objective: Objective, *, random_state: Any = None
) -> AbstractSolver:
    """The solver of this name, or for "auto" the one that the table gives."""
    if name == "auto":
        sizes = sizes_of(objective)
        name = next(rule.solver for rule in TABLE if rule.suits(sizes))
    return _BY_NAME[name](random_state)
