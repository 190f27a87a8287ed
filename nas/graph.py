"""An architecture as a graph: operators are nodes with their cost, tensors are edges with their
shapes. Checks, peak memory, the longest chain and the summary that the service shows.

networkx is imported where a graph is made, so that importing this module stays cheap; peak memory,
which every candidate is asked for, needs no graph.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from nas.distance import distance as distance
from nas.errors import Infeasible
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.ops import INPUT, Op

if TYPE_CHECKING:
    import networkx as nx

Shape = tuple[int, ...]


class Chain(NamedTuple):
    """Operators that have to run one after another."""

    flops: int
    """Per token."""
    operators: list[str]
    """First to last."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What the graph of an architecture shows, in numbers."""

    operators: int
    tensors: int
    """Reads of one operator's result by another, and of the input."""
    params: int
    flops: int
    """Per token of a forward pass over `context` tokens."""
    critical_path_flops: int
    """Per token, along the longest chain."""
    critical_path_operators: int
    peak_activation_bytes: int
    peak_operator: str
    """The operator that runs when most is held."""


# Building ----------------------------------------------------------------------------------------


def architecture_graph(architecture: Architecture, *, context: int) -> "nx.DiGraph":
    """The operators of an architecture at a context length in tokens; see `ops_graph`."""
    return ops_graph(architecture.ops(context))


def ops_graph(ops: Sequence[Op]) -> "nx.DiGraph":
    """A node for the input ``x`` and for each operator, in the order in which they run.

    Nodes carry kind, layer (None outside the stack), shape and expects (per token), reads, params,
    active_params, flops, decode_flops (per token) and scratch (values per token). Edges run from
    writer to reader and carry the tensor's shape per token. Raises Infeasible where two operators
    share a name; everything else that can be wrong is left to `check_shapes`.
    """
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_node(INPUT, **_attributes(Op(INPUT, (), (), kind="input")))
    for op in ops:
        if op.name in graph:
            raise Infeasible(
                f"graph: two operators are called {op.name!r}; every name may be used once"
            )
        graph.add_node(op.name, **_attributes(op))
    shapes = {name: data["shape"] for name, data in graph.nodes(data=True)}
    graph.add_edges_from(
        (read, op.name, {"shape": shapes.get(read)}) for op in ops for read in op.reads
    )
    return graph


def _attributes(op: Op) -> dict[str, Any]:
    return {
        "kind": op.kind,
        "layer": layer_of(op.name),
        "shape": op.shape,
        "reads": op.reads,
        "expects": op.expects,
        "params": op.params,
        "active_params": op.params if op.active_params is None else op.active_params,
        "flops": op.flops,
        "decode_flops": op.flops if op.decode_flops is None else op.decode_flops,
        "scratch": op.scratch,
    }


def layer_of(operator: str) -> int | None:
    """The layer to which an operator belongs, told by its name; None outside the stack."""
    scope, _, rest = operator.partition(".")
    return int(rest.partition(".")[0]) if scope == "layers" else None


# Checking ----------------------------------------------------------------------------------------


def check_shapes(graph: "nx.DiGraph") -> None:
    """Whether the graph can run: every operator finds what it reads, in the shape that it expects,
    without circles, and works towards the output.

    Raises Infeasible naming the operator, what it expects and what it found.
    """
    for name, data in graph.nodes(data=True):
        if "kind" not in data:
            readers = ", ".join(sorted(graph.successors(name)))
            raise Infeasible(f"graph: {readers} reads {name!r}, which no operator writes")
        _check_reads(graph, name, data["reads"], data["expects"])
    _check_order(graph)
    _check_use(graph)


def _check_reads(
    graph: "nx.DiGraph", name: str, reads: tuple[str, ...], expects: tuple[Shape | None, ...]
) -> None:
    if expects and len(expects) != len(reads):
        raise Infeasible(
            f"graph: {name} reads {len(reads)} tensors and expects {len(expects)}; "
            "it needs one expected shape for each, or none at all"
        )
    for read, expected in zip(reads, expects, strict=bool(expects)):
        found = graph.nodes[read].get("shape", expected)
        if expected is not None and found != expected:
            raise Infeasible(
                f"graph: {name} expects shape {expected} from {read}, which writes {found}"
            )


