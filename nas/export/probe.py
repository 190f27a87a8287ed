"""Runs models and writes down what they compute: the same script for both sides of a certificate.

    python -I -B probe.py request.json   # exported files, in an interpreter that cannot import nas
    python -P -B probe.py request.json   # the same architectures, built by the search's own code

It is run by its path and needs only torch and the standard library; ``verify.py`` writes what
it reads. For each job it writes one JSON object, or ``{"error": ...}``.

B batch, T time, V vocabulary
"""

import contextlib
import ctypes
import hashlib
import importlib
import importlib.util
import io
import json
import runpy
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

BATCH = 2
NUDGE = 2.0**-32  # far above the rounding of float64, far below anything that bends the function
OURS = ("nas", "search_spaces", "evaluators", "kernels", "api", "pydantic", "safetensors")


def main(request_file: str) -> None:
    """Answer every job of a request."""
    request = json.loads(Path(request_file).read_text())
    torch.set_num_threads(request["threads"])
    exported = request["side"] == "exported"
    if exported:
        hide_nas()
    answer = observe_exported if exported else observe_reference
    results = []
    for index, job in enumerate(request["jobs"]):
        started = time.perf_counter()
        try:
            found = answer(job, index)
            results.append({**found, "seconds": time.perf_counter() - started})
        except (Exception, SystemExit) as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(where.filename).name}, line {where.lineno}"
            results.append({"error": f"{type(error).__name__}: {error} ({place})"})
    Path(request["results"]).write_text(json.dumps(results))


class _Hidden:
    """Finds nothing of ours, wherever it is installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.split(".")[0] in OURS:
            raise ModuleNotFoundError(f"an exported file cannot import {name}", name=name)


def hide_nas() -> None:
    """Make the search's code unimportable in this process, and check that it is."""
    sys.meta_path.insert(0, _Hidden())
    assert sys.flags.isolated, "the exported side must run with python -I"
    assert not loaded_of_ours(), f"already imported: {loaded_of_ours()}"
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module("nas")
        fail("nas can be imported in the clean interpreter")


def loaded_of_ours() -> list[str]:
    """Modules of the search that this process has loaded."""
    return [name for name in sys.modules if name.split(".")[0] in OURS]


def fail(message: str) -> NoReturn:
    """One check did not hold."""
    raise RuntimeError(message)


def observe_reference(job: Mapping[str, Any], index: int) -> dict[str, Any]:
    """What the search's own model computes."""
    from nas.plan import execute
    from nas.search_spaces.architecture import Architecture

    plan = Architecture.model_validate(job["architecture"]).plan()
    tensors, facts = observe(job, lambda: execute(plan))
    if job["weights"]:
        from safetensors.torch import load_file

        weights = load_file(job["weights"])
        tensors["trained logits"] = {"logits": trained_logits(execute(plan), job, weights)}
    return {**facts, **report(tensors, job)}


def observe_exported(job: Mapping[str, Any], index: int) -> dict[str, Any]:
    """What the file computes, how it decodes, and what it prints."""
    module = load_module(Path(job["model"]), f"exported_{index}")
    tensors, facts = observe(job, module.build)
    torch.manual_seed(job["seed"])
    model = module.build()
    if job["weights"]:
        weights = module.load_safetensors(Path(job["weights"]))
        tensors["trained logits"] = {"logits": trained_logits(model, job, weights)}
    decoding = decoding_error(model, job) if hasattr(model, "empty_state") else None
    facts |= {"decoding": decoding, "printed": printed(job["model"])}
    assert not loaded_of_ours(), f"the file has imported {loaded_of_ours()}"
    return {**facts, **report(tensors, job)}


