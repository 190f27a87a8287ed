"""Captured training steps, on a stand-in for ``torch.cuda`` whose graphs repeat operations on fixed
memory. Nothing here needs a GPU, and nothing here shows that one does the same."""

import inspect
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.evaluators import captured, train
from nas.evaluators.base import EvaluationFailed
from nas.evaluators.build import initialise
from nas.evaluators.optimiser import AdamW
from nas.evaluators.schedule import Batching, rate_at
from nas.evaluators.step import Losses
from nas.evaluators.tasks.linear_regression.spec import LinearRegression
from nas.evaluators.tasks.recall.spec import Recall
from nas.evaluators.tasks.text.spec import Text
from nas.evaluators.train import Progress, TrainingRun
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.catalogue import FFNS, MIXERS
from tests.support.cuda import FakeCuda, FakeGraph

STEPS, CONTEXT = 12, 16
SWIGLU = {"kind": "swiglu", "hidden": 32}
NESTED = {"kind": "nested", "ffn": SWIGLU, "prefixes": [0.25, 0.5, 1.0]}
ATTENTION = {"kind": "attention", "heads": 2, "groups": 2, "head_dim": 8}
RANDOM = {**ATTENTION, "scope": {"kind": "subsampled", "reach": 8, "window": 4}}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread; graphs as soon as two steps follow; and rates in float32 in either way of
    running a step, as on a GPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(captured, "LEAST_STEPS", 2)
    monkeypatch.setattr(
        train, "rate_at", lambda *given: float(torch.tensor(rate_at(*given), dtype=torch.float32))
    )
    yield
    torch.set_num_threads(before)


def begin(
    mixer: Any = ATTENTION, ffn: Any = SWIGLU, *, task: Any = None, cuda: Any = None, **how: Any
) -> TrainingRun:
    task = task or Recall(vocab=16, context=CONTEXT, pairs=2, test_sequences=8)
    layer = {"mixer": mixer, "ffn": ffn, "block": {"kind": "sequential"}}
    model = Architecture.model_validate({"vocab": task.vocab, "dim": 16, "layers": [layer] * 2})
    return TrainingRun(
        initialise(model, 3),
        task.open(3),
        batching=Batching(STEPS, 4),
        peak=1e-2,
        context=task.tokens_per_sequence,
        seed=3,
        cuda=cuda,
        **how,
    )


def state(run: TrainingRun) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in run.tensors().items()}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def trained_as_eagerly(
    cuda: FakeCuda, mixer: Any = ATTENTION, ffn: Any = SWIGLU, *, change: Any = None, **how: Any
) -> TrainingRun:
    """A training with the stand-in that ends as the eager one does. `change` is done to both."""
    ends = []
    for given in (None, cuda):
        run = begin(mixer, ffn, cuda=given, **how)
        if change is not None:
            change(run)
        run.advance(STEPS)
        ends.append((state(run), run.numbers()))
    assert_same(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]
    return run


@pytest.mark.parametrize(
    ("mixer", "ffn", "how"),
    [
        (ATTENTION, SWIGLU, {}),
        (ATTENTION, SWIGLU, {"bfloat16": True}),
        (MIXERS["gated_delta"].example, SWIGLU, {}),
        (MIXERS["mamba"].example, SWIGLU, {}),
        (RANDOM, SWIGLU, {}),
        (ATTENTION, NESTED, {}),
    ],
    ids=["attention", "bfloat16", "gated_delta", "mamba", "random", "nested"],
)
def test_replayed_steps_train_as_eager_ones_bit_for_bit(mixer: Any, ffn: Any, how: Any) -> None:
    cuda = FakeCuda()
    replayed = trained_as_eagerly(cuda, mixer, ffn, **how)
    form = replayed.form
    assert (form["form"], form["of"], form["check"]) == ("cuda_graph", STEPS, "bit for bit")
    graphs = 3 if ffn is NESTED else 1
    assert len(cuda.graphs) == graphs
    assert cuda.calls.count("replay") == form["replayed"] + graphs * captured.CHECKED_STEPS
    assert form["replayed"] >= STEPS - 2 * graphs


