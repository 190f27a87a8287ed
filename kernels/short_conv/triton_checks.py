"""The Triton kernels against the definition, on a GPU or in Triton's interpreter.

``test_short_conv.py`` runs this file in a process of its own; the suite does not collect it.
"""

import pytest
import torch
from torch import Tensor

from nas.kernels.runtime.checking import with_gradients
from nas.kernels.runtime.impl import Impl
from nas.kernels.short_conv import checks

IMPL = Impl.TRITON


@pytest.mark.parametrize("form", checks.FORMS)
@pytest.mark.parametrize(("time", "width"), [(1, 4), (2, 3), (15, 2), (16, 4), (17, 1), (34, 5)])
def test_triton_is_the_definition(time: int, width: int, form: str) -> None:
    checks.check_values(IMPL, time, width, form, "silu" if time % 2 else None)


def test_the_widest_filter() -> None:
    checks.check_values(IMPL, 17, 64, "latest", None)


@pytest.mark.parametrize("activation", [None, "silu"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_precision(dtype: torch.dtype, activation: str | None) -> None:
    checks.check_low_precision(IMPL, dtype, activation)


def test_several_tiles_for_one_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.kernels.short_conv.triton._CONV_PROGRAMS", 2)
    checks.check_values(IMPL, 70, 4, "all", "silu")


def test_several_blocks_of_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = {"block_time": 4, "block_channels": 2, "num_warps": 4}
    monkeypatch.setattr("nas.kernels.short_conv.triton._conv_blocks", lambda *_: blocks)
    checks.check_values(IMPL, 9, 3, "all", "silu")


def test_float32_weights_with_rounded_inputs() -> None:
    checks.check_weight_in_float32(IMPL)


def test_inputs_carry_over_a_split() -> None:
    checks.check_split(IMPL)


def test_no_dependence_on_the_batch() -> None:
    checks.check_rows_alone(IMPL)


def test_views() -> None:
    checks.check_layouts(IMPL)


def test_large_inputs() -> None:
    checks.check_extremes(IMPL)


def test_runs_repeat_bit_for_bit() -> None:
    inputs = [x.float() for x in checks.draw(40, 4, "all")]

    def run() -> list[Tensor]:
        return with_gradients(IMPL, checks.call("all", "silu"), inputs)

    checks.check_repeats(IMPL, run)
