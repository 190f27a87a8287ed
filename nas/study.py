"""What a user asks for: a study, typed. An unknown or impossible field is an error with a path."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, StringConstraints, field_validator, model_validator

from nas.deciding import Deciding, deciding_rungs, wrong_promotion
from nas.evaluators.base import Direction, Metric
from nas.evaluators.metrics import metrics_of
from nas.evaluators.tasks import AnyTask
from nas.evaluators.tasks.base import Task
from nas.origins import FirstCandidate, FromStudy, WarmStart, expand_first, wrong_candidate
from nas.pauses import wrong_pauses
from nas.rungs import (
    AnyRung,
    LatencyRung,
    Training,
    TrainRung,
    stage_names,
    trainings,
    wrong_rungs,
)
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.base import Count, Flag, Model
from nas.search_spaces.domains import values
from nas.search_spaces.legality import longest_input
from nas.search_spaces.space import SearchSpace
from nas.search_spaces.spaces import expand_preset
from nas.spending import tokens_of

StudyName: TypeAlias = Annotated[
    str,
    StringConstraints(strict=True, pattern=r"^[a-z0-9][a-z0-9-]{0,62}$"),
    Field(description="1 to 63 lower-case letters, digits and hyphens, the first one not a hyphen"),
]
"""Lower-case letters, digits and hyphens, 63 at most, starting with a letter or digit."""

OPTUNA_SAMPLERS = ("nsga2", "tpe", "gp", "qmc", "random")
TRAIN_TOKENS = 200_000
"""For each task, where a study does not say."""
NEVERGRAD_SAMPLERS = ("ngopt", "de", "cma", "portfolio")
NAS_SAMPLERS = ("surrogate",)


class Objective(Model):
    """One quantity to make as small or as large as possible."""

    metric: str
    direction: Direction = "minimize"


class Limit(Model):
    """A bound on any metric; beyond it a candidate is infeasible."""

    metric: str
    max: float | None = None
    min: float | None = None

    @model_validator(mode="after")
    def _bounds(self) -> "Limit":
        if self.max is None and self.min is None:
            raise ValueError("a limit needs a max, a min, or both")
        if self.max is not None and self.min is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}: nothing can meet it")
        return self

    def excess(self, value: float) -> float:
        """How far a value breaks the limit, relative to the bound; 0 where it holds."""
        over = 0.0 if self.max is None else (value - self.max) / (abs(self.max) or 1.0)
        under = 0.0 if self.min is None else (self.min - value) / (abs(self.min) or 1.0)
        return max(0.0, over, under)


class Target(Model):
    """The machine and the shapes at which a model will be used."""

    device: Literal["cpu", "cuda"] = "cpu"
    contexts: Annotated[tuple[Count, ...], Field(min_length=1, max_length=8)] = (256,)
    """Context lengths in tokens at which latency is measured."""
    batch: Count = 1
    """Sequences at once."""
    batches: Annotated[tuple[Count, ...], Field(max_length=4)] = ()
    """Further numbers of sequences at which latency is measured: ``decode.latency_ms@256x8``."""
    threads: Annotated[int, Field(strict=True, ge=1, le=1024)] = 1
    """CPU threads of each worker, for training and for latency. One serves small models best: two
    gain nothing at a width of 96, and stall when anything else wants the cores."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of weights and activations where latency is measured; also sizes cache and state."""
    impl: Literal["chunked", "triton"] = "chunked"
    """The form of the recurrent ops that candidates are trained and timed with: plain torch, which
    is also what an export contains, or Triton kernels, on a GPU only."""

    @model_validator(mode="after")
    def _triton_needs_a_gpu(self) -> "Target":
        if self.impl == "triton" and self.device != "cuda":
            raise ValueError("impl: triton needs device cuda; accepted on a CPU: chunked")
        return self

    @field_validator("contexts")
    @classmethod
    def _ascending(cls, contexts: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(contexts)))

    @property
    def longest(self) -> int:
        """The context at which a metric without a suffix is taken."""
        return self.contexts[-1]

    @property
    def value_bytes(self) -> int:
        """Bytes of one value in the target's dtype."""
        return 4 if self.dtype == "float32" else 2


