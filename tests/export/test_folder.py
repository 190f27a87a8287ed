"""The folder of an export: complete or not there at all."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from nas.errors import Conflict, ExportRefused, NotFound
from nas.export import Exported, Header, export, folder
from nas.plan import execute
from nas.record import Measurement
from nas.search_spaces.architecture import Architecture

Make = Callable[..., Architecture]
HEADER = Header(
    study="first-study",
    trial=7,
    description='Two layers """of attention""" \\N{BULLET}\nand more.',
    measurements=(
        Measurement(
            metric="decode.latency_ms",
            value=1.25,
            unit="ms",
            stage="latency",
            low=1.0,
            high=1.5,
            repeats=30,
        ),
        Measurement(metric="params", value=63808, unit="count", stage="static"),
    ),
    target={"device": "cpu", "contexts": [256, 2048]},
    environment={"torch": "2.13.0", "threads": 1},
)


@pytest.fixture(scope="module")
def weights(small: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that no seed gives."""
    torch.manual_seed(99)
    state = execute(small().plan()).state_dict()
    path = tmp_path_factory.mktemp("weights") / "trained.safetensors"
    save_file({name: value * 1.01 for name, value in state.items()}, path)
    return path


@pytest.fixture(scope="module")
def exported(small: Make, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """An export with trained weights, into a folder whose parents do not exist."""
    out = tmp_path_factory.mktemp("exported") / "parent" / "out"
    return export(small(), out, header=HEADER, weights=weights, seed=11)


def test_the_folder_holds_four_files(exported: Exported) -> None:
    names = {item.name for item in exported.folder.iterdir()}
    assert names == {"model.py", "architecture.json", "certificate.json", "weights.safetensors"}
    assert [item.name for item in exported.folder.parent.iterdir()] == ["out"]


def test_the_architecture_can_be_read_back(exported: Exported, small: Make) -> None:
    described = (exported.folder / "architecture.json").read_text()
    assert Architecture.model_validate_json(described) == small()


def test_the_certificate_says_what_was_held(exported: Exported, small: Make) -> None:
    found = json.loads((exported.folder / "certificate.json").read_text())
    assert found["architecture"] == small().id
    assert found["seed"] == 11
    assert found["torch"] == torch.__version__
    assert set(found["digests"]) == {"initial weights", "logits", "gradients", "trained logits"}
    assert {check["name"]: check["holds"] for check in found["checks"]} == {
        "parameters": True,
        "state-dict keys": True,
        "initial weights": True,
        "logits": True,
        "gradients": True,
        "trained logits": True,
        "decoding": True,
        "python model.py": True,
    }
    assert found["decoding"]["error"] <= found["decoding"]["tolerance"]
    assert set(found["files"]) == {"model.py", "architecture.json", "weights.safetensors"}


def test_the_header_says_where_the_model_comes_from(exported: Exported) -> None:
    text = exported.model.read_text()
    for said in (
        "Study first-study, trial 7.",
        "decode.latency_ms  1.25 ms (1 to 1.5, 10th to 90th percentile of 30)",
        "params             63808 count",
        "device    cpu",
        "contexts  256, 2048",
        "threads  1",
        "Two layers '''of attention''' /N{BULLET} and more.",
        "https://arxiv.org/abs/1706.03762",
    ):
        assert said in text


def test_the_file_runs_alone_with_its_weights(exported: Exported, tmp_path: Path) -> None:
    probe = (
        "import runpy, sys; sys.path.insert(0, '.')\n"
        "from model import build, load_safetensors\n"
        "import torch, pathlib\n"
        "loaded = load_safetensors(pathlib.Path('weights.safetensors'))\n"
        "print(sorted(loaded) == sorted(build().state_dict()))\n"
        "runpy.run_path('model.py', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", probe],
        cwd=exported.folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("True\nparameters: 63,808\n")
    assert done.stdout.endswith(exported.certificate.printed)


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch, exported: Exported) -> None:
    """The check holds at once: these tests are about folders."""
    monkeypatch.setattr(folder, "verify", lambda subjects, **options: [exported.certificate])


def contents(path: Path) -> list[str]:
    return sorted(str(item.relative_to(path)) for item in path.rglob("*"))


@pytest.mark.usefixtures("instant")
def test_an_earlier_export_is_replaced(small: Make, tmp_path: Path) -> None:
    export(small(), tmp_path / "out", header=Header(), seed=1)
    export(small(), tmp_path / "out", header=Header(), seed=2)
    assert "SEED = 2\n" in (tmp_path / "out" / "model.py").read_text()
    assert contents(tmp_path) == [
        "out",
        "out/architecture.json",
        "out/certificate.json",
        "out/model.py",
    ]


@pytest.mark.usefixtures("instant")
def test_an_empty_folder_is_used(small: Make, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert export(small(), tmp_path / "out", header=Header()).model.exists()


@pytest.mark.usefixtures("instant")
@pytest.mark.parametrize("name", ["thesis.txt", "model.py", "certificate.json"])
def test_a_folder_of_someone_else_is_left_alone(name: str, small: Make, tmp_path: Path) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(Conflict, match="not an earlier export"):
        export(small(), tmp_path, header=Header())
    assert contents(tmp_path) == [name]


@pytest.mark.usefixtures("instant")
def test_an_export_with_a_file_added_is_left_alone(small: Make, tmp_path: Path) -> None:
    export(small(), tmp_path / "out", header=Header())
    (tmp_path / "out" / "notes.md").write_text("mine")
    with pytest.raises(Conflict, match="not an earlier export"):
        export(small(), tmp_path / "out", header=Header())


@pytest.mark.usefixtures("instant")
def test_a_file_in_the_way_is_named(small: Make, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(Conflict, match="out is a file"):
        export(small(), tmp_path / "out", header=Header())


@pytest.mark.usefixtures("instant")
def test_a_place_that_cannot_be_written_is_refused(small: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportRefused, match="cannot write to"):
        export(small(), tmp_path / "file" / "sub" / "out", header=Header())
    with pytest.raises(ExportRefused, match="cannot write to"):
        export(small(), Path("/proc/nowhere/out"), header=Header())


def test_missing_weights_are_named(small: Make, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file of weights at"):
        export(small(), tmp_path / "out", header=Header(), weights=tmp_path / "none")
    assert contents(tmp_path) == []


def test_a_refused_export_leaves_all_as_it_was(
    small: Make, weights: Path, tmp_path: Path, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the weights are of another architecture, which shows only when the file runs."""
    out = tmp_path / "parent" / "out"
    larger = small({}, {}, {})
    with pytest.raises(ExportRefused, match="Missing key"):
        export(larger, out, header=Header(), weights=weights)
    assert contents(tmp_path) == []
    with monkeypatch.context() as patch:
        patch.setattr(folder, "verify", lambda subjects, **options: [exported.certificate])
        export(small(), out, header=Header(), seed=8)
    before = (out / "model.py").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(folder, "verify", refuse)
        with pytest.raises(ExportRefused, match="tampered"):
            export(small(), out, header=Header(), seed=9)
    assert (out / "model.py").read_text() == before
    assert contents(tmp_path)[:2] == ["parent", "parent/out"]
    assert [item.name for item in out.parent.iterdir()] == ["out"]


def refuse(subjects: Any, **options: Any) -> list[ExportRefused]:
    return [ExportRefused("tampered")]
