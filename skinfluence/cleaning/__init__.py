"""Cleaning: leave wrong rows out of a fit, and of nothing but the fit."""

from skinfluence.cleaning._cleaner import InfluenceCleaner