class DriverSpec(Model):
    """Who proposes candidates. The word ``auto`` alone stands for ``library: auto``."""

    library: Literal["optuna", "nevergrad", "uniform", "nas", "auto"] = "optuna"
    """``uniform`` is plain random search without a library; ``nas`` is our own; ``auto`` chooses
    by objectives, budget and space when the study is created, and leaves `sampler` out."""
    sampler: str | None = None
    """None is the library's default: nsga2, or ngopt."""
    workers: Annotated[int, Field(strict=True, ge=1, le=64)] = 1
    """Candidates trained at once. With one worker and deterministic objectives, the same seed gives
    the same candidates."""
    chosen_because: str | None = None
    """Why this sampler, in a study that left the choice to ``auto``."""

    @model_validator(mode="before")
    @classmethod
    def _name_sampler(cls, given: Any) -> Any:
        known = {
            "optuna": OPTUNA_SAMPLERS,
            "nevergrad": NEVERGRAD_SAMPLERS,
            "uniform": ("uniform",),
            "nas": NAS_SAMPLERS,
        }
        if given == "auto":
            return {"library": "auto"}
        if not isinstance(given, Mapping):
            return given
        library = given.get("library", "optuna")
        if library == "auto" and given.get("sampler") is not None:
            raise ValueError(
                f"sampler: library auto chooses one itself, and {given['sampler']!r} was named; "
                "accepted: no sampler, or the library that has it"
            )
        if library in known and given.get("sampler") is None:
            return {**given, "sampler": known[library][0]}
        if library in known and given.get("sampler") not in known[library]:
            raise ValueError(
                f"sampler: {library} has no sampler {given.get('sampler')!r}; "
                f"it has: {', '.join(known[library])}"
            )
        return given


class Budget(Model):
    """What the study may spend, in all. At least one of `trials`, `total_train_tokens`,
    `total_train_flops` and `minutes` is given; the first that is spent ends the search."""

    trials: Annotated[int, Field(strict=True, ge=1, le=100_000)] | None = None
    """Candidates evaluated; repeats and rejected proposals are free."""
    total_train_tokens: Annotated[int, Field(strict=True, ge=1)] | None = None
    """Tokens trained on in the whole study, by every candidate, the control and further seeds;
    never exceeded. What `confirm` needs is kept back."""
    total_train_flops: Annotated[float, Field(gt=0)] | None = None
    """The same in floating-point operations (`nas.spending`); exceeded by less than the last
    candidate takes."""
    train_tokens: Annotated[int, Field(strict=True, ge=1)] | None = None
    """Tokens that each candidate is trained on, for each task: 200,000 where neither this nor
    `StudySpec.rungs` says otherwise."""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """Wall clock for the whole study; no new candidate is started after it."""
    candidate_seconds: Annotated[float, Field(gt=0)] = 600.0
    """Deadline of each stage of one candidate; one that is slower is a recorded failure."""
    candidate_gib: Annotated[float, Field(gt=0)] = 8.0
    """Memory that the worker of one candidate may use."""

    @model_validator(mode="after")
    def _is_bounded(self) -> "Budget":
        bounds = (self.trials, self.total_train_tokens, self.total_train_flops, self.minutes)
        if all(bound is None for bound in bounds):
            raise ValueError(
                "nothing bounds the study; give at least one of trials, total_train_tokens, "
                "total_train_flops and minutes"
            )
        return self


class Calibration(Model):
    """Candidates that show how far cheap measurements can be trusted."""

    trials: Annotated[int, Field(strict=True, ge=3, le=1000)] = 12
    """The first ones of the study: spread over the space by size instead of proposed by the
    sampler, and taken to the last rung. They count against the budget."""


class Confirm(Model):
    """Trainings that are repeated when the search has ended."""

    seeds: Annotated[int, Field(strict=True, ge=1, le=20)] = 2
    """Further seeds for each candidate on the front or so near to it that chance could decide."""
    candidates: Count = 12
    """Candidates that are repeated, at most."""


class Promotion(Model):
    """Who goes on from a rung, by asynchronous successive halving: whoever is among the best share
    of all that have reached it. The others are stopped there, and may be taken up later."""

    keep: Annotated[float, Field(gt=0, lt=1)] = 1 / 3
    """Share that goes on from each deciding rung."""
    brackets: Annotated[int, Field(strict=True, ge=1, le=16)] = 1
    """1 is successive halving: every candidate is judged from the first deciding rung on. With
    more, as in Hyperband, some candidates are not judged before the second, the third and so on;
    one more than there are deciding rungs takes some to the end without being judged."""


