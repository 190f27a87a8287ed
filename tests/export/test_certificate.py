"""A file that does not compute what the search computed is refused, saying which check failed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas.errors import ExportRefused
from nas.export import Certificate, Header, Subject, verify
from nas.export.write import write_model
from nas.search_spaces.architecture import Architecture

INITIAL = "nn.init.normal_(self.token.weight, std=dim**-0.5)"
NORM = "F.rms_norm(x, self.weight.shape, self.weight, eps=1e-6)"
APPEND = "k, v = state.append(k, v)"

# name: (text in the file, what it becomes, what the refusal says)
TAMPERED: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "initial weights": (
        INITIAL,
        INITIAL.replace("-0.5", "-0.25"),
        ("initial weights: 1 of 20 tensors differ, first embedding.token.weight", "largest"),
    ),
    "a constant": (
        NORM,
        NORM.replace("1e-6", "1e-5"),
        ("logits: 1 of 1 tensors differ", "gradients: ", "largest difference in logits"),
    ),
    "carried state": (
        APPEND,
        f"{APPEND}; v = v + 1e-4 * (v.shape[2] > q.shape[2])",
        ("decoding: differs from the parallel forward by", "tolerance"),
    ),
    "a parameter more": (
        "self.norm = norm\n        self.head",
        "self.norm = norm\n        self.spare = nn.Parameter(torch.ones(7))\n        self.head",
        ("parameters: 63,815 in the file, 63,808 in the search", "state-dict keys: "),
    ),
    "an order of parameters": (
        "        self.gate = nn.Linear(dim, hidden, bias=bias)\n"
        "        self.up = nn.Linear(dim, hidden, bias=bias)\n",
        "        self.up = nn.Linear(dim, hidden, bias=bias)\n"
        "        self.gate = nn.Linear(dim, hidden, bias=bias)\n",
        ("state-dict keys: number 7 is blocks.0.ffn.inner.up.weight in the file",),
    ),
    "an error": (
        "return self.norm(x)",
        "return self.nrom(x)",
        ("the file failed to run: AttributeError", "nrom"),
    ),
    "an error in the script": (
        "    try_out(model, vocab=32, prompt=16, new=8)",
        "    try_out(model, vocab=33, prompt=16, new=8)\n    raise SystemExit(3)",
        ("the file failed to run: SystemExit: 3",),
    ),
    "a hidden import": (
        "    return LanguageModel(\n",
        '    __import__("nas")\n    return LanguageModel(\n',
        ("the file failed to run: ModuleNotFoundError: an exported file cannot import nas",),
    ),
    "an import": ("import torch\n", "import numpy\nimport torch\n", ("the file imports numpy",)),
    "a leftover": ("SEED = 5\n", "SEED = 5\nSPARE = 1\n", ("nothing uses SPARE",)),
}


@pytest.fixture(scope="module")
def verdicts(
    small: Callable[..., Architecture], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the check says of each tampered file, and of the true one."""
    folder = tmp_path_factory.mktemp("tampered")
    text = write_model(small(), Header(), seed=5, weights=False)
    subjects = {}
    for name, (old, new, _) in {**TAMPERED, "nothing": ("", "", ())}.items():
        assert old in text, f"{name}: the file no longer holds {old!r}"
        model = folder / f"{name}.py"
        model.write_text(text.replace(old, new, 1))
        subjects[name] = Subject(architecture=small(), model=model, seed=5)
    return dict(zip(subjects, verify(list(subjects.values())), strict=True))


def test_the_true_file_passes(verdicts: dict[str, Any]) -> None:
    assert isinstance(verdicts["nothing"], Certificate), verdicts["nothing"]


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_file_is_refused(name: str, verdicts: dict[str, Any]) -> None:
    verdict = verdicts[name]
    assert isinstance(verdict, ExportRefused)
    for said in TAMPERED[name][2]:
        assert said in str(verdict)


def test_running_out_of_time_is_a_refusal(
    small: Callable[..., Architecture], tmp_path: Path
) -> None:
    model = tmp_path / "model.py"
    model.write_text(write_model(small(), Header(), seed=0, weights=False))
    (verdict,) = verify([Subject(architecture=small(), model=model, seed=0)], timeout=0.05)
    assert isinstance(verdict, ExportRefused)
    assert "ran out of time" in str(verdict)
