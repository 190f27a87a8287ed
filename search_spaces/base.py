"""What every searchable part is: typed numbers, a paper, a price and a plan. No torch here.

A part describes itself once as a small graph of operators (``ops``). Its parameters and FLOPs are
the sums over that graph (``cost``), and the architecture's graph is made of the same operators, so
the two can never disagree. The contract suite holds both to the built module.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic_core import PydanticCustomError

from nas.plan import Call
from nas.search_spaces.field_docs import field_docs
from nas.search_spaces.ops import Ops, merge_costs


class Model(BaseModel):
    """Base of all typed records: frozen, and an unknown field is an error. The docstrings under its
    fields are their descriptions in a JSON schema."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, without what the original has worked out from the fields that change."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: Any, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, doc in field_docs(cls).items():
            if name in properties:
                properties[name].setdefault("description", doc)
        return schema


Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
"""A whole number of at least one."""
Flag = Annotated[bool, Field(strict=True)]


FAMILIES = ("causal_lm", "encoder")
"""Model families: left to right with a next-token head, and bidirectional."""


class Source(NamedTuple):
    """The paper that a part comes from."""

    title: str
    link: str
    left_out: str = ""
    """What of the paper's own options the part does not carry; empty is nothing."""
    field: str = ""
    """The field by which the part follows the paper; empty where it always does."""


