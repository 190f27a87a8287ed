"""What every implementation of the delta rules is held to.

Shapes: B batch, H heads, T time, K key width, V value width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus
from torch.utils.flop_counter import FlopCounterMode

from nas.kernels.channel_delta_rule import chunked as channel_chunked
from nas.kernels.channel_delta_rule import cost as channel_cost
from nas.kernels.channel_delta_rule import reference as channel_reference
from nas.kernels.channel_delta_rule.api import channel_delta_rule
from nas.kernels.gated_delta_rule import chunked as gated_chunked
from nas.kernels.gated_delta_rule import cost as gated_cost
from nas.kernels.gated_delta_rule import reference as gated_reference
from nas.kernels.gated_delta_rule.api import gated_delta_rule
from nas.kernels.linear_attention.reference import linear_attention
from nas.kernels.runtime.checking import DEVICE, check_budget, check_exact, error, with_gradients
from nas.kernels.runtime.impl import Impl, use_impl

KEY, VALUE = 5, 7
SPILLED = 160
"""Bytes of a thread that a kernel may spill at heads of 64: a few registers, reloaded rarely."""


@dataclass(frozen=True)
class Rule:
    """One of the two ops."""

    op: Callable[..., tuple[Tensor, Tensor]]
    """The function of ``api.py``."""
    chunked: ModuleType
    reference: ModuleType
    cost: ModuleType
    constant: str
    """Name of the length of a chunk, in ``chunked.py`` and ``cost.py``."""
    channel: bool
    """Whether each key channel has a decay of its own."""
    future: float
    """How much a change in the future may move what comes before it, by rounding."""

    @property
    def name(self) -> str:
        return self.op.__name__

    @property
    def chunk(self) -> int:
        return int(getattr(self.chunked, self.constant))

    def all_channels(self, log_decay: Tensor) -> Tensor:
        """A decay [B, H, T] as this op takes it."""
        return log_decay[..., None] if self.channel else log_decay


GATED = Rule(
    gated_delta_rule, gated_chunked, gated_reference, gated_cost, "DELTA_CHUNK", False, 0.0
)
CHANNEL = Rule(
    channel_delta_rule,
    channel_chunked,
    channel_reference,
    channel_cost,
    "CHANNEL_DELTA_CHUNK",
    True,
    1e-14,  # the middle of a chunk moves, and with it the rounding
)
RULES = [GATED, CHANNEL]


def draw(
    rule: Rule,
    heads: int,
    time: int,
    *,
    decay: bool = True,
    batch: int = 2,
    key: int = KEY,
    value: int = VALUE,
) -> list[Tensor]:
    """q, k, v, log_decay, beta in [0, 2] and a state in float64."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    times = (batch, heads, time)
    decays = (*times, key) if rule.channel else times
    log_decay = -softplus(normal(*decays))
    if not decay:
        log_decay = torch.zeros([1] * len(decays), dtype=torch.float64)
    k = normalize(normal(*times, key), dim=-1)
    beta = 2 * normal(*times).sigmoid()
    drawn = [normal(*times, key), k, normal(*times, value), log_decay, beta]
    return [x.to(DEVICE) for x in (*drawn, normal(batch, heads, key, value))]


def check_values(impl: Impl, rule: Rule, inputs: list[Tensor]) -> None:
    check_exact(impl, rule.op, inputs)


def check_split(impl: Impl, rule: Rule, cuts: tuple[int, ...], *, lines: int = 2) -> None:
    """The state carried over cuts gives what the whole gives."""
    *inputs, state = draw(rule, lines, cuts[-1], batch=lines)
    with use_impl(impl):
        whole, last = rule.op(*[*inputs, state])
        parts = []
        for start, end in zip((0, *cuts), cuts, strict=False):
            o, state = rule.op(*[*(x[:, :, start:end] for x in inputs), state])
            parts.append(o)
    assert error(torch.cat(parts, dim=2), whole) < 1e-12
    assert error(state, last) < 1e-12


