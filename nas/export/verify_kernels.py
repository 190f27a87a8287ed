"""The certificate of the second file: its kernels against the definitions of their ops.

Two processes, one after the other, run ``probe_kernels.py``: one that cannot import nas runs the
kernels, one that can judges what they computed.
"""

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.errors import ExportRefused
from nas.export.carried import PACKAGES, Carried
from nas.export.certificate import Check, KernelCall, Kernels, WholeModel
from nas.export.lint import check_source
from nas.export.verify import CEILING, ROUNDING, RULE, Answer, Subject, start, wait

SCRIPT = "probe_kernels.py"
INTERPRETED = "interpreted on the CPU, not run on a GPU"
ON_A_GPU = "run on a GPU"
SHORT = {"selective_scan": 9, "diagonal_scan": 9}
"""Tokens of the check for ops that scan, of which Triton's interpreter combines the elements one by
one: a tile of 8 steps and one more."""
BUDGET = (
    "twice the error that the op's definition makes in float32, plus sqrt(n) x 2^-23, at least "
    "4 x 2^-23, n being the longest axis of its arguments: kernels sum the same terms in another "
    "order, and roundings add up as a random walk. All errors are against the definition in "
    "float64, relative to the largest value"
)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The two files of an export and the ops that the second holds."""

    subject: Subject
    kernels: Path
    """``model_triton.py``, beside the subject's file."""
    carried: Carried
    whole: bool = False
    """Whether the whole model runs too where there is no GPU, which takes minutes for all but the
    smallest ones. On a GPU it always does."""

    most: int = 70
    """Longest sequence that the ops see: more than one chunk of each."""

    @property
    def tokens(self) -> int:
        """Length of the sequence that the ops see."""
        short = (SHORT.get(op, self.most) for op in self.carried.names)
        return min(self.subject.tokens, self.most, *short)


def verify_kernels(
    pair: Pair, *, threads: int = 1, timeout: float = 1800.0
) -> tuple[Kernels, tuple[Check, ...]]:
    """What the kernels were held to, and each check.

    `timeout` is in seconds. Raises ExportRefused where a check fails, naming it and by how much, or
    where the files do not run.
    """
    text = pair.kernels.read_text(encoding="utf-8")
    check_source(text, entry_points=pair.carried.names, packages=PACKAGES)
    ran, verdicts = _probe(pair, threads, time.monotonic() + timeout)
    kernels = Kernels(
        ran=INTERPRETED if ran["interpreted"] else ON_A_GPU,
        device=ran["device"],
        triton=ran["triton"],
        tokens=pair.tokens,
        ops=pair.carried.names,
        without=pair.carried.names_without,
        calls=tuple(_call(found) for found in verdicts["calls"]),
        rule=BUDGET,
        whole=tuple(_whole(name, found) for name, found in (ran["whole"] or {}).items()),
        whole_rule=RULE if ran["whole"] else None,
        seconds=ran["seconds"],
    )
    checks = tuple(checks_of(kernels))
    failed = [f"{check.name}: {check.detail}" for check in checks if not check.holds]
    if failed:
        name = pair.subject.architecture.id
        raise ExportRefused(
            f"export of {name} fails the check of its kernels ({kernels.ran}): {'; '.join(failed)}"
        )
    return kernels, checks


def _call(found: Mapping[str, Any]) -> KernelCall:
    return KernelCall(
        call=found["key"],
        times=found["times"],
        error=found["error"],
        budget=found["budget"],
        results=found["results"],
    )


def _whole(name: str, found: Mapping[str, float]) -> WholeModel:
    tolerance = min(found["terms"] * ROUNDING * found["condition"], CEILING * found["scale"])
    return WholeModel(name=name, error=found["error"], tolerance=tolerance, scale=found["scale"])


def checks_of(kernels: Kernels) -> Iterator[Check]:
    """One for each call, for each op that the model never calls, and for each part of the model."""
    for op in kernels.ops:
        calls = [call for call in kernels.calls if call.call.startswith(f"{op}(")]
        # An op that stands in the file and is never called would pass by being left out.
        if not calls:
            yield Check(name=f"Triton: {op}", holds=False, detail="the model does not call it")
        for call in calls:
            detail = (
                f"differs from the definition by {call.error:.3g}, budget {call.budget:.3g}, "
                f"{call.results} results and gradients, {kernels.ran}"
            )
            holds = call.error <= call.budget
            yield Check(name=f"Triton: {call.call}", holds=holds, detail=detail)
    for found in kernels.whole:
        detail = f"differ from plain torch by {found.error:.3g}, tolerance {found.tolerance:.3g}"
        yield Check(
            name=f"Triton: {found.name} of the model",
            holds=found.error <= found.tolerance,
            detail=f"{detail}, float64, {kernels.ran}",
        )


def _probe(pair: Pair, threads: int, deadline: float) -> tuple[Answer, Answer]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        request = {
            "threads": threads,
            "model": str(pair.subject.model.resolve()),
            "seed": pair.subject.seed,
            "vocab": pair.subject.architecture.vocab,
            "tokens": pair.tokens,
            "ops": pair.carried.names,
            "packages": {op.name: op.package for op in pair.carried.ops},
            "whole": pair.whole,
            "calls": str(folder / "calls.pt"),
        }
        ran = _ask("kernels", request, folder, threads, deadline)
        return ran, _ask("definitions", request, folder, threads, deadline)


def _ask(
    side: str, request: Mapping[str, Any], folder: Path, threads: int, deadline: float
) -> Answer:
    answers = folder / f"{side}.answers"
    text = {**request, "side": side, "results": str(answers)}
    process = start(side, text, folder, threads, script=SCRIPT, isolated=side == "kernels")
    try:
        wait(side, process, folder, deadline)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    found: Answer = json.loads(answers.read_text())
    return found
