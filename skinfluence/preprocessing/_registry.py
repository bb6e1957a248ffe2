"""Rules by the class of a transformer."""

from collections.abc import Callable
from typing import Any

from skinfluence.exceptions import InvalidParameterError
from skinfluence.preprocessing._base import Rule

# A rule for the fitted transformer, or the reason why it has none.
RuleOf = Callable[[Any], Rule | str]

_RULES: dict[type, RuleOf] = {}


def register_transformer(transformer: type, rule: RuleOf) -> type:
    """Say how the columns of a class of transformers move when rows leave.

    A pipeline with a step of this class is then *followed* through it: its results are
    those of the whole pipeline fitted to the other rows, without refits.

    Parameters
    ----------
    transformer : type
        The class. Its rule holds for subclasses that override none of its methods, other
        than ``__init__`` and ``get_feature_names_out``; others may learn more and have to
        be registered themselves. Registering a class again replaces its rule.
    rule : callable
        Maps the fitted transformer to a ``skinfluence.preprocessing.Rule``, or to the
        reason, as a clause, why its columns cannot be followed: the step is then held as
        it was fitted, and ``held_reasons_`` gives the reason.

    Returns
    -------
    transformer : type
        The class, unchanged.

    Raises
    ------
    InvalidParameterError
        If ``transformer`` is not a class, or ``rule`` is not a function.

    See Also
    --------
    skinfluence.preprocessing.check_transformer : Compares a rule with refits.
    register_estimator : Adds a linear model.

    Notes
    -----
    Columns may move by a shift and a scale alone. A rule that is wrong makes results
    wrong without a warning: run ``check_transformer`` in your tests.

    Examples
    --------
    A step that learns nothing from the rows:

    >>> import numpy as np
    >>> from sklearn.base import BaseEstimator, TransformerMixin
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from skinfluence import InfluenceExplainer, register_transformer
    >>> from skinfluence.preprocessing import Rule
    >>> class Signs(TransformerMixin, BaseEstimator):
    ...     def fit(self, X, y=None):
    ...         self.n_features_in_ = X.shape[1]
    ...         return self
    ...
    ...     def transform(self, X):
    ...         return np.sign(X)
    >>> _ = register_transformer(Signs, lambda transformer: Rule())
    >>> X, y = np.array([[-1.0], [2.0], [3.0], [-2.0]]), np.array([0.0, 1.0, 2.0, 1.0])
    >>> explainer = InfluenceExplainer(make_pipeline(Signs(), Ridge())).fit(X, y)
    >>> explainer.followed_steps_
    ['signs']
    """
    if not isinstance(transformer, type):
        raise InvalidParameterError(
            "transformer must be a class, as in register_transformer(MyScaler, ...); got "
            f"{transformer!r}."
        )
    if not callable(rule):
        raise InvalidParameterError(
            f"rule must be a function of the fitted transformer; got {rule!r}."
        )
    _RULES[transformer] = rule
    return transformer


def rule_of(transformer: Any) -> Rule | str:
    """The rule for a fitted transformer, or the reason why it has none."""
    cls = type(transformer)
    known = next((base for base in cls.__mro__ if base in _RULES), None)
    if known is None:
        return f"no rule is registered for what a {cls.__name__} learns"
    if changed := _overridden(cls, known):
        return (
            f"no rule is registered for {cls.__name__}, which may learn more than "
            f"{known.__name__}: it has its own {' and '.join(changed)}"
        )
    return _checked(_RULES[known], transformer)


def _overridden(cls: type, base: type) -> list[str]:
    """Methods of a class that a subclass, or a class mixed into it, has of its own.

    Those that make it, name its columns or ask for metadata change nothing it learns.
    """
    before = cls.__mro__[: cls.__mro__.index(base)]
    own = {
        name
        for each in before
        for name, member in vars(each).items()
        if hasattr(member, "__get__")  # methods and properties of any kind
    }
    return sorted(
        name
        for name in own & set(dir(base))
        if not (name.startswith("__") or name.startswith("set_"))
        and name != "get_feature_names_out"
    )


def _checked(rule_of_class: RuleOf, transformer: Any) -> Rule | str:
    name = type(transformer).__name__
    try:
        rule = rule_of_class(transformer)
    except Exception as error:
        raise InvalidParameterError(
            f"The rule registered for {name} fails: {type(error).__name__}: {error}"
        ) from error
    if isinstance(rule, Rule | str):
        return rule
    raise InvalidParameterError(
        f"The rule registered for {name} must give a Rule or a reason in words; got "
        f"{rule!r}."
    )
