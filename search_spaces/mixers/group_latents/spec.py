"""Local attention in groups, which see further through a few latents each (FIT)."""

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
from nas.search_spaces.mixers.attention.spec import HeadDim
from nas.search_spaces.normalisers.softmax.spec import Softmax
from nas.search_spaces.ops import Op, Ops, linear
from nas.search_spaces.positions.rotary.spec import Rotary
from nas.search_spaces.scopes.everything.spec import Everything

if TYPE_CHECKING:
    from nas.search_spaces.catalogue import AnyPosition

_MODULE = "nas.search_spaces.mixers.group_latents.module"


class GroupLatents(Mixer):
    """Tokens attend within groups of `group_size`. Each group has `latents` latents that read it,
    attend to those of all groups up to theirs, and are read by the tokens of the next group (in an
    encoder: of all groups, and by the tokens of their own)."""

    papers = (
        Source(
            "FIT: Far-reaching Interleaved Transformers",
            "https://arxiv.org/abs/2305.12689",
            "latents that live on through the layers, which here start anew in each; FFNs on "
            "latents; other head counts for reading and writing. The order of local and global "
            "layers is a matter of the space",
        ),
    )
    example = {
        "kind": "group_latents",
        "heads": 4,
        "head_dim": 8,
        "group_size": 16,
        "latents": 4,
    }
    variants = (
        {
            "kind": "group_latents",
            "heads": 2,
            "head_dim": 16,
            "group_size": 8,
            "latents": 3,
            "latent_layers": 2,
            "position": {"kind": "none"},
        },
        {
            "kind": "group_latents",
            "heads": 1,
            "head_dim": 16,
            "group_size": 4,
            "latents": 2,
        },
    )
    rules = (
        Rule(
            ("heads", "head_dim", "group_size", "latents"),
            lambda heads, head_dim, size, latents: 2 * heads * head_dim * latents % size == 0,
            "group_size must divide 2 x heads x head_dim x latents, so that a group's cache is "
            "a whole number of values per token",
        ),
    )
    families = FAMILIES

    kind: Literal["group_latents"] = "group_latents"
    heads: Count
    """Heads of the attentions within groups, among latents, and between the two."""
    head_dim: HeadDim
    group_size: Annotated[int, Field(strict=True, ge=2, le=1_000_000)]
    """Tokens of a group."""
    latents: Annotated[int, Field(strict=True, ge=2, le=1_000_000)]
    """Latents of a group; a single one would leave a token nothing to choose."""
    latent_layers: Annotated[int, Field(strict=True, ge=1, le=64)] = 1
    """Attentions among latents, one after the other."""
    position: "AnyPosition" = Rotary()
    """Of tokens where they attend to tokens, and of latents where they attend to latents."""

    @property
    def width(self) -> int:
        """Channels of all heads."""
        return self.heads * self.head_dim

    def ops(self, at: Place, context: int) -> Ops:
        width = self.width
        return (
            linear("query", "x", at.dim, width),
            linear("key", "x", at.dim, width),
            linear("value", "x", at.dim, width),
            self._grouped("local", ("query", "key", "value"), self.group_size, context),
            linear("read.key", "x", at.dim, width),
            linear("read.value", "x", at.dim, width),
            self._read(at, context),
            *(self._mix(at, context, index) for index in range(self.latent_layers)),
            self._written(at, context),
            linear("write.query", "x", at.dim, width),
            self._grouped("distant", ("write.query", "written"), self.latents, context),
            Op("join", ("local", "distant"), (2 * width,), expects=((width,), (width,))),
            linear("out", "join", 2 * width, at.dim),
        )

    def _grouped(self, name: str, reads: tuple[str, ...], keys: int, context: int) -> Op:
        """Attention of each token to the `keys` keys of its group. A group that is not complete
        costs as much as one that is, unless it is the only one."""
        filled = -(-context // self.group_size) * self.group_size
        local = keys == self.group_size and name == "local"
        flops = 4 * self.width * keys * filled // context
        if context < self.group_size:
            flops = 4 * self.width * (context if local else keys)
        place = (context - 1) % self.group_size + 1  # of the last token in its group
        return Op(
            name,
            reads,
            (self.width,),
            "attention",
            flops=flops,
            decode_flops=4 * self.width * (place if local else keys),
        )

    def _of_groups(
        self,
        name: str,
        reads: tuple[str, ...],
        at: Place,
        context: int,
        flops: tuple[int, int],
        params: int,
    ) -> Op:
        """What is done once per group: `flops` for a group, of which the second number is times the
        groups before it and itself. Left to right, groups that are complete; in decoding, when the
        last token completes one."""
        once, each = flops
        groups = context // self.group_size if at.causal else -(-context // self.group_size)
        complete = context % self.group_size == 0
        return Op(
            name,
            reads,
            # of a token, its share of the group's latents
            (-(-self.latents * at.dim // self.group_size),),
            "attention",
            params=params,
            flops=groups * (once + groups * each) // context,
            decode_flops=(once + groups * each) if complete else 0,
        )

    def _read(self, at: Place, context: int) -> Op:
        """Latents attend to the tokens of their group."""
        product = self.width * at.dim
        size = self.group_size if at.causal else min(self.group_size, context)
        once = self.latents * (4 * self.width * size + 2 * product)
        learned = self.latents * (self.width + at.dim)
        reads = ("read.key", "read.value")
        return self._of_groups("read", reads, at, context, (once, 0), product + learned)

    def _mix(self, at: Place, context: int, index: int) -> Op:
        """Latents attend to latents."""
        product = self.width * at.dim
        before = f"mix.{index - 1}" if index else "read"
        flops = (8 * self.latents * product, 4 * self.latents**2 * self.width)
        return self._of_groups(f"mix.{index}", (before,), at, context, flops, 4 * product + at.dim)

    def _written(self, at: Place, context: int) -> Op:
        """Keys and values of the latents, and of those before the first group."""
        product = self.width * at.dim
        first = 2 * self.latents * self.width if at.causal else 0
        reads = (f"mix.{self.latent_layers - 1}",)
        once = 4 * self.latents * product
        return self._of_groups(
            "written", reads, at, context, (once, 0), 2 * product + at.dim + first
        )

    def memory(self, at: Place) -> Memory:
        latents = 2 * self.latents * self.width * self.latent_layers
        return Memory(
            cache_per_token=latents // self.group_size,
            cache_every=self.group_size,
            state=4 * self.group_size * self.width + 2 * self.latents * self.width,
        )

    def plan(self, at: Place) -> Call:
        name = "GroupLatents" if at.causal else "GroupLatentsBothWays"
        return Call(
            f"{_MODULE}:{name}",
            {
                "dim": at.dim,
                "heads": self.heads,
                "head_dim": self.head_dim,
                "group_size": self.group_size,
                "latents": self.latents,
                "position": self.position.plan(at),
                "layers": (self._layer_plan(at),) * self.latent_layers,
            },
        )

    def _layer_plan(self, at: Place) -> Call:
        shape = HeadShape(self.heads, self.heads, self.head_dim, self.head_dim)
        scope = Everything().attend_plan(at, shape, Softmax())
        if at.causal:
            visible = Call(f"{_MODULE}:GroupsUpToNow", {"size": self.latents})
            scope = Call(
                "nas.search_spaces.pieces.attend.module:MaskedSoftmax", {"visible": visible}
            )
        return Call(
            f"{_MODULE}:LatentLayer",
            {
                "dim": at.dim,
                "heads": self.heads,
                "head_dim": self.head_dim,
                "position": self.position.plan(at),
                "scope": scope,
            },
        )
