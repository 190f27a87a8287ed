"""One method for each thing that a user can do; all that the API and the command line may call."""

import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas import __version__
from nas.choosing import with_driver
from nas.describe import one_line
from nas.errors import BadInput, Conflict, NotFound
from nas.evaluators.machine import cores
from nas.inputs import architecture_in, what_is
from nas.record import Event, StudyRecord
from nas.runner import Runner
from nas.search_spaces.listing import CatalogueEntry, entries
from nas.search_spaces.papers import PaperEntry, papers
from nas.search_spaces.spaces import preset, preset_names
from nas.settings import Settings
from nas.spending import Cost, total
from nas.starting import as_before, completed
from nas.store.base import Store, TrialQuery
from nas.study import Limit, Objective, StudySpec, Target
from nas.validation import parse
from nas.views import (
    Best,
    Comparison,
    CostView,
    Deleted,
    DoubtInterval,
    ExportedFile,
    ExportView,
    Front,
    FrontPoint,
    Graph,
    Health,
    KernelForm,
    LedgerView,
    ReplayView,
    RepricedView,
    SearchReport,
    SpaceVersionView,
    StudyView,
    TrialPage,
    TrialView,
    Validation,
    curve_view,
    driver_text,
)
from nas.warmstart import freeze

if TYPE_CHECKING:
    from nas.doubt import Error
    from nas.fronts import Doubt

ENDED = ("stopped", "complete", "exhausted", "failed")


