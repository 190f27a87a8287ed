"""The Triton kernel against the definition, on a GPU or in Triton's interpreter.

It has to be on (TRITON_INTERPRET=1) before triton is imported, so ``test_rotary.py``
runs this file in a process of its own; the suite does not collect it.
"""

import pytest
import torch

from nas.kernels.rotary import checks
from nas.kernels.runtime.impl import Impl

TRITON = Impl.TRITON


@pytest.mark.parametrize("shape", checks.SHAPES.values(), ids=checks.SHAPES)
def test_triton_is_the_definition(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.kernels.rotary.triton._PAIRS", 32)  # several tiles
    checks.check_values(TRITON, shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_triton_in_low_precision(dtype: torch.dtype) -> None:
    checks.check_low_precision(TRITON, dtype)


def test_the_rest_of_what_triton_is_held_to() -> None:
    checks.check_a_split_equals_the_whole(TRITON)
    checks.check_packed_sequences_start_again(TRITON)
    checks.check_any_layout(TRITON)
    checks.check_runs_repeat(TRITON)
    checks.check_extremes(TRITON)
