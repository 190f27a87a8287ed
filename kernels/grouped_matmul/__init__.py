"""A matrix product for each group of rows."""
