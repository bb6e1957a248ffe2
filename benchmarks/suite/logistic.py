"""A tall logistic regression, the main job."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from skinfluence import InfluenceCleaner, InfluenceExplainer

from ._problems import fitted, rows


class Tall:
    """Many rows, one output."""

    n, p, m = 50_000, 50, 500

    def setup(self):
        """Rows, a fitted model and an explainer of it."""
        self.X, self.y = rows(self.n, self.p)
        self.model = fitted(self.X, self.y)
        self.explainer = InfluenceExplainer(self.model).fit(self.X, self.y)
        self.test = self.X[: self.m], self.y[: self.m]
        self.groups = np.arange(self.n) % max(self.n // 100, 2)

    def time_fit(self):
        """Curvature, factor and polish."""
        InfluenceExplainer(self.model).fit(self.X, self.y)

    def peakmem_fit(self):
        """Likewise."""
        self.time_fit()

    def time_loo_predict(self):
        """All rows."""
        self.explainer.loo_predict(method="decision_function")

    def peakmem_loo_predict(self):
        """Likewise."""
        self.time_loo_predict()

    def time_influence_mean(self):
        """One solve."""
        self.explainer.influence(*self.test, aggregate="mean")

    def time_influence(self):
        """The whole matrix."""
        self.explainer.influence(*self.test)

    def peakmem_influence(self):
        """Likewise."""
        self.time_influence()

    def time_self_influence(self):
        """All leverages."""
        self.explainer.self_influence()

    def time_top_influences(self):
        """Blocks, no matrix."""
        self.explainer.top_influences(*self.test, k=10)

    def peakmem_top_influences(self):
        """Likewise."""
        self.time_top_influences()

    def time_loo_params(self):
        """One Newton step for each row."""
        self.explainer.loo_params()

    def time_diagnostics(self):
        """The whole table."""
        self.explainer.diagnostics()

    def time_group_delta(self):
        """Groups of a hundred rows."""
        self.explainer.group_delta(*self.test, groups=self.groups, aggregate="mean")

    def time_cv_predict(self):
        """Ten folds."""
        self.explainer.cv_predict(10)


class Exact:
    """Leave-one-out to 1e-8, and Halley's correction."""

    n, p = 2_000, 20
    params = ("halley", "exact")
    param_names = ("deletion",)

    def setup(self, deletion):
        """Rows and an explainer."""
        X, y = rows(self.n, self.p)
        explainer = InfluenceExplainer(fitted(X, y), deletion=deletion)
        self.explainer = explainer.fit(X, y)

    def time_loo_params(self, deletion):
        """All rows."""
        self.explainer.loo_params()

    def peakmem_loo_params(self, deletion):
        """Likewise."""
        self.explainer.loo_params()


class Cleaner:
    """Wrong labels."""

    n, p = 20_000, 30

    def setup(self):
        """Rows."""
        self.X, self.y = rows(self.n, self.p)

    def time_fit(self):
        """Two fits and leave-one-out predictions."""
        InfluenceCleaner(LogisticRegression()).fit(self.X, self.y)
