"""Whole comparisons: every sampler, several processes, what is written down."""

import json
from importlib.util import find_spec
from typing import Any
from xml.etree import ElementTree

import pytest

from nas.bench import bench
from nas.bench.arms import OWN, make_arm, parse_arms
from nas.bench.peers import PEERS
from nas.bench.plot import plot
from nas.bench.report import BenchReport, markdown
from nas.bench.running import Rules, run
from nas.drawing.lines import Line, line_chart
from nas.errors import BadInput
from nas.study import NEVERGRAD_SAMPLERS, OPTUNA_SAMPLERS
from tests.bench.test_table import HOLES
from tests.support.benchtable import table, wide

DEAR = ("optuna.gp", "peer:optuna.gp", "peer:ax")
"""They load torch, and fit for seconds; the first one is tested with the samplers."""


def but_seconds(report: BenchReport) -> Any:
    """All that must not depend on the machine."""

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: kept(v) for k, v in value.items() if k != "seconds_per_proposal"}
        return [kept(item) for item in value] if isinstance(value, list) else value

    return kept(json.loads(report.model_dump_json()))


def small(**changes: Any) -> BenchReport:
    settings: dict[str, Any] = {"evaluations": 24, "cheap": ["second"], **changes}
    arms = settings.pop("arms", ["uniform", "optuna.nsga2"])
    return bench(wide(), arms, settings.pop("seeds", range(2)), **settings)


@pytest.mark.filterwarnings("ignore:QMCSampler is experimental")
@pytest.mark.filterwarnings("ignore:(Updating fitness with inf|Clipping very high)")
@pytest.mark.parametrize("arm", [arm for arm in (*OWN, *PEERS) if arm not in DEAR])
def test_every_sampler_searches_a_table(arm: str) -> None:
    for grid, rules in ((table(HOLES), Rules(6)), (table(), Rules(6, workers=2))):
        done = run(arm, make_arm(arm, grid, rules, 5), grid, rules, 5)
        assert len(set(done.rows)) == 6
    again = run(arm, make_arm(arm, grid, rules, 5), grid, rules, 5)
    assert (again.rows, again.asked) == (done.rows, done.asked)


def test_a_stuck_peer_goes_on_from_the_rows_it_is_given() -> None:
    grid = table()
    for arm in ("peer:optuna.nsga2", "peer:nevergrad.portfolio"):
        rules = Rules(len(grid))
        done = run(arm, make_arm(arm, grid, rules, 0), grid, rules, 0)
        assert sorted(done.rows) == list(range(len(grid)))


def test_every_sampler_of_a_study_is_an_arm() -> None:
    names = {f"optuna.{n}" for n in OPTUNA_SAMPLERS} | {
        f"nevergrad.{n}" for n in NEVERGRAD_SAMPLERS
    }
    assert set(parse_arms(["own"])) == {"uniform", "nas.surrogate", *names}
    assert parse_arms(["uniform", "peers", "uniform"]) == ("uniform", *PEERS)
    assert parse_arms(["ablation"])[:2] == ("nas.surrogate", "nas.surrogate-without-spread")
    assert parse_arms(["optuna"]) == ("optuna.nsga2",)
    with pytest.raises(BadInput, match=r"no such sampler.*optuna\.anneal.*nevergrad\.de"):
        parse_arms(["optuna.anneal"])


def test_processes_find_what_one_process_finds() -> None:
    alone, shared = (small(arms=["uniform"], seeds=range(3), jobs=jobs) for jobs in (None, 2))
    assert but_seconds(alone) == but_seconds(shared)


def test_seeds_differ_and_each_is_reported() -> None:
    report = small(seeds=[4, 9])
    assert report.seeds == (4, 9)
    for arm in report.arms:
        first, second = arm.runs
        assert (first.seed, second.seed) == (4, 9)
        assert first.reached != second.reached
        last = [each.reached[-1].hypervolume for each in arm.runs]
        assert arm.reached[-1].hypervolume.mean == pytest.approx(sum(last) / 2)


def test_a_report_says_under_which_conditions() -> None:
    report = small(workers=3, checkpoints=[10, 99])
    assert report.checkpoints == (10, 24)
    assert report.cheap == ("second",)
    text = markdown(report)
    for words in ("216 rows", "3 workers (simulated)", "repeats free", "known in advance: second"):
        assert words in text
    assert BenchReport.model_validate_json(report.model_dump_json()) == report


def test_checkpoints_are_halves_where_none_are_named() -> None:
    assert small().checkpoints == (3, 6, 12, 24)


def test_every_run_is_announced() -> None:
    seen: list[tuple[int, int, str, int]] = []
    small(on_run=lambda done, total, trace: seen.append((done, total, trace.sampler, trace.seed)))
    assert seen == [
        (1, 4, "uniform", 0),
        (2, 4, "uniform", 1),
        (3, 4, "optuna.nsga2", 0),
        (4, 4, "optuna.nsga2", 1),
    ]


def test_a_library_that_is_not_installed_is_left_out_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "nas.bench.arms.find_spec", lambda name: None if name == "ax" else find_spec(name)
    )
    report = small(arms=["uniform", "peer:ax"])
    assert [arm.sampler for arm in report.arms] == ["uniform"]
    assert report.left_out == {"peer:ax": "ax-platform is not installed"}
    assert "peer:ax was left out: ax-platform is not installed" in markdown(report)
    with pytest.raises(BadInput, match="no sampler could be run"):
        plot(small(arms=["peer:ax"]))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"evaluations": 217}, "evaluations"),
        ({"evaluations": 0}, "evaluations"),
        ({"cheap": ["third"]}, "cheap"),
        ({"arms": []}, "samplers"),
        ({"seeds": []}, "seeds"),
        ({"workers": 0}, "workers"),
        ({"jobs": 0}, "jobs"),
    ],
)
def test_what_cannot_be_run_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput) as refused:
        small(**changes)
    assert refused.value.problems[0].path == field


def test_more_evaluations_than_rows_are_possible_where_repeats_are_counted() -> None:
    report = small(evaluations=300, count_repeats=True, arms=["uniform"], seeds=[0])
    assert report.arms[0].runs[0].evaluations == 300
    assert report.arms[0].reached[-1].unique.mean < 1


def test_a_chart_has_a_line_and_a_name_for_each_sampler() -> None:
    drawing = ElementTree.fromstring(plot(small()))
    titles = [node.text for node in drawing.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["wide, 2 seeds", "uniform", "optuna.nsga2"]
    assert {"evaluations", "uniform"} <= {node.text for node in drawing.iter() if node.text}


def test_points_of_a_chart_stand_where_their_values_are() -> None:
    ramp = Line("ramp", [0, 10], [0, 1], [0, 1], [0, 1])
    drawing = line_chart("ramp", "x", "y", [ramp])
    assert 'd="M70 388 L650 58"' in drawing
    flat = line_chart("flat", "x", "y", [Line("flat", [5], [0], [0], [0])])
    assert "nan" not in flat
    with pytest.raises(ValueError, match="needs lines"):
        line_chart("none", "x", "y", [])
