"""Mends Triton's interpreter where it is wrong; nothing here concerns kernels on a GPU."""

from typing import Any

import triton.language as tl
from triton.runtime.interpreter import InterpreterBuilder


def mend_products() -> None:
    """Let ``tl.dot`` multiply bfloat16.

    The interpreter holds bfloat16 as 16-bit integers, and up to triton 3.9 at least its matrix
    product multiplies these as they stand. Products of widened numbers are exact in float32.
    """
    original = InterpreterBuilder.create_dot

    def create_dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        wide = [self.cast_impl(x, tl.float32) if x.dtype == tl.bfloat16 else x for x in (a, b)]
        return original(self, *wide, *rest)

    InterpreterBuilder.create_dot = create_dot
