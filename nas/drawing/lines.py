"""Lines over a common axis as SVG, each with a band for its interval, and several such charts one
below the other. No other library is needed.

Sizes are in SVG user units (pixels at a zoom of 1); y runs downwards.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nas.drawing.svg import (
    Point,
    element,
    fit,
    number,
    plain_text,
    rect,
    style_sheet,
    text,
    wrap,
)

WIDTH, HEIGHT = 860.0, 440.0
LEFT, RIGHT, TOP, BOTTOM = 70.0, 210.0, 58.0, 52.0
"""Margins around the plot; the names of the lines stand to its right."""
SMALL, TITLE = 11.0, 14.0
TICKS = 6
"""About as many on each axis."""
# Okabe and Ito's colours, which stay apart for the colour-blind; then again with dashes.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a7a7a")
DASHES = ("none", "7 4", "2 3")
MARK = 3.5
"""Half the size of the mark of a point."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line; all of its columns are of the same length, and not empty."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    """Ends of the band; empty for a line without one."""
    marks: Sequence[Point] = ()
    """Points that are marked, in another shape for each line."""
    dashes: str | None = None
    """None: those of its place in the chart."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over one axis, with the words around them."""

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]


def line_chart(title: str, x_label: str, y_label: str, lines: Sequence[Line]) -> str:
    """A chart as an SVG document. Raises ValueError where there is no line to draw."""
    body, height = _drawn(Chart(title, x_label, y_label, lines))
    return _document(title, "", body, height)


def line_charts(title: str, description: str, charts: Sequence[Chart]) -> str:
    """Charts one below the other as an SVG document; title and description are what a screen reader
    says of it. Raises ValueError where there is no chart, or one without lines."""
    if not charts:
        raise ValueError("a drawing needs a chart")
    inner, top = list[str](), 0.0
    for body, height in map(_drawn, charts):
        inner.append(element("g", *body, transform=f"translate(0 {number(top)})"))
        top += height
    return _document(title, description, inner, top)


def _document(title: str, description: str, body: Sequence[str], height: float) -> str:
    said = [plain_text("desc", description)] if description else []
    return element(
        "svg",
        plain_text("title", title),
        *said,
        _styles(),
        *body,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {number(WIDTH)} {number(height)}",
        width=WIDTH,
        height=height,
        role="img",
    )


def _drawn(chart: Chart) -> tuple[list[str], float]:
    """A chart's elements, and its height."""
    lines = chart.lines
    if not lines or any(not line.x for line in lines):
        raise ValueError("a chart needs lines with points")
    frame = _Frame.around(lines)
    height = max(HEIGHT, TOP + 20.0 * len(lines) + 20.0)  # the legend may be longer
    heading = fit(chart.title, WIDTH - 40, TITLE, bold=True)
    below = HEIGHT - 14.0
    body = [
        rect(0.0, 0.0, WIDTH, height, style="page", radius=0.0),
        text(heading, 20.0, 24.0, size=TITLE, style="ink bold"),
        *frame.grid(),
        text(chart.x_label, frame.middle, below, size=SMALL, style="muted", anchor="middle"),
        text(chart.y_label, LEFT - 50.0, TOP - 14.0, size=SMALL, style="muted"),
    ]
    body += [_band(frame, place, line) for place, line in enumerate(lines) if line.low]
    for place, line in enumerate(lines):
        body += [_path(frame, place, line), *_named(place, line)]
    return body, height


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where values stand on the page."""

    x: tuple[float, float]
    y: tuple[float, float]

    @classmethod
    def around(cls, lines: Sequence[Line]) -> "_Frame":
        """Ends on ticks, and holds every point."""
        x = [value for line in lines for value in line.x]
        y = [value for line in lines for value in (*line.low, *line.high, *line.y)]
        return cls(_rounded(min(x), max(x)), _rounded(min(y), max(y)))

    @property
    def middle(self) -> float:
        """Of the plot, from left to right."""
        return (LEFT + WIDTH - RIGHT) / 2

    def at(self, x: float, y: float) -> Point:
        """The place of a point."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )

    def grid(self) -> list[str]:
        """Lines at the ticks, with their values."""
        drawn = []
        for value in _ticks(*self.x):
            (x, low), (_, high) = self.at(value, self.y[0]), self.at(value, self.y[1])
            drawn.append(_rule((x, low), (x, high)))
            drawn.append(
                text(f"{value:g}", x, low + 18, size=SMALL, style="muted", anchor="middle")
            )
        for value in _ticks(*self.y):
            (left, y), (right, _) = self.at(self.x[0], value), self.at(self.x[1], value)
            drawn.append(_rule((left, y), (right, y)))
            drawn.append(
                text(f"{value:g}", left - 8, y + 4, size=SMALL, style="muted", anchor="end")
            )
        return drawn


