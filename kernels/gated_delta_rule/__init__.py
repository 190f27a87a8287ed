"""The gated delta rule, and with no decay the plain delta rule."""
