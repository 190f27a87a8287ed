"""One case of a benchmark: who takes part, whether they are right, and how long they take."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nas.kernels.runtime.benchmark import Benchmark, Call, Case, Inputs
from nas.kernels.runtime.checking import error as relative_error
from nas.kernels.runtime.impl import Impl, use_impl
from nas.kernels.runtime.timing import Clock, Failure, Run, Spread, in_turns, reason

REFERENCE_TOKENS = 256
"""Up to this length the definition takes part; it is slow by design."""
EXACT_TOKENS = 1024
"""Up to this length the definition says what is right, and beyond it the torch form in float64."""
LOOSE = {torch.float32: 1e-2, torch.bfloat16: 1e-1, torch.float16: 5e-2}
"""Errors, relative to the largest value, that something broken exceeds and honest rounding, or a
product of float32 in TF32, does not."""
PASSES = ("forward", "forward+backward")
OURS = tuple(f"ours, {impl}" for impl in Impl)
_DEFINITION = f"ours, {Impl.REFERENCE}"


@dataclass(frozen=True)
class Setting:
    """What all cases of a run share."""

    device: torch.device
    dtype: torch.dtype
    clock: Clock
    repeats: int
    seconds: float
    """Most time for one pass of one case, warm-up aside."""
    compile: bool
    """Whether torch functions also take part as torch.compile makes them."""
    flops_per_second: float
    """Of a large matrix product on this device."""
    bytes_per_second: float
    """Read and written by a large copy on this device."""


@dataclass(frozen=True)
class Row:
    """What came out for one implementation in one pass of one case."""

    op: str
    case: str
    dtype: str
    what: str
    name: str
    ours: bool
    result: Spread | Failure
    bound: float
    """Seconds that the device's speed allows at best."""
    note: str = ""
    against_best_peer: float | None = None
    """Its speed over that of the fastest right peer; None where one of both is missing."""


def rows_of(benchmark: Benchmark, case: Case, setting: Setting) -> list[Row]:
    """Check and time everyone on one case."""
    inputs = _prepared(benchmark, case, setting)
    exact = _exact(benchmark, case, inputs)
    members, failed = _members(benchmark, case, setting)
    rows: list[Row] = []
    for what in PASSES:
        results: dict[str, Spread | Failure] = dict(failed)
        runs: dict[str, Run] = {}
        for name, call in members.items():
            run = _Training(call, inputs) if what == PASSES[1] else _Forward(call, inputs)
            wrong = _wrong(run, exact, setting.dtype)
            if wrong is None:
                runs[name] = run
            else:
                results[name] = wrong
        results |= in_turns(runs, setting.clock, repeats=setting.repeats, seconds=setting.seconds)
        rows += compared(
            [
                Row(
                    op=benchmark.op,
                    case=case.label,
                    dtype=str(setting.dtype).removeprefix("torch."),
                    what=what,
                    name=name,
                    ours=name in OURS,
                    result=results[name],
                    bound=_bound(case, setting) * (1 if what == PASSES[0] else 3),
                    note="" if exact else "not checked",
                )
                for name in (*failed, *members)
            ]
        )
    torch.compiler.reset()  # else the next size would be compiled for any size
    gc.collect()
    return rows


def compared(rows: Sequence[Row]) -> list[Row]:
    """The rows of one pass with their speed against that of the best peer.

    The fastest of ours, the definition aside, is marked where it is behind: "within the spread" if
    the quartiles of both overlap.
    """
    peer = _fastest([row for row in rows if not row.ours])
    mine = _fastest([row for row in rows if row.ours and row.name != _DEFINITION])
    found = []
    for row in rows:
        if peer is not None and isinstance(row.result, Spread):
            row = replace(row, against_best_peer=peer.median / row.result.median)
            if row.result is mine and row.result.median > peer.median:
                within = row.result.low <= peer.high
                behind = "behind, within the spread" if within else "behind"
                row = replace(row, note=", ".join(filter(None, (row.note, behind))))
        found.append(row)
    return found


def _fastest(rows: Sequence[Row]) -> Spread | None:
    spreads = [row.result for row in rows if isinstance(row.result, Spread)]
    return min(spreads, key=lambda found: found.median, default=None)


def _bound(case: Case, setting: Setting) -> float:
    size = torch.finfo(setting.dtype).bits // 8
    return max(
        case.flops / setting.flops_per_second, case.values_moved * size / setting.bytes_per_second
    )


