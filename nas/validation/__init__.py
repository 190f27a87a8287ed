"""Mistakes of a user, told by field: where, what was given, what would work."""

from nas.validation.parse import did_you_mean, parse, problems_of

__all__ = ["did_you_mean", "parse", "problems_of"]
