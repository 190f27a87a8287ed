"""What a benchmark found, as text."""

import datetime
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path

import torch

from nas.kernels.runtime.contest import Row, Setting
from nas.kernels.runtime.timing import Spread

PACKAGES = (
    "torch",
    "triton",
    "flash-linear-attention",
    "fla-core",
    "liger-kernel",
    "mamba-ssm",
    "causal-conv1d",
    "flash-attn",
)
COLUMNS = (
    "sizes",
    "pass",
    "implementation",
    "median ms",
    "quartiles ms",
    "share of bound",
    "speed against the best peer",
    "",
)


def line(row: Row) -> str:
    """A row for the terminal."""
    return "  ".join(cell for cell in (row.op, row.dtype, *_cells(row)) if cell)


def document(rows: Sequence[Row], settings: Sequence[Setting], failed: Mapping[str, str]) -> str:
    """The whole of ``BENCHMARKS.md``. `failed` says which ops could not be measured at all."""
    parts = ["# Kernels, measured\n", *_head(settings)]
    for (op, dtype), found in groupby(rows, key=lambda row: (row.op, row.dtype)):
        parts += [f"\n## {op}, {dtype}\n", *_table(found)]
    if failed:
        parts.append("\n## Not measured\n")
        parts += [f"- {op}: failed: {why}" for op, why in failed.items()]
    return "\n".join(parts) + "\n"


def device_name(device: torch.device) -> str:
    """What the device is called."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (text.partition(":")[2].strip() for text in lines if text.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def versions() -> dict[str, str]:
    """Of torch, triton and the peers that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _head(settings: Sequence[Setting]) -> Iterable[str]:
    device = settings[0].device
    on_cpu = device.type == "cpu"
    threads = f", {torch.get_num_threads()} threads" if on_cpu else ""
    installed = versions()
    missing = [package for package in PACKAGES if package not in installed]
    yield f"- Device: {device_name(device)}{threads}"
    if on_cpu:
        yield "- No GPU run yet: a CPU has no row for Triton, whose kernels are for a GPU."
    yield "- Versions: " + ", ".join(f"{name} {number}" for name, number in installed.items())
    if missing:
        yield "- Not installed, so not compared with: " + ", ".join(missing)
    yield f"- Date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    for setting in settings:
        yield (
            f"- Bound in {str(setting.dtype).removeprefix('torch.')}, measured in the same run: "
            f"{setting.flops_per_second / 1e9:.4g} GFLOP/s in a large matrix product, "
            f"{setting.bytes_per_second / 1e9:.4g} GB/s in a large copy"
        )
    yield (
        f"""
Everyone was warmed up, which compiles and tunes, and then measured in turns, {settings[0].repeats}
times or as often as {settings[0].seconds:g} s allowed, at least 3 times. The bound is the time that
the device needs for the matrix products or for reading and writing each value once, whichever is
longer, and three times that with the backward pass; small sizes that stay in a cache may exceed it.
A speed above 1 is faster than the best peer. "behind" marks the fastest of ours where a peer is
faster, "within the spread" where the quartiles overlap. Results and gradients were held against
float64 before; what is wrong is not timed."""
    )


def _table(rows: Iterable[Row]) -> Iterable[str]:
    yield _markdown(COLUMNS)
    yield _markdown(["---"] * 3 + ["---:"] * 4 + ["---"])
    for row in rows:
        yield _markdown(_cells(row))


def _markdown(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _cells(row: Row) -> list[str]:
    if not isinstance(row.result, Spread):
        return [row.case, row.what, row.name, "", "", "", "", f"failed: {row.result.reason}"]
    low, median, high = (
        f"{1e3 * seconds:.3g}" for seconds in (row.result.low, row.result.median, row.result.high)
    )
    share = f"{row.bound / row.result.median:.1%}"
    against = "" if row.against_best_peer is None else f"{row.against_best_peer:.2f}"
    note = f"**{row.note}**" if "behind" in row.note else row.note
    return [row.case, row.what, row.name, median, f"{low} to {high}", share, against, note]