def observe(
    job: Mapping[str, Any], build: Callable[[], Any]
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Initial weights, logits and gradients in float32, from the job's seed."""
    torch.manual_seed(job["seed"])
    model = build()
    weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
    tokens = tokens_of(job)
    torch.manual_seed(job["seed"])  # routers may draw noise
    logits = model(tokens[:, :-1])
    torch.manual_seed(job["seed"])
    model.loss(tokens[:, :-1], targets_of(tokens, logits)).backward()
    named = model.named_parameters()
    gradients = {name: p.grad for name, p in named if p.grad is not None}
    tensors = {"initial weights": weights, "logits": {"logits": logits}, "gradients": gradients}
    facts = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "keys": list(weights),
    }
    return tensors, facts


def tokens_of(job: Mapping[str, Any]) -> Tensor:
    """Random tokens, int64 [B, T + 1]; the same for the same seed."""
    generator = torch.Generator().manual_seed(job["seed"])
    return torch.randint(job["vocab"], (BATCH, job["tokens"] + 1), generator=generator)


def targets_of(tokens: Tensor, logits: Tensor) -> Tensor:
    """Something to predict: the next token [B, T], or a class for each sequence [B]."""
    return tokens[:, 1:] if logits.ndim == 3 else tokens[:, 0] % logits.shape[-1]


@torch.no_grad()
def trained_logits(model: Any, job: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Tensor:
    """Logits with trained weights, which stay in the model."""
    model.load_state_dict(weights)
    logits: Tensor = model.eval()(tokens_of(job)[:, :-1])
    return logits


@torch.no_grad()
def decoding_error(model: Any, job: Mapping[str, Any]) -> dict[str, float]:
    """Largest difference, in float64, between the parallel forward and decoding from carried
    state: token by token and then the rest at once, and half at once and then token by token.

    Both sum the same terms in different orders, so they may differ by the rounding of the longest
    sum times the condition of the model. The condition is measured: how far the logits move when
    every weight moves by a tiny relative amount. Being derived from the weights, it is large where
    a norm divides by almost nothing, and not otherwise.
    """
    model.double().eval()
    tokens = tokens_of(job)[:, :-1]
    parallel = model(tokens)
    half = tokens.shape[1] // 2
    singly, rest = tokens[:, :half].split(1, dim=1), tokens[:, half:]
    first, then = tokens[:, :half], rest.split(1, dim=1)
    errors = []
    for pieces in ((*singly, rest), (first, *then)):
        state = model.empty_state()
        decoded = [model(piece, state) for piece in pieces if piece.shape[1]]
        errors.append((torch.cat(decoded, dim=1) - parallel).abs().max().item())
    widest = max(p.shape[-1] for p in model.parameters())
    generator = torch.Generator().manual_seed(job["seed"])
    for weight in model.parameters():
        sign = 2 * torch.randint(2, weight.shape, generator=generator).double() - 1
        weight.mul_(1 + NUDGE * sign)
    moved = (model(tokens) - parallel).abs().max().item()
    return {
        "error": max(errors),
        "scale": parallel.abs().max().item(),
        "condition": moved / NUDGE,
        "terms": max(widest, tokens.shape[1]),
    }


def printed(model: str) -> str:
    """What ``python model.py`` prints."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        runpy.run_path(model, run_name="__main__")
    return output.getvalue()


def load_module(path: Path, name: str) -> Any:
    """Import a file under a name of its own."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def report(tensors: Mapping[str, Mapping[str, Tensor]], job: Mapping[str, Any]) -> dict[str, Any]:
    """Digests of each group of tensors, and the tensors themselves where the job asks for them."""
    if job["dump"]:
        torch.save({group: dict(items) for group, items in tensors.items()}, job["dump"])
    digests = {
        group: {name: digest(value) for name, value in items.items()}
        for group, items in tensors.items()
    }
    return {"digests": digests, "batch": BATCH, "torch": torch.__version__}


def digest(tensor: Tensor) -> str:
    """SHA-256 of dtype, shape and bytes."""
    tensor = tensor.detach().cpu().contiguous()
    found = hashlib.sha256(f"{tensor.dtype} {list(tensor.shape)}".encode())
    found.update(ctypes.string_at(tensor.data_ptr(), tensor.numel() * tensor.element_size()))
    return found.hexdigest()


if __name__ == "__main__":
    main(sys.argv[1])
