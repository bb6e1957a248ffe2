"""Steps without a rule, each with what it learns that changes other rows."""

from collections.abc import Callable
from typing import Any

from sklearn.decomposition import (
    NMF,
    PCA,
    FactorAnalysis,
    FastICA,
    IncrementalPCA,
    KernelPCA,
    LatentDirichletAllocation,
    SparsePCA,
    TruncatedSVD,
)
from sklearn.feature_selection import (
    RFE,
    RFECV,
    GenericUnivariateSelect,
    SelectFdr,
    SelectFpr,
    SelectFromModel,
    SelectFwe,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
)
from sklearn.impute import KNNImputer, MissingIndicator
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.preprocessing import (
    KernelCenterer,
    PowerTransformer,
    QuantileTransformer,
    TargetEncoder,
)

from skinfluence.preprocessing._registry import register_transformer

_CHOOSES = "it may choose other columns when a row leaves"
_TURNS = "the directions that it projects on turn when a row leaves"
_BENDS = "the curve that it draws through each column changes when a row leaves"
_FILLS = "what it fills in changes in other rows when a row leaves"
_DRAWS = "what it draws depends on the rows that it is fitted to"

_REASONS = {
    _CHOOSES: [
        GenericUnivariateSelect, MissingIndicator, RFE, RFECV, SelectFdr, SelectFpr,
        SelectFromModel, SelectFwe, SelectKBest, SelectPercentile,
        SequentialFeatureSelector,
    ],
    _TURNS: [
        FactorAnalysis, FastICA, IncrementalPCA, KernelPCA, LatentDirichletAllocation,
        NMF, PCA, SparsePCA, TruncatedSVD,
    ],
    _BENDS: [PowerTransformer, QuantileTransformer],
    _FILLS: [KNNImputer],
    _DRAWS: [Nystroem, RBFSampler],
    "the means of its categories change in other rows when a row leaves": [TargetEncoder],
    "a row is a column as well, and leaves with it": [KernelCenterer],
}  # fmt: skip


def _because(reason: str) -> Callable[[Any], str]:
    return lambda transformer: reason


for _reason, _classes in _REASONS.items():
    for _cls in _classes:
        register_transformer(_cls, _because(_reason))