def _check_order(graph: "nx.DiGraph") -> None:
    position = {name: index for index, name in enumerate(graph)}
    for writer, reader in graph.edges:
        if position[writer] >= position[reader]:
            raise Infeasible(
                f"graph: {reader} reads {writer}, which runs later or is the same; "
                "an operator may read only those before it"
            )


def _check_use(graph: "nx.DiGraph") -> None:
    import networkx as nx

    *_, output = graph
    fed = nx.descendants(graph, INPUT) | {INPUT}
    used = nx.ancestors(graph, output) | {output}
    for name in graph:
        if name not in fed:
            raise Infeasible(f"graph: {name} does not depend on the input {INPUT!r}")
        if name not in used:
            raise Infeasible(f"graph: {name} does not contribute to the output {output!r}")


# Memory ------------------------------------------------------------------------------------------


def peak_activation_bytes(
    architecture: Architecture, *, batch: int, tokens: int, value_bytes: int
) -> int:
    """Most bytes of activations held at once in a forward pass for inference, by liveness.

    Operators run in their listed order. Counted: each operator's result, from the moment that the
    operator starts until its last reader has ended, with the operands still there while the result
    is written; the logits, until the end; an operator's scratch, while it runs. Results are taken
    as `batch` x `tokens` x width values.

    Not counted: parameters, gradients and optimiser state; the token ids, which belong to the
    caller; cache and recurrent state; what an allocator rounds up or keeps; temporaries inside an
    operator that it does not declare as scratch. Nor what a program holds without need: eager
    PyTorch keeps everything that a local variable names until its function returns. With stacks of
    plain layers a real pass needs what this says; over the catalogue it needs 0.7 to 1.5 times as
    much, and eager PyTorch holds up to 3 times as much (``tests/study/test_graph.py`` measures).
    """
    values, _ = _peak(architecture.ops(tokens))
    return values * batch * tokens * value_bytes


def _peak(ops: Sequence[Op]) -> tuple[int, str]:
    """Most values per token held at once, and the operator that runs then."""
    last_reader = {read: index for index, op in enumerate(ops) for read in op.reads}
    widths = {op.name: op.width for op in ops}
    held, peak, where = 0, 0, ops[0].name
    for index, op in enumerate(ops):
        held += op.width
        if held + op.scratch > peak:
            peak, where = held + op.scratch, op.name
        if op.name not in last_reader:
            held -= op.width
        freed = {read for read in op.reads if read != INPUT and last_reader[read] == index}
        held -= sum(widths[read] for read in freed)
    return peak, where


# The longest chain -------------------------------------------------------------------------------


def critical_path(graph: "nx.DiGraph") -> Chain:
    """The chain of operators with the most FLOPs per token; among equals the one with the most
    operators. No machine that runs one operator after another on such a chain is faster than it.
    """
    import networkx as nx

    best: dict[str, tuple[int, int]] = {}
    before: dict[str, str | None] = {}
    for name in nx.lexicographical_topological_sort(graph, key=str):
        previous = max(graph.predecessors(name), key=lambda found: best[found], default=None)
        flops, length = (0, 0) if previous is None else best[previous]
        best[name] = (flops + graph.nodes[name]["flops"], length + 1)
        before[name] = previous
    at: str | None = max(best, key=lambda name: best[name])
    flops = best[at][0] if at is not None else 0
    chain: list[str] = []
    while at is not None and at != INPUT:
        chain.append(at)
        at = before[at]
    return Chain(flops, chain[::-1])


def summary(
    architecture: Architecture, *, context: int, batch: int = 1, value_bytes: int = 4
) -> Summary:
    """The numbers of an architecture's graph, for a forward pass over `context` tokens."""
    ops = architecture.ops(context)
    graph = ops_graph(ops)
    check_shapes(graph)
    chain = critical_path(graph)
    values, peak_operator = _peak(ops)
    return Summary(
        operators=len(ops),
        tensors=graph.number_of_edges(),
        params=sum(op.params for op in ops),
        flops=sum(op.flops for op in ops),
        critical_path_flops=chain.flops,
        critical_path_operators=len(chain.operators),
        peak_activation_bytes=values * batch * context * value_bytes,
        peak_operator=peak_operator,
    )
