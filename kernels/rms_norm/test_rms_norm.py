"""RMS normalisation: plain torch and Triton against the definition."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from nas.kernels.rms_norm import cost
from nas.kernels.rms_norm.api import rms_norm
from nas.kernels.runtime.impl import Impl, Unsupported, use_impl

EPS = 1e-5
SHAPES = [(1, 1), (7,), (3, 17), (2, 5, 24), (2, 2, 64)]
interpreted = os.environ.get("TRITON_INTERPRET") == "1"


def with_gradients(impl: Impl, inputs: list[Tensor]) -> list[Tensor]:
    """The output and both gradients for a fixed random cotangent."""
    x, weight = (t.detach().requires_grad_() for t in inputs)
    with use_impl(impl):
        y = rms_norm(x, weight, EPS)
    torch.manual_seed(1)
    return [y, *torch.autograd.grad(y, (x, weight), torch.randn_like(y))]


def draw(shape: tuple[int, ...]) -> list[Tensor]:
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64)
    return [x, torch.randn(shape[-1], dtype=torch.float64)]


def check_values(impl: Impl, shape: tuple[int, ...]) -> None:
    inputs = draw(shape)
    pairs = zip(with_gradients(impl, inputs), with_gradients(Impl.REFERENCE, inputs), strict=True)
    for mine, true in pairs:
        torch.testing.assert_close(mine, true, rtol=1e-10, atol=1e-12)


def check_low_precision(impl: Impl, dtype: torch.dtype) -> None:
    low = [x.to(dtype) for x in draw((2, 5, 24))]
    exact = with_gradients(Impl.REFERENCE, [x.double() for x in low])
    fast, slow = with_gradients(impl, low), with_gradients(Impl.REFERENCE, low)
    for mine, honest, true in zip(fast, slow, exact, strict=True):
        assert mine.dtype == dtype
        error, allowed = ((x.double() - true).abs().max() for x in (mine, honest))
        assert error <= 2 * allowed + true.abs().max() * torch.finfo(dtype).eps


@pytest.mark.parametrize("shape", SHAPES)
def test_torch_is_the_definition(shape: tuple[int, ...]) -> None:
    check_values(Impl.CHUNKED, shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_torch_in_low_precision(dtype: torch.dtype) -> None:
    check_low_precision(Impl.CHUNKED, dtype)


@pytest.mark.skipif(not interpreted, reason="needs TRITON_INTERPRET=1; run by the last test")
@pytest.mark.parametrize("shape", SHAPES)
def test_triton_is_the_definition(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.kernels.rms_norm.triton._PROGRAMS", 4)  # several rows for each
    check_values(Impl.TRITON, shape)


@pytest.mark.skipif(not interpreted, reason="needs TRITON_INTERPRET=1; run by the last test")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_triton_in_low_precision(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.kernels.rms_norm.triton._PROGRAMS", 4)  # several rows for each
    check_low_precision(Impl.TRITON, dtype)


def test_there_is_no_matrix_product() -> None:
    x, weight = draw((3, 8))
    with FlopCounterMode(display=False) as counter:
        rms_norm(x, weight, EPS)
    assert counter.get_total_flops() == cost.forward_flops_per_token(8) == cost.step_flops(8) == 0


def test_a_weight_of_another_width_is_named() -> None:
    with pytest.raises(ValueError, match="rms_norm: weight must be"):
        rms_norm(torch.ones(2, 4), torch.ones(3), EPS)


@pytest.mark.skipif(interpreted, reason="the interpreter is on")
def test_triton_on_the_cpu_is_refused() -> None:
    with use_impl(Impl.TRITON), pytest.raises(Unsupported, match=r"rms_norm.*'triton'"):
        rms_norm(torch.ones(2, 4), torch.ones(4), EPS)


@pytest.mark.skipif(interpreted, reason="already inside the interpreter")
@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
def test_triton_in_the_interpreter() -> None:
    """The interpreter has to be on before triton is imported, hence a process of its own."""
    root = Path(__file__).absolute().parents[2]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-rp", "-p", "no:cacheprovider", "-k", "triton", __file__],
        cwd=root,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("PASSED") == len(SHAPES) + 2, run.stdout
