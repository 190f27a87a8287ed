"""How the report on a search looks on a terminal."""

from rich.table import Table

from nas.cli.tables import console, table
from nas.views import ArmView, SearchReport

COLUMNS = (">proposals", ">evaluated", ">repeats", ">infeasible", ">failed", ">front", ">told of")


def print_report(report: SearchReport) -> None:
    """A row for each proposer, then the verdicts and what else is worth knowing."""
    console.print(
        f"{report.study}: {report.sampler}, {report.proposals} proposals, {report.evaluated} "
        f"evaluated; {report.repeat_share:.0%} repeats, {report.fallback_share:.0%} fallbacks, "
        f"{report.control_share:.0%} of the evaluated trials are the control arm's"
    )
    console.print(arms_table(report))
    for line in lines_of(report):
        console.print(line, markup=False, highlight=False)


def arms_table(report: SearchReport) -> Table:
    """The proposers, one a row."""
    rows = [_row(arm) for arm in report.arms]
    return table(("proposer", *COLUMNS, ">s each", ">s at most"), rows)


def lines_of(report: SearchReport) -> list[str]:
    """The verdicts, the reasons of fallbacks, and the user's candidates outside the space."""
    lines = [f"the sampler against {each.control}: {each.text}" for each in report.comparisons]
    if not lines:
        lines = ["no trial of a control arm was evaluated, so there is nothing to hold it to"]
    for arm in report.arms:
        lines += [f"{arm.proposer}, {n} times: {why}" for why, n in arm.fallbacks.items()]
    lines += [
        f"trial {each.trial} lies outside the space; the sampler heard nothing of it: "
        f"{each.description}"
        for each in report.first
        if not each.in_space
    ]
    return lines


def _row(arm: ArmView) -> tuple[object, ...]:
    told = "-" if arm.observations is None else "{}..{}".format(*arm.observations)
    seconds = ("-" if s is None else f"{s:.2g}" for s in (arm.seconds, arm.most_seconds))
    states = (arm.states.get(state, 0) for state in ("repeat", "infeasible", "failed"))
    return (arm.proposer, arm.proposals, arm.evaluated, *states, arm.front, told, *seconds)