class Service:
    """The verbs, done in this process on one store."""

    def __init__(self, store: Store, settings: Settings, runner: Runner | None = None) -> None:
        self.store = store
        self.settings = settings
        self.runner = runner or Runner(store, settings.home)
        self._changing = threading.Lock()
        """Held while a study is resumed or its space is changed: never both at once."""

    # Studies -------------------------------------------------------------------------------------

    def create_study(self, data: Any, *, key: str | None = None) -> StudyView:
        """Starts a study. Raises BadInput with the path of each mistake, or Conflict."""
        spec = with_driver(parse(StudySpec, data))
        known = {record.name: record for record in self.store.studies()}
        if spec.name in known:
            spec = as_before(spec, self._spec(known[spec.name]))
        else:
            spec = completed(spec, self.store)
            self._check(spec)
        record = self.store.create_study(spec.name, spec.model_dump(mode="json"), key)
        if spec.name not in known:
            freeze(self.store, spec)
            if spec.driver.chosen_because:
                note = {"text": f"proposed by {driver_text(spec.driver)}"}
                self.store.add_event(spec.name, "note", note)
            self.runner.start(spec)
        return self._view(record)

    def studies(self) -> tuple[StudyView, ...]:
        """All studies, newest first."""
        return tuple(self._view(record) for record in self.store.studies())

    def study(self, name: str) -> StudyView:
        """One study. Raises NotFound."""
        return self._view(self.store.study(name))

    def stop_study(self, name: str) -> StudyView:
        """Ends the search after what is running now. Raises Conflict if it is not running."""
        record = self.store.study(name)
        if name not in self.runner.running():
            raise Conflict(f"study {name!r} is not running; it is {self._view(record).state}")
        self.runner.stop(name)
        return self.study(name)

    def resume_study(self, name: str) -> StudyView:
        """Goes on from the store alone. Raises Conflict if there is nothing to go on with."""
        record = self.store.study(name)
        if name in self.runner.running():
            raise Conflict(f"study {name!r} is running already")
        if record.state in ("complete", "exhausted"):
            raise Conflict(
                f"study {name!r} is {record.state}: {record.reason or 'its budget is spent'}; "
                "start a new study with a larger budget"
            )
        with self._changing:
            spec = self._spec(self.store.study(name))
            self.store.set_state(name, "running")
            self.runner.start(spec)
        return self.study(name)

    def change_space(self, name: str, data: Any) -> SpaceVersionView:
        """Gives a study another space as a new version. Raises BadInput with the path of each
        mistake, and Conflict while it runs or where its budget is spent."""
        from nas.versions import change_space, versions_of, with_space

        with self._changing:
            record = self.store.study(name)
            if name in self.runner.running():
                raise Conflict(f"study {name!r} is running; stop it first")
            before = self._spec(record)
            spec = parse(StudySpec, with_space(before, data))
            self._check(spec)
            change_space(self.store, record, before, spec)
            version = record.space_version + 1
            reason = f"its space was changed to version {version}; resume goes on in it"
            self.store.set_state(name, "stopped", reason)
        return versions_of(self.store, name)[-1]

    def space_versions(self, name: str) -> tuple[SpaceVersionView, ...]:
        """All versions of a study's space, oldest first. Raises NotFound."""
        from nas.versions import versions_of

        return versions_of(self.store, name)

    def replay(self, name: str) -> ReplayView:
        """Derives every proposal again. Raises Conflict while the study runs, whose log grows."""
        from nas.replaying import replay

        record = self.store.study(name)
        if name in self.runner.running():
            raise Conflict(f"study {name!r} is running; stop it first")
        return replay(self.store, self._spec(record))

    def delete_study(self, name: str) -> Deleted:
        """Removes a study with its trials and files. Raises Conflict while it is running."""
        record = self.store.study(name)
        if name in self.runner.running():
            raise Conflict(f"study {name!r} is running; stop it first")
        self.store.delete_study(name)
        for folder in ("weights", "exports", "checkpoints"):
            shutil.rmtree(self.settings.home / folder / name, ignore_errors=True)
        return Deleted(name=name, trials=record.proposals)

    def recover(self) -> tuple[str, ...]:
        """Takes up every study that was running when the last process ended, however it ended."""
        interrupted = [r for r in self.store.studies() if r.state == "running"]
        for record in interrupted:
            self.store.add_event(record.name, "note", {"text": "resumed after an interruption"})
            self.runner.start(self._spec(record))
        return tuple(record.name for record in interrupted)

    def events(self, name: str, *, after: int = -1, follow: bool = False) -> Iterator[Event]:
        """What happened, oldest first; with `follow`, waits for more until the study ends."""
        self.store.study(name)
        while True:
            running = name in self.runner.running()
            for event in self.store.events(name, after):
                after = event.sequence
                yield event
            if not (follow and running):
                return
            self.runner.wait(name, seconds=0.2)

    # Results -------------------------------------------------------------------------------------

    def trials(self, name: str, query: TrialQuery) -> TrialPage:
        """A page of trials. Raises BadInput for a metric that the study does not have."""
        known = self._spec(self.store.study(name)).metrics
        columns = {"number", "seconds", "started", *known}
        if query.sort not in columns:
            raise BadInput.at(
                "sort", "cannot sort by this", given=query.sort, accepted=", ".join(sorted(columns))
            )
        for metric, _, _ in query.limits:
            _known_metric(metric, known, "limit")
        found, total = self.store.trials(name, query)
        return TrialPage(study=name, total=total, offset=query.offset, trials=tuple(found))

    def trial(self, name: str, number: int) -> TrialView:
        """One trial with its architecture, curves and environment. Raises NotFound."""
        self.store.study(name)
        record = self.store.trial(name, number)
        architecture = self.store.architecture(record.architecture)
        curves = self.store.curves(name, number)
        environment = record.environment
        trained = total(s for s in self.store.spendings(name) if s.number == number)
        return TrialView(
            **dict(record),
            train_tokens=trained.tokens,
            train_flops=trained.flops,
            description=one_line(architecture),
            architecture_json=architecture,
            curves={task: curve_view(points) for task, points in curves.items()},
            environment_json=self.store.environment(environment) if environment else None,
        )

    def front(
        self, name: str, *, metrics: Sequence[str] = (), limits: Sequence[Limit] = ()
    ) -> Front:
        """Trials that no other beats on every metric. Raises BadInput for an unknown metric."""
        from nas.doubt import CONTENDER, LEVEL
        from nas.fronts import doubt_of, front_of

        spec = self._spec(self.store.study(name))
        for index, metric in enumerate(metrics):
            _known_metric(metric, spec.metrics, f"metrics.{index}")
        for index, limit in enumerate(limits):
            _known_metric(limit.metric, spec.metrics, f"limits.{index}.metric")
        asked = {objective.metric: objective for objective in spec.objectives}
        objectives = tuple(
            asked.get(metric) or Objective(metric=metric, direction=spec.metrics[metric].direction)
            for metric in (metrics or asked)
        )
        considered, chosen, knee = front_of(self.store, name, objectives, limits)
        doubt = doubt_of(self.store, name, objectives, limits, seed=spec.seed)
        shares = doubt.probabilities
        near = [n for n, share in shares.items() if share > CONTENDER and n not in chosen]
        near.sort(key=lambda number: (-shares[number], number))

        def points(numbers: Sequence[int]) -> tuple[FrontPoint, ...]:
            return tuple(self._front_point(name, n, objectives, n == knee, doubt) for n in numbers)

        return Front(
            study=name,
            metrics=objectives,
            considered=considered,
            points=points(chosen),
            contenders=points(near),
            level=LEVEL,
            draws=doubt.draws,
            doubt=doubt.reason,
        )

    def proxies(self, name: str, *, metric: str | None = None) -> LedgerView:
        """How far each cheap measurement can be trusted. Raises BadInput for a metric that is not
        trained, and Conflict for too few complete trials."""
        from nas.proxies import ledger_of

        return ledger_of(self.store, self._spec(self.store.study(name)), metric)

    def compare(self, first: str, second: str, *, metrics: Sequence[str] = ()) -> Comparison:
        """Two studies at equal cost. Raises BadInput for a metric that not both have, and Conflict
        where the objectives differ or nothing is complete."""
        from nas.comparing import compare

        specs = [self._spec(self.store.study(name)) for name in (first, second)]
        return compare(self.store, specs[0], specs[1], metrics)

    def report(self, name: str) -> SearchReport:
        """Who proposed what, and whether the sampler did better than the control arms. Raises
        NotFound."""
        from nas.report import report_of

        return report_of(self.store, self._spec(self.store.study(name)))

    def export(
        self,
        name: str,
        *,
        trial: int | None = None,
        prefix: int | None = None,
        kernels: KernelForm | None = None,
        out: Path | None = None,
    ) -> ExportView:
        """Writes a trial as code; None is the knee of the front. With `kernels` those of its ops
        are a second file. Raises ExportRefused when a file does not compute what the search
        computed or breaks a limit when it is measured again, and then leaves nothing behind."""
        from nas.evaluators.pricer import ProcessPricer
        from nas.exporting import export_trial
        from nas.remeasuring import Remeasured, remeasure

        spec = self._spec(self.store.study(name))
        number = self._knee(name) if trial is None else trial
        record = self.trial(name, number)
        remeasured = Remeasured()
        if prefix is None and record.state in ("complete", "repeat"):
            make = partial(ProcessPricer, accept_noise=self.settings.accept_noise)
            remeasured = remeasure(spec, record, record.architecture_json, self.store, make)
            record = self.trial(name, number)
        tail = f"{number}" if prefix is None else f"{number}-prefix{prefix}"
        tail += "" if kernels is None else f"-{kernels}"
        folder = out or self.settings.home / "exports" / name / tail
        home = self.settings.home
        done = export_trial(spec, record, folder, home=home, prefix=prefix, kernels=kernels)
        return ExportView(
            study=name,
            trial=number,
            architecture=done.architecture,
            prefix=prefix,
            folder=str(folder),
            files=tuple(
                ExportedFile(name=file.name, bytes=file.stat().st_size, sha256=done.digest(file))
                for file in sorted(folder.iterdir())
                if file.is_file()
            ),
            certificate=done.certificate,
            remeasured=remeasured.measurements,
            remeasuring=remeasured.absent,
        )

    def reprice(self, name: str, data: Any, *, every: bool = False) -> RepricedView:
        """The study on another target. Raises BadInput for a target that this machine or the study
        does not fit, and Conflict while a study runs here, which would disturb the measuring."""
        from nas.repricing import reprice

        spec = self._spec(self.store.study(name))
        target = parse(Target, data)
        check_device(target)
        if running := self.runner.running():
            raise Conflict(f"studies run here ({', '.join(running)}), and would disturb measuring")
        noise = self.settings.accept_noise
        return reprice(spec, target, self.store, every=every, accept_noise=noise)

    # What there is to choose from ----------------------------------------------------------------

    def catalogue(self, slot: str | None = None) -> tuple[CatalogueEntry, ...]:
        """Every part. Raises NotFound for a slot that does not exist."""
        return tuple(entries(slot))

    def papers(self, *, tier: int | None = None, missing: bool = False) -> tuple[PaperEntry, ...]:
        """Every paper with the parts that carry it and what is missing."""
        return papers(tier=tier, missing=missing)

    def presets(self) -> tuple[str, ...]:
        """Names of the ready-made spaces."""
        return tuple(preset_names())

    def space(self, preset_name: str) -> dict[str, Any]:
        """A ready-made space as data. Raises NotFound."""
        return preset(preset_name)

    def validate(self, data: Any) -> Validation:
        """Checks a study, a space or an architecture. Raises BadInput with paths."""
        return what_is(data)

    def cost(self, data: Any, *, context: int, dtype_bytes: int = 4) -> CostView:
        """Price in closed form. Raises BadInput when something is left to choose."""
        from nas.graph import peak_activation_bytes

        architecture = architecture_in(data)
        cost = architecture.cost(context)
        peak = peak_activation_bytes(architecture, batch=1, tokens=context, value_bytes=dtype_bytes)
        return CostView(
            id=architecture.id,
            description=one_line(architecture),
            context=context,
            params=cost.params,
            active_params=cost.active_params,
            flops_per_token=cost.flops,
            decode_flops=cost.decode_flops,
            kv_cache_bytes_per_token=cost.cache_values_per_token * dtype_bytes,
            kv_cache_bytes=cost.cache_values * dtype_bytes,
            state_bytes=cost.state_values * dtype_bytes,
            peak_activation_bytes=peak,
            dtype_bytes=dtype_bytes,
        )

    def graph(self, data: Any, *, context: int) -> Graph:
        """The drawing of an architecture. Raises BadInput when something is left to choose."""
        from nas.drawing import draw_svg
        from nas.graph import architecture_graph, check_shapes, critical_path, peak_activation_bytes

        architecture = architecture_in(data)
        graph = architecture_graph(architecture, context=context)
        check_shapes(graph)
        return Graph(
            id=architecture.id,
            svg=draw_svg(architecture, context=context),
            operators=graph.number_of_nodes() - 1,
            critical_path_flops=critical_path(graph)[0],
            peak_activation_bytes=peak_activation_bytes(
                architecture, batch=1, tokens=context, value_bytes=4
            ),
        )

    def health(self) -> Health:
        """Whether the service is well."""
        return Health(
            status="ok",
            version=__version__,
            database=str(self.settings.database_path),
            running=self.runner.running(),
        )

    def close(self) -> None:
        """Stops what is running, so that it can be resumed, and releases the database."""
        self.runner.close()
        self.store.close()

    # Inner ---------------------------------------------------------------------------------------

    def _check(self, spec: StudySpec) -> None:
        """What only looking at the machine and at the space can tell."""
        from nas.driver.limits import check_limits_reachable
        from nas.driver.sampling import sampler_of

        check_device(spec.target)
        check_energy(spec)
        for task in spec.tasks:
            task.check()
        sampler_of(spec)
        check_limits_reachable(spec)

    def _spec(self, record: StudyRecord) -> StudySpec:
        return StudySpec.model_validate_json(json.dumps(record.spec))

    def _knee(self, name: str) -> int:
        points = self.front(name).points
        if not points:
            raise NotFound(
                f"study {name!r} has no complete trial yet, so its front has no knee to export"
            )
        return next(point.trial for point in points if point.knee)

    def _front_point(
        self,
        name: str,
        number: int,
        objectives: Sequence[Objective],
        knee: bool,
        doubt: "Doubt",
    ) -> FrontPoint:
        record = self.store.trial(name, number)
        wanted = [*(objective.metric for objective in objectives), "params"]
        values = {m.metric: m for m in record.measurements if m.metric in wanted}
        return FrontPoint(
            trial=number,
            architecture=record.architecture,
            description=one_line(self.store.architecture(record.architecture)),
            values={metric: values[metric] for metric in wanted if metric in values},
            knee=knee,
            probability=doubt.probabilities.get(number),
            intervals={
                metric: _interval(values[metric].value, error)
                for metric, error in doubt.errors.get(number, {}).items()
            },
        )

    def _view(self, record: StudyRecord) -> StudyView:
        from nas.fronts import best_of, count_states

        spec = self._spec(record)
        running = record.name in self.runner.running()
        fields = dict(record)
        if record.state == "running" and not running:
            fields |= {"state": "stopped", "reason": "interrupted; resume goes on from here"}
        best = best_of(self.store, record.name, spec.objectives)
        trained = total(self.store.spendings(record.name))
        return StudyView(
            **fields,
            objectives=spec.objectives,
            driver=spec.driver,
            budget_trials=spec.budget.trials,
            budget_minutes=spec.budget.minutes,
            budget_train_tokens=spec.budget.total_train_tokens,
            budget_train_flops=spec.budget.total_train_flops,
            train_tokens=trained.tokens,
            train_flops=trained.flops,
            share=_share(spec, record, trained),
            counts=count_states(self.store, record.name),
            best=tuple(
                Best(metric=m.metric, value=m.value, unit=m.unit, trial=number)
                for number, m in best
            ),
            seconds_left=_seconds_left(spec, record, trained) if running else 0.0,
        )


