"""The report as a chart: share of the true hypervolume over evaluations, one line a sampler."""

from nas.bench.report import BenchReport
from nas.drawing.lines import Line, line_chart
from nas.errors import BadInput


def plot(report: BenchReport) -> str:
    """An SVG document; bands are the 95 % intervals over seeds. Raises BadInput where no sampler
    could be run."""
    if not report.arms:
        raise BadInput.at("plot", "no sampler could be run", given=list(report.left_out))
    lines = [
        Line(
            name=arm.sampler,
            x=arm.curve.evaluations,
            y=[share.mean for share in arm.curve.shares],
            low=[share.mean if share.low is None else share.low for share in arm.curve.shares],
            high=[share.mean if share.high is None else share.high for share in arm.curve.shares],
        )
        for arm in report.arms
    ]
    title = f"{report.table}, {len(report.seeds)} seeds"
    return line_chart(title, "evaluations", "share of the true hypervolume", lines)
