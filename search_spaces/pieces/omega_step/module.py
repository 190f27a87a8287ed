"""Steps of an optimiser on the weights of a memory, one at each token of a piece of a sequence.

All gradients of a piece are taken at the same weights, where the gradient of token i is the
outer product of an input and an error; a token's own gradient U_t sums those of its window.

B batch, T time, D width, H heads, n tokens of a piece, m = n + window - 1 tokens that their
windows see, I and O widths of a weight matrix
"""

from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Tensors: TypeAlias = tuple[Tensor, ...]


def omega_band(gamma: Tensor, window: int) -> Tensor:
    """gamma [B, H, m] -> [B, H, n, m]: what each token weighs the tokens of its window by."""
    size = gamma.shape[2]
    inside = torch.ones(size - window + 1, size, dtype=gamma.dtype, device=gamma.device)
    return inside.triu().tril(window - 1) * gamma.unsqueeze(2)


def omega_between(log_factor: Tensor) -> Tensor:
    """[B, H, n] -> [B, H, n, n]: the product of the factors after one token up to another."""
    total = log_factor.cumsum(2)
    size = total.shape[2]
    future = torch.ones(size, size, dtype=torch.bool, device=total.device).triu(1)
    return (total.unsqueeze(3) - total.unsqueeze(2)).masked_fill(future, -torch.inf).exp()


class OmegaGradient(nn.Module):
    """Gradient descent, W_t = alpha_t W_{t-1} - eta_t U_t.

    The weights are read as the sum that they are, so that no matrix is formed for each token.
    """

    def gates(self, x: Tensor) -> Tensors:
        """Gates beyond gamma, alpha and eta."""
        return ()

    def still(self, weights: Tensor) -> Tensors:
        """What is carried of a weight matrix, before the first step."""
        return (weights,)

    def schedule(self, band: Tensor, log_alpha: Tensor, eta: Tensor) -> Tensors:
        """How much of the old weights [B, H, n, 1] and of each token's gradient [B, H, n, m] is in
        the weights of each token of a piece."""
        kept = log_alpha.cumsum(2).exp().unsqueeze(3)
        return kept, (omega_between(log_alpha) * eta.unsqueeze(2)) @ band

    def forward(
        self, x: Tensor, inputs: Tensor, errors: Tensor, moving: Tensors, schedule: Tensors
    ) -> tuple[Tensor, Tensors]:
        """x [B, H, n, I] times the weights of its token, [B, H, n, O], and the last weights."""
        (weights,) = moving
        kept, written = schedule
        y = kept * (x @ weights) - ((x @ inputs.mT) * written) @ errors
        last = inputs * written[:, :, -1].unsqueeze(3)
        return y, (kept[:, :, -1:] * weights - last.mT @ errors,)


class OmegaMomentum(nn.Module):
    """Descent with momentum, S_t = theta_t S_{t-1} + U_t and W_t = alpha_t W_{t-1} - eta_t S_t."""

    def __init__(self, *, dim: int, heads: int) -> None:
        super().__init__()
        self.theta = nn.Linear(dim, heads)

    def gates(self, x: Tensor) -> Tensors:
        """log theta, [B, H, T]."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        return (F.logsigmoid(self.theta(x).to(dtype)).mT,)

    def still(self, weights: Tensor) -> Tensors:
        """What is carried of a weight matrix, before the first step: itself and its momentum."""
        return weights, torch.zeros_like(weights)

    def schedule(self, band: Tensor, log_alpha: Tensor, eta: Tensor, log_theta: Tensor) -> Tensors:
        """How much of the old weights, the old momentum and each token's gradient is in the weights
        of each token of a piece; and of the latter two in its momentum."""
        kept = log_alpha.cumsum(2).exp().unsqueeze(3)
        glide = log_theta.cumsum(2).exp().unsqueeze(3)
        gathered = omega_between(log_theta) @ band
        steps = omega_between(log_alpha) * eta.unsqueeze(2)
        return kept, steps @ glide, steps @ gathered, glide, gathered

    def forward(
        self, x: Tensor, inputs: Tensor, errors: Tensor, moving: Tensors, schedule: Tensors
    ) -> tuple[Tensor, Tensors]:
        """x [B, H, n, I] times the weights of its token, [B, H, n, O], and what is carried on."""
        weights, momentum = moving
        kept, drift, written, glide, gathered = schedule
        y = kept * (x @ weights) - drift * (x @ momentum)
        y = y - ((x @ inputs.mT) * written) @ errors
        last = (inputs * written[:, :, -1].unsqueeze(3)).mT @ errors
        pushed = (inputs * gathered[:, :, -1].unsqueeze(3)).mT @ errors
        after = kept[:, :, -1:] * weights - drift[:, :, -1:] * momentum - last
        return y, (after, glide[:, :, -1:] * momentum + pushed)


class OmegaMuon(OmegaMomentum):
    """Muon, W_t = alpha_t W_{t-1} - eta_t newton_schulz(S_t). Forms the matrices of each token."""

    def __init__(self, *, dim: int, heads: int, newton_steps: int) -> None:
        super().__init__(dim=dim, heads=heads)
        self.newton_steps = newton_steps

    def schedule(self, band: Tensor, log_alpha: Tensor, eta: Tensor, log_theta: Tensor) -> Tensors:
        """How much of the old weights and of each step is in the weights of each token of a piece,
        and of the old momentum and each token's gradient in its momentum."""
        kept = log_alpha.cumsum(2).exp().unsqueeze(3)
        glide = log_theta.cumsum(2).exp().unsqueeze(3)
        steps = omega_between(log_alpha) * eta.unsqueeze(2)
        return kept, steps, glide, omega_between(log_theta) @ band

    def forward(
        self, x: Tensor, inputs: Tensor, errors: Tensor, moving: Tensors, schedule: Tensors
    ) -> tuple[Tensor, Tensors]:
        """x [B, H, n, I] times the weights of its token, [B, H, n, O], and what is carried on."""
        weights, momentum = moving
        kept, steps, glide, gathered = schedule
        shape = weights.shape[2:]
        gradients = inputs.unsqueeze(4) * errors.unsqueeze(3)  # [B, H, m, I, O]
        pushed = (gathered @ gradients.flatten(3)).unflatten(3, shape)  # [B, H, n, I, O]
        momenta = glide.unsqueeze(4) * momentum.unsqueeze(2) + pushed
        turned = newton_schulz(momenta, self.newton_steps)
        moved = (steps @ turned.flatten(3)).unflatten(3, shape)
        after = kept.unsqueeze(4) * weights.unsqueeze(2) - moved
        y = (x.unsqueeze(3) @ after).squeeze(3)
        return y, (after[:, :, -1], momenta[:, :, -1])


def newton_schulz(x: Tensor, steps: int) -> Tensor:
    """x [..., I, O] with its singular values brought near one, by the polynomial of Muon."""
    wide = x if x.shape[-2] <= x.shape[-1] else x.mT
    wide = wide * (wide.square().sum(dim=(-2, -1), keepdim=True) + 1e-12).rsqrt()
    for _ in range(steps):
        gram = wide @ wide.mT
        wide = 3.4445 * wide + (2.0315 * gram @ gram - 4.775 * gram) @ wide
    return wide if x.shape[-2] <= x.shape[-1] else wide.mT
