"""The certificate of an export: the file, alone in a clean interpreter, against the search's model.

Two processes run the same script (``probe.py``) at the same time, one for each side, and answer all
subjects, so that many files cost hardly more than one. What they compute is compared by digest.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

import nas
from nas.errors import ExportRefused
from nas.export.certificate import Certificate, Check, Decoding
from nas.export.lint import check_source
from nas.export.write import longest_context
from nas.search_spaces.architecture import Architecture

TOKENS = 80
"""Length of the compared sequences: more than two chunks of every op, and not a multiple of one."""
GROUPS = ("initial weights", "logits", "gradients", "trained logits")
ROUNDING = 2.0**-53
CEILING = 1e-6
RULE = (
    "terms x 2^-53 x condition, at most 1e-6 x scale: decoding and the parallel forward add up the "
    "same numbers in different orders, and the rounding of the longest sum (its number of terms "
    "times the unit roundoff of float64) is magnified by the condition of the model"
)

Side: TypeAlias = Literal["exported", "reference"]
Answer: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One exported file and what it has to equal."""

    architecture: Architecture
    model: Path
    """The file to check."""
    seed: int
    weights: Path | None = None

    @property
    def tokens(self) -> int:
        """Length of the compared sequences."""
        return min(TOKENS, longest_context(self.architecture) or TOKENS)


def verify(
    subjects: Sequence[Subject], *, threads: int = 1, timeout: float = 600.0
) -> list[Certificate | ExportRefused]:
    """A certificate for each subject, or the refusal that says which check failed and by how much.

    `timeout` is in seconds, for all subjects together; running out of it refuses them all.
    """
    try:
        exported, reference = _probe(subjects, threads, timeout)
    except ExportRefused as refusal:
        return [refusal for _ in subjects]
    return [
        _judge(subject, ours, theirs, threads, timeout)
        for subject, ours, theirs in zip(subjects, exported, reference, strict=True)
    ]


def _judge(
    subject: Subject, ours: Answer, theirs: Answer, threads: int, timeout: float
) -> Certificate | ExportRefused:
    try:
        check_source(subject.model.read_text(encoding="utf-8"))
        for side, answer in (("the search's own model", theirs), ("the file", ours)):
            if "error" in answer:
                raise ExportRefused(f"export: {side} failed to run: {answer['error']}")
        certificate = _certificate(subject, ours, theirs, threads)
    except ExportRefused as refusal:
        return refusal
    failed = [check for check in certificate.checks if not check.holds]
    if not failed:
        return certificate
    said = "; ".join(f"{check.name}: {check.detail}" for check in failed)
    amounts = _amounts(subject, {check.name for check in failed}, threads, timeout)
    return ExportRefused(
        f"export of {subject.architecture.id} fails its own check: {said}{amounts}"
    )


def _certificate(subject: Subject, ours: Answer, theirs: Answer, threads: int) -> Certificate:
    decoding = _decoding(ours["decoding"])
    return Certificate(
        architecture=subject.architecture.id,
        date=datetime.now(UTC),
        seed=subject.seed,
        threads=threads,
        torch=ours["torch"],
        python=platform.python_version(),
        platform=platform.platform(),
        batch=ours["batch"],
        tokens=subject.tokens,
        files=_files(subject.model.parent),
        parameters=ours["parameters"],
        checks=tuple(_checks(subject, ours, theirs, decoding)),
        digests={group: _combined(items) for group, items in ours["digests"].items()},
        decoding=decoding,
        printed=ours["printed"],
        seconds={"exported": ours["seconds"], "reference": theirs["seconds"]},
    )


def _checks(subject: Subject, ours: Answer, theirs: Answer, decoding: Decoding) -> Iterator[Check]:
    counts = (ours["parameters"], theirs["parameters"], subject.architecture.cost(1).params)
    detail = "{:,} in the file, {:,} in the search, {:,} in closed form".format(*counts)
    yield Check(name="parameters", holds=len(set(counts)) == 1, detail=detail)
    same = ours["keys"] == theirs["keys"]
    detail = f"{len(ours['keys'])} names, in order" if same else _first_difference(ours, theirs)
    yield Check(name="state-dict keys", holds=same, detail=detail)
    for group in GROUPS:
        if group in theirs["digests"]:
            yield _bitwise(group, ours["digests"][group], theirs["digests"][group])
    yield Check(
        name="decoding",
        holds=decoding.error <= decoding.tolerance,
        detail=f"differs from the parallel forward by {decoding.error:.3g}, "
        f"tolerance {decoding.tolerance:.3g}, float64",
    )
    yield Check(name="python model.py", holds=bool(ours["printed"]), detail="runs")


