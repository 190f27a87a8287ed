"""The folder of an export: written beside its place, checked, and moved in only if the check holds.

model.py, architecture.json, certificate.json, weights.safetensors where weights were kept, and
model_triton.py where it carries kernels.
"""

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nas.errors import Conflict, ExportRefused, NotFound
from nas.export.carried import carried_by
from nas.export.certificate import FORMAT, Certificate
from nas.export.header import Header
from nas.export.verify import Subject, verify
from nas.export.verify_kernels import Pair, verify_kernels
from nas.export.write import write_kernels, write_model
from nas.search_spaces.architecture import Architecture

KERNELS = "model_triton.py"
MODEL, ARCHITECTURE = "model.py", "architecture.json"
WEIGHTS, CERTIFICATE = "weights.safetensors", "certificate.json"
_LEFT_BY_PYTHON = "__pycache__"


@dataclass(frozen=True)
class Exported:
    """A finished export."""

    folder: Path
    certificate: Certificate

    @property
    def model(self) -> Path:
        """The file."""
        return self.folder / MODEL


def export(
    architecture: Architecture,
    out: Path,
    *,
    header: Header,
    weights: Path | None = None,
    seed: int = 0,
    threads: int = 1,
    kernels: bool = False,
) -> Exported:
    """Write an architecture as code into the folder `out`, and prove it.

    `seed` is the one that the search drew the initial weights from; `weights` a safetensors file of
    trained ones. With `kernels` a second file holds the Triton kernels of its ops. An earlier
    export in `out` is replaced.

    Raises ExportRefused where the code cannot be written, a check fails or no op has kernels;
    Conflict where `out` holds something else; NotFound where `weights` is no file. In each case
    `out` is left as it was.
    """
    if weights is not None and not weights.is_file():
        raise NotFound(f"export: there is no file of weights at {weights}")
    carried = carried_by(architecture) if kernels else None
    with replacing(out) as stage:
        text = write_model(
            architecture, header, seed=seed, weights=weights is not None, carried=carried
        )
        (stage / MODEL).write_text(text, encoding="utf-8")
        described = json.dumps(architecture.model_dump(mode="json"), indent=2)
        (stage / ARCHITECTURE).write_text(described + "\n", encoding="utf-8")
        kept = None
        if weights is not None:
            kept = stage / WEIGHTS
            shutil.copyfile(weights, kept)
        if carried is not None:
            (stage / KERNELS).write_text(
                write_kernels(architecture, header, carried), encoding="utf-8"
            )
        subject = Subject(architecture=architecture, model=stage / MODEL, seed=seed, weights=kept)
        (verdict,) = verify([subject], threads=threads)
        if isinstance(verdict, ExportRefused):
            raise verdict
        if carried is not None:
            pair = Pair(subject=subject, kernels=stage / KERNELS, carried=carried)
            found, checks = verify_kernels(pair, threads=threads)
            update = {"kernels": found, "checks": (*verdict.checks, *checks)}
            verdict = verdict.model_copy(update=update)
        (stage / CERTIFICATE).write_text(verdict.model_dump_json(indent=2) + "\n")
    return Exported(out, verdict)


def is_export(folder: Path) -> bool:
    """Whether a folder is an export of ours and holds nothing else."""
    allowed = {MODEL, KERNELS, ARCHITECTURE, WEIGHTS, CERTIFICATE, _LEFT_BY_PYTHON}
    if {item.name for item in folder.iterdir()} - allowed:
        return False
    try:
        certificate = json.loads((folder / CERTIFICATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(certificate, dict) and certificate.get("format") == FORMAT


def _check_free(out: Path) -> None:
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir():
        raise Conflict(f"export: {out} is a file; name a folder that does not exist yet")
    if any(out.iterdir()) and not is_export(out):
        raise Conflict(
            f"export: {out} holds files that are not an earlier export, which would be lost; "
            "name an empty folder or one that does not exist yet"
        )


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place at the end; after an error `out` is as it was.

    Raises Conflict where `out` holds anything but an earlier export, ExportRefused where it cannot
    be written.
    """
    _check_free(out)
    out = out.absolute()
    missing = [folder for folder in out.parents if not folder.exists()]
    stage = out.parent / f".{out.name}.{uuid.uuid4().hex[:8]}"
    try:
        stage.mkdir(parents=True)
    except OSError as error:
        _remove_empty(missing)
        raise ExportRefused(f"export: cannot write to {out.parent}: {error.strerror}") from None
    try:
        yield stage
        _replace(out, stage)
    except OSError as error:
        raise ExportRefused(f"export: cannot write {out}: {error}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        _remove_empty(missing)


def _remove_empty(folders: list[Path]) -> None:
    """Parents that were made for nothing, innermost first."""
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _replace(out: Path, stage: Path) -> None:
    """Move the new folder in; the old one comes back if that fails."""
    old = stage.with_name(stage.name + ".old")
    if out.exists():
        out.rename(old)
    try:
        stage.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
