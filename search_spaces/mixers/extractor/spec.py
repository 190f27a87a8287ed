"""The Extractor family: weights by distance, and a product with the present token."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Count, Memory, Mixer, Place, Source
from nas.search_spaces.mixers.long_conv.spec import long_conv_op
from nas.search_spaces.ops import Op, Ops, elementwise, linear, shared

_MODULE = "nas.search_spaces.mixers.extractor.module"


class Extractor(Mixer):
    """A sum over the earlier tokens weighted by their distance, multiplied by a projection of the
    present token. SHE has a matrix for each distance, HE a vector and one common matrix, WE a
    vector, ME a number."""

    papers = (
        Source(
            "Attention Is Not All You Need Anymore",
            "https://arxiv.org/abs/2308.07661",
            "the exact forms of HE, WE and ME, which are built from the paper's summary",
        ),
    )
    example = {"kind": "extractor", "variant": "she", "max_tokens": 80}
    variants = (
        {"kind": "extractor", "variant": "he", "max_tokens": 128},
        {"kind": "extractor", "variant": "we", "max_tokens": 128},
        {"kind": "extractor", "variant": "me", "max_tokens": 128},
    )

    kind: Literal["extractor"] = "extractor"
    variant: Literal["she", "he", "we", "me"]
    """From the most to the fewest weights."""
    max_tokens: Count
    """Longest input: there are weights for as many distances."""

    @property
    def _channels_differ(self) -> bool:
        return self.variant != "me"

    def ops(self, at: Place, context: int) -> Ops:
        dim = at.dim
        extract = (
            self._matrices(dim, context) if self.variant == "she" else self._vectors(at, context)
        )
        return (
            *extract,
            linear("adjust", "x", dim, dim, bias=True),
            elementwise("mul", (extract[-1].name, "adjust"), dim),
        )

    def _matrices(self, dim: int, context: int) -> Ops:
        return (
            Op(
                "extract",
                ("x",),
                (dim,),
                "convolution",
                expects=((dim,),),
                params=self.max_tokens * dim * dim,
                flops=2 * context * dim * dim,  # tokens before the first one count too
                scratch=shared(2 * dim * dim),  # matrices in reverse, and in the layout of conv1d
            ),
        )

    def _vectors(self, at: Place, context: int) -> Ops:
        weights = self.max_tokens * (at.dim if self._channels_differ else 1)
        conv = long_conv_op("extract", "x", at.dim, context, self.max_tokens, weights)
        if self.variant == "he":
            return (conv, linear("matrix", "extract", at.dim, at.dim))
        return (conv,)

    def memory(self, at: Place) -> Memory:
        return Memory(cache_per_token=at.dim)

    def plan(self, at: Place) -> Call:
        return Call(
            f"{_MODULE}:Extractor",
            {"dim": at.dim, "max_tokens": self.max_tokens, "extract": self._extract_plan(at)},
        )

    def _extract_plan(self, at: Place) -> Call:
        if self.variant == "she":
            size = {"dim": at.dim, "max_tokens": self.max_tokens}
            return Call(f"{_MODULE}:OffsetMatrices", size)
        channels = at.dim if self._channels_differ else 1
        vectors = Call(
            f"{_MODULE}:OffsetVectors", {"channels": channels, "max_tokens": self.max_tokens}
        )
        if self.variant == "he":
            return Call(f"{_MODULE}:VectorsThenMatrix", {"dim": at.dim, "vectors": vectors})
        return vectors
