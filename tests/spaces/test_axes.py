"""How a space asks, replays and finds its own questions."""

import random

import pytest

from nas.search_spaces.axes import (
    Axis,
    Draw,
    ForcedDraw,
    RandomDraw,
    RecordingDraw,
    ReplayDraw,
    UnansweredAxis,
    survey,
)


def nested(draw: Draw) -> tuple[object, ...]:
    """Questions three conditions deep."""
    first = draw.choice("first", ("a", "b", "c"))
    if first != "b":
        return (first,)
    size = draw.integer("first.b.size", 1, 4, 1, False)
    if size < 4:
        return first, size
    last = draw.choice("first.b.last", (True, False))
    return (first, size, last, draw.real("first.b.rate", 0.1, 0.9, False)) if last else (first,)


@pytest.mark.parametrize("seed", range(5))
def test_survey_finds_nested_conditional_axes_without_luck(seed: int) -> None:
    axes = survey(nested, extra=0, seed=seed)
    assert list(axes) == ["first", "first.b.last", "first.b.rate", "first.b.size"]
    assert axes["first"].options == ("a", "b", "c")
    assert (axes["first.b.size"].low, axes["first.b.size"].high) == (1, 4)


def test_replay_gives_the_recorded_answers_and_refuses_others() -> None:
    for seed in range(30):
        record = RecordingDraw(RandomDraw(random.Random(seed)))
        drawn = nested(record)
        assert nested(ReplayDraw(record.answers)) == drawn
    with pytest.raises(UnansweredAxis, match="first"):
        nested(ReplayDraw({}))
    with pytest.raises(UnansweredAxis, match=r"first\.b\.size"):
        nested(ReplayDraw({"first": "b", "first.b.size": 9}))


def test_a_question_asked_twice_gets_one_answer() -> None:
    record = RecordingDraw(RandomDraw(random.Random(0)))
    answers = {record.integer("n", 1, 1000, 1, False) for _ in range(20)}
    assert len(answers) == 1


def test_a_forced_answer_that_does_not_fit_is_ignored() -> None:
    draw = ForcedDraw({"n": 7}, RandomDraw(random.Random(0)))
    assert draw.integer("n", 1, 9, 2, False) == 7
    assert draw.integer("n", 2, 8, 2, False) != 7


@pytest.mark.parametrize("log", [True, False])
def test_random_answers_cover_the_range_and_stay_inside(log: bool) -> None:
    draw = RandomDraw(random.Random(0))
    assert {draw.integer("n", 2, 6, 1, log) for _ in range(300)} == {2, 3, 4, 5, 6}
    reals = [draw.real("x", 0.5, 8.0, log) for _ in range(300)]
    assert 0.5 <= min(reals) < 1
    assert 7 < max(reals) <= 8


@pytest.mark.parametrize(
    ("axis", "inside", "outside"),
    [
        (Axis("a", (1, 2)), [1, 2], [True, 1.0, 3, "1"]),
        (Axis("a", (True, False)), [True], [1, 0]),
        (Axis("a", None, 2, 8, 3), [2, 5, 8], [3, 9, True, "2"]),
        (Axis("a", None, 0.0, 1.0), [0.0, 0.3, 1], [1.1, True, None]),
    ],
)
def test_what_an_axis_contains(axis: Axis, inside: list[object], outside: list[object]) -> None:
    assert all(axis.contains(answer) for answer in inside)  # type: ignore[arg-type]
    assert not any(axis.contains(answer) for answer in outside)  # type: ignore[arg-type]
