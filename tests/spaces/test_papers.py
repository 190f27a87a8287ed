"""Every paper of the list is accounted for, under one spelling of its title."""

import json
from pathlib import Path

import pytest

import nas.search_spaces.papers as module
from nas.search_spaces.base import Source
from nas.search_spaces.catalogue import MIXERS, SLOTS
from nas.search_spaces.papers import ListedPaper, listed_papers, near_title, papers, summary

GLA = "Gated Linear Attention Transformers with Hardware-Efficient Training"
PARTS = [
    pytest.param(slot, kind, id=f"{slot}-{kind}") for slot, kinds in SLOTS.items() for kind in kinds
]


@pytest.mark.parametrize(("slot", "kind"), PARTS)
def test_titles_are_spelled_as_in_the_list(slot: str, kind: str) -> None:
    for paper in SLOTS[slot][kind].papers:
        near = near_title(paper.title)
        assert near is None, f"{slot}/{kind}: write {near!r} for {paper.title!r}"


@pytest.mark.parametrize(
    "title",
    [
        GLA.lower(),
        GLA.replace("-", " "),
        GLA.replace("Transformers", "Transformer"),
        "Hopfield Networks is All You Need!",
        "MatFormer: Nested Transformers for Elastic Inference",
        "Flowformer: Linearizing Transformers with Conservation Flow",
        "Mamba: Linear-Time Sequence Modeling",
    ],
)
def test_a_different_spelling_is_found(title: str) -> None:
    near = near_title(title)
    assert near is not None
    assert near != title
    assert near in {paper.title for paper in listed_papers()}


@pytest.mark.parametrize(
    "title", [GLA, "Attention Is All You Need", "Root Mean Square Layer Normalization", "Mamba"]
)
def test_an_equal_and_an_unrelated_title_are_not(title: str) -> None:
    assert near_title(title) is None


def test_the_list_is_in_order_and_names_a_paper_once() -> None:
    listed = listed_papers()
    keys = [(paper.tier or 9, paper.title.lower()) for paper in listed]
    assert keys == sorted(keys)
    assert len({paper.title for paper in listed}) == len(listed) == 227
    assert [sum(paper.tier == tier for paper in listed) for tier in (1, 2, 3)] == [86, 47, 35]
    assert all(paper.roles and paper.title == paper.title.strip() for paper in listed)
    text = (Path(module.__file__).parent / "papers.json").read_text(encoding="utf-8")
    assert set(json.loads(text)[0]) == set(ListedPaper.model_fields)


def test_every_listed_paper_and_every_source_is_an_entry() -> None:
    entries = {entry.title: entry for entry in papers()}
    assert {paper.title for paper in listed_papers()} <= set(entries)
    for slot, parts in SLOTS.items():
        for kind, part in parts.items():
            for source in part.papers:
                assert f"{slot}/{kind}" in entries[source.title].parts
    assert len(entries) == len(papers())


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = next(paper for paper in listed_papers() if paper.tier == 2 and paper.of_a_space)
    unwanted = next(paper for paper in listed_papers() if not paper.of_a_space)
    carried = (
        Source(GLA, "https://arxiv.org/abs/2312.06635", "the second level"),
        Source("A paper of nobody's list", "https://example.org"),
    )
    monkeypatch.setattr(module, "SLOTS", {"mixers": {"gated_linear": MIXERS["gated_linear"]}})
    monkeypatch.setattr(module, "PATTERNS", ())
    monkeypatch.setattr(MIXERS["gated_linear"], "papers", carried)
    entries = {entry.title: entry for entry in papers()}
    assert entries[GLA].state == "in part"
    assert entries[GLA].missing == ("mixers/gated_linear: the second level",)
    assert entries[GLA].link == "https://arxiv.org/abs/2312.06635"
    assert entries["A paper of nobody's list"].state == "carried"
    assert entries["A paper of nobody's list"].tier is None
    assert entries[wanted.title].state == "no part yet"
    assert entries[wanted.title].link is None
    assert entries[unwanted.title].state == "not a part of a space"
    lacking = {entry.title for entry in papers(missing=True)}
    assert {GLA, wanted.title} <= lacking
    assert not lacking & {unwanted.title, "A paper of nobody's list"}
    assert {entry.tier for entry in papers(tier=2)} == {2}
    assert summary(papers(tier=1)) == (
        "86 papers: 0 carried, 1 in part, 85 no part yet, 0 not a part of a space"
    )
