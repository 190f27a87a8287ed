"""Stacks of convolutions whose reach grows from layer to layer (arXiv 1803.01271).

B batch, T time, C channels, D width
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.pieces.carried.module import Carried


def after_past(x: Tensor, past: int, state: Carried | None, name: str) -> Tensor:
    """x [B, T, C] with the `past` inputs before it in front, zeros before the first token:
    [B, past + T, C]. The state keeps, under `name`, those that the next call needs."""
    before = None if state is None else state.get(name)
    x = F.pad(x, (0, 0, past, 0)) if before is None else torch.cat((before, x), dim=1)
    if state is not None:
        # a slice would keep all of x alive
        state.tensors[name] = x[:, x.shape[1] - past :].clone()
    return x


class TrailingConv(nn.Module):
    """Convolution over a token and those before it: [B, T, channels] -> [B, T, out]"""

    def __init__(
        self, *, channels: int, out: int, width: int, dilation: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.past = dilation * (width - 1)
        self.conv = nn.Conv1d(channels, out, width, dilation=dilation, groups=groups)

    def forward(self, x: Tensor, state: Carried | None = None, name: str = "conv") -> Tensor:
        return self.conv(after_past(x, self.past, state, name).mT).mT


class CentredConv(nn.Module):
    """Convolution over a token and its neighbours on both sides: [B, T, channels] -> [B, T, out]"""

    def __init__(
        self, *, channels: int, out: int, width: int, dilation: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        reach = dilation * (width - 1)
        self.sides = (reach // 2, reach - reach // 2)
        self.conv = nn.Conv1d(channels, out, width, dilation=dilation, groups=groups)

    def forward(self, x: Tensor, state: Carried | None = None, name: str = "conv") -> Tensor:
        return self.conv(F.pad(x.mT, self.sides)).mT


class ReluConv(nn.Module):
    """relu(conv(x)): [B, T, C] -> [B, T, C]"""

    def __init__(self, *, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor, state: Carried | None, name: str) -> Tensor:
        return F.relu(self.conv(x, state, name))


class ResidualReluConv(nn.Module):
    """x + relu(conv(x)): [B, T, C] -> [B, T, C]"""

    def __init__(self, *, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor, state: Carried | None, name: str) -> Tensor:
        return x + F.relu(self.conv(x, state, name))


class ConvStack(nn.Module):
    """Convolutions one after another: [B, T, C] -> [B, T, C]"""

    def __init__(self, *, layers: tuple[nn.Module, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        for index, layer in enumerate(self.layers):
            x = layer(x, state, f"layer {index}")
        return x


class DilatedConv(nn.Module):
    """A stack of dilated convolutions and a projection: [B, T, D] -> [B, T, D]"""

    def __init__(self, *, dim: int, stack: nn.Module) -> None:
        super().__init__()
        self.stack = stack
        self.out = nn.Linear(dim, dim, bias=False)

    def empty_state(self) -> Carried:
        """What decoding carries from token to token."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        return self.out(self.stack(x, state))