def check_device(target: Target) -> None:
    """Raises BadInput when the target's device or threads are not on this machine."""
    if target.threads > cores():
        raise BadInput.at(
            "target.threads",
            "this machine has fewer cores",
            given=target.threads,
            accepted=f"1 to {cores()}",
        )
    if target.device == "cpu":
        return
    import torch

    if not torch.cuda.is_available():
        raise BadInput.at(
            "target.device",
            "this machine has no CUDA device that torch can use",
            given=target.device,
            accepted="cpu",
        )


def check_energy(spec: StudySpec) -> None:
    """Raises BadInput where an objective or a limit is an energy that this machine cannot count."""
    named = [(f"objectives.{i}.metric", each.metric) for i, each in enumerate(spec.objectives)]
    named += [(f"limits.{i}.metric", each.metric) for i, each in enumerate(spec.limits)]
    for path, metric in named:
        if ".energy_mj" in metric:
            from nas.evaluators.latency.devices import device_of

            meter = device_of(spec.target.device).meter
            if isinstance(meter, str):
                raise BadInput.at(
                    path, meter, given=metric, accepted="a metric that this machine can measure"
                )


def _interval(value: float, error: "Error") -> DoubtInterval:
    low, high = error.interval(value)
    return DoubtInterval(low=low, high=high, source=error.source)


