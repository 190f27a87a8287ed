"""Rotary positions: pairs of channels turned by an angle that grows with the position."""
