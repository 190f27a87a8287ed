"""The trainer's benchmark: both ways train the same thing, and the report says by how much."""

from pathlib import Path
from typing import Any

import pytest

from nas.evaluators import bench_trainer
from nas.evaluators.base import EvaluationFailed
from nas.evaluators.bench_trainer import PLAIN, RESEEDED, SERVICE, Run
from nas.kernels.runtime import bench as runtime_bench
from nas.spending import Cost, cost_of


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
    assert all(run.work["float32"].tokens == 2 * 2048 for run in found.values())


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


def test_a_candidate_that_fails_ends_it_with_a_sentence(monkeypatch: Any) -> None:
    def fails(*given: Any) -> Any:
        raise EvaluationFailed("train", "diverged", "the loss rose")

    monkeypatch.setattr(bench_trainer, "run_round", fails)
    with pytest.raises(SystemExit, match=r"the loss rose.*accepted: other --tokens"):
        bench_trainer.main(["--candidates", "1"])


def test_a_size_that_no_candidate_has_ends_it_with_a_sentence() -> None:
    with pytest.raises(SystemExit, match=r"--parameters 900 901: 0 of .* accepted"):
        bench_trainer.main(["--parameters", "900", "901"])


def test_candidates_are_of_the_size_that_is_asked_for(asked: Any) -> None:
    spec = bench_trainer.study(asked)
    every = [a.cost(32).params / 1e6 for a in bench_trainer.draw(spec, 6, 0)]
    low, high = sorted(every)[2], sorted(every)[3]
    chosen = [a.cost(32).params / 1e6 for a in bench_trainer.draw(spec, 2, 0, (low, high))]
    assert all(low <= size <= high for size in chosen)
    assert bench_trainer.draw(spec, 1, 0) != bench_trainer.draw(spec, 1, 1)
    with pytest.raises(ValueError, match=r"--parameters 500 600: 0 of 1000 random members"):
        bench_trainer.draw(spec, 2, 0, (500.0, 600.0))


def test_throughput_is_tokens_over_time_and_work_over_what_the_device_could_do() -> None:
    both = {"float32": Cost(1000, 4e9), "bfloat16": Cost(3000, 8e9)}
    forms = ("cuda_graph", "cuda_graph", "eager: why")
    rounds = [
        {
            PLAIN: Run(10.0, (2.0,), {"float32": Cost(4000, 12e9)}),
            SERVICE: Run(2.0, (2.0,), both, forms),
            RESEEDED: Run(2.0, (2.0,), both),
        }
    ]
    peaks = {"float32": 1e10, "bfloat16": 4e10}
    lines = bench_trainer.throughput(rounds, peaks).splitlines()
    assert lines == [
        "matrix products, in 10^12 operations a second: 0.01 in float32, 0.04 in bfloat16",
        "plain: median 400 (400) tokens a second",
        "plain: median 12 (12) % of the matrix-unit bound",
        "service: median 2,000 (2,000) tokens a second",
        "service: median 30 (30) % of the matrix-unit bound",
        "steps of 2 candidates: cuda_graph",
        "steps of 1 candidates: eager: why",
    ]


def test_the_work_of_a_round_is_counted_by_the_type_of_its_products(
    asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(runtime_bench.MATRIX, "cpu", 32)
    spec = bench_trainer.study(asked)
    drawn = bench_trainer.draw(spec, 3, 0)
    work = bench_trainer._work(spec, drawn, ["float32", "bfloat16", "float32"])
    costs = [cost_of(each, spec.trainings, spec.tasks) for each in drawn]
    assert work["bfloat16"] == costs[1]
    assert work["float32"].flops == costs[0].flops + costs[2].flops
    assert work["float32"].tokens == 2 * 2048
    found = bench_trainer.peaks("cpu", [{PLAIN: Run(1.0, (), work)}])
    assert set(found) == {"float32", "bfloat16"}
    assert all(peak > 0 for peak in found.values())
