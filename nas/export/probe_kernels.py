"""Runs the Triton kernels of an export, and holds what they compute against the definitions.

    python -I -B probe_kernels.py request.json   # the file, where nas cannot be imported
    python -P -B probe_kernels.py request.json   # the definitions of its ops

It is run by its path, as ``probe.py`` is; ``verify_kernels.py`` writes what it reads. On a machine
with a GPU the kernels run there, and so does the whole model; else each distinct call of an op that
the model makes runs in Triton's interpreter.

B batch, T time
"""

import functools
import importlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

LEAST_ROUNDINGS = 4
"""Of values that are not summed at all."""


def main(request_file: str) -> None:
    """Answer a request of one of the two sides."""
    request = json.loads(Path(request_file).read_text())
    torch.set_num_threads(request["threads"])
    answer = run_kernels if request["side"] == "kernels" else judge
    Path(request["results"]).write_text(json.dumps(answer(request)))


def run_kernels(request: Mapping[str, Any]) -> dict[str, Any]:
    """Calls of the ops, as the model makes them, in Triton; the tensors go to ``request["calls"]``,
    and what the whole model computes is part of the answer where that was asked for."""
    probe = probe_beside()
    probe.hide_nas()
    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported
    device = torch.device("cuda" if on_gpu else "cpu")
    started = time.perf_counter()
    module = probe.load_module(Path(request["model"]), "exported")
    torch.manual_seed(request["seed"])
    model = module.build().to(device).eval()
    tokens = probe.tokens_of(request).to(device)[: None if on_gpu else 1]
    calls = distinct_calls(module, model, tokens, request["ops"])
    module.KERNELS = "triton"
    for call in calls:
        call["results"] = with_gradients(getattr(module, call["op"]), call["inputs"])
    torch.save(calls, request["calls"])
    whole = whole_model(probe, module, model, tokens) if on_gpu or request["whole"] else None
    assert not probe.loaded_of_ours(), f"the file has imported {probe.loaded_of_ours()}"
    import triton

    return {
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "interpreted": not on_gpu,
        "triton": triton.__version__,
        "whole": whole,
        "seconds": time.perf_counter() - started,
    }


def distinct_calls(
    module: Any, model: Any, tokens: Tensor, ops: Sequence[str]
) -> list[dict[str, Any]]:
    """Each call that a model makes of the ops, once for each set of shapes: in a forward pass with
    its loss and, where it decodes, in two steps with carried state and a pass over the rest."""
    found: dict[str, dict[str, Any]] = {}
    module.KERNELS = "torch"
    with recorded(module, ops, found), torch.no_grad():
        inputs = tokens[:, :-1]
        logits = model(inputs)
        model.loss(inputs, tokens[:, 1:] if logits.ndim == 3 else tokens[:, 0] % logits.shape[-1])
        if hasattr(model, "empty_state"):
            state = model.empty_state()
            for part in (inputs[:, :1], inputs[:, 1:2], inputs[:, 2:]):
                if part.shape[1]:
                    model(part, state)
    return list(found.values())


@contextmanager
def recorded(module: Any, ops: Sequence[str], found: dict[str, dict[str, Any]]) -> Iterator[None]:
    """Notes inputs of the ops of a module for as long as the body runs."""
    originals = {op: getattr(module, op) for op in ops}

    def noted(op: str, *inputs: Any) -> Any:
        key = f"{op}({', '.join(map(described, inputs))})"
        call = found.setdefault(key, {"op": op, "key": key, "times": 0, "inputs": kept(inputs)})
        call["times"] += 1
        return originals[op](*inputs)

    try:
        for op in ops:
            setattr(module, op, functools.partial(noted, op))
        yield
    finally:
        for op, original in originals.items():
            setattr(module, op, original)


def described(value: Any) -> str:
    """An argument in a word: the shape of a tensor, any other value as it is."""
    if not isinstance(value, Tensor):
        return repr(value)
    kind = "" if value.is_floating_point() else f" {str(value.dtype).removeprefix('torch.')}"
    return f"{list(value.shape)}{kind}"


def kept(inputs: Sequence[Any]) -> list[Any]:
    """Copies that nothing changes later."""
    return [x.detach().clone() if isinstance(x, Tensor) else x for x in inputs]


