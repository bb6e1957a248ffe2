"""What each number of a row means, in one sentence."""

from typing import NamedTuple


class Column(NamedTuple):
    """A column of the table of rows."""

    label: str
    meaning: str


SIGN = (
    "Influence: positive = up-weighting the row raises the loss (harmful). "
    "Delta: without the row minus with it, so a negative loss delta is harmful too."
)

COLUMNS = {
    "row": Column("row", "position of the training row, counted from 0"),
    "name": Column("name", "its label: the index of the training table, or as given"),
    "group": Column("group", "the group it belongs to"),
    "target": Column("target", "its target, as given for training"),
    "prediction": Column("prediction", "what the model predicts for it"),
    "loo_prediction": Column(
        "prediction without it",
        "what the model predicts for it when trained without it",
    ),
    "p_target": Column("P(target)", "probability that the model gives to its label"),
    "loo_p_target": Column(
        "P(target) without it",
        "probability that the model trained without it gives to its label",
    ),
    "loo_delta": Column(
        "delta",
        "change of the mean loss when it is left out: without the row minus with it; "
        "negative = harmful",
    ),
    "influence": Column(
        "influence", "derivative of the mean loss in its weight; positive = harmful"
    ),
    "loss": Column("loss", "its own loss, unweighted, by the model"),
    "loo_loss": Column(
        "loss without it", "its own loss by the model trained without it"
    ),
    "self_influence": Column(
        "self-influence",
        "influence on its own loss; the further below 0, the harder it pulls the model "
        "towards itself",
    ),
    "leverage": Column(
        "leverage",
        "the share of its prediction that its own target decides, from 0 to 1; the "
        "leverages add up to the effective degrees of freedom",
    ),
    "resid_studentized_external": Column(
        "studentized residual",
        "its residual over the standard error estimated without it",
    ),
    "cooks_distance": Column(
        "Cook's distance", "how far the coefficients move together when it is left out"
    ),
}
