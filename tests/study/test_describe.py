"""Architectures in words."""

import random
from typing import Any

import pytest

from nas.describe import LINE, Run, amount, describe, details, fold, full, one_line, short
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.catalogue import SLOTS
from nas.search_spaces.space import SearchSpace
from nas.search_spaces.spaces import preset, preset_names
from tests.contracts.instances import given

ATTENTION = {"kind": "attention", "heads": 4, "groups": 2, "head_dim": 16}
DELTA = {"kind": "gated_delta", "heads": 2, "head_dim": 16}
SWIGLU = {"kind": "swiglu", "hidden": 256}


def stack(*mixers: Any, ffns: Any = (SWIGLU,), block: Any = None) -> Architecture:
    """One layer for each mixer, at a width of 64; the FFNs in turn."""
    layers = [
        {"mixer": mixer, "ffn": ffns[i % len(ffns)], "block": block or {"kind": "sequential"}}
        for i, mixer in enumerate(mixers)
    ]
    return Architecture.model_validate({"vocab": 32, "dim": 64, "layers": layers})


def part(slot: str, given: dict[str, Any]) -> Any:
    return SLOTS[slot][given["kind"]].model_validate(given)


PARTS = [
    pytest.param(slot, given, id=f"{slot}-{kind}-{index}")
    for slot, parts in SLOTS.items()
    for kind, found in parts.items()
    for index, given in enumerate((found.example, *found.variants))
]


# Repeats -----------------------------------------------------------------------------------------


def unfold(runs: tuple[Run, ...], labels: str) -> str:
    """What the runs stand for, from the labels of their first turns alone."""
    return "".join(
        run.times
        * "".join(labels[i] if isinstance(i, int) else unfold((i,), labels) for i in run.items)
        for run in runs
    )


def test_folding_loses_nothing() -> None:
    generator = random.Random(0)
    for _ in range(500):
        labels = "".join(generator.choices("AB", k=generator.randrange(25)))
        runs = fold(labels)
        assert unfold(runs, labels) == labels
        assert sum(run.length for run in runs) == len(labels)


@pytest.mark.parametrize(
    ("labels", "runs"),
    [
        ("", ()),
        ("A", (Run(1, (0,)),)),
        ("AAAA", (Run(4, (0,)),)),
        ("ABAB", (Run(2, (Run(1, (0,)), Run(1, (1,)))),)),
        ("AAABAAAB", (Run(2, (Run(3, (0,)), Run(1, (3,)))),)),
        ("ABCD", tuple(Run(1, (index,)) for index in range(4))),
        ("AAB", (Run(2, (0,)), Run(1, (2,)))),
    ],
)
def test_repeats_are_found(labels: str, runs: tuple[Run, ...]) -> None:
    assert fold(labels) == runs


# One line ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "line"),
    [
        (
            stack(*[ATTENTION] * 4),
            "4 x 64 | attention(4h/2g) | swiglu 256 | pre_norm rms",
        ),
        (
            stack(DELTA, DELTA, DELTA, ATTENTION),
            "4 x 64 | 3x gated_delta(2h) + attention(4h/2g) | swiglu 256",
        ),
        (
            stack(*[DELTA, DELTA, DELTA, ATTENTION] * 3, ffns=({"kind": "gelu", "hidden": 8},)),
            "12 x 64 | 3x (3x gated_delta + attention) | gelu 8",
        ),
        (
            stack({"kind": "identity"}, block={"kind": "parallel"}),
            "1 x 64 | identity | swiglu 256 | parallel pre_norm rms",
        ),
        (
            stack(
                {**ATTENTION, "groups": 4, "scope": {"kind": "window", "window": 8}},
                ffns=({"kind": "nested", "ffn": SWIGLU},),
            ),
            "1 x 64 | attention(4h/w8) | nested(swiglu 256)",
        ),
        (
            stack(
                ATTENTION,
                ffns=({"kind": "experts", "experts": 8, "top_k": 2, "expert": SWIGLU},),
            ),
            "1 x 64 | attention(4h/2g) | experts(8e/top2/swiglu 256)",
        ),
        (
            stack(
                *[ATTENTION, DELTA, DELTA, ATTENTION, ATTENTION, DELTA, DELTA],
                ffns=(SWIGLU, {"kind": "gelu", "hidden": 8}, SWIGLU, SWIGLU, SWIGLU),
            ),
            "7 x 64 | 4 gated_delta + 3 attention | 5 swiglu + 2 gelu",
        ),
    ],
)
def test_one_line(architecture: Architecture, line: str) -> None:
    assert one_line(architecture) == line


@pytest.mark.parametrize(("slot", "given"), PARTS)
def test_short_forms_start_with_the_kind(slot: str, given: dict[str, Any]) -> None:
    found = part(slot, given)
    assert short(found).startswith(found.kind)
    assert full(found).startswith(found.kind)
    assert "\n" not in full(found)


@pytest.mark.parametrize("slot", sorted(SLOTS))
def test_full_forms_tell_different_parts_apart(slot: str) -> None:
    parts = [part(slot, given) for p in SLOTS[slot].values() for given in (p.example, *p.variants)]
    assert len({full(found) for found in parts}) == len(set(parts))


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_fits_a_line(name: str) -> None:
    space = SearchSpace.model_validate(preset(name))
    for seed in range(8):
        line = one_line(space.example(seed))
        assert "\n" not in line
        assert len(line) <= LINE


def test_any_mixture_fits_a_line() -> None:
    every = {slot: given(slot) for slot in ("mixers", "ffns")}
    space = SearchSpace.model_validate(
        {
            "dim": 64,
            "depth": {"range": [1, 24]},
            "mixer": {"kind": "each", "part": {"choice": every["mixers"]}},
            "ffn": {"kind": "each", "part": {"choice": every["ffns"]}},
        }
    )
    for seed in range(20):
        architecture = space.example(seed)
        line = one_line(architecture)
        assert len(line) <= LINE
        assert line.startswith(f"{architecture.depth} x 64 | ")


# Longer ------------------------------------------------------------------------------------------


def test_details_name_what_differs_from_the_default() -> None:
    attention = part(
        "mixers", {**ATTENTION, "scope": {"kind": "window", "window": 8}, "bias": True}
    )
    said = ["heads 4", "groups 2", "head_dim 16", "scope window (window 8)", "bias"]
    assert details(attention) == said
    assert full(part("norms", {"kind": "layer", "bias": False})) == "layer (no bias)"
    assert full(part("norms", {"kind": "rms"})) == "rms"


def test_describe_says_everything() -> None:
    text = describe(stack(DELTA, DELTA, DELTA, ATTENTION))
    assert text.splitlines() == [
        f"{stack(DELTA, DELTA, DELTA, ATTENTION).id}: 4 layers of width 64, 32 tokens, "
        f"{amount(stack(DELTA, DELTA, DELTA, ATTENTION).cost(1).params)} parameters",
        "mixer: 3x gated_delta (heads 2, head_dim 16) + attention (heads 4, groups 2, head_dim 16)",
        "ffn: swiglu (hidden 256)",
        "block: sequential pre_norm rms",
        "embedding: token; last norm: rms; head: next_token tied to the embedding",
    ]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (999.6, "1k"),
        (1000, "1k"),
        (1234, "1.23k"),
        (9996, "10k"),
        (99_960, "100k"),
        (100_000, "100k"),
        (999_499, "999k"),
        (999_600, "1M"),
        (45_600_000, "45.6M"),
        (1.5e9, "1.5G"),
        (2e13, "20T"),
    ],
)
def test_amounts_have_three_digits(number: float, text: str) -> None:
    assert amount(number) == text
