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

TOKENS = 70
"""Length of the compared sequences: more than two chunks of every op; neither it nor its half is a
multiple of one."""
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
SIDES: tuple[Side, Side] = ("exported", "reference")


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
    verdicts = [
        _judge(subject, ours, theirs, threads)
        for subject, ours, theirs in zip(subjects, exported, reference, strict=True)
    ]
    failing = [i for i, verdict in enumerate(verdicts) if _failed(verdict)]
    amounts = _amounts([subjects[i] for i in failing], threads, timeout)
    for index, amount in zip(failing, amounts, strict=True):
        said = [f"{check.name}: {check.detail}" for check in _failed(verdicts[index])]
        name = subjects[index].architecture.id
        message = f"export of {name} fails its own check: {'; '.join((*said, *amount))}"
        verdicts[index] = ExportRefused(message)
    return verdicts


def _judge(
    subject: Subject, ours: Answer, theirs: Answer, threads: int
) -> Certificate | ExportRefused:
    """A certificate, of which a check may fail; or a refusal where there is nothing to certify."""
    try:
        check_source(subject.model.read_text(encoding="utf-8"))
    except ExportRefused as refusal:
        return refusal
    for side, answer in (("the search's own model", theirs), ("the file", ours)):
        if "error" in answer:
            return ExportRefused(f"export: {side} failed to run: {answer['error']}")
    return _certificate(subject, ours, theirs, threads)


def _failed(verdict: Certificate | ExportRefused) -> tuple[Check, ...]:
    if isinstance(verdict, ExportRefused):
        return ()
    return tuple(check for check in verdict.checks if not check.holds)


def _certificate(subject: Subject, ours: Answer, theirs: Answer, threads: int) -> Certificate:
    decoding = None if ours["decoding"] is None else _decoding(ours["decoding"])
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


def _checks(
    subject: Subject, ours: Answer, theirs: Answer, decoding: Decoding | None
) -> Iterator[Check]:
    counts = (ours["parameters"], theirs["parameters"], subject.architecture.cost(1).params)
    detail = "{:,} in the file, {:,} in the search, {:,} in closed form".format(*counts)
    yield Check(name="parameters", holds=len(set(counts)) == 1, detail=detail)
    same = ours["keys"] == theirs["keys"]
    detail = f"{len(ours['keys'])} names, in order" if same else _first_difference(ours, theirs)
    yield Check(name="state-dict keys", holds=same, detail=detail)
    for group in GROUPS:
        if group in theirs["digests"]:
            yield _bitwise(group, ours["digests"][group], theirs["digests"][group])
    if decoding is not None:
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
    names = ("architecture.json", "model.py", "model_triton.py", "weights.safetensors")
    found = (folder / name for name in names)
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in found if p.exists()}


def _amounts(subjects: Sequence[Subject], threads: int, timeout: float) -> list[list[str]]:
    """By how much tensors differ, which takes a second run that keeps them."""
    if not subjects:
        return []
    import torch

    found = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            _probe(subjects, threads, timeout, Path(folder))
        except ExportRefused:
            return [[] for _ in subjects]  # the checks that failed are known without it
        for index in range(len(subjects)):
            ours, theirs = (torch.load(_dump(Path(folder), side, index)) for side in SIDES)
            found.append([text for group in theirs for text in _amount(group, ours, theirs)])
    return found


def _amount(group: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    pairs = [(ours[group].get(name), value) for name, value in theirs[group].items()]
    amounts = [
        (our.double() - their.double()).abs().max().item()
        for our, their in pairs
        if our is not None and our.shape == their.shape
    ]
    largest = max(amounts, default=0.0)
    if largest != 0:
        yield f"largest difference in {group} {largest:.3g}"


def _dump(folder: Path, side: Side, index: int) -> Path:
    return folder / f"{side}.{index}.pt"


def _probe(
    subjects: Sequence[Subject],
    threads: int,
    timeout: float,
    dumps: Path | None = None,
) -> tuple[list[Answer], list[Answer]]:
    """Run both sides at once; answers in the order of the subjects. `dumps` is a folder in which
    each side leaves its tensors."""
    deadline = time.monotonic() + timeout
    with tempfile.TemporaryDirectory() as folder:
        processes = {}
        try:
            for side in SIDES:
                jobs = [
                    _job(subject, None if dumps is None else _dump(dumps, side, index))
                    for index, subject in enumerate(subjects)
                ]
                processes[side] = _start(side, jobs, Path(folder), threads)
            for side, process in processes.items():
                wait(side, process, Path(folder), deadline)
        finally:
            for process in processes.values():
                if process.poll() is None:
                    process.kill()
                    process.wait()
        ours, theirs = (json.loads(Path(folder, f"{side}.answers").read_text()) for side in SIDES)
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
    answers = str(folder / f"{side}.answers")
    text = {"side": side, "threads": threads, "jobs": jobs, "results": answers}
    return start(side, text, folder, threads, script="probe.py", isolated=side == "exported")


def start(
    side: str,
    asked: Mapping[str, Any],
    folder: Path,
    threads: int,
    *,
    script: str,
    isolated: bool,
) -> "subprocess.Popen[bytes]":
    """A process that runs a script of this package on a request; an isolated one cannot import nas.

    What it says goes to ``<side>.errors`` in `folder`. Triton's interpreter is off unless the
    script turns it on.
    """
    request = folder / f"{side}.request"
    request.write_text(json.dumps(asked))
    flags = ["-I", "-B"] if isolated else ["-P", "-B"]
    package = Path(nas.__path__[0]).resolve()
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "PYTHONPATH": str(package.parent),  # -I ignores it
    }
    environment.pop("TRITON_INTERPRET", None)
    with (folder / f"{side}.errors").open("wb") as errors:
        return subprocess.Popen(
            [sys.executable, *flags, str(package / "export" / script), str(request)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
        )


def wait(side: str, process: "subprocess.Popen[bytes]", folder: Path, deadline: float) -> None:
    """Until the process has ended well; `deadline` is on the monotonic clock. Raises ExportRefused
    where it has not."""
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
