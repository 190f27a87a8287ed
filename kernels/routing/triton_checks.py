"""The Triton kernels against the definition, on a GPU or in Triton's interpreter.

``test_routing.py`` runs this file in a process of its own; the suite does not collect it.
"""

import pytest
import torch

from nas.kernels.routing import checks
from nas.kernels.runtime.checking import DEVICE
from nas.kernels.runtime.impl import Impl

MODULE = "nas.kernels.routing.triton"


@pytest.mark.parametrize("sizes", checks.SIZES)
def test_triton_is_the_definition(sizes: tuple[int, int, int, int]) -> None:
    checks.check_routes(Impl.TRITON, *sizes)
    checks.check_values(Impl.TRITON, *sizes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_triton_in_low_precision(dtype: torch.dtype) -> None:
    checks.check_low_precision(Impl.TRITON, dtype)


@pytest.mark.parametrize("check", checks.CHECKS)
def test_triton_holds_to(check: checks.Check) -> None:
    check(Impl.TRITON)


def test_many_blocks_of_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """What thousands of copies bring about, at sizes that the interpreter manages."""
    monkeypatch.setattr(f"{MODULE}._COPIES", 16)
    monkeypatch.setattr(f"{MODULE}._ROUTING_BLOCKS", 2)
    checks.check_routes(Impl.TRITON, 50, 2, 5, 1)


def test_experts_that_do_not_exist_take_nothing() -> None:
    """The choice is not checked, but no program reads or writes outside."""
    chosen = torch.tensor([[0, 7], [9, 1]], device=DEVICE)
    found = checks.found(Impl.TRITON, chosen, 2)
    assert found.places.tolist() == [[0, -1], [-1, 1]]
    assert found.sizes.tolist() == [1, 1]
