"""The product of an activation and what it gates, as in gated feed-forward networks."""
