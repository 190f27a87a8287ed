"""Which sampler a study gets that leaves the choice to us (``driver: auto``)."""

from statistics import median

from nas.search_spaces.space import SearchSpace
from nas.spending import cost_of
from nas.study import DriverSpec, StudySpec

FEWEST_TO_LEARN = 8
"""Trials below which there is hardly anything to learn from: proposals are spread out instead."""
MOST_TO_MODEL = 2000
"""Trials beyond which fitting a model again and again costs more than it saves."""
MOST_OBJECTIVES = 4
"""Beyond them nearly every candidate is on the front, and expected gains tell nothing apart."""
DRAWN = 256
"""Random members that are counted to tell whether a space is small."""
SMALL = DRAWN // 4
"""Distinct members at most, if each was met four times on average: then hardly any was missed."""


USUAL_TRIALS = 200
"""That a sampler prepares for where only the clock bounds a study."""
_MEMBERS = 33
"""Of a space, from which the usual cost of a candidate is taken."""


def choose(spec: StudySpec) -> tuple[DriverSpec, str]:
    """A sampler for a study, and why it: what the study asks, how much it may spend and how large
    its space is decide. The same study always gets the same; `workers` stay as given.
    """
    library, sampler, reason = _chosen(spec)
    driver = DriverSpec(
        library=library, sampler=sampler, workers=spec.driver.workers, chosen_because=reason
    )
    return driver, reason


def with_driver(spec: StudySpec) -> StudySpec:
    """The study with its sampler named; itself if it names one."""
    if spec.driver.library != "auto":
        return spec
    return spec.model_copy(update={"driver": choose(spec)[0]})


def expected_trials(spec: StudySpec) -> int:
    """About how many trials the budget allows, for samplers that pace themselves by it: the least
    that a bound on trials, tokens or operations leaves, and `USUAL_TRIALS` where only the clock
    bounds the study. A candidate's operations are the median over some random members."""
    budget, control = spec.budget, int(spec.control)
    found = [] if budget.trials is None else [budget.trials]
    if budget.total_train_tokens is not None:
        left = budget.total_train_tokens - spec.confirm_tokens
        found.append(left // spec.candidate_tokens - control)
    if budget.total_train_flops is not None:
        members = (spec.space.example(seed) for seed in range(_MEMBERS))
        costs = (cost_of(m, spec.trainings, spec.tasks, resume=spec.resume) for m in members)
        usual = median(cost.flops for cost in costs)
        extra = spec.confirm_tokens / spec.candidate_tokens + control
        found.append(int(budget.total_train_flops / usual - extra))
    return max(1, min(found, default=USUAL_TRIALS))


def _chosen(spec: StudySpec) -> tuple[str, str, str]:
    trials, objectives = expected_trials(spec), len(spec.objectives)
    members = _members_of_small(spec.space)
    if members is not None and members <= trials:
        return (
            "uniform",
            "uniform",
            f"the space has about {members} members, and the budget of {trials} trials holds "
            "them all",
        )
    if all(spec.metrics[each.metric].stage == "static" for each in spec.objectives):
        return (
            "optuna",
            "nsga2",
            "every objective is in closed form, so candidates cost nothing and a model of them "
            "saves nothing",
        )
    if objectives > MOST_OBJECTIVES:
        return (
            "optuna",
            "nsga2",
            f"{objectives} objectives are more than the {MOST_OBJECTIVES} that a model of the "
            "front serves",
        )
    if trials < FEWEST_TO_LEARN:
        return (
            "optuna",
            "qmc",
            f"a budget of {trials} trials is too small to learn from; proposals are spread "
            "evenly instead",
        )
    if trials > MOST_TO_MODEL:
        return (
            "optuna",
            "nsga2",
            f"with a budget of {trials} trials, more than {MOST_TO_MODEL}, fitting a model for "
            "each proposal would cost more than it saves",
        )
    return (
        "nas",
        "surrogate",
        f"{trials} trials are dear and enough to learn from, so a model of "
        f"{'the objective' if objectives == 1 else f'the {objectives} objectives'} proposes",
    )


def _members_of_small(space: SearchSpace) -> int | None:
    """How many members a small space has; None if it is large."""
    distinct: set[str] = set()
    for seed in range(DRAWN):
        distinct.add(space.example(seed).id)
        if len(distinct) > SMALL:
            return None
    return len(distinct)
