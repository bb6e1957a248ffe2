"""Methods that a meta-estimator takes over from the estimator that it wraps."""

from collections.abc import Callable
from typing import Any

from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted


def _inner_has(method: str) -> Callable[["DelegationMixin"], bool]:
    """Whether the wrapped estimator has a method: for ``available_if``."""

    def check(wrapper: "DelegationMixin") -> bool:
        getattr(wrapper._described, method)
        return True

    return check


class DelegationMixin:
    """Predictions, scores, tags and metadata routing of the wrapped estimator."""

    estimator: Any

    @property
    def _described(self) -> Any:
        """The estimator whose methods are offered, fitted or not."""
        return getattr(self, "estimator_", self.estimator)

    @property
    def _predictor(self) -> Any:
        """The fitted estimator that answers."""
        check_is_fitted(self)
        return self._described

    @available_if(_inner_has("score"))
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Score of the wrapped estimator on the given rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Test rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Their weights.

        Returns
        -------
        score : float
            The estimator's own: accuracy for classifiers, R2 for regressors.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_iris(return_X_y=True)
        >>> explainer = InfluenceExplainer(LogisticRegression(max_iter=1000)).fit(X, y)
        >>> round(explainer.score(X, y), 3)
        0.973
        """
        given = {} if sample_weight is None else {"sample_weight": sample_weight}
        return self._predictor.score(X, y, **given)

    @available_if(_inner_has("predict"))
    def predict(self, X: Any) -> Any:
        """Predictions of the wrapped estimator.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The estimator's own predictions.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_iris(return_X_y=True)
        >>> explainer = InfluenceExplainer(LogisticRegression(max_iter=1000)).fit(X, y)
        >>> explainer.predict(X[[0, 50, 100]])
        array([0, 1, 2])
        """
        return self._predictor.predict(X)

    @available_if(_inner_has("predict_proba"))
    def predict_proba(self, X: Any) -> Any:
        """Class probabilities of the wrapped estimator.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            The estimator's own probabilities.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_iris(return_X_y=True)
        >>> explainer = InfluenceExplainer(LogisticRegression(max_iter=1000)).fit(X, y)
        >>> explainer.predict_proba(X[[0, 100]]).round(2)
        array([[0.98, 0.02, 0.  ],
               [0.  , 0.  , 1.  ]])
        """
        return self._predictor.predict_proba(X)

    @available_if(_inner_has("predict_log_proba"))
    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of the class probabilities of the wrapped estimator.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            The estimator's own log-probabilities.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_iris(return_X_y=True)
        >>> explainer = InfluenceExplainer(LogisticRegression(max_iter=1000)).fit(X, y)
        >>> explainer.predict_log_proba(X[[0, 100]]).shape
        (2, 3)
        """
        return self._predictor.predict_log_proba(X)

    @available_if(_inner_has("decision_function"))
    def decision_function(self, X: Any) -> Any:
        """Decision values of the wrapped estimator.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        values : ndarray of shape (n_samples,) or (n_samples, n_classes)
            The estimator's own decision values.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_iris(return_X_y=True)
        >>> explainer = InfluenceExplainer(LogisticRegression(max_iter=1000)).fit(X, y)
        >>> explainer.decision_function(X[[0, 100]]).shape
        (2, 3)
        """
        return self._predictor.decision_function(X)

    def __sklearn_tags__(self) -> Any:
        """Tags of the wrapped estimator, which needs targets."""
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)  # type: ignore[misc]
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        tags.target_tags = inner.target_tags
        tags.target_tags.required = True
        tags.input_tags = inner.input_tags
        return tags

    def get_metadata_routing(self) -> MetadataRouter:
        """Routing of metadata: what this object uses itself, and what it passes on.

        Returns
        -------
        routing : MetadataRouter
            Metadata of ``fit`` and ``score``, such as ``sample_weight``, are for this
            object and for the estimator.

        Examples
        --------
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceExplainer
        >>> routing = InfluenceExplainer(Ridge()).get_metadata_routing()
        >>> type(routing).__name__
        'MetadataRouter'
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        mapping = mapping.add(caller="score", callee="score")
        router = MetadataRouter(owner=self).add_self_request(self)
        return router.add(estimator=self.estimator, method_mapping=mapping)
