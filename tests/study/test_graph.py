"""The graph of an architecture: its checks, its sums, its peak memory and its distances."""

import itertools
import random
import subprocess
import sys
import weakref
from functools import cache
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nas import distance as distance_module
from nas.errors import Infeasible
from nas.graph import (
    architecture_graph,
    check_shapes,
    critical_path,
    distance,
    ops_graph,
    peak_activation_bytes,
    summary,
)
from nas.plan import execute
from nas.search_spaces.architecture import Architecture, Layer
from nas.search_spaces.legality import longest_input
from nas.search_spaces.ops import Op, elementwise, linear
from nas.search_spaces.space import SearchSpace
from nas.search_spaces.spaces import preset, preset_names
from tests.contracts.architectures import architecture_with
from tests.contracts.instances import INSTANCES, Instance, given

ATTENTION = {"kind": "attention", "heads": 4, "groups": 2, "head_dim": 16}
SWIGLU = {"kind": "swiglu", "hidden": 96}
CONTEXT = 48


def stack(
    *,
    mixer: Any = ATTENTION,
    ffn: Any = SWIGLU,
    block: Any = None,
    depth: int = 2,
    **rest: Any,
) -> Architecture:
    """The same layer `depth` times at a width of 64."""
    layer = {"mixer": mixer, "ffn": ffn, "block": block or {"kind": "sequential"}}
    return Architecture.model_validate({"vocab": 32, "dim": 64, "layers": [layer] * depth, **rest})


@cache
def members() -> tuple[Architecture, ...]:
    """Random architectures over the whole catalogue."""
    space = SearchSpace.model_validate(
        {
            "vocab": 32,
            "dim": {"choice": [64, 128]},
            "depth": {"range": [1, 7]},
            "embedding": {"choice": given("embeddings")},
            "mixer": {"kind": "each", "part": {"choice": given("mixers")}},
            "ffn": {"kind": "each", "part": {"choice": given("ffns")}},
            "block": {"kind": "each", "part": {"choice": given("blocks")}},
            "tied": {"choice": [True, False]},
        }
    )
    return tuple(space.example(seed) for seed in range(24))


def assert_sums(architecture: Architecture) -> None:
    graph = architecture_graph(architecture, context=CONTEXT)
    check_shapes(graph)
    cost = architecture.cost(CONTEXT)
    for name in ("params", "active_params", "flops", "decode_flops"):
        assert sum(graph.nodes[node][name] for node in graph) == getattr(cost, name)


@pytest.mark.parametrize("instance", INSTANCES, ids=repr)
def test_every_part_fits_the_graph(instance: Instance) -> None:
    assert_sums(architecture_with(instance))


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_fits_the_graph(name: str) -> None:
    space = SearchSpace.model_validate(preset(name))
    for seed in range(3):
        assert_sums(space.example(seed))


def test_random_mixtures_fit_the_graph() -> None:
    for architecture in members():
        assert_sums(architecture)


def test_edges_carry_shapes_and_nodes_their_layer() -> None:
    graph = architecture_graph(stack(), context=CONTEXT)
    edge = graph.edges["layers.1.mixer.inner.query", "layers.1.mixer.inner.attend"]
    assert edge["shape"] == (64,)
    assert graph.nodes["layers.1.mixer.inner.attend"]["layer"] == 1
    assert graph.nodes["head.product"]["layer"] is None
    assert graph.nodes["x"]["kind"] == "input"


# What check_shapes refuses -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        (
            (Op("up", ("x",), (8,)), linear("down", "up", 9, 4)),
            r"down expects shape \(9,\) from up, which writes \(8,\)",
        ),
        (
            (Op("a", ("x",), (2,)), Op("b", ("a", "x"), (2,), expects=((2,),))),
            "b reads 2 tensors and expects 1",
        ),
        (
            (Op("a", ("x",), (4,)), Op("b", ("a", "gone"), (4,))),
            "b reads 'gone', which no operator",
        ),
        ((Op("a", ("x", "b"), (4,)), Op("b", ("a",), (4,))), "a reads b, which runs later"),
        ((Op("a", ("x", "a"), (4,)),), "a reads a, which runs later or is the same"),
        (
            (Op("a", ("x",), (4,)), Op("b", (), (4,)), Op("c", ("a", "b"), (4,))),
            "b does not depend on the input",
        ),
        ((Op("a", ("x",), (4,)), Op("b", ("x",), (4,))), "a does not contribute to the output 'b'"),
    ],
)
def test_a_graph_that_cannot_run_is_refused(ops: tuple[Op, ...], message: str) -> None:
    graph = ops_graph(ops)
    with pytest.raises(Infeasible, match=message):
        check_shapes(graph)


