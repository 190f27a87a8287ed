"""Flow attention: linear attention with competition among keys and allocation to queries."""

from typing import TYPE_CHECKING, Literal

from nas.kernels.linear_attention.cost import LINEAR_CHUNK, forward_flops_per_token, step_flops
from nas.plan import Call
from nas.search_spaces.base import FAMILIES, Count, Flag, Memory, Mixer, Place, Source
from nas.search_spaces.mixers.attention.spec import HeadDim
from nas.search_spaces.mixers.gated_linear.spec import ValueFactor
from nas.search_spaces.ops import Op, Ops, linear
from nas.search_spaces.positions.rotary.spec import Rotary

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyPosition

_MODULE = "nas.search_spaces.mixers.flow.module"


class Flow(Mixer):
    """Linear attention as a flow that is conserved: keys compete to be heard, and queries gate what
    they take in."""

    papers = (
        Source(
            "Flowformer: Linearizing Transformers with Conservation Flows",
            "https://arxiv.org/abs/2202.06258",
        ),
    )
    example = {"kind": "flow", "heads": 4, "head_dim": 16}
    variants = (
        {
            "kind": "flow",
            "heads": 2,
            "head_dim": 8,
            "value_factor": 2,
            "competition": False,
            "position": {"kind": "none"},
        },
        {"kind": "flow", "heads": 1, "head_dim": 16, "allocation": False},
    )
    families = FAMILIES

    kind: Literal["flow"] = "flow"
    heads: Count
    head_dim: HeadDim
    """Key channels of one head."""
    value_factor: ValueFactor = 1
    competition: Flag = True
    """Whether values are weighted by a softmax over what their tokens may let out."""
    allocation: Flag = True
    """Whether results are gated by what their tokens let in."""
    position: "AnyPosition" = Rotary()
    """Applied to queries and keys before the sigmoid."""

    @property
    def value_dim(self) -> int:
        """Value channels of one head."""
        return self.head_dim * self.value_factor

    def ops(self, at: Place, context: int) -> Ops:
        key, value = self.heads * self.head_dim, self.heads * self.value_dim
        return (
            linear("query", "x", at.dim, key),
            linear("key", "x", at.dim, key),
            linear("value", "x", at.dim, value),
            self._flow(at, context),
            linear("out", "flow", value, at.dim),
        )

    def _flow(self, at: Place, context: int) -> Op:
        key, value = self.heads * self.head_dim, self.heads * self.value_dim
        forward = 4 * self.head_dim * self.value_dim
        scratch = 2 * key
        if at.causal:
            forward = forward_flops_per_token(context, self.head_dim, self.value_dim)
            # the four running sums; of each chunk, the scores of all pairs and the state before it
            scratch = 4 * key + self.heads * LINEAR_CHUNK + key * self.value_dim // LINEAR_CHUNK
        return Op(
            "flow",
            ("query", "key", "value"),
            (value,),
            "recurrence",
            expects=((key,), (key,), (value,)),
            flops=self.heads * forward,
            decode_flops=self.heads * step_flops(self.head_dim, self.value_dim),
            scratch=scratch,
        )

    def memory(self, at: Place) -> Memory:
        sums = 4 * self.head_dim + self.competition
        return Memory(state=self.heads * (sums + self.head_dim * self.value_dim))

    def plan(self, at: Place) -> Call:
        competition = "Competition" if self.competition else "NoCompetition"
        allocation = "Allocation" if self.allocation else "NoAllocation"
        return Call(
            f"{_MODULE}:{'Flow' if at.causal else 'TwoWayFlow'}",
            {
                "dim": at.dim,
                "heads": self.heads,
                "head_dim": self.head_dim,
                "value_dim": self.value_dim,
                "position": self.position.plan(at),
                "competition": Call(f"{_MODULE}:{competition}"),
                "allocation": Call(f"{_MODULE}:{allocation}"),
            },
        )
