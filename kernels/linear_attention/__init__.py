"""Linear attention with a decaying state: retention, Mamba-2 style scalars, and GLA."""
