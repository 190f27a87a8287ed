"""What the numbers depend on: the machine, the versions, the processor's abilities."""

import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import nas

_CPU_INFO = Path("/proc/cpuinfo")


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Of Python, this package, and the libraries that compute and propose; one that is absent is
    left out."""
    found = {"python": platform.python_version(), "nas": nas.__version__}
    for package in ("torch", "triton", "numpy", "optuna", "nevergrad"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """The computer and its system."""
    return {"platform": platform.platform(), "cpu": cpu_model(), "cores": cores()}


@cache
def cpu_flags() -> frozenset[str]:
    """Abilities of the processor as Linux names them; empty on other systems."""
    return frozenset(_cpu_info("flags").split())


def cpu_model() -> str:
    """The processor's name."""
    return _cpu_info("model name") or platform.processor() or platform.machine()


def commit() -> str | None:
    """The git commit of a source checkout; None for an installed package."""
    git = Path(nas.__file__).parent.parent / ".git"
    if git.is_file():  # a linked worktree: "gitdir: <path>"
        git = git.parent / git.read_text().removeprefix("gitdir:").strip()
    head = git / "HEAD"
    if not head.is_file():
        return None
    said = head.read_text().strip()
    if not said.startswith("ref: "):
        return said
    return _resolve(git, said.removeprefix("ref: "))


def environment() -> dict[str, Any]:
    """All of this together."""
    revision = commit()
    found = {"versions": versions(), "machine": machine()}
    return found | ({"commit": revision} if revision else {})


def _resolve(git: Path, ref: str) -> str | None:
    shared = git / "commondir"
    folders = [git, git / shared.read_text().strip()] if shared.is_file() else [git]
    for folder in folders:
        if (folder / ref).is_file():
            return (folder / ref).read_text().strip()
        packed = folder / "packed-refs"
        lines = packed.read_text().splitlines() if packed.is_file() else []
        for line in lines:
            if line.endswith(f" {ref}"):
                return line.split()[0]
    return None


def _cpu_info(field: str) -> str:
    if not _CPU_INFO.is_file():
        return ""
    for line in _CPU_INFO.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""
