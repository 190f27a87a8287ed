"""Architectures in words: one line for tables, a few for a page. Repeats are folded."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nas.search_spaces.architecture import Architecture
from nas.search_spaces.base import FFN, Block, FeatureMap, Mixer, Normaliser, Part, Scope

LINE = 60
"""Most characters of `one_line`."""

_SHORT = {  # what one line says of a part, by field
    "heads": "{}h",
    "groups": "{}g",
    "experts": "{}e",
    "top_k": "top{}",
    "active": "{} active",
}
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


# Repeats -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of a sequence: its items in turn, `times` times over."""

    times: int
    items: tuple["Run | int", ...]
    """The index of one element, or shorter runs."""

    @property
    def period(self) -> int:
        """Elements in one turn."""
        return sum(item.length if isinstance(item, Run) else 1 for item in self.items)

    @property
    def length(self) -> int:
        """Elements in all turns."""
        return self.times * self.period


def fold(labels: Sequence[Hashable]) -> tuple[Run, ...]:
    """A sequence as runs, bottom first: AAABAAAB is 2 x (3 x A, B). Indices are those of the first
    turn. From each place on, the repetition that covers most is taken, and the shortest period."""
    numbers: dict[Hashable, int] = {}
    return _fold([numbers.setdefault(label, len(numbers)) for label in labels], 0)


def _fold(labels: list[int], start: int) -> tuple[Run, ...]:
    runs: list[Run] = []
    at = 0
    while at < len(labels):
        period, times = _widest(labels, at)
        turn = labels[at : at + period]
        items = (start + at,) if period == 1 else _fold(turn, start + at)
        runs.append(Run(times, items))
        at += period * times
    return tuple(runs)


