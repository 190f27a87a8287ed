"""How a comparison of samplers is asked for, shown while it runs, and written down."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from nas.bench.comparing import bench
from nas.bench.parallel import OnRun
from nas.bench.plot import plot
from nas.bench.reading import names, parse_objectives, read_table
from nas.bench.report import BenchReport, last_rows, markdown, share_rows, summary
from nas.bench.table import Table
from nas.cli.files import check_file
from nas.cli.tables import console, table
from nas.errors import BadInput

EVALUATIONS = 400


@dataclass(frozen=True, slots=True)
class Source:
    """Where the rows come from, as it was typed."""

    file: Path | None
    study: str | None
    axes: str
    objectives: str
    cheap: str


def load(source: Source, server: str | None) -> tuple[Table, tuple[str, ...]]:
    """The table, and the objectives that are known in advance. Raises BadInput."""
    if (source.file is None) == (source.study is None):
        raise BadInput("give either a table or --study, and not both")
    if source.file is not None:
        goals = parse_objectives(source.objectives)
        return read_table(source.file, names(source.axes), goals), names(source.cheap)
    from nas.bench.recorded import recorded
    from nas.cli.backend import backend

    assert source.study is not None
    given = parse_objectives(source.objectives) if source.objectives else ()
    with backend(server) as verbs:
        found, static = recorded(verbs, source.study, given, names(source.axes))
    return found, names(source.cheap) or static


def compare(rows: Table, evaluations: int | None, **settings: Any) -> BenchReport:
    """Runs the comparison, with progress on stderr. Without a number of evaluations it is 400, or
    half of the rows where there are fewer than 800."""
    with _progress() as on_run:
        budget = evaluations or max(1, min(EVALUATIONS, len(rows) // 2))
        return bench(rows, evaluations=budget, on_run=on_run, **settings)


def check_files(out: Path | None, drawing: Path | None) -> None:
    """Raises BadInput for a file that could not be written, before anything is run."""
    check_file("out", out, (".json", ".md"))
    check_file("plot", drawing, (".svg",))


def write(report: BenchReport, out: Path | None, drawing: Path | None) -> None:
    """Writes the report as JSON or Markdown, and the chart as SVG."""
    if out is not None:
        whole = report.model_dump_json(indent=2) + "\n"
        out.write_text(whole if out.suffix == ".json" else markdown(report), encoding="utf-8")
    if drawing is not None:
        drawing.write_text(plot(report), encoding="utf-8")


def print_report(report: BenchReport) -> None:
    """The conditions, the shares of hypervolume, and everything else at the end."""
    console.print(summary(report), markup=False, highlight=False)
    for columns, rows in (share_rows(report), last_rows(report)):
        console.print()
        console.print(table([columns[0], *(f">{column}" for column in columns[1:])], rows))
    for name, why in report.left_out.items():
        console.print(f"{name} was left out: {why}", markup=False, highlight=False)


@contextmanager
def _progress() -> Iterator[OnRun]:
    """On a terminal a bar, else a line for each run; on stderr, so that stdout is the answer."""
    shown = Console(stderr=True)
    if not shown.is_terminal:
        yield lambda done, total, trace: print(
            f"{done}/{total} runs  {trace.sampler} seed {trace.seed}", file=sys.stderr
        )
        return
    columns = (BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f} runs"))
    with Progress(*columns, TextColumn("{task.description}"), console=shown) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total, trace: bar.update(
            task, completed=done, total=total, description=f"{trace.sampler} seed {trace.seed}"
        )
