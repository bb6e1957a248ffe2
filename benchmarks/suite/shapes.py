"""Other shapes of the problem: several classes, sparse rows, more columns than rows."""

import abc

from skinfluence import InfluenceExplainer

from ._problems import fitted, rows, sparse_rows


class Shape(abc.ABC):
    """Fit, leave-one-out and a mean influence; each class below poses the problem."""

    solver = "auto"

    @abc.abstractmethod
    def pose(self):
        """Rows and labels. asv passes over abstract classes."""

    def setup(self):
        """Rows, a fitted model and an explainer of it."""
        self.X, self.y = self.pose()
        self.model = fitted(self.X, self.y)
        self.explainer = self.explain()

    def explain(self):
        """A fitted explainer."""
        return InfluenceExplainer(self.model, solver=self.solver).fit(self.X, self.y)

    def time_fit(self):
        """Curvature and what the solver prepares."""
        self.explain()

    def peakmem_fit(self):
        """Likewise."""
        self.explain()

    def time_loo_predict(self):
        """All rows."""
        self.explainer.loo_predict(method="decision_function")

    def time_influence_mean(self):
        """One solve."""
        self.explainer.influence(self.X[:100], self.y[:100], aggregate="mean")


class Softmax(Shape):
    """Ten classes, 310 parameters."""

    n, p, classes = 5_000, 30, 10

    def pose(self):
        """Rows of several classes."""
        return rows(self.n, self.p, self.classes)


class Sparse(Shape):
    """Twenty entries a row."""

    n, p = 20_000, 1_000

    def pose(self):
        """Rows in CSR format."""
        return sparse_rows(self.n, self.p)


class Dual(Shape):
    """More columns than rows."""

    n, p, solver = 400, 4_000, "dual"

    def pose(self):
        """Wide rows."""
        return rows(self.n, self.p)


class ConjugateGradient(Shape):
    """No factor."""

    # Leave-one-out asks for as many solves as there are rows.
    n, p, solver = 4_000, 200, "cg"

    def pose(self):
        """Tall rows."""
        return rows(self.n, self.p)
