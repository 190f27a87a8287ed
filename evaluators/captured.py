"""Training steps as CUDA graphs: launched once a step instead of once an operation.

A small model spends most of a step on launching kernels. A graph repeats the kernels of one
captured step on the same memory, so batch and learning rate are written into fixed tensors first,
and whatever Python decided while it was captured stays decided. Follows torch's notes on CUDA
graphs (docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs): whole-network capture, after
warm-ups on the stream that is captured.

Nothing is assumed of the model. Warm-ups find out whether the host waits for the device, and a few
replayed steps are compared with the same steps taken eagerly; where a step cannot be captured, or
gives something else, the training goes on eagerly and the record says why.
"""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.evaluators.optimiser import AdamW
from nas.evaluators.snapshot import Snapshot, distance, same
from nas.evaluators.step import EagerSteps, take_step
from nas.evaluators.tasks.data import Batch

WARM_UPS = 3
CHECKED_STEPS = 2
"""With another batch and another rate each, so that neither can have become part of the graph."""
LEAST_STEPS = 64
"""For each graph. Making one costs about a dozen steps: warm-ups, two eager checks, the capture and
a replayed check. At twice the speed it has paid for itself after two dozen."""
SLACK = 4.0
"""Where two eager runs differ, as with atomic additions, a replay may differ by so many times as
much."""
_PARTS = frozenset(("search_spaces", "kernels", "tasks"))
"""Folders of what a step consists of."""


class CapturedSteps:
    """One graph for each variant of a step; the steps before it is made, and those of a step that
    cannot be captured, are eager."""

    def __init__(
        self, model: Any, optimizer: AdamW, *, bfloat16: bool, variants: int, cuda: Any
    ) -> None:
        """`variants` are the computations that the host chooses from. `cuda` is ``torch.cuda``, or
        stands in for it."""
        self._model, self._optimizer, self._bfloat16 = model, optimizer, bfloat16
        self._variants, self._cuda = variants, cuda
        self._eager = EagerSteps(model, optimizer, bfloat16=bfloat16)
        self._side = cuda.Stream()
        self._fixed: _Fixed | None = None
        self._graphs: dict[int, Any] = {}
        self._refused: str | None = None
        self._bit_for_bit = True
        self._replayed = self._taken = 0

    def take(self, batch: Batch, rate: float, *, variant: int, left: int) -> Tensor:
        """See `Steps.take`."""
        self._taken += 1
        with self._on_side():
            graph = self._graph(batch, rate, variant, left)
            if graph is None or self._fixed is None:
                return self._eager.take(batch, rate)
            self._fixed.fill(batch, rate)
            graph.replay()
            self._replayed += 1
            return self._fixed.loss.clone()

    def release(self) -> None:
        """Drops the graphs with their memory; they are made anew if enough steps follow."""
        self._graphs.clear()
        self._fixed = None

    def said(self) -> dict[str, Any]:
        """``form`` is ``cuda_graph``, or ``eager: `` with the reason; where steps were replayed,
        also how many, and what the check of the graph has found."""
        form = "cuda_graph" if self._replayed else "eager: too few steps to be worth a capture"
        if self._refused is not None:
            form = f"eager: {self._refused}"
        if not self._replayed:
            return {"form": form}
        check = "bit for bit" if self._bit_for_bit else f"{SLACK:g} times what eager steps differ"
        return {"form": form, "replayed": self._replayed, "of": self._taken, "check": check}

    def _graph(self, batch: Batch, rate: float, variant: int, left: int) -> Any:
        """The graph of a variant, which is made if it is worth it; None where there is none."""
        if self._refused is None and (wrong := self._misfit(batch)):
            self._refuse(wrong)
        if self._refused is not None or variant in self._graphs:
            return self._graphs.get(variant)
        if left >= LEAST_STEPS * (self._variants - len(self._graphs)):
            self._make(batch, rate, variant)
        return self._graphs.get(variant)

    def _misfit(self, batch: Batch) -> str | None:
        """Why a batch cannot be written into the fixed tensors."""
        if len(batch) > 2:
            return "documents are packed, and their lengths change from step to step"
        if self._fixed is not None and not self._fixed.fits(batch):
            return f"batches change their shape (at step {self._taken} of this training)"
        return None

    def _refuse(self, why: str) -> None:
        self._refused = why
        self.release()

    def _make(self, batch: Batch, rate: float, variant: int) -> None:
        """Captures and checks a graph, and leaves everything else as it was."""
        before = Snapshot(self._model, self._optimizer, self._cuda)
        if self._fixed is None:
            self._fixed = _Fixed(batch, before.device)
        self._fixed.fill(batch, rate)
        try:
            self._warm_up(before)
            expected = [self._checked(before, batch, rate, self._step) for _ in range(2)]
            before.restore()
            graph = self._captured()
            found = self._checked(before, batch, rate, graph.replay)
        except RuntimeError as error:  # what torch raises, also where memory runs out
            self._refuse(_reason(error))
        else:
            self._judge(graph, variant, expected, found)
        finally:
            self._optimizer.zero_grad()
            before.restore()

    def _warm_up(self, before: Snapshot) -> None:
        """Libraries set themselves up first, and may wait then. Raises RuntimeError where a step
        waits for the device later, or replaces a tensor that the next one needs."""
        self._step()
        with self._without_waits():
            for _ in range(WARM_UPS - 1):
                self._step()
        if replaced := before.replaced():
            raise RuntimeError(f"a step replaces {replaced} instead of writing into it")

    def _captured(self) -> Any:
        graph = self._cuda.CUDAGraph()
        with self._cuda.graph(graph, stream=self._side):
            self._step()
        return graph

    def _checked(
        self, before: Snapshot, batch: Batch, rate: float, run: Callable[[], None]
    ) -> list[Tensor]:
        """Losses of a few steps from the first state, and the state after them."""
        assert self._fixed is not None
        before.restore()
        losses = []
        for index in range(CHECKED_STEPS):
            self._fixed.fill(_turned(batch, index), rate / (1 + index))
            run()
            losses.append(self._fixed.loss.clone())
        return [*losses, *before.now()]

    def _judge(
        self, graph: Any, variant: int, expected: list[list[Tensor]], found: list[Tensor]
    ) -> None:
        first, second = expected
        if not same(first, found):
            bound, off = SLACK * distance(first, second), distance(first, found)
            if off > bound:
                self._refuse(f"replayed steps differ from eager ones ({off:.2g}, not {bound:.2g})")
                return
            self._bit_for_bit = False
        self._graphs[variant] = graph

    def _step(self) -> None:
        """One step on the fixed tensors. Autocast begins and ends in it, so the casts of weights
        that it keeps never outlive a step."""
        fixed = self._fixed
        assert fixed is not None
        loss = take_step(
            self._model,
            self._optimizer,
            (fixed.tokens, fixed.targets),
            fixed.rate,
            bfloat16=self._bfloat16,
        )
        fixed.loss.copy_(loss)

    @contextmanager
    def _on_side(self) -> Iterator[None]:
        """All steps run on the stream that is captured: what autograd keeps for a parameter
        belongs to the stream of its first use."""
        self._side.wait_stream(self._cuda.current_stream())
        with self._cuda.stream(self._side):
            yield
        self._cuda.current_stream().wait_stream(self._side)

    @contextmanager
    def _without_waits(self) -> Iterator[None]:
        """In the body, an operation for which the host waits raises RuntimeError, as far as torch
        knows them."""
        mode = self._cuda.get_sync_debug_mode()
        self._cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            self._cuda.set_sync_debug_mode(mode)


