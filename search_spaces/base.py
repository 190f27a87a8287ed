"""What every searchable part is: typed numbers, a paper, a price and a plan. No torch here.

A part describes itself once as a small graph of operators (``ops``). Its parameters and FLOPs are
the sums over that graph (``cost``), and the architecture's graph is made of the same operators, so
the two can never disagree. The contract suite holds both to the built module.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from nas.plan import Call
from nas.search_spaces.ops import Ops, merge_costs


class Model(BaseModel):
    """Base of all typed records: frozen, and an unknown field is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
"""A whole number of at least one."""
Flag = Annotated[bool, Field(strict=True)]


class Source(NamedTuple):
    """The paper that a part comes from."""

    title: str
    link: str


class Place(NamedTuple):
    """What a part may know about its surroundings."""

    dim: int
    """Model width D."""
    depth: int
    """Number of layers L."""
    layer: int
    """This layer, 0..L-1."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a part costs. FLOPs count a multiply and an add separately, and matrix products only.

    Memory is in values, not bytes: multiply by the bytes of the dtype that runs.
    """

    params: int = 0
    active_params: int = 0
    """All parameters but those of experts and heads that a token is not routed to."""
    flops: int = 0
    """Per token of a forward pass over `context` tokens, as our implementation executes it. Causal
    attention is counted dense (every token against `context` keys), as torch's counter does."""
    decode_flops: int = 0
    """Of one decoding step that sees `context` tokens, itself included."""
    cache_values_per_token: int = 0
    """Growth of the KV cache with each token, for one sequence."""
    cache_values: int = 0
    """KV cache of one sequence of `context` tokens."""
    state_values: int = 0
    """Recurrent state of one sequence; independent of length."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Rule:
    """A relation between the fields of one part; decides what a space may offer together."""

    fields: tuple[str, ...]
    holds: Callable[..., bool]
    """Called with the fields' values, in order."""
    says: str
    """What would work, for example ``groups must divide heads``."""


def broken_rules(message: str, says: str, fields: tuple[str, ...]) -> PydanticCustomError:
    """A validation error that carries what would work and which fields decide it."""
    return PydanticCustomError(
        "rule", "{message}", {"message": message, "accepted": says, "fields": list(fields)}
    )


class Memory(NamedTuple):
    """What a part carries from token to token, for one sequence, in values."""

    cache_per_token: int = 0
    cache_tokens: int | None = None
    """Tokens after which the cache stops growing; None is never."""
    state: int = 0


class Part(Model, ABC):
    """One choosable piece: numbers only, no tensors."""

    kind: str
    papers: ClassVar[tuple[Source, ...]]
    """The sources, the first one first in the catalogue."""
    example: ClassVar[dict[str, Any]]
    """A small valid instance for a width of 64: tests, docs and forms start from it."""
    variants: ClassVar[tuple[dict[str, Any], ...]] = ()
    """Further instances that together use every option; the contract suite runs them all."""
    rules: ClassVar[tuple[Rule, ...]] = ()
    families: ClassVar[tuple[str, ...]] = ("causal_lm",)
    """Model families in which the part may be used."""

    @model_validator(mode="after")
    def _obey_rules(self) -> "Part":
        for rule in self.rules:
            values = [getattr(self, name) for name in rule.fields]
            if not rule.holds(*values):
                given = ", ".join(f"{n}={v}" for n, v in zip(rule.fields, values, strict=True))
                raise broken_rules(f"{rule.says} ({given})", rule.says, rule.fields)
        return self

    @abstractmethod
    def ops(self, at: Place, context: int) -> Ops:
        """The part as operators; the last one is its output. Its input is called ``x``."""

    @abstractmethod
    def plan(self, at: Place) -> Call:
        """How the module is built."""

    def memory(self, at: Place) -> Memory:
        """What is carried while decoding; nothing unless a part says otherwise."""
        return Memory()

    def cost(self, at: Place, context: int) -> Cost:
        """The sums over ``ops`` and ``memory``, at a context length in tokens."""
        params, active_params, flops, decode_flops = merge_costs(self.ops(at, context))
        return Cost(params, active_params, flops, decode_flops) + self.memory_cost(at, context)

    def memory_cost(self, at: Place, context: int) -> Cost:
        """What decoding carries after `context` tokens, as a cost."""
        memory = self.memory(at)
        cached = context if memory.cache_tokens is None else min(context, memory.cache_tokens)
        return Cost(
            cache_values_per_token=memory.cache_per_token,
            cache_values=memory.cache_per_token * cached,
            state_values=memory.state,
        )


class Mixer(Part):
    """Along the sequence: [B, T, D] -> [B, T, D]."""


class FFN(Part):
    """Along the width: [B, T, D] -> [B, T, D]."""


class DenseFFN(FFN):
    """An FFN that every token passes whole; may serve as an expert or be nested.

    Its module keeps the hidden units along the first axis of every parameter, except for ``down``,
    whose weight has them along the last axis and whose bias has none. That is what a nested FFN
    relies on; a test holds every dense FFN to it.
    """

    hidden: Count
    """Hidden units."""


class Norm(Part):
    """Normalises each token: [B, T, D] -> [B, T, D]."""


class Position(Part):
    """How attention learns where a token is; applied to queries and keys [B, H, T, K]."""


class Embedding(Part):
    """Tokens to vectors: [B, T] -> [B, T, D]."""

    @abstractmethod
    def vocabulary_plan(self, at: Place, vocab: int) -> Call:
        """How the module is built, given the number of tokens in the vocabulary."""

    @abstractmethod
    def vocabulary_ops(self, at: Place, vocab: int) -> Ops:
        """The operators, given the number of tokens in the vocabulary."""

    def ops(self, at: Place, context: int) -> Ops:
        raise TypeError("an embedding is priced with vocabulary_ops")

    def plan(self, at: Place) -> Call:
        raise TypeError("an embedding is planned with vocabulary_plan")


class Residual(Part):
    """Wraps a sublayer with its norms and adds it to the residual stream."""

    @abstractmethod
    def wrap_ops(self, at: Place, context: int, inner: Ops) -> Ops:
        """The operators of the sublayer with norm and addition around ``inner``."""

    @abstractmethod
    def wrap_plan(self, at: Place, inner: Call) -> Call:
        """How the wrapped module is built."""

    def ops(self, at: Place, context: int) -> Ops:
        raise TypeError("a residual is priced with wrap_ops")

    def plan(self, at: Place) -> Call:
        raise TypeError("a residual is planned with wrap_plan")


class Block(Part):
    """Joins a mixer and an FFN into one layer."""

    @abstractmethod
    def join_ops(self, at: Place, context: int, mixer: Ops, ffn: Ops) -> Ops:
        """The operators of the whole layer."""

    @abstractmethod
    def join_plan(self, at: Place, mixer: Call, ffn: Call) -> Call:
        """How the layer is built."""

    def ops(self, at: Place, context: int) -> Ops:
        raise TypeError("a block is priced with join_ops")

    def plan(self, at: Place) -> Call:
        raise TypeError("a block is planned with join_plan")
