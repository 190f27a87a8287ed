"""What every implementation of an op that works row by row is held to.

``checks.py`` of such an op declares it as a ``RowOp``; the functions in ``ROW_CHECKS`` do the rest,
for the torch form and the Triton form alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.kernels.runtime.benchmark import Benchmark
from nas.kernels.runtime.checking import (
    DEVICE,
    Call,
    check_budget,
    check_exact,
    poisoned,
    with_gradients,
)
from nas.kernels.runtime.impl import Impl, use_impl

SHAPES = ((1, 1), (7,), (3, 17), (2, 0, 4), (2, 2, 64))


@dataclass(frozen=True)
class RowOp:
    """One op, or one setting of it."""

    call: Call
    rowwise: int
    """How many of its inputs, from the first on, have the shape of the rows; results have it too.
    The others are parameters."""
    parameters: Callable[[int], Sequence[tuple[int, ...]]] = lambda width: ()
    """Shapes of the parameters at a width."""
    largest: float = 1e15
    """Inputs may be as large in float32."""

    def draw(self, *shape: int) -> list[Tensor]:
        """Inputs for rows of a shape."""
        generator = torch.Generator().manual_seed(sum(shape))
        shapes = [shape] * self.rowwise + list(self.parameters(shape[-1]))
        inputs = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
        return [x.to(DEVICE) for x in inputs]


def check_values(impl: Impl, op: RowOp) -> None:
    """Values and gradients are those of the definition."""
    for shape in SHAPES:
        check_exact(impl, op.call, op.draw(*shape))


def check_float32(impl: Impl, op: RowOp) -> None:
    """Float32 stays within its budget."""
    check_budget(impl, op.call, [x.float() for x in op.draw(2, 5, 24)])


def check_bfloat16(impl: Impl, op: RowOp) -> None:
    """So does bfloat16, also where all but the first input stay in float32."""
    inputs = op.draw(2, 5, 24)
    check_budget(impl, op.call, [x.bfloat16() for x in inputs])
    check_budget(impl, op.call, [inputs[0].bfloat16(), *(x.float() for x in inputs[1:])])


def check_a_row_stands_alone(impl: Impl, op: RowOp) -> None:
    """Value and gradient of a row are the same bit for bit whatever other rows there are."""
    # A width that fills the processor's vectors: torch rounds what is left over differently.
    inputs = [x.float() for x in op.draw(5, 192)]
    together = _rows_with_gradients(impl, op, inputs)
    for row in range(5):
        one = [x[row : row + 1] for x in inputs[: op.rowwise]] + inputs[op.rowwise :]
        for whole, single in zip(together, _rows_with_gradients(impl, op, one), strict=True):
            assert torch.equal(whole[row : row + 1], single)


def check_runs_repeat(impl: Impl, op: RowOp) -> None:
    """Two runs agree bit for bit, parameters' gradients too."""
    inputs = [x.float() for x in op.draw(9, 33)]
    first, second = (with_gradients(impl, op.call, inputs) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def check_any_layout(impl: Impl, op: RowOp) -> None:
    """Inputs and cotangents may lie in memory as they like; nothing between them is touched."""
    plain = op.draw(2, 3, 10)
    expected = _results(impl, op, plain, lambda x: x)
    for layout in (_halves, _transposed, _spread):
        inputs = [layout(x) for x in plain[: op.rowwise]] + plain[op.rowwise :]
        found = _results(impl, op, inputs, layout)
        for mine, true in zip(found, expected, strict=True):
            torch.testing.assert_close(mine, true, rtol=1e-12, atol=1e-12)


def check_extremes(impl: Impl, op: RowOp) -> None:
    """Zeros, equal values, and values as large and as small as are allowed give no NaN."""
    inputs = [x.float() for x in op.draw(5, 12)]
    for x in inputs[: op.rowwise]:
        x[0], x[1] = 0.0, 3.0
        x[2:4] *= torch.tensor([[op.largest / 10], [1e-30]], device=x.device)
        x[4, ::2] = -op.largest
    assert all(x.isfinite().all() for x in with_gradients(impl, op.call, inputs))


RowCheck = Callable[[Impl, RowOp], None]

ROW_CHECKS: tuple[RowCheck, ...] = (
    check_values,
    check_float32,
    check_bfloat16,
    check_a_row_stands_alone,
    check_runs_repeat,
    check_any_layout,
    check_extremes,
)


LONG_CHECKS: tuple[RowCheck, ...] = (
    check_values,
    check_bfloat16,
    check_a_row_stands_alone,
    check_any_layout,
)
"""Those that say something more where rows are read in blocks."""


def check_compiles(op: Call, inputs: Sequence[Tensor | None], arch: int, kernels: int) -> None:
    """Forward and backward compile for a GPU to as many kernels as are expected; each fits it and
    spills one register at most. `op` is the Triton form itself, which ``api`` would refuse on the
    CPU."""
    from nas.kernels.runtime.compiling import compiled

    def run() -> None:
        found = op(*inputs)
        results = [found] if isinstance(found, Tensor) else list(found)
        torch.autograd.backward(results, [torch.empty_like(x) for x in results])

    launched = compiled(run, arch)
    assert len(launched) == kernels
    assert all(kernel.fits and kernel.spilled_bytes <= 4 for kernel in launched), launched


def check_each_result_alone(impl: Impl, op: RowOp) -> None:
    """Gradients are right too where only one of the two results is used."""
    inputs = op.draw(3, 9)
    rows, parameters = inputs[: op.rowwise], inputs[op.rowwise :]
    check_exact(impl, lambda *given: op.call(*given)[0], inputs)
    # No parameter takes part in the second result, and torch would say so with an error.
    check_exact(impl, lambda *given: op.call(*given, *parameters)[1], rows)


def check_benchmark(benchmark: Benchmark, flops: int) -> None:
    """The first case runs and moves what it says that it moves."""
    case = benchmark.cases[0]
    torch.manual_seed(0)
    inputs = case.draw()
    results = benchmark.call(*inputs)
    results = [results] if isinstance(results, Tensor) else results
    moved = sum(x.numel() for x in (*inputs, *results) if x is not None)
    assert (case.flops, case.values_moved) == (flops, moved)
    assert len({case.label for case in benchmark.cases}) == len(benchmark.cases)
    assert "torch" in benchmark.peers()


def _rows_with_gradients(impl: Impl, op: RowOp, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Results and gradients that belong to rows, for the results as cotangents."""
    return _results(impl, op, inputs, lambda x: x)[: -len(inputs) + op.rowwise or None]


def _results(
    impl: Impl, op: RowOp, inputs: Sequence[Tensor], layout: Callable[[Tensor], Tensor]
) -> list[Tensor]:
    """Results, then gradients; a cotangent is its result in another layout."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    with use_impl(impl), poisoned():
        found = op.call(*leaves)
        results = [found] if isinstance(found, Tensor) else list(found)
        cotangents = [layout(x.detach()) for x in results]
        return [*results, *torch.autograd.grad(results, leaves, cotangents)]


def _halves(x: Tensor) -> Tensor:
    """As the second half of something wider."""
    return torch.cat([torch.full_like(x, torch.nan), x], dim=-1).chunk(2, dim=-1)[1]


def _transposed(x: Tensor) -> Tensor:
    return x.transpose(0, 1).contiguous().transpose(0, 1)


def _spread(x: Tensor) -> Tensor:
    """With neighbours apart."""
    return torch.stack([x, torch.full_like(x, torch.nan)], dim=-1)[..., 0]
