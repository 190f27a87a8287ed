"""The Triton kernels against the definition, on a GPU or in Triton's interpreter.

``test_linear_attention.py`` runs this file in a process of its own, since the interpreter has to be
on before triton is imported; the suite does not collect it.
"""

import pytest
import torch

from nas.kernels.linear_attention import checks, triton
from nas.kernels.linear_attention.api import linear_attention
from nas.kernels.linear_attention.checks import draw
from nas.kernels.linear_attention.tuning import CANDIDATES, key_of
from nas.kernels.runtime.checking import check_exact
from nas.kernels.runtime.impl import Impl
from nas.kernels.runtime.tuning import Table, use_tuning

IMPL = Impl.TRITON
EITHER = pytest.mark.parametrize("decay", ["token", "channel"])
WIDTHS = pytest.mark.parametrize("width", [1, checks.KEY])


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 16 steps, so that few steps make several."""
    monkeypatch.setattr(triton, "_TRITON_LINEAR_CHUNK", 16)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("time", "heads", "decay", "given"),
    [
        (1, 2, "token", 5),
        (2, 1, "token", 4),
        (2, 2, "channel", 5),
        (15, 1, "channel", 4),
        (16, 1, "head", 5),
        (17, 2, "token", 5),
        (17, 1, "channel", 5),
        (33, 1, "head channel", 4),
        (35, 1, "one", 5),
    ],
)
def test_values(time: int, heads: int, decay: str, given: int) -> None:
    checks.check_values(IMPL, draw(heads, time, decay)[:given])


@EITHER
def test_values_over_chunks_as_long_as_in_use(decay: str) -> None:
    checks.check_values(IMPL, draw(1, 65, decay, batch=1))


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(("key", "value"), [(72, 70), (1, 3)])
@EITHER
def test_several_tiles_of_a_head(key: int, value: int, decay: str) -> None:
    checks.check_values(IMPL, draw(1, 18, decay, batch=1, key=key, value=value))


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("decay", "dtype"),
    [
        ("token", torch.float32),
        ("token", torch.bfloat16),
        ("token", torch.float16),
        ("channel", torch.float32),
        ("channel", torch.bfloat16),
        ("head", torch.float32),
        ("head channel", torch.bfloat16),
    ],
)
def test_low_precision(decay: str, dtype: torch.dtype) -> None:
    checks.check_low_precision(IMPL, draw(2, 34, decay, batch=1), dtype)


@WIDTHS
@pytest.mark.parametrize("rate", [-1e-4, -10.0])
def test_the_range_of_the_chunked_form(rate: float, width: int) -> None:
    checks.check_rate(IMPL, rate, width, 40)


@WIDTHS
def test_decays_that_differ_as_much_as_they_like(width: int) -> None:
    checks.check_any_decay(IMPL, width, 40)


@WIDTHS
def test_no_decay_is_too_strong(width: int) -> None:
    checks.check_strongest(IMPL, width, 18)


@pytest.mark.usefixtures("short")
@EITHER
def test_the_state_carries_over_a_split(decay: str) -> None:
    checks.check_split(IMPL, decay, [18, 19, 35])


@pytest.mark.usefixtures("short")
@EITHER
def test_a_change_in_the_future_changes_nothing_before_it(decay: str) -> None:
    checks.check_causal(IMPL, decay, 35, 21, 0.0)


@pytest.mark.usefixtures("short")
@EITHER
def test_runs_repeat(decay: str) -> None:
    checks.check_repeats(IMPL, decay, 17)


@pytest.mark.usefixtures("short")
@EITHER
def test_a_row_of_a_batch_alone(decay: str) -> None:
    checks.check_alone(IMPL, decay, 17)


@pytest.mark.usefixtures("short")
def test_layouts() -> None:
    checks.check_layouts(IMPL, "channel", 17)


def test_every_candidate_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also that a choice arrives: sizes of tiles are seen as they are asked for."""
    seen = []
    original = triton._linear_blocks

    def noted(sizes, launch, *default):  # type: ignore[no-untyped-def]
        seen.append((launch, sizes.choices[launch]))
        return original(sizes, launch, *default)

    monkeypatch.setattr(triton, "_linear_blocks", noted)
    inputs = draw(1, 17, "one", batch=1)
    for index in range(max(map(len, CANDIDATES.values()))):
        choices = {name: options[index % len(options)] for name, options in CANDIDATES.items()}
        table = Table().with_choices("linear_attention", key_of(*inputs), choices)
        seen.clear()
        with use_tuning(table):
            check_exact(Impl.TRITON, linear_attention, inputs)
        assert set(seen) == set(choices.items())