@pytest.mark.parametrize("name", ["a", "x"])
def test_a_name_may_be_used_once(name: str) -> None:
    with pytest.raises(Infeasible, match=f"two operators are called '{name}'"):
        ops_graph((Op("a", ("x",), (4,)), Op(name, ("a",), (4,))))


def test_none_accepts_any_shape() -> None:
    check_shapes(ops_graph((Op("a", ("x",), (2, 4)), Op("b", ("a",), (8,), expects=(None,)))))


# Peak memory -------------------------------------------------------------------------------------


def simulated_peak(ops: tuple[Op, ...]) -> int:
    """By the definition, one moment at a time: values per token."""

    def is_held(written: int, moment: int) -> bool:
        name = ops[written].name
        read_later = any(name in op.reads for op in ops[moment:])
        return written == moment or (written < moment and (read_later or written == len(ops) - 1))

    return max(
        op.scratch + sum(ops[written].width for written in range(len(ops)) if is_held(written, now))
        for now, op in enumerate(ops)
    )


def random_ops(generator: random.Random) -> tuple[Op, ...]:
    names = ["x"]
    ops = []
    for index in range(generator.randrange(1, 12)):
        reads = tuple(generator.choices(names, k=generator.randrange(1, 4)))
        shape = tuple(generator.choices(range(1, 9), k=generator.randrange(1, 3)))
        ops.append(Op(f"n{index}", reads, shape, scratch=generator.choice((0, 0, 20))))
        names.append(f"n{index}")
    return tuple(ops)


class Fixed:
    """Stands for an architecture with the given operators."""

    def __init__(self, ops: tuple[Op, ...]) -> None:
        self.ops = lambda context: ops


def test_peak_equals_a_simulation_on_random_graphs() -> None:
    generator = random.Random(0)
    for _ in range(300):
        ops = random_ops(generator)
        peak = peak_activation_bytes(Fixed(ops), batch=2, tokens=3, value_bytes=4)
        assert peak == 2 * 3 * 4 * simulated_peak(ops)


def test_peak_equals_a_simulation_on_architectures() -> None:
    for architecture in members()[:8]:
        peak = peak_activation_bytes(architecture, batch=1, tokens=CONTEXT, value_bytes=2)
        assert peak == 2 * CONTEXT * simulated_peak(architecture.ops(CONTEXT))


def test_operands_result_and_scratch_are_held_together() -> None:
    ops = (Op("a", ("x",), (5,)), Op("b", ("a",), (7,), scratch=100), elementwise("c", ("b",), 7))
    assert peak_activation_bytes(Fixed(ops), batch=1, tokens=1, value_bytes=1) == 5 + 7 + 100


class Watch(TorchDispatchMode):
    """Records which storages a forward pass makes, reads and holds."""

    def __init__(self, model: torch.nn.Module, tokens: torch.Tensor) -> None:
        super().__init__()
        given = (*model.parameters(), *model.buffers(), tokens)
        self.given = {tensor.untyped_storage()._cdata for tensor in given}
        self.alive: dict[int, tuple[int, Any]] = {}  # address -> (serial number, weak reference)
        self.bytes: list[int] = []  # by serial number
        self.first: list[int] = []
        self.last: list[int] = []
        self.step = self.held = self.peak_held = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, result)):
            if isinstance(tensor, torch.Tensor):
                self.touch(tensor.untyped_storage())
        self.peak_held = max(self.peak_held, self.held)
        self.step += 1
        return result

    def touch(self, storage: Any) -> None:
        address = storage._cdata
        if address in self.given:
            return
        if address not in self.alive:
            size = storage.nbytes()
            self.alive[address] = (
                len(self.bytes),
                weakref.ref(storage, lambda _: self.release(address, size)),
            )
            self.bytes.append(size)
            self.first.append(self.step)
            self.last.append(self.step)
            self.held += size
        self.last[self.alive[address][0]] = self.step

    def release(self, address: int, size: int) -> None:
        del self.alive[address]
        self.held -= size

    def peak_needed(self) -> int:
        """With each storage freed after its last use."""
        spans = list(zip(self.first, self.last, self.bytes, strict=True))
        return max(
            sum(size for first, last, size in spans if first <= now <= last)
            for now in range(self.step)
        )


