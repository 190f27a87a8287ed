"""The trainer's benchmark: both ways train the same thing, and the report says by how much."""

from pathlib import Path
from typing import Any

import pytest

from nas.evaluators import bench_trainer
from nas.evaluators.bench_trainer import PLAIN, RESEEDED, SERVICE, Run


@pytest.fixture
def asked(text_file: Path) -> Any:
    given = ["--corpus", str(text_file), "--context", "32", "--tokens", "2048", "--workers", "2"]
    return bench_trainer._parser().parse_args([*given, "--dims", "64", "--candidates", "2"])


def test_both_ways_reach_the_same_losses(asked: Any, tmp_path: Path) -> None:
    found = bench_trainer.run_round(bench_trainer.study(asked), 2, 0, tmp_path)
    assert set(found) == {PLAIN, SERVICE, RESEEDED}
    for mine, theirs in zip(found[SERVICE].losses, found[PLAIN].losses, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-3)  # float32 sums in another order
    assert found[SERVICE].losses != found[RESEEDED].losses
    assert all(run.seconds > 0 for run in found.values())


def test_the_report_compares_round_by_round(asked: Any) -> None:
    rounds = [
        {PLAIN: Run(30.0, (2.0, 3.0)), SERVICE: Run(10.0, (2.1, 3.0)), RESEEDED: Run(9.0, (2, 3))},
        {PLAIN: Run(20.0, (2.0, 3.0)), SERVICE: Run(10.0, (2.0, 2.9)), RESEEDED: Run(9.0, (2, 3))},
    ]
    text = bench_trainer.report(bench_trainer.study(asked), rounds)
    assert "4 candidates in 2 rounds, 2,048 tokens each, 2 workers" in text
    assert "plain: median 300 (240, 360) candidates an hour" in text
    assert "service over plain: median 2.50 (2.00, 3.00) times" in text
    assert "one way minus the other: mean +0.0000, standard deviation 0.0707 nats" in text
