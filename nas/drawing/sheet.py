"""What a drawing is made of: boxes that grow with their text, circles, frames, wires, a legend.

Sizes are in SVG user units (pixels at a zoom of 1); y runs downwards, so that `top` < `bottom`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from nas.drawing.svg import Point, element, fit, line, rect, text, text_width, tip, wrap

WIDTH = 720.0
CENTRE = 372.0
"""Of the stack; further right than the page's, which leaves room for residual lines."""
MARGIN = 20.0
TITLE, SMALL, TINY = 13.0, 11.0, 9.5
LINE = 14.0
STRIP = 22.0
"""Height of the label at the top of a frame."""
BARS = 164.0
"""Width of a pair of bars with their names and percentages."""
BARS_HEIGHT = 38.0

LEGEND = {
    "cache": "mixer with a KV cache",
    "state": "mixer with a recurrent state",
    "both": "mixer with cache and state",
    "plain": "mixer that carries nothing",
    "ffn": "FFN",
    "norm": "norm",
    "io": "embedding, output",
    "add": "sum",
}
"""Class of a box -> what it stands for."""

_FILLS = {  # class: fill and border on a light page, then on a dark one
    "cache": ("#dbeafe", "#3b76c8", "#17304f", "#5b9bf0"),
    "state": ("#d9f3e1", "#2f9058", "#14382a", "#4fc483"),
    "both": ("#ebe2fd", "#7c55cf", "#2f2352", "#a98bf0"),
    "plain": ("#e6e9ed", "#87909a", "#262c34", "#8b96a3"),
    "ffn": ("#fdeecf", "#bd8420", "#3d2f12", "#dca63f"),
    "norm": ("#ffffff", "#87909a", "#0d1117", "#8b96a3"),
    "io": ("#fbe1e8", "#c24b71", "#43202d", "#ea7f9f"),
    "frame": ("#f5f7f9", "#ccd3da", "#151b22", "#3a434e"),
    "inner": ("#ffffff", "#ccd3da", "#0d1117", "#3a434e"),
    "page": ("#ffffff", "none", "#0d1117", "none"),
    "add": ("#ffffff", "#4b545e", "#0d1117", "#aeb8c3"),
    "params": ("#5f6b78", "none", "#a9b4c0", "none"),
    "flops": ("#d9622b", "none", "#f08a55", "none"),
    "track": ("#cbd2d9", "none", "#424c58", "none"),
    "wire": ("none", "#4b545e", "none", "#aeb8c3"),
    "tip": ("#4b545e", "none", "#aeb8c3", "none"),
    "ink": ("#1b2026", "none", "#e8edf3", "none"),
    "muted": ("#4b545e", "none", "#b3bdc8", "none"),
}
LIGHT, DARK = (
    {name: f"fill:{c[mode]};stroke:{c[mode + 1]}" for name, c in _FILLS.items()} for mode in (0, 2)
)
LIGHT["bold"] = "font-weight:bold"
LIGHT["wire"] += ";stroke-width:1.4"


@dataclass(frozen=True, slots=True)
class Box:
    """Where something stands."""

    x: float
    """Centre."""
    top: float
    bottom: float
    width: float = 0.0

    @property
    def left(self) -> float:
        """The left edge."""
        return self.x - self.width / 2


@dataclass(frozen=True, slots=True)
class Label:
    """What a box says."""

    style: str
    """Its class; a key of LEGEND."""
    title: str
    details: Sequence[str]
    """Wrapped; what follows is on lines of its own."""
    cost: Sequence[str]
    shares: tuple[float, float]
    """Of the model's parameters and FLOPs, from 0 to 1."""


