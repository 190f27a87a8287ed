"""The times of a model: prefill and one decoding step, or an encoder's forward pass, and one
training step."""

import copy
from collections.abc import Iterable
from typing import Any

import torch

from nas.errors import Unavailable
from nas.evaluators.latency.timing import Effort, Subject, Timing, measure
from nas.evaluators.optimiser import AdamW
from nas.record import Measurement
from nas.study import Target

INFERENCE = Effort(seconds=0.15)
TRAINING = Effort(seconds=0.2)
PATIENCE_SECONDS = 2.0
"""A training step that nobody asked for is left out if timing it would take longer than this."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def latency(
    model: Any, target: Target, *, vocab: int, wanted: Iterable[str] = ()
) -> tuple[Measurement, ...]:
    """Measures a model at every context of the target, in milliseconds for the whole batch.

    Moves and casts the model, and leaves its weights as they are. A training step so slow that
    timing it would take more than two seconds is measured only if a metric in `wanted` needs it.

    Raises:
        Unavailable: the target's device is not there.
    """
    check_device(target.device)
    model.to(device=target.device, dtype=DTYPES[target.dtype])
    synchronize = torch.cuda.synchronize if target.device == "cuda" else _nothing
    tokens = {context: _tokens(target, context, vocab) for context in target.contexts}

    decodes = hasattr(model, "empty_state")
    read = "prefill" if decodes else "forward"
    subjects: dict[str, Subject] = {}
    model.eval()
    with torch.inference_mode():
        for context in target.contexts:
            if decodes:
                subjects[f"prefill.latency_ms@{context}"] = prefill(model, tokens[context])
                subjects[f"decode.latency_ms@{context}"] = decode(model, tokens[context])
            else:
                subjects[f"forward.latency_ms@{context}"] = forward(model, tokens[context])
        timings = measure(subjects, INFERENCE, synchronize=synchronize)

    model.train()
    subjects = {}
    for context in target.contexts:
        name = f"train_step.latency_ms@{context}"
        asked = name in wanted or (context == target.longest and "train_step.latency_ms" in wanted)
        if asked or _is_affordable(timings[f"{read}.latency_ms@{context}"]):
            subjects[name] = train_step(model, tokens[context])
    timings |= measure(subjects, TRAINING, synchronize=synchronize)
    return tuple(_measurements(timings, target))


def check_device(device: str) -> None:
    """Raises Unavailable if this machine has no such device."""
    if device == "cuda" and not torch.cuda.is_available():
        raise Unavailable(
            "target.device: this machine has no usable CUDA device; use 'cpu', or run the service "
            "on a machine with an NVIDIA GPU and a CUDA build of torch"
        )


def forward(model: Any, tokens: torch.Tensor) -> Subject:
    """Reads all tokens at once, as an encoder does."""
    return Subject(run=lambda _: model(tokens))


def prefill(model: Any, tokens: torch.Tensor) -> Subject:
    """Reads all tokens into an empty state and keeps it."""
    return Subject(run=lambda _: model(tokens, model.empty_state()))


def decode(model: Any, tokens: torch.Tensor) -> Subject:
    """One token after all but the last were read.

    Each run gets a fresh copy of the state after context - 1 tokens, so every step sees exactly
    `context` tokens however often it is repeated. The copy is made outside the timed part.
    """
    before = model.empty_state()
    if tokens.shape[1] > 1:
        model(tokens[:, :-1], before)
    return Subject(
        run=lambda state: model(tokens[:, -1:], state), prepare=lambda: copy.deepcopy(before)
    )


def train_step(model: Any, tokens: torch.Tensor) -> Subject:
    """Forward, backward and AdamW. The learning rate is zero: all the work is done, and the weights
    stay as they are."""
    optimizer = AdamW(model.parameters(), weight_decay=0.0)
    with torch.no_grad():
        targets = model(tokens).argmax(-1)  # a token at each place, or a class for each sequence

    def run(_: Any) -> None:
        model.loss(tokens, targets).backward()
        optimizer.step(0.0)
        optimizer.zero_grad()

    return Subject(run)


def _is_affordable(prefilled: Timing) -> bool:
    """A training step takes about three forward passes, and is run four times."""
    return 12 * prefilled.median / 1000 <= PATIENCE_SECONDS


def _tokens(target: Target, context: int, vocab: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(context)
    tokens = torch.randint(vocab, (target.batch, context), generator=generator)
    return tokens.to(target.device)


def _measurements(timings: dict[str, Timing], target: Target) -> Iterable[Measurement]:
    for name, timing in timings.items():
        metric, _, context = name.partition("@")
        names = [name, metric] if int(context) == target.longest else [name]
        for each in names:
            yield Measurement(
                metric=each,
                value=timing.median,
                unit="ms",
                stage="latency",
                low=timing.low,
                high=timing.high,
                repeats=timing.repeats,
            )


def _nothing() -> None:
    """A CPU has done its work when the call returns."""
