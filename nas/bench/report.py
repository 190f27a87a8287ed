"""What a comparison says: the same models are printed, written as JSON, and drawn."""

from collections.abc import Callable

from nas.search_spaces.base import Model
from nas.study import Objective


class Estimate(Model):
    """A mean over seeds, and where it lies with 95 % confidence over other draws of as many."""

    mean: float
    low: float | None = None
    """None for a single seed."""
    high: float | None = None

    def text(self, form: str = ".3f") -> str:
        """Mean and interval in a format of numbers."""
        if self.low is None or self.high is None:
            return format(self.mean, form)
        return f"{self.mean:{form}} ({self.low:{form}}..{self.high:{form}})"


class Figures(Model):
    """What one run had reached."""

    hypervolume: float
    """Share of the hypervolume of the whole table; objectives scaled to 0..1 over the table, the
    reference point 1 in each."""
    precision: float
    """Share of the points on the front that was found which are on the true front; rows with equal
    objectives are one point."""
    recall: float
    """Share of the points on the true front that were found."""
    unique: float
    """Effective unique evaluations: distinct rows for each proposal."""


class Reached(Model):
    """`Figures` over all seeds."""

    evaluations: int
    hypervolume: Estimate
    precision: Estimate
    recall: Estimate
    unique: Estimate


class RunReport(Model):
    """One seed."""

    seed: int
    evaluations: int
    proposals: int
    repeats: int
    helped: int
    """Proposals made by uniform search since the sampler was stuck."""
    seconds_per_proposal: float
    reached: tuple[Figures, ...]
    """At each of the report's checkpoints."""


class Curve(Model):
    """Share of the true hypervolume: means over seeds, and their intervals."""

    evaluations: tuple[int, ...]
    shares: tuple[Estimate, ...]


class ArmReport(Model):
    """One sampler."""

    sampler: str
    reached: tuple[Reached, ...]
    seconds_per_proposal: Estimate
    """Of asking and telling, on the machine and under the load of this comparison."""
    helped: Estimate
    """Proposals of a run made by uniform search since the sampler was stuck."""
    curve: Curve
    runs: tuple[RunReport, ...]


class BenchReport(Model):
    """Samplers on one table."""

    table: str
    rows: int
    axes: tuple[str, ...]
    objectives: tuple[Objective, ...]
    cheap: tuple[str, ...]
    """Objectives known before an evaluation, to samplers that can use it."""
    front: int
    """Points on the true front; rows with equal objectives are one point."""
    hypervolume: float
    """Of the whole table."""
    evaluations: int
    checkpoints: tuple[int, ...]
    workers: int
    count_repeats: bool
    seeds: tuple[int, ...]
    arms: tuple[ArmReport, ...]
    left_out: dict[str, str] = {}
    """Samplers that could not be run, and why."""


def summary(report: BenchReport) -> str:
    """The conditions, in a sentence or two."""
    goals = ", ".join(f"{o.metric} ({o.direction})" for o in report.objectives)
    repeats = "counted" if report.count_repeats else "free"
    seeds = "1 seed" if len(report.seeds) == 1 else f"{len(report.seeds)} seeds"
    workers = "1 worker" if report.workers == 1 else f"{report.workers} workers (simulated)"
    known = ", ".join(report.cheap) or "-"
    return (
        f"{report.table}: {report.rows:,} rows, {len(report.axes)} axes, {goals}; the true front "
        f"has {report.front} points and hypervolume {report.hypervolume:.6f}. "
        f"{seeds}, {workers}, repeats {repeats}, known in advance: {known}."
    )


FIGURES: dict[str, Callable[[Reached], str]] = {
    "share of hypervolume": lambda at: at.hypervolume.text(),
    "precision": lambda at: at.precision.text(".2f"),
    "recall": lambda at: at.recall.text(".2f"),
    "unique per proposal": lambda at: at.unique.text(".2f"),
}


def share_rows(report: BenchReport) -> tuple[list[str], list[list[str]]]:
    """(columns, rows): the share of hypervolume at each checkpoint."""
    columns = ["sampler", *(f"{count} evaluations" for count in report.checkpoints)]
    rows = [[arm.sampler, *(at.hypervolume.text() for at in arm.reached)] for arm in report.arms]
    return columns, rows


def last_rows(report: BenchReport) -> tuple[list[str], list[list[str]]]:
    """(columns, rows): everything else, at the last checkpoint."""
    others = list(FIGURES)[1:]
    rows = [
        [
            arm.sampler,
            *(FIGURES[name](arm.reached[-1]) for name in others),
            arm.helped.text(".1f"),
            arm.seconds_per_proposal.text(".2g"),
        ]
        for arm in report.arms
    ]
    return ["sampler", *others, "uniform help", "seconds per proposal"], rows


def markdown(report: BenchReport) -> str:
    """The report as two tables for a page."""
    lines = [summary(report), ""]
    lines += _table(*share_rows(report))
    lines += ["", f"After {report.checkpoints[-1]} evaluations:", "", *_table(*last_rows(report))]
    lines += [f"\n{name} was left out: {why}" for name, why in report.left_out.items()]
    return "\n".join(lines) + "\n"


def _table(columns: list[str], rows: list[list[str]]) -> list[str]:
    rule = ["---"] * len(columns)
    return [f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows)]
