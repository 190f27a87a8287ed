"""The diagonal recurrence: the chunked form against the definition, in values and gradients."""

import pytest
import torch
from torch import Tensor

from nas.kernels.diagonal_scan import chunked, reference
from nas.kernels.diagonal_scan.api import diagonal_scan
from nas.kernels.runtime.impl import Impl, Unsupported, use_impl

CHANNELS = 5
DECAYS = {"token": (2, -1, CHANNELS), "shared": (1, -1, 1), "fixed": (1, 1, CHANNELS)}


def draw(time: int, decay: str) -> list[Tensor]:
    """x, decay between -1 and 1, and a state in float64."""
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    shape = (time if size == -1 else size for size in DECAYS[decay])
    return [normal(2, time, CHANNELS), normal(*shape).tanh(), normal(2, CHANNELS)]


def with_gradients(impl: Impl, inputs: list[Tensor]) -> list[Tensor]:
    """h, the state, and the gradient of every input for a fixed random cotangent."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    with use_impl(impl):
        results = diagonal_scan(*leaves)
    torch.manual_seed(1)
    cotangents = [torch.randn_like(x) for x in results]
    return [*results, *torch.autograd.grad(results, leaves, cotangents)]


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("values", [0, 30, 1000], ids=["step by step", "few chunks", "many"])
@pytest.mark.parametrize("time", [1, 2, 7, 33, 64, 65])
def test_chunked_is_the_definition(
    time: int, values: int, decay: str, with_state: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked, "SCAN_VALUES_CPU", values)
    inputs = draw(time, decay)[: 3 if with_state else 2]
    for fast, slow in zip(
        with_gradients(Impl.CHUNKED, inputs), with_gradients(Impl.REFERENCE, inputs), strict=True
    ):
        torch.testing.assert_close(fast, slow, rtol=1e-11, atol=1e-12)


def test_decays_of_zero_and_one() -> None:
    x = draw(50, "token")[0]
    for decay, expected in ((0.0, x), (1.0, x.cumsum(1))):
        factors = torch.full_like(x, decay, requires_grad=True)
        h, _ = diagonal_scan(x, factors)
        torch.testing.assert_close(h, expected)
        h.sum().backward()
        assert factors.grad.isfinite().all()


def test_the_state_carries_over_a_split() -> None:
    x, decay, state = draw(50, "token")
    whole, last = diagonal_scan(x, decay, state)
    parts = []
    for part in (slice(0, 33), slice(33, 34), slice(34, 50)):
        h, state = diagonal_scan(x[:, part], decay[:, part], state)
        parts.append(h)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    torch.testing.assert_close(state, last)


def test_low_precision_keeps_its_state_in_float32() -> None:
    exact = draw(200, "token")
    low = [x.bfloat16() for x in exact]
    h, last = diagonal_scan(*low)
    true, _ = reference.diagonal_scan(*(x.double() for x in low))
    assert (h.dtype, last.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(h.double(), true, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("broken", range(3))
def test_a_shape_that_does_not_fit_is_named(broken: int) -> None:
    inputs = draw(6, "token")
    inputs[broken] = inputs[broken][..., :3]
    name = ("decay", "decay", "state")[broken]
    with pytest.raises(ValueError, match=rf"diagonal_scan: {name} must be"):
        diagonal_scan(*inputs)


def test_an_empty_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="T >= 1"):
        diagonal_scan(*(x[:, :0] for x in draw(2, "token")[:2]))


def test_a_missing_implementation_is_named() -> None:
    with use_impl(Impl.TRITON), pytest.raises(Unsupported, match=r"diagonal_scan.*'triton'"):
        diagonal_scan(*draw(2, "token"))


def test_one_signature() -> None:
    assert (
        chunked.diagonal_scan.__annotations__
        == reference.diagonal_scan.__annotations__
        == diagonal_scan.__annotations__
    )
