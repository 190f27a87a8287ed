"""Attention over all keys, a window or sinks, by softmax, sigmoid or clipped softmax."""
