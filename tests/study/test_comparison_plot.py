"""The drawing of two studies beside each other, read as XML."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from nas.cli.commands import app
from nas.comparison_plot import plot
from nas.study import Objective
from nas.views import Comparison, Cut, Resource, Side

SVG = "{http://www.w3.org/2000/svg}"
RESOURCES: tuple[Resource, ...] = ("train_tokens", "train_flops", "trials", "seconds")


def side(name: str, *front: tuple[float, ...]) -> Side:
    in_all = {"train_tokens": 1.0, "train_flops": 1.0}
    return Side(study=name, spent={}, in_all=in_all, covers=0.0, front=front)


def comparison(*, spent: float = 4.0, way: str = "minimize", third: bool = False) -> Comparison:
    metrics = [Objective(metric="text.loss"), Objective(metric="speed", direction=way)]  # type: ignore[arg-type]
    if third:
        metrics.append(Objective(metric="params"))
    y = (3.0, 2.0) if way == "minimize" else (2.0, 3.0)
    extra = (1.0,) if third else ()
    return Comparison(
        first=side("one", (1.0, y[0], *extra), (2.0, y[1], *extra)),
        second=side("other", (1.5, 2.5, *extra)),
        metrics=tuple(metrics),
        units={"text.loss": "nats", "speed": "ms", "params": ""},
        reference={},
        differs=(),
        cuts=tuple(
            Cut(
                resource=resource,
                at=spent * step if resource == "train_tokens" else float(step),
                first=0.1 * step,
                second=0.2 * step,
                first_trials=step,
                second_trials=step,
                leads="second",
            )
            for resource in RESOURCES
            for step in (1, 2)
        ),
    )


def drawn(found: Comparison) -> ElementTree.Element:
    return ElementTree.fromstring(plot(found))


def words(drawing: ElementTree.Element) -> list[str]:
    return [each.text or "" for each in drawing.iter(f"{SVG}text")]


def test_hypervolume_is_drawn_over_each_cost_and_then_both_fronts() -> None:
    shown = words(drawn(comparison()))
    for label in ("trials", "training tokens", "training FLOPs", "seconds of evaluation"):
        assert label in shown
        assert f"one and other by {label}" in shown
    assert "text.loss, nats (lower is better)" in shown
    assert "speed, ms (lower is better)" in shown
    assert shown.count("one") == shown.count("other") == 5  # in the legend of each chart


def test_three_metrics_have_no_front_on_paper_and_what_cost_nothing_no_chart() -> None:
    assert not any("fronts" in text for text in words(drawn(comparison(third=True))))
    assert "training tokens" not in words(drawn(comparison(spent=0.0)))


def test_the_studies_differ_by_dashes_and_marks_and_not_by_colour_alone() -> None:
    drawing = drawn(comparison())
    lines = [each for each in drawing.iter(f"{SVG}path") if "line" in str(each.get("class"))]
    dashes = {str(each.get("class")).split()[0]: each.get("stroke-dasharray") for each in lines}
    assert len(dashes) == len(set(dashes.values())) == 2
    circles = [each.get("class") for each in drawing.iter(f"{SVG}circle")]
    squares = [each for each in drawing.iter(f"{SVG}rect") if each.get("class") == "line1"]
    assert set(circles) == {"line0"}
    assert len(circles) == 5 + 4 * 2 + 2  # in legends, at cuts, on the front
    assert len(squares) == 5 + 4 * 2 + 1


@pytest.mark.parametrize("way", ["minimize", "maximize"])
def test_the_edge_of_a_front_turns_where_both_metrics_are_worse(way: str) -> None:
    front = list(drawn(comparison(way=way)).iter(f"{SVG}g"))[-2]
    (line,) = (each for each in front.iter(f"{SVG}path") if "line" in str(each.get("class")))
    (start, corner, end) = (
        tuple(map(float, point.split())) for point in str(line.get("d")).lstrip("M").split(" L")
    )
    assert corner[0] == end[0]  # as bad in the loss as the second point
    assert corner[1] == start[1]  # and in the other as the first


def test_the_drawing_says_in_words_what_it_shows() -> None:
    drawing = drawn(comparison())
    described = drawing.findtext(f"{SVG}desc") or ""
    assert "at 2 trials: one 0.200, other 0.400" in described
    assert "fronts of 2 and 1 points" in described
    assert (drawing.get("role"), drawing.findtext(f"{SVG}title")) == ("img", "one and other")


def test_the_command_writes_the_drawing_and_refuses_another_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Verbs:
        def __enter__(self) -> "Verbs":
            return self

        def __exit__(self, *_: object) -> None: ...

        def compare(self, first: str, second: str, metrics: list[str]) -> Comparison:
            assert (first, second, metrics) == ("one", "other", [])
            return comparison()

    monkeypatch.setattr("nas.cli.commands.backend", lambda server: Verbs())
    out = tmp_path / "both.svg"
    done = CliRunner().invoke(app, ["compare", "one", "other", "--plot", str(out)])
    assert done.exit_code == 0, done.output
    assert out.read_text() == plot(comparison())
    assert "ahead" in done.output
    refused = CliRunner().invoke(
        app, ["compare", "one", "other", "--plot", str(tmp_path / "a.png")]
    )
    assert refused.exit_code != 0
    assert "no such form" in str(refused.exception)
