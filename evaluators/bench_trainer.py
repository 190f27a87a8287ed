"""Candidates per hour: the service's warm workers against a process for each candidate.

``make bench-trainer`` trains the same random candidates both ways, in turn, on this machine:

- *plain*: one new process for each candidate, torch's own number of threads, float32, a plain
  AdamW loop (``plain.py``);
- *service*: the workers of a study (``worker.py``), one for each core, one thread each, bfloat16
  where the rule of ``precision.py`` says so, the text mapped once.

On a GPU (``--device cuda``) both train there, and the service replays captured steps. Tokens per
second and the share of the matrix-unit bound count all the time that a way took, with processes
that start and held-out scores; the bound is the fastest of several products of two large matrices
on the whole device, in the type that the way trains in.

The service trains with a second seed too, so that the difference between both ways can be read
against the one between two seeds.
"""

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.evaluators import machine
from nas.evaluators.base import EvaluationFailed
from nas.evaluators.worker import ProcessEvaluator
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.axes import RandomDraw
from nas.search_spaces.spaces import preset
from nas.spending import Cost, cost_of
from nas.study import StudySpec

METRIC = "text.loss"
FLOAT32 = "float32"
LOOKED_AT = 1000
"""Random members of a space, at most, to find those of a round."""
PLAIN, SERVICE, RESEEDED = "plain", "service", "service, another seed"


@dataclass(frozen=True)
class Run:
    """All candidates of a round, trained one way."""

    seconds: float
    losses: tuple[float, ...]
    """Held-out nats, candidate by candidate."""
    work: Mapping[str, Cost] = field(default_factory=dict)
    """Trained tokens and their floating-point operations, by the type of matrix products."""
    forms: tuple[str, ...] = ()
    """How the steps of each candidate were run, where the record says so."""


Round = dict[str, Run]


def main(given: Sequence[str] | None = None) -> None:
    """The command line."""
    asked = _parser().parse_args(given)
    spec = study(asked)
    try:
        with tempfile.TemporaryDirectory() as folder:
            rounds = [
                run_round(spec, asked.candidates, index, Path(folder), asked.parameters)
                for index in range(asked.rounds)
            ]
    except ValueError as wrong:
        sys.exit(str(wrong))
    except EvaluationFailed as failed:
        sys.exit(
            f"a candidate failed ({failed}), and both ways have to train the same ones; accepted: "
            "other --tokens, --dims or --space"
        )
    print(report(spec, rounds))
    print(throughput(rounds, peaks(spec.target.device, rounds)))


def study(asked: argparse.Namespace) -> StudySpec:
    """What a user would ask for."""
    space = preset(asked.space)
    if asked.dims:
        space = {**space, "dim": {"choice": asked.dims}}
    return StudySpec.model_validate(
        {
            "name": "bench-trainer",
            "space": space,
            "task": {"kind": "text", "corpus": asked.corpus, "context": asked.context},
            "objectives": [{"metric": METRIC}],
            "budget": {
                "trials": 1,
                "train_tokens": asked.tokens,
                "candidate_gib": asked.candidate_gib,
            },
            "driver": {"workers": asked.workers},
            "target": {"device": asked.device},
        }
    )


def run_round(
    spec: StudySpec,
    candidates: int,
    index: int,
    folder: Path,
    parameters: tuple[float, float] | None = None,
) -> Round:
    """New candidates, each way once; the order turns from round to round, so that a drift of the
    machine evens out. `parameters` bounds their size, in millions. Raises ValueError where the
    space has too few members of that size."""
    drawn = draw(spec, candidates, index, parameters)
    ways: dict[str, Callable[[], Run]] = {
        PLAIN: lambda: run_plain(drawn, spec),
        SERVICE: lambda: run_service(drawn, spec, folder),
        RESEEDED: lambda: run_service(drawn, _reseeded(spec), folder),
    }
    names = list(ways) if index % 2 == 0 else list(reversed(ways))
    return {name: ways[name]() for name in names}


def draw(
    spec: StudySpec, candidates: int, index: int, parameters: tuple[float, float] | None = None
) -> list[Architecture]:
    """Random members of the space for a round; see `run_round`."""
    found: list[Architecture] = []
    low, high = parameters or (0.0, math.inf)
    for number in range(LOOKED_AT):
        drawn = spec.space.decode(RandomDraw(random.Random(LOOKED_AT * index + number)))
        size = drawn.cost(spec.tasks[0].tokens_per_sequence).params / 1e6
        if low <= size <= high:
            found.append(drawn)
        if len(found) == candidates:
            return found
    raise ValueError(
        f"--parameters {low:g} {high:g}: {len(found)} of {LOOKED_AT} random members of the space "
        f"have so many million parameters, and {candidates} are wanted; accepted: another range, "
        "or --dims with other widths"
    )


