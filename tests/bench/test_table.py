"""A recorded table as a space: its questions, its rows, its front."""

import pickle
import random
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from nas.bench.knowledge import TableKnowledge
from nas.bench.reading import parse_checkpoints, parse_objectives, read_table
from nas.bench.table import Row, Table
from nas.errors import BadInput
from nas.search_spaces.axes import RandomDraw, RecordingDraw
from nas.study import Objective
from tests.support.benchtable import GOALS, GRID, HEADER, table, wide, write_csv

HOLES = [row for row in GRID if row[:2] not in ((1, "plain"), (4, "gated"), (4, "slow"))]
"""A recorded study: at 4 only one kind is left, at 1 two."""


def test_the_values_of_an_axis_are_in_order() -> None:
    grid = table()
    assert grid.axes["width"].options == (1, 2, 4, 8)
    assert grid.axes["kind"].options == ("gated", "plain", "slow")
    assert list(grid.axes) == ["width", "kind"]


@pytest.mark.parametrize("rows", [GRID, HOLES], ids=["full", "holes"])
def test_answers_lead_to_their_row_and_back(rows: list[Any]) -> None:
    grid = table(rows)
    assert len(grid) == len(rows)
    for index in range(len(grid)):
        answers = grid.answers_of(Row(index))
        assert grid.row_of(answers) == Row(index)
        chosen = {grid.asks[question]: answer for question, answer in answers.items()}
        (expected,) = (
            row for row in rows if all(row[HEADER.index(a)] == v for a, v in chosen.items())
        )
        assert grid.values[index].tolist() == list(expected[2:])


def test_every_draw_from_a_table_with_holes_is_a_row_of_it() -> None:
    grid = table(HOLES)
    found = set()
    for seed in range(200):
        draw = RecordingDraw(RandomDraw(random.Random(seed)))
        row = grid.decode(draw)
        found.add(row.index)
        assert {name: axis.options for name, axis in draw.axes.items()} == {
            name: grid.axes[name].options for name in draw.axes
        }
        assert grid.answers_of(row) == draw.answers
    assert found == set(range(len(HOLES)))


def test_an_axis_with_some_of_its_values_is_another_question() -> None:
    grid = table(HOLES)
    assert grid.axes["kind"].options == ("gated", "plain", "slow")
    assert grid.axes["kind|1"].options == ("gated", "slow")  # at width 1
    assert grid.asks["kind|1"] == "kind"
    (four,) = (i for i in range(len(grid)) if grid.answers_of(Row(i)) == {"width": 4})
    assert grid.values[four].tolist() == [4.0, 4.0]  # one kind is left and is not asked for


def test_a_question_gets_a_name_that_no_column_has() -> None:
    columns = {"a": [1, 1, 2, 2, 3], "b|1": [1, 2, 1, 2, 1], "b": [1, 2, 1, 3, 1]}
    odd = Table("odd", columns, (Objective(metric="m"),), [[1], [2], [3], [4], [5]])
    assert [odd.row_of(odd.answers_of(Row(i))).index for i in range(5)] == list(range(5))
    narrowed = Table(
        "narrowed",
        {"a": [1, 1, 2, 2, 2], "b": [1, 2, 1, 2, 3], "b|1": [5, 5, 5, 5, 5]},
        (Objective(metric="m"),),
        [[1], [2], [3], [4], [5]],
    )
    assert narrowed.asks == {"a": "a", "b": "b", "b|2": "b"}


def test_rows_with_equal_answers_are_one_with_the_mean() -> None:
    grid = table([*GRID, (2, "plain", 6.0, 8.0)])
    assert len(grid) == len(GRID)
    row = grid.row_of({"width": 2, "kind": "plain"})
    assert grid.values[row.index].tolist() == [4.0, 5.0]


def test_the_order_of_the_file_does_not_matter() -> None:
    one, other = table(GRID), table(GRID[::-1])
    assert one.values.tolist() == other.values.tolist()
    assert one.axes == other.axes


def test_front_and_hypervolume_are_those_of_the_scaled_table() -> None:
    points = [(0.0, 10.0), (5.0, 4.0), (10.0, 0.0), (10.0, 10.0), (5.0, 4.0)]
    goals = (Objective(metric="x"), Objective(metric="y"))
    found = Table("points", {"a": range(5)}, goals, points)
    assert found.front.tolist() == [0, 1, 2, 4]
    assert len(found.front_points(found.front)) == 3
    # only (0.5, 0.4) is better than the reference (1, 1) in both
    assert found.hypervolume == pytest.approx(0.5 * 0.6)
    assert found.volume([0, 2, 3]) == 0.0


def test_a_maximised_objective_is_turned_round() -> None:
    grid = table()
    best = grid.row_of({"width": 8, "kind": "gated"})
    assert grid.costs[best.index].tolist() == [0.0, pytest.approx(8 / 11)]


def test_a_table_survives_the_way_to_another_process() -> None:
    grid = table(HOLES)
    again = pickle.loads(pickle.dumps(grid))
    assert again.axes == grid.axes
    assert again.values.tolist() == grid.values.tolist()
    assert again.hypervolume == grid.hypervolume


