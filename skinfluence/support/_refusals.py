"""Why an estimator has no row in the support table, and which one to use instead."""

from sklearn.base import BaseEstimator
from sklearn.utils import get_tags

_KERNEL = "it is a sum over kernels of training rows, not linear in the features"
_STEPS = "it chooses features one at a time, which no derivative describes"
_TASKS = (
    "its penalty, the norm of each feature's coefficients over all tasks, ties the tasks "
    "together"
)
_ONLINE = "it is the state of an online algorithm, not the minimum of an objective"
_HINGE = "LinearSVC(loss='squared_hinge')"
_INSENSITIVE = "LinearSVR(loss='squared_epsilon_insensitive')"

# By class name, without CV: the reason, and the nearest supported model.
_REASONS = {
    "CalibratedClassifier": (
        "it calibrates models of several folds, not one",
        "the classifier that it calibrates",
    ),
    "ClassifierChain": (
        "each of its models uses the labels of the others as features",
        "MultiOutputClassifier",
    ),
    "KernelRidge": (_KERNEL, "Ridge, after a Nystroem transformer"),
    "Lars": (_STEPS, "LinearRegression, or LassoLars"),
    "LassoLarsIC": (
        "it stops at a corner of its path, where no derivative exists",
        "Lasso with its alpha_",
    ),
    "MultiTaskElasticNet": (_TASKS, "ElasticNet, which takes several targets"),
    "MultiTaskLasso": (_TASKS, "Lasso, which takes several targets"),
    "OneVsOneClassifier": (
        "each of its models is fitted to the rows of two classes only",
        "OneVsRestClassifier, or LogisticRegression",
    ),
    "OrthogonalMatchingPursuit": (_STEPS, "LinearRegression on its features"),
    "OutputCodeClassifier": ("its codes are random", "OneVsRestClassifier"),
    "PassiveAggressiveClassifier": (_ONLINE, _HINGE),
    "PassiveAggressiveRegressor": (_ONLINE, _INSENSITIVE),
    "Perceptron": ("its loss, max(0, -y u), is not twice differentiable", _HINGE),
    "QuantileRegressor": (
        "the quantile loss is not twice differentiable",
        "HuberRegressor",
    ),
    "RANSACRegressor": (
        "it fits rows drawn at random, so deleting one has no derivative",
        "HuberRegressor, or its estimator_ on the rows of its inlier_mask_",
    ),
    "RegressorChain": (
        "each of its models uses the targets of the others as features",
        "MultiOutputRegressor",
    ),
    "SGDOneClassSVM": ("it has no targets", "SGDClassifier"),
    "TheilSenRegressor": (
        "it is a median of fits to subsets of rows, not the minimum of a smooth loss",
        "HuberRegressor",
    ),
    **dict.fromkeys(("SVC", "NuSVC", "OneClassSVM"), (_KERNEL, _HINGE)),
    **dict.fromkeys(("SVR", "NuSVR"), (_KERNEL, _INSENSITIVE)),
}

# By the part of scikit-learn that a class comes from.
_PARTS = {
    "cluster": "it clusters rows, and has no targets",
    "covariance": "it estimates a covariance, and has no targets",
    "cross_decomposition": "its projections are not the minimum of a sum over rows",
    "discriminant_analysis": "it uses class means and covariances, not a loss",
    "dummy": "it does not use the features",
    "ensemble": "it combines many models, or trees, which are not linear",
    "gaussian_process": _KERNEL,
    "isotonic": "it is a step function, not linear in the features",
    "mixture": "it is a mixture of densities, and has no targets",
    "naive_bayes": "it uses counts or moments of each class, not a loss",
    "neighbors": "it looks up neighbours, and is not linear in the features",
    "neural_network": "a neural network is not linear in the features",
    "semi_supervised": "it creates labels of its own",
    "tree": "a tree is not linear in the features",
}


def reason_against(estimator: BaseEstimator) -> tuple[str, str]:
    """Why an estimator without a row is refused, and the nearest one that is not."""
    if isinstance(estimator, type) or not hasattr(estimator, "__sklearn_tags__"):
        return "it is not a scikit-learn estimator", "Ridge()"
    name = type(estimator).__name__.removesuffix("CV")
    kind = _kind(estimator)
    nearest = {"classifier": "LogisticRegression", "regressor": "Ridge"}
    other = nearest.get(kind, "Ridge or LogisticRegression")
    return _REASONS.get(name) or (_general_reason(estimator, kind), other)


def _general_reason(estimator: BaseEstimator, kind: str) -> str:
    package, part, *_ = [*type(estimator).__module__.split("."), "", ""]
    if package == "sklearn" and part in _PARTS:
        return _PARTS[part]
    if kind not in ("classifier", "regressor"):
        return "it is neither a classifier nor a regressor: it has no loss on targets"
    return (
        "no row of the support table describes its objective; if it minimises a smooth "
        "loss of linear outputs, skinfluence.register_estimator adds one"
    )


def _kind(estimator: BaseEstimator) -> str:
    """Its type by scikit-learn's tags; a meta-estimator without an inner one has none."""
    try:
        return str(get_tags(estimator).estimator_type)
    except AttributeError:
        return "unknown"