def _step(low: float, high: float) -> float:
    """The distance of ticks: 1, 2 or 5 times a power of ten."""
    rough = ((high - low) or abs(low) or 1.0) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)


def _rounded(low: float, high: float) -> tuple[float, float]:
    step = _step(low, high)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return first * step, max(last, first + 1) * step


def _ticks(low: float, high: float) -> list[float]:
    step = _step(low, high)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def _rule(start: Point, end: Point) -> str:
    return element("path", class_="rule", d=_route((start, end)))


def _route(points: Sequence[Point]) -> str:
    return "M" + " L".join(f"{number(x)} {number(y)}" for x, y in points)


def _look(place: int, line: Line) -> tuple[str, str]:
    """(class of the colour, dashes) of one line."""
    dashes = DASHES[place // len(COLOURS) % len(DASHES)] if line.dashes is None else line.dashes
    return f"line{place % len(COLOURS)}", dashes


def _mark(place: int, at: Point) -> str:
    """A circle, a square or a triangle around a point."""
    (x, y), style = at, f"line{place % len(COLOURS)}"
    if place % 3 == 0:
        return element("circle", class_=style, cx=x, cy=y, r=MARK)
    if place % 3 == 1:
        return rect(x - MARK, y - MARK, 2 * MARK, 2 * MARK, style=style, radius=0.0)
    corners = ((x, y - MARK), (x + MARK, y + MARK), (x - MARK, y + MARK))
    return element("path", class_=style, d=_route(corners) + " Z")


def _band(frame: _Frame, place: int, line: Line) -> str:
    upper = [frame.at(x, y) for x, y in zip(line.x, line.high, strict=True)]
    lower = [frame.at(x, y) for x, y in zip(line.x, line.low, strict=True)]
    return element(
        "path", class_=f"{_look(place, line)[0]} band", d=_route([*upper, *lower[::-1]]) + " Z"
    )


def _path(frame: _Frame, place: int, line: Line) -> str:
    points = [frame.at(x, y) for x, y in zip(line.x, line.y, strict=True)]
    style, dashes = _look(place, line)
    shown = element("path", class_=f"{style} line", stroke_dasharray=dashes, d=_route(points))
    marks = (_mark(place, frame.at(*point)) for point in line.marks)
    return element("g", plain_text("title", line.name), shown, *marks)


def _named(place: int, line: Line) -> list[str]:
    """The line's entry in the legend."""
    left, y = WIDTH - RIGHT + 20.0, TOP + 10.0 + 20.0 * place
    style, dashes = _look(place, line)
    sample = _route(((left, y - 4), (left + 26, y - 4)))
    (name,) = wrap([line.name], RIGHT - 60, SMALL, lines=1)
    return [
        element("path", class_=f"{style} line", stroke_dasharray=dashes, d=sample),
        *([_mark(place, (left + 13, y - 4))] if line.marks else []),
        text(name, left + 34, y, size=SMALL, style="ink"),
    ]


def _styles() -> str:
    light = {
        "page": "fill:#ffffff",
        "ink": "fill:#1b2026",
        "muted": "fill:#4b545e",
        "bold": "font-weight:bold",
        "rule": "fill:none;stroke:#e2e6ea;stroke-width:1",
        **{f"line{place}": f"stroke:{c};fill:{c}" for place, c in enumerate(COLOURS)},
        "line": "fill:none;stroke-width:2",
        "band": "stroke:none;fill-opacity:0.13",
    }
    dark = {
        "page": "fill:#0d1117",
        "ink": "fill:#e8edf3",
        "muted": "fill:#b3bdc8",
        "rule": "stroke:#262c34",
    }
    return style_sheet(light, dark)
