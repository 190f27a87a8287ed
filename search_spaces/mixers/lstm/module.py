"""Long short-term memory as a mixer.

B batch, T time, D width, H hidden units
"""

import torch
from torch import Tensor, nn

from nas.search_spaces.pieces.carried.module import Carried


class LSTM(nn.Module):
    """An LSTM and a projection back to the width: [B, T, D] -> [B, T, D]."""

    def __init__(self, *, dim: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dim, hidden, batch_first=True)
        open_forget_gates(self.lstm)
        self.out = nn.Linear(hidden, dim, bias=False)

    def empty_state(self) -> Carried:
        """What decoding carries from token to token."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        if state is None:
            return self.out(self.lstm(x)[0])
        hidden, cell = state.get("hidden"), state.get("cell")  # [B, 1, H]
        before = None if hidden is None or cell is None else (into_lstm(hidden), into_lstm(cell))
        y, after = self.lstm(x, before)
        state.tensors["hidden"], state.tensors["cell"] = (part.transpose(0, 1) for part in after)
        state.length += x.shape[1]
        return self.out(y)


class BidirectionalLSTM(nn.Module):
    """One LSTM in each direction, and a projection of both: [B, T, D] -> [B, T, D]."""

    def __init__(self, *, dim: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dim, hidden, batch_first=True, bidirectional=True)
        open_forget_gates(self.lstm)
        self.out = nn.Linear(2 * hidden, dim, bias=False)

    def forward(self, x: Tensor, state: None = None) -> Tensor:
        return self.out(self.lstm(x)[0])


def into_lstm(part: Tensor) -> Tensor:
    """[B, 1, H] -> [1, B, H]"""
    return part.transpose(0, 1).contiguous()


def open_forget_gates(lstm: nn.LSTM) -> None:
    """Start with forget gates near one, so that the memory starts out long."""
    for name, bias in lstm.named_parameters():
        if name.startswith("bias_ih"):
            with torch.no_grad():
                bias[lstm.hidden_size : 2 * lstm.hidden_size] += 1.0