def test_csv_and_parquet_hold_the_same_table(tmp_path: Path) -> None:
    text = write_csv(tmp_path / "grid.csv")
    packed = tmp_path / "grid.parquet"
    duckdb.sql(f"COPY (SELECT * FROM read_csv('{text}')) TO '{packed}' (FORMAT parquet)")
    for path in (text, packed):
        read = read_table(path, ["width", "kind"], GOALS)
        assert read.axes == table().axes
        assert read.values.tolist() == table().values.tolist()


def test_a_split_column_gives_one_axis_for_each_character(tmp_path: Path) -> None:
    rows = [(f"0{a}{b}", a + 2 * b, b) for a in range(3) for b in range(2)]
    path = write_csv(tmp_path / "arch.csv", rows, ("arch", "loss", "cost"))
    split = read_table(path, ["arch[]"], parse_objectives("loss,cost:max"))
    assert list(split.columns) == ["arch0", "arch1", "arch2"]
    assert split.axes["arch1"].options == ("0", "1", "2")
    assert "arch0" not in split.axes  # it is 0 everywhere
    assert [objective.direction for objective in split.objectives] == ["minimize", "maximize"]


def test_csv_columns_are_of_the_narrowest_type_that_fits(tmp_path: Path) -> None:
    rows = [
        ("1", "0.5", "true", "007", "", "x", 1.0),
        ("-2", "1", "False", "010", "b", "1_0", 2.0),
        ("3", "2e-1", "true", "100", "b", "2", 3.0),
    ]
    header = ("i", "f", "flag", "name", "gap", "word")
    path = write_csv(tmp_path / "t.csv", rows, (*header, "loss"))
    read = read_table(path, header, parse_objectives("loss"))
    assert list(read.columns.values()) == [
        (-2, 1, 3),
        (0.2, 0.5, 1.0),
        (False, True),
        ("007", "010", "100"),
        (None, "b"),
        ("1_0", "2", "x"),
    ]


@pytest.mark.parametrize(
    ("axes", "objectives", "field", "says"),
    [
        (["width", "depth"], "score", "axes", "no column 'depth'"),
        (["width", "kind"], "speed", "objectives", "no column 'speed'"),
        (["width", "score"], "score", "axes", "named twice"),
        ([], "score", "axes", "none is named"),
        (["kind[]"], "score", "axes", "same length"),
        (["width"], "kind", "objectives", "'plain', and a finite number"),
        (["width"], "score:up", "objectives", "no such direction"),
        (["width"], "score,score", "objectives", "each column once"),
        (["width"], "", "objectives", "each column once"),
        (["constant"], "score", "axes", "same answers"),
        (["width"], "constant", "objectives", "same value"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_field(
    tmp_path: Path, axes: list[str], objectives: str, field: str, says: str
) -> None:
    rows = [(*row, 1) for row in GRID]
    path = write_csv(tmp_path / "grid.csv", rows, (*HEADER, "constant"))
    with pytest.raises(BadInput, match=says) as refused:
        read_table(path, axes, parse_objectives(objectives))
    assert refused.value.problems[0].path == field


def test_a_file_that_cannot_be_read_is_refused_as_the_table(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("a,b\n")
    for name in ("absent.csv", "absent.parquet", "empty.csv"):
        with pytest.raises(BadInput) as refused:
            read_table(tmp_path / name, ["a"], parse_objectives("b"))
        assert refused.value.problems[0].path == "table"


def test_objectives_that_no_row_meets_together_are_refused() -> None:
    goals = (Objective(metric="x"), Objective(metric="y"))
    with pytest.raises(BadInput, match="no hypervolume"):
        Table("corners", {"a": [1, 2]}, goals, [(0, 1), (1, 0)])


def test_checkpoints_are_whole_numbers() -> None:
    assert parse_checkpoints("50, 100") == (50, 100)
    with pytest.raises(BadInput, match="no number of evaluations"):
        parse_checkpoints("50,half")


def test_knowledge_codes_numbers_by_rank_and_few_of_them_and_words_one_hot() -> None:
    grid = table()
    known = TableKnowledge(grid, ["cost"])
    row = grid.row_of({"width": 4, "kind": "slow"})
    rank, *places = known.features(row).tolist()
    assert rank == pytest.approx(2 / 3)
    assert places == [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    assert np.isnan(known.values(row)[0])
    assert known.values(row)[1] == 8.0
    assert known.violation(row) == 0.0


def test_knowledge_tells_a_question_that_was_not_asked_from_its_first_answer() -> None:
    columns = {"size": [None, 16, 64, 64], "flag": [True, True, False, True]}
    study = Table("study", columns, (Objective(metric="loss"),), [[1], [2], [3], [4]])
    known = TableKnowledge(study)
    found = [known.features(Row(index)).tolist() for index in range(4)]
    assert found == [[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 1, 1]]


def test_the_knowledge_of_a_table_tells_its_rows_apart() -> None:
    grid = wide(3)
    known = TableKnowledge(grid)
    assert len({tuple(known.features(Row(index))) for index in range(len(grid))}) == len(grid)