@pytest.mark.parametrize("residual", ["pre_norm", "post_norm", "sandwich"])
@pytest.mark.parametrize("block", ["sequential", "parallel"])
@pytest.mark.parametrize(
    ("mixer", "ffn"),
    [
        ({"kind": "identity"}, {"kind": "gelu", "hidden": 256}),
        ({"kind": "identity"}, {"kind": "relu_squared", "hidden": 16}),
        ({**ATTENTION, "position": {"kind": "none"}}, SWIGLU),
    ],
)
def test_peak_agrees_with_a_real_forward_pass(
    mixer: Any, ffn: Any, block: str, residual: str
) -> None:
    norm = {"kind": "layer"}  # one call of torch's; its statistics are two values per token
    wiring = {"kind": block, "residual": {"kind": residual, "norm": norm}}
    architecture = stack(mixer=mixer, ffn=ffn, block=wiring, norm=norm)
    model = execute(architecture.plan()).eval()
    tokens = torch.zeros(2, 64, dtype=torch.long)
    with torch.no_grad(), Watch(model, tokens) as watch:
        model(tokens)
    peak = peak_activation_bytes(architecture, batch=2, tokens=64, value_bytes=4)
    statistics = 4 * 2 * 64 * 4  # of a norm, or of the four attention heads
    assert peak <= watch.peak_needed() <= peak + statistics
    # what eager mode holds beyond need: the stack's and the block's x, and a norm's result
    assert peak <= watch.peak_held <= peak + statistics + 3 * 2 * 64 * 64 * 4


@pytest.mark.parametrize(
    "instance", [i for i in INSTANCES if i.slot in ("mixers", "ffns")], ids=repr
)
def test_peak_is_near_what_every_part_needs(instance: Instance) -> None:
    architecture = architecture_with(instance)
    longest = longest_input(architecture)
    length = 256 if longest is None else min(256, longest[0])
    torch.manual_seed(0)
    model = execute(architecture.plan()).eval()
    tokens = torch.randint(0, 32, (2, length))
    with torch.no_grad(), Watch(model, tokens) as watch:
        model(tokens)
    peak = peak_activation_bytes(architecture, batch=2, tokens=length, value_bytes=4)
    assert 0.7 * peak <= watch.peak_needed() <= 1.5 * peak
    assert watch.peak_needed() <= watch.peak_held <= 3 * peak


# The longest chain, the summary ------------------------------------------------------------------


def longest_chain(ops: tuple[Op, ...]) -> int:
    """FLOPs of the longest chain, by following every path."""
    by_name = {op.name: op for op in ops}

    def to(name: str) -> int:
        return 0 if name == "x" else by_name[name].flops + max(map(to, by_name[name].reads))

    return max(to(op.name) for op in ops)


def test_critical_path_follows_every_path() -> None:
    generator = random.Random(1)
    for _ in range(100):
        ops = tuple(
            Op(op.name, op.reads, op.shape, flops=generator.randrange(10))
            for op in random_ops(generator)
        )
        graph = ops_graph(ops)
        flops, chain = critical_path(graph)
        assert flops == longest_chain(ops) == sum(graph.nodes[name]["flops"] for name in chain)
        assert all(graph.has_edge(a, b) for a, b in itertools.pairwise(["x", *chain]))


def test_critical_path_of_a_layer_takes_one_of_parallel_matrices() -> None:
    architecture = stack(depth=1)
    flops, chain = critical_path(architecture_graph(architecture, context=CONTEXT))
    names = [name.rpartition(".")[2] for name in chain]
    assert names[1:5] == ["rms", "query", "attend", "out"]
    total = architecture.cost(CONTEXT).flops
    assert flops == total - 2 * (2 * 64 * 32) - 2 * 64 * 96  # less key, value and one FFN matrix


def test_summary_agrees_with_its_parts() -> None:
    architecture = stack(depth=3)
    found = summary(architecture, context=CONTEXT, batch=2, value_bytes=2)
    graph = architecture_graph(architecture, context=CONTEXT)
    assert found.operators == len(graph) - 1 == len(architecture.ops(CONTEXT))
    assert found.tensors == graph.number_of_edges()
    assert found.params == architecture.cost(CONTEXT).params
    assert found.flops == architecture.cost(CONTEXT).flops
    assert found.critical_path_flops == critical_path(graph).flops < found.flops
    peak = peak_activation_bytes(architecture, batch=2, tokens=CONTEXT, value_bytes=2)
    assert found.peak_activation_bytes == peak
    assert found.peak_operator in graph


