"""The choice of implementation, held in a context variable so that no call has to pass it on.

    with use_impl(Impl.REFERENCE):
        model(tokens)

An op that lacks the chosen implementation raises ``Unsupported``; it never falls back on its own.
This file needs no torch.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


class Impl(StrEnum):
    """The ways an op can be computed."""

    REFERENCE = "reference"
    """The definition, step by step: slow, for tests."""
    CHUNKED = "chunked"
    """Plain torch in a fast form; the default, and what an exported model contains."""
    TRITON = "triton"
    """A Triton kernel, for a GPU or for Triton's interpreter."""


class Unsupported(ValueError):
    """An op was asked for an implementation that it lacks or that cannot run here."""


_current: ContextVar[Impl] = ContextVar("kernels_impl", default=Impl.CHUNKED)


def current_impl() -> Impl:
    """The implementation in force. A new thread starts at the default, ``Impl.CHUNKED``."""
    return _current.get()


@contextmanager
def use_impl(impl: Impl | str) -> Iterator[None]:
    """Put an implementation in force for the body; nests, and is undone on an exception too.

    Raises:
        ValueError: ``impl`` is a string that names no implementation.
    """
    token = _current.set(Impl(impl))
    try:
        yield
    finally:
        _current.reset(token)


def pick(op: str, available: Mapping[Impl, Function]) -> Function:
    """The function that computes ``op`` under the implementation in force.

    Raises:
        Unsupported: ``available`` has no such implementation.
    """
    impl = current_impl()
    if impl not in available:
        has = ", ".join(available)
        raise Unsupported(f"{op} has no implementation {impl.value!r}; it has: {has}")
    return available[impl]
