"""The short convolution: shifted products against the definition, and what Triton compiles to."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from nas.kernels.runtime.checking import check_triton
from nas.kernels.runtime.compiling import Compiled, compiled
from nas.kernels.runtime.impl import Impl, Unsupported, use_impl
from nas.kernels.short_conv import checks, chunked, cost, reference, triton
from nas.kernels.short_conv.api import short_conv
from nas.kernels.short_conv.bench import BENCHMARK

IMPL = Impl.CHUNKED


@pytest.mark.parametrize("form", checks.FORMS)
@pytest.mark.parametrize("values", [1, 70, 2**17], ids=["row by row", "few rows", "whole"])
@pytest.mark.parametrize(("time", "width"), [(1, 4), (2, 4), (9, 2), (33, 3), (20, 64), (7, 1)])
def test_chunked_is_the_definition(
    time: int, width: int, values: int, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked, "SHORT_CONV_VALUES", values)
    checks.check_values(IMPL, time, width, form, "silu" if time % 2 else None)


@pytest.mark.parametrize("activation", [None, "silu"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_precision(dtype: torch.dtype, activation: str | None) -> None:
    checks.check_low_precision(IMPL, dtype, activation)


@pytest.mark.parametrize(
    "check",
    [
        checks.check_weight_in_float32,
        checks.check_split,
        checks.check_rows_alone,
        checks.check_layouts,
        checks.check_extremes,
    ],
)
def test_in_every_form(check: object) -> None:
    assert callable(check)
    check(IMPL)


def test_it_is_the_convolution_of_torch() -> None:
    x, weight, bias = checks.draw(12, 4, "bias")
    true = F.conv1d(F.pad(x, (0, 0, 3, 0)).mT, weight[:, None], bias, groups=checks.CHANNELS).mT
    torch.testing.assert_close(short_conv(x, weight, bias)[0], true)


def test_the_latest_inputs_keep_nothing_else_alive() -> None:
    x, weight = checks.draw(50, 4, "plain")
    latest = short_conv(x, weight)[1]
    assert latest.untyped_storage().nbytes() == latest.numel() * latest.element_size()


@pytest.mark.parametrize("time", [1, 2, 20])
def test_cost_is_what_a_counter_sees(time: int) -> None:
    x, weight = checks.draw(time, 4, "plain")
    with FlopCounterMode(display=False) as counter:
        short_conv(x, weight)
    assert counter.get_total_flops() == cost.short_conv_flops(checks.CHANNELS, 4) == 0


@pytest.mark.parametrize("broken", range(4))
def test_a_shape_that_does_not_fit_is_named(broken: int) -> None:
    inputs = checks.draw(6, 4, "all")
    inputs[broken] = inputs[broken][..., :3]
    name = ("weight", "latest", "bias", "latest")[broken]
    with pytest.raises(ValueError, match=rf"short_conv: {name} must be"):
        short_conv(inputs[0], *([inputs[1], None] if broken == 1 else inputs[1:3]), inputs[3])


def test_what_is_refused() -> None:
    x, weight = checks.draw(6, 4, "plain")
    with pytest.raises(ValueError, match="T >= 1"):
        short_conv(x[:, :0], weight)
    with pytest.raises(ValueError, match="from 1 to 64"):
        short_conv(x, weight.repeat(1, 17))
    with pytest.raises(ValueError, match="activation must be"):
        short_conv(x, weight, activation="relu")
    with use_impl(Impl.TRITON), pytest.raises(Unsupported, match=r"short_conv.*'triton'"):
        short_conv(x, weight)


def test_one_signature() -> None:
    functions = (chunked.short_conv, reference.short_conv, triton.short_conv)
    assert all(f.__annotations__ == short_conv.__annotations__ for f in functions)


def test_triton() -> None:
    check_triton(__file__)


@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize("width", [4, 16, 64])
def test_triton_compiles_almost_without_spills(width: int, arch: int) -> None:
    for kernel in compile_kernels(width, arch):
        assert kernel.fits
        assert kernel.spilled_bytes <= 8, kernel  # 4 in one kernel, for occupancy


def compile_kernels(width: int, arch: int) -> list[Compiled]:
    """Forward and backward in bfloat16, with all that is optional."""

    def run() -> None:
        x, latest = (torch.empty(1, t, 512, dtype=torch.bfloat16) for t in (4096, width - 1))
        weight, bias = torch.empty(512, width), torch.empty(512)
        inputs = [t.requires_grad_() for t in (x, weight, bias, latest)]
        y, _ = triton.short_conv(*inputs, "silu")
        torch.autograd.grad(y, inputs, torch.empty_like(y))

    return compiled(run, arch)


def test_the_benchmark_measures_this_op() -> None:
    case = BENCHMARK.cases[0]
    inputs = case.draw()
    (expected, _), found = (
        short_conv(*inputs, activation="silu"),
        BENCHMARK.call(*inputs),
    )
    assert torch.equal(found, expected)
    assert case.flops == cost.short_conv_flops(inputs[0].shape[2], inputs[1].shape[1])
    for name, peer in BENCHMARK.peers().items():
        if name.startswith("torch"):
            torch.testing.assert_close(peer(*inputs), expected, msg=name)
