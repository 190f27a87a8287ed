"""How the weights of a peer's model and of ours correspond, in both directions.

A link names some of our weights and some of theirs that hold the same numbers, and says how to
rearrange them. A list of links has to cover every weight of both models.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

Weights = tuple[Tensor, ...]


class Link(NamedTuple):
    """Weights that hold the same numbers."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    to_ours: Callable[..., Weights]
    to_theirs: Callable[..., Weights]


def same(ours: str, theirs: str) -> Link:
    """One weight, as it is."""
    return Link((ours,), (theirs,), lambda w: (w,), lambda w: (w,))


def turned(ours: str, theirs: str) -> Link:
    """One matrix, kept transposed by the peer."""
    return Link((ours,), (theirs,), lambda w: (w.mT,), lambda w: (w.mT,))


def plus_one(ours: str, theirs: str) -> Link:
    """The weight of a norm, of which the peer keeps the difference to one."""
    return Link((ours,), (theirs,), lambda w: (w + 1,), lambda w: (w - 1,))


def cut(ours: Sequence[str], theirs: str, sizes: Sequence[int], axis: int = 0) -> Link:
    """Several of our weights, which the peer keeps as one, in a row along an axis."""
    return Link(
        tuple(ours),
        (theirs,),
        lambda w: tuple(w.split(list(sizes), axis)),
        lambda *ws: (torch.cat(ws, axis),),
    )


def cut_turned(ours: Sequence[str], theirs: str, sizes: Sequence[int]) -> Link:
    """The same along the rows of a matrix that the peer keeps transposed."""
    return Link(
        tuple(ours),
        (theirs,),
        lambda w: tuple(w.mT.split(list(sizes))),
        lambda *ws: (torch.cat(ws).mT,),
    )


def stacked(ours: Sequence[str], theirs: str) -> Link:
    """Several of our weights, which the peer keeps as one with a further axis in front."""
    return Link(tuple(ours), (theirs,), lambda w: w.unbind(), lambda *ws: (torch.stack(ws),))


def stacked_pairs(ours: Sequence[tuple[str, str]], theirs: str) -> Link:
    """Pairs of our weights, which the peer keeps below each other and stacked."""
    return Link(
        tuple(name for pair in ours for name in pair),
        (theirs,),
        lambda w: tuple(half for both in w.unbind() for half in both.chunk(2)),
        lambda *ws: (torch.stack([torch.cat(ws[i : i + 2]) for i in range(0, len(ws), 2)]),),
    )


def permuted(ours: str, theirs: str, rows: Tensor) -> Link:
    """One matrix with its rows in another order: ours[i] is theirs[rows[i]]."""
    back = rows.argsort()
    return Link((ours,), (theirs,), lambda w: (w[rows],), lambda w: (w[back],))


def copy_to_ours(links: Iterable[Link], theirs: nn.Module, ours: nn.Module) -> None:
    """Fills our model; every weight of it must be named."""
    given = theirs.state_dict()
    ours.load_state_dict(
        {
            name: value
            for link in links
            for name, value in zip(
                link.ours, link.to_ours(*(given[n] for n in link.theirs)), strict=True
            )
        }
    )


def copy_to_theirs(links: Iterable[Link], ours: nn.Module, theirs: nn.Module) -> None:
    """Fills the peer's model; every weight of it must be named."""
    given = ours.state_dict()
    weights = dict(theirs.named_parameters())
    named = {
        name: value
        for link in links
        for name, value in zip(
            link.theirs, link.to_theirs(*(given[n] for n in link.ours)), strict=True
        )
    }
    assert set(named) == set(weights)
    with torch.no_grad():
        for name, value in named.items():
            weights[name].copy_(value)