def test_a_training_that_pauses_is_captured_anew_and_goes_on_as_if_it_had_not() -> None:
    whole, paused = begin(), begin(cuda=FakeCuda())
    whole.advance(STEPS)
    paused.advance(5)
    paused.advance(STEPS)
    assert_same(state(whole), state(paused))
    assert paused.numbers() == whole.numbers()
    assert paused.form["replayed"] == STEPS


def test_a_replay_reads_the_batch_and_the_rate_of_its_own_step() -> None:
    run = begin(cuda=FakeCuda())
    run.advance(4)
    steps = run._steps
    batch = run.data.train_batch(0, 4)
    before = [p.detach().clone() for p in run.model.parameters()]
    loss = steps.take(batch, 0.0, variant=0, left=8)
    assert all(torch.equal(a, b) for a, b in zip(before, run.model.parameters(), strict=True))
    other = steps.take(run.data.train_batch(1, 4), 0.0, variant=0, left=7)
    again = steps.take(batch, 1e-2, variant=0, left=6)
    assert torch.equal(loss, again)  # and is not overwritten by what came between
    assert not torch.equal(loss, other)
    assert not torch.equal(before[0], next(run.model.parameters()))


@pytest.mark.parametrize(
    ("ffn", "task", "place"),
    [
        (FFNS["experts"].example, None, "experts/module.py"),
        (
            SWIGLU,
            LinearRegression(dimensions=3, points=6, test_sequences=8),
            "linear_regression/reader.py",
        ),
    ],
    ids=["experts", "linear_regression"],
)
def test_a_step_for_which_the_host_waits_stays_eager_and_says_where(
    ffn: Any, task: Any, place: str
) -> None:
    cuda = FakeCuda()
    run = trained_as_eagerly(cuda, ATTENTION, ffn, task=task)
    assert run.form["form"].startswith("eager: called a synchronizing CUDA operation (" + place)
    assert cuda.calls == []
    assert cuda.get_sync_debug_mode() == "default"


def test_too_few_steps_are_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "LEAST_STEPS", STEPS + 1)
    cuda = FakeCuda()
    run = trained_as_eagerly(cuda)
    assert run.form == {"form": "eager: too few steps to be worth a capture"}
    assert cuda.graphs == []


def test_packed_documents_are_not_captured(tmp_path: Path) -> None:
    for index in range(40):
        (tmp_path / f"{index}.txt").write_text("one bird saw the cat " * (1 + index % 3))
    text = Text(corpus=str(tmp_path), context=CONTEXT, test_tokens=64, documents=True)
    run = trained_as_eagerly(FakeCuda(), task=text)
    assert run.form["form"].startswith("eager: documents are packed")


def test_a_batch_of_another_shape_ends_the_replays_and_not_the_training() -> None:
    def shorten(run: TrainingRun) -> None:
        whole = run.data.train_batch

        def batch(index: int, sequences: int) -> Any:
            return whole(index, sequences - (index == 7))

        run.data.train_batch = batch  # type: ignore[method-assign]

    run = trained_as_eagerly(FakeCuda(), change=shorten)
    assert run.form["form"] == "eager: batches change their shape (at step 8 of this training)"
    assert (run.form["replayed"], run.form["of"]) == (7, STEPS)


def test_a_graph_that_computes_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda()
    whole = FakeGraph.replay

    def replay(graph: FakeGraph) -> None:
        whole(graph)
        next(replayed[0].model.parameters()).data[0, 0] += 1e-6

    replayed: list[TrainingRun] = []
    monkeypatch.setattr(FakeGraph, "replay", replay)
    run = trained_as_eagerly(cuda, change=lambda run: replayed.insert(0, run))
    assert run.form["form"].startswith("eager: replayed steps differ from eager ones (")
    assert cuda.calls == ["capture", *["replay"] * captured.CHECKED_STEPS]


