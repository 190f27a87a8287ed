"""Normalisation by the root mean square of a vector."""
