"""Architectures as SVG that a person can read."""

from nas.drawing.draw import draw_svg

__all__ = ["draw_svg"]
