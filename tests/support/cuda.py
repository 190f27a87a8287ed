"""A stand-in for ``torch.cuda`` whose graphs are graphs: tapes of operations on fixed memory.

What is captured does not happen. A replay repeats the operations on the very tensors of the
capture, with the numbers that Python gave them then, and runs no Python of the model. What the
capture computed on the way is filled with NaN afterwards, so that whoever reads it is found out.
Operations for which the host would wait for a GPU are refused where torch refuses them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WAITING = (
    *("_local_scalar_dense", "nonzero", "masked_select", "bincount", "equal", "is_nonzero"),
    *("_unique2", "unique_dim", "unique_consecutive", "repeat_interleave"),
)


class FakeCuda:
    """Records what is asked of it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.graphs: list[FakeGraph] = []
        self._mode: Any = "default"
        self._guard: Refusing | None = None

    def Stream(self) -> "FakeStream":  # noqa: N802 - torch's name
        return FakeStream()

    def current_stream(self) -> "FakeStream":
        return FakeStream()

    @contextmanager
    def stream(self, _: "FakeStream") -> Iterator[None]:
        yield

    def CUDAGraph(self) -> "FakeGraph":  # noqa: N802 - torch's name
        self.graphs.append(FakeGraph(self))
        return self.graphs[-1]

    @contextmanager
    def graph(self, graph: "FakeGraph", *, stream: "FakeStream") -> Iterator[None]:
        self.calls.append("capture")
        before = torch.get_rng_state()
        try:
            with graph.tape:
                yield
        finally:
            graph.tape.undo()
            torch.set_rng_state(before)

    def get_rng_state(self, _: torch.device) -> Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: Tensor, _: torch.device) -> None:
        torch.set_rng_state(state)

    def get_sync_debug_mode(self) -> Any:
        return self._mode

    def set_sync_debug_mode(self, mode: Any) -> None:
        self._mode = mode
        if mode == "error":
            self._guard = Refusing("called a synchronizing CUDA operation")
            self._guard.__enter__()
        elif self._guard is not None:
            self._guard.__exit__(None, None, None)
            self._guard = None


class FakeStream:
    """Work is done in the order in which it is asked for, on any stream."""

    def wait_stream(self, _: "FakeStream") -> None:
        pass


class FakeGraph:
    """What was captured, to be done again."""

    def __init__(self, cuda: FakeCuda) -> None:
        self.tape = Tape()
        self._cuda = cuda

    def replay(self) -> None:
        self._cuda.calls.append("replay")
        self.tape.play()


class Refusing(TorchDispatchMode):
    """Raises what torch raises where the host would wait for the device."""

    def __init__(self, message: str) -> None:
        super().__init__()
        self._message = message

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in WAITING or _picks_by_mask(func, args):
            raise RuntimeError(f"{self._message}\naten::{func.overloadpacket.__name__}")
        return func(*args, **(kwargs or {}))


def _picks_by_mask(func: Any, args: Any) -> bool:
    if func.overloadpacket.__name__ != "index":
        return False
    return any(isinstance(i, Tensor) and i.dtype == torch.bool for i in args[1])


class Tape(Refusing):
    """Operations in order. A view needs no repeating, since its memory is that of its base."""

    def __init__(self) -> None:
        super().__init__("operation not permitted when stream is capturing")
        self._steps: list[tuple[Any, Any, Any, list[tuple[int, Tensor]]]] = []
        self._own: set[int] = set()
        self._before: dict[int, tuple[Tensor, Tensor]] = {}
        self._kept: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self._keep_what_is_written(func, args, kwargs)
        out = super().__torch_dispatch__(func, types, args, kwargs)
        returned = tree_leaves(out)
        if self._is_view(func):
            self._kept += returned
            return out
        fresh = [] if self._writes(func) else [*enumerate(returned)]
        tensors = [(i, each.detach()) for i, each in fresh if isinstance(each, Tensor)]
        self._own.update(each.untyped_storage().data_ptr() for _, each in tensors)
        self._steps.append((func, args, kwargs, tensors))
        return out

    def undo(self) -> None:
        """Nothing has happened: what there was before is as it was, and what is new is junk."""
        for tensor, value in self._before.values():
            tensor.copy_(value)
        for *_, outputs in self._steps:
            for _, tensor in outputs:
                tensor.fill_(float("nan") if tensor.is_floating_point() else 1)

    def play(self) -> None:
        """All of it, now."""
        with torch.no_grad():
            for func, args, kwargs, outputs in self._steps:
                returned = tree_leaves(func(*args, **kwargs))
                for index, tensor in outputs:
                    tensor.copy_(returned[index])

    def _keep_what_is_written(self, func: Any, args: Any, kwargs: Any) -> None:
        for place, argument in enumerate(func._schema.arguments):
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            given = args[place] if place < len(args) else kwargs.get(argument.name)
            for tensor in tree_leaves(given):
                if isinstance(tensor, Tensor):
                    at = tensor.untyped_storage().data_ptr()
                    if at not in self._own and at not in self._before:
                        whole = tensor.detach()
                        self._before[at] = (whole, whole.clone())

    @staticmethod
    def _writes(func: Any) -> bool:
        return any(
            a.alias_info is not None and a.alias_info.is_write for a in func._schema.arguments
        )

    @staticmethod
    def _is_view(func: Any) -> bool:
        returns = [each.alias_info for each in func._schema.returns]
        return any(alias is not None and not alias.is_write for alias in returns)
