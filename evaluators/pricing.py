"""Times on one target: of candidates, of parts, and of whole models to fit a composition on.

Lives in a worker, where it keeps its anchor and its built models apart from everything else.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from nas.evaluators import machine
from nas.evaluators.base import StageResult
from nas.evaluators.build import initialise
from nas.evaluators.composed.measuring import Bench, middle
from nas.evaluators.composed.parts import Part
from nas.evaluators.composed.records import ModelLatency, PartLatency
from nas.evaluators.composed.settings import Mode
from nas.evaluators.latency.bench import WIDEST, LatencyBench
from nas.kernels.runtime.tuning import current_table
from nas.search_spaces.architecture import Architecture, Family
from nas.study import Target

ROUNDS = 3
"""Times that parts and models to fit on are measured, of which the middle one counts: they are kept
for long, and on a virtual machine one round differs from the next by a tenth."""


class Pricing:
    """Measures on the machine that it runs on."""

    def __init__(
        self,
        *,
        target: Mapping[str, Any],
        seed: int,
        wanted: Sequence[str] = (),
        accept_noise: bool = False,
    ) -> None:
        """`target` is a Target as JSON; `wanted` are metrics that somebody asked for; with
        `accept_noise` every time is given, however busy the machine is.

        Raises:
            Unavailable: the target's device is not there.
        """
        self.target = Target.model_validate(target)
        self.seed = seed
        self.wanted = frozenset(wanted)
        torch.set_num_threads(self.target.threads)
        self._candidates = LatencyBench(
            self.target,
            seed,
            batches=self.target.batches,
            widest=None if accept_noise else WIDEST,
        )
        self._benches: dict[tuple[bool, tuple[Mode, ...]], Bench] = {}

    def latency(self, architecture: Mapping[str, Any]) -> StageResult:
        """Times, memory and energy of a candidate, which is given as JSON. Raises EvaluationFailed
        where the machine is too busy for a number to mean anything."""
        resolved = Architecture.model_validate(architecture)
        model = initialise(resolved, self.seed)
        found = self._candidates.measure(model, resolved, self.wanted)
        return StageResult(found.measurements, environment={"latency": found.evidence})

    def parts(self, parts: Sequence[Part], modes: Sequence[Mode]) -> list[PartLatency]:
        """Times of parts of one family in some modes; none for no parts."""
        if not parts:
            return []
        bench = self._bench(parts[0].causal, modes)
        return middle(row for _ in range(ROUNDS) for row in bench.parts(parts))

    def models(
        self, architectures: Sequence[Mapping[str, Any]], modes: Sequence[Mode]
    ) -> list[ModelLatency]:
        """Times of whole models of one family, which are given as JSON."""
        resolved = [Architecture.model_validate(each) for each in architectures]
        causal = resolved[0].family == "causal_lm"
        bench = self._bench(causal, modes)
        return middle(row for _ in range(ROUNDS) for row in bench.models(resolved))

    def environment(self) -> dict[str, Any]:
        """What the machine is."""
        kernels = {"tuning": current_table().version} if self.target.impl == "triton" else {}
        target = self.target.model_dump(mode="json")
        return {**machine.environment(), **kernels, "target": target}

    def _bench(self, causal: bool, modes: Sequence[Mode]) -> Bench:
        key = (causal, tuple(modes))
        if key not in self._benches:
            family: Family = "causal_lm" if causal else "encoder"
            self._benches[key] = Bench(self.target, family, tuple(modes), self.seed)
        return self._benches[key]
