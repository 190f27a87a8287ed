"""Exported files, kept to be read: a change to what is exported shows up as a change to them.

``python tests/export/test_golden.py`` writes them anew.
"""

from pathlib import Path

import pytest

from nas.export import Header
from nas.export.write import write_model
from nas.record import Measurement
from nas.search_spaces.architecture import Architecture

GOLDEN = Path(__file__).parent / "golden"
WAY = "python tests/export/test_golden.py"
ATTENTION = {"kind": "attention", "heads": 4, "groups": 2, "head_dim": 32}
DELTA = {"kind": "gated_delta", "heads": 4, "head_dim": 32}
IDENTITY = {"kind": "identity"}
HEADER = Header(
    study="golden",
    trial=3,
    measurements=(
        Measurement(metric="text.loss", value=2.25, unit="nats", stage="train"),
        Measurement(
            metric="decode.latency_ms@256",
            value=0.5,
            unit="ms",
            stage="latency",
            low=0.45,
            high=0.625,
            repeats=50,
        ),
    ),
    target={"device": "cpu", "contexts": [256], "batch": 1, "dtype": "float32"},
    environment={"torch": "2.13.0", "device": "cpu", "dtype": "float32", "impl": "chunked"},
)


def stack(*mixers: dict[str, object]) -> Architecture:
    layers = [
        {
            "mixer": mixer,
            "ffn": {"kind": "swiglu", "hidden": 352},
            "block": {"kind": "sequential"},
        }
        for mixer in mixers
    ]
    return Architecture.model_validate({"vocab": 256, "dim": 128, "layers": layers})


ARCHITECTURES = {
    "attention": (stack(*[ATTENTION] * 6), False),
    "hybrid": (stack(*[DELTA, DELTA, DELTA, ATTENTION] * 3), True),
    "irregular": (stack(ATTENTION, *[IDENTITY] * 3, ATTENTION, IDENTITY), False),
}


def text_of(name: str) -> str:
    architecture, weights = ARCHITECTURES[name]
    return write_model(architecture, HEADER, seed=0, weights=weights)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_file_is_as_it_was_last_read(name: str) -> None:
    kept = (GOLDEN / f"{name}.py").read_text()
    assert text_of(name) == kept, f"read the change, then write it down with `{WAY}`"


if __name__ == "__main__":
    for kept_name in ARCHITECTURES:
        (GOLDEN / f"{kept_name}.py").write_text(text_of(kept_name))
        print(f"wrote {GOLDEN / kept_name}.py")