class _Fixed:
    """What a graph reads and writes besides weights and moments."""

    def __init__(self, batch: Batch, device: torch.device) -> None:
        tokens, targets, *_ = batch
        self.tokens = torch.empty_like(tokens, device=device)
        self.targets = torch.empty_like(targets, device=device)
        self.rate = torch.zeros((), device=device)
        self.loss = torch.zeros((), device=device)

    def fits(self, batch: Batch) -> bool:
        """Whether a batch has the shapes and types of the first."""
        return all(
            given.shape == own.shape and given.dtype == own.dtype
            for given, own in zip(batch[:2], (self.tokens, self.targets), strict=True)
        )

    def fill(self, batch: Batch, rate: float) -> None:
        """For the next step."""
        for given, own in zip(batch[:2], (self.tokens, self.targets), strict=True):
            own.copy_(given.pin_memory() if own.is_cuda else given, non_blocking=True)
        self.rate.fill_(rate)


def _reason(error: RuntimeError) -> str:
    """What torch says, and the line of a module at which it said so."""
    said = str(error).partition("\n")[0]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if not _PARTS.isdisjoint(path.parts):
            return f"{said} ({path.parent.name}/{path.name}:{frame.lineno}, {frame.name})"
    return said


def _turned(batch: Batch, by: int) -> Batch:
    """Another batch of the same values: each row begins a few places later."""
    tokens, targets, *_ = batch
    return tokens.roll(by, dims=-1), targets.roll(by, dims=-1)
