"""RMS normalisation: plain torch and Triton against the definition."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.kernels.rms_norm import cost
from nas.kernels.rms_norm.api import rms_norm
from nas.kernels.rms_norm.checks import EPS, SHAPES, check_low_precision, check_values, draw
from nas.kernels.runtime.impl import Impl, Unsupported, use_impl


@pytest.mark.parametrize("shape", SHAPES)
def test_torch_is_the_definition(shape: tuple[int, ...]) -> None:
    check_values(Impl.CHUNKED, shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_torch_in_low_precision(dtype: torch.dtype) -> None:
    check_low_precision(Impl.CHUNKED, dtype)


def test_there_is_no_matrix_product() -> None:
    x, weight = draw((3, 8))
    with FlopCounterMode(display=False) as counter:
        rms_norm(x, weight, EPS)
    assert counter.get_total_flops() == cost.forward_flops_per_token(8) == cost.step_flops(8) == 0


def test_a_weight_of_another_width_is_named() -> None:
    with pytest.raises(ValueError, match="rms_norm: weight must be"):
        rms_norm(torch.ones(2, 4), torch.ones(3), EPS)


def test_triton_on_the_cpu_is_refused() -> None:
    with use_impl(Impl.TRITON), pytest.raises(Unsupported, match=r"rms_norm.*'triton'"):
        rms_norm(torch.ones(2, 4), torch.ones(4), EPS)


def test_triton_in_the_interpreter() -> None:
    """The interpreter has to be on before triton is imported, hence a process of its own."""
    root = Path(__file__).absolute().parents[2]
    checks = Path(__file__).with_name("triton_checks.py")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-rp", "-p", "no:cacheprovider", str(checks)],
        cwd=root,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("PASSED") == len(SHAPES) + 2, run.stdout
