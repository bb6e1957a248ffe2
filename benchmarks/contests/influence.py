"""Influence of every training row of a logistic regression: on test rows, and on itself.

The definition is Koh & Liang (2017), equations 1 and 2, with the Hessian of the average
training loss, whose penalty leaves the intercept free, as scikit-learn's does.
"""

from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from contests._contest import Contest, Contestant, relative_error
from contests._logistic import at_minimum, binary_rows, ridge_of, theta_of, with_ones
from skinfluence import InfluenceExplainer

PENALISED = (
    "pyDVL and captum add a constant to the whole diagonal of the Hessian, so they cannot "
    "leave the intercept unpenalised. In brackets: the error against that definition."
)


def problem(n: int, p: int, m: int) -> dict[str, Any]:
    """Training and test rows, and two fits: at the minimum, and as by default."""
    X, y = binary_rows(n, p)
    X_test, y_test = binary_rows(m, p, seed=1)
    model, default = at_minimum(X, y), LogisticRegression().fit(X, y)
    return dict(X=X, y=y, X_test=X_test, y_test=y_test, model=model, default=default)


# --- the definition, and the same by hand at speed ---


def parts_of(given: dict[str, Any], of_intercept: float) -> tuple[Any, Any, Any]:
    """Hessian of the average loss, gradients of the training and the test rows."""
    model, n = given["model"], len(given["X"])
    Z, Z_test = with_ones(given["X"]), with_ones(given["X_test"])
    theta, ridge = theta_of(model), ridge_of(model)
    ridge[-1] = of_intercept
    mu = expit(Z @ theta)
    H = ((Z * (mu * (1 - mu))[:, None]).T @ Z + np.diag(ridge)) / n
    gradient = Z * (mu - given["y"])[:, None]
    gradient_test = Z_test * (expit(Z_test @ theta) - given["y_test"])[:, None]
    return H, gradient, gradient_test


def matrix_by_definition(given: dict[str, Any]) -> tuple[Any, Any]:
    """``- gradient of the test loss ' inv(H) gradient``, (m, n); two penalties."""

    def of(of_intercept: float) -> Any:
        H, gradient, gradient_test = parts_of(given, of_intercept)
        return -gradient_test @ np.linalg.solve(H, gradient.T)

    return of(0.0), of(1.0)


def self_by_definition(given: dict[str, Any]) -> tuple[Any, Any]:
    """The diagonal, where each row is its own test row, (n,); two penalties."""

    def of(of_intercept: float) -> Any:
        H, gradient, _ = parts_of(given, of_intercept)
        return -np.sum(gradient * np.linalg.solve(H, gradient.T).T, axis=1)

    return of(0.0), of(1.0)


def judge(found: Any, truth: tuple[Any, Any]) -> str:
    """The error, and where it is large the one with the intercept penalised."""
    free, penalised = [relative_error(found, each) for each in truth]
    if 1e-9 < free < 0.1:
        return f"{free:.0e} ({penalised:.0e})"
    return f"{free:.0e}"


def factor_of(Z: Any, mu: Any, ridge: Any) -> Any:
    """Cholesky factor of the Hessian of the average loss."""
    scaled = Z * np.sqrt(mu * (1 - mu) / len(Z))[:, None]
    return cho_factor(scaled.T @ scaled + np.diag(ridge / len(Z)), check_finite=False)


def matrix_by_hand(given: dict[str, Any]) -> Any:
    """Code that a careful user would write for this model."""
    theta, ridge = theta_of(given["model"]), ridge_of(given["model"])

    def run() -> Any:
        Z, Z_test = with_ones(given["X"]), with_ones(given["X_test"])
        mu = expit(Z @ theta)
        slope_test = expit(Z_test @ theta) - given["y_test"]
        solved = cho_solve(
            factor_of(Z, mu, ridge), (Z_test * -slope_test[:, None]).T
        )  # (d, m)
        values = solved.T @ Z.T
        values *= mu - given["y"]
        return values

    return run


