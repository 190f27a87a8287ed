"""Attention to vector-quantised keys: linear in time, with a softmax all the same."""

from typing import Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import FAMILIES, Count, Memory, Mixer, Place, Source, only_with
from nas.search_spaces.mixers.attention.spec import HeadDim
from nas.search_spaces.ops import Op, Ops, elementwise, linear, shared

_MODULE = "nas.search_spaces.mixers.vq_attention.module"


class VectorQuantisedAttention(Mixer):
    """LongVQ: softmax attention in which earlier keys are known by their code only, gated against a
    moving average of the input. One head; the layer may still have an FFN."""

    papers = (
        Source(
            "LongVQ: Long Sequence Modeling with Vector Quantization on Structured Memory",
            "https://arxiv.org/abs/2404.11163",
            "updating the codebook by a moving average: it is trained by gradients",
        ),
        Source(
            "Transformer-VQ: Linear-Time Transformers via Vector Quantization",
            "https://arxiv.org/abs/2309.16354",
            "updating the codebook by a moving average",
        ),
    )
    example = {"kind": "vq_attention", "hidden": 64, "key_dim": 16, "codes": 32, "chunk": 16}
    variants = (
        {
            "kind": "vq_attention",
            "hidden": 32,
            "key_dim": 8,
            "codes": 12,
            "chunk": 32,
            "context": "s4d",
            "states": 4,
            "commitment": 1.0,
        },
        {
            "kind": "vq_attention",
            "hidden": 32,
            "key_dim": 8,
            "codes": 16,
            "chunk": 8,
            "context": "none",
        },
    )
    conditions = (only_with("states", "context", "ema", "s4d"),)
    families = FAMILIES

    kind: Literal["vq_attention"] = "vq_attention"
    hidden: Count
    """Value channels; the paper takes 2 dim."""
    key_dim: HeadDim
    """Channels of queries, keys and codes."""
    codes: Count
    """Entries of the codebook; the paper compares 256 and 512."""
    chunk: Count
    """Tokens whose keys are seen one by one, with a bias for the distance."""
    context: Literal["ema", "s4d", "none"] = "ema"
    """What queries, keys and gates are made of: damped moving averages, a diagonal state-space
    model, or the tokens themselves."""
    states: Count = 2
    """Averages or states of each channel of the context."""
    commitment: Annotated[float, Field(gt=0.0, le=100.0)] = 0.001
    """How much keys are drawn to their codes, next to codes to their keys. Too much of it, and all
    keys gather at one code."""

    def ops(self, at: Place, context: int) -> Ops:
        source = "x" if self.context == "none" else "context"
        return (
            *self._context_op(at),
            linear("shared", source, at.dim, self.key_dim),
            linear("value", "x", at.dim, self.hidden),
            self._attend(at, context),
            linear("reset", source, at.dim, self.hidden),
            elementwise("reset_mul", ("reset", "attend"), self.hidden),
            linear("candidate", source, at.dim, at.dim),
            linear("out", "reset_mul", self.hidden, at.dim),
            linear("update", source, at.dim, at.dim),
            elementwise("mix", ("candidate", "out", "update", source), at.dim),
        )

    def _context_op(self, at: Place) -> Ops:
        if self.context == "none":
            return ()
        # s4d: rates and outputs, complex, and a step; both: a weight for the channel itself
        numbers = 4 * self.states + (1 if self.context == "ema" else 2)
        ways = 1 if at.causal else 2
        powers = at.dim * self.states * (1 if self.context == "ema" else 2)
        width = at.dim
        return (
            Op(
                "context",
                ("x",),
                (width,),
                "recurrence",
                expects=((width,),),
                params=ways * width * numbers,
                # spectra of twice the length; or powers of all factors, and their logarithms
                scratch=max(4 * width, shared(2 * powers)),
            ),
        )

    def _attend(self, at: Place, context: int) -> Op:
        columns = self.hidden + 1  # the values, and their number
        nearest = score = 2 * self.codes * self.key_dim
        table = 2 * self.codes * columns
        pair = 2 * (self.key_dim + columns)
        filled = (context - 1) % self.chunk + 1
        alone = at.causal and context == 1  # written without a matrix product
        distances = self.chunk if at.causal else 2 * self.chunk - 1
        return Op(
            "attend",
            ("shared", "value"),
            (self.hidden,),
            "attention",
            expects=((self.key_dim,), (self.hidden,)),
            params=self.codes * self.key_dim + 4 * self.key_dim + distances,
            flops=nearest + score + table * (1 if alone else 2) + pair * min(context, self.chunk),
            decode_flops=nearest + score + table + pair * filled,
            scratch=self.chunk + 2 * self.codes + 2 * self.codes * columns // self.chunk,
        )

    def memory(self, at: Place) -> Memory:
        columns = self.hidden + 1
        numbers = {"none": 0, "ema": self.states, "s4d": 2 * self.states}[self.context]
        kept = self.chunk * (self.key_dim + columns) + 2 * self.codes * columns
        return Memory(state=kept + at.dim * numbers)

    def plan(self, at: Place) -> Call:
        attend = "ChunkAndCodes" if at.causal else "TwoWayChunkAndCodes"
        return Call(
            f"{_MODULE}:VectorQuantisedAttention",
            {
                "dim": at.dim,
                "hidden": self.hidden,
                "key_dim": self.key_dim,
                "context": self._context_plan(at),
                "quantiser": Call(
                    f"{_MODULE}:Quantiser",
                    {
                        "codes": self.codes,
                        "key_dim": self.key_dim,
                        "commitment": self.commitment,
                    },
                ),
                "attend": Call(f"{_MODULE}:{attend}", {"chunk": self.chunk}),
            },
        )

    def _context_plan(self, at: Place) -> Call:
        if self.context == "none":
            return Call(f"{_MODULE}:NoContext")
        name = "DampedAverage" if self.context == "ema" else "DiagonalStateSpace"
        system = Call(f"{_MODULE}:{name}", {"dim": at.dim, "states": self.states})
        smoothed = Call(f"{_MODULE}:SmoothedContext", {"system": system})
        if at.causal:
            return smoothed
        return Call(f"{_MODULE}:TwoWayContext", {"ahead": smoothed, "back": smoothed})
