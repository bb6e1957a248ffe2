"""Scikit-learn models as objectives: the support table, and how a model is read."""

from skinfluence.support import (
    _bayes,
    _cuml,
    _glm,
    _least_squares,
    _logistic,
    _robust,
    _sgd,
    _sparse_models,
    _svm,
    checks,
)
from skinfluence.support._backends import (
    fewer_rows,
    host_rows,
    placed,
    readable,
    room_on_device,
    smaller_model,
)
from skinfluence.support._by_row import by_row, n_rows_of, take_rows
from skinfluence.support._cross_fits import AsSeen, TrainingOutput, in_fit
from skinfluence.support._metadata import (
    consumed_by_fit,
    given_to_fit,
    of_fitted_model,
    of_model,
    routed_to_fit,
    weight_name,
)
from skinfluence.support._model import AbstractModel, Model, on_host
from skinfluence.support._read import (
    is_fitted,
    naming_bad_targets,
    read,
    reads_features,
    required_row,
    unwrapped,
)
from skinfluence.support._register import register_estimator
from skinfluence.support._steps import (
    CLASS_WEIGHT,
    as_drawn,
    balances,
    learns_targets,
    path_of_step,
    recorders,
    samplers,
    steps_of_targets,
)
from skinfluence.support._table import register, supported_estimators
from skinfluence.support._whole import Seen, WholeFit, fitted_clone
