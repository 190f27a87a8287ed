"""Measures the ops against other implementations: ``python -m nas.kernels.runtime.bench --help``.

Each op says in its ``bench.py`` what is measured; ``contest.py`` runs it.
"""

import argparse
import importlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from nas.kernels.runtime.benchmark import Benchmark
from nas.kernels.runtime.contest import Row, Setting, rows_of
from nas.kernels.runtime.report import document, line
from nas.kernels.runtime.timing import Clock, clock_of, reason

KERNELS = Path(__file__).absolute().parents[1]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MATRIX = {"cpu": 1024, "cuda": 8192}
"""Side of the matrices whose product stands for the device's speed."""
COPIED_BYTES = 2**28
PROBES = 10


def main(arguments: Sequence[str] | None = None, *, kernels: Path = KERNELS) -> int:
    """Measure, print each row as it comes, and write the file if asked to; returns 1 where an op
    could not be measured at all."""
    options = _parser(kernels).parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    settings = [_setting(options, DTYPES[name]) for name in options.dtype or _usual(options.device)]
    rows: list[Row] = []
    failed: dict[str, str] = {}
    for op in options.op or ops(kernels):
        try:
            for row in _measured(op, settings, options.max_tokens):
                rows.append(row)
                print(line(row), flush=True)
        except Exception as error:
            failed[op] = reason(error)
            print(f"{op}  failed: {failed[op]}", flush=True)
    if options.write:
        options.write.write_text(document(rows, settings, failed))
    return 1 if failed else 0


def ops(kernels: Path = KERNELS) -> list[str]:
    """Names of the ops that have a benchmark."""
    found = (path.parent for path in kernels.glob("*/bench.py"))
    return sorted(folder.name for folder in found if folder != Path(__file__).absolute().parent)


def _measured(op: str, settings: Sequence[Setting], max_tokens: int | None) -> Iterator[Row]:
    for setting in settings:
        most = max_tokens or (1024 if setting.device.type == "cpu" else 32768)
        for benchmark in _benchmarks(op):
            for case in benchmark.cases:
                if case.time <= most:
                    yield from rows_of(benchmark, case, setting)


def _benchmarks(op: str) -> Sequence[Benchmark]:
    module = importlib.import_module(f"nas.kernels.{op}.bench")
    several: Sequence[Benchmark] = getattr(module, "BENCHMARKS", None) or (module.BENCHMARK,)
    return several


def _setting(options: argparse.Namespace, dtype: torch.dtype) -> Setting:
    device = torch.device(options.device)
    clock = clock_of(device)
    return Setting(
        device=device,
        dtype=dtype,
        clock=clock,
        repeats=options.repeats,
        seconds=options.seconds,
        compile=options.compile,
        flops_per_second=matrix_flops_per_second(device, dtype, clock),
        bytes_per_second=copied_bytes_per_second(device, clock),
    )


def matrix_flops_per_second(device: torch.device, dtype: torch.dtype, clock: Clock) -> float:
    """The best of several products of two large matrices."""
    side = MATRIX[device.type]
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return 2 * side**3 / min(clock(lambda: torch.mm(a, b, out=out)) for _ in range(PROBES))


def copied_bytes_per_second(device: torch.device, clock: Clock) -> float:
    """The best of several large copies; a byte is read and written."""
    source = torch.ones(COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * COPIED_BYTES / min(clock(lambda: target.copy_(source)) for _ in range(PROBES))


def _usual(device: str) -> list[str]:
    return ["float32"] if device == "cpu" else ["bfloat16"]


def _parser(kernels: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nas.kernels.runtime.bench", description=__doc__
    )
    parser.add_argument("op", nargs="*", metavar="OP", help="folders of kernels/; all by default")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument(
        "--dtype", nargs="+", choices=DTYPES, help="float32 on a CPU and bfloat16 else"
    )
    parser.add_argument("--max-tokens", type=int, help="1024 on a CPU and 32768 else")
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="most time for a pass of a case (%(default)s)"
    )
    parser.add_argument("--threads", type=int, help="of torch on a CPU")
    parser.add_argument(
        "--no-compile", dest="compile", action="store_false", help="leave out torch.compile"
    )
    parser.add_argument(
        "--write",
        nargs="?",
        type=Path,
        const=kernels / "BENCHMARKS.md",
        metavar="FILE",
        help="write what this run measured; by default to kernels/BENCHMARKS.md",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