class StudySpec(Model):
    """A whole study."""

    name: StudyName
    space: SearchSpace
    task: AnyTask | Annotated[tuple[AnyTask, ...], Field(min_length=1)]
    """What candidates are trained on; a list trains on each in turn."""
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1, max_length=7)]
    limits: tuple[Limit, ...] = ()
    target: Target = Target()
    driver: DriverSpec = DriverSpec()
    budget: Budget
    rungs: tuple[AnyRung, ...] = ()
    """What each candidate goes through, from cheap to dear; none is latency, then one training of
    `Budget.train_tokens`. Limits in closed form always come first."""
    resume: Flag = False
    """Whether the training rungs of a task are pauses of its longest training, which resumes from a
    checkpoint, instead of trainings of their own."""
    promotion: Promotion | None = None
    """Stops candidates at rungs; None takes each through all of them."""
    calibration: Calibration | None = None
    confirm: Confirm | None = None
    control: Flag = True
    """Whether a model that mixes no tokens (`identity` in every layer) is trained once, to show
    what the task asks for beyond that. It is no trial and costs no budget but time."""
    control_arm: Annotated[float, Field(ge=0, le=0.5)] | None = None
    """Share of the trials that no sampler chooses: half of them uniform, half by size alone. None
    is 0.1 for a new study of 20 trials or more, and 0 for a smaller one or an older record."""
    first: tuple[FirstCandidate, ...] = ()
    """Candidates to try before any other: architectures, published models (``{preset: NAME}``),
    trials or the front of another study. They need not be members of the space."""
    warm_start: Annotated[tuple[WarmStart, ...], Field(max_length=16)] = ()
    """Studies whose trials are known from the start."""
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**31)] = 0

    @field_validator("first", mode="before")
    @classmethod
    def _expand_first(cls, first: Any) -> Any:
        return expand_first(first)

    @field_validator("space", mode="before")
    @classmethod
    def _expand(cls, space: Any) -> Any:
        return expand_preset(space)

    @model_validator(mode="after")
    def _consistent(self) -> "StudySpec":
        self._check_tasks()
        self._check_rungs()
        self._check_metrics()
        self._check_promotion()
        self._check_lengths()
        self._check_total_tokens()
        self._check_origins()
        return self

    def _check_tasks(self) -> None:
        kinds = [task.kind for task in self.tasks]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"task: a kind is named twice ({', '.join(kinds)})")
        for task in self.tasks:
            if task.vocab > self.space.vocab:
                raise ValueError(
                    f"space.vocab: task {task.kind} uses {task.vocab} tokens and the space has "
                    f"{self.space.vocab}; set space.vocab to {task.vocab} or more"
                )
            if wrong := mismatch(task, self.space):
                raise ValueError(wrong)

    def _check_rungs(self) -> None:
        if self.rungs and self.budget.train_tokens is not None:
            raise ValueError(
                f"budget.train_tokens: {self.budget.train_tokens} was given, and rungs, which say "
                "themselves how long to train; leave one of them out"
            )
        if wrong := wrong_rungs(self.ladder, [task.kind for task in self.tasks]):
            raise ValueError(": ".join(wrong))
        contexts = {task.kind: task.tokens_per_sequence for task in self.tasks}
        if self.resume and (said := wrong_pauses(self.trainings, contexts)):
            raise ValueError(said)
        self._check_composed()
        trials = self.budget.trials
        if self.calibration and trials is not None and self.calibration.trials > trials:
            raise ValueError(
                f"calibration.trials: {self.calibration.trials} of a budget of "
                f"{trials} trials; accepted: {trials} at most"
            )

    def _check_composed(self) -> None:
        named = {o.metric for o in self.objectives} | {limit.metric for limit in self.limits}
        known = self.metrics
        measured = sorted(m for m in named if m in known and known[m].stage == "latency")
        whole = [metric for metric in measured if not is_composable(metric)]
        if self.composes_latency and (whole or not measured):
            index = next(i for i, rung in enumerate(self.ladder) if rung.kind == "latency")
            said = f"{whole[0]} cannot be composed" if whole else "no objective or limit is a time"
            raise ValueError(
                f"rungs.{index}.how: {said}; composed are times (.latency_ms) at the target's own "
                "batch; accepted: measured"
            )

    def _check_metrics(self) -> None:
        known = self.metrics
        named = [(f"objectives.{i}", item.metric) for i, item in enumerate(self.objectives)]
        named += [(f"limits.{i}", item.metric) for i, item in enumerate(self.limits)]
        for path, metric in named:
            if metric not in known:
                raise ValueError(
                    f"{path}.metric: there is no metric {metric!r} in this study; "
                    f"there are: {', '.join(sorted(known))}"
                )
        names = [objective.metric for objective in self.objectives]
        if len(set(names)) < len(names):
            raise ValueError(f"objectives: a metric is named twice ({', '.join(names)})")

    def _check_promotion(self) -> None:
        brackets = self.promotion.brackets if self.promotion else None
        directions = {objective.metric: objective.direction for objective in self.objectives}
        if wrong := wrong_promotion(self.ladder, self.metrics, directions, brackets):
            raise ValueError(": ".join(wrong))

    def _check_lengths(self) -> None:
        bound = longest_input(self.space)
        longest = max(self.target.longest, *(task.tokens_per_sequence for task in self.tasks))
        if bound is not None and longest > bound[0]:
            raise ValueError(
                f"space.{bound[1]}.max_tokens: {bound[0]} places cannot hold the {longest} tokens "
                f"of this study's task and target; accepted: at least {longest}"
            )

    def _check_total_tokens(self) -> None:
        given, one = self.budget.total_train_tokens, self.candidate_tokens
        least = one * (1 + self.control) + self.confirm_tokens
        if given is not None and given < least:
            parts = [f"one candidate trains on {one:,}"]
            parts += [f"the control on {one:,}"] if self.control else []
            parts += [f"confirm on {self.confirm_tokens:,}"] if self.confirm else []
            raise ValueError(
                f"budget.total_train_tokens: {given:,} tokens are too few: {', '.join(parts)}; "
                f"accepted: {least} or more"
            )

    @property
    def candidate_tokens(self) -> int:
        """Tokens that a candidate which goes all the way is trained on."""
        return tokens_of(self.trainings, self.tasks, resume=self.resume)

    @property
    def confirm_tokens(self) -> int:
        """Tokens that all further seeds which `confirm` asks for are trained on."""
        if self.confirm is None:
            return 0
        seeds = self.confirm.seeds * self.confirm.candidates
        return seeds * tokens_of(self.trainings, self.tasks, self.repeated_stages)

    @property
    def repeated_stages(self) -> tuple[str, ...]:
        """The trainings that a further seed goes through: those that measure an objective."""
        known = self.metrics
        measured = {known[objective.metric].stage for objective in self.objectives}
        return tuple(each.stage for each in self.trainings if each.stage in measured)

    def _check_origins(self) -> None:
        longest = max(self.target.longest, *(task.tokens_per_sequence for task in self.tasks))
        for index, given in enumerate(self.first):
            for each in given.found if isinstance(given, FromStudy) else (given,):
                if wrong := wrong_candidate(each, self.tasks, self.space.family, longest):
                    raise ValueError(f"first.{index}: it has {wrong}")
        trials = self.budget.trials
        if trials is not None and len(self.first_candidates) > trials:
            raise ValueError(
                f"first: {len(self.first_candidates)} candidates and a budget of "
                f"{trials} trials; accepted: {trials} at most"
            )
        sources = [each.study for each in self.warm_start]
        if self.name in sources or len(set(sources)) < len(sources):
            raise ValueError(
                f"warm_start: {', '.join(sources)}; accepted: other studies, each of them once"
            )

    @property
    def first_candidates(self) -> tuple[Architecture, ...]:
        """Those of `first` that are at hand: all of them, once the study is created."""
        return tuple(
            each
            for given in self.first
            for each in (given.found if isinstance(given, FromStudy) else (given,))
        )

    @property
    def tasks(self) -> tuple[AnyTask, ...]:
        """The task or tasks as a tuple."""
        return self.task if isinstance(self.task, tuple) else (self.task,)

    @property
    def metrics(self) -> dict[str, Metric]:
        """Everything that this study can measure, by name."""
        return metrics_of(self.ladder, self.tasks, self.target, self.space.family)

    @property
    def ladder(self) -> tuple[AnyRung, ...]:
        """The rungs, the usual ones where none are named."""
        tokens = self.budget.train_tokens or TRAIN_TOKENS
        return self.rungs or (LatencyRung(), TrainRung(tokens=tokens))

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the rungs, in order."""
        return stage_names(self.ladder)

    @property
    def deciding(self) -> tuple[Deciding, ...]:
        """The rungs that decide who goes on; none where every candidate goes through all."""
        if self.promotion is None:
            return ()
        directions = {objective.metric: objective.direction for objective in self.objectives}
        return deciding_rungs(self.ladder, self.metrics, directions)

    @property
    def composes_latency(self) -> bool:
        """Whether latencies are composed of measured parts where that will do."""
        return any(isinstance(r, LatencyRung) and r.how == "composed" for r in self.ladder)

    @property
    def trainings(self) -> tuple[Training, ...]:
        """The rungs that train, in order."""
        return trainings(self.ladder, tuple(task.kind for task in self.tasks))


def is_composable(metric: str) -> bool:
    """Whether a measured metric is a sum over parts: a time, and at the target's own batch."""
    name, _, at = metric.partition("@")
    return name.endswith(".latency_ms") and "x" not in at


def mismatch(task: Task, space: SearchSpace) -> str | None:
    """Says which head of a space cannot be trained on a task; None if all can."""
    heads = getattr(space.head, "choice", (space.head,))
    for head in heads:
        if head.kind not in task.heads:
            trained = " or ".join(task.heads)
            return (
                f"task: {task.kind} trains a {trained} head and the space (family "
                f"{space.family}) has {head.kind}; accepted: space.head {trained}"
            )
        least = min(values(getattr(head, "classes", None)), default=None, key=lambda n: n or 0)
        if task.classes is not None and least is not None and least < task.classes:
            return (
                f"space.head.classes: task {task.kind} has {task.classes} classes and the head "
                f"{least}; accepted: {task.classes} or more"
            )
    return None
