"""Mixture of attention heads: each token passes some of many attentions that share their keys."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import (
    FAMILIES,
    Count,
    HeadShape,
    Memory,
    Mixer,
    Place,
    Rule,
    Source,
)
from nas.search_spaces.mixers.attention.spec import SCOPE_TAKES_NORMALISER, HeadDim
from nas.search_spaces.normalisers.softmax.spec import Softmax
from nas.search_spaces.ops import Op, Ops, linear
from nas.search_spaces.positions.rotary.spec import Rotary
from nas.search_spaces.scopes.everything.spec import Everything

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyNormaliser, AnyPosition, AnyScope

_MODULE = "nas.search_spaces.mixers.mixture_of_attention_heads.module"


class MixtureOfAttentionHeads(Mixer):
    """A router sends each token to `top_k` of `experts` attentions, which have queries and outputs
    of their own and share keys and values."""

    papers = (
        Source(
            "ModuleFormer: Learning Modular Large Language Models From Uncurated Data",
            "https://arxiv.org/abs/2306.04640",
            "a router by similarity to centroids; drawing the last expert at random in training; "
            "the loss that concentrates the load in fine-tuning, pruning and adding of experts. "
            "Its scores are the normaliser 'stick_breaking', its FFN is 'experts'",
        ),
        Source(
            "Mixture of Attention Heads: Selecting Attention Heads Per Token",
            "https://arxiv.org/abs/2210.05144",
            "gates that sum to one over the chosen experts",
        ),
    )
    example = {
        "kind": "mixture_of_attention_heads",
        "experts": 4,
        "top_k": 2,
        "heads": 2,
        "head_dim": 8,
    }
    variants = (
        {
            "kind": "mixture_of_attention_heads",
            "experts": 6,
            "top_k": 3,
            "heads": 1,
            "head_dim": 16,
            "normaliser": {"kind": "stick_breaking"},
            "position": {"kind": "none"},
            "router_hidden": 12,
        },
        {
            "kind": "mixture_of_attention_heads",
            "experts": 3,
            "top_k": 1,
            "heads": 2,
            "head_dim": 16,
            "scope": {"kind": "window", "window": 16},
            "balance": "switch_and_z",
            "balance_weight": 0.1,
        },
    )
    rules = (
        Rule(
            ("experts", "top_k"),
            lambda experts, top_k: top_k <= experts,
            "top_k must be at most experts",
        ),
        SCOPE_TAKES_NORMALISER,
    )
    families = FAMILIES

    kind: Literal["mixture_of_attention_heads"] = "mixture_of_attention_heads"
    experts: Annotated[int, Field(strict=True, ge=2, le=1024)]
    """Attentions among which the router chooses."""
    top_k: Annotated[int, Field(strict=True, ge=1, le=1024)]
    """Attentions that each token passes."""
    heads: Count
    """Heads of each expert; head h of all experts reads the same keys and values."""
    head_dim: HeadDim
    scope: "AnyScope" = Everything()
    """Which keys a query sees."""
    normaliser: "AnyNormaliser" = Softmax()
    """How scores become weights; the paper's are stick-breaking, without position."""
    position: "AnyPosition" = Rotary()
    router_hidden: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 0
    """Hidden units of the router; 0 is a linear one."""
    balance: Literal["mutual_information", "switch_and_z"] = "mutual_information"
    """What keeps the router from sending all tokens to the same experts."""
    balance_weight: Annotated[float, Field(ge=0.0, le=10.0)] = 0.01
    """Share of that in the training loss."""

    @property
    def shape(self) -> HeadShape:
        """The heads that a token passes, as scopes know them."""
        return HeadShape(self.heads * self.top_k, self.heads, self.head_dim, self.head_dim)

    def ops(self, at: Place, context: int) -> Ops:
        width = self.heads * self.head_dim
        passes = self.top_k * width
        return (
            *self._router(at),
            self._routed("query", ("x", "router"), at, (passes,), (at.dim,)),
            linear("key", "x", at.dim, width),
            linear("value", "x", at.dim, width),
            *self.scope.attend_ops(at, self.shape, self.normaliser, context),
            self._routed("out", ("attend", "router"), at, (at.dim,), (passes,)),
        )

    def _router(self, at: Place) -> Ops:
        if self.router_hidden == 0:
            return (linear("router", "x", at.dim, self.experts),)
        return (
            linear("router_hidden", "x", at.dim, self.router_hidden, bias=True),
            linear("router", "router_hidden", self.router_hidden, self.experts),
        )

    def _routed(
        self,
        name: str,
        reads: tuple[str, str],
        at: Place,
        shape: tuple[int, ...],
        expects: tuple[int, ...],
    ) -> Op:
        """One matrix for each expert, of which a token uses `top_k`."""
        matrix = at.dim * self.heads * self.head_dim
        return Op(
            name,
            reads,
            shape,
            "route",
            expects=(expects, (self.experts,)),
            params=self.experts * matrix,
            active_params=self.top_k * matrix,
            flops=2 * self.top_k * matrix,
            scratch=self.top_k * at.dim,  # the passes of a token, sorted by expert
        )

    def memory(self, at: Place) -> Memory:
        return Memory(2 * self.heads * self.head_dim, self.scope.cache_tokens)

    def plan(self, at: Place) -> Call:
        return Call(
            f"{_MODULE}:MixtureOfAttentionHeads",
            {
                "dim": at.dim,
                "experts": self.experts,
                "heads": self.heads,
                "head_dim": self.head_dim,
                "position": self.position.plan(at),
                "scope": self.scope.attend_plan(at, self.shape, self.normaliser),
                "router": self._router_plan(at),
            },
        )

    def _router_plan(self, at: Place) -> Call:
        logits = Call(f"{_MODULE}:LinearRouter", {"dim": at.dim, "experts": self.experts})
        if self.router_hidden:
            numbers = {"dim": at.dim, "hidden": self.router_hidden, "experts": self.experts}
            logits = Call(f"{_MODULE}:HiddenRouter", numbers)
        names = {"mutual_information": "MutualInformation", "switch_and_z": "SwitchAndZ"}
        return Call(
            f"{_MODULE}:AttentionRouter",
            {
                "top_k": self.top_k,
                "balance_weight": self.balance_weight,
                "logits": logits,
                "balance": Call(f"{_MODULE}:{names[self.balance]}"),
            },
        )
