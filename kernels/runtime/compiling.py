"""Compiling Triton kernels for a GPU that is not there.

The interpreter says whether a kernel computes the right thing, not whether a GPU could run it.
Triton compiles for any architecture that it knows, so the launches of an op are caught and each is
compiled instead of run: that the types fit, that it fits into shared memory, and what it spills.
"""

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

SHARED_BYTES = {80: 163 * 1024, 90: 227 * 1024}
"""Shared memory that one block may have, by compute capability (CUDA programming guide, table of
technical specifications)."""


@dataclass(frozen=True)
class Compiled:
    """One kernel as compiled for one architecture."""

    kernel: str
    arch: int
    shared_bytes: int
    registers: int
    """Of one thread."""
    spilled_bytes: int
    """Stored to local memory by one thread since registers ran out."""

    @property
    def fits(self) -> bool:
        """Whether a block's shared memory is enough."""
        return self.shared_bytes <= SHARED_BYTES[self.arch]


def compiled(run: Callable[[], object], arch: int = 90) -> list[Compiled]:
    """Call `run`, and compile each kernel that it would launch, once for each set of types.

    Nothing is launched: what `run` computes is meaningless. As in a launch, kernels are told which
    addresses and integers are multiples of 16 and which integers are 1: only then are loads wide
    and pipelined through shared memory as they would be on a GPU. Raises what triton raises where
    a kernel does not compile.
    """
    found: dict[tuple[Any, ...], Compiled] = {}
    with _caught(lambda *launch: _note(found, arch, *launch)):
        run()
    return list(found.values())


@contextmanager
def _caught(note: Callable[..., None]) -> Iterator[None]:
    original = JITFunction.run

    def catch(self: Any, *args: Any, grid: Any, warmup: bool, **named: Any) -> None:
        del grid, warmup
        note(self, args, named)

    JITFunction.run = catch
    try:
        yield
    finally:
        JITFunction.run = original


def _note(
    found: dict[tuple[Any, ...], Compiled],
    arch: int,
    kernel: Any,
    args: tuple[Any, ...],
    named: dict[str, Any],
) -> None:
    options = {key: named.pop(key) for key in ("num_warps", "num_stages") if key in named}
    values = {**dict(zip(kernel.arg_names, args, strict=False)), **named}
    constant = {p.name for p in kernel.params if p.is_constexpr}
    constant |= {name for name, value in values.items() if value is None}
    constant |= {name for name, value in values.items() if type(value) is int and value == 1}
    signature = {
        name: "constexpr" if name in constant else _type(values[name]) for name in kernel.arg_names
    }
    fixed = {(kernel.arg_names.index(name),): values[name] for name in constant}
    attributes = {
        (index,): [["tt.divisibility", 16]]
        for index, name in enumerate(kernel.arg_names)
        if name not in constant and _is_aligned(values[name])
    }
    key = (kernel.__name__, *signature.values(), *map(str, fixed.values()), *options.items())
    key = (*key, *attributes)
    if key not in found:
        source = ASTSource(kernel, signature=signature, constexprs=fixed, attrs=attributes)
        binary = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)
        registers, spilled = _resources(binary.asm["ptx"], arch)
        found[key] = Compiled(kernel.__name__, arch, binary.metadata.shared, registers, spilled)


def _is_aligned(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.data_ptr() % 16 == 0
    return type(value) is int and value % 16 == 0


def _type(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return "*" + _ELEMENTS[value.dtype]
    if isinstance(value, bool):
        return "i1"
    return "fp32" if isinstance(value, float) else "i32"


_ELEMENTS = {
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.float32: "fp32",
    torch.float64: "fp64",
    torch.bool: "i1",
    torch.uint8: "u8",
    torch.int32: "i32",
    torch.int64: "i64",
}


def _resources(ptx: str, arch: int) -> tuple[int, int]:
    """Registers of a thread and bytes that it spills, as the assembler reports them."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "kernel.ptx")
        source.write_text(ptx)
        name = f"sm_{arch}a" if arch >= 90 else f"sm_{arch}"
        ptxas = get_ptxas(arch).path
        command = [ptxas, "-v", f"--gpu-name={name}", str(source), "-o", f"{folder}/out"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    registers = re.search(r"Used (\d+) registers", said)
    spilled = re.search(r"(\d+) bytes spill stores", said)
    return int(registers[1]) if registers else 0, int(spilled[1]) if spilled else 0
