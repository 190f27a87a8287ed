"""The gated delta rule with one decay per key channel, as in Kimi Delta Attention."""