def self_by_hand(given: dict[str, Any]) -> Any:
    """Likewise, through one solve of all rows."""
    theta, ridge = theta_of(given["model"]), ridge_of(given["model"])

    def run() -> Any:
        Z = with_ones(given["X"])
        mu = expit(Z @ theta)
        solved = cho_solve(factor_of(Z, mu, ridge), Z.T)  # (d, n)
        return -np.einsum("ij,ji->i", Z, solved) * (mu - given["y"]) ** 2

    return run


# --- skinfluence ---


def matrix_of(which: str) -> Any:
    """The explainer's matrix for one of the two fits, its own fit included."""

    def prepare(given: dict[str, Any]) -> Any:
        def run() -> Any:
            explainer = InfluenceExplainer(given[which]).fit(given["X"], given["y"])
            return explainer.influence(given["X_test"], given["y_test"])

        return run

    return prepare


def self_of_explainer(given: dict[str, Any]) -> Any:
    """The explainer's self-influence, its fit included."""

    def run() -> Any:
        explainer = InfluenceExplainer(given["model"]).fit(given["X"], given["y"])
        return explainer.self_influence()

    return run


# --- pyDVL ---


def tensors(given: dict[str, Any]) -> tuple[Any, ...]:
    """A torch copy of the model in float64, and the rows (no copies)."""
    import torch

    torch.set_num_threads(1)
    model = given["model"]
    linear = torch.nn.Linear(model.coef_.shape[1], 1).double()
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(model.coef_))
        linear.bias.copy_(torch.from_numpy(model.intercept_))
    rows = [torch.from_numpy(given[name]) for name in ("X", "X_test")]
    labels = [
        torch.from_numpy(given[name].astype(float))[:, None] for name in ("y", "y_test")
    ]
    return linear, rows[0], labels[0], rows[1], labels[1]


def fitted_pydvl(kind: str, linear: Any, X: Any, y: Any, **options: Any) -> Any:
    """One of pyDVL's models; batches of 2,000 rows were its fastest of 256 to 20,000."""
    import pydvl.influence.torch
    from torch.nn.functional import binary_cross_entropy_with_logits as loss
    from torch.utils.data import DataLoader, TensorDataset

    influence = getattr(pydvl.influence.torch, kind)(
        linear, loss, regularization=1 / len(X), **options
    )
    return influence.fit(DataLoader(TensorDataset(X, y), batch_size=2000))


def matrix_of_pydvl(kind: str, **options: Any) -> Any:
    """Factors of the test rows, times the gradients of the training rows."""

    def prepare(given: dict[str, Any]) -> Any:
        linear, X, y, X_test, y_test = tensors(given)

        def run() -> Any:
            influence = fitted_pydvl(kind, linear, X, y, **options)
            return influence.influences(X_test, y_test, X, y)

        return run

    return prepare


def self_of_pydvl(given: dict[str, Any]) -> Any:
    """The diagonals of small blocks: pyDVL has no method for the diagonal alone."""
    linear, X, y, _, _ = tensors(given)

    def run() -> Any:
        influence = fitted_pydvl("DirectInfluence", linear, X, y)
        blocks = zip(X.split(200), y.split(200), strict=True)
        return np.concatenate(
            [influence.influences(*rows, *rows).diagonal().numpy() for rows in blocks]
        )

    return run


# --- captum ---


def captum_of(given: dict[str, Any]) -> tuple[Any, Any]:
    """A function that builds captum's exact explainer, and the test rows."""
    import torch
    from torch.utils.data import TensorDataset

    linear, X, y, X_test, y_test = tensors(given)
    checkpoint = str(Path(mkdtemp()) / "checkpoint")
    torch.save(linear.state_dict(), checkpoint)

    def build() -> Any:
        from captum.influence import NaiveInfluenceFunction

        return NaiveInfluenceFunction(
            linear,
            TensorDataset(X, y),
            checkpoint,
            checkpoints_load_func=load_checkpoint,
            loss_fn=torch.nn.BCEWithLogitsLoss(reduction="sum"),
            batch_size=2000,
            sample_wise_grads_per_batch=True,
            projection_dim=X.shape[1] + 1,
            hessian_reg=1.0,
            hessian_inverse_tol=0.0,
        )

    return build, (X_test, y_test)


def load_checkpoint(model: Any, path: str) -> float:
    """Parameters from a file, and a learning rate of 1."""
    import torch

    model.load_state_dict(torch.load(path))
    return 1.0