def _prepared(benchmark: Benchmark, case: Case, setting: Setting) -> Inputs:
    torch.manual_seed(0)
    return [_moved(x, setting, wide=index in benchmark.wide) for index, x in enumerate(case.draw())]


def _moved(x: Tensor | None, setting: Setting, *, wide: bool) -> Tensor | None:
    if x is None:
        return None
    rounds = x.is_floating_point() and not wide
    return x.to(setting.device, setting.dtype if rounds else x.dtype)


def _members(
    benchmark: Benchmark, case: Case, setting: Setting
) -> tuple[dict[str, Call], dict[str, Spread | Failure]]:
    """Everyone by name; and what failed before it could be called."""
    members: dict[str, Call] = {}
    for impl in Impl:
        too_slow = impl is Impl.REFERENCE and case.time > REFERENCE_TOKENS
        # Triton's interpreter, which is what there is on a CPU, is for tests.
        if not too_slow and not (impl is Impl.TRITON and setting.device.type == "cpu"):
            members[f"ours, {impl}"] = _under(impl, benchmark.call)
    try:
        peers = dict(benchmark.peers())
    except Exception as error:
        return members, {"peers": Failure(reason(error))}
    compiled = [name for name in peers if "compiled" in name]
    if not setting.compile:
        peers = {name: call for name, call in peers.items() if name not in compiled}
    elif not compiled:
        torches = {name: call for name, call in peers.items() if name.startswith("torch")}
        peers |= {f"{name}, compiled": torch.compile(call) for name, call in torches.items()}
    return {**members, **peers}, {}


def _under(impl: Impl, call: Call) -> Call:
    def under(*inputs: Any) -> Any:
        with use_impl(impl):
            return call(*inputs)

    return under


class _Forward:
    """Calls without gradients."""

    def __init__(self, call: Call, inputs: Inputs) -> None:
        self.call, self.inputs = call, inputs

    def __call__(self) -> list[Tensor | None]:
        with torch.no_grad():
            return [_first(self.call(*self.inputs))]


class _Training:
    """Calls and computes the gradient of each input of a floating type for the first result."""

    def __init__(self, call: Call, inputs: Inputs) -> None:
        self.call = call
        self.inputs = [
            None if x is None else x.detach().requires_grad_(x.is_floating_point()) for x in inputs
        ]
        self.wanted = [x for x in self.inputs if x is not None and x.requires_grad]
        self.cotangent: Tensor | None = None

    def __call__(self) -> list[Tensor | None]:
        result = _first(self.call(*self.inputs))
        if self.cotangent is None:
            self.cotangent = _cotangent(result)
        grads = torch.autograd.grad(result, self.wanted, self.cotangent, allow_unused=True)
        return [result.detach(), *grads]


def _first(result: Any) -> Tensor:
    """Ops with a state return it second, and peers may leave it out."""
    return result if isinstance(result, Tensor) else result[0]


def _cotangent(result: Tensor) -> Tensor:
    """The same for everyone, and not constant, for which some gradients vanish."""
    wave = torch.arange(result.numel(), device=result.device, dtype=torch.float64).sin()
    return (1 + wave).view(result.shape).to(result.dtype)


def _exact(benchmark: Benchmark, case: Case, inputs: Inputs) -> list[Tensor | None]:
    """The first result and the gradients in float64; nothing where memory is too small for it."""
    impl = Impl.REFERENCE if case.time <= EXACT_TOKENS else Impl.CHUNKED
    double = [x.double() if x is not None and x.is_floating_point() else x for x in inputs]
    try:
        return _Training(_under(impl, benchmark.call), double)()
    except torch.OutOfMemoryError:
        return []


def _wrong(
    run: Callable[[], list[Tensor | None]], exact: Sequence[Tensor | None], dtype: torch.dtype
) -> Failure | None:
    """Why a run is not worth timing, if it is not."""
    try:
        results = run()
    except Exception as error:
        return Failure(reason(error))
    for index, (result, true) in enumerate(zip(results, exact, strict=False)):
        what = "result" if index == 0 else f"gradient {index}"
        if true is None:
            continue
        if result is None:
            return Failure(f"has no {what}")
        if result.shape != true.shape:
            return Failure(f"wrong result: {what} is {list(result.shape)}, not {list(true.shape)}")
        off = relative_error(result, true)
        if off > LOOSE[dtype]:
            return Failure(f"wrong result: {what} is off by {off:.2g} of its largest value")
    return None
