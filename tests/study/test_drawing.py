"""The drawing is valid XML, nothing overlaps or overflows, and its numbers are the model's."""

import itertools
import re
import xml.etree.ElementTree as ET
from functools import cache
from typing import Any, NamedTuple

import pytest

from nas.describe import one_line
from nas.drawing.draw import draw_svg, rows, wiring
from nas.drawing.sheet import Label, Sheet
from nas.drawing.svg import fit, text_width, wrap
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.ops import output
from nas.search_spaces.space import SearchSpace
from nas.search_spaces.spaces import preset, preset_names
from tests.contracts.instances import given

ATTENTION = {"kind": "attention", "heads": 4, "groups": 2, "head_dim": 16}
IDENTITY = {"kind": "identity"}
CONTEXT = 64
SVG = "{http://www.w3.org/2000/svg}"


def stack(*mixers: Any, ffn: Any = None, block: Any = None, **rest: Any) -> Architecture:
    """One layer for each mixer, at a width of 64."""
    ffn, block = ffn or {"kind": "swiglu", "hidden": 96}, block or {"kind": "sequential"}
    layers = [{"mixer": mixer, "ffn": ffn, "block": block} for mixer in mixers]
    return Architecture.model_validate({"vocab": 32, "dim": 64, "layers": layers, **rest})


def mixtures() -> list[Architecture]:
    """Every mixer, FFN and block of the catalogue, together in a few architectures."""
    mixers, ffns, blocks = given("mixers"), given("ffns"), given("blocks")
    found = []
    for turn, embedding in enumerate(given("embeddings")):
        layers = [
            {
                "mixer": mixers[index % len(mixers)],
                "ffn": ffns[(index + turn) % len(ffns)],
                "block": blocks[(index + turn) % len(blocks)],
            }
            for index in range(max(len(mixers), len(ffns), len(blocks)))
        ]
        form = {"vocab": 32, "dim": 64, "layers": layers, "embedding": embedding}
        found.append(Architecture.model_validate({**form, "tied": bool(turn)}))
    return found


def presets() -> list[Architecture]:
    spaces = [SearchSpace.model_validate(preset(name)) for name in preset_names()]
    return [space.example(seed) for space in spaces for seed in range(2)]


CASES = {
    "one layer": lambda: [stack(ATTENTION)],
    "nested repeats": lambda: [stack(*([IDENTITY] * 3 + [ATTENTION]) * 3)],
    "deep repeats": lambda: [stack(*(([IDENTITY] * 2 + [ATTENTION]) * 2 + [ATTENTION] * 2) * 2)],
    "huge numbers": lambda: [
        stack(
            {"kind": "attention", "heads": 999_936, "groups": 499_968, "head_dim": 1024},
            ffn={"kind": "swiglu", "hidden": 1_000_000, "bias": True},
            block={"kind": "parallel"},
            vocab=1_000_000,
            dim=999_999,
        )
    ],
    "catalogue": mixtures,
    "presets": presets,
}


@cache
def architectures(case: str) -> list[Architecture]:
    return CASES[case]()


