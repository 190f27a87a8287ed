"""Legendre memory unit: the recent past of a signal as coefficients of Legendre polynomials.

Equations and source in the README. B batch, T time, D width, U signals, Q order, C chunk length
"""

import torch
from torch import Tensor, nn

from nas.search_spaces.pieces.carried.module import Carried

LEGENDRE_CHUNK = 16


class Legendre(nn.Module):
    """Signals of x, remembered over a window by fixed dynamics: [B, T, D] -> [B, T, D]."""

    def __init__(
        self,
        *,
        dim: int,
        signals: int,
        order: int,
        theta: float,
        encode_activation: nn.Module,
        activation: nn.Module,
    ) -> None:
        super().__init__()
        self.order = order
        self.encode = nn.Linear(dim, signals)
        self.encode_activation = encode_activation
        self.read = nn.Linear(signals * order, dim, bias=False)
        self.pass_on = nn.Linear(dim, dim)
        self.activation = activation
        self.out = nn.Linear(dim, dim, bias=False)
        # Not buffers: dynamics rounded to the dtype of the weights could grow without bound.
        self.responses, self.powers = legendre_responses(order, theta)

    def empty_state(self) -> Carried:
        """What decoding carries from token to token."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        state = Carried() if state is None else state
        u = self.encode_activation(self.encode(x))  # [B, T, U]
        memory, after = self.remember(u, state.get("memory"))  # [B, T, U, Q]
        state.tensors["memory"] = after
        state.length += x.shape[1]
        read = self.read(memory.flatten(2).to(x.dtype))
        return self.out(self.activation(read + self.pass_on(x)))

    def remember(self, u: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """The memory after each token, and the last: [B, T, U] -> [B, T, U, Q], [B, U, Q]"""
        batch, time, signals = u.shape
        # in float32 at least: the dynamics are close to the edge of stability
        dtype = torch.promote_types(u.dtype, torch.float32)
        length, order = min(time, LEGENDRE_CHUNK), self.order
        response = self.responses[:length, :length].flatten(1).to(u.device, dtype)  # [C, C * Q]
        power = self.powers[:, :length].flatten(1).to(u.device, dtype)  # [Q, C * Q]
        memory = u.new_zeros(batch, signals, order, dtype=dtype) if before is None else before
        u = nn.functional.pad(u.to(dtype), (0, 0, 0, -time % length))
        chunks = u.mT.unflatten(2, (-1, length)) @ response  # [B, U, N, C * Q], from zero
        seen = []
        for chunk in chunks.unbind(2):
            after = (chunk + memory @ power).unflatten(2, (length, order))  # [B, U, C, Q]
            seen.append(after)
            memory = after[:, :, -1]
        whole = torch.cat(seen, dim=2)[:, :, :time].transpose(1, 2)
        return whole, whole[:, -1].clone()  # a slice would keep all of it alive


def legendre_responses(order: int, theta: float) -> tuple[Tensor, Tensor]:
    """What an input leaves in the memory at each later time of a chunk, and what a memory becomes.

    The first is [C, C, Q], from the input at s to the memory at t, zero where t is before s; the
    second is [Q, C, Q], from the memory before the chunk to that at t. Both in float64.
    """
    step, drive = legendre_dynamics(order, theta)
    powers = [torch.eye(order, dtype=torch.float64)]
    for _ in range(LEGENDRE_CHUNK):
        powers.append(step @ powers[-1])
    responses = torch.zeros(LEGENDRE_CHUNK, LEGENDRE_CHUNK, order, dtype=torch.float64)
    for s in range(LEGENDRE_CHUNK):
        for t in range(s, LEGENDRE_CHUNK):
            responses[s, t] = powers[t - s] @ drive
    return responses, torch.stack([power.mT for power in powers[1:]], dim=1)


def legendre_dynamics(order: int, theta: float) -> tuple[Tensor, Tensor]:
    """The window's differential equation over one token by zero-order hold: [Q, Q], [Q]"""
    index = torch.arange(order, dtype=torch.float64)
    row, column = index[:, None], index[None, :]
    scale = (2 * index + 1) / theta
    sign = torch.where(row < column, -1.0, (-1.0) ** (row - column + 1))
    a, b = scale[:, None] * sign, scale * (-1.0) ** index
    # the exponential of [[A, b], [0, 0]] holds exp(A) and the integral that b goes through
    both = torch.zeros(order + 1, order + 1, dtype=torch.float64)
    both[:order, :order], both[:order, order] = a, b
    exponential = torch.linalg.matrix_exp(both)
    return exponential[:order, :order], exponential[:order, order]