def check_causal(impl: Impl, rule: Rule, time: int, change: int, *, lines: int = 2) -> None:
    """A change in the future changes nothing before it."""
    inputs = draw(rule, lines, time, batch=lines)[:5]
    with use_impl(impl):
        before, _ = rule.op(*inputs)
        for x in inputs:
            x[:, :, change:] *= 0.5
        after, _ = rule.op(*inputs)
    assert error(after[:, :, :change], before[:, :, :change]) <= rule.future
    assert not torch.equal(before[:, :, change:], after[:, :, change:])


def check_full_write(impl: Impl, rule: Rule) -> None:
    """With unit keys and beta 1, a query equal to the key reads the value just written."""
    _, k, v, log_decay, beta, state = draw(rule, 2, 9)
    with use_impl(impl):
        o, _ = rule.op(k, k, v, log_decay, torch.ones_like(beta), state)
    torch.testing.assert_close(o, v)


def check_orthogonal_keys(impl: Impl, rule: Rule) -> None:
    """Keys that never meet again leave plain linear attention."""
    q, _, v, log_decay, beta, _ = draw(rule, 2, KEY)
    k = torch.eye(KEY, dtype=torch.float64, device=q.device).expand(2, 2, KEY, KEY)
    with use_impl(impl):
        o, state = rule.op(q, k, v, log_decay, beta)
    decays = log_decay if rule.channel else log_decay[..., None]
    expected, last = linear_attention(q, k * beta[..., None], v, decays)
    torch.testing.assert_close(o, expected)
    torch.testing.assert_close(state, last)


def check_low_precision(
    impl: Impl,
    rule: Rule,
    dtype: torch.dtype,
    time: int,
    *,
    decay: bool,
    wide: bool = False,
    lines: int = 2,
    key: int = KEY,
    value: int = VALUE,
) -> None:
    """All inputs rounded, or with `wide` all but decays and state, as models call it."""
    inputs = draw(rule, lines, time, decay=decay, batch=lines, key=key, value=value)
    inputs[4] /= 2
    low = [x.to(dtype) for x in inputs]
    if wide:
        low[3], low[5] = inputs[3].float(), inputs[5].float()
    with use_impl(impl):
        o, state = rule.op(*low)
    assert o.dtype == dtype
    assert state.dtype == torch.float32
    check_budget(impl, rule.op, low, roundings=4 if time <= 66 else 8)


def like_keys(time: int) -> Tensor:
    """Keys of length 1 that are almost the same: these couple the rows of a chunk most."""
    generator = torch.Generator().manual_seed(0)
    k = torch.randn(1, KEY, generator=generator, dtype=torch.float64)
    k = k + 0.03 * torch.randn(time, KEY, generator=generator, dtype=torch.float64)
    return normalize(k, dim=-1).to(DEVICE)


def check_like_keys(impl: Impl, rule: Rule, time: int) -> None:
    """In float32, almost the same key every time, and full writes."""
    inputs = draw(rule, 1, time, decay=False, batch=1)
    inputs[1] = like_keys(time).expand_as(inputs[1])
    inputs[4] = torch.ones_like(inputs[4])
    check_budget(impl, rule.op, [x.float() for x in inputs], roundings=16)


def check_rate(impl: Impl, rule: Rule, rate: float, time: int, *, lines: int = 2) -> None:
    """In float32, one decay at all times, per channel next to one that hardly fades."""
    low = [x.float() for x in draw(rule, lines, time, batch=lines)]
    low[3] = torch.full_like(low[3], rate)
    if rule.channel:
        low[3][..., 0] = -1e-4
    check_budget(impl, rule.op, low, roundings=8)


def check_strongest(impl: Impl, rule: Rule, time: int, *, lines: int = 2) -> None:
    """A decay after which nothing is left stays finite."""
    inputs = [x.float() for x in draw(rule, lines, time, batch=lines)]
    inputs[3] = torch.full_like(inputs[3], -1e4)
    assert all(x.isfinite().all() for x in with_gradients(impl, rule.op, inputs))


