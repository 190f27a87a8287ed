"""The Triton kernels that RMS and layer normalisation share, with and without a residual."""
