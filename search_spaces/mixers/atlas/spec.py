"""ATLAS: a memory whose weights are fitted to a window of keys and values while it reads."""

from math import comb
from typing import Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import Count, Flag, Memory, Mixer, Place, Source, only_with
from nas.search_spaces.mixers.attention.spec import HeadDim
from nas.search_spaces.mixers.gated_delta.spec import (
    OptionalConv,
    optional_conv,
    optional_conv_plan,
)
from nas.search_spaces.ops import Op, Ops, elementwise, linear

_MODULE = "nas.search_spaces.mixers.atlas.module"
_STEPS = "nas.search_spaces.pieces.omega_step.module"


class Atlas(Mixer):
    """ATLAS: at each token the weights of a memory take a step towards mapping the keys of the last
    tokens to their values. With a window, a chunk and a degree of one it is the delta rule."""

    papers = (
        Source(
            "ATLAS: Learning to Optimally Memorize the Context at Test Time",
            "https://arxiv.org/abs/2505.23735",
            "the exponential kernel of its deep transformers, gated and deeper memories",
        ),
    )
    example = {"kind": "atlas", "heads": 4, "head_dim": 8}
    variants = (
        {
            "kind": "atlas",
            "heads": 2,
            "head_dim": 8,
            "window": 8,
            "chunk": 8,
            "degree": 1,
            "hidden": 16,
            "optimiser": "momentum",
            "conv": 1,
        },
        {
            "kind": "atlas",
            "heads": 1,
            "head_dim": 16,
            "window": 1,
            "chunk": 1,
            "degree": 1,
            "optimiser": "gd",
            "output_gate": False,
        },
        {"kind": "atlas", "heads": 2, "head_dim": 4, "degree": 3, "newton_steps": 3, "chunk": 2},
        {
            "kind": "atlas",
            "heads": 2,
            "head_dim": 8,
            "window": 2,
            "hidden": 8,
            "optimiser": "gd",
        },
        {"kind": "atlas", "heads": 2, "head_dim": 8, "hidden": 12, "degree": 1, "chunk": 4},
    )
    conditions = (only_with("newton_steps", "optimiser", "muon"),)

    kind: Literal["atlas"] = "atlas"
    heads: Count
    head_dim: HeadDim
    """Channels of a query, key or value of one head."""
    window: Annotated[int, Field(strict=True, ge=1, le=256)] = 4
    """Tokens whose keys and values each step fits, the present one included."""
    chunk: Annotated[int, Field(strict=True, ge=1, le=256)] = 16
    """Tokens that take their gradients at the same memory, that of the chunk's beginning; with 1
    every gradient is taken at the present memory."""
    degree: Annotated[int, Field(strict=True, ge=1, le=3)] = 2
    """Highest power of a key's channels among its features."""
    hidden: Annotated[int, Field(strict=True, ge=0, le=4096)] = 0
    """Hidden units of a memory of two layers; 0 is one matrix."""
    optimiser: Literal["gd", "momentum", "muon"] = "muon"
    """How the memory steps."""
    newton_steps: Annotated[int, Field(strict=True, ge=1, le=10)] = 5
    """Newton-Schulz iterations of muon."""
    conv: OptionalConv = 4
    """Tokens that the convolution on queries, keys and values sees, the present one included; 1
    leaves it out."""
    output_gate: Flag = True

    @property
    def features(self) -> int:
        """Products of 1 to `degree` channels of a key."""
        return comb(self.head_dim + self.degree, self.degree) - 1

    @property
    def matrices(self) -> tuple[tuple[int, int], ...]:
        """Widths in and out of the matrices of one head's memory."""
        if not self.hidden:
            return ((self.features, self.head_dim),)
        return ((self.features, self.hidden), (self.hidden, self.head_dim))

    def ops(self, at: Place, context: int) -> Ops:
        width = self.heads * self.head_dim
        mixed = "conv" if self.conv > 1 else "qkv"
        gates = ("retain", "rate", "weight", *(("theta",) if self.optimiser != "gd" else ()))
        return (
            linear("qkv", "x", at.dim, 3 * width),
            *optional_conv("qkv", 3 * width, self.conv),
            *(linear(gate, "x", at.dim, self.heads, bias=True) for gate in gates),
            self._memory(mixed, gates, context),
            elementwise("norm", ("memory",), width, params=self.head_dim),
            *self._output_gate(at),
            linear("out", "silu_mul" if self.output_gate else "norm", width, at.dim),
        )

    def _memory(self, mixed: str, gates: tuple[str, ...], context: int) -> Op:
        width = self.heads * self.head_dim
        tokens = min(context, self.chunk)
        size = sum(rows * columns for rows, columns in self.matrices)
        return Op(
            "memory",
            (mixed, *gates),
            (width,),
            "recurrence",
            expects=((3 * width,), *((self.heads,) for _ in gates)),
            params=(self.heads * size if self.hidden else 0)
            + (self.degree if self.degree > 1 else 0),
            flops=self.heads * self._piece_flops(tokens) // tokens,
            decode_flops=self.heads * self._piece_flops(1),
            scratch=self._scratch(tokens) // context,
        )

    def _scratch(self, tokens: int) -> int:
        """Values held for the tokens of one chunk, since chunks run one after another: features of
        queries and keys, and the pairs of tokens or, with muon, of each token the momentum, its
        direction, that turned, half of their sum and the last memory."""
        size = sum(rows * columns for rows, columns in self.matrices)
        formed = 5 * size if self.optimiser == "muon" else 4 * tokens
        return tokens * self.heads * (2 * self.features + formed)

    def _piece_flops(self, tokens: int) -> int:
        """FLOPs of one head for some tokens of a chunk, which see window - 1 others as well."""
        seen = tokens + self.window - 1
        total = 2 * seen * sum(rows * columns for rows, columns in self.matrices)  # the errors
        if self.hidden:
            total += 2 * seen * self.hidden * self.head_dim  # and back through the second matrix
        schedules = 2 if self.optimiser == "momentum" else 1
        total += schedules * 2 * tokens * tokens * seen
        if self.optimiser == "momentum":
            total += 2 * tokens * tokens
        return total + sum(self._matrix_flops(tokens, seen, *widths) for widths in self.matrices)

    def _matrix_flops(self, tokens: int, seen: int, rows: int, columns: int) -> int:
        """Of one matrix: reading it at each token, and its next state."""
        size = rows * columns
        if self.optimiser == "muon":
            short, long = sorted((rows, columns))
            newton = self.newton_steps * (4 * short * short * long + 2 * short**3)
            return tokens * (2 * size * (seen + tokens + 1) + newton)
        carried = 2 if self.optimiser == "momentum" else 1
        return 2 * carried * size * (tokens + seen) + 2 * tokens * seen * (rows + columns)

    def _output_gate(self, at: Place) -> Ops:
        if not self.output_gate:
            return ()
        width = self.heads * self.head_dim
        return (
            linear("gate", "x", at.dim, width),
            elementwise("silu_mul", ("gate", "norm"), width),
        )

    def memory(self, at: Place) -> Memory:
        copies = 1 + (self.chunk > 1) + (self.optimiser != "gd")
        weights = copies * sum(rows * columns for rows, columns in self.matrices)
        recent = (self.window - 1) * (2 * self.head_dim + 1)
        convolved = 3 * self.heads * self.head_dim * (self.conv - 1)
        return Memory(state=self.heads * (weights + recent) + convolved)

    def plan(self, at: Place) -> Call:
        return Call(
            f"{_MODULE}:Atlas",
            {
                "dim": at.dim,
                "heads": self.heads,
                "head_dim": self.head_dim,
                "window": self.window,
                "chunk": self.chunk,
                "conv": optional_conv_plan(3 * self.heads * self.head_dim, self.conv),
                "features": self._features_plan(),
                "memory": self._memory_plan(),
                "step": self._step_plan(at),
                "output_gate": self._gate_plan(at),
            },
        )

    def _features_plan(self) -> Call:
        if self.degree == 1:
            return Call(f"{_MODULE}:UnitKey")
        numbers = {"head_dim": self.head_dim, "degree": self.degree}
        return Call(f"{_MODULE}:PolynomialKey", numbers)

    def _memory_plan(self) -> Call:
        widths = {"features": self.features, "value_dim": self.head_dim}
        if not self.hidden:
            return Call(f"{_MODULE}:MatrixMemory", widths)
        numbers = {"heads": self.heads, "hidden": self.hidden}
        return Call(f"{_MODULE}:MLPMemory", numbers | widths)

    def _step_plan(self, at: Place) -> Call:
        numbers = {"dim": at.dim, "heads": self.heads}
        if self.optimiser == "gd":
            return Call(f"{_STEPS}:OmegaGradient")
        if self.optimiser == "momentum":
            return Call(f"{_STEPS}:OmegaMomentum", numbers)
        return Call(f"{_STEPS}:OmegaMuon", numbers | {"newton_steps": self.newton_steps})

    def _gate_plan(self, at: Place) -> Call:
        module = "nas.search_spaces.mixers.gated_delta.module"
        if not self.output_gate:
            return Call(f"{module}:NoGate")
        numbers = {"dim": at.dim, "width": self.heads * self.head_dim}
        return Call(f"{module}:SwishGate", numbers)
