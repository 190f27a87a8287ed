"""Normalisation by the mean and the standard deviation of a vector."""
