"""Rows sent to the experts that were chosen for them, and their results put together again."""
