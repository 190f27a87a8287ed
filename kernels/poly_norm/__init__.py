"""PolyNorm: a polynomial whose powers are normalised, as an activation."""
