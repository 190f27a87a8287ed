"""The Triton kernels against the definition, on a GPU or in Triton's interpreter.

``test_selective_scan.py`` runs this file in a process of its own; the suite does not collect it.
"""

import pytest
import torch

from nas.kernels.runtime.impl import Impl
from nas.kernels.selective_scan import checks

IMPL = Impl.TRITON
SMALL = {"chunk": 4, "block_time": 2, "block_states": 4, "block_channels": 4, "num_warps": 1}
SMALL_SCAN = {"chunk": 4, "block_time": 2, "block_channels": 16, "num_warps": 1}


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks, tiles and blocks of channels at lengths that the interpreter can do."""
    shared = "nas.kernels.selective_scan.triton_shared.blocks_of"
    monkeypatch.setattr(shared, lambda states, channels: SMALL)
    monkeypatch.setattr(
        "nas.kernels.diagonal_scan.triton._scan_blocks", lambda channels: SMALL_SCAN
    )


@pytest.mark.parametrize("kind", checks.KINDS)
def test_triton_is_the_definition(kind: str) -> None:
    checks.check_values(IMPL, 5, kind, with_state=True)


@pytest.mark.parametrize("time", [1, 2, 4, 9])
def test_lengths_around_a_chunk(time: int) -> None:
    checks.check_values(IMPL, time, "selective", with_state=False)


def test_chunks_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    checks.check_values(IMPL, 2, "selective", with_state=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_precision(dtype: torch.dtype) -> None:
    checks.check_low_precision(IMPL, dtype, 5)


def test_float32_steps_of_rounded_inputs() -> None:
    checks.check_mixed(IMPL, 5)


@pytest.mark.parametrize("rate", [-1e-6, -1e4])
def test_slow_and_fast_decays(rate: float) -> None:
    checks.check_rate(IMPL, rate, 5)


def test_a_state_carries_over_a_split() -> None:
    checks.check_split(IMPL)


def test_no_dependence_on_the_batch() -> None:
    checks.check_rows_alone(IMPL)


def test_runs_repeat_bit_for_bit() -> None:
    checks.check_repeats(IMPL)


def test_views() -> None:
    checks.check_layouts(IMPL)
