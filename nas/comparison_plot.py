"""A comparison of two studies as SVG: hypervolume over what was spent, and both final fronts."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from nas.drawing.lines import DASHES, Chart, Line, line_charts
from nas.drawing.svg import Point
from nas.evaluators.base import Direction
from nas.views import Comparison, Cut, Resource, Side

SPENT: dict[Resource, str] = {
    "trials": "trials",
    "train_tokens": "training tokens",
    "train_flops": "training FLOPs",
    "seconds": "seconds of evaluation",
}
HYPERVOLUME = "hypervolume, share of the box from the reference to the best values"


def plot(found: Comparison) -> str:
    """An SVG document: for each resource what both fronts had reached when both studies had spent
    the same, then the final fronts of studies with two metrics, towards which the rest is
    dominated."""
    names = (found.first.study, found.second.study)
    title = f"{names[0]} and {names[1]}"
    charts = list(_over_what_was_spent(found))
    if len(found.metrics) == 2:
        charts.append(_fronts(found))
    return line_charts(title, _in_words(found), charts)


def _over_what_was_spent(found: Comparison) -> Iterator[Chart]:
    for resource, words in SPENT.items():
        cuts = [cut for cut in found.cuts if cut.resource == resource]
        if not cuts or not cuts[-1].at:
            continue  # nothing of it was spent, as in a study that trains nothing
        reached = ([cut.first for cut in cuts], [cut.second for cut in cuts])
        spent = [cut.at for cut in cuts]
        sides = (found.first.study, found.second.study)
        lines = [
            _line(place, name, list(zip(spent, values, strict=True)))
            for place, (name, values) in enumerate(zip(sides, reached, strict=True))
        ]
        heading = f"{sides[0]} and {sides[1]} by {words}"
        yield Chart(heading, words, HYPERVOLUME, lines)


def _fronts(found: Comparison) -> Chart:
    x, y = (_labelled(found, place) for place in (0, 1))
    ways = (found.metrics[0].direction, found.metrics[1].direction)
    lines = [
        _staircase(place, side, ways) for place, side in enumerate((found.first, found.second))
    ]
    return Chart(f"final fronts of {found.first.study} and {found.second.study}", x, y, lines)


def _labelled(found: Comparison, place: int) -> str:
    """A metric with its unit, and which way is better."""
    metric, direction = found.metrics[place].metric, found.metrics[place].direction
    unit = found.units.get(metric, "")
    better = "lower" if direction == "minimize" else "higher"
    return f"{metric}{f', {unit}' if unit else ''} ({better} is better)"


def _staircase(place: int, side: Side, ways: tuple[Direction, Direction]) -> Line:
    """The edge of what a front dominates: between two neighbours, a corner that is as bad as the
    worse of both in each metric."""
    worse = tuple(max if way == "minimize" else min for way in ways)
    points = [(point[0], point[1]) for point in side.front]
    route = points[:1]
    for before, after in pairwise(points):
        route += [(worse[0](before[0], after[0]), worse[1](before[1], after[1])), after]
    return _line(place, side.study, route, points)


def _line(
    place: int, name: str, route: Sequence[Point], marks: Sequence[Point] | None = None
) -> Line:
    """Told apart by colour, dashes and marks."""
    return Line(
        name=name,
        x=[x for x, _ in route],
        y=[y for _, y in route],
        marks=route if marks is None else marks,
        dashes=DASHES[place],
    )


def _in_words(found: Comparison) -> str:
    """What the charts show, for who cannot see them."""
    last: dict[Resource, Cut] = {cut.resource: cut for cut in found.cuts}
    said = [
        f"at {last[resource].at:.6g} {words}: {found.first.study} {last[resource].first:.3f}, "
        f"{found.second.study} {last[resource].second:.3f}"
        for resource, words in SPENT.items()
        if resource in last
    ]
    sizes = f"fronts of {len(found.first.front)} and {len(found.second.front)} points"
    return f"Hypervolume reached, {'; '.join(said)}. Final {sizes}."
