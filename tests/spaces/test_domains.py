"""Values, choices, ranges and numbers that follow from others."""

import pytest
from pydantic import TypeAdapter, ValidationError

from nas.search_spaces.domains import Choice, Divide, IntDomain, Range, Times, values

ADAPTER = TypeAdapter(IntDomain)


@pytest.mark.parametrize(
    ("given", "members"),
    [
        (7, [7]),
        ({"choice": [64, 96]}, [64, 96]),
        ({"range": [2, 6]}, [2, 3, 4, 5, 6]),
        ({"range": [2, 6], "step": 3}, [2, 5]),
        ({"range": [8, 32], "log": True}, list(range(8, 33))),
    ],
)
def test_members(given: object, members: list[int]) -> None:
    assert list(values(ADAPTER.validate_python(given))) == members


@pytest.mark.parametrize(
    "given",
    [
        "7",
        7.0,
        True,
        0,
        {"choice": []},
        {"choice": [3, 3]},
        {"choice": [3, "x"]},
        {"range": [6, 2]},
        {"range": [2, 2]},
        {"range": [2, 6], "step": 0},
        {"range": [2, 6], "log": True, "step": 2},
        {"times": 2},
        {"divide": "dim"},
        {"choice": [2], "range": [2, 3]},
        {},
        None,
    ],
)
def test_what_is_no_domain_is_refused(given: object) -> None:
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(given)


@pytest.mark.parametrize(
    ("times", "other", "round_to", "expected"),
    [
        (4, 64, 1, 256),
        (8 / 3, 96, 16, 256),
        (8 / 3, 64, 16, 176),
        (0.01, 64, 8, 8),
        (1.5, 65, 1, 98),
    ],
)
def test_times_rounds_to_a_multiple_and_is_never_zero(
    times: float, other: int, round_to: int, expected: int
) -> None:
    domain = Times(times=times, of="dim", round_to=round_to)
    assert domain.value(times, other) == expected


def test_forms_are_told_apart_by_their_keys() -> None:
    assert isinstance(ADAPTER.validate_python({"choice": [1, 2]}), Choice)
    assert isinstance(ADAPTER.validate_python({"range": [1, 2]}), Range)
    assert isinstance(ADAPTER.validate_python({"times": {"choice": [1, 2.5]}, "of": "dim"}), Times)
    assert isinstance(ADAPTER.validate_python({"divide": "dim", "by": 8}), Divide)
