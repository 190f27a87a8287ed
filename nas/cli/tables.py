"""How answers look on a terminal."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from nas.record import Measurement, TrialRecord
from nas.search_spaces.papers import PaperEntry, summary
from nas.views import (
    CostView,
    Front,
    FrontPoint,
    LedgerView,
    ReferenceView,
    ReplayView,
    RepricedView,
    SpaceVersionView,
    StudyView,
    TrialView,
    driver_text,
)

PIPE_COLUMNS = 140
console = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A plain table; columns that start with > are aligned right, and only the last one folds."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = column.startswith(">")
        drawn.add_column(
            column.lstrip(">"),
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=column != columns[-1],
        )
    for row in rows:
        drawn.add_row(*(str(cell) for cell in row))
    return drawn


def number(value: float, unit: str) -> str:
    """A value short enough for a table."""
    if unit in ("bytes", "count", "flops"):
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def with_spread(measurement: Measurement) -> str:
    """Value with its interval where it has one; one that was not measured says so."""
    text = number(measurement.value, measurement.unit)
    if measurement.stage == "composed":
        text = f"composed {text}"
    if measurement.low is None or measurement.high is None:
        return text
    low, high = (number(v, measurement.unit) for v in (measurement.low, measurement.high))
    return f"{text} ({low}..{high})"


def front_table(front: Front, points: Sequence[FrontPoint] | None = None) -> Table:
    """The front, or other points in its metrics, one a row; the knee is marked."""
    shown = front.points if points is None else points
    no_shares = all(point.probability is None for point in shown)
    names = [objective.metric for objective in front.metrics]
    names += [] if "params" in names else ["params"]
    rows = [
        (
            f"{point.trial}{' knee' if point.knee else ''}",
            *(() if no_shares else (f"{point.probability:.0%}",)),
            *(with_spread(point.values[name]) if name in point.values else "" for name in names),
            point.description,
        )
        for point in shown
    ]
    arrows = {o.metric: "↓" if o.direction == "minimize" else "↑" for o in front.metrics}
    columns = [f">{name} {arrows.get(name, '')}".rstrip() for name in names]
    on_front = () if no_shares else (">on front",)
    return table(("trial", *on_front, *columns, "architecture"), rows)


def print_front(front: Front) -> None:
    """The front, how sure it is, and what chance may have kept from it."""
    console.print(front_table(front) if front.points else "no complete trial yet")
    console.print(f"{len(front.points)} of {front.considered} complete trials are on the front")
    if front.contenders:
        console.print("beside it, but on it with more than 20 %:")
        console.print(front_table(front, front.contenders))
    if front.doubt:
        console.print(f"how sure it is, is not known: {front.doubt}", markup=False)


def print_ledger(ledger: LedgerView) -> None:
    """The proxies against each reference, with the reasons for every verdict."""
    for index, reference in enumerate(ledger.references):
        if index:
            console.print()
        _print_reference(reference)


def _print_reference(reference: ReferenceView) -> None:
    better = "lower" if reference.direction == "minimize" else "higher"
    console.print(
        f"against {reference.metric} ({better} is better), {reference.trials} of "
        f"{reference.complete} complete trials; +1 is perfect, {reference.level:.0%} intervals"
    )
    console.print(ledger_table(reference))
    lines = [f"{p.metric}: {'; '.join((*p.alarms, *p.reasons))}" for p in reference.proxies]
    lines += [f"{metric} left out: {why}" for metric, why in reference.left_out.items()]
    for line in (*lines, f"control: {reference.identity.text}"):
        console.print(line, markup=False, highlight=False)


def ledger_table(reference: ReferenceView) -> Table:
    """The proxies, one a row."""
    rows = [
        (
            proxy.metric,
            proxy.trials,
            *(
                "-" if interval is None else interval
                for interval in (proxy.kendall, proxy.spearman, proxy.top, proxy.at_equal_params)
            ),
            proxy.verdict + (" !" if proxy.alarms else ""),
        )
        for proxy in reference.proxies
    ]
    columns = (">Kendall", ">Spearman", ">best fifth", ">at equal params")
    return table(("proxy", ">trials", *columns, "verdict"), rows)


def print_repriced(found: RepricedView) -> None:
    """A study on another target: each objective there, and what it is in the study."""
    named = [objective.metric for objective in found.metrics]

    def cell(values: dict[str, Measurement], metric: str) -> str:
        return with_spread(values[metric]) if metric in values else "-"

    rows = [
        (
            point.trial,
            "yes" if point.on_front else "",
            *(text for m in named for text in (cell(point.after, m), cell(point.before, m))),
            point.failure or point.broken or "",
            point.description,
        )
        for point in found.points
    ]
    columns = [title for metric in named for title in (f">{metric}", ">in the study")]
    console.print(table(("trial", "front", *columns, "remark", "architecture"), rows))
    machine = found.environment["machine"]["cpu"]
    console.print(f"{found.measured} of {len(found.points)} measured whole on {machine}")


def spent_text(study: StudyView) -> str:
    """Of each quantity that the budget bounds, how much is spent: ``3/8 trials``."""
    parts = []
    if study.budget_trials is not None:
        parts.append(f"{study.trials}/{study.budget_trials} trials")
    else:
        parts.append(f"{study.trials} trials")
    if study.budget_train_tokens is not None:
        parts.append(f"{study.train_tokens:,}/{study.budget_train_tokens:,} tokens")
    if study.budget_train_flops is not None:
        parts.append(f"{study.train_flops:.3g}/{study.budget_train_flops:.3g} FLOPs")
    if study.budget_minutes is not None:
        parts.append(f"{study.seconds / 60:.3g}/{study.budget_minutes:g} min")
    return ", ".join(parts)


def study_table(studies: Sequence[StudyView]) -> Table:
    """Studies, one a row."""
    rows = [
        (
            study.name,
            study.state,
            spent_text(study),
            study.proposals,
            f"{study.seconds:.0f}",
            "  ".join(f"{best.metric} {number(best.value, best.unit)}" for best in study.best),
        )
        for study in studies
    ]
    return table(("study", "state", ">spent", ">proposals", ">seconds", "best so far"), rows)


def trial_table(trials: Sequence[TrialRecord], metrics: Sequence[str]) -> Table:
    """Trials, one a row, with some of their metrics."""

    def cell(trial: TrialRecord, metric: str) -> str:
        found = [m for m in trial.measurements if m.metric == metric]
        return number(found[0].value, found[0].unit) if found else ""

    rows = [
        (
            trial.number,
            trial.state,
            trial.architecture,
            *(cell(trial, metric) for metric in metrics),
            f"{trial.seconds:.1f}",
            trial.proposer,
            remark(trial),
        )
        for trial in trials
    ]
    columns = [f">{metric}" for metric in metrics]
    return table(
        (">trial", "state", "architecture", *columns, ">seconds", "proposer", "remark"), rows
    )


def remark(trial: TrialRecord) -> str:
    """What is special about a trial."""
    notes = [
        f"repeat of {trial.repeat_of}" if trial.repeat_of is not None else "",
        f"stopped after {trial.rung}" if trial.rung else "",
        trial.reason or "",
        f"{trial.failure.stage}: {trial.failure.message}" if trial.failure else "",
        f"fallback: {trial.fallback}" if trial.fallback else "",
    ]
    return "; ".join(note for note in notes if note)


def print_study(study: StudyView) -> None:
    """One study with its counts."""
    console.print(study_table([study]))
    counts = ", ".join(f"{count} {state}" for state, count in study.counts.items() if count)
    console.print(f"proposals: {counts or 'none yet'}")
    if study.driver.chosen_because:
        console.print(f"proposed by {driver_text(study.driver)}", markup=False, highlight=False)
    if study.train_tokens:
        spent = f"{study.train_tokens:,} tokens, {study.train_flops:.3g} FLOPs"
        console.print(f"spent on training: {spent}", highlight=False)
    if study.reason:
        console.print(f"{study.state}: {study.reason}")


def print_version(version: SpaceVersionView) -> None:
    """One version of a space: what changed, and which proposals it does not hold."""
    lines = [f"version {version.version} of {version.at:%Y-%m-%d %H:%M}: "]
    lines[0] += f"{version.proposals} proposals made in it"
    changes = version.changes
    if changes.fields:
        lines.append(f"  fields changed: {', '.join(changes.fields)}")
    lines += [f"  new question: {axis}" for axis in changes.added]
    lines += [f"  no question any more: {axis}" for axis in changes.removed]
    lines += [f"  {each.axis}: {each.after}; it was {each.before}" for each in changes.changed]
    if version.version > 1:
        earlier = version.valid + version.translated + len(version.invalid)
        lines.append(
            f"  of {earlier} earlier proposals {version.valid} are valid as recorded, "
            f"{version.translated} under other answers, {len(version.invalid)} are not in it"
        )
    lines += [f"  trial {each.number}: {each.reason}" for each in version.invalid]
    for line in lines:
        console.print(line, markup=False, highlight=False)


def print_replay(found: ReplayView) -> None:
    """Whether a study can be derived again."""
    others = found.proposals - found.own
    console.print(
        f"identical {found.identical} of {found.own} proposals of {found.sampler}"
        + (f" ({others} more had other proposers)" if others else "")
    )
    if found.first_difference is None:
        return
    first = found.first_difference
    then, now = first.recorded, first.derived
    differing = [
        f"  {axis}: recorded {then.get(axis, '-')}, derived {now.get(axis, '-')}"
        for axis in dict.fromkeys((*then, *now))
        if then.get(axis, ...) != now.get(axis, ...)
    ]
    versions = [
        f"  {name}: recorded with {used}, here {found.versions.get(name, 'absent')}"
        for name, used in found.recorded_versions.items()
        if found.versions.get(name) != used
    ]
    console.print(f"first difference: proposal {first.number}")
    for line in (*differing, *versions):
        console.print(line, markup=False, highlight=False)


def print_trial(trial: TrialView) -> None:
    """One trial with all its measurements."""
    console.print(f"trial {trial.number} of {trial.study}: {trial.state}  {trial.description}")
    console.print(f"architecture {trial.architecture}, proposed by {trial.proposer}")
    if remark(trial):
        console.print(remark(trial))
    rows = [(m.metric, with_spread(m), m.unit, m.repeats, m.stage) for m in trial.measurements]
    console.print(table(("metric", ">value", "unit", ">repeats", "stage"), rows))
    for task, curve in trial.curves.items():
        losses = " ".join(f"{loss:.2f}" for loss in curve.loss[:: max(1, len(curve.loss) // 12)])
        console.print(f"{task} training loss: {losses}")


def print_cost(cost: CostView) -> None:
    """What an architecture costs."""
    console.print(f"{cost.id}  {cost.description}")
    rows = [
        (name.replace("_", " "), f"{value:,}")
        for name, value in cost.model_dump().items()
        if isinstance(value, int)
    ]
    console.print(table(("cost", ">value"), rows))


def print_papers(papers: Sequence[PaperEntry]) -> None:
    """Papers, one after another, with their parts and what is missing; then how many."""
    for paper in papers:
        tier = "-" if paper.tier is None else paper.tier
        console.print(f"{tier}  {paper.title}", markup=False, highlight=False)
        parts = ", ".join(paper.parts) or f"{paper.state} ({', '.join(paper.axes)})"
        for line in (parts, *(f"left out by {left_out}" for left_out in paper.missing)):
            console.print(f"     {line}", markup=False, highlight=False)
    console.print(summary(papers))
