"""The rungs that decide which candidates go on, and what each of them compares.

Asynchronous successive halving (ASHA, Li et al., arXiv 1810.05934) compares candidates at rungs of
growing length; with several objectives they are compared by all that is known of them there
(MO-ASHA, Schmucker et al., arXiv 2106.12639).

M objectives
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nas.evaluators.base import Direction, Metric
from nas.rungs import AnyRung, TrainRung, stage_names

_SHORTER = re.compile(r"@(\d+)tokens$")


@dataclass(frozen=True, slots=True)
class Deciding:
    """A rung that decides who goes on."""

    index: int
    """Among the deciding rungs of the study, from 0."""
    stage: str
    stages: tuple[str, ...]
    """All rungs of the study up to this one, which comes last."""
    metrics: tuple[str | None, ...]
    """[M] what speaks for each objective here; None where nothing does yet."""
    directions: tuple[Direction, ...]
    """[M] which way each of these metrics is better."""
    proxies: Mapping[str, str]
    """Objective to metric: what was measured at this very rung and is not the objective itself."""
    comparable: bool
    """Whether each objective is spoken for by itself, or by a shorter training of its own, so that
    the values can be told to a sampler."""

    def values(self, measured: Mapping[str, float]) -> tuple[float | None, ...]:
        """[M] the value of each objective's metric; None for an objective that nothing speaks for,
        and all None for a candidate that lacks a metric: it cannot be compared here."""
        if any(metric is not None and metric not in measured for metric in self.metrics):
            return (None,) * len(self.metrics)
        return tuple(None if metric is None else measured[metric] for metric in self.metrics)


def deciding_rungs(
    ladder: Sequence[AnyRung],
    known: Mapping[str, Metric],
    objectives: Mapping[str, Direction],
) -> tuple[Deciding, ...]:
    """The rungs that decide, in order. `known` are the study's metrics, `objectives` its objectives
    with their directions, all of them known.

    A training decides for each objective that it measures, itself or as a shorter training of the
    same task, unless its `decides` says otherwise; any other rung only what its `decides` says. The
    last rung leaves nothing to decide.
    """
    stages = stage_names(ladder)
    found: list[Deciding] = []
    for place, (rung, stage) in enumerate(zip(ladder, stages, strict=True)):
        if place == len(stages) - 1:
            break
        passed = ("static", *stages[: place + 1])
        spoken = {o: _speaker(o, rung, passed, known) for o in objectives}
        named = [metric for metric in spoken.values() if metric is not None]
        by_itself = rung.decides is None and isinstance(rung, TrainRung)
        if not (rung.decides or (by_itself and any(known[m].stage == stage for m in named))):
            continue
        found.append(
            Deciding(
                index=len(found),
                stage=stage,
                stages=stages[: place + 1],
                metrics=tuple(spoken.values()),
                directions=tuple(
                    direction if m is None or _is_of(m, o) else known[m].direction
                    for (o, direction), m in zip(objectives.items(), spoken.values(), strict=True)
                ),
                proxies={
                    o: m for o, m in spoken.items() if m and m != o and known[m].stage == stage
                },
                comparable=all(m is not None and _is_of(m, o) for o, m in spoken.items()),
            )
        )
    return tuple(found)


def wrong_promotion(
    ladder: Sequence[AnyRung],
    known: Mapping[str, Metric],
    objectives: Mapping[str, Direction],
    brackets: int | None,
) -> tuple[str, str] | None:
    """(path, what is wrong) with what decides who goes on, or None. `brackets` is None where the
    study takes every candidate to the end."""
    for path, wrong in _wrong_decides(ladder, known, objectives):
        return path, wrong
    if brackets is None:
        for index, rung in enumerate(ladder):
            if rung.decides is not None:
                return f"rungs.{index}.decides", "nothing is decided without `promotion: {}`"
        return None
    deciding = deciding_rungs(ladder, known, objectives)
    if not deciding:
        return "promotion", _no_rung(ladder, next(iter(objectives)))
    if brackets > len(deciding) + 1:
        names = ", ".join(each.stage for each in deciding)
        return (
            "promotion.brackets",
            f"{brackets} is more than one for each rung that decides ({names}) and one that is "
            f"never judged; accepted: 1 to {len(deciding) + 1}",
        )
    return None


def _wrong_decides(
    ladder: Sequence[AnyRung], known: Mapping[str, Metric], objectives: Mapping[str, Direction]
) -> Iterator[tuple[str, str]]:
    for index, (rung, stage) in enumerate(zip(ladder, stage_names(ladder), strict=True)):
        path = f"rungs.{index}.decides"
        if rung.decides and index == len(ladder) - 1:
            yield path, "nothing comes after the last rung that could be decided"
        for objective, metric in (rung.decides or {}).items():
            if objective not in objectives:
                there = ", ".join(objectives)
                yield path, f"{objective!r} is no objective of this study; there are: {there}"
            if metric not in known or known[metric].stage != stage:
                there = ", ".join(sorted(m for m in known if known[m].stage == stage))
                yield path, f"{metric!r} is not measured at {stage}; there are: {there}"


def _no_rung(ladder: Sequence[AnyRung], objective: str) -> str:
    longest = max(rung.tokens for rung in ladder if isinstance(rung, TrainRung))
    return (
        "no rung decides who goes on; add a training before the last rung that speaks for an "
        f"objective, {{kind: train, tokens: N}} with N below {longest}, or say at an earlier rung "
        f"what speaks for one, {{kind: scores, decides: {{{objective}: score.synflow}}}}"
    )


def _speaker(
    objective: str, rung: AnyRung, passed: Sequence[str], known: Mapping[str, Metric]
) -> str | None:
    """The metric that speaks for an objective at a rung: what the rung says, the objective itself
    where it is known by then, else the longest training of its own task so far."""
    if rung.decides and objective in rung.decides:
        return rung.decides[objective]
    if known[objective].stage in passed:
        return objective
    shorter = [
        metric
        for metric in known
        if metric != objective and _is_of(metric, objective) and known[metric].stage in passed
    ]
    return max(shorter, key=_tokens, default=None)


def _is_of(metric: str, objective: str) -> bool:
    """Whether a metric is the objective, or the same after a shorter training."""
    return metric == objective or _SHORTER.sub("", metric) == objective


def _tokens(metric: str) -> int:
    found = _SHORTER.search(metric)
    return int(found[1]) if found else 0
