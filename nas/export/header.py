"""The docstring of an exported file: what it is, where it comes from, what was measured."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from nas.record import Measurement
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.base import Part, Source

WIDTH = 100


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a search knows about an architecture. All of it may be absent."""

    study: str | None = None
    trial: int | None = None
    description: str | None = None
    """The architecture in a sentence."""
    measurements: Sequence[Measurement] = ()
    target: Mapping[str, Any] = field(default_factory=dict)
    """The machine and shapes that the measurements are for, for example ``{"device": "cpu"}``."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Versions, device, dtype, threads, implementation: what the measurements depend on."""


MODELS = {"causal_lm": "A causal language model", "encoder": "A bidirectional encoder"}


def papers_of(architecture: Architecture) -> tuple[Source, ...]:
    """The papers that the parts follow, each once."""
    return tuple({paper.title: paper for paper in _papers(architecture)}.values())


def docstring(
    architecture: Architecture,
    header: Header,
    *,
    seed: int,
    weights: bool,
    kernels: tuple[Sequence[str], Sequence[str]] | None = None,
) -> str:
    """The text of the docstring, without its quotes; safe to stand between three of them.

    `kernels` are the names of the ops that ``model_triton.py`` holds, and of those that it does
    not; None where there is no such file.
    """
    paragraphs = [
        f"{MODELS[architecture.family]} found by architecture search: "
        f"architecture {architecture.id}.",
        *_description(header),
        f"{origin_of(header)}This file needs Python 3.11 and PyTorch, nothing else.",
        *_kernels(kernels),
        _size(architecture),
        *_tables(header),
        "Papers\n" + "\n".join(_paper_lines(papers_of(architecture))),
        "Use\n" + "\n".join(_use(architecture.family, seed, weights)),
    ]
    return "\n\n".join(paragraphs) + "\n"


def plain(value: Any) -> str:
    """A value as text that can neither end a docstring nor start an escape or a line in it."""
    if isinstance(value, Mapping):
        text = ", ".join(f"{key}={plain(item)}" for key, item in value.items())
    elif isinstance(value, list | tuple):
        text = ", ".join(plain(item) for item in value)
    else:
        text = str(value)
    printable = "".join(c if c.isprintable() else " " for c in text)
    return printable.replace("\\", "/").replace('"', "'").strip()


def _papers(model: BaseModel) -> Iterator[Source]:
    if isinstance(model, Part):
        yield from model.sources
    for name in type(model).model_fields:
        value = getattr(model, name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, BaseModel):
                yield from _papers(item)


def _description(header: Header) -> list[str]:
    return (
        ["\n".join(textwrap.wrap(plain(header.description), WIDTH))] if header.description else []
    )


def origin_of(header: Header) -> str:
    """The study and trial that an architecture comes from, as a sentence and a space."""
    if header.study is None:
        return ""
    trial = "" if header.trial is None else f", trial {header.trial}"
    return f"Study {plain(header.study)}{trial}. "


def _kernels(ops: tuple[Sequence[str], Sequence[str]] | None) -> Iterator[str]:
    if ops is not None:
        carried, without = (", ".join(names) for names in ops)
        rows = [("in Triton on a GPU", carried), ("in torch everywhere", without or "no other op")]
        said = "On a GPU it also needs model_triton.py beside it, and Triton; see KERNELS below."
        yield f"Ops\n{_table(rows)}\n    {said}"


def _size(architecture: Architecture) -> str:
    cost = architecture.cost(1)
    lines = [f"parameters  {cost.params:,}"]
    if cost.active_params != cost.params:
        lines.append(f"active      {cost.active_params:,} for each token")
    lines.append(f"layers      {architecture.depth}")
    lines.append(f"width       {architecture.dim}")
    lines.append(f"vocabulary  {architecture.vocab}")
    return "Size\n" + "\n".join(f"    {line}" for line in lines)


def _tables(header: Header) -> Iterator[str]:
    if header.measurements:
        yield "Measured\n" + _table([_measured(m) for m in header.measurements])
    for title, values in (("Target", header.target), ("Environment", header.environment)):
        if values:
            yield f"{title}\n" + _table([(plain(k), plain(v)) for k, v in values.items()])


def _table(rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join(line for name, text in rows for line in _row(name.ljust(width), text))


def _row(name: str, text: str) -> list[str]:
    indent = " " * (4 + len(name))
    return textwrap.wrap(text, WIDTH, initial_indent=f"    {name}", subsequent_indent=indent) or [
        f"    {name}".rstrip()
    ]


def _measured(measurement: Measurement) -> tuple[str, str]:
    text = f"{measurement.value:.6g} {plain(measurement.unit)}"
    if measurement.low is not None and measurement.high is not None:
        text += (
            f" ({measurement.low:.6g} to {measurement.high:.6g}, "
            f"10th to 90th percentile of {measurement.repeats})"
        )
    return plain(measurement.metric), text


def _paper_lines(papers: Sequence[Source]) -> Iterator[str]:
    for paper in papers:
        title = plain(paper.title)
        yield from textwrap.wrap(
            title, WIDTH, initial_indent="    ", subsequent_indent="    ", break_long_words=False
        )
        yield f"        {plain(paper.link)}"


def _use(family: str, seed: int, weights: bool) -> Iterator[str]:
    decodes = family == "causal_lm"
    shown = "a forward pass and a few decoded tokens" if decodes else "and a forward pass"
    rows = [
        ("python model.py", f"prints the size, {shown}"),
        ("torch.manual_seed({seed})", ""),
        ("model = build()", "with the weights that training began with"),
    ]
    if weights:
        rows.append(("weights = load_safetensors(Path('weights.safetensors'))", ""))
        rows.append(("model.load_state_dict(weights)", "the trained weights"))
    if decodes:
        rows.append(("loss = model.loss(tokens, targets)", "tokens and targets [B, T]; in nats"))
        rows.append(("tokens = model.generate(tokens, 32)", "greedy decoding with carried state"))
    else:
        rows.append(("logits = model(tokens)", "tokens [B, T]"))
        rows.append(("loss = model.loss(tokens, targets)", "targets of -100 do not count"))
    for code, comment in rows:
        code = code.format(seed=seed)
        yield f"    {code:<37}# {comment}" if comment else f"    {code}"
