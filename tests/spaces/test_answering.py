"""Answers that stand for an architecture in a space that is not the one that it was drawn from."""

import random
from typing import Any

import pytest

from nas.locating import answers_of
from nas.search_spaces.answering import blocker, why_not
from nas.search_spaces.axes import RandomDraw, RecordingDraw, ReplayDraw
from nas.search_spaces.changes import AxisChange, changes_between
from nas.search_spaces.space import SearchSpace
from tests.support.problems import SPACE, TINY, space

WIDE: dict[str, Any] = {
    **SPACE,
    "mixer": {"choice": [{"kind": "identity"}, SPACE["mixer"]]},
    "ffn": {"choice": [{"kind": "relu_squared", "hidden": 64}, *SPACE["ffn"]["choice"]]},  # type: ignore[index]
    "tied": {"choice": [True, False]},
}


def drawn(members: SearchSpace, seed: int) -> tuple[Any, Any]:
    record = RecordingDraw(RandomDraw(random.Random(seed)))
    return members.decode(record), record.answers


@pytest.mark.parametrize("seed", range(6))
def test_a_member_of_a_space_is_found_in_a_wider_one_with_other_names(seed: int) -> None:
    narrow, wide = space(SPACE), space(WIDE)
    member, answers = drawn(narrow, seed)
    wrong = why_not(wide, answers, member.id)
    assert wrong is not None
    assert "was not asked then" in wrong[1]
    found = answers_of(wide, member, answers)
    assert found is not None
    assert wide.decode(ReplayDraw(found)) == member
    assert found["mixer"] in ("ratio", "identity")


@pytest.mark.parametrize("seed", range(4))
def test_the_answers_of_a_draw_are_found_without_hints(seed: int) -> None:
    members = space(TINY)
    member, answers = drawn(members, seed)
    assert answers_of(members, member) == answers


def test_where_several_answers_will_do_the_recorded_ones_are_kept() -> None:
    heads = {"kind": "attention", "heads": 2, "groups": 1, "head_dim": 8}
    more_heads = {**heads, "heads": {"choice": [2, 4]}}
    overlapping = {"choice": [more_heads, {**heads, "groups": {"choice": [1, 2]}}]}
    members = space({**TINY, "mixer": overlapping})
    member, _ = drawn(space({**TINY, "mixer": heads}), 0)
    for label in ("attention-1", "attention-2"):
        found = answers_of(members, member, {"mixer": label})
        assert found is not None
        assert found["mixer"] == label
        assert members.decode(ReplayDraw(found)) == member


def test_a_hint_that_leads_elsewhere_is_not_followed() -> None:
    members = space(WIDE)
    member, answers = drawn(members, 1)
    wrong = dict.fromkeys(answers, "identity") | {"depth": 4, "dim": 32, "tied": not member.tied}
    found = answers_of(members, member, wrong)
    assert found is not None
    assert members.decode(ReplayDraw(found)) == member


def test_ratio_and_placement_are_found_where_the_nearest_ratio_leads_nowhere() -> None:
    fixed = {**SPACE, "dim": 64, "depth": 4, "ffn": {"kind": "gelu", "hidden": 64}}
    bottom = {**SPACE["mixer"], "ratio": "3:1", "placement": "bottom"}  # type: ignore[dict-item]
    member, answers = drawn(space({**fixed, "mixer": bottom}), 0)
    found = answers_of(space(fixed), member, answers)
    assert found is not None
    assert (found["mixer.ratio"], found["mixer.placement"]) == ("3:1", "bottom")


def test_what_a_space_does_not_hold_is_not_found() -> None:
    members = space({**TINY, "ffn": {"kind": "gelu", "hidden": {"choice": [32, 64]}}})
    member, answers = drawn(space({**TINY, "ffn": {"kind": "gelu", "hidden": 16}}), 0)
    assert answers_of(members, member, answers) is None
    for change in ({"vocab": 65}, {"ffn": {"kind": "swiglu", "hidden": 16}}):
        other, theirs = drawn(space({**TINY, **change}), 0)
        assert answers_of(members, other, theirs) is None


def test_the_answer_that_is_refused_is_named() -> None:
    members = space({**TINY, "dim": 16, "ffn": {"kind": "gelu", "hidden": {"choice": [32, 64]}}})
    assert blocker(members, {"depth": 1, "ffn.hidden": 16}) == (
        "ffn.hidden",
        "16 is no answer to 'ffn.hidden' any more; accepted: 32, 64",
    )
    gone = blocker(members, {"depth": 1, "dim": 32})
    assert gone is not None
    assert (gone[0], "dim = 32" in gone[1]) == ("dim", True)
    assert blocker(members, {"depth": 1}) is None


def test_changes_name_questions_and_options_and_not_their_order() -> None:
    before = space({**TINY, "dim": {"choice": [16, 32]}, "depth": {"range": [2, 6]}})
    after = space({**TINY, "dim": {"choice": [64, 16]}, "depth": {"range": [2, 6], "step": 2}})
    datas = [each.model_dump(mode="json") for each in (before, after)]
    found = changes_between(datas[0], datas[1], before.axes, after.axes)
    assert found.changed == (
        AxisChange(axis="depth", before="2 to 6", after="2 to 6 in steps of 2"),
        AxisChange(axis="dim", before="16, 32", after="64, 16", added=(64,), removed=(32,)),
    )
    assert (found.fields, found.added, found.removed) == (("dim", "depth"), (), ())
    turned = space({**TINY, "dim": {"choice": [32, 16]}, "depth": {"range": [2, 6]}})
    same = changes_between(datas[0], datas[0], before.axes, turned.axes)
    assert same.changed == ()
