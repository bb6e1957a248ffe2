"""One self-contained page about a fitted model and its training rows."""

from skinfluence.report._report import InfluenceReport