def run_plain(drawn: Sequence[Architecture], spec: StudySpec) -> Run:
    """One process after another."""
    environment = {
        k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    }
    losses = []
    start = time.perf_counter()
    for architecture in drawn:
        request = {
            "spec": spec.model_dump(mode="json"),
            "architecture": architecture.model_dump(mode="json"),
        }
        done = subprocess.run(
            [sys.executable, "-m", "nas.evaluators.plain"],
            input=json.dumps(request),
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        losses.append(float(json.loads(done.stdout)[METRIC]))
    seconds = time.perf_counter() - start
    return Run(seconds, tuple(losses), _work(spec, drawn, [FLOAT32] * len(drawn)))


def run_service(drawn: Sequence[Architecture], spec: StudySpec, folder: Path) -> Run:
    """All at once; the workers take them as they become free. Starting the workers counts."""
    start = time.perf_counter()
    evaluator = ProcessEvaluator(spec, data_dir=folder, keep_weights=False)
    try:
        with ThreadPoolExecutor(spec.driver.workers) as pool:
            results = list(
                pool.map(lambda item: evaluator.run("train", item[1], item[0]), enumerate(drawn))
            )
    finally:
        evaluator.close()
    seconds = time.perf_counter() - start
    trained = [result.environment["training"] for result in results]
    dtypes = [each["dtype"].partition(" ")[0] for each in trained]
    forms = [form["form"] for each in trained for form in each.get("step", {}).values()]
    losses = tuple(_loss(result) for result in results)
    return Run(seconds, losses, _work(spec, drawn, dtypes), tuple(forms))


def _work(spec: StudySpec, drawn: Sequence[Architecture], dtypes: Sequence[str]) -> dict[str, Cost]:
    found: dict[str, Cost] = {}
    for architecture, dtype in zip(drawn, dtypes, strict=True):
        cost, before = cost_of(architecture, spec.trainings, spec.tasks), found.get(dtype, Cost())
        found[dtype] = Cost(before.tokens + cost.tokens, before.flops + cost.flops)
    return found


def _loss(result: Any) -> float:
    return next(float(m.value) for m in result.measurements if m.metric == METRIC)


def _reseeded(spec: StudySpec) -> StudySpec:
    return StudySpec.model_validate({**spec.model_dump(mode="json"), "seed": spec.seed + 1})


def report(spec: StudySpec, rounds: Sequence[Round]) -> str:
    """The figures in words."""
    candidates = [len(found[PLAIN].losses) for found in rounds]
    lines = [
        f"{sum(candidates)} candidates in {len(rounds)} rounds, "
        f"{spec.trainings[-1].tokens:,} tokens each, "
        f"{spec.driver.workers} workers; {machine.cpu_model()}, {os.cpu_count()} cores, "
        f"torch {machine.versions()['torch']}",
    ]
    for name in (PLAIN, SERVICE):
        rates = [
            3600 * n / found[name].seconds for n, found in zip(candidates, rounds, strict=True)
        ]
        lines.append(f"{name}: {_spread(rates, '.0f')} candidates an hour")
    ratios = [found[PLAIN].seconds / found[SERVICE].seconds for found in rounds]
    lines.append(f"service over plain: {_spread(ratios, '.2f')} times")
    for name, other in ((PLAIN, "way"), (RESEEDED, "seed")):
        off = [
            mine - theirs
            for found in rounds
            for mine, theirs in zip(found[SERVICE].losses, found[name].losses, strict=True)
        ]
        lines.append(
            f"held-out loss, one {other} minus the other: mean {statistics.mean(off):+.4f}, "
            f"standard deviation {statistics.pstdev(off):.4f} nats"
        )
    return "\n".join(lines)


def peaks(device: str, rounds: Sequence[Round]) -> dict[str, float]:
    """Operations per second of a large matrix product, for each type that was trained in."""
    import torch

    from nas.kernels.runtime.bench import matrix_flops_per_second
    from nas.kernels.runtime.timing import clock_of

    there = torch.device(device)
    dtypes = sorted({dtype for found in rounds for run in found.values() for dtype in run.work})
    clock = clock_of(there)
    return {dtype: matrix_flops_per_second(there, getattr(torch, dtype), clock) for dtype in dtypes}


def throughput(rounds: Sequence[Round], peaks: Mapping[str, float]) -> str:
    """Tokens per second, the share of the matrix-unit bound, and how steps were run, in words."""
    named = ", ".join(f"{peak / 1e12:.3g} in {dtype}" for dtype, peak in peaks.items())
    lines = [f"matrix products, in 10^12 operations a second: {named}"]
    for name in (PLAIN, SERVICE):
        runs = [found[name] for found in rounds]
        rates = [sum(cost.tokens for cost in run.work.values()) / run.seconds for run in runs]
        shares = [
            100 * sum(cost.flops / peaks[dtype] for dtype, cost in run.work.items()) / run.seconds
            for run in runs
        ]
        lines.append(f"{name}: {_spread(rates, ',.0f')} tokens a second")
        lines.append(f"{name}: {_spread(shares, '.2g')} % of the matrix-unit bound")
    forms = Counter(form for found in rounds for form in found[SERVICE].forms)
    lines += [f"steps of {count} candidates: {form}" for form, count in forms.most_common()]
    return "\n".join(lines)


def _spread(values: Sequence[float], form: str) -> str:
    listed = ", ".join(format(value, form) for value in sorted(values))
    return f"median {format(statistics.median(values), form)} ({listed})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Candidates per hour, warm workers against plain processes."
    )
    parser.add_argument("--space", default="hybrid_ratio", help="a preset")
    parser.add_argument("--dims", type=int, nargs="*", help="widths, in place of the preset's")
    parser.add_argument("--corpus", default="python-stdlib", help="as for the task text")
    parser.add_argument("--candidates", type=int, default=8, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=30_000, help="that each is trained on")
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--parameters", type=float, nargs=2, metavar=("LOW", "HIGH"), help="of a model, in millions"
    )
    parser.add_argument("--candidate-gib", type=float, default=8.0, help="memory of a worker")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    return parser


if __name__ == "__main__":
    main()
