"""The Triton kernels against the definition, on a GPU or in Triton's interpreter.

``test_diagonal_scan.py`` runs this file in a process of its own; the suite does not collect it.
"""

import pytest
import torch

from nas.kernels.diagonal_scan import checks
from nas.kernels.runtime.impl import Impl

IMPL = Impl.TRITON
SMALL = {"chunk": 4, "block_time": 2, "block_channels": 4, "num_warps": 1}


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks, tiles and blocks of channels at lengths that the interpreter can do."""
    monkeypatch.setattr("nas.kernels.diagonal_scan.triton._scan_blocks", lambda channels: SMALL)


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("time", [1, 2, 3, 4, 5])
def test_triton_is_the_definition(time: int, with_state: bool) -> None:
    checks.check_values(IMPL, time, "token", with_state)


@pytest.mark.parametrize("decay", checks.DECAYS)
def test_chunks_of_chunks(decay: str) -> None:
    checks.check_values(IMPL, 19, decay, True)


def test_chunks_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    checks.check_values(IMPL, 130, "fixed", True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_precision(dtype: torch.dtype) -> None:
    checks.check_low_precision(IMPL, dtype)


def test_float32_decays_of_rounded_inputs() -> None:
    checks.check_mixed(IMPL)


def test_a_state_carries_over_a_split() -> None:
    checks.check_split(IMPL)


def test_decays_of_zero_and_one() -> None:
    checks.check_zero_and_one(IMPL, 6)


def test_no_dependence_on_the_batch() -> None:
    checks.check_rows_alone(IMPL)


def test_runs_repeat_bit_for_bit() -> None:
    checks.check_repeats(IMPL)


def test_views() -> None:
    checks.check_layouts(IMPL)
