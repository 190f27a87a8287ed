"""The largest scores of each row, in a defined order."""