def _known_metric(metric: str, known: dict[str, Any], path: str) -> None:
    if metric not in known:
        raise BadInput.at(
            path,
            "this study has no such metric",
            given=metric,
            accepted=", ".join(sorted(known)),
        )


def _share(spec: StudySpec, record: StudyRecord, trained: Cost) -> float:
    """How much of the budget is spent: 0 to 1, by the bound that comes first. Operations may go a
    little beyond theirs."""
    budget = spec.budget
    pairs = (
        (record.trials, budget.trials),
        (trained.tokens, budget.total_train_tokens),
        (trained.flops, budget.total_train_flops),
    )
    shares = [spent / most for spent, most in pairs if most is not None]
    if not shares and budget.minutes is not None:
        shares = [record.seconds / 60 / budget.minutes]
    return min(1.0, max(shares))


def _seconds_left(spec: StudySpec, record: StudyRecord, trained: Cost) -> float | None:
    """From the pace so far and the clock, whichever ends first."""
    minutes = spec.budget.minutes
    by_clock = None if minutes is None else max(0.0, minutes * 60 - record.seconds)
    share = _share(spec, record, trained)
    if record.trials == 0 or share == 0.0:
        return by_clock
    by_pace = (1 / share - 1) * record.seconds
    return by_pace if by_clock is None else min(by_pace, by_clock)
