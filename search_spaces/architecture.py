"""A resolved architecture: nothing left to choose. Its identity, its price and its plan."""

import hashlib
import json
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from nas.plan import Call, Node
from nas.search_spaces.base import Cost, Count, Flag, Model, Place
from nas.search_spaces.catalogue import (
    AnyBlock,
    AnyEmbedding,
    AnyFFN,
    AnyHead,
    AnyMixer,
    AnyNorm,
)
from nas.search_spaces.embeddings.token.spec import Token
from nas.search_spaces.heads.next_token.spec import NextToken
from nas.search_spaces.legality import illegal
from nas.search_spaces.normalisers.score_residual import spec as score_residual
from nas.search_spaces.norms.rms.spec import RMS
from nas.search_spaces.ops import Op, Ops, merge_costs, output, scope
from nas.search_spaces.watched import WatchedPlace

Family = Literal["causal_lm", "encoder"]
"""Left to right with a next-token head, or bidirectional."""


class Layer(Model):
    """One layer of the stack."""

    mixer: AnyMixer
    ffn: AnyFFN
    block: AnyBlock

    def ops(self, at: Place, context: int) -> Ops:
        """The operators of the whole layer; its input is ``x``."""
        mixer, ffn = (
            None if part.absent else part.ops(at, context) for part in (self.mixer, self.ffn)
        )
        return self.block.join_ops(at, context, mixer, ffn)

    def plan(self, at: Place) -> Call:
        """How the layer is built."""
        mixer, ffn = (None if part.absent else part.plan(at) for part in (self.mixer, self.ffn))
        return self.block.join_plan(at, mixer, ffn)

    def is_legal(self, family: Family) -> bool:
        """Whether a model family may have this layer."""
        if family not in self._legal:
            self._legal[family] = illegal(self, family, "") is None
        return self._legal[family]

    @cached_property
    def _legal(self) -> dict[str, bool]:
        return {}

    @cached_property
    def text(self) -> str:
        """The canonical form, as JSON."""
        return _compact(canonical(self))

    def cost(self, at: Place, context: int) -> Cost:
        """The sums over the operators and what decoding carries. Worked out once for all places
        where it is the same, since layers are shared between the members of a space."""
        free = (at.dim, at.causal, at.scores_below, context)
        bound = (*free, at.layer, at.depth)
        known = self._costs.get(free) or self._costs.get(bound)
        if known is None:
            watched = WatchedPlace.of(at)
            known = self._summed(watched, context)
            self._costs[bound if watched.asked else free] = known
        return known

    @cached_property
    def _costs(self) -> dict[tuple[int, ...], Cost]:
        return {}

    def _summed(self, at: Place, context: int) -> Cost:
        params, active, flops, decode_flops = merge_costs(self.ops(at, context))
        own = Cost(params, active, flops, decode_flops)
        return own + self.mixer.memory_cost(at, context) + self.ffn.memory_cost(at, context)


