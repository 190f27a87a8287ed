"""Every part of the catalogue can be exported, and the file passes the certificate.

Parts are found in the catalogue and none is named, so that a new one is held to this as it stands.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas.export import Certificate, Header, Subject, verify
from nas.export.write import write_model
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.base import FAMILIES
from tests.contracts.architectures import architecture_with
from tests.contracts.instances import INSTANCES

Make = Callable[..., Architecture]


ARCHITECTURES = {repr(instance): architecture_with(instance) for instance in INSTANCES}
NAMES = [*ARCHITECTURES, *(f"everything in {family}" for family in FAMILIES), "layers apart"]


def everything(family: str) -> Architecture:
    """One model with every layer of the architectures of a family."""
    found = [a for a in ARCHITECTURES.values() if a.family == family]
    layers = tuple(dict.fromkeys(layer for a in found for layer in a.layers))
    fields = {"family": family, "vocab": found[0].vocab, "dim": found[0].dim, "layers": layers}
    return Architecture.model_validate(fields)


@pytest.fixture(scope="module")
def subjects(small: Make, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Subject]:
    """An exported file for each part, one for each family that holds all parts at once, and one in
    which equal layers stand apart."""
    folder = tmp_path_factory.mktemp("catalogue")
    found = dict(ARCHITECTURES)
    found |= {f"everything in {family}": everything(family) for family in FAMILIES}
    wide = {"ffn": {"kind": "gelu", "hidden": 128}}
    found["layers apart"] = small({}, wide, wide, {}, wide)
    written = {}
    for name, architecture in found.items():
        model = folder / name / "model.py"
        model.parent.mkdir()
        model.write_text(write_model(architecture, Header(), seed=3, weights=False))
        written[name] = Subject(architecture=architecture, model=model, seed=3)
    return written


@pytest.fixture(scope="module")
def verdicts(subjects: dict[str, Subject]) -> dict[str, Any]:
    """What the check says of each file; two processes answer for all."""
    return dict(zip(subjects, verify(list(subjects.values()), timeout=1500), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_the_file_computes_what_the_search_computes(name: str, verdicts: dict[str, Any]) -> None:
    verdict = verdicts[name]
    assert isinstance(verdict, Certificate), verdict
    assert all(check.holds for check in verdict.checks)
    assert {"initial weights", "logits", "gradients"} <= set(verdict.digests)


@pytest.mark.parametrize("name", NAMES)
def test_the_file_speaks_of_the_model_only(name: str, subjects: dict[str, Subject]) -> None:
    text = subjects[name].model.read_text()
    assert not re.search(r"\b(nas|search_spaces|kernels)\b", text)
    long = [line for line in text.splitlines() if len(line) > 100]
    assert not [line for line in long if len(line.split()) > 1]  # a link cannot be broken


def test_the_files_are_laid_out_as_the_formatter_would(subjects: dict[str, Subject]) -> None:
    folder = subjects["layers apart"].model.parent.parent
    config = ["--config", str(Path(__file__).parents[2] / "pyproject.toml")]
    for command in (["format", "--diff"], ["check", "--select", "E,F,I,UP,B,A"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *config, "--no-cache", str(folder)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
