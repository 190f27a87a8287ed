"""A recorded trial as an export: which weights belong to it, and what its header says."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.describe import one_line
from nas.errors import BadInput
from nas.export import Header, export
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.nesting import at_prefix, prefix_count, slice_weights
from nas.study import StudySpec
from nas.views import KernelForm, TrialView


@dataclass(frozen=True)
class ExportedTrial:
    """What was written."""

    architecture: str
    certificate: dict[str, Any]

    @staticmethod
    def digest(file: Path) -> str:
        """SHA-256 of a file, in hex."""
        return hashlib.sha256(file.read_bytes()).hexdigest()


def export_trial(
    spec: StudySpec,
    trial: TrialView,
    out: Path,
    *,
    home: Path,
    prefix: int | None,
    kernels: KernelForm | None = None,
) -> ExportedTrial:
    """Writes one trial; with `kernels` those of its ops are a second file. Raises BadInput for a
    trial that has nothing to export or a prefix that does not exist, ExportRefused when a file
    fails its check."""
    if trial.state not in ("complete", "repeat"):
        raise BadInput(
            f"trial {trial.number} of study {trial.study!r} is {trial.state}; "
            "only a complete trial can be exported"
        )
    architecture = trial.architecture_json
    weights = home / trial.weights if trial.weights else None
    if prefix is not None:
        _check_prefix(architecture, prefix)
        weights = _sliced(weights, architecture, prefix) if weights else None
        architecture = at_prefix(architecture, prefix)
    done = export(
        architecture,
        out,
        header=header_of(spec, trial, architecture, prefix),
        weights=weights,
        seed=spec.seed,
        threads=spec.target.threads,
        kernels=kernels is not None,
    )
    return ExportedTrial(architecture.id, done.certificate.model_dump(mode="json"))


def _check_prefix(architecture: Architecture, prefix: int) -> None:
    count = prefix_count(architecture)
    if count == 1:
        raise BadInput.at(
            "prefix",
            "this architecture has no nested part to cut a prefix from",
            given=prefix,
            accepted="no prefix",
        )
    if prefix >= count or prefix < 0:
        raise BadInput.at(
            "prefix", "there is no such prefix", given=prefix, accepted=f"0 to {count - 1}"
        )


def _sliced(weights: Path, architecture: Architecture, prefix: int) -> Path:
    from safetensors.torch import load_file, save_file

    sliced = weights.with_suffix(f".prefix{prefix}.safetensors")
    save_file(slice_weights(load_file(weights), architecture, prefix), sliced)
    return sliced


def header_of(
    spec: StudySpec, trial: TrialView, architecture: Architecture, prefix: int | None
) -> Header:
    """What is known about the exported architecture. Of a prefix that is its own scores alone: the
    other measurements are of the whole model."""
    measurements = trial.measurements
    if prefix is not None:
        suffix = f"@prefix{prefix}"
        measurements = tuple(
            found.model_copy(update={"metric": found.metric.removesuffix(suffix)})
            for found in measurements
            if found.metric.endswith(suffix)
        )
    return Header(
        study=trial.study,
        trial=trial.number,
        measurements=measurements,
        target=spec.target.model_dump(mode="json"),
        environment=trial.environment_json or {},
        description=one_line(architecture),
    )
