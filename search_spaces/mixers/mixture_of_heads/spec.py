"""Mixture of heads: softmax attention in which a router weighs the heads for each token."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import (
    FAMILIES,
    Condition,
    Count,
    Flag,
    HeadShape,
    Memory,
    Mixer,
    Place,
    Rule,
    Source,
)
from nas.search_spaces.mixers.attention.spec import (
    GROUPS_DIVIDE_HEADS,
    SCOPE_TAKES_NORMALISER,
    HeadDim,
)
from nas.search_spaces.normalisers.softmax.spec import Softmax
from nas.search_spaces.ops import Op, Ops, linear
from nas.search_spaces.positions.rotary.spec import Rotary
from nas.search_spaces.scopes.everything.spec import Everything

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyNormaliser, AnyPosition, AnyScope

SOMETHING_IS_ROUTED = Rule(
    ("heads", "shared", "active"),
    lambda heads, shared, active: shared + active <= heads and heads - shared >= 2,
    "shared + active must be at most heads, with at least two heads routed",
)


class MixtureOfHeads(Mixer):
    """Attention in which each token uses some heads always and others by a router's choice."""

    papers = (
        Source(
            "MoH: Multi-Head Attention as Mixture-of-Head Attention",
            "https://arxiv.org/abs/2410.11842",
        ),
    )
    example = {
        "kind": "mixture_of_heads",
        "heads": 8,
        "groups": 4,
        "head_dim": 8,
        "shared": 2,
        "active": 3,
    }
    variants = (
        {
            "kind": "mixture_of_heads",
            "heads": 4,
            "groups": 4,
            "head_dim": 16,
            "shared": 1,
            "active": 1,
            "scope": {"kind": "window", "window": 16},
            "balance_weight": 0.1,
        },
        {
            "kind": "mixture_of_heads",
            "heads": 6,
            "groups": 1,
            "head_dim": 8,
            "shared": 3,
            "active": 2,
            "position": {"kind": "none"},
        },
        {
            "kind": "mixture_of_heads",
            "heads": 4,
            "groups": 2,
            "head_dim": 8,
            "shared": 0,
            "active": 4,
            "normaliser": {"kind": "sigmoid"},
        },
        {
            "kind": "mixture_of_heads",
            "heads": 6,
            "groups": 2,
            "head_dim": 8,
            "shared": 2,
            "active": 2,
            "group_weights": False,
        },
    )
    rules = (GROUPS_DIVIDE_HEADS, SOMETHING_IS_ROUTED, SCOPE_TAKES_NORMALISER)
    conditions = (
        Condition(
            "group_weights",
            "shared",
            lambda shared: shared > 0,
            "group_weights is for shared heads",
        ),
    )
    families = FAMILIES

    kind: Literal["mixture_of_heads"] = "mixture_of_heads"
    heads: Count
    """Query heads, shared and routed together."""
    groups: Count
    """Key and value heads."""
    head_dim: HeadDim
    shared: Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
    """Heads that every token uses; the first ones."""
    active: Count
    """Routed heads that a token uses; with all of them, routing only weighs."""
    scope: "AnyScope" = Everything()
    """Which keys a query sees."""
    normaliser: "AnyNormaliser" = Softmax()
    """How scores become weights."""
    position: "AnyPosition" = Rotary()
    group_weights: Flag = True
    """Whether a router of its own weighs shared heads against routed ones, where there are both."""
    balance_weight: Annotated[float, Field(ge=0.0, le=10.0)] = 0.01
    """Share of the balance loss in the training loss."""

    @property
    def routed(self) -> int:
        """Heads among which the router chooses."""
        return self.heads - self.shared

    @property
    def has_sides(self) -> bool:
        """Whether shared and routed heads are weighed against each other."""
        return self.group_weights and self.shared > 0

    @property
    def handed_scores(self) -> tuple[Any, ...] | None:
        if not self.normaliser.hands_on:
            return None
        return ("mixture_of_heads", self.heads, self.scope)

    @property
    def shape(self) -> HeadShape:
        """Its heads, as scopes know them."""
        return HeadShape(self.heads, self.groups, self.head_dim, self.head_dim)

    def ops(self, at: Place, context: int) -> Ops:
        query, key = self.heads * self.head_dim, self.groups * self.head_dim
        used = at.dim * (self.shared + self.active) * self.head_dim
        return (
            replace(linear("query", "x", at.dim, query), active_params=used),
            linear("key", "x", at.dim, key),
            linear("value", "x", at.dim, key),
            *self.scope.attend_ops(at, self.shape, self.normaliser, context),
            *self._router(at),
            Op(
                "weigh",
                ("attend", "weights"),
                (query,),
                expects=((query,), (self.heads,)),
            ),
            replace(linear("out", "weigh", query, at.dim), active_params=used),
        )

    def _router(self, at: Place) -> Ops:
        shared = (linear("shared", "x", at.dim, self.shared),) if self.shared > 1 else ()
        sides = (linear("sides", "x", at.dim, 2),) if self.has_sides else ()
        logits = (*shared, linear("routed", "x", at.dim, self.routed), *sides)
        reads = tuple(op.name for op in logits)
        expects = tuple(op.shape for op in logits)
        return (*logits, Op("weights", reads, (self.heads,), expects=expects))

    def memory(self, at: Place) -> Memory:
        return Memory(2 * self.groups * self.head_dim, self.scope.cache_tokens)

    def plan(self, at: Place) -> Call:
        return Call(
            "nas.search_spaces.mixers.mixture_of_heads.module:MixtureOfHeads",
            {
                "dim": at.dim,
                "heads": self.heads,
                "groups": self.groups,
                "head_dim": self.head_dim,
                "position": self.position.plan(at),
                "scope": self.scope.attend_plan(at, self.shape, self.normaliser),
                "router": self._router_plan(at),
            },
        )

    def _router_plan(self, at: Place) -> Call:
        module = "nas.search_spaces.mixers.mixture_of_heads.module"
        shared = Call(f"{module}:{'OneHead' if self.shared else 'NoSharedHeads'}")
        if self.shared > 1:
            shared = Call(f"{module}:SharedHeads", {"dim": at.dim, "heads": self.shared})
        return Call(
            f"{module}:{'SidedHeadRouter' if self.has_sides else 'HeadRouter'}",
            {
                "dim": at.dim,
                "shared": shared,
                "routed": self.routed,
                "active": self.active,
                "balance_weight": self.balance_weight,
            },
        )
