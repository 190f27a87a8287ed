"""LSTM: the recurrent network that the others are measured against."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import FAMILIES, Count, Memory, Mixer, Place, Source
from nas.search_spaces.ops import Op, Ops, linear


class LSTM(Mixer):
    """An LSTM and a projection back to the width; in an encoder one in each direction. Its state
    passes a nonlinearity with every token, so that it alone runs token by token in training too."""

    papers = (
        Source("Long Short-Term Memory", "https://doi.org/10.1162/neco.1997.9.8.1735"),
        Source(
            "Heterogeneous Encoders Scaling In The Transformer For Neural Machine Translation",
            "https://arxiv.org/abs/2312.15872",
            "its other encoders and their sum, which are parts of their own",
        ),
    )
    example = {"kind": "lstm", "hidden": 32}
    variants = ({"kind": "lstm", "hidden": 5},)
    families = FAMILIES

    kind: Literal["lstm"] = "lstm"
    hidden: Count
    """Hidden units, for each direction."""

    def ops(self, at: Place, context: int) -> Ops:
        directions = 1 if at.causal else 2
        units = directions * self.hidden
        lstm = Op(
            "lstm",
            ("x",),
            (units,),
            "recurrence",
            expects=((at.dim,),),
            params=4 * units * (at.dim + self.hidden + 2),
            flops=8 * units * (at.dim + self.hidden),
            scratch=4 * units,  # the gates
        )
        return (lstm, linear("out", "lstm", units, at.dim))

    def memory(self, at: Place) -> Memory:
        return Memory(state=2 * self.hidden) if at.causal else Memory()

    def plan(self, at: Place) -> Call:
        name = "LSTM" if at.causal else "BidirectionalLSTM"
        return Call(
            f"nas.search_spaces.mixers.lstm.module:{name}", {"dim": at.dim, "hidden": self.hidden}
        )