@dataclass(slots=True)
class Sheet:
    """Markup, in layers that are painted one over the other."""

    frames: list[str] = field(default_factory=list)
    wires: list[str] = field(default_factory=list)
    boxes: list[str] = field(default_factory=list)
    styles: set[str] = field(default_factory=set)
    """Classes that the legend has to explain."""

    def box(self, x: float, bottom: float, width: float, label: Label) -> Box:
        """A box with a title, details, cost and bars; as high as its text needs.

        The bars stand to the right of the text, or below it where the box is narrow.
        """
        beside = width >= 2.4 * BARS
        room = width - 24 - (BARS if beside else 0)
        rows = [
            *wrap(label.details, room, SMALL, lines=4),
            *wrap(label.cost, room, SMALL, lines=2),
        ]
        bars = BARS_HEIGHT if width >= BARS and not beside else 0
        left, top = x - width / 2, bottom - 28 - LINE * len(rows) - bars
        title = fit(label.title, room, TITLE, bold=True)
        parts = [
            rect(left, top, width, bottom - top, style=label.style, radius=6.0),
            text(title, left + 12, top + 19, size=TITLE, style="ink bold"),
        ]
        for index, row in enumerate(rows):
            y = top + 34 + LINE * index
            parts.append(text(row, left + 12, y, size=SMALL, style="muted"))
        if beside:
            parts += _bars(left + width - BARS, (top + bottom) / 2, label.shares)
        elif bars:
            parts += _bars(left, bottom - 4 - BARS_HEIGHT / 2, label.shares)
        self.boxes.append(element("g", *parts, class_="box"))
        self.styles.add(label.style)
        return Box(x, top, bottom, width)

    def slim(self, x: float, bottom: float, width: float, words: str) -> Box:
        """A low box with a single line, for norms."""
        shown, top = fit(words, width - 24, SMALL), bottom - 24
        parts = (
            rect(x - width / 2, top, width, 24.0, style="norm", radius=12.0),
            text(shown, x, top + 16, size=SMALL, style="muted", anchor="middle"),
        )
        self.boxes.append(element("g", *parts, class_="box"))
        self.styles.add("norm")
        return Box(x, top, bottom, width)

    def plus(self, x: float, bottom: float) -> Box:
        """A circle with a plus."""
        self.boxes.append(_plus(x, bottom - 9, 9.0))
        self.styles.add("add")
        return Box(x, bottom - 18, bottom, 18.0)

    def frame(self, nesting: int, top: float, bottom: float, words: str, times: int) -> None:
        """A frame around what is repeated, with a strip for its label at the top."""
        left = MARGIN + 8.0 * nesting
        right = WIDTH - left
        style = "inner" if nesting % 2 else "frame"
        markup = rect(left, top, right - left, bottom - top, style=style, radius=8.0)
        self.frames.insert(0, markup)  # an outer frame is drawn after those inside, painted before
        if words:
            self.boxes.append(text(words, left + 12, top + 17, size=SMALL, style="muted"))
        if times > 1:
            said, x = f"\u00d7 {times}", right - 12
            self.boxes.append(text(said, x, top + 18, size=15.0, style="ink bold", anchor="end"))

    def wire(self, *points: Point, arrow: bool = True) -> None:
        """A line from point to point, with an arrow's tip at its end."""
        self.wires.append(line(*points))
        if arrow:
            self.wires.append(tip(points[-2], points[-1]))

    def note(self, words: str, x: float, y: float) -> None:
        """A few words beside something."""
        self.boxes.append(text(words, x, y, size=SMALL, style="muted"))

    def legend(self, top: float) -> float:
        """Explains the classes that were used; returns its lower end."""
        x, y = MARGIN, top
        entries = [(style, words) for style, words in LEGEND.items() if style in self.styles]
        entries.append(("bars", "share of the model's parameters and FLOPs, all repeats included"))
        for style, words in entries:
            width = 22 + text_width(words, SMALL)
            if x > MARGIN and x + width > WIDTH - MARGIN:
                x, y = MARGIN, y + 22
            self.boxes.append(_swatch(style, x, y))
            self.note(words, x + 22, y + 12)
            x += width + 18
        return y + 22


def _bars(x: float, middle: float, shares: tuple[float, float]) -> list[str]:
    """Two bars with their names and percentages, from `x` on, BARS wide."""
    drawn = []
    for style, name, share, y in zip(
        ("params", "flops"), ("params", "FLOPs"), shares, (middle - 7, middle + 8), strict=True
    ):
        drawn += [
            text(name, x + 12, y + 3, size=TINY, style="muted"),
            rect(x + 54, y - 4, 56.0, 7.0, style="track", radius=1.0),
            rect(x + 54, y - 4, 56.0 * share, 7.0, style=style, radius=1.0),
            text(
                f"{100 * share:.1f} %", x + BARS - 10, y + 3, size=TINY, style="muted", anchor="end"
            ),
        ]
    return drawn


def _plus(x: float, y: float, radius: float) -> str:
    reach = 0.55 * radius
    return element(
        "g",
        element("circle", class_="add", cx=x, cy=y, r=radius),
        line((x - reach, y), (x + reach, y)),
        line((x, y - reach), (x, y + reach)),
    )


def _swatch(style: str, x: float, y: float) -> str:
    """The small picture at the head of a legend's entry."""
    if style == "add":
        return _plus(x + 8, y + 8, 7.0)
    if style == "bars":
        upper = rect(x, y + 1, 16.0, 6.0, style="params", radius=1.0)
        return upper + rect(x, y + 9, 11.0, 6.0, style="flops", radius=1.0)
    return rect(x, y + 1, 16.0, 14.0, style=style, radius=7.0 if style == "norm" else 3.0)
