"""Why an estimator has no row in the support table, and which one to use instead."""

from typing import Any

from sklearn.utils import get_tags

_HINGE = "the hinge loss is not twice differentiable"
_INSENSITIVE = "the epsilon-insensitive loss is not twice differentiable"
_KERNEL = "it is a sum over kernels of training rows, not linear in the features"
_STEPS = "it chooses features one at a time, which no derivative describes"
_TASKS = (
    "its penalty, the length of each feature's coefficients over all tasks, ties the "
    "tasks together and has no bend that belongs to one coefficient"
)
_PASSIVE = "it is the state of an online algorithm, not the minimum of an objective"

# By class name: why, and what comes nearest.
_REASONS = {
    "MultiTaskLasso": (_TASKS, "Lasso, which takes several targets"),
    "MultiTaskLassoCV": (_TASKS, "Lasso, which takes several targets"),
    "MultiTaskElasticNet": (_TASKS, "ElasticNet, which takes several targets"),
    "MultiTaskElasticNetCV": (_TASKS, "ElasticNet, which takes several targets"),
    "Lars": (_STEPS, "LinearRegression, or LassoLars"),
    "LarsCV": (_STEPS, "LinearRegression, or LassoLarsCV"),
    "LassoLarsIC": (
        "it stops at a corner of its path, where a coefficient is just about to move "
        "and no derivative exists",
        "Lasso with its alpha_",
    ),
    "OrthogonalMatchingPursuit": (
        _STEPS,
        "LinearRegression on the features that it chose",
    ),
    "OrthogonalMatchingPursuitCV": (
        _STEPS,
        "LinearRegression on the features that it chose",
    ),
    "PassiveAggressiveClassifier": (_PASSIVE, "LinearSVC(loss='squared_hinge')"),
    "PassiveAggressiveRegressor": (
        _PASSIVE,
        "LinearSVR(loss='squared_epsilon_insensitive')",
    ),
    "Perceptron": (
        "its loss, max(0, -y u), is not twice differentiable",
        "LinearSVC(loss='squared_hinge')",
    ),
    "QuantileRegressor": (
        "the quantile loss is not twice differentiable",
        "HuberRegressor",
    ),
    "RANSACRegressor": (
        "it draws the rows that it fits at random, so deleting one has no derivative",
        "HuberRegressor, or its estimator_ on the rows of its inlier_mask_",
    ),
    "TheilSenRegressor": (
        "it is a median of fits to subsets of rows, not the minimum of a smooth loss",
        "HuberRegressor",
    ),
    "SGDOneClassSVM": (_HINGE + ", and there are no targets", "SGDClassifier"),
    "SVC": (f"{_KERNEL}, and {_HINGE}", "LinearSVC(loss='squared_hinge')"),
    "NuSVC": (f"{_KERNEL}, and {_HINGE}", "LinearSVC(loss='squared_hinge')"),
    "OneClassSVM": (f"{_KERNEL}, and {_HINGE}", "LinearSVC(loss='squared_hinge')"),
    "SVR": (
        f"{_KERNEL}, and {_INSENSITIVE}",
        "LinearSVR(loss='squared_epsilon_insensitive')",
    ),
    "NuSVR": (
        f"{_KERNEL}, and {_INSENSITIVE}",
        "LinearSVR(loss='squared_epsilon_insensitive')",
    ),
    "KernelRidge": (_KERNEL, "Ridge, after a Nystroem transformer"),
    "LinearDiscriminantAnalysis": (
        "it is made of class means and a covariance, not the minimum of a loss",
        "LogisticRegression, or RidgeClassifier",
    ),
    "CalibratedClassifierCV": (
        "it calibrates models of several folds, not one",
        "the classifier that it calibrates",
    ),
    "OneVsOneClassifier": (
        "each of its models is fitted to the rows of two classes only",
        "OneVsRestClassifier, or LogisticRegression",
    ),
    "OutputCodeClassifier": (
        "it draws its codes at random at each fit",
        "OneVsRestClassifier",
    ),
    "ClassifierChain": (
        "each of its models reads the labels of the others as features",
        "MultiOutputClassifier",
    ),
    "RegressorChain": (
        "each of its models reads the targets of the others as features",
        "MultiOutputRegressor",
    ),
}

# By the part of scikit-learn that a class comes from.
_PARTS = {
    "calibration": "it calibrates another model",
    "cluster": "it clusters rows, and has no targets",
    "covariance": "it estimates a covariance, and has no targets",
    "cross_decomposition": "its projections are not the minimum of a sum over rows",
    "discriminant_analysis": "it is made of class means and covariances",
    "dummy": "it does not read the features",
    "ensemble": "it combines many models, or trees, which are not linear",
    "gaussian_process": _KERNEL,
    "isotonic": "it is a step function, not linear in the features",
    "kernel_ridge": _KERNEL,
    "mixture": "it is a mixture of densities, and has no targets",
    "naive_bayes": "it is made of counts or moments per class, not of a loss",
    "neighbors": "it looks up neighbours, and is not linear in the features",
    "neural_network": "a neural network is not linear in the features",
    "semi_supervised": "it makes up labels of its own",
    "tree": "a tree is not linear in the features",
}


def reason_against(estimator: Any) -> tuple[str, str]:
    """Why an estimator without a row is refused, and the nearest one that is not."""
    if isinstance(estimator, type) or not hasattr(estimator, "__sklearn_tags__"):
        return "it is not an estimator of scikit-learn's kind", "Ridge()"
    reason, nearest = _REASONS.get(type(estimator).__name__, (None, None))
    return reason or _general_reason(estimator), nearest or _nearest(estimator)


def _general_reason(estimator: Any) -> str:
    package, part, *_ = [*type(estimator).__module__.split("."), "", ""]
    if package == "sklearn" and part in _PARTS:
        return _PARTS[part]
    if _kind(estimator) not in ("classifier", "regressor"):
        return "it is neither a classifier nor a regressor: it has no loss on targets"
    return (
        "no row of the support table describes its objective; if it minimises a smooth "
        "loss of linear outputs, skinfluence.register_estimator adds one"
    )


def _nearest(estimator: Any) -> str:
    nearest = {"classifier": "LogisticRegression", "regressor": "Ridge"}
    return nearest.get(_kind(estimator), "Ridge or LogisticRegression")


def _kind(estimator: Any) -> str:
    """What the estimator says it is; meta-estimators without an inner one cannot say."""
    try:
        return str(get_tags(estimator).estimator_type)
    except AttributeError:
        return "unknown"
