"""Every part of the catalogue can be exported, and the file passes the certificate.

Parts are found in the catalogue and none is named, so that a new one is held to this as it stands.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest

from nas.export import Certificate, Header, Subject, verify
from nas.export.write import write_model
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.catalogue import SLOTS

Make = Callable[..., Architecture]


def placed(slot: str, part: dict[str, Any], mixer: dict[str, Any]) -> tuple[dict, dict]:
    """Where a part of a slot stands: changes to a layer, and fields of the architecture."""
    if slot in ("mixers", "ffns", "blocks"):
        return {slot.removesuffix("s"): part}, {}
    if slot == "residuals":
        return {"block": {"kind": "sequential", "residual": part}}, {}
    if slot == "positions":
        return {"mixer": mixer | {"position": part}}, {}
    return {}, {slot.removesuffix("s"): part}  # embeddings, norms


def instances() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(test id, slot, settings) of every example and variant."""
    for slot, parts in SLOTS.items():
        for kind, part in parts.items():
            for number, settings in enumerate((part.example, *part.variants)):
                yield f"{slot}-{kind}-{number}", slot, settings


INSTANCES = {name: (slot, settings) for name, slot, settings in instances()}
NAMES = [*INSTANCES, "everything", "layers apart"]


def zip_cycled(*lists: list[Any]) -> list[tuple[Any, ...]]:
    """As `zip`, the shorter lists from their beginning again."""
    return list(islice(zip(*map(cycle, lists), strict=False), max(map(len, lists))))


@pytest.fixture(scope="module")
def subjects(small: Make, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Subject]:
    """An exported file for each part, one that holds all parts at once, and one in which equal
    layers stand apart."""
    folder = tmp_path_factory.mktemp("catalogue")
    mixer = small().layers[0].mixer.model_dump()
    changes: dict[str, list[dict[str, Any]]] = {"mixer": [], "ffn": [], "block": []}
    found = {}
    for name, (slot, settings) in INSTANCES.items():
        change, fields = placed(slot, settings, mixer)
        found[name] = small(change, change, **fields)
        for field, part in change.items():
            changes[field].append(part)
    layers = [dict(zip(changes, parts, strict=True)) for parts in zip_cycled(*changes.values())]
    found["everything"] = small(*layers)
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
    return dict(zip(subjects, verify(list(subjects.values())), strict=True))


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
    folder = subjects["everything"].model.parent.parent
    config = ["--config", str(Path(__file__).parents[2] / "pyproject.toml")]
    for command in (["format", "--diff"], ["check", "--select", "E,F,I,UP,B,A"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *config, "--no-cache", str(folder)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
