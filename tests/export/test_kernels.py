"""An export that carries the Triton kernels of its ops as a second file."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nas.errors import ExportRefused
from nas.export import Exported, Header, Subject, export, folder
from nas.export.carried import PACKAGES, carried_by, kernels_source
from nas.export.certificate import Check, Kernels
from nas.export.collect import collect
from nas.export.lint import check_source
from nas.export.parse import read_module
from nas.export.verify_kernels import INTERPRETED, Pair, checks_of, verify_kernels
from nas.export.write import write_kernels, write_model
from nas.search_spaces.architecture import Architecture
from tests.contracts.architectures import architecture_with
from tests.contracts.instances import MIXERS

Make = Callable[..., Architecture]
ROOT = Path(__file__).parents[2]
FORMS = {
    path.parent.name: f"nas.kernels.{path.parent.name}"
    for path in sorted((ROOT / "kernels").glob("*/api.py"))
    if path.with_name("triton.py").exists()
}
FFN = {"kind": "swiglu", "hidden": 16}
NONE = {"kind": "none"}


def stack(*mixers: dict[str, Any], vocab: int = 32) -> Architecture:
    """A model of width 16 of mixers alone."""
    layers = [{"mixer": m, "ffn": NONE, "block": {"kind": "sequential"}} for m in mixers]
    return Architecture.model_validate({"vocab": vocab, "dim": 16, "layers": layers})


HEADS = {"heads": 1, "head_dim": 16}
RETENTION = {"kind": "retention", **HEADS}
CHANNELS = {"kind": "gated_linear", **HEADS}
DELTA = {"kind": "gated_delta", **HEADS}
KIMI = {"kind": "kimi_delta", "conv": 1, **HEADS}
MAMBA = {"kind": "mamba", "states": 2, "expand": 1}
MODELS = {
    "linear attention, delta rules, convolutions": (stack(RETENTION, CHANNELS, DELTA, KIMI), 19),
    "scans": (stack({"kind": "hgrn"}, MAMBA), 9),
    "a loss without logits": (stack({"kind": "identity"}, vocab=2048), 2),
}
"""With the length of the sequence: the first spans two chunks of 16."""


def written(architecture: Architecture, out: Path, *, whole: bool = False, most: int = 3) -> Pair:
    """Both files, not checked yet."""
    carried = carried_by(architecture)
    out.mkdir()
    model, kernels = out / "model.py", out / "model_triton.py"
    model.write_text(write_model(architecture, Header(), seed=3, weights=False, carried=carried))
    kernels.write_text(write_kernels(architecture, Header(), carried))
    subject = Subject(architecture=architecture, model=model, seed=3)
    return Pair(subject=subject, kernels=kernels, carried=carried, whole=whole, most=most)


@pytest.mark.parametrize("name", MODELS)
def test_kernels_in_a_file_of_their_own_compute_what_the_model_computes(
    name: str, tmp_path: Path
) -> None:
    """Where nas cannot be imported: each op as the definition, and logits and gradients of the
    model as in plain torch."""
    architecture, most = MODELS[name]
    large = architecture.vocab > 32  # in the interpreter its loss takes long
    pair = written(architecture, tmp_path / "out", whole=not large, most=most)
    found, checks = verify_kernels(pair)
    assert all(check.holds for check in checks)
    assert {call.call.partition("(")[0] for call in found.calls} == set(pair.carried.names)
    assert all(call.results > 1 for call in found.calls)
    assert [whole.name for whole in found.whole] == ([] if large else ["logits", "gradients"])


def test_a_kernel_that_errs_is_refused_by_name_and_amount(tmp_path: Path) -> None:
    pair = written(stack(RETENTION), tmp_path / "out")
    text = pair.kernels.read_text()
    assert "scores *= fade_pairs(" in text
    pair.kernels.write_text(text.replace("scores *= fade_pairs(", "scores *= 1.0001 * fade_pairs("))
    with pytest.raises(ExportRefused, match=r"Triton: linear_attention\(.*budget.*interpreted"):
        verify_kernels(pair)


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ("import numpy\n", "imports numpy"),
        ("from nas.errors import NasError\n", "imports nas.errors"),
        ("\nSPARE = 1\n", "nothing uses SPARE"),
    ],
    ids=["an import", "an import of the search", "a leftover"],
)
def test_a_file_of_kernels_is_read_as_the_model_is(added: str, said: str, tmp_path: Path) -> None:
    pair = written(stack(RETENTION), tmp_path / "out")
    with pair.kernels.open("a") as file:
        file.write(added)
    with pytest.raises(ExportRefused, match=said):
        verify_kernels(pair)


def test_an_op_that_is_never_called_does_not_pass() -> None:
    call = {"call": "short_conv([1, 2])", "times": 1, "results": 2, "error": 0, "budget": 1e-6}
    about = {"device": "cpu", "triton": "3", "tokens": 2, "rule": "", "seconds": 1, "without": ()}
    ops = ("short_conv", "linear_attention")
    kernels = Kernels.model_validate({**about, "ran": INTERPRETED, "ops": ops, "calls": (call,)})
    found = {check.name: check for check in checks_of(kernels)}
    assert found["Triton: short_conv([1, 2])"].holds
    assert not found["Triton: linear_attention"].holds
    assert "the model does not call it" in found["Triton: linear_attention"].detail


def test_all_ops_fit_into_one_file() -> None:
    """No two of them give one name to different things, and what is copied is complete."""
    targets = []
    for package in FORMS.values():
        offered = read_module(f"{package}.api").definitions.keys()
        forms = read_module(f"{package}.triton").definitions
        targets += [f"{package}.triton:{name}" for name in forms if name in offered]
    found = collect(targets, packages=PACKAGES)
    assert {target.partition(":")[2] for target in targets} <= found.names
    for section in found.sections:
        assert "nas." not in (section.docstring or ""), section.module
        for definition in section.definitions:
            assert "``api``" not in definition.text, definition.name


CARRYING = [i for i in MIXERS if i.name.endswith("-0")]


@pytest.fixture(scope="module")
def texts() -> dict[str, tuple[str, str]]:
    """Both files of the first architecture of each mixer that uses an op with a Triton form."""
    found = {}
    for instance in CARRYING:
        architecture = architecture_with(instance)
        try:
            carried = carried_by(architecture)
        except ExportRefused:
            continue
        model = write_model(architecture, Header(), seed=3, weights=False, carried=carried)
        found[repr(instance)] = model, write_kernels(architecture, Header(), carried)
        check_source(found[repr(instance)][1], entry_points=carried.names, packages=PACKAGES)
    return found


def test_every_mixer_with_such_an_op_can_carry_it(texts: dict[str, tuple[str, str]]) -> None:
    assert len(texts) >= 10
    for name, (model, kernels) in texts.items():
        marked = re.findall(r"^@has_kernels\ndef (\w+)\(", model, re.MULTILINE)
        assert marked, name
        assert all(f"\ndef {op}(" in kernels for op in marked), name
        assert not re.search(r"\bnas\.", kernels), name


def test_the_files_are_laid_out_as_the_formatter_would(
    texts: dict[str, tuple[str, str]], tmp_path: Path
) -> None:
    for name, (model, kernels) in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.py").write_text(model)
        (tmp_path / name / "model_triton.py").write_text(kernels)
    config = ["--config", str(ROOT / "pyproject.toml")]
    for command in (["format", "--diff"], ["check", "--select", "E,F,I,UP,B,A"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *config, "--no-cache", str(tmp_path)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_kernels_are_copied_word_for_word() -> None:
    carried = carried_by(stack(DELTA))
    sections = kernels_source(carried).sections
    kernels = [s for s in sections if ".triton" in s.module]
    assert kernels
    for section in kernels:
        source = Path(ROOT, *section.module.split(".")[1:]).with_suffix(".py").read_text()
        assert all(definition.text in source for definition in section.definitions)


def test_a_model_without_such_an_op_says_so(small: Make) -> None:
    with pytest.raises(ExportRefused, match="no op with a Triton form: it uses no op"):
        carried_by(small())
    with pytest.raises(ExportRefused, match="its ops are long_conv; export it without kernels"):
        carried_by(small({"mixer": {"kind": "long_conv", "max_tokens": 32}}))


def test_ops_that_stay_in_torch_are_named(small: Make) -> None:
    long = {"mixer": {"kind": "long_conv", "max_tokens": 32}}
    architecture = small(long, {"mixer": RETENTION})
    carried = carried_by(architecture)
    assert (carried.names, carried.names_without) == (("linear_attention",), ("long_conv",))
    text = write_model(architecture, Header(), seed=0, weights=False, carried=carried)
    assert "in Triton on a GPU   linear_attention\n    in torch everywhere  long_conv\n" in text


@pytest.fixture(scope="module")
def carrying(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A whole export; its kernels run on few tokens."""
    out = tmp_path_factory.mktemp("carrying") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder, "Pair", partial(Pair, most=3))
        return export(stack(RETENTION), out, header=Header(study="s"), kernels=True)


