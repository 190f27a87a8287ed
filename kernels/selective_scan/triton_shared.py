"""What the forward and the backward kernels of the selective scan share.

Shapes: B batch, T time, E channels, N states of each channel.
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit  # type: ignore[untyped-decorator]
def load_scan_rows(x, rows, column, time, channels, x_time, x_channel, wide: tl.constexpr):  # type: ignore[no-untyped-def]
    """[rows, columns] of one sequence [T, E]; zero outside."""
    known = (rows < time)[:, None] & (column < channels)[None, :]
    place = rows[:, None] * x_time + column[None, :] * x_channel
    return tl.load(x + place, mask=known, other=0.0).to(wide)


@triton.jit  # type: ignore[untyped-decorator]
def load_gain(  # type: ignore[no-untyped-def]
    gain,
    rows,
    state,
    column,
    time,
    states,
    channels,
    g_time,
    g_state,
    g_channel,
    shared: tl.constexpr,
    wide: tl.constexpr,
):
    """[rows, states, columns] of one sequence [T, N, E]; one column if all channels share it."""
    place = rows[:, None, None] * g_time + state[None, :, None] * g_state
    known = (rows < time)[:, None, None] & (state < states)[None, :, None]
    if not shared:
        place = place + column[None, None, :] * g_channel
        known = known & (column < channels)[None, None, :]
    return tl.load(gain + place, mask=known, other=0.0).to(wide)


@triton.jit
def place_of_states(index, state, column, states, channels):  # type: ignore[no-untyped-def]
    """Offsets of [states, columns] in the `index`-th of many [N, E], and which of them exist."""
    inside = (state < states)[:, None] & (column < channels)[None, :]
    return (index * states + state)[:, None] * channels + column[None, :], inside


@dataclass(frozen=True)
class Sizes:
    """How a call is cut into programs."""

    batch: int
    time: int
    states: int
    channels: int
    blocks: dict[str, int]

    @property
    def chunks(self) -> int:
        """Stretches of time, one for each program."""
        return int(triton.cdiv(self.time, self.blocks["chunk"]))

    @property
    def across(self) -> int:
        """Blocks of channels."""
        return int(triton.cdiv(self.channels, self.blocks["block_channels"]))

    @property
    def grid(self) -> tuple[int, int]:
        """Programs."""
        return self.batch * self.chunks, self.across

    @property
    def numbers(self) -> tuple[int, ...]:
        """What every kernel takes."""
        return self.time, self.states, self.channels, self.chunks


def blocks_of(states: int, channels: int) -> dict[str, int]:
    """Chunks of 64 steps in tiles of 8 steps, all states of up to 32 channels: 16 values a thread
    for each tile with 16 states and 8 warps. Only the sizes of one token decide, so that no sum
    depends on the batch."""
    block_states = int(triton.next_power_of_2(states))
    columns = min(32, max(1, 512 // block_states), int(triton.next_power_of_2(channels)))
    values = 8 * block_states * columns
    return {
        "chunk": 64,
        "block_time": 8,
        "block_states": block_states,
        "block_channels": columns,
        "num_warps": min(8, max(1, values // 512)),
    }


def wide_of(dtype: torch.dtype) -> Any:
    """Triton's type for computing with inputs of a type."""
    return tl.float64 if dtype == torch.float64 else tl.float32


def sizes_of(x: Tensor, rates: Tensor) -> Sizes:
    """How to cut up x [B, T, E] with rates [N, E]."""
    states, channels = rates.shape
    return Sizes(x.shape[0], x.shape[1], states, channels, blocks_of(states, channels))


SHARED = 0
"""A gain that all channels share."""
FIXED = 1
"""One that all times share."""
FREE = 2
"""One of neither kind."""


def kind_of(gain: Tensor) -> int:
    """Of a gain that broadcasts to [B, T, N, E]; its shape decides, not its strides."""
    if gain.shape[3] == 1:
        return SHARED
    return FIXED if gain.shape[1] == 1 else FREE


def expanded(x: Tensor, rates: Tensor, *gains: Tensor) -> list[Tensor]:
    """Gains as views [B, T, N, E]."""
    return [gain.expand(*x.shape[:2], *rates.shape) for gain in gains]
