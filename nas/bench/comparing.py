"""Several samplers, several seeds, one table: runs them all and reports."""

from collections.abc import Callable, Collection, Sequence
from functools import partial

import numpy as np

from nas.bench.arms import make_arm, parse_arms
from nas.bench.figures import curve, estimate, figures
from nas.bench.report import ArmReport, BenchReport, Curve, Reached, RunReport
from nas.bench.running import Rules, Trace, run
from nas.bench.table import Table
from nas.errors import BadInput

CURVE_POINTS = 40


def bench(
    table: Table,
    arms: Sequence[str],
    seeds: Sequence[int],
    *,
    evaluations: int,
    cheap: Collection[str] = (),
    workers: int = 1,
    count_repeats: bool = False,
    checkpoints: Sequence[int] = (),
    on_run: Callable[[int, int, Trace], None] | None = None,
) -> BenchReport:
    """Runs each sampler with each seed and reports means over seeds.

    `checkpoints` are numbers of evaluations at which figures are given: an eighth, a quarter, half
    and all of them where none are named. `on_run` is called with (runs done, runs in all, trace).
    Raises BadInput for a sampler or an objective that does not exist, or more evaluations than rows.
    """
    rules = Rules(evaluations, workers, count_repeats)
    _check(table, rules, seeds, cheap)
    named = parse_arms(arms)
    jobs = [(arm, seed) for arm in named for seed in seeds]
    traces = []
    for arm, seed in jobs:
        traces.append(run_arm(table, rules, tuple(cheap), arm, seed))
        if on_run:
            on_run(len(traces), len(jobs), traces[-1])
    places = tuple(sorted({min(place, evaluations) for place in checkpoints})) or _places(
        evaluations
    )
    report = partial(_arm_report, table, places)
    return BenchReport(
        table=table.name,
        rows=len(table),
        axes=tuple(table.columns),
        objectives=table.objectives,
        cheap=tuple(o.metric for o in table.objectives if o.metric in cheap),
        front=len(table.front_points(table.front)),
        hypervolume=table.hypervolume,
        evaluations=evaluations,
        checkpoints=places,
        workers=workers,
        count_repeats=count_repeats,
        seeds=tuple(seeds),
        arms=tuple(report(arm, [t for t in traces if t.sampler == arm]) for arm in named),
    )


def run_arm(table: Table, rules: Rules, cheap: Sequence[str], arm: str, seed: int) -> Trace:
    """One sampler with one seed, from nothing."""
    return run(arm, make_arm(arm, table, rules, seed, cheap), table, rules, seed)


def _check(table: Table, rules: Rules, seeds: Sequence[int], cheap: Collection[str]) -> None:
    known = [objective.metric for objective in table.objectives]
    for name in cheap:
        if name not in known:
            raise BadInput.at("cheap", "no such objective", given=name, accepted=", ".join(known))
    if not 1 <= rules.evaluations <= len(table):
        raise BadInput.at(
            "evaluations",
            f"the table has {len(table)} rows",
            given=rules.evaluations,
            accepted=f"1 to {len(table)}",
        )
    if rules.workers < 1:
        raise BadInput.at("workers", "none", given=rules.workers, accepted="1 or more")
    if not seeds:
        raise BadInput.at("seeds", "none is named", accepted="one seed or more")


def _places(evaluations: int) -> tuple[int, ...]:
    """An eighth, a quarter, half and all of the evaluations."""
    return tuple(sorted({max(1, evaluations // part) for part in (8, 4, 2, 1)}))


def _arm_report(
    table: Table, places: Sequence[int], arm: str, traces: Sequence[Trace]
) -> ArmReport:
    runs = tuple(_run_report(table, places, trace) for trace in traces)
    reached = []
    for index, place in enumerate(places):
        found = [each.reached[index] for each in runs]
        means = {
            name: estimate([getattr(figure, name) for figure in found])
            for name in ("hypervolume", "precision", "recall", "unique")
        }
        reached.append(Reached(evaluations=place, **means))
    spread = np.unique(np.linspace(1, places[-1], CURVE_POINTS).round().astype(int)).tolist()
    shares = np.array([curve(table, trace, spread) for trace in traces])
    return ArmReport(
        sampler=arm,
        reached=tuple(reached),
        seconds_per_proposal=estimate([each.seconds_per_proposal for each in runs]),
        helped=estimate([each.helped for each in runs]),
        curve=Curve(evaluations=tuple(spread), shares=tuple(estimate(s) for s in shares.T)),
        runs=runs,
    )


def _run_report(table: Table, places: Sequence[int], trace: Trace) -> RunReport:
    proposals = trace.asked[-1]
    return RunReport(
        seed=trace.seed,
        evaluations=len(trace.rows),
        proposals=proposals,
        repeats=trace.repeats,
        helped=trace.helped,
        seconds_per_proposal=trace.seconds / proposals,
        reached=tuple(figures(table, trace, place) for place in places),
    )
