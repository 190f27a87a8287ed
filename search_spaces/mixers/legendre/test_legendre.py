"""The layer against the equations of its README, one token after another."""

import pytest
import torch
from torch import Tensor, nn

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS
from nas.search_spaces.mixers.legendre import module, spec

ACTIVATIONS = {"relu": torch.relu, "gelu": nn.functional.gelu, "identity": lambda x: x}


def discretised(order: int, theta: float) -> tuple[Tensor, Tensor]:
    """As the README writes it."""
    a = torch.zeros(order, order, dtype=torch.float64)
    b = torch.zeros(order, dtype=torch.float64)
    for i in range(order):
        b[i] = (2 * i + 1) * (-1) ** i / theta
        for j in range(order):
            a[i, j] = (2 * i + 1) / theta * (-1 if i < j else (-1) ** (i - j + 1))
    step = torch.linalg.matrix_exp(a)
    return step, torch.linalg.solve(a, (step - torch.eye(order)) @ b)


@pytest.mark.parametrize("time", [1, 2, 7, 33])
@pytest.mark.parametrize(
    "numbers",
    [
        {"signals": 1, "order": 1, "activation": "relu"},
        {"signals": 3, "order": 6, "theta": 10.0, "encode_activation": "identity"},
        {"signals": 2, "order": 9, "encode_activation": "gelu", "activation": "identity"},
    ],
    ids=str,
)
def test_equals_the_equations(numbers: dict[str, object], time: int) -> None:
    torch.manual_seed(0)
    part = MIXERS["legendre"].model_validate({"kind": "legendre", **numbers})
    layer = execute(part.plan(Place(5, 1, 0))).double()
    x = torch.randn(time, 5, dtype=torch.float64, requires_grad=True)
    step, drive = discretised(part.order, part.theta)
    memory = torch.zeros(part.signals, part.order, dtype=torch.float64)
    outputs = []
    for token in x:
        u = ACTIVATIONS[part.encode_activation](layer.encode(token))
        memory = memory @ step.T + u[:, None] * drive
        mixed = layer.read(memory.flatten()) + layer.pass_on(token)
        outputs.append(layer.out(ACTIVATIONS[part.activation](mixed)))
    slow, mine = torch.stack(outputs), layer(x[None])[0]
    torch.testing.assert_close(mine, slow, rtol=1e-9, atol=1e-11)
    leaves, cotangent = [x, *layer.parameters()], torch.randn_like(slow)
    for fast, true in zip(
        *(torch.autograd.grad(y, leaves, cotangent) for y in (mine, slow)), strict=True
    ):
        torch.testing.assert_close(fast, true, rtol=1e-8, atol=1e-10)


def test_the_memory_holds_the_window() -> None:
    """A slow signal comes back from its coefficients, at every delay within the window."""
    order, theta, time = 12, 64.0, 200
    step, drive = module.legendre_dynamics(order, theta)
    signal = torch.sin(torch.arange(time, dtype=torch.float64) / 12)
    memory = torch.zeros(order, dtype=torch.float64)
    for u in signal:
        memory = step @ memory + drive * u
    for delay in range(4, 60):
        at = torch.tensor(2 * (delay + 0.5) / theta - 1, dtype=torch.float64)
        basis = [torch.special.legendre_polynomial_p(at, torch.tensor(i)) for i in range(order)]
        held = sum(m * p for m, p in zip(memory, basis, strict=True))
        assert abs(held - signal[time - 1 - delay]) < 0.03


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_long_sequences_stay_bounded(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = execute(MIXERS["legendre"](signals=2, theta=1000.0).plan(Place(5, 1, 0))).to(dtype)
    memory, _ = layer.remember(torch.ones(1, 3000, 2, dtype=dtype), None)
    assert memory.isfinite().all()
    assert memory.abs().max() < 4  # a window of ones is one times the first polynomial
    torch.testing.assert_close(memory[0, -1, 0, 0], torch.ones(()), rtol=0, atol=0.01)


def test_cost_and_code_agree_on_the_chunk() -> None:
    assert spec.CHUNK == module.LEGENDRE_CHUNK
