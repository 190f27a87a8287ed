"""What an op's ``bench.py`` declares: its sizes, its inputs, the least work, and its peers.

``make bench-kernels`` runs all of them; see ``bench.py`` beside this file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Inputs = Sequence[Tensor | None]
Call = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """One size of one op."""

    label: str
    """Sizes by the letters of the op's docstring, as in ``B1 H16 T4096 K64 V64``."""
    time: int
    """Tokens of a sequence; the benchmark chooses cases by it."""
    draw: Callable[[], Inputs]
    """Float32 inputs on the CPU, drawn from torch's seeded generator; the benchmark moves and
    rounds those of a floating type. None stands for an argument left out."""
    flops: int
    """Of the matrix products of a forward pass that no implementation can do without; 0 for an op
    that is bound by memory."""
    values_moved: int
    """Values that a forward pass has to read or write once, however it is done."""


@dataclass(frozen=True)
class Benchmark:
    """All cases of one op, and who else computes it."""

    op: str
    call: Call
    """The function of ``api.py``; takes what ``draw`` gives."""
    cases: Sequence[Case]
    """From small ones that a CPU runs in milliseconds to 32k tokens."""
    peers: Callable[[], Mapping[str, Call]]
    """Other implementations by name, as functions of the same inputs, whatever layout they want
    inside. A package that is not installed is left out; what is installed and fails is reported."""
    wide: tuple[int, ...] = ()
    """Positions of inputs that stay in float32 where the others are rounded (decays, say)."""
