"""What the options of softmax attention cost, and how their modules are built. No torch here."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from nas.plan import Call
from nas.search_spaces.base import Gate, HeadShape, Place
from nas.search_spaces.ops import INPUT, Op, Ops, elementwise, linear

MODULE = "nas.search_spaces.pieces.attention_stages.module"
Projections: TypeAlias = Literal["separate", "collapsed", "symmetric", "random", "random_biased"]
"""Where queries and keys come from."""
Temperature: TypeAlias = Literal["fixed", "token", "position", "token_and_position"]
"""On what the temperature of softmax depends."""
_PREVIOUS = "previous"


def chain(name: str, ops: Sequence[Op]) -> Ops:
    """Operators in a row, the last one called `name`; each reads the one before it."""
    row: list[Op] = []
    previous = INPUT
    for index, op in enumerate(ops):
        called = name if index == len(ops) - 1 else f"{name}.{op.name}"
        reads = tuple(previous if read == _PREVIOUS else read for read in op.reads)
        row.append(replace(op, name=called, reads=reads))
        previous = called
    return tuple(row)


def step(name: str, width: int, *, params: int = 0) -> Op:
    """A link of a chain that changes each value."""
    return elementwise(name, (_PREVIOUS,), width, params=params)


def gated(factors: Ops, width: int) -> Op:
    """A link of a chain that multiplies by the factors of a gate."""
    factor = factors[-1]
    return Op("gated", (_PREVIOUS, factor.name), (width,), expects=((width,), factor.shape))


def query_op(projections: Projections, at: Place, heads: int) -> Op:
    """From a token to the queries that are held against whole tokens."""
    op = linear("product", INPUT, at.dim, heads * at.dim)
    if projections == "collapsed":
        return op
    if projections == "symmetric":  # a triangle, applied twice
        triangle = heads * at.dim * (at.dim + 1) // 2
        return replace(op, params=triangle, flops=2 * op.flops)
    return replace(op, params=0)  # frozen


def query_plan(projections: Projections, at: Place, heads: int) -> Call:
    """The module for the same."""
    numbers = {"dim": at.dim, "heads": heads}
    if projections == "collapsed":
        return Call(f"{MODULE}:CollapsedQuery", numbers)
    if projections == "symmetric":
        return Call(f"{MODULE}:SymmetricQuery", numbers)
    mean = 1.0 if projections == "random_biased" else 0.0
    return Call(f"{MODULE}:RandomQuery", {**numbers, "mean": mean})


def gate_stage(gate: Gate, at: Place, what: str, heads: int, width: int) -> tuple[Call, ...]:
    """The stage in which a gate is applied, if it stands there."""
    if not gate.gates(what):
        return ()
    name = {
        "query": "GatedQuery",
        "key": "GatedKey",
        "value": "GatedValue",
        "heads": "GatedHeads",
        "out": "GatedResult",
    }[what]
    return (Call(f"{MODULE}:{name}", {"gate": gate.gate_plan(at, heads, width)}),)


def temperature_params(temperature: Temperature, shape: HeadShape) -> int:
    """Learned numbers of the queries' temperature."""
    token = shape.heads * shape.key_dim if "token" in temperature else 0
    return token + (shape.heads if "position" in temperature else 0)


def temperature_stage(temperature: Temperature, at: Place, shape: HeadShape) -> tuple[Call, ...]:
    """The stage in which queries get a temperature, if it is not fixed."""
    terms: list[Call] = []
    if "token" in temperature:
        numbers = {"heads": shape.heads, "width": shape.key_dim}
        terms.append(Call(f"{MODULE}:TokenTerm", numbers))
    if "position" in temperature:
        name = "PositionTerm" if at.causal else "LengthTerm"
        terms.append(Call(f"{MODULE}:{name}", {"heads": shape.heads}))
    return (Call(f"{MODULE}:SelectiveQuery", {"terms": tuple(terms)}),) if terms else ()


def folded_ops(inner: Ops, dim: int, factor: int) -> Ops:
    """The operators of an attention over pieces, for whole tokens."""
    pieces = (factor, dim // factor)
    fold = Op("fold", (INPUT,), pieces, expects=((dim,),))
    row = [_for_pieces(op, factor) for op in inner]
    return (fold, *row, Op("unfold", (row[-1].name,), (dim,), expects=(pieces,)))


def _for_pieces(op: Op, factor: int) -> Op:
    return replace(
        op,
        reads=tuple("fold" if read == INPUT else read for read in op.reads),
        shape=(factor, *op.shape),
        expects=tuple(None if shape is None else (factor, *shape) for shape in op.expects),
        flops=factor * op.flops,
        decode_flops=None if op.decode_flops is None else factor * op.decode_flops,
        scratch=factor * op.scratch,
    )
