"""Mixture of experts, dropless, with optional shared experts."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from nas.plan import Call
from nas.search_spaces.base import FFN, Flag, Place, Rule, Source
from nas.search_spaces.ops import Op, Ops, elementwise, linear, output, scope

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyDenseFFN

MODULE = "nas.search_spaces.ffns.experts.module"


class Experts(FFN):
    """A router sends each token to `top_k` of `experts` FFNs; `shared` further ones take every
    token. No token is dropped."""

    papers = (
        Source(
            "Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer",
            "https://arxiv.org/abs/1701.06538",
        ),
        Source("Mixtral of Experts", "https://arxiv.org/abs/2401.04088"),
        Source(
            "DeepSeekMoE: Towards Ultimate Expert Specialization in Mixture-of-Experts Language "
            "Models",
            "https://arxiv.org/abs/2401.06066",
        ),
        Source(
            "MegaBlocks: Efficient Sparse Training with Mixture-of-Experts",
            "https://arxiv.org/abs/2211.15841",
        ),
    )
    example = {
        "kind": "experts",
        "experts": 4,
        "top_k": 2,
        "expert": {"kind": "swiglu", "hidden": 48},
    }
    variants = (
        {
            "kind": "experts",
            "experts": 8,
            "top_k": 1,
            "shared": 1,
            "expert": {"kind": "gelu", "hidden": 32, "bias": True},
        },
        {
            "kind": "experts",
            "experts": 4,
            "top_k": 4,
            "shared": 2,
            "expert": {"kind": "relu_squared", "hidden": 24},
            "balance_weight": 0.0,
        },
        {
            "kind": "experts",
            "experts": 6,
            "top_k": 3,
            "shared": 1,
            "expert": {"kind": "geglu", "hidden": 16},
            "renormalise": False,
        },
    )
    rules = (
        Rule(
            ("experts", "top_k"),
            lambda experts, top_k: top_k <= experts,
            "top_k must be at most experts",
        ),
    )

    kind: Literal["experts"] = "experts"
    experts: Annotated[int, Field(strict=True, ge=1, le=1024)]
    """Routed experts; shared ones come on top."""
    top_k: Annotated[int, Field(strict=True, ge=1, le=1024)]
    """Routed experts that each token passes."""
    shared: Annotated[int, Field(strict=True, ge=0, le=64)] = 0
    """Experts that every token passes, without a gate."""
    expert: "AnyDenseFFN"
    """One expert; all experts have this form."""
    balance_weight: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01
    """Of the load-balancing loss, which is 1 before weighting when every expert gets the same."""
    renormalise: Flag = True
    """Whether the gates of a token's chosen experts add up to 1, as in Mixtral; otherwise they keep
    their share of a softmax over all experts, as in DeepSeekMoE."""

    def ops(self, at: Place, context: int) -> Ops:
        expert = self.expert.ops(at, context)
        router = linear("router", "x", at.dim, self.experts)
        dispatch = Op(
            "dispatch", ("x", "router"), (self.top_k, at.dim), "route", ((at.dim,), (self.experts,))
        )
        routed = scope(self._routed(expert), "experts", "dispatch")
        combine = Op(
            "combine",
            (output(routed), "router"),
            (at.dim,),
            "route",
            ((self.top_k, at.dim), (self.experts,)),
        )
        ops = (router, dispatch, *routed, combine)
        for index in range(self.shared):
            shared = scope(expert, f"shared.{index}", "x")
            add = elementwise(f"add_shared.{index}", (output(ops), output(shared)), at.dim)
            ops = (*ops, *shared, add)
        return ops

    def _routed(self, expert: Ops) -> Ops:
        """All routed experts together: each operator stands for `top_k` passes per token, and owns
        the weights of every expert."""
        return tuple(
            replace(
                op,
                shape=(self.top_k, *op.shape),
                expects=tuple(s if s is None else (self.top_k, *s) for s in op.expects),
                params=op.params * self.experts,
                active_params=op.params * self.top_k,
                flops=op.flops * self.top_k,
                scratch=op.scratch * self.top_k,
            )
            for op in expert
        )

    def plan(self, at: Place) -> Call:
        expert = self.expert.plan(at)
        name = "RoutedExperts" if self.renormalise else "ShareOfAllExperts"
        routed = Call(
            f"{MODULE}:{name}",
            {
                "dim": at.dim,
                "top_k": self.top_k,
                "balance_weight": self.balance_weight,
                "experts": (expert,) * self.experts,
            },
        )
        if self.shared == 0:
            return routed
        shared = (expert,) * self.shared
        return Call(f"{MODULE}:WithSharedExperts", {"routed": routed, "shared": shared})