class Place(NamedTuple):
    """What a part may know about its surroundings."""

    dim: int
    """Model width D."""
    depth: int
    """Number of layers L."""
    layer: int
    """This layer, 0..L-1."""
    causal: bool = True
    """Whether a token may see earlier tokens only (family causal_lm) or all of them (encoder)."""
    scores_below: bool = False
    """Whether an attention below hands its scores on to this layer."""


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
        return Cost(  # spelt out, for it is done once for each layer of each candidate
            self.params + other.params,
            self.active_params + other.active_params,
            self.flops + other.flops,
            self.decode_flops + other.decode_flops,
            self.cache_values_per_token + other.cache_values_per_token,
            self.cache_values + other.cache_values,
            self.state_values + other.state_values,
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """A relation between the fields of one part; decides what a space may offer together."""

    fields: tuple[str, ...]
    holds: Callable[..., bool]
    """Called with the fields' values, in order; of a field that holds a part, with its class."""
    says: str
    """What would work, for example ``groups must divide heads``."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A field that says something only beside some values of another field. Elsewhere it keeps its
    default, and a space does not ask for it."""

    field: str
    other: str
    holds: Callable[[Any], bool]
    """Called with the value of the other field."""
    says: str
    """Where it counts, for example ``newton_steps is for optimiser muon``."""
    idle: Any = None
    """What a field that has no default is set to elsewhere."""

    def elsewhere(self, part: "type[Part]") -> Any:
        """The value of the field where it says nothing."""
        info = part.model_fields[self.field]
        return self.idle if info.is_required() else info.default

    def advice(self, part: "type[Part]") -> str:
        """What would work, for an error."""
        leave = "set it to" if part.model_fields[self.field].is_required() else "leave it out or at"
        return f"{self.says}; elsewhere {leave} {self.elsewhere(part)}"


def only_with(field: str, other: str, *options: Any, idle: Any = None) -> Condition:
    """A field that is for some values of another."""
    listed = " or ".join(str(option).lower() for option in options)
    says = f"{field} is for {other} {listed}"
    return Condition(field, other, lambda value: value in options, says, idle)


def rule_value(value: Any) -> Any:
    """What a rule sees of a field."""
    return type(value) if isinstance(value, Part) else value


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
    """Values of the recurrent state, from the first token on."""
    cache_every: int = 1
    """The cache grows with every so many tokens, by that many times `cache_per_token`."""
    more: tuple["Memory", ...] = ()
    """Of further parts that carry something beside."""

    def cached(self, tokens: int) -> int:
        """Values in all caches after so many tokens."""
        held = tokens if self.cache_tokens is None else min(tokens, self.cache_tokens)
        own = self.cache_per_token * (held // self.cache_every * self.cache_every)
        return own + sum(memory.cached(tokens) for memory in self.more)

    @property
    def growth(self) -> int:
        """Values that all caches together gain with each token while they grow."""
        return self.cache_per_token + sum(memory.growth for memory in self.more)

    @property
    def states(self) -> int:
        """Values of all recurrent states."""
        return self.state + sum(memory.states for memory in self.more)


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
    conditions: ClassVar[tuple[Condition, ...]] = ()
    absent: ClassVar[bool] = False
    """Whether choosing it means that there is nothing in its place."""
    families: ClassVar[tuple[str, ...]] = FAMILIES
    """Model families in which the part may be used."""
    family_inside: ClassVar[str | None] = None
    """The family as which it runs the parts that it holds; None is its own."""
    family_reason: ClassVar[str] = ""
    """Why it may not be used in the others; said to whoever asks for it there."""

    @model_validator(mode="after")
    def _obey_rules(self) -> "Part":
        for rule in self.rules:
            values = [rule_value(getattr(self, name)) for name in rule.fields]
            if not rule.holds(*values):
                given = ", ".join(
                    f"{name}={getattr(getattr(self, name), 'kind', value)}"
                    for name, value in zip(rule.fields, values, strict=True)
                )
                raise broken_rules(f"{rule.says} ({given})", rule.says, rule.fields)
        return self

    @model_validator(mode="after")
    def _leave_idle_fields(self) -> "Part":
        for condition in self.conditions:
            name, other = condition.field, getattr(self, condition.other)
            value = getattr(self, name)
            if value != condition.elsewhere(type(self)) and not condition.holds(other):
                given = f"{name}={value}, {condition.other}={other}"
                says = condition.advice(type(self))
                raise broken_rules(f"{says} ({given})", says, (name, condition.other))
        return self

    @property
    def sources(self) -> tuple[Source, ...]:
        """The papers that it follows: all but those whose field is left at its default."""
        fields = type(self).model_fields
        return tuple(
            paper
            for paper in self.papers
            if not paper.field or getattr(self, paper.field) != fields[paper.field].default
        )

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
        return Cost(
            cache_values_per_token=memory.growth,
            cache_values=memory.cached(context),
            state_values=memory.states,
        )


class Mixer(Part):
    """Along the sequence: [B, T, D] -> [B, T, D].

    A mixer runs from left to right unless it says that it has a bidirectional form, which it then
    builds where ``Place.causal`` is false.
    """

    families: ClassVar[tuple[str, ...]] = ("causal_lm",)
    family_reason: ClassVar[str] = (
        "it reads the sequence from left to right only; "
        "in an encoder it may stand inside the mixer 'bidirectional'"
    )

    @property
    def mixes_tokens(self) -> bool:
        """Whether the output of a token depends on other tokens."""
        return True

    @property
    def handed_scores(self) -> tuple[Any, ...] | None:
        """Scores that it could hand to a layer above that gives an equal answer; None is none."""
        return None


class Composite(Mixer):
    """A mixer made of other mixers; it may not hold another composite."""


class HeadShape(NamedTuple):
    """The heads of an attention."""

    heads: int
    """Query heads H."""
    groups: int
    """Key and value heads G."""
    key_dim: int
    """Channels of a query or key, K."""
    value_dim: int
    """Channels of a value, V."""


class Normaliser(Part):
    """How attention scores become weights; its module maps scores [B, H, T, S] and what is visible
    [T, S] to weights [B, H, T, S], which are zero where nothing is visible."""

    copies: ClassVar[int] = 2
    """Tensors as large as the scores that are held at once on the way to the weights."""
    hands_on: ClassVar[bool] = False
    """Whether an attention above may add the scores, and so needs them."""

    def copies_at(self, at: Place) -> int:
        """The same in a layer, with what is held for the layers around it."""
        return self.copies

    def params(self, at: Place, heads: int) -> int:
        """Learned numbers."""
        return 0

    @abstractmethod
    def weights_plan(self, at: Place, heads: int) -> Call:
        """How the module is built for so many heads."""

    def ops(self, at: Place, context: int) -> Ops:
        raise TypeError("a normaliser is priced as part of its attention")

    def plan(self, at: Place) -> Call:
        raise TypeError("a normaliser is planned with weights_plan")


class Gate(Part):
    """Factors on one of the tensors of an attention; its module maps the attention's input
    [B, T, D] to factors [B, T, heads, width], where either may be 1."""

    @abstractmethod
    def gates(self, what: str) -> bool:
        """Whether it stands at ``query``, ``key``, ``value``, ``heads`` or ``out``."""

    @abstractmethod
    def gate_ops(self, at: Place, name: str, heads: int, width: int) -> Ops:
        """From the input to the factors; the last operator has the given name."""

    @abstractmethod
    def gate_plan(self, at: Place, heads: int, width: int) -> Call:
        """How the module is built."""

    def ops(self, at: Place, context: int) -> Ops:
        raise TypeError("a gate is priced with gate_ops")

    def plan(self, at: Place) -> Call:
        raise TypeError("a gate is planned with gate_plan")


class Scope(Part):
    """Which keys a query of softmax attention may see, and how they are found."""

    takes_normaliser: ClassVar[bool] = False
    """Whether it works with weights other than softmax."""
    sparse: ClassVar[bool] = False
    """Whether a query may pass over tokens between those it sees."""

    @property
    def cache_tokens(self) -> int | None:
        """Tokens whose keys and values decoding keeps; None is all."""
        return None

    @abstractmethod
    def attend_ops(self, at: Place, shape: HeadShape, normaliser: Normaliser, context: int) -> Ops:
        """From ``query``, ``key`` and ``value`` to the heads' outputs; the last operator is called
        ``attend``."""

    @abstractmethod
    def attend_plan(self, at: Place, shape: HeadShape, normaliser: Normaliser) -> Call:
        """How the module is built (its calling convention: ``pieces/attend/module.py``)."""

    def ops(self, at: Place, context: int) -> Ops:
        raise TypeError("a scope is priced with attend_ops")

    def plan(self, at: Place) -> Call:
        raise TypeError("a scope is planned with attend_plan")


class FeatureMap(Part):
    """What linear attention does to queries and keys. Its module is called with q and k
    [B, H, T, K] and the position of the first token, and returns both as [B, H, T, features]."""

    positive: ClassVar[bool] = True
    """Whether the product of the features of any query and key is at least zero, so that it may be
    divided by the sum of these products."""

    @abstractmethod
    def features(self, head_dim: int) -> int:
        """Features of one query or key of `head_dim` channels."""

    @abstractmethod
    def map_plan(self, heads: int, head_dim: int) -> Call:
        """How the module is built."""

    def params(self, heads: int, head_dim: int) -> int:
        """Learned numbers."""
        return 0

    def flops(self, heads: int, head_dim: int) -> int:
        """Of one query and one key of each head together."""
        return 0

    def ops(self, at: Place, context: int) -> Ops:
        raise TypeError("a feature map is priced as part of its mixer")

    def plan(self, at: Place) -> Call:
        raise TypeError("a feature map is planned with map_plan")


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


class Head(Part):
    """The last hidden states to logits. Its module is called with (x [B, T, D], embedding)."""

    over_vocabulary: ClassVar[bool] = True
    """Whether it has one logit for each token of the vocabulary, and so may share the embedding's
    matrix."""

    def holds_loss(self, vocab: int) -> bool:
        """Whether its module computes the training loss itself, from hidden states."""
        return False

    @abstractmethod
    def output_ops(self, at: Place, vocab: int, context: int, *, tied: bool) -> Ops:
        """The operators; a matrix shared with the embedding is counted there."""

    @abstractmethod
    def output_plan(self, at: Place, vocab: int, *, tied: bool) -> Call:
        """How the module is built."""

    def ops(self, at: Place, context: int) -> Ops:
        raise TypeError("a head is priced with output_ops")

    def plan(self, at: Place) -> Call:
        raise TypeError("a head is planned with output_plan")


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


NOTHING = Call("nas.search_spaces.mixers.none.module:PassOn")
"""What stands in a layer that has neither mixer nor FFN."""


class Block(Part):
    """Joins a mixer and an FFN into one layer."""

    @abstractmethod
    def join_ops(self, at: Place, context: int, mixer: Ops | None, ffn: Ops | None) -> Ops:
        """The operators of the whole layer; None is a sublayer that is absent."""

    @abstractmethod
    def join_plan(self, at: Place, mixer: Call | None, ffn: Call | None) -> Call:
        """How the layer is built."""

    def ops(self, at: Place, context: int) -> Ops:
        raise TypeError("a block is priced with join_ops")

    def plan(self, at: Place) -> Call:
        raise TypeError("a block is planned with join_plan")