def check_repeats(impl: Impl, rule: Rule, time: int, *, lines: int = 3) -> None:
    """Runs come out the same bit for bit."""
    inputs = [x.float() for x in draw(rule, lines, time, batch=lines)]
    first, second = (with_gradients(impl, rule.op, inputs) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def check_alone(impl: Impl, rule: Rule, time: int) -> None:
    """A row of a batch comes out as it does alone, bit for bit, and so do its gradients."""
    inputs = [x.float() for x in draw(rule, 1, time)]

    def run(rows: slice) -> list[Tensor]:
        leaves = [x[rows].detach().clone().requires_grad_() for x in inputs]
        with use_impl(impl):
            results = rule.op(*leaves)
        return [*results, *torch.autograd.grad([(x * x).sum() for x in results], leaves)]

    both, alone = run(slice(0, 2)), run(slice(1, 2))
    assert all(torch.equal(a[1:], b) for a, b in zip(both, alone, strict=True))


def check_layouts(impl: Impl, rule: Rule, time: int) -> None:
    """How inputs lie in memory makes no difference."""
    inputs = draw(rule, 2, time)
    spread = [torch.stack([x, x], dim=-1)[..., 0] for x in inputs]
    turned = [x.transpose(0, 1).contiguous().transpose(0, 1) for x in inputs]
    with use_impl(impl):
        expected, *others = (rule.op(*given) for given in (inputs, spread, turned))
    for found in others:
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def check_broadcast(impl: Impl, rule: Rule, time: int) -> None:
    """Decays and betas of fewer axes than the keys have, and their gradients."""
    inputs = draw(rule, 2, time)
    inputs[3] = inputs[3][:1, :, :1]
    inputs[4] = inputs[4][:, :1]
    check_exact(impl, rule.op, inputs)


def check_cost(rule: Rule, time: int) -> None:
    """The FLOPs of ``cost.py`` are what a counter sees in the chunked form."""
    inputs = draw(rule, 3, time)
    with FlopCounterMode(display=False) as counter:
        getattr(rule.chunked, rule.name)(*inputs)
    per_token = rule.cost.forward_flops_per_token(time, KEY, VALUE)
    assert counter.get_total_flops() == 2 * 3 * time * per_token
    if time == 1:
        assert per_token == rule.cost.step_flops(KEY, VALUE)


def check_solve_cost(rule: Rule) -> None:
    """The solve, which counters leave out, is counted apart."""

    def solve(matrix: list[int], right: list[int], **_: object) -> int:
        rows, columns = right[-2:]
        return right[0] * right[1] * right[2] * columns * rows * (rows - 1)

    mapping = {torch.ops.aten.linalg_solve_triangular: solve}
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        getattr(rule.chunked, rule.name)(*draw(rule, 3, 64))
    per_token = rule.cost.forward_flops_per_token(64, KEY, VALUE)
    per_token += rule.cost.solve_flops_per_token(64)
    assert counter.get_total_flops() == 2 * 3 * 64 * per_token


def check_compiled(rule: Rule, arch: int) -> None:
    """All kernels compile for heads of 64 as a study has them, fit, and spill little or nothing."""
    from nas.kernels.delta_rule.triton import delta_rule
    from nas.kernels.runtime.compiling import compiled

    def run() -> None:
        lines, width = (1, 2, 4096), 64
        shapes = [(*lines, width)] * 3 + [(*lines, width) if rule.channel else lines, lines]
        inputs = [torch.empty(shape, dtype=torch.bfloat16, requires_grad=True) for shape in shapes]
        inputs[3] = torch.empty(shapes[3], requires_grad=True)
        state = torch.empty(1, 2, width, width, requires_grad=True)
        q, k, v, log_decay, beta = inputs
        results = delta_rule(q, k, v, log_decay, beta, state)
        torch.autograd.grad(results, [*inputs, state], [torch.empty_like(x) for x in results])

    kernels = compiled(run, arch)
    assert len(kernels) == (13 if rule.channel else 12)
    for kernel in kernels:
        assert kernel.fits, kernel
        assert kernel.spilled_bytes <= SPILLED, kernel
