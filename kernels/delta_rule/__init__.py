"""What ``gated_delta_rule`` and ``channel_delta_rule`` share: Triton kernels, checks, sizes."""
