"""Steps that learn nothing from the rows, or nothing that shows in other rows."""

from typing import Any

from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    Normalizer,
    PolynomialFeatures,
)

from skinfluence.preprocessing._base import Rule
from skinfluence.preprocessing._registry import register_transformer


def _nothing(transformer: Any) -> Rule:
    return Rule()


def _function(transformer: FunctionTransformer) -> Rule:
    return Rule(passes=transformer.func is None)


# A feature that only rows have which leave is a column of zeros (DictVectorizer). Frozen
# steps are not fitted again by anyone.
for cls in (
    Binarizer,
    DictVectorizer,
    FeatureHasher,
    FrozenEstimator,
    HashingVectorizer,
    Normalizer,
    PolynomialFeatures,
):
    register_transformer(cls, _nothing)
register_transformer(FunctionTransformer, _function)
