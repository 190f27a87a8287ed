"""How a comparison of two studies looks on a terminal."""

import json
from pathlib import Path
from typing import Any

from nas.cli.tables import console, table
from nas.comparison_plot import plot
from nas.views import Comparison, Cut, Side

SHOWN = 60
"""Characters of a setting."""


def print_comparison(found: Comparison) -> None:
    """The cuts, then both fronts, then what differs apart from the search."""
    names = (found.first.study, found.second.study)
    rows = [
        (
            cut.resource.replace("_", " "),
            f"{cut.at:,.0f}" if cut.at < 1e12 else f"{cut.at:.3g}",
            f"{cut.first:.4f}",
            f"{cut.second:.4f}",
            f"{cut.first_trials}, {cut.second_trials}",
            _leader(cut, names),
        )
        for cut in found.cuts
    ]
    titles = ("equal", ">spent by each", *(f">{name}" for name in names), ">trials", "ahead")
    console.print(table(titles, rows))
    console.print("hypervolume, 1 is the box between both fronts' best and the reference:")
    console.print("  " + ", ".join(f"{m} {value:.6g}" for m, value in found.reference.items()))
    for side, other in ((found.first, found.second), (found.second, found.first)):
        _print_side(side, other)
    for each in found.differs:
        text = f"differs: {each.path}: {_short(each.first)} and {_short(each.second)}"
        console.print(text, markup=False, highlight=False)
    console.print("each study is one run; other seeds may turn a small lead")


def draw_comparison(found: Comparison, file: Path) -> None:
    """Writes it as an SVG drawing."""
    file.write_text(plot(found), encoding="utf-8")


def _leader(cut: Cut, names: tuple[str, str]) -> str:
    if cut.leads is None:
        return "equal"
    return names[0] if cut.leads == "first" else names[1]


def _print_side(side: Side, other: Side) -> None:
    tokens, flops = side.in_all["train_tokens"], side.in_all["train_flops"]
    console.print(
        f"{side.study}: {len(side.front)} on the front, which dominates {side.covers:.0%} of that "
        f"of {other.study}; {tokens:,.0f} tokens and {flops:.3g} FLOPs of training in all",
        highlight=False,
    )
    for point in side.front:
        console.print("  " + "  ".join(f"{value:.6g}" for value in point), highlight=False)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
