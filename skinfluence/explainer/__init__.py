"""The explainer: one thin method per question, on top of all layers below."""

from skinfluence.explainer._explainer import InfluenceExplainer
