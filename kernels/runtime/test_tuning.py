"""Measured launch choices: how they are chosen, kept, found again, and put in force."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from nas.errors import Unavailable
from nas.kernels.runtime import tuner
from nas.kernels.runtime.triton_form import INTERPRET, triton_form
from nas.kernels.runtime.tuning import (
    NOT_TUNED,
    Choices,
    Device,
    Table,
    current_table,
    load_table,
    save_table,
    source_digest,
    use_tuning,
)

DEVICE = Device("NVIDIA H100 80GB HBM3", "9.0", "3.9.0", "0123456789ab")
TABLE = Table().with_choices("linear_attention", "bfloat16 K64", {"mix": (64, 64, 8)})
CANDIDATES = {"carry": ((32, 4), (64, 4)), "mix": ((64, 8), (128, 8))}


def times(choices: Choices) -> float:
    """A stand-in for a device: 1 s, less for what suits it; (128, 8) does not run there."""
    if choices.get("mix") == (128, 8):
        raise RuntimeError("out of resources: shared memory")
    gains = {("carry", (64, 4)): 0.2, ("carry", (32, 4)): 0.1, ("mix", (64, 8)): 0.01}
    return 1.0 - sum(gains.get(choice, 0.0) for choice in choices.items())


def test_the_fastest_that_runs_is_chosen_and_noise_is_not() -> None:
    assert tuner.choose(CANDIDATES, times) == {"carry": (64, 4)}


def test_each_launch_is_timed_beside_what_was_chosen_before() -> None:
    seen: list[dict[str, tuple[int, ...]]] = []

    def time(choices: Choices) -> float:
        seen.append(dict(choices))
        return 1.0 if not choices else 0.5 if "mix" not in choices else 0.25

    assert tuner.choose(CANDIDATES, time) == {"carry": (32, 4), "mix": (64, 8)}
    assert seen[0] == {}
    assert all(found.get("carry") == (32, 4) for found in seen if "mix" in found)


def test_a_default_that_does_not_run_is_an_error() -> None:
    def time(choices: Choices) -> float:
        raise RuntimeError("no device")

    with pytest.raises(RuntimeError, match="no device"):
        tuner.choose(CANDIDATES, time)


def test_a_table_is_found_again_by_its_device(tmp_path: Path) -> None:
    path = save_table(tmp_path / "tuning", DEVICE, TABLE)
    assert path.name.startswith("nvidia-h100-80gb-hbm3-")
    assert load_table(tmp_path / "tuning", DEVICE) == TABLE
    assert json.loads(path.read_text())["version"] == TABLE.version
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("changed", ["name", "capability", "triton", "source"])
def test_what_was_measured_for_something_else_does_not_hold(changed: str, tmp_path: Path) -> None:
    save_table(tmp_path, DEVICE, TABLE)
    other = load_table(tmp_path, replace(DEVICE, **{changed: "another"}))
    assert other == Table()
    assert other.version == NOT_TUNED


@pytest.mark.parametrize(
    "text",
    ["", "{}", '{"format": "nas-tuning-1", "device": {}, "choices": {}}'],
    ids=["empty", "bare", "of no device"],
)
def test_a_file_that_cannot_be_read_is_named(text: str, tmp_path: Path) -> None:
    path = save_table(tmp_path, DEVICE, TABLE)
    path.write_text(text)
    with pytest.raises(Unavailable, match=rf"{path.name}.*delete it"):
        load_table(tmp_path, DEVICE)


def test_versions_tell_tables_apart() -> None:
    other = TABLE.with_choices("linear_attention", "bfloat16 K64", {"mix": (64, 64, 4)})
    assert len({Table().version, TABLE.version, other.version}) == 3
    again = Table().with_choices("linear_attention", "bfloat16 K64", {"mix": (64, 64, 8)})
    assert again.version == TABLE.version


def test_the_source_decides_and_checks_do_not(tmp_path: Path) -> None:
    folder = tmp_path / "op"
    folder.mkdir()
    (folder / "triton.py").write_text("a = 1\n")
    before = source_digest(tmp_path)
    (folder / "triton_checks.py").write_text("b = 1\n")
    assert source_digest(tmp_path) == before
    (folder / "tuning.py").write_text("CANDIDATES = {}\n")
    after = source_digest(tmp_path)
    assert after != before
    (folder / "triton.py").write_text("a = 2\n")
    assert source_digest(tmp_path) not in (before, after)


def test_a_table_is_in_force_for_its_body_only() -> None:
    assert current_table().version == NOT_TUNED
    with pytest.raises(ZeroDivisionError), use_tuning(TABLE):
        1 / int(current_table() != TABLE)
    assert current_table().version == NOT_TUNED


def test_an_op_is_called_with_what_was_measured_for_its_kind_of_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[object] = []
    form = SimpleNamespace(linear_attention=lambda *inputs, **named: seen.append(named))
    monkeypatch.setitem(sys.modules, "nas.kernels.linear_attention.triton", form)
    monkeypatch.setenv(INTERPRET, "1")
    q, decay = torch.zeros(1, 1, 2, 64), torch.zeros(1, 1, 1, 1)
    table = Table().with_choices(
        "linear_attention", "float32 K64 V64 decay one", {"mix": (64, 64, 8)}
    )
    call = triton_form("linear_attention")
    call(q, q, q, decay)
    with use_tuning(table):
        call(q, q, q, decay)
        call(q.double(), q.double(), q.double(), decay)
    assert seen == [{}, {"choices": {"mix": (64, 64, 8)}}, {"choices": {}}]


def test_nothing_is_tuned_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv(INTERPRET, raising=False)
    assert tuner.main(["--home", str(tmp_path)]) == 1
    assert "there is no GPU" in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv(INTERPRET, "1")
    assert tuner.main(["--home", str(tmp_path)]) == 1
    assert "interpreter say nothing" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_device_is_described_and_its_table_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a stand-in for the device and its clock: what is measured is written, and found."""
    monkeypatch.delenv(INTERPRET, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: DEVICE.name)
    here = tuner.device_here()
    assert (here.name, here.capability, here.source) == (DEVICE.name, "9.0", source_digest())
    monkeypatch.setattr(tuner, "_calls", lambda op: [op])
    tuned = lambda op, inputs, table: table.with_choices(op, inputs, {"mix": (64, 64, 8)})  # noqa: E731
    monkeypatch.setattr(tuner, "tune", tuned)
    assert tuner.main(["linear_attention", "--home", str(tmp_path)]) == 0
    found = load_table(tmp_path / "tuning", here)
    assert found.found("linear_attention", "linear_attention") == {"mix": (64, 64, 8)}
    assert found.version in capsys.readouterr().out