def test_the_folder_certifies_both_files(carrying: Exported) -> None:
    names = {item.name for item in carrying.folder.iterdir()}
    assert names == {"model.py", "model_triton.py", "architecture.json", "certificate.json"}
    found = json.loads((carrying.folder / "certificate.json").read_text())
    assert set(found["files"]) == {"model.py", "model_triton.py", "architecture.json"}
    assert found["kernels"]["ran"] == INTERPRETED
    assert found["kernels"]["ops"] == ["linear_attention"]
    assert all(call["error"] <= call["budget"] for call in found["kernels"]["calls"])
    checks = [Check.model_validate(check) for check in found["checks"]]
    assert {"logits", "gradients"} < {check.name for check in checks}
    assert any(c.name.startswith("Triton: ") and INTERPRETED in c.detail for c in checks)
    assert folder.is_export(carrying.folder)


def run(lines: str, where: Path) -> str:
    """What Python prints in a folder, without nas; Triton's interpreter is off at first."""
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", f"{START}\n{lines}"],
        cwd=where,
        env={"PATH": "/usr/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


START = """
import os, sys
sys.path.insert(0, '.')
import torch, model

def call(kernels):
    model.KERNELS = kernels
    ones = torch.ones(1, 1, 2, 16)
    try:
        total = model.linear_attention(ones, ones, ones, torch.zeros(1, 1, 1, 1))[0].sum()
        print(kernels, int(total), 'kernels' if 'model_triton' in sys.modules else 'plain')
    except (RuntimeError, ValueError) as error:
        print(kernels, error)
"""


def test_the_setting_says_which_form_runs(carrying: Exported) -> None:
    """On the CPU plain torch does, the second file is not even read, and nothing falls back."""
    lines = """
call('auto')
call('triton')
call('cuda')
os.environ['TRITON_INTERPRET'] = '1'
call('torch')
call('auto')
call('triton')
"""
    said = run(lines, carrying.folder).splitlines()
    assert said[0] == "auto 768 plain"
    assert "needs TRITON_INTERPRET=1 before Python starts" in said[1]
    assert said[2] == "cuda KERNELS is 'cuda'; it can be 'auto', 'torch' or 'triton'"
    assert said[3:] == ["torch 768 plain", "auto 768 kernels", "triton 768 kernels"]


def test_a_file_that_is_not_there_is_missed_where_kernels_would_run(
    carrying: Exported, tmp_path: Path
) -> None:
    shutil.copy(carrying.model, tmp_path)
    lines = "call('auto')\nos.environ['TRITON_INTERPRET'] = '1'\ncall('auto')"
    alone, missed = run(lines, tmp_path).splitlines()
    assert alone == "auto 768 plain"
    assert "model_triton.py is not there" in missed
    assert "set KERNELS = 'torch'" in missed
