"""Fronts, ranks and volumes against their definitions, written out."""

import numpy as np
import pytest

from nas.pareto import crowding, front, hypervolume, knee, rank

SIGNS = {"minimize": 1.0, "maximize": -1.0}


def dominates(a, b, directions):
    pairs = [(SIGNS[d] * x, SIGNS[d] * y) for x, y, d in zip(a, b, directions, strict=True)]
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


def brute_front(values, directions):
    return [not any(dominates(other, one, directions) for other in values) for one in values]


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_front_and_rank_follow_the_definition(objectives, seed):
    generator = np.random.default_rng(seed)
    values = generator.integers(0, 6, (40, objectives)).astype(float)  # ties and duplicates
    directions = generator.choice(["minimize", "maximize"], objectives).tolist()
    assert front(values, directions).tolist() == brute_front(values.tolist(), directions)
    ranks, left, level = rank(values, directions), list(range(40)), 0
    while left:
        best = brute_front(values[left].tolist(), directions)
        assert all((ranks[i] == level) == on for i, on in zip(left, best, strict=True))
        left = [i for i, on in zip(left, best, strict=True) if not on]
        level += 1


def test_duplicates_on_the_front_are_all_kept():
    assert front([[1, 2], [1, 2], [2, 1], [2, 2]], ["minimize"] * 2).tolist() == [1, 1, 1, 0]


def test_empty_and_malformed():
    assert front(np.empty((0, 2)), ["minimize"] * 2).tolist() == []
    with pytest.raises(ValueError, match=r"\[N, 2\]"):
        front([[1, 2, 3]], ["minimize"] * 2)
    with pytest.raises(ValueError, match="finite"):
        front([[1, np.nan]], ["minimize"] * 2)
    with pytest.raises(ValueError, match="empty"):
        knee(np.empty((0, 2)), ["minimize"] * 2)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_hypervolume_counts_cells(objectives, seed):
    """On whole numbers the volume is the number of unit cells that some point dominates."""
    points = np.random.default_rng(seed).integers(0, 7, (9, objectives))
    reference = np.full(objectives, 5)
    cells = np.stack(np.meshgrid(*[np.arange(5)] * objectives, indexing="ij"), -1)
    cells = cells.reshape(-1, objectives)
    inside = [(points <= cell).all(axis=1).any() for cell in cells]
    assert hypervolume(points, reference) == pytest.approx(sum(inside))


def test_hypervolume_obeys_directions():
    assert hypervolume([[3, 1]], [0, 2], ["maximize", "minimize"]) == 3
    assert hypervolume([[3, 3]], [2, 2]) == 0


def test_crowding_is_the_gap_to_the_neighbours():
    distance = crowding([[0, 10], [1, 6], [4, 5], [10, 0]])
    assert distance.tolist() == [np.inf, 0.4 + 0.5, 0.9 + 0.6, np.inf]


def test_knee():
    both = ["minimize"] * 2
    assert knee([[0, 100], [1, 20], [5, 15], [10, 0]], both) == 1
    assert knee([[0, -100], [1, -20], [5, -15], [10, 0]], ["minimize", "maximize"]) == 1
    assert knee([[7, 7]], both) == 0
    assert knee([[2, 1], [1, 2]], both) == 1, "two points tie; the first objective decides"
    assert knee([[1, 5], [1, 5]], both) == 0
    assert knee([[3], [9], [4]], ["maximize"]) == 1
    assert knee([[0, 1, 1], [1, 0, 1], [1, 1, 0], [0.5, 0.5, 0.4]], ["minimize"] * 3) == 3


@pytest.mark.parametrize("scale", [1e-6, 1e9])
def test_knee_ignores_units(scale):
    points = np.array([[0.0, 100], [1, 20], [5, 15], [10, 0]])
    assert knee(points * [scale, 1], ["minimize"] * 2) == 1
