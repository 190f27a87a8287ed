"""The benchmark runner: who takes part, who is told wrong, what is timed, and what is written."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from nas.kernels.runtime import bench
from nas.kernels.runtime.benchmark import Benchmark, Call, Case
from nas.kernels.runtime.contest import Row, Setting, compared, rows_of
from nas.kernels.runtime.impl import Impl, pick
from nas.kernels.runtime.timing import Failure, Run, Spread, clock_of, in_turns, spread

IMPLS = {Impl.REFERENCE: lambda x, y: x.clone() * y, Impl.CHUNKED: lambda x, y: x * y}
CASE = Case("N6", 6, lambda: [torch.randn(6), torch.randn(6), None], 0, 18)


def fake_op(x: Tensor, y: Tensor, z: None) -> tuple[Tensor, None]:
    assert z is None
    return pick("fake", IMPLS)(x, y), None


def broken(x: Tensor, y: Tensor, z: None) -> Tensor:
    raise RuntimeError("\nno such device\nmore")


def peers() -> Mapping[str, Call]:
    return {
        "right": lambda x, y, z: y * x,
        "wrong": lambda x, y, z: x * y * 1.5,
        "wrong gradient": lambda x, y, z: (x * y).detach() + x - x.detach() + y - y.detach(),
        "no gradient": lambda x, y, z: x * y.detach(),
        "NaN": lambda x, y, z: x * y / 0 * 0,
        "other shape": lambda x, y, z: (x * y)[:-1],
        "broken": broken,
    }


FAKE = Benchmark("fake op", fake_op, [CASE], peers)


def setting(dtype: torch.dtype = torch.float32, *, compile: bool = False) -> Setting:
    device = torch.device("cpu")
    return Setting(
        device=device,
        dtype=dtype,
        clock=clock_of(device),
        repeats=3,
        seconds=1.0,
        compile=compile,
        flops_per_second=1e9,
        bytes_per_second=1e9,
    )


def results(what: str, dtype: torch.dtype = torch.float32) -> dict[str, str]:
    rows = rows_of(FAKE, CASE, setting(dtype))
    return {
        row.name: row.result.reason if isinstance(row.result, Failure) else "timed"
        for row in rows
        if row.what == what
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_wrong_or_fails_is_told_and_not_timed(dtype: torch.dtype) -> None:
    forward = results("forward", dtype)
    timed = {"ours, reference", "ours, chunked", "right", "wrong gradient", "no gradient"}
    assert {name for name, told in forward.items() if told == "timed"} == timed
    assert re.match(r"wrong result: result is off by 0\.5", forward["wrong"])
    assert forward["NaN"] == "wrong result: result is off by inf of its largest value"
    assert forward["other shape"] == "wrong result: result is [5], not [6]"
    assert forward["broken"] == "RuntimeError: no such device"


def test_gradients_are_held_against_the_definition_too() -> None:
    backward = results("forward+backward")
    timed = {"ours, reference", "ours, chunked", "right"}
    assert {name for name, told in backward.items() if told == "timed"} == timed
    assert backward["wrong gradient"].startswith("wrong result: gradient 1 is off by")
    assert backward["no gradient"] == "has no gradient 2"


def test_the_definition_takes_part_only_where_it_is_short() -> None:
    long = Case("N6", 5000, CASE.draw, 0, 18)
    names = {row.name for row in rows_of(FAKE, long, setting())}
    assert "ours, reference" not in names
    assert "ours, chunked" in names


def test_inputs_are_rounded_but_for_the_wide_ones() -> None:
    seen = []

    def spy(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        seen.append((x.dtype, y.dtype, z.dtype))
        return x * y

    case = Case("N6", 6, lambda: [torch.randn(6), torch.randn(6), torch.arange(6)], 0, 18)
    op = Benchmark("op", lambda x, y, z: x * y, [case], lambda: {"spy": spy}, wide=(1,))
    rows_of(op, case, setting(torch.bfloat16))
    assert set(seen) == {(torch.bfloat16, torch.float32, torch.int64)}


def test_peers_that_cannot_be_listed_are_told() -> None:
    def none() -> Mapping[str, Call]:
        raise ImportError("fla is too old")

    rows = rows_of(Benchmark("op", fake_op, [CASE], none), CASE, setting())
    told = [row.result for row in rows if row.name == "peers"]
    assert told == [Failure("ImportError: fla is too old")] * 2


def test_torch_takes_part_compiled_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda call: call)

    def names(peers: Mapping[str, Call], *, compile: bool) -> set[str]:
        op = Benchmark("op", fake_op, [CASE], lambda: peers)
        rows = rows_of(op, CASE, setting(compile=compile))
        return {row.name for row in rows if not row.ours}

    def call(x: Tensor, y: Tensor, z: None) -> Tensor:
        return x * y

    plain = {"torch eager": call, "Liger-Kernel": call}
    assert names(plain, compile=True) == {*plain, "torch eager, compiled"}
    assert names(plain, compile=False) == set(plain)
    with_own = {**plain, "torch compiled": call}
    assert names(with_own, compile=True) == set(with_own)
    assert names(with_own, compile=False) == set(plain)


def test_all_take_turns_and_warm_up_is_not_counted() -> None:
    order: list[str] = []

    def run(name: str) -> Run:
        return lambda: order.append(name)

    def clock(run: Run) -> float:
        before = len(order)
        run()
        assert len(order) == before + 1
        return float(len(order))

    found = in_turns({name: run(name) for name in "abc"}, clock, repeats=3)
    assert "".join(order) == "aaabbbccc" + "abc" + "bca" + "cab"
    assert found["a"] == spread([10.0, 15.0, 17.0])


def test_time_that_is_short_means_fewer_repeats() -> None:
    calls = []
    in_turns({"a": lambda: calls.append(0)}, lambda run: (run(), 2.0)[1], repeats=9, seconds=10)
    assert len(calls) == 3 + 5
    calls.clear()
    in_turns({"a": lambda: calls.append(0)}, lambda run: (run(), 2.0)[1], repeats=9, seconds=1)
    assert len(calls) == 3 + 3


def test_what_is_fast_is_called_often_in_one_measurement() -> None:
    calls = []
    found = in_turns({"a": lambda: calls.append(0)}, lambda run: (run(), 1e-4)[1], repeats=3)
    assert len(calls) == 3 + 3 * 10
    assert found["a"] == spread([1e-5])


def test_a_failure_after_the_warm_up_is_told() -> None:
    calls = []

    def late() -> None:
        calls.append(0)
        if len(calls) > 4:
            raise ValueError("too late")

    found = in_turns({"a": late, "b": lambda: None}, lambda run: (run(), 1.0)[1], repeats=3)
    assert found == {"a": Failure("ValueError: too late"), "b": spread([1.0])}


def row(name: str, median: float, *, ours: bool, within: float = 0.1) -> Row:
    result = Spread(median - within, median, median + within)
    return Row("op", "N6", "float32", "forward", name, ours, result, bound=1.0)


def test_ours_is_marked_where_it_is_behind() -> None:
    mine = [row("ours, chunked", 3.0, ours=True), row("ours, triton", 2.5, ours=True)]
    found = compared([*mine, row("a", 2.0, ours=False), row("b", 4.0, ours=False)])
    assert [x.note for x in found] == ["", "behind", "", ""]
    assert [x.against_best_peer for x in found] == pytest.approx([2 / 3, 0.8, 1.0, 0.5])
    close = compared([*mine, row("a", 2.4, ours=False)])
    assert [x.note for x in close] == ["", "behind, within the spread", ""]
    ahead = compared([*mine, row("a", 2.6, ours=False)])
    assert [x.note for x in ahead] == ["", "", ""]
    assert [x.against_best_peer for x in compared(mine)] == [None, None]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of kernels with two ops, of which one has no benchmark in its file."""
    for name in ("fake_op", "empty_op"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bench.py").touch()
        monkeypatch.setitem(
            sys.modules, f"nas.kernels.{name}.bench", ModuleType(f"nas.kernels.{name}.bench")
        )
    sys.modules["nas.kernels.fake_op.bench"].BENCHMARKS = (FAKE,)  # type: ignore[attr-defined]
    monkeypatch.setitem(bench.MATRIX, "cpu", 16)
    monkeypatch.setattr(bench, "COPIED_BYTES", 1024)
    return tmp_path


def test_the_file_says_what_was_measured(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["--device", "cpu", "--repeats", "3", "--no-compile", "--write"]
    assert bench.main(quick, kernels=folder) == 1
    printed = capsys.readouterr().out
    written = (folder / "BENCHMARKS.md").read_text()
    assert f"torch {torch.__version__}" in written
    assert f"{torch.get_num_threads()} threads" in written
    assert "No GPU run yet" in written
    assert "## fake op, float32" in written
    assert re.search(r"\| N6 \| forward \| ours, chunked \| [\d.e-]+ \| [\d.e-]+ to .*%", written)
    assert "| N6 | forward | broken |  |  |  |  | failed: RuntimeError: no such device |" in written
    assert "- empty_op: failed: AttributeError:" in written
    assert "broken" in printed


def test_ops_and_lengths_can_be_chosen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["--device", "cpu", "--repeats", "3", "--no-compile"]
    assert bench.main(["fake_op", *quick, "--max-tokens", "5"], kernels=folder) == 0
    assert capsys.readouterr().out == ""
    assert bench.main(["fake_op", *quick, "--dtype", "bfloat16", "float32"], kernels=folder) == 0
    printed = capsys.readouterr().out
    assert "fake op  bfloat16  N6" in printed
    assert "fake op  float32  N6" in printed
    assert not (folder / "BENCHMARKS.md").exists()


def test_every_benchmark_can_be_found() -> None:
    assert "linear_cross_entropy" in bench.ops()
    assert "runtime" not in bench.ops()
