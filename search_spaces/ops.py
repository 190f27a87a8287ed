"""Operators: the words in which a part describes what it computes, and what that costs.

A description is a tuple of ``Op``, in an order in which they can run. The input is called ``x``,
the last operator is the output. ``scope`` puts descriptions together. Torch-free.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

INPUT = "x"


@dataclass(frozen=True, slots=True)
class Op:
    """One operator and the tensor that it writes."""

    name: str
    reads: tuple[str, ...]
    """Names of earlier operators, or ``x``."""
    shape: tuple[int, ...]
    """What it writes for each token: (width,) or (heads, width)."""
    kind: str = "elementwise"
    expects: tuple[tuple[int, ...] | None, ...] = ()
    """Shapes it needs to read, one for each of `reads`; None accepts anything."""
    params: int = 0
    active_params: int | None = None
    """None means all of `params`."""
    flops: int = 0
    """Per token of a forward pass."""
    decode_flops: int | None = None
    """Of one decoding step; None means the same as `flops`."""
    scratch: int = 0
    """Further values per token that live only while it runs."""

    @property
    def width(self) -> int:
        """Values written for each token."""
        total = 1
        for size in self.shape:
            total *= size
        return total


Ops: TypeAlias = tuple[Op, ...]


def linear(name: str, reads: str, width_in: int, width_out: int, *, bias: bool = False) -> Op:
    """A matrix product with an optional bias: 2 x in x out FLOPs per token."""
    return Op(
        name,
        (reads,),
        (width_out,),
        kind="linear",
        expects=((width_in,),),
        params=width_in * width_out + (width_out if bias else 0),
        flops=2 * width_in * width_out,
    )


def elementwise(name: str, reads: Sequence[str], width: int, *, params: int = 0) -> Op:
    """An operation on each value; its FLOPs are not counted."""
    return Op(name, tuple(reads), (width,), expects=tuple((width,) for _ in reads), params=params)


def shared(values: int) -> int:
    """Scratch per token of values that the sequences of a batch share, such as a mask; taken as two
    sequences, for a batch is not known here."""
    return -(-values // 2)


def scope(ops: Ops, name: str, reads: str) -> Ops:
    """The same operators under a prefix, reading their input from another operator."""

    def rename(read: str) -> str:
        return reads if read == INPUT else f"{name}.{read}"

    return tuple(
        Op(f"{name}.{op.name}", tuple(map(rename, op.reads)), *(getattr(op, f) for f in _KEPT))
        for op in ops
    )


_KEPT = tuple(field.name for field in fields(Op))[2:]
"""What an operator keeps under another name; ``dataclasses.replace`` takes four times as long."""


def output(ops: Ops, reads: str = INPUT) -> str:
    """The name of what a description hands on; an empty one hands on its input."""
    return ops[-1].name if ops else reads


def merge_costs(ops: Ops) -> tuple[int, int, int, int]:
    """Sums of (params, active params, FLOPs per token, FLOPs of a decoding step)."""
    return (
        sum(op.params for op in ops),
        sum(op.params if op.active_params is None else op.active_params for op in ops),
        sum(op.flops for op in ops),
        sum(op.flops if op.decode_flops is None else op.decode_flops for op in ops),
    )
