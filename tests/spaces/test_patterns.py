"""Which part stands in which layer. The tables were written by hand: A is placed, . is background,
bottom first."""

from typing import Any

import pytest

from nas.search_spaces.patterns import placed_layers, positions
from nas.search_spaces.space import SearchSpace
from tests.spaces.samples import attention, space

IDENTITY = {"kind": "identity"}

COUNTS = {  # ratio -> placed layers at depth 2, 3, ... 12
    "0:1": (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12),
    "1:0": (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    "1:1": (1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6),
    "3:1": (1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3),
    "1:3": (1, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9),
    "6:1": (1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2),
    "12:1": (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1),
}

DIAGRAMS = [
    # depth, count, placement, diagram
    (2, 1, "interleaved", ".A"),
    (3, 1, "interleaved", "..A"),
    (4, 1, "interleaved", "...A"),
    (5, 2, "interleaved", ".A..A"),
    (6, 2, "interleaved", "..A..A"),
    (7, 2, "interleaved", "..A...A"),
    (8, 2, "interleaved", "...A...A"),
    (9, 3, "interleaved", "..A..A..A"),
    (10, 3, "interleaved", "..A..A...A"),
    (11, 4, "interleaved", ".A..A..A..A"),
    (12, 3, "interleaved", "...A...A...A"),
    (12, 6, "interleaved", ".A.A.A.A.A.A"),
    (7, 4, "interleaved", "A.A.A.A"),
    (8, 2, "interleaved_first", "A...A..."),
    (7, 2, "interleaved_first", "A..A..."),
    (6, 3, "interleaved_first", "A.A.A."),
    (2, 1, "bottom", "A."),
    (5, 2, "bottom", "AA..."),
    (12, 3, "bottom", "AAA........."),
    (2, 1, "top", ".A"),
    (5, 2, "top", "...AA"),
    (12, 3, "top", ".........AAA"),
    (2, 1, "both_ends", "A."),
    (3, 2, "both_ends", "A.A"),
    (5, 3, "both_ends", "AA..A"),
    (8, 4, "both_ends", "AA....AA"),
    (12, 5, "both_ends", "AAA.......AA"),
    (2, 1, "middle", "A."),
    (3, 1, "middle", ".A."),
    (5, 1, "middle", "..A.."),
    (6, 2, "middle", "..AA.."),
    (7, 2, "middle", "..AA..."),
    (12, 3, "middle", "....AAA....."),
]


@pytest.mark.parametrize("ratio", COUNTS)
def test_how_many_layers_a_ratio_places(ratio: str) -> None:
    assert tuple(placed_layers(ratio, depth) for depth in range(2, 13)) == COUNTS[ratio]


@pytest.mark.parametrize(("depth", "count", "placement", "diagram"), DIAGRAMS)
def test_where_they_stand(depth: int, count: int, placement: str, diagram: str) -> None:
    placed = positions(count, depth, placement)
    assert "".join("A" if layer in placed else "." for layer in range(depth)) == diagram


@pytest.mark.parametrize("placement", ["interleaved", "bottom", "top", "both_ends", "middle"])
def test_every_placement_places_exactly_as_many(placement: str) -> None:
    for depth in range(2, 13):
        for count in range(1, depth):
            placed = positions(count, depth, placement)
            assert len(placed) == count
            assert placed <= set(range(depth))


def drawn(mixer: Any, depth: int, seed: int = 0) -> str:
    made = SearchSpace.model_validate(space(mixer=mixer, depth=depth)).example(seed)
    letters = {"attention": "A", "identity": "."}
    return "".join(letters[layer.mixer.kind] for layer in made.layers)


def test_ratio_in_a_space() -> None:
    ratio = {"kind": "ratio", "background": IDENTITY, "placed": attention()}
    assert drawn({**ratio, "ratio": "3:1"}, 8) == "...A...A"
    assert drawn({**ratio, "ratio": "3:1", "placement": "both_ends"}, 8) == "A......A"
    assert drawn({**ratio, "ratio": "1:0"}, 3) == "..."
    assert drawn({**ratio, "ratio": "0:1"}, 3) == "AAA"


def test_repeat_runs_from_the_bottom_until_the_depth_is_reached() -> None:
    repeat = {"kind": "repeat", "parts": [attention(), IDENTITY, IDENTITY]}
    assert drawn(repeat, 2) == "A."
    assert drawn(repeat, 7) == "A..A..A"


def test_explicit_is_layer_by_layer() -> None:
    assert drawn({"kind": "explicit", "parts": [IDENTITY, attention(), IDENTITY]}, 3) == ".A."


def test_explicit_holds_the_depth_that_it_lists() -> None:
    explicit = {"kind": "explicit", "parts": [IDENTITY, attention(), IDENTITY]}
    made = SearchSpace.model_validate(space(mixer=explicit, depth={"range": [1, 6]}))
    assert {made.example(seed).depth for seed in range(10)} == {3}


def test_each_draws_every_layer_anew() -> None:
    each = {"kind": "each", "part": {"choice": [attention(), IDENTITY]}}
    found = {drawn(each, 4, seed) for seed in range(200)}
    assert len(found) == 16


def test_a_repeated_part_is_drawn_once() -> None:
    repeat = {"kind": "repeat", "parts": [{"choice": [attention(), IDENTITY]}]}
    assert {drawn(repeat, 4, seed) for seed in range(40)} == {"AAAA", "...."}


def test_a_choice_among_patterns_and_parts() -> None:
    choice = {
        "choice": [
            IDENTITY,
            {"kind": "repeat", "parts": [attention(), IDENTITY]},
            {"kind": "repeat", "parts": [IDENTITY, attention()]},
        ]
    }
    assert {drawn(choice, 4, seed) for seed in range(40)} == {"....", "A.A.", ".A.A"}
    axes = SearchSpace.model_validate(space(mixer=choice)).axes
    assert axes["mixer"].options == ("identity", "repeat-2", "repeat-3")


def counted(**changed: Any) -> dict[str, Any]:
    pattern = {"kind": "count", "background": IDENTITY, "placed": attention(), "count": 2}
    return space(depth={"range": [2, 6]}, mixer={**pattern, **changed})


def test_a_count_is_kept_whatever_the_depth() -> None:
    made = SearchSpace.model_validate(counted(placement="both_ends"))
    for seed in range(20):
        kinds = [layer.mixer.kind for layer in made.example(seed).layers]
        assert kinds.count("attention") == 2
        assert kinds[0] == kinds[-1] == "attention"


def test_a_count_above_the_depth_is_not_offered() -> None:
    made = SearchSpace.model_validate(counted(count={"choice": [0, 3, 6]}))
    seen = {
        (found.depth, sum(layer.mixer.kind == "attention" for layer in found.layers))
        for found in (made.example(seed) for seed in range(200))
    }
    assert seen == {(d, n) for d in range(2, 7) for n in (0, 3, 6) if n <= d}


def test_a_space_in_which_no_count_fits_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mixer.count: .* no count is at most the 2 layers"):
        SearchSpace.model_validate({**counted(count={"choice": [7, 9]}), "depth": 2})
