"""Softmax attention: one part whose numbers give MHA, GQA, MQA, sparse-query and sliding window."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from nas.errors import Infeasible
from nas.plan import Call
from nas.search_spaces.base import (
    FAMILIES,
    Count,
    Flag,
    HeadShape,
    Memory,
    Mixer,
    Place,
    Rule,
    Source,
    only_with,
)
from nas.search_spaces.gates.none.spec import NoGate
from nas.search_spaces.normalisers.softmax.spec import Softmax
from nas.search_spaces.ops import Op, Ops, linear
from nas.search_spaces.pieces.attend.spec import mask_scratch, masked_op, weighted_plan
from nas.search_spaces.pieces.attention_stages import spec as stages
from nas.search_spaces.positions.none.spec import NoPosition
from nas.search_spaces.positions.rotary.spec import Rotary
from nas.search_spaces.scopes.everything.spec import Everything

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyGate, AnyNormaliser, AnyPosition, AnyScope

_MODULE = "nas.search_spaces.mixers.attention.module"
GROUPS_DIVIDE_HEADS = Rule(
    ("heads", "groups"), lambda heads, groups: heads % groups == 0, "groups must divide heads"
)
SCOPE_TAKES_NORMALISER = Rule(
    ("scope", "normaliser"),
    lambda scope, normaliser: scope.takes_normaliser or normaliser is Softmax,
    "this scope works with the normaliser softmax only",
)
_STAGED = (
    "qkv_bias",
    "qk_norm",
    "scale",
    "temperature",
    "value_temperature",
    "complex_phase",
    "gate",
    "projections",
)
"""Options that take stages of their own."""
HeadDim = Annotated[int, Field(strict=True, ge=2, le=1024, multiple_of=2)]
"""Channels of one head; even, since rotary positions turn pairs of channels."""


class Attention(Mixer):
    """Softmax attention. groups = heads is MHA, groups = 1 is MQA, between them GQA; fewer heads
    than dim / head_dim is sparse-query attention."""

    papers = (
        Source("Attention Is All You Need", "https://arxiv.org/abs/1706.03762"),
        Source(
            "GQA: Training Generalized Multi-Query Transformer Models from Multi-Head Checkpoints",
            "https://arxiv.org/abs/2305.13245",
        ),
        Source(
            "Sparse Query Attention (SQA): A Computationally Efficient Attention Mechanism with "
            "Query Heads Reduction",
            "https://arxiv.org/abs/2510.01817",
        ),
        Source(
            "Wide Attention Is The Way Forward For Transformers?",
            "https://arxiv.org/abs/2210.00640",
        ),
        Source(
            "Selective Attention: Enhancing Transformer through Principled Context Control",
            "https://arxiv.org/abs/2411.12892",
            field="temperature",
        ),
        Source(
            "Reducing the Transformer Architecture to a Minimum",
            "https://arxiv.org/abs/2410.13732",
            field="projections",
        ),
        Source(
            "What can a Single Attention Layer Learn? A Study Through the Random Features Lens",
            "https://arxiv.org/abs/2307.11353",
            field="projections",
        ),
        Source(
            "Folding Attention: Memory and Power Optimization for On-Device Transformer-based "
            "Streaming Speech Recognition",
            "https://arxiv.org/abs/2309.07988",
            left_out="folding of the FFN's matrices",
            field="fold",
        ),
        Source(
            "ComplexFormer: Disruptively Advancing Transformer Inference Ability via Head-Specific "
            "Complex Vector Attention",
            "https://arxiv.org/abs/2505.10222",
            left_out="functions of the angle other than linear ones",
            field="complex_phase",
        ),
    )
    example = {"kind": "attention", "heads": 4, "groups": 2, "head_dim": 16}
    variants = (
        {"kind": "attention", "heads": 4, "groups": 4, "head_dim": 16, "bias": True},
        {
            "kind": "attention",
            "heads": 2,
            "groups": 1,
            "head_dim": 16,
            "scope": {"kind": "window", "window": 16},
        },
        {
            "kind": "attention",
            "heads": 3,
            "groups": 3,
            "head_dim": 8,
            "position": {"kind": "none"},
        },
        {
            "kind": "attention",
            "heads": 4,
            "groups": 2,
            "head_dim": 16,
            "qkv_bias": True,
            "qk_norm": "head",
            "scale": 0.125,
            "normaliser": {"kind": "soft_cap"},
        },
        {
            "kind": "attention",
            "heads": 4,
            "groups": 2,
            "head_dim": 8,
            "qk_norm": "width",
            "temperature": "token_and_position",
            "value_temperature": True,
            "gate": {"kind": "sigmoid"},
        },
        {
            "kind": "attention",
            "heads": 2,
            "groups": 1,
            "head_dim": 16,
            "projections": "collapsed",
            "temperature": "token",
        },
        {
            "kind": "attention",
            "heads": 2,
            "groups": 1,
            "head_dim": 64,
            "projections": "symmetric",
            "values": False,
            "temperature": "position",
        },
        {
            "kind": "attention",
            "heads": 4,
            "groups": 1,
            "head_dim": 16,
            "projections": "random_biased",
            "position": {"kind": "none"},
            "normaliser": {"kind": "relu"},
        },
        {
            "kind": "attention",
            "heads": 4,
            "groups": 2,
            "head_dim": 8,
            "fold": 2,
        },
        {
            "kind": "attention",
            "heads": 4,
            "groups": 2,
            "head_dim": 8,
            "complex_phase": True,
            "position": {"kind": "none"},
        },
    )
    rules = (
        GROUPS_DIVIDE_HEADS,
        SCOPE_TAKES_NORMALISER,
        Rule(
            ("projections", "groups"),
            lambda projections, groups: projections == "separate" or groups == 1,
            "groups must be 1 where tokens are the keys (projections other than separate)",
        ),
        Rule(
            ("projections", "bias", "qkv_bias"),
            lambda projections, bias, qkv_bias: projections == "separate" or not (bias or qkv_bias),
            "bias and qkv_bias go with separate projections",
        ),
        Rule(
            ("projections", "values"),
            lambda projections, values: values or projections != "separate",
            "separate projections have values",
        ),
        Rule(
            ("bias", "qkv_bias"),
            lambda bias, qkv_bias: not (bias and qkv_bias),
            "bias and qkv_bias exclude each other; bias has biases everywhere",
        ),
        Rule(
            ("complex_phase", "position"),
            lambda complex_phase, position: not complex_phase or position is NoPosition,
            "complex_phase takes the place of a position; position must be none",
        ),
        Rule(
            ("complex_phase", "projections"),
            lambda complex_phase, projections: not complex_phase or projections == "separate",
            "complex_phase goes with separate projections",
        ),
        Rule(
            ("fold", "scope"),
            lambda fold, scope: fold == 1 or scope is Everything,
            "fold other than 1 goes with the scope everything",
        ),
    )
    conditions = (only_with("head_dim", "values", True, idle=64),)
    families = FAMILIES

    kind: Literal["attention"] = "attention"
    heads: Count
    """Query heads."""
    groups: Count
    """Key and value heads."""
    head_dim: HeadDim
    """Channels of a head; where tokens are the keys, of its values only."""
    scope: "AnyScope" = Everything()
    """Which keys a query sees."""
    normaliser: "AnyNormaliser" = Softmax()
    """How scores become weights."""
    position: "AnyPosition" = Rotary()
    bias: Flag = False
    """Biases in all projections."""
    qkv_bias: Flag = False
    """Biases for queries, keys and values, but not for the output."""
    qk_norm: Literal["none", "head", "width"] = "none"
    """Queries and keys over their root mean square: of each head, or of all heads together."""
    scale: Annotated[float, Field(gt=0.0, le=100.0)] | None = None
    """Factor on the scores; None is 1 / sqrt(channels of a key)."""
    temperature: stages.Temperature = "fixed"
    """On what else the scale of a query's scores depends."""
    value_temperature: Flag = False
    """Whether a token can scale its own values, too."""
    complex_phase: Flag = False
    """Whether each group of heads learns how far angles of queries and keys count, and how fast
    they turn with the position; in place of a position."""
    gate: "AnyGate" = NoGate()
    """Factors from the input on queries, keys, values, heads or the output."""
    projections: stages.Projections = "separate"
    """A matrix each for queries and keys; or tokens as the keys of all heads, and queries by one
    matrix a head: trained, symmetric, or frozen and random, centred on zero or on the identity."""
    values: Flag = True
    """Whether there are value and output projections; without, a head mixes the tokens themselves
    and heads are averaged."""
    fold: Count = 1
    """Pieces into which a token is cut; attention runs over pieces, with matrices that much
    smaller. Must divide the model width."""

    @property
    def is_plain(self) -> bool:
        """Whether no option needs a stage of its own."""
        fields = type(self).model_fields
        return all(getattr(self, name) == fields[name].default for name in _STAGED)

    @property
    def tokens_are_keys(self) -> bool:
        """Whether keys are the tokens themselves."""
        return self.projections != "separate"

    @property
    def handed_scores(self) -> tuple[Any, ...] | None:
        if not self.normaliser.hands_on:
            return None
        return ("attention", self.heads, self.fold, self.scope)

    def shape(self, at: Place) -> HeadShape:
        """Its heads, as scopes know them."""
        key = at.dim if self.tokens_are_keys else self.head_dim
        return HeadShape(self.heads, self.groups, key, self.head_dim if self.values else at.dim)

    def memory(self, at: Place) -> Memory:
        shape = self.shape(self._pieces(at))
        values = shape.groups * (shape.key_dim + shape.value_dim)
        return Memory(self.fold * values, self.scope.cache_tokens)

    def ops(self, at: Place, context: int) -> Ops:
        inner = self._ops(self._pieces(at), context * self.fold)
        return inner if self.fold == 1 else stages.folded_ops(inner, at.dim, self.fold)

    def plan(self, at: Place) -> Call:
        inside = self._pieces(at)
        inner = self._plain_plan(inside) if self.is_plain else self._staged_plan(inside)
        if self.fold == 1:
            return inner
        return Call(f"{stages.MODULE}:Folded", {"factor": self.fold, "attention": inner})

    def _pieces(self, at: Place) -> Place:
        """What the attention sees as its surroundings. Raises Infeasible where tokens cannot be
        cut into as many pieces."""
        if at.dim % self.fold:
            raise Infeasible(f"fold must divide the model width; {self.fold} does not {at.dim}")
        return at._replace(dim=at.dim // self.fold)

    # Operators

    def _ops(self, at: Place, context: int) -> Ops:
        shape = self.shape(at)
        return (
            *self._query_ops(at, shape),
            *self._key_ops(at, shape),
            *self._value_ops(at, shape),
            *self._attend_ops(at, shape, context),
            *self._out_ops(at, shape),
        )

    def _attend_ops(self, at: Place, shape: HeadShape, context: int) -> Ops:
        if self.fold > 1 and at.causal and self.normaliser.kind == "softmax":
            return (masked_op(shape, context, mask_scratch(context)),)  # pieces of one token
        return self.scope.attend_ops(at, shape, self.normaliser, context)

    def _query_ops(self, at: Place, shape: HeadShape) -> Ops:
        width = shape.heads * shape.key_dim
        if self.tokens_are_keys:
            first = stages.query_op(self.projections, at, shape.heads)
        else:
            first = linear("product", "x", at.dim, width, bias=self.bias or self.qkv_bias)
        factors = self._factors(at, "query", shape.heads, shape.key_dim)
        row = [first, *self._norm_op(shape.heads, shape.key_dim)]
        row += [stages.gated(factors, width)] if factors else []
        if self.temperature != "fixed":
            params = stages.temperature_params(self.temperature, shape)
            row.append(stages.step("temperature", width, params=params))
        if self.complex_phase:
            row.append(stages.step("phase", width, params=shape.heads))
        return (*factors, *stages.chain("query", row))

    def _key_ops(self, at: Place, shape: HeadShape) -> Ops:
        width = shape.groups * shape.key_dim
        if self.tokens_are_keys:
            first = Op("token", ("x",), (width,), expects=((at.dim,),))
        else:
            first = linear("product", "x", at.dim, width, bias=self.bias or self.qkv_bias)
        factors = self._factors(at, "key", shape.groups, shape.key_dim)
        row = [first, *self._norm_op(shape.groups, shape.key_dim)]
        row += [stages.gated(factors, width)] if factors else []
        if self.complex_phase:
            params = shape.groups * (1 + shape.key_dim // 2)
            row.append(stages.step("phase", width, params=params))
        return (*factors, *stages.chain("key", row))

    def _value_ops(self, at: Place, shape: HeadShape) -> Ops:
        width = shape.groups * shape.value_dim
        first = Op("token", ("x",), (width,), expects=((at.dim,),))
        if self.values:
            first = linear("product", "x", at.dim, width, bias=self.bias or self.qkv_bias)
        factors = self._factors(at, "value", shape.groups, shape.value_dim)
        row = [first]
        row += [stages.gated(factors, width)] if factors else []
        row += [stages.step("temperature", width, params=width)] if self.value_temperature else []
        return (*factors, *stages.chain("value", row))

    def _out_ops(self, at: Place, shape: HeadShape) -> Ops:
        width = shape.heads * shape.value_dim
        heads = self._factors(at, "heads", shape.heads, shape.value_dim)
        read = "attend"
        row: list[Op] = list(heads)
        if heads:
            read = "heads"
            factor = heads[-1]
            expects = ((width,), factor.shape)
            row.append(Op(read, ("attend", factor.name), (width,), expects=expects))
        if self.values:
            row.append(linear("out", read, width, at.dim, bias=self.bias))
        else:
            row.append(Op("out", (read,), (at.dim,), expects=((width,),)))
        factors = self._factors(at, "out", 1, at.dim)
        if factors:
            factor = factors[-1]
            expects = ((at.dim,), factor.shape)
            row += [*factors, Op("gated", ("out", factor.name), (at.dim,), expects=expects)]
        return tuple(row)

    def _norm_op(self, heads: int, width: int) -> Ops:
        if self.qk_norm == "none":
            return ()
        params = width if self.qk_norm == "head" else heads * width
        return (stages.step("norm", heads * width, params=params),)

    def _factors(self, at: Place, what: str, heads: int, width: int) -> Ops:
        """The factors of the gate, if it stands there."""
        gate = self.gate
        return gate.gate_ops(at, f"{what}.gate", heads, width) if gate.gates(what) else ()

    # Modules

    def _plain_plan(self, at: Place) -> Call:
        return Call(
            f"{_MODULE}:Attention",
            {
                "dim": at.dim,
                "heads": self.heads,
                "groups": self.groups,
                "head_dim": self.head_dim,
                "bias": self.bias,
                "position": self.position.plan(at),
                "scope": self._scope_plan(at),
            },
        )

    def _staged_plan(self, at: Place) -> Call:
        return Call(
            f"{stages.MODULE}:StagedAttention",
            {
                "project": self._projections_plan(at),
                "before": self._before_plan(at),
                "position": self.position.plan(at),
                "scope": self._scope_plan(at),
                "after": self._after_plan(at),
            },
        )

    def _scope_plan(self, at: Place) -> Call:
        shape = self.shape(at)
        if self.fold == 1 or not at.causal:
            return self.scope.attend_plan(at, shape, self.normaliser)
        visible = Call(f"{stages.MODULE}:UpToThisToken", {"factor": self.fold})
        if self.normaliser.kind == "softmax":
            module = "nas.search_spaces.pieces.attend.module:MaskedSoftmax"
            return Call(module, {"visible": visible})
        return weighted_plan(visible, shape, self.normaliser, at)

    def _projections_plan(self, at: Place) -> Call:
        if not self.tokens_are_keys:
            return Call(
                f"{stages.MODULE}:SeparateHeads",
                {
                    "dim": at.dim,
                    "heads": self.heads,
                    "groups": self.groups,
                    "head_dim": self.head_dim,
                    "bias": self.bias or self.qkv_bias,
                },
            )
        value = Call("torch.nn:Identity")
        if self.values:
            numbers = {"in_features": at.dim, "out_features": self.head_dim, "bias": False}
            value = Call("torch.nn:Linear", numbers)
        query = stages.query_plan(self.projections, at, self.heads)
        return Call(f"{stages.MODULE}:TokenKeys", {"query": query, "value": value})

    def _before_plan(self, at: Place) -> tuple[Call, ...]:
        shape = self.shape(at)
        queries, keys = (shape.heads, shape.key_dim), (shape.groups, shape.key_dim)
        value = (shape.groups, shape.value_dim)
        row: list[Call] = []
        if self.qk_norm == "head":
            row.append(Call(f"{stages.MODULE}:NormedHeads", {"head_dim": shape.key_dim}))
        if self.qk_norm == "width":
            widths = {"query_width": queries[0] * queries[1], "key_width": keys[0] * keys[1]}
            row.append(Call(f"{stages.MODULE}:NormedWidth", widths))
        row += stages.gate_stage(self.gate, at, "query", *queries)
        row += stages.gate_stage(self.gate, at, "key", *keys)
        row += stages.gate_stage(self.gate, at, "value", *value)
        row += stages.temperature_stage(self.temperature, at, shape)
        if self.value_temperature:
            term = Call(f"{stages.MODULE}:TokenTerm", {"heads": value[0], "width": value[1]})
            row.append(Call(f"{stages.MODULE}:SelectiveValue", {"term": term}))
        if self.complex_phase:
            numbers = {"heads": shape.heads, "groups": shape.groups, "head_dim": shape.key_dim}
            row.append(Call(f"{stages.MODULE}:ComplexPhase", numbers))
        if self.scale is not None:  # scopes divide by sqrt(K)
            factor = self.scale * shape.key_dim**0.5
            row.append(Call(f"{stages.MODULE}:ScaledQuery", {"factor": factor}))
        return tuple(row)

    def _after_plan(self, at: Place) -> tuple[Call, ...]:
        shape = self.shape(at)
        width = shape.heads * shape.value_dim
        join = Call(f"{stages.MODULE}:MeanOfHeads")
        if self.values:
            numbers = {"width": width, "dim": at.dim, "bias": self.bias}
            join = Call(f"{stages.MODULE}:JoinedHeads", numbers)
        return (
            *stages.gate_stage(self.gate, at, "heads", shape.heads, shape.value_dim),
            join,
            *stages.gate_stage(self.gate, at, "out", 1, at.dim),
        )