def test_importing_the_module_does_not_import_networkx_or_torch() -> None:
    code = "import sys, nas.graph; print({'networkx', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# Distance ----------------------------------------------------------------------------------------


@cache
def table() -> list[list[float]]:
    return [[distance(a, b) for b in members()] for a in members()]


def test_distance_is_symmetric_and_from_0_to_1() -> None:
    for i, j in itertools.combinations(range(len(members())), 2):
        assert 0 < table()[i][j] == table()[j][i] <= 1


def test_distance_is_zero_only_to_itself() -> None:
    for (i, a), (j, b) in itertools.product(enumerate(members()), repeat=2):
        assert (table()[i][j] == 0) == (a.id == b.id)
    again = Architecture.model_validate_json(members()[0].model_dump_json())
    assert distance(members()[0], again) == 0


def test_no_detour_is_shorter() -> None:
    close = [
        stack(depth=depth, ffn={**SWIGLU, "hidden": h})
        for depth in (1, 2, 3)
        for h in (8, 9, 16, 32)
    ]
    windows = [{"kind": "window", "window": window} for window in (1, 2, 999)]
    close += [stack(mixer={**ATTENTION, "scope": scope}) for scope in windows]
    near = [[distance(a, b) for b in close] for a in close]
    for distances in (table(), near):
        for i, j, k in itertools.product(range(len(distances)), repeat=3):
            assert distances[i][k] <= distances[i][j] + distances[j][k] + 1e-12


@pytest.mark.parametrize("slot", sorted({instance.slot for instance in INSTANCES}))
def test_every_difference_in_a_part_shows(slot: str) -> None:
    architectures = [architecture_with(i) for i in INSTANCES if i.slot == slot]
    for a, b in itertools.combinations(architectures, 2):
        assert (distance(a, b) > 0) == (a.id != b.id)


def test_the_smallest_difference_of_a_number_shows() -> None:
    bases = (10_000.0, 10_000.000000000002, 1e9)
    positions = [{"kind": "rotary", "base": base} for base in bases]
    a, b, c = (stack(mixer={**ATTENTION, "position": position}) for position in positions)
    assert 0 < distance(a, b) < distance(a, c)


def test_every_field_of_an_architecture_and_a_layer_counts() -> None:
    base = stack()
    layer = {"kind": "layer"}
    changed = {
        "vocab": stack(vocab=33),
        "dim": stack(dim=72),
        "embedding": stack(embedding={"kind": "learned_position", "max_tokens": 64}),
        "layers": stack(depth=3),
        "norm": stack(norm=layer),
        "tied": stack(tied=False),
        "family": stack(family="encoder"),
    }
    assert set(changed) == set(Architecture.model_fields) - {"head"}
    assert all(distance(base, other) > 0 for other in changed.values())
    classes = {"kind": "classification", "classes": 2}
    assert distance(changed["family"], stack(family="encoder", head=classes)) > 0
    assert set(distance_module._LAYER_WEIGHTS) == set(Layer.model_fields)


def test_distance_orders_changes_as_a_person_would() -> None:
    base = stack(depth=4)
    slightly = stack(depth=4, ffn={**SWIGLU, "hidden": 112})
    wider = stack(depth=4, ffn={**SWIGLU, "hidden": 384})
    other_mixer = stack(depth=4, mixer={"kind": "identity"})
    deeper = stack(depth=8)
    nothing_alike = stack(
        depth=1,
        mixer={"kind": "identity"},
        ffn={"kind": "gelu", "hidden": 8},
        block={"kind": "parallel"},
        vocab=4096,
        dim=1024,
        embedding={"kind": "learned_position", "max_tokens": 64},
        norm={"kind": "layer"},
        tied=False,
    )
    distances = [distance(base, b) for b in (slightly, wider, other_mixer, nothing_alike)]
    assert distances == sorted(distances)
    assert distance(base, stack(depth=5)) < distance(base, deeper) < distances[-1]


def test_an_inserted_layer_costs_the_same_anywhere() -> None:
    """Stacks are aligned, not compared position by position."""
    base = stack(depth=6).model_dump()
    extra = stack(mixer={"kind": "identity"}, depth=1).model_dump()["layers"]
    for at in (0, 3, 6):
        layers = (*base["layers"][:at], *extra, *base["layers"][at:])
        longer = Architecture.model_validate({**base, "layers": layers})
        assert distance(stack(depth=6), longer) == pytest.approx(0.7 * 2 * 0.5 / (0.5 + 6.5))
