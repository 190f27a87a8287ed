"""Writing SVG by hand: elements, style sheets for light and dark pages, and text that fits."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

Point = tuple[float, float]

FONTS = "'DejaVu Sans','Segoe UI',Helvetica,Arial,sans-serif"

# Upper bounds, in em, of how far a character advances in each of FONTS.
_WIDTHS = {
    character: width
    for width, characters in (
        (0.3, "Iijl"),
        (0.35, " ,./:;\\|\u00b7'"),
        (0.4, "()-[]ft"),
        (0.45, "!r"),
        (0.5, 'J"*_`'),
        (0.6, "?ckvxsz\u2013"),
        (0.65, "$0123456789FLTabdeghnopqu{}"),
        (0.7, "AEKPSVXYZ"),
        (0.75, "BCNRU"),
        (0.8, "&DGHOQ"),
        (0.85, "#+<=>^w~\u00d7"),
        (0.9, "M"),
    )
    for character in characters
}
_OTHER = 1.1
_BOLD = 1.25  # the most that a letter gains


def text_width(words: str, size: float, *, bold: bool = False) -> float:
    """An upper bound of a text's width, in the units of `size`."""
    em = sum(_WIDTHS.get(character, _OTHER) for character in words)
    return em * size * (_BOLD if bold else 1.0)


def fit(words: str, width: float, size: float, *, bold: bool = False) -> str:
    """The text, cut with an ellipsis where it is too wide."""
    if text_width(words, size, bold=bold) <= width:
        return words
    while words and text_width(words + "\u2026", size, bold=bold) > width:
        words = words[:-1]
    return words.rstrip() + "\u2026"


def wrap(items: Sequence[str], width: float, size: float, *, lines: int) -> list[str]:
    """Items one after another with dots between them, on as many lines as they need; what does not
    fit on the last of `lines` is cut."""
    rows: list[str] = []
    for item in items:
        longer = f"{rows[-1]} \u00b7 {item}" if rows else item
        if rows and (len(rows) == lines or text_width(longer, size) <= width):
            rows[-1] = longer
        else:
            rows.append(item)
    return [fit(row, width, size) for row in rows]


def element(name: str, *children: str, **attributes: object) -> str:
    """One element; its children are markup. In names of attributes an underscore stands for a
    hyphen, and one at the end for nothing; numbers are rounded to a tenth."""
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}={quoteattr(_plain(value))}"
        for key, value in attributes.items()
    )
    return f"<{name}{written}>{''.join(children)}</{name}>" if children else f"<{name}{written}/>"


def _plain(value: object) -> str:
    return number(value) if isinstance(value, float) else str(value)


def number(value: float) -> str:
    """A coordinate, to a tenth."""
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")


def rect(x: float, y: float, width: float, height: float, *, style: str, radius: float) -> str:
    """A rectangle with round corners."""
    return element("rect", class_=style, x=x, y=y, width=width, height=height, rx=radius)


def text(
    words: str, x: float, y: float, *, size: float, style: str, anchor: str | None = None
) -> str:
    """One line of text, with its baseline at `y`; `anchor` is ``middle`` or ``end``."""
    aligned = {} if anchor is None else {"text_anchor": anchor}
    return element("text", escape(words), class_=style, x=x, y=y, font_size=size, **aligned)


def plain_text(name: str, words: str) -> str:
    """An element that holds words only, such as ``title``."""
    return element(name, escape(words))


def line(*points: Point) -> str:
    """Straight lines from point to point."""
    path = " L".join(f"{number(x)} {number(y)}" for x, y in points)
    return element("path", class_="wire", d=f"M{path}")


def tip(before: Point, end: Point) -> str:
    """The head of an arrow that comes from `before` along an axis and ends in `end`."""
    (x, y), (from_x, from_y) = end, before
    length, half = 7.0, 3.5
    if from_x == x:
        back = y + (length if from_y > y else -length)
        corners = ((x, y), (x - half, back), (x + half, back))
    else:
        back = x + (length if from_x > x else -length)
        corners = ((x, y), (back, y - half), (back, y + half))
    path = " L".join(f"{number(a)} {number(b)}" for a, b in corners)
    return element("path", class_="tip", d=f"M{path} Z")


def style_sheet(light: Mapping[str, str], dark: Mapping[str, str]) -> str:
    """Declarations by class, and those that replace them where the page is dark."""

    def rules(declarations: Mapping[str, str]) -> str:
        return "".join(f".{name}{{{body}}}" for name, body in declarations.items())

    fonts = f"text{{font-family:{FONTS}}}"
    dark_rules = f"@media (prefers-color-scheme:dark){{{rules(dark)}}}"
    return element("style", f"{fonts}{rules(light)}{dark_rules}")
