"""Cross-entropy of a linear layer's logits, without the logits in memory."""
