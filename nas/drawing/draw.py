"""An architecture drawn for a person: layers from bottom to top, repeats folded, residual lines,
and the share that each box has of parameters and FLOPs. Our own SVG; nothing else is needed.

The stack starts at y = 0 and grows upwards, into negative y; the legend stands below. How a layer
is wired is not known here: it is read off the operators of its block, with one operator in place of
the mixer and one of the FFN, so that a new block or residual is drawn as well.
"""

from collections.abc import Iterable, Sequence

from nas.describe import Run, amount, details, fold, full, one_line
from nas.drawing.sheet import (
    CENTRE,
    DARK,
    LIGHT,
    MARGIN,
    SMALL,
    STRIP,
    TITLE,
    WIDTH,
    Box,
    Label,
    Sheet,
)
from nas.drawing.svg import element, plain_text, rect, style_sheet, text, wrap
from nas.search_spaces.architecture import Architecture, Layer
from nas.search_spaces.base import Part
from nas.search_spaces.ops import INPUT, Op, Ops, merge_costs

ALONE, BESIDE = 420.0, 600.0
"""Width of a box alone in its row, and of all boxes of a row together."""
NORM = 200.0
GAP, SIDE, LANE = 18.0, 16.0, 12.0
ADDITIONS = ("add", "sum")
"""Operators that are drawn as a circle."""

Price = tuple[int, int, int, int]
"""(params, active params, FLOPs per token, FLOPs of a decoding step)"""


def draw_svg(architecture: Architecture, *, context: int) -> str:
    """A standalone SVG document; FLOPs and cache are at a context length in tokens."""
    stack = _Stack(architecture, context)
    header, top = _header(architecture, context, stack.draw())
    sheet = stack.sheet
    bottom = sheet.legend(34.0) + MARGIN / 2
    return element(
        "svg",
        plain_text("title", f"Architecture {architecture.id}"),
        plain_text("desc", one_line(architecture)),
        style_sheet(LIGHT, DARK),
        rect(0.0, top, WIDTH, bottom - top, style="page", radius=0.0),
        *sheet.frames,
        *sheet.wires,
        *sheet.boxes,
        *header,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 {top:g} {WIDTH:g} {bottom - top:g}",
        width=WIDTH,
        height=bottom - top,
        role="img",
    )


def _header(architecture: Architecture, context: int, bottom: float) -> tuple[list[str], float]:
    """What it is and what it costs, above the stack, and where that begins."""
    cost = architecture.cost(context)
    facts = [f"{amount(cost.params)} parameters"]
    if cost.active_params < cost.params:
        facts.append(f"{amount(cost.active_params)} active")
    facts.append(f"{amount(cost.flops)} FLOPs per token at {context} tokens")
    if cost.cache_values:
        per_token = f"{amount(cost.cache_values_per_token)} per token"
        facts.append(f"KV cache {amount(cost.cache_values)} values ({per_token})")
    if cost.state_values:
        facts.append(f"recurrent state {amount(cost.state_values)} values")
    rows = wrap(facts, WIDTH - 2 * MARGIN, SMALL, lines=3)
    top = bottom - 72 - 15 * len(rows)
    lines = [
        text(architecture.id, MARGIN, top + 30, size=18.0, style="ink bold"),
        text(one_line(architecture), MARGIN, top + 50, size=TITLE, style="ink"),
    ]
    for index, row in enumerate(rows):
        lines.append(text(row, MARGIN, top + 68 + 15 * index, size=SMALL, style="muted"))
    return lines, top


def wiring(architecture: Architecture, index: int, context: int) -> Ops:
    """The operators of a layer, with the mixer and the FFN as one operator each; one that does
    nothing where it has neither."""
    at, layer = architecture.place(index), architecture.layers[index]
    mixer, ffn = (
        None if part.absent else (Op(slot, (INPUT,), (at.dim,), kind=f"part:{slot}"),)
        for slot, part in (("mixer", layer.mixer), ("ffn", layer.ffn))
    )
    nothing = Op("nothing", (INPUT,), (at.dim,))
    return layer.block.join_ops(at, context, mixer, ffn) or (nothing,)


