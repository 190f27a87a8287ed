"""Which form of an op runs: plain torch, in this file, or Triton kernels, in model_triton.py."""

import functools
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

KERNELS = "auto"
"""What runs the ops marked ``has_kernels``: "torch" is the plain torch of this file, "triton" the
kernels of model_triton.py, and "auto" is "triton" for tensors on a GPU, or for all of them where
TRITON_INTERPRET=1 is set, and else "torch". What cannot run is an error: nothing falls back."""


def has_kernels(op: Callable[..., Any]) -> Callable[..., Any]:
    """Marks an op whose Triton form is in model_triton.py, under the same name."""

    @functools.wraps(op)
    def run(first: torch.Tensor, *rest: Any, **named: Any) -> Any:
        form = getattr(load_kernels(), op.__name__) if takes_kernels(first) else op
        return form(first, *rest, **named)

    return run


def takes_kernels(x: torch.Tensor) -> bool:
    """Whether kernels run for a tensor; an error where they are asked for and cannot."""
    if KERNELS not in ("auto", "torch", "triton"):
        raise ValueError(f"KERNELS is {KERNELS!r}; it can be 'auto', 'torch' or 'triton'")
    possible = x.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"
    if KERNELS == "triton" and not possible:
        raise RuntimeError(
            "KERNELS is 'triton', which on the CPU needs TRITON_INTERPRET=1 before Python starts; "
            "without it, 'auto' and 'torch' run plain torch there"
        )
    return possible and KERNELS != "torch"


@functools.cache
def load_kernels() -> Any:
    """The module model_triton.py, which has to lie beside this file."""
    path = Path(__file__).with_name("model_triton.py")
    if not path.exists() or importlib.util.find_spec("triton") is None:
        missing = "the package triton" if path.exists() else str(path)
        raise RuntimeError(
            f"{missing} is not there, which the Triton kernels need; "
            "set KERNELS = 'torch' to run the plain torch of this file instead"
        )
    spec = importlib.util.spec_from_file_location(f"{__name__}_triton", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