class Architecture(Model):
    """Two architectures are equal when they would build the same model."""

    family: Family = "causal_lm"
    vocab: Count
    """Tokens in the vocabulary."""
    dim: Count
    """Model width D."""
    embedding: AnyEmbedding = Token()
    layers: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=512)]
    """Bottom first."""
    norm: AnyNorm = RMS()
    """After the last layer."""
    tied: Flag = True
    """Whether the output shares the embedding's matrix."""
    head: AnyHead = NextToken()
    """From the last hidden states to logits."""

    @model_validator(mode="before")
    @classmethod
    def _name_head(cls, given: Any) -> Any:
        return with_head(given)

    @model_validator(mode="after")
    def _is_legal(self) -> "Architecture":
        known = all(layer.is_legal(self.family) for layer in self.layers)
        for name in ("head",) if known else ("layers", "head"):
            if wrong := illegal(getattr(self, name), self.family, name):
                raise ValueError(wrong)
        if not self.head.over_vocabulary and not self.tied:
            raise ValueError(f"tied: a {self.head.kind} head has no matrix over tokens; leave it")
        return self

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.layers)

    @cached_property
    def id(self) -> str:
        """12 hex digits of the canonical form: key in the store, in file names and in URLs."""
        return hashlib.sha256(self._text().encode()).hexdigest()[:12]

    def _text(self) -> str:
        """The canonical form as JSON, put together of what the layers have worked out."""
        rest = {name: _compact(value) for name, value in _differing(self, but="layers")}
        rest["layers"] = f"[{','.join(layer.text for layer in self.layers)}]"
        return "{" + ",".join(f'"{name}":{rest[name]}' for name in sorted(rest)) + "}"

    def place(self, layer: int) -> Place:
        """The surroundings of one layer."""
        causal, has_scores = self.family == "causal_lm", layer in self._scores_from
        return Place(self.dim, self.depth, layer, causal, has_scores)

    @cached_property
    def _scores_from(self) -> dict[int, int]:
        """For each layer that adds the scores of one below, the nearest that hands them on."""
        latest: dict[Any, int] = {}
        found = {}
        for index, layer in enumerate(self.layers):
            scores = layer.mixer.handed_scores
            if scores is not None:
                if scores in latest:
                    found[index] = latest[scores]
                latest[scores] = index
        return found

    @property
    def linked(self) -> tuple[int, ...]:
        """Layers that add the attention scores of one below, ascending."""
        return tuple(self._scores_from)

    def ops(self, context: int) -> Ops:
        """The operators of the whole model; its input is ``x``, the tokens."""
        at = self.place(0)
        ops: list[Op] = list(scope(self.embedding.vocabulary_ops(at, self.vocab), "embedding", "x"))
        for index, layer in enumerate(self.layers):
            inner = layer.ops(self.place(index), context)
            ops.extend(scope(inner, f"layers.{index}", output(tuple(ops))))
        ops.extend(scope(self.norm.ops(at, context), "norm", output(tuple(ops))))
        head = self.head.output_ops(at, self.vocab, context, tied=self.tied)
        return (*ops, *scope(head, "head", output(tuple(ops))))

    def cost(self, context: int) -> Cost:
        """Closed form, at a context length in tokens; no model is built."""
        if context not in self._costs:
            total = self._ends_cost(context)
            for index, layer in enumerate(self.layers):
                total += layer.cost(self.place(index), context)
            self._costs[context] = total
        return self._costs[context]

    @cached_property
    def _costs(self) -> dict[int, Cost]:
        return {}

    def _ends_cost(self, context: int) -> Cost:
        """Of what stands below and above the layers."""
        at = self.place(0)
        ops = self.embedding.vocabulary_ops(at, self.vocab) + self.norm.ops(at, context)
        ops += self.head.output_ops(at, self.vocab, context, tied=self.tied)
        return Cost(*merge_costs(ops))

    @cached_property
    def body_params(self) -> int:
        """Parameters but those of the embedding and the head, which grow with the vocabulary and
        hardly with anything else.

        Without them the count ranks models better (Lite Transformer Search, arXiv 2203.02094).
        """
        at = self.place(0)
        ops = self.embedding.vocabulary_ops(at, self.vocab)
        ops += self.head.output_ops(at, self.vocab, 1, tied=self.tied)
        total = next(iter(self._costs.values()), None) or self.cost(1)
        return total.params - sum(op.params for op in ops)

    def plan(self) -> Call:
        """How the model is built, in the order in which its weights are drawn."""
        at = self.place(0)
        model = "LanguageModel" if self.family == "causal_lm" else "Encoder"
        if self.head.holds_loss(self.vocab):
            model = "LargeVocabularyModel"
        return Call(
            f"nas.search_spaces.model:{model}",
            {
                "embedding": self.embedding.vocabulary_plan(at, self.vocab),
                "blocks": self._blocks_plan(),
                "norm": self.norm.plan(at),
                "head": self.head.output_plan(at, self.vocab, tied=self.tied),
            },
        )

    def _blocks_plan(self) -> Node:
        blocks = tuple(layer.plan(self.place(index)) for index, layer in enumerate(self.layers))
        if not self._scores_from:
            return blocks
        pairs = tuple((lower, upper) for upper, lower in self._scores_from.items())
        return Call(f"{score_residual.MODULE}:hand_scores_on", {"blocks": blocks, "pairs": pairs})


def with_head(given: Any) -> Any:
    """The head that a family has unless another is asked for."""
    if isinstance(given, dict) and given.get("family") == "encoder" and "head" not in given:
        return {**given, "head": {"kind": "masked_token"}}
    return given


def canonical(value: Any) -> Any:
    """Kind plus whatever differs from the default, so that a new field with a default keeps old
    ids. A default may therefore never change its meaning."""
    if isinstance(value, BaseModel):
        return dict(_differing(value))
    return [canonical(item) for item in value] if isinstance(value, tuple) else value


def _differing(held: BaseModel, but: str = "") -> Iterator[tuple[str, Any]]:
    """(field, canonical value) of the kind and of what differs from the default, `but` one."""
    for name, field in type(held).model_fields.items():
        if name == but:
            continue
        value = getattr(held, name)
        if name == "kind" or value != field.default:
            yield name, canonical(value)


def _compact(data: Any) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"))
