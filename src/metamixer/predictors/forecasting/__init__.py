"""Forecasts of tables, with and without training: the forecaster, its ways, its intervals and its results."""