def rows(ops: Ops) -> dict[str, int]:
    """The row of each operator: one above the highest that it reads. The input is in row 0."""
    found = {INPUT: 0}
    for op in ops:
        found[op.name] = 1 + max((found[read] for read in op.reads), default=0)
    return found


class _Stack:
    """The model from bottom to top. Methods that draw take the y at which they start and return
    the one at which they end."""

    def __init__(self, architecture: Architecture, context: int) -> None:
        self.architecture = architecture
        self.context = context
        self.sheet = Sheet()
        cost = architecture.cost(context)
        self.params, self.flops = cost.params, cost.flops

    def draw(self) -> float:
        """The whole stack."""
        model, at = self.architecture, self.architecture.place(0)
        self.sheet.note("T tokens", CENTRE + 12, 4.0)
        lookup = merge_costs(model.embedding.vocabulary_ops(at, model.vocab))
        said = [model.embedding.kind, f"vocabulary {model.vocab}", *details(model.embedding)]
        y = self._outer(0.0, "embedding", said, lookup)
        self._shape(model.dim, y)
        for run in fold(model.layers):
            y = self._run(run, self._up(y), 0, [0])
        norm = merge_costs(model.norm.ops(at, self.context))
        y = self.sheet.slim(CENTRE, self._up(y), NORM, _norm_words(full(model.norm), norm[0])).top
        head = model.head.output_ops(at, model.vocab, self.context, tied=model.tied)
        said = details(model.head)
        if model.head.over_vocabulary:
            said = ["tied to the embedding" if model.tied else "matrix of its own", *said]
        y = self._outer(y, model.head.kind.replace("_", " "), said, merge_costs(head))
        self._shape(head[-1].width, y)
        return self._up(y) - GAP / 2

    def _outer(self, y: float, title: str, said: Sequence[str], price: Price) -> float:
        label = self._label("io", title, said, [price])
        return self.sheet.box(CENTRE, self._up(y), ALONE, label).top

    def _up(self, y: float, *, arrow: bool = True) -> float:
        """A wire to whatever comes next."""
        self.sheet.wire((CENTRE, y), (CENTRE, y - GAP), arrow=arrow)
        return y - GAP

    def _shape(self, width: int, y: float) -> None:
        self.sheet.note(f"T \u00d7 {width}", CENTRE + 12, y - 5)

    def _run(self, run: Run, y: float, nesting: int, turns: Sequence[int]) -> float:
        """A frame with what is repeated. `turns` is where each turn of the surrounding runs starts,
        relative to the first one."""
        bottom = y
        turns = [start + turn * run.period for start in turns for turn in range(run.times)]
        for item in run.items:
            if isinstance(item, int):
                y = self._layer(item, y, [item + turn for turn in turns])
            else:
                y = self._run(item, self._up(y, arrow=y < bottom), nesting + 1, turns)
        top = y - STRIP
        self.sheet.wire((CENTRE, y), (CENTRE, top), arrow=False)
        words = "" if nesting else _layer_words(_first(run), run.length)
        self.sheet.frame(nesting, top, bottom, words, run.times)
        return top

    def _layer(self, index: int, bottom: float, layers: Sequence[int]) -> float:
        """The rows of one layer, which stands for all `layers`."""
        ops = wiring(self.architecture, index, self.context)
        row_of = rows(ops)
        placed = {INPUT: Box(CENTRE, bottom, bottom)}
        y = bottom
        for row in range(1, max(row_of.values()) + 1):
            beside = [op for op in ops if row_of[op.name] == row]
            placed |= self._row(beside, y - GAP, layers)
            y = min(placed[op.name].top for op in beside)
        self._connect(ops, row_of, placed)
        return y

    def _row(self, ops: Sequence[Op], bottom: float, layers: Sequence[int]) -> dict[str, Box]:
        """Operators side by side."""
        width = ALONE if len(ops) == 1 else (BESIDE + SIDE) / len(ops) - SIDE
        left = CENTRE - (width + SIDE) * (len(ops) - 1) / 2
        return {
            op.name: self._operator(op, left + column * (width + SIDE), bottom, width, layers)
            for column, op in enumerate(ops)
        }

    def _operator(
        self, op: Op, x: float, bottom: float, width: float, layers: Sequence[int]
    ) -> Box:
        name = op.name.rpartition(".")[2]
        if op.kind.startswith("part:"):
            return self.sheet.box(x, bottom, width, self._part_label(name, layers))
        if name in ADDITIONS:
            return self.sheet.plus(x, bottom)
        return self.sheet.slim(x, bottom, min(width, NORM), _norm_words(name, op.params))

    def _part_label(self, slot: str, layers: Sequence[int]) -> Label:
        """What the box of a mixer or an FFN says."""
        part = _part_of(self.architecture.layers[layers[0]], slot)
        style = "ffn"
        if slot == "mixer":
            style = _carries(part, self.architecture, layers[0])
        prices = [
            merge_costs(part.ops(self.architecture.place(layer), self.context)) for layer in layers
        ]
        return self._label(style, part.kind, details(part), prices)

    def _label(self, style: str, title: str, said: Sequence[str], prices: Sequence[Price]) -> Label:
        """`prices` are those of all repeats; the first is the one that is written."""
        params, active, flops, _ = prices[0]
        cost = [f"{amount(params)} params", f"{amount(flops)} FLOPs"]
        if active < params:
            cost.insert(1, f"{amount(active)} active")
        shares = (
            sum(price[0] for price in prices) / self.params,
            sum(price[2] for price in prices) / self.flops,
        )
        return Label(style, title, said, cost, shares)

    # Wires within a layer: straight to the next row, around everything in between for a residual

    def _connect(self, ops: Ops, row_of: dict[str, int], placed: dict[str, Box]) -> None:
        edges = [(read, op.name) for op in ops for read in dict.fromkeys(op.reads)]
        far = [edge for edge in edges if row_of[edge[1]] > row_of[edge[0]] + 1]
        for source, target in edges:
            if (source, target) not in far:
                self._step(placed[source], placed[target])
        for (source, target), lane in _lanes(far, row_of).items():
            between = range(row_of[source] + 1, row_of[target])
            left = min(box.left for name, box in placed.items() if row_of[name] in between)
            self._around(placed[source], placed[target], left - SIDE - LANE * lane)

    def _step(self, source: Box, target: Box) -> None:
        start, end = (source.x, source.top), (target.x, target.bottom)
        if source.x == target.x:
            self.sheet.wire(start, end)
        else:
            turn = target.bottom + GAP / 2
            self.sheet.wire(start, (source.x, turn), (target.x, turn), end)

    def _around(self, source: Box, target: Box, lane: float) -> None:
        y, middle = source.top - GAP / 2, (target.top + target.bottom) / 2
        self.sheet.wire((source.x, y), (lane, y), (lane, middle), (target.left, middle))