def _widest(labels: list[int], at: int) -> tuple[int, int]:
    """(period, times) of the repetition from `at` on that covers most; (1, 1) is none."""
    best = (1, 1)
    for period in range(1, (len(labels) - at) // 2 + 1):
        end = at + period
        while end < len(labels) and labels[end] == labels[end - period]:
            end += 1
        times = (end - at) // period
        if times > 1 and period * times > best[0] * best[1]:
            best = (period, times)
    return best


# Parts -------------------------------------------------------------------------------------------


def short(part: Part) -> str:
    """A part with its most telling numbers: ``attention(4h/2g)``, ``swiglu 256``."""
    if isinstance(part, FFN) and hasattr(part, "hidden"):
        return f"{part.kind} {part.hidden}"
    given = {name: getattr(part, name, None) for name in _SHORT}
    if given["groups"] == given["heads"]:
        given["groups"] = None
    said = [_SHORT[name].format(value) for name, value in given.items() if value is not None]
    said += [text for _, value in _fields(part) for text in _inside(part, value)]
    return f"{part.kind}({'/'.join(said)})" if said else part.kind


def _inside(part: Part, value: Any) -> Iterator[str]:
    """What one line says of a part inside another: a window by its size, else the kind."""
    if isinstance(value, tuple):
        for item in value:
            yield from _inside(part, item)
    elif isinstance(value, FFN | Mixer):
        yield short(value)
    elif isinstance(value, Scope) and value.cache_tokens is not None:
        yield f"w{value.cache_tokens}"
    elif isinstance(value, Scope | Normaliser | FeatureMap) and not _is_default(part, value):
        yield value.kind


def _is_default(part: Part, value: Part) -> bool:
    return any(value == info.default for info in type(part).model_fields.values())


def details(part: Part) -> list[str]:
    """Everything that sets a part apart, field by field: what has no default or differs from it.
    ``["heads 4", "groups 2", "head_dim 16", "scope window (window 8)"]``."""
    return [
        _said(name, value)
        for name, value in _fields(part)
        if value != type(part).model_fields[name].default
    ]


def full(part: Part) -> str:
    """A part with all its details: ``gelu (hidden 256, bias)``."""
    said = ", ".join(details(part))
    return f"{part.kind} ({said})" if said else part.kind


def _fields(part: Part) -> Iterator[tuple[str, Any]]:
    return ((name, getattr(part, name)) for name in type(part).model_fields if name != "kind")


def _said(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return name if value else f"no {name}"
    return f"{name} {_written(value)}"


def _written(value: Any) -> str:
    if isinstance(value, Part):
        return full(value)
    if isinstance(value, tuple):
        return "/".join(_written(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def amount(number: float) -> str:
    """A number in three digits and a unit: 96, 1.23k, 45.6M."""
    for size, unit in _UNITS:
        if number >= 0.9995 * size:
            scaled = number / size
            digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
            text = f"{scaled:.{digits}f}"
            return (text.rstrip("0").rstrip(".") if digits else text) + unit
    return f"{number:.0f}"


# Architectures -----------------------------------------------------------------------------------


def one_line(architecture: Architecture) -> str:
    """At most 60 characters: ``4 x 96 | 3x gated_delta(2h) + attention(4h/2g) | swiglu 256``.

    Layers x width, then mixers bottom first, FFNs, and the wiring. Where that is too long, first
    the wiring goes, then numbers, then order (``9 attention + 3 identity``).
    """
    size = f"{architecture.depth} x {architecture.dim}"
    mixers = [layer.mixer for layer in architecture.layers]
    ffns = [layer.ffn for layer in architecture.layers]
    wiring = _in_order([layer.block for layer in architecture.layers], _wiring)
    in_full = [size, _in_order(mixers, short), _in_order(ffns, short)]
    lines = (
        [*in_full, wiring],
        in_full,
        [size, _in_order(mixers, _kind), _in_order(ffns, short)],
        [size, _in_order(mixers, _kind), _in_order(ffns, _kind)],
        [size, _counted(mixers), _in_order(ffns, short)],
        [size, _counted(mixers), _counted(ffns)],
        [size, _counted(mixers, most=2), _counted(ffns, most=1)],
        [size, _counted(mixers, most=1), _counted(ffns, most=1)],
    )
    texts = [" | ".join(line) for line in lines]
    return next((text for text in texts if len(text) <= LINE), texts[-1][: LINE - 3] + "...")


def describe(architecture: Architecture) -> str:
    """A few lines: size, then what stands in the layers, bottom first, with all numbers."""
    layers = architecture.layers
    own = "tied to the embedding" if architecture.tied else "with a matrix of its own"
    head = (
        f"{full(architecture.head)} {own}"
        if architecture.head.over_vocabulary
        else full(architecture.head)
    )
    cost = architecture.cost(1)
    active = f", {amount(cost.active_params)} active" if cost.active_params < cost.params else ""
    return "\n".join(
        (
            f"{architecture.id}: {architecture.depth} layers of width {architecture.dim}, "
            f"{architecture.vocab} tokens, {amount(cost.params)} parameters{active}",
            f"mixer: {_in_order([layer.mixer for layer in layers], full)}",
            f"ffn: {_in_order([layer.ffn for layer in layers], full)}",
            f"block: {_in_order([layer.block for layer in layers], _block)}",
            f"embedding: {full(architecture.embedding)}; last norm: {full(architecture.norm)}; "
            f"head: {head}",
        )
    )


def _in_order(parts: Sequence[Part], name: Callable[[Any], str]) -> str:
    """Parts that are called the same count as repeats."""
    names = [name(part) for part in parts]
    runs = fold(names)
    if len(runs) == 1 and runs[0].period == 1:  # the same in all layers
        return names[0]
    return " + ".join(_run_text(run, names) for run in runs)


def _run_text(run: Run, names: Sequence[str]) -> str:
    inner = [names[item] if isinstance(item, int) else _run_text(item, names) for item in run.items]
    text = " + ".join(inner)
    if run.times == 1:
        return text
    return f"{run.times}x {text}" if len(inner) == 1 else f"{run.times}x ({text})"


def _counted(parts: Sequence[Part], most: int | None = None) -> str:
    """How many of each kind; of the `most` commonest only, where that is given."""
    counts = Counter(part.kind for part in parts).most_common()
    if len(counts) == 1:
        return counts[0][0]
    named = counts[:most]
    said = [kind if count == 1 else f"{count} {kind}" for kind, count in named]
    others = len(parts) - sum(count for _, count in named)
    if others:
        said.append("1 other" if others == 1 else f"{others} others")
    return " + ".join(said)


def _kind(part: Part) -> str:
    return part.kind


def _wiring(block: Block) -> str:
    """The kinds of a block and of the parts inside; a sequential one goes without saying."""
    kinds = [*_kinds(block)]
    return " ".join(kinds[1:] if block.kind == "sequential" and len(kinds) > 1 else kinds)


def _block(block: Block) -> str:
    """What sets it apart; where nothing does, the kinds of which it is made."""
    return full(block) if details(block) else " ".join(_kinds(block))


def _kinds(part: Part) -> Iterator[str]:
    yield part.kind
    for _, value in _fields(part):
        if isinstance(value, Part):
            yield from _kinds(value)
