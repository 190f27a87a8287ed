"""Several samplers, several seeds, one table: runs them all and reports."""

from collections.abc import Collection, Sequence
from functools import partial

import numpy as np

from nas.bench.arms import make_arm, missing_library, parse_arms
from nas.bench.figures import curve, estimate, figures
from nas.bench.parallel import OnRun, run_all
from nas.bench.report import ArmReport, BenchReport, Curve, Reached, RunReport
from nas.bench.running import Rules, Trace, run
from nas.bench.table import Table
from nas.errors import BadInput

CURVE_POINTS = 40
MOST_EVALUATIONS = 100_000
"""Where repeats are counted; a study has as many at most."""


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
    jobs: int | None = None,
    on_run: OnRun | None = None,
) -> BenchReport:
    """Runs each sampler with each seed and reports means over seeds.

    `checkpoints` are numbers of evaluations at which figures are given: an eighth, a quarter, half
    and all of them where none are named. `jobs` processes share the runs, one thread each; with
    None they run in this process. All but the seconds is the same whatever the number of jobs.
    Raises BadInput for a sampler or an objective that does not exist, or for more evaluations than
    there are rows.
    """
    rules = Rules(evaluations, workers, count_repeats)
    named = parse_arms(arms)
    _check(table, rules, seeds, cheap, jobs)
    left_out = {arm: why for arm in named if (why := missing_library(arm))}
    named = tuple(arm for arm in named if arm not in left_out)
    work = partial(run_arm, table, rules, tuple(cheap))
    runs = [(arm, seed) for arm in named for seed in seeds]
    traces = run_all(work, runs, jobs, on_run or (lambda done, total, trace: None))
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
        left_out=left_out,
    )


def run_arm(table: Table, rules: Rules, cheap: Sequence[str], arm: str, seed: int) -> Trace:
    """One sampler with one seed, from nothing."""
    return run(arm, make_arm(arm, table, rules, seed, cheap), table, rules, seed)


def _check(
    table: Table, rules: Rules, seeds: Sequence[int], cheap: Collection[str], jobs: int | None
) -> None:
    known = [objective.metric for objective in table.objectives]
    for name in cheap:
        if name not in known:
            raise BadInput.at("cheap", "no such objective", given=name, accepted=", ".join(known))
    most = MOST_EVALUATIONS if rules.count_repeats else len(table)
    if not 1 <= rules.evaluations <= most:
        raise BadInput.at(
            "evaluations",
            f"the table has {len(table)} rows",
            given=rules.evaluations,
            accepted=f"1 to {most}",
        )
    for name, given in (("workers", rules.workers), ("jobs", jobs)):
        if given is not None and given < 1:
            raise BadInput.at(name, "too few", given=given, accepted="1 or more")
    if not seeds:
        raise BadInput.at("seeds", "none is named", accepted="one seed or more")


def _places(evaluations: int) -> tuple[int, ...]:
    """An eighth, a quarter, half and all of the evaluations."""
    return tuple(sorted({max(1, evaluations // part) for part in (8, 4, 2, 1)}))


def _spread(evaluations: int) -> list[int]:
    """Where a curve has points: not before a twentieth, when chance alone has spoken."""
    first = max(1, evaluations // 20)
    return np.unique(np.linspace(first, evaluations, CURVE_POINTS).round().astype(int)).tolist()


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
    spread = _spread(places[-1])
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
