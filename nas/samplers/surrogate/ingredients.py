"""What the surrogate sampler is made of, so that each piece can be left out and missed.

Studies use all of it. ``nas bench --samplers ablation`` leaves out one at a time.
"""

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Ingredients:
    """False leaves a piece out."""

    spread: bool = True
    """The first members differ in every question; else they are uniform."""
    scales: bool = True
    """Costs may be modelled on a logarithm above the best; else they are modelled as they are."""
    line: bool = True
    """The covariance has a linear part; else it is a Matérn alone."""
    ensemble: bool = True
    """Hyperparameters are taken for uncertain while there are few observations; else the likeliest
    are taken for true."""
    doubt: bool = True
    """A gain is expected over all values that a prediction leaves open; else it is that of the
    median."""
    children: bool = True
    """The pool holds children of the best; else uniform members in their place."""
    neighbours: bool = True
    """The neighbours of those that promise most are looked at."""


ALL = Ingredients()
WITHOUT = {each.name: replace(ALL, **{each.name: False}) for each in fields(Ingredients)}
"""All but one, by the name of the one."""
