"""The price and the plan of a gate on what a mixer puts out."""

from nas.plan import Call
from nas.search_spaces.ops import Ops, elementwise, linear

_MODULE = "nas.search_spaces.pieces.gate.module"


def silu_gate(name: str, reads: str, dim: int, width: int, *, bias: bool = False) -> Ops:
    """`reads` times the SiLU of a projection of ``x``; the last operator is called `name`."""
    projection = linear(f"{name}_projection", "x", dim, width, bias=bias)
    return (projection, elementwise(name, (reads, projection.name), width))


def silu_gate_plan(dim: int, width: int, *, bias: bool = False) -> Call:
    """How the gate is built."""
    return Call(f"{_MODULE}:SiluGate", {"dim": dim, "width": width, "bias": bias})


def ungated_plan() -> Call:
    """How it is built where there is none."""
    return Call(f"{_MODULE}:Ungated")
