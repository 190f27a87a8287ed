"""RMS normalisation of the sum of a residual stream and what is added to it."""