def test_where_eager_steps_differ_a_replay_may_differ_a_little_more() -> None:
    chance = random.Random(0)

    def jitter(_: Any, __: Any, out: torch.Tensor) -> torch.Tensor:
        return out * (1 + 1e-4 * chance.uniform(-1, 1))

    run = begin(cuda=FakeCuda())
    run.model.norm.register_forward_hook(jitter)
    run.advance(STEPS)
    assert run.form["form"] == "cuda_graph"
    assert run.form["check"] == "4 times what eager steps differ"


def test_a_buffer_that_is_replaced_instead_of_written_is_found() -> None:
    def count(run: TrainingRun) -> None:
        run.model.register_buffer("seen", torch.zeros(()))

        def one_more(model: Any, _: Any) -> None:
            model.seen = model.seen + 1

        run.model.embedding.register_forward_pre_hook(lambda _, given: one_more(run.model, given))

    run = trained_as_eagerly(FakeCuda(), change=count)
    assert run.form["form"].startswith("eager: a step replaces seen instead of writing into it")
    assert run.model.seen == STEPS


def test_no_memory_for_a_graph_is_no_failure_of_the_candidate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(FakeCuda, "CUDAGraph", refuse)
    run = trained_as_eagerly(FakeCuda())
    assert run.form["form"].startswith("eager: CUDA out of memory. Tried to allocate 2.00 GiB")


def test_losses_that_are_read_in_blocks_name_the_step_that_diverged() -> None:
    progress = Progress(Batching(100, 1), CONTEXT)
    losses = Losses(progress.note, torch.device("meta"))
    for step in range(40):
        losses.add(step, torch.tensor(float("nan") if step == 36 else 2.0))
    with pytest.raises(EvaluationFailed, match="became nan at step 37 of 100"):
        losses.read()
    assert len(progress.state()["since"]) + 4 * len(progress.state()["points"]) == 36


@pytest.mark.parametrize("ffn", [SWIGLU, NESTED], ids=["attention", "nested"])
def test_on_a_cpu_the_loop_is_the_plain_one_bit_for_bit(
    ffn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "rate_at", rate_at)
    run, plain = begin(ATTENTION, ffn), begin(ATTENTION, ffn)
    run.advance(STEPS)
    optimizer, chance = AdamW(plain.model.parameters(), weight_decay=0.1), random.Random(3)
    nested, progress = train.NestedPrefix(plain.model), Progress(Batching(STEPS, 4), CONTEXT)
    for step in range(STEPS):
        tokens, targets = plain.data.train_batch(step, 4)
        nested.use(chance.randrange(nested.count))
        loss = plain.model.loss(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.model.parameters(), 1.0)
        optimizer.step(rate_at(step, STEPS, 1e-2))
        optimizer.zero_grad()
        progress.note(step, loss.item())
    assert run.form == {"form": "eager"}
    assert run.trained().curve == progress.curve()
    assert_same(run.model.state_dict(), plain.model.state_dict())


def test_what_is_asked_of_the_stand_in_torch_has_too() -> None:
    def takes(function: Any, *given: Any, **named: Any) -> None:
        inspect.signature(function).bind(*given, **named)

    real = torch.cuda
    takes(real.graph, object(), stream=object())
    takes(real.stream, object())
    takes(real.current_stream)
    takes(real.get_rng_state, torch.device("cuda"))
    takes(real.set_rng_state, torch.zeros(1), torch.device("cuda"))
    takes(real.set_sync_debug_mode, "error")
    takes(real.get_sync_debug_mode)
    assert callable(real.CUDAGraph.replay)
    assert callable(real.Stream.wait_stream)
    asked = {name for name in vars(FakeCuda) if not name.startswith("_")}
    assert {name for name in asked if not hasattr(real, name)} == set()