class Rect(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def holds(self, other: "Rect") -> bool:
        return (
            self.left <= other.left
            and self.top <= other.top
            and self.right >= other.right
            and self.bottom >= other.bottom
        )

    def meets(self, other: "Rect") -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


def of_rect(node: ET.Element) -> Rect:
    x, y, width, height = (float(node.attrib[name]) for name in ("x", "y", "width", "height"))
    return Rect(x, y, x + width, y + height)


def of_text(node: ET.Element) -> Rect:
    size, x, y = (float(node.attrib[name]) for name in ("font-size", "x", "y"))
    width = text_width(node.text or "", size, bold="bold" in node.attrib["class"])
    left = x - width * {"middle": 0.5, "end": 1.0}.get(node.get("text-anchor", ""), 0.0)
    return Rect(left, y - 0.8 * size, left + width, y + 0.25 * size)


def of_circle(node: ET.Element) -> Rect:
    x, y, r = (float(node.attrib[name]) for name in ("cx", "cy", "r"))
    return Rect(x - r, y - r, x + r, y + r)


@cache
def drawn(architecture: Architecture) -> ET.Element:
    return ET.fromstring(draw_svg(architecture, context=CONTEXT))


def boxes(root: ET.Element) -> list[ET.Element]:
    return [group for group in root.iter(f"{SVG}g") if group.get("class") == "box"]


@pytest.mark.parametrize("case", CASES)
def test_nothing_overflows_or_overlaps(case: str) -> None:
    for root in map(drawn, architectures(case)):
        left, top, width, height = map(float, root.attrib["viewBox"].split())
        page = Rect(left, top, left + width, top + height)
        every_text = [of_text(node) for node in root.iter(f"{SVG}text")]
        assert all(page.holds(words) for words in every_text)
        assert not any(a.meets(b) for a, b in itertools.combinations(every_text, 2))

        solid = []
        for group in boxes(root):
            outline, *bars = (of_rect(node) for node in group.iter(f"{SVG}rect"))
            words = [of_text(node) for node in group.iter(f"{SVG}text")]
            assert page.holds(outline)
            assert all(outline.holds(inner) for inner in (*words, *bars))
            assert not any(a.meets(b) for a, b in itertools.product(words, bars))
            solid.append(outline)
        solid += [of_circle(node) for node in root.iter(f"{SVG}circle")]
        assert not any(a.meets(b) for a, b in itertools.combinations(solid, 2))


@pytest.mark.parametrize("width", [80.0, 170.0, 290.0, 420.0])
def test_a_box_holds_whatever_it_is_told(width: float) -> None:
    sheet = Sheet()
    long = ["a_very_long_name_of_a_field 123456789"] * 12
    label = Label("ffn", "a_very_long_kind_of_a_part" * 4, long, long, (1.0, 0.5))
    box = sheet.box(300.0, 0.0, width, label)
    group = ET.fromstring(sheet.boxes[0])
    outline, *bars = (of_rect(node) for node in group.iter("rect"))
    assert outline == Rect(box.left, box.top, box.left + width, 0.0)
    words = [of_text(node) for node in group.iter("text")]
    assert all(outline.holds(inner) for inner in (*words, *bars))
    assert not any(a.meets(b) for a, b in itertools.product(words, bars))


@pytest.mark.parametrize("case", CASES)
def test_frames_nest_and_hold_whole_boxes(case: str) -> None:
    for root in map(drawn, architectures(case)):
        styled = list(root.iter(f"{SVG}rect"))
        frames = [of_rect(node) for node in styled if node.get("class") in ("frame", "inner")]
        for a, b in itertools.combinations(frames, 2):
            assert a.holds(b) or not a.meets(b)  # outer frames are painted first
        for group in boxes(root):
            outline = of_rect(next(group.iter(f"{SVG}rect")))
            assert all(frame.holds(outline) or not frame.meets(outline) for frame in frames)


@pytest.mark.parametrize("case", CASES)
def test_wires_cross_no_box(case: str) -> None:
    for root in map(drawn, architectures(case)):
        outlines = [of_rect(next(group.iter(f"{SVG}rect"))) for group in boxes(root)]
        inside = {id(node) for group in root.iter(f"{SVG}g") for node in group.iter()}
        for path in root.iter(f"{SVG}path"):
            if path.get("class") != "wire" or id(path) in inside:
                continue
            points = [tuple(map(float, p.split())) for p in path.attrib["d"][1:].split(" L")]
            for (x1, y1), (x2, y2) in itertools.pairwise(points):
                assert x1 == x2 or y1 == y2
                wire = Rect(min(x1, x2), min(y1, y2), max(x1, x2) + 0.01, max(y1, y2) + 0.01)
                shrunk = (Rect(o.left + 1, o.top + 1, o.right - 1, o.bottom - 1) for o in outlines)
                assert not any(wire.meets(outline) for outline in shrunk)


@pytest.mark.parametrize("case", sorted(set(CASES) - {"huge numbers"}))
def test_shares_of_flops_add_up(case: str) -> None:
    for architecture in architectures(case):
        root = drawn(architecture)
        shares = [
            [float(node.text[:-2]) for node in group.iter(f"{SVG}text") if node.text.endswith(" %")]
            for group in boxes(root)
        ]
        rounding = 0.05 * len(shares) + 1e-6
        flops = sum(share[1] for share in shares if share)
        params = sum(share[0] for share in shares if share)
        norms = 100 * norm_params(architecture) / architecture.cost(CONTEXT).params
        assert flops == pytest.approx(100, abs=rounding)
        assert params + norms == pytest.approx(100, abs=rounding)


def norm_params(architecture: Architecture) -> int:
    """Parameters of everything around mixers and FFNs, and of the last norm."""
    around = sum(
        op.params
        for index in range(architecture.depth)
        for op in wiring(architecture, index, CONTEXT)
    )
    return around + architecture.norm.cost(architecture.place(0), CONTEXT).params


def test_repeats_are_folded() -> None:
    once = drawn(stack(ATTENTION))
    folded = drawn(stack(*([IDENTITY] * 3 + [ATTENTION]) * 3))
    said = [node.text for node in folded.iter(f"{SVG}text")]
    assert said.count("\u00d7 3") == 2  # three times in a row, within three turns
    assert "layers 0\u201311" in said
    assert said.count("attention") == said.count("identity") == 1
    assert "layer 0" in [node.text for node in once.iter(f"{SVG}text")]


def test_title_tells_what_it_is() -> None:
    architecture = stack(ATTENTION, {"kind": "gated_delta", "heads": 4, "head_dim": 16})
    svg = draw_svg(architecture, context=CONTEXT)
    said = " ".join(node.text or "" for node in ET.fromstring(svg).iter())
    cost = architecture.cost(CONTEXT)
    assert architecture.id in said
    assert one_line(architecture) in said
    assert f"at {CONTEXT} tokens" in said
    assert re.search(rf"KV cache \S+ values \({cost.cache_values_per_token} per token\)", said)
    assert "recurrent state" in said
    assert "mixer with a KV cache" in said
    assert "mixer that carries nothing" not in said  # the legend keeps to what is there


def test_the_same_architecture_is_drawn_the_same() -> None:
    assert draw_svg(stack(ATTENTION), context=8) == draw_svg(stack(ATTENTION), context=8)


@pytest.mark.parametrize("block", given("blocks"), ids=str)
@pytest.mark.parametrize("residual", given("residuals"), ids=str)
def test_every_block_and_residual_is_wired(block: Any, residual: Any) -> None:
    """Mixer and FFN are both there, every operator stands above what it reads, sums are circles."""
    wired = {**block, "residual": residual} if "residual" in block else block
    architecture = stack(ATTENTION, block=wired)
    ops = wiring(architecture, 0, CONTEXT)
    row_of = rows(ops)
    parts = [op.kind for op in ops if op.kind.startswith("part:")]
    assert parts.count("part:mixer") == 1
    assert parts.count("part:ffn") >= 1
    assert all(row_of[read] < row_of[op.name] for op in ops for read in op.reads)
    assert row_of[output(ops)] == max(row_of.values())
    root = drawn(architecture)
    additions = sum(op.name.rpartition(".")[2] in ("add", "sum") for op in ops)
    pluses = [node for node in root.iter(f"{SVG}circle") if node.get("r") == "9"]
    assert len(pluses) == additions >= 1


def test_light_and_dark_pages_have_contrast() -> None:
    """Text on every fill has the contrast that WCAG asks of body text (4.5), in both modes."""
    svg = draw_svg(stack(ATTENTION), context=8)
    light, dark = re.search(r"<style>(.*?)@media[^{]*\{(.*)\}</style>", svg).groups()
    for sheet in (light, dark):
        fills = dict(re.findall(r"\.(\w+)\{fill:(#\w{6})", sheet))
        papers = {"cache", "state", "both", "plain", "ffn", "norm", "io", "frame", "inner", "page"}
        assert papers <= set(fills)
        for paper, ink in itertools.product(papers, ("ink", "muted")):
            assert contrast(fills[paper], fills[ink]) >= 4.5, (paper, ink)


def contrast(a: str, b: str) -> float:
    """WCAG 2 contrast ratio of two colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    "words", ["", "i", 'a <b> & "c"', "W" * 50, "x" * 200, "\u4e2d\u6587" * 20]
)
def test_fitted_text_is_no_wider_than_its_place(words: str) -> None:
    for width in (20.0, 80.0, 300.0):
        shown = fit(words, width, 11.0)
        assert text_width(shown, 11.0) <= width
        assert shown == words or shown.endswith("\u2026")
        assert all(
            text_width(row, 11.0) <= width for row in wrap([words] * 5, width, 11.0, lines=2)
        )
