"""Holds a layer to a slow reference: values, and gradients of inputs and parameters."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def assert_same(
    layer: nn.Module, reference: Callable[[Tensor], Tensor], x: Tensor, tolerance: float = 1e-9
) -> None:
    """Both map x [B, T, D] to the same; errors are relative to the largest value."""
    cotangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(3), dtype=x.dtype)
    results = []
    for run in (layer, reference):
        leaf = x.detach().clone().requires_grad_()
        layer.zero_grad()
        y = run(leaf)
        y.backward(cotangent)
        gradients = {
            name: p.grad.clone() for name, p in layer.named_parameters() if p.grad is not None
        }
        results.append({"output": y.detach(), "input": leaf.grad, **gradients})
    mine, exact = results
    assert mine.keys() == exact.keys()
    for name, value in exact.items():
        scale = value.abs().max().clamp_min(1e-6)  # zero up to rounding is zero
        error = ((mine[name] - value).abs().max() / scale).item()
        assert error <= tolerance, f"{name}: relative error {error:.1e}"


def assert_pieces_same(layer: nn.Module, x: Tensor, splits: tuple[int, ...]) -> None:
    """The sequence in pieces, continued with the state, gives what the whole gives."""
    state = layer.empty_state()
    with torch.no_grad():
        pieces = [layer(piece, state) for piece in x.split(splits, dim=1)]
        torch.testing.assert_close(torch.cat(pieces, dim=1), layer(x), rtol=1e-9, atol=1e-10)