def _lanes(edges: Iterable[tuple[str, str]], row_of: dict[str, int]) -> dict[tuple[str, str], int]:
    """A lane for each edge, so that two that pass the same rows do not share one; short ones run
    close to the boxes."""
    lanes: dict[tuple[str, str], int] = {}
    spans: list[tuple[int, int, int]] = []
    for edge in sorted(edges, key=lambda edge: row_of[edge[1]] - row_of[edge[0]]):
        low, high = row_of[edge[0]], row_of[edge[1]]
        taken = {lane for start, end, lane in spans if start < high and low < end}
        lane = next(lane for lane in range(len(spans) + 1) if lane not in taken)
        spans.append((low, high, lane))
        lanes[edge] = lane
    return lanes


def _part_of(layer: Layer, slot: str) -> Part:
    return layer.mixer if slot == "mixer" else layer.ffn


def _carries(part: Part, architecture: Architecture, layer: int) -> str:
    """The class of a mixer: what it carries from token to token."""
    memory = part.memory(architecture.place(layer))
    if memory.growth:
        return "both" if memory.states else "cache"
    return "state" if memory.states else "plain"


def _first(run: Run) -> int:
    """The first layer of a run."""
    item = run.items[0]
    return item if isinstance(item, int) else _first(item)


def _layer_words(first: int, count: int) -> str:
    return f"layer {first}" if count == 1 else f"layers {first}\u2013{first + count - 1}"


def _norm_words(name: str, params: int) -> str:
    return f"{name} \u00b7 {amount(params)} params" if params else name
