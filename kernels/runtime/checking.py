"""What the tests of all ops share: gradients, error budgets, poisoned memory, Triton's interpreter.

The checks of an op (``checks.py``) take the implementation that they hold against the definition.
``test_<op>.py`` runs them on the torch form; ``triton_checks.py`` runs them on the Triton form, on
a GPU where there is one and else in Triton's interpreter, which has to be on before triton is
imported and so gets a process of its own (``check_triton``).
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.kernels.runtime.impl import Impl, use_impl
from nas.kernels.runtime.triton_form import INTERPRET

Call = Callable[..., Tensor | Sequence[Tensor]]

DEVICE = "cuda" if torch.cuda.is_available() and os.environ.get(INTERPRET) != "1" else "cpu"
"""Where Triton kernels are checked."""

if os.environ.get(INTERPRET) == "1":
    from nas.kernels.runtime.interpreter import mend_products

    mend_products()


def with_gradients(impl: Impl, op: Call, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The results of ``op(*inputs)`` and, for fixed random cotangents, the gradient of every input
    of a floating type."""
    leaves = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
    with use_impl(impl), poisoned():
        found = op(*leaves)
        results = [found] if isinstance(found, Tensor) else list(found)
        generator = torch.Generator().manual_seed(1)
        cotangents = [
            torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x) for x in results
        ]
        wanted = [x for x in leaves if x.requires_grad]
        grads = torch.autograd.grad(results, wanted, cotangents)
    return [*results, *grads]


def error(result: Tensor, exact: Tensor) -> float:
    """Largest error, relative to the largest exact value unless that is 0; NaN is infinite."""
    exact = exact.detach().double()
    scale = float(exact.abs().max()) or 1.0 if exact.numel() else 1.0
    off = (result.detach().double() - exact).abs().nan_to_num(nan=torch.inf)
    return float(off.max()) / scale if off.numel() else 0.0


def check_exact(impl: Impl, op: Call, inputs: Sequence[Tensor], *, bound: float = 1e-10) -> None:
    """In float64, values and gradients are those of the definition but for rounding."""
    assert all(x.dtype == torch.float64 for x in inputs if x.is_floating_point())
    mine, true = (with_gradients(chosen, op, inputs) for chosen in (impl, Impl.REFERENCE))
    for index, (result, exact) in enumerate(zip(mine, true, strict=True)):
        assert result.shape == exact.shape
        assert result.dtype == exact.dtype
        found = error(result, exact)
        assert found < bound, f"result {index} is off by {found:.3g}"


def check_budget(impl: Impl, op: Call, inputs: Sequence[Tensor], *, roundings: int = 4) -> None:
    """In low precision, the error against float64 is at most twice that of the definition computed
    in the same precision, and a few roundings."""
    exact = with_gradients(
        Impl.REFERENCE, op, [x.double() if x.is_floating_point() else x for x in inputs]
    )
    mine, honest = (with_gradients(chosen, op, inputs) for chosen in (impl, Impl.REFERENCE))
    for index, (result, slow, true) in enumerate(zip(mine, honest, exact, strict=True)):
        assert result.dtype == slow.dtype
        found, allowed = error(result, true), 2 * error(slow, true)
        allowed += roundings * torch.finfo(result.dtype).eps
        assert found <= allowed, f"result {index} is off by {found:.3g}, allowed {allowed:.3g}"


@contextmanager
def poisoned() -> Iterator[None]:
    """Memory that torch hands out uninitialised holds NaN, so that reading it shows."""
    switches: Any = torch.utils.deterministic
    fill = switches.fill_uninitialized_memory
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    switches.fill_uninitialized_memory = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        switches.fill_uninitialized_memory = fill


def check_triton(
    beside: str, *, name: str = "triton_checks.py", least: int = 1, seconds: int = 900
) -> None:
    """Run the checks beside a test file in a process of its own; all, and at least so many, pass.

    Without a GPU, Triton's interpreter is on in that process.
    """
    checks = Path(beside).absolute().with_name(name)
    interpreted = {} if torch.cuda.is_available() else {INTERPRET: "1"}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", str(checks)],
        cwd=Path(__file__).absolute().parents[2],
        env={**os.environ, **interpreted, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("PASSED") >= least, run.stdout
    assert "SKIPPED" not in run.stdout, run.stdout
