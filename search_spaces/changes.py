"""What became different between two versions of a space, question by question."""

from collections.abc import Mapping
from typing import Any

from nas.search_spaces.axes import Axis, Scalar
from nas.search_spaces.base import Model


class AxisChange(Model):
    """One question that accepts other answers than before."""

    axis: str
    before: str
    """The accepted answers, in words."""
    after: str
    added: tuple[Scalar, ...] = ()
    """Options that are new; empty where either side is a range."""
    removed: tuple[Scalar, ...] = ()


class SpaceChanges(Model):
    """How one space differs from another."""

    fields: tuple[str, ...] = ()
    """Fields of the space whose data differ."""
    added: tuple[str, ...] = ()
    """Questions that are new, by name."""
    removed: tuple[str, ...] = ()
    """Questions that are not asked any more."""
    changed: tuple[AxisChange, ...] = ()


def changes_between(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    axes_before: Mapping[str, Axis],
    axes_after: Mapping[str, Axis],
) -> SpaceChanges:
    """What a later space has changed. `before` and `after` are the spaces as data, defaults
    written out."""
    both = [name for name in axes_after if name in axes_before]
    return SpaceChanges(
        fields=tuple(name for name in after if after[name] != before.get(name)),
        added=tuple(name for name in axes_after if name not in axes_before),
        removed=tuple(name for name in axes_before if name not in axes_after),
        changed=tuple(
            _change(axes_before[name], axes_after[name])
            for name in both
            if not _same(axes_before[name], axes_after[name])
        ),
    )


def answers_in_words(axis: Axis) -> str:
    """``2, 4, 8``, or ``16 to 64``."""
    if axis.options is not None:
        return ", ".join(str(option) for option in axis.options)
    words = f"{axis.low:g} to {axis.high:g}"
    if axis.step not in (None, 1):
        words += f" in steps of {axis.step}"
    return words + (", log scale" if axis.log else "")


def _same(before: Axis, after: Axis) -> bool:
    """The order of options means nothing."""
    if before.options is None or after.options is None:
        return before == after
    return not _new(before, after) and not _new(after, before)


def _change(before: Axis, after: Axis) -> AxisChange:
    return AxisChange(
        axis=after.name,
        before=answers_in_words(before),
        after=answers_in_words(after),
        added=_new(before, after),
        removed=_new(after, before),
    )


def _new(before: Axis, after: Axis) -> tuple[Scalar, ...]:
    """Options of `after` that `before` lacks."""
    if before.options is None or after.options is None:
        return ()
    return tuple(option for option in after.options if not before.contains(option))