def _bitwise(group: str, ours: Mapping[str, str], theirs: Mapping[str, str]) -> Check:
    names = list(dict.fromkeys([*theirs, *ours]))
    differing = [name for name in names if ours.get(name) != theirs.get(name)]
    detail = "equal, bit for bit" + ("" if len(names) == 1 else f": {len(names)} tensors")
    if differing:
        detail = f"{len(differing)} of {len(names)} tensors differ, first {differing[0]}"
    return Check(name=group, holds=not differing, detail=detail)


def _first_difference(ours: Answer, theirs: Answer) -> str:
    for position, pair in enumerate(zip(ours["keys"], theirs["keys"], strict=False)):
        if pair[0] != pair[1]:
            return f"number {position} is {pair[0]} in the file and {pair[1]} in the search"
    return f"{len(ours['keys'])} names in the file, {len(theirs['keys'])} in the search"


def _decoding(found: Mapping[str, float]) -> Decoding:
    tolerance = min(found["terms"] * ROUNDING * found["condition"], CEILING * found["scale"])
    return Decoding(
        error=found["error"],
        tolerance=tolerance,
        scale=found["scale"],
        condition=found["condition"],
        rule=RULE,
    )


def _combined(digests: Mapping[str, str]) -> str:
    text = "\n".join(f"{name} {digest}" for name, digest in digests.items())
    return hashlib.sha256(text.encode()).hexdigest()


def _files(folder: Path) -> dict[str, str]:
    names = ("architecture.json", "model.py", "weights.safetensors")
    found = (folder / name for name in names)
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in found if p.exists()}


def _amounts(subject: Subject, failed: set[str], threads: int, timeout: float) -> str:
    """By how much tensors differ, which takes a second run that keeps them."""
    groups = [group for group in GROUPS if group in failed]
    if not groups:
        return ""
    import torch

    with tempfile.TemporaryDirectory() as folder:
        dumps = {side: Path(folder, f"{side}.pt") for side in ("exported", "reference")}
        _probe([subject], threads, timeout, dumps)
        ours, theirs = (torch.load(path, weights_only=True) for path in dumps.values())
    said = []
    for group in groups:
        common = ours[group].keys() & theirs[group].keys()
        pairs = [(ours[group][name], theirs[group][name]) for name in common]
        amounts = [
            (a.double() - b.double()).abs().max().item() for a, b in pairs if a.shape == b.shape
        ]
        if amounts:
            said.append(f"largest difference in {group} {max(amounts):.3g}")
    return "".join(f"; {text}" for text in said)


def _probe(
    subjects: Sequence[Subject],
    threads: int,
    timeout: float,
    dumps: Mapping[str, Path] | None = None,
) -> tuple[list[Answer], list[Answer]]:
    """Run both sides at once; answers in the order of the subjects."""
    deadline = time.monotonic() + timeout
    with tempfile.TemporaryDirectory() as folder:
        sides: tuple[Side, Side] = ("exported", "reference")
        processes = {}
        try:
            for side in sides:
                jobs = [_job(subject, dumps[side] if dumps else None) for subject in subjects]
                processes[side] = _start(side, jobs, Path(folder), threads)
            for side, process in processes.items():
                _wait(side, process, Path(folder), deadline)
        finally:
            for process in processes.values():
                if process.poll() is None:
                    process.kill()
                    process.wait()
        ours, theirs = (json.loads(Path(folder, f"{side}.answers").read_text()) for side in sides)
    return ours, theirs


def _job(subject: Subject, dump: Path | None) -> dict[str, Any]:
    return {
        "model": str(subject.model.resolve()),
        "architecture": subject.architecture.model_dump(mode="json"),
        "weights": None if subject.weights is None else str(subject.weights.resolve()),
        "seed": subject.seed,
        "vocab": subject.architecture.vocab,
        "tokens": subject.tokens,
        "dump": None if dump is None else str(dump),
    }


def _start(
    side: Side, jobs: list[dict[str, Any]], folder: Path, threads: int
) -> "subprocess.Popen[bytes]":
    request = folder / f"{side}.request"
    answers = str(folder / f"{side}.answers")
    text = {"side": side, "threads": threads, "jobs": jobs, "results": answers}
    request.write_text(json.dumps(text))
    flags = ["-I", "-B"] if side == "exported" else ["-P", "-B"]
    package = Path(nas.__path__[0]).resolve()
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "PYTHONPATH": str(package.parent),  # -I ignores it
    }
    with (folder / f"{side}.errors").open("wb") as errors:
        return subprocess.Popen(
            [sys.executable, *flags, str(package / "export" / "probe.py"), str(request)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
        )


def _wait(side: Side, process: "subprocess.Popen[bytes]", folder: Path, deadline: float) -> None:
    try:
        code = process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise ExportRefused(f"export: the {side} side of the check ran out of time") from None
    if code:
        said = (folder / f"{side}.errors").read_text(errors="replace").strip().splitlines()
        raise ExportRefused(
            f"export: the {side} side of the check ended with code {code}: "
            f"{said[-1] if said else 'no message'}"
        )
