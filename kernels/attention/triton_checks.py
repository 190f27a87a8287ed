"""The Triton kernels against the definition, on a GPU or in Triton's interpreter.

``test_attention.py`` runs this file in a process of its own; the suite does not collect it. Blocks
are small here, so that a short sequence has several.
"""

import pytest
import torch

from nas.kernels.attention import checks
from nas.kernels.attention.api import NORMALISERS
from nas.kernels.runtime.impl import Impl

BLOCKS = {"row_block": 16, "column_block": 16, "num_warps": 4, "num_stages": 1}


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.kernels.attention.triton.blocks", lambda *_, routed: BLOCKS)
    monkeypatch.setattr("nas.kernels.attention.triton._PART", 20)


@pytest.mark.parametrize("normaliser", NORMALISERS)
@pytest.mark.parametrize("scope", ["past", "sinks"])
def test_it_is_the_definition(scope: str, normaliser: str) -> None:
    checks.check_values(Impl.TRITON, scope, normaliser)


@pytest.mark.parametrize(
    ("scope", "normaliser"),
    [
        ("window", "softmax"),
        ("sinks ahead", "sigmoid"),
        ("all", "clipped"),
        ("both sides", "softmax"),
    ],
)
def test_other_scopes(scope: str, normaliser: str) -> None:
    checks.check_values(Impl.TRITON, scope, normaliser, 19, 33)


def test_more_queries_than_keys_where_position_means_nothing() -> None:
    checks.check_values(Impl.TRITON, "all", "softmax", 33, 5)


@pytest.mark.parametrize(
    ("time", "widths", "normaliser"),
    [
        (1, (8, 8), "sigmoid"),
        (2, (1, 1), "softmax"),
        (15, (8, 3), "clipped"),
        (16, (16, 16), "softmax"),
        (17, (24, 33), "sigmoid"),
    ],
)
def test_lengths_and_widths(time: int, widths: tuple[int, int], normaliser: str) -> None:
    checks.check_widths(Impl.TRITON, time, widths, normaliser)


def test_biases() -> None:
    checks.check_biases(Impl.TRITON)


@pytest.mark.parametrize(
    ("dtype", "scope", "normaliser"),
    [
        (torch.float32, "past", "softmax"),
        (torch.float32, "sinks", "sigmoid"),
        (torch.float32, "window", "clipped"),
        (torch.bfloat16, "sinks", "softmax"),
        (torch.bfloat16, "window", "sigmoid"),
        (torch.bfloat16, "past", "clipped"),
    ],
)
def test_low_precision(dtype: torch.dtype, scope: str, normaliser: str) -> None:
    checks.check_low_precision(Impl.TRITON, dtype, scope, normaliser)


@pytest.mark.parametrize(
    ("scope", "normaliser"),
    [("past", "softmax"), ("sinks", "clipped"), ("both sides", "sigmoid")],
)
def test_routed(scope: str, normaliser: str) -> None:
    checks.check_routed(Impl.TRITON, scope, normaliser)


def test_routed_low_precision() -> None:
    checks.check_routed_low_precision(Impl.TRITON, torch.bfloat16)


def test_routed_in_any_order() -> None:
    checks.check_routed_order(Impl.TRITON)


def test_heads_without_queries() -> None:
    checks.check_no_queries(Impl.TRITON)


def test_rows_of_a_batch_are_on_their_own() -> None:
    checks.check_batch(Impl.TRITON, "softmax")


def test_queries_in_parts() -> None:
    checks.check_split(Impl.TRITON)


def test_strides() -> None:
    checks.check_strides(Impl.TRITON)


def test_extremes() -> None:
    checks.check_extremes(Impl.TRITON)
