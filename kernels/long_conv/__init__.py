"""Causal convolution with a filter as long as the sequence, one filter for each channel."""
