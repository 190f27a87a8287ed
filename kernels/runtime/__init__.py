"""Which implementation of an op runs, chosen in one place for all ops."""