def with_gradients(op: Callable[..., Any], inputs: Sequence[Any]) -> list[Tensor]:
    """The results of a call and, for fixed random cotangents, the gradient of every input of a
    floating type that the results depend on; on the CPU."""
    leaves = [
        x.detach().clone().requires_grad_(x.is_floating_point()) if isinstance(x, Tensor) else x
        for x in inputs
    ]
    with torch.enable_grad():
        found = op(*leaves)
        results = [found] if isinstance(found, Tensor) else [x for x in found if x is not None]
        smooth = [x for x in results if x.requires_grad]
        generator = torch.Generator().manual_seed(1)
        cotangents = [
            torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x) for x in smooth
        ]
        wanted = [x for x in leaves if isinstance(x, Tensor) and x.requires_grad]
        grads = torch.autograd.grad(smooth, wanted, cotangents, allow_unused=True)
    return [x.detach().cpu() for x in (*results, *grads) if x is not None]


def judge(request: Mapping[str, Any]) -> dict[str, Any]:
    """How far each result is from the definition in float64, and how far it may be."""
    calls = torch.load(request["calls"])
    return {"calls": [{**judged(call, request["packages"]), "key": call["key"]} for call in calls]}


def judged(call: Mapping[str, Any], packages: Mapping[str, str]) -> dict[str, Any]:
    """The result of a call that uses up most of its budget.

    Twice the error of the definition in the same precision, and the rounding of sums that are taken
    in another order: of n terms, the root of n times half a unit in the last place, twice over.
    """
    from nas.kernels.runtime.impl import Impl, use_impl

    op = getattr(importlib.import_module(f"{packages[call['op']]}.api"), call["op"])
    inputs = [x.cpu() if isinstance(x, Tensor) else x for x in call["inputs"]]
    with use_impl(Impl.REFERENCE):
        exact = with_gradients(op, [doubled(x) for x in inputs])
        honest = with_gradients(op, inputs)
    longest = max(max(x.shape, default=1) for x in inputs if isinstance(x, Tensor))
    roundings = max(LEAST_ROUNDINGS, math.sqrt(longest))
    found = {"op": call["op"], "times": call["times"], "error": 0.0, "budget": 0.0, "results": 0}
    if len(exact) != len(call["results"]):
        return found | {"error": math.inf, "results": len(call["results"])}
    share = -1.0
    for mine, slow, true in zip(call["results"], honest, exact, strict=True):
        off = error(mine, true)
        allowed = 2 * error(slow, true) + roundings * torch.finfo(slow.dtype).eps
        if off / allowed > share:
            share = off / allowed
            found |= {"error": off, "budget": allowed}
    return found | {"results": len(exact)}


def doubled(x: Any) -> Any:
    """In float64, where it is a tensor of a floating type."""
    return x.double() if isinstance(x, Tensor) and x.is_floating_point() else x


def error(result: Tensor, exact: Tensor) -> float:
    """Largest error, relative to the largest exact value unless that is 0; NaN is infinite."""
    if result.shape != exact.shape:
        return math.inf
    if not exact.numel():
        return 0.0
    scale = float(exact.double().abs().max()) or 1.0
    off = (result.double() - exact.double()).abs().nan_to_num(nan=math.inf)
    return float(off.max()) / scale


def whole_model(probe: Any, module: Any, model: Any, tokens: Tensor) -> dict[str, Any]:
    """Logits and gradients of the model by its kernels and in plain torch, both in float64: how far
    they differ, and how far they move where every weight moves by a tiny relative amount."""
    model = model.double()
    mine, plain = (computed(probe, module, model, tokens, form) for form in ("triton", "torch"))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            sign = 2 * torch.randint(2, weight.shape, generator=generator) - 1
            weight.mul_(1 + probe.NUDGE * sign.to(weight))
    moved = computed(probe, module, model, tokens, "torch")
    widest = max(p.shape[-1] for p in model.parameters() if p.ndim)
    return {
        group: {
            "error": float((mine[group] - plain[group]).abs().nan_to_num(nan=math.inf).max()),
            "scale": float(plain[group].abs().max()),
            "condition": float((moved[group] - plain[group]).abs().max()) / probe.NUDGE,
            "terms": max(widest, tokens.shape[1]),
        }
        for group in plain
    }


def computed(probe: Any, module: Any, model: Any, tokens: Tensor, form: str) -> dict[str, Tensor]:
    """Logits, and all gradients of the loss one after the other, by one form of the ops."""
    module.KERNELS = form
    torch.manual_seed(0)  # routers may draw noise
    inputs = tokens[:, :-1]
    logits = model(inputs)
    loss = model.loss(inputs, probe.targets_of(tokens, logits))
    grads = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    flat = torch.cat([grad.flatten() for grad in grads if grad is not None])
    return {"logits": logits.detach().flatten(), "gradients": flat}


def probe_beside() -> Any:
    """``probe.py``, which lies beside this script; here the folder is no package."""
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        return importlib.import_module("probe")
    finally:
        sys.path.pop(0)


if __name__ == "__main__":
    main(sys.argv[1])
