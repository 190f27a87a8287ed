"""A causal convolution over a few tokens, on each channel by itself."""