def matrix_of_captum(given: dict[str, Any]) -> Any:
    """Its exact form: all eigenvectors of the Hessian."""
    build, test = captum_of(given)
    return lambda: build().influence(test) * len(given["X"])


def self_of_captum(given: dict[str, Any]) -> Any:
    """Likewise."""
    build, _ = captum_of(given)
    return lambda: build().self_influence() * len(given["X"])


def matrix_of_tracin(given: dict[str, Any]) -> Any:
    """Products of last-layer gradients, with one checkpoint."""
    import torch
    from captum.influence import TracInCPFast
    from torch.utils.data import TensorDataset

    linear, X, y, X_test, y_test = tensors(given)
    # It takes the input of the last layer from a hook: there has to be a model around it.
    model = torch.nn.Sequential(torch.nn.Identity(), linear)
    checkpoint = str(Path(mkdtemp()) / "checkpoint")
    torch.save(model.state_dict(), checkpoint)

    def run() -> Any:
        tracin = TracInCPFast(
            model,
            linear,
            TensorDataset(X, y),
            [checkpoint],
            checkpoints_load_func=load_checkpoint,
            loss_fn=torch.nn.BCEWithLogitsLoss(reduction="sum"),
            batch_size=2000,
        )
        return tracin.influence((X_test, y_test))

    return run


def negated(found: Any) -> Any:
    """Theirs without the minus of the definition."""
    return -np.asarray(found)


ONE_MODEL = "written for one model, assumed to be at its minimum"
SIZES, SMALL = dict(n=20_000, p=100, m=200), dict(n=400, p=3, m=5)
ALONE = (
    f"The matrix of influences takes {SIZES['n'] * SIZES['m'] * 8 / 2**20:.1f} MiB, which "
    "every contestant must hold."
)
NOTES = [
    PENALISED,
    "influenciae, on TensorFlow, was tried once on the first problem and stopped at 21 GB "
    "of memory.",
]
CONTESTS = [
    Contest(
        "matrix",
        "Influence of n training rows on the loss of m test rows, logistic regression",
        problem,
        matrix_by_definition,
        SIZES,
        SMALL,
        [
            Contestant("skinfluence", matrix_of("model")),
            Contestant(
                "skinfluence, of a default lbfgs fit",
                matrix_of("default"),
                note="The model is first moved to its minimum.",
            ),
            Contestant("NumPy, by hand", matrix_by_hand, reason=ONE_MODEL),
            Contestant(
                "pyDVL DirectInfluence",
                matrix_of_pydvl("DirectInfluence"),
                negated,
                "pydvl",
            ),
            Contestant(
                "pyDVL CgInfluence, block",
                matrix_of_pydvl("CgInfluence", solve_simultaneously=True, rtol=1e-12),
                negated,
                "pydvl",
            ),
            Contestant(
                "pyDVL ArnoldiInfluence, rank 10",
                matrix_of_pydvl("ArnoldiInfluence", rank=10),
                negated,
                "pydvl",
                note="A low-rank approximation; 10 is its default.",
            ),
            Contestant(
                "captum NaiveInfluenceFunction, full rank",
                matrix_of_captum,
                negated,
                "captum",
            ),
            Contestant(
                "captum TracInCPFast",
                matrix_of_tracin,
                None,
                "captum",
                note="A different quantity: gradient products without a Hessian.",
            ),
        ],
        judge=judge,
        notes=[*NOTES, ALONE],
    ),
    Contest(
        "self",
        "Self-influence of n training rows, logistic regression",
        problem,
        self_by_definition,
        SIZES,
        SMALL,
        [
            Contestant("skinfluence", self_of_explainer),
            Contestant("NumPy, by hand", self_by_hand, reason=ONE_MODEL),
            Contestant(
                "pyDVL DirectInfluence",
                self_of_pydvl,
                negated,
                "pydvl",
                note="The diagonals of blocks of 200 rows.",
            ),
            Contestant(
                "captum NaiveInfluenceFunction, full rank",
                self_of_captum,
                negated,
                "captum",
            ),
        ],
        judge=judge,
        notes=NOTES[:1],
    ),
]
