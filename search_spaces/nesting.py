"""Nested parts of a whole architecture: how many prefixes there are, and each as a plain model."""

from typing import TYPE_CHECKING

from nas.errors import NotFound
from nas.plan import execute
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.ffns.nested.spec import Nested

if TYPE_CHECKING:
    from torch import Tensor


def prefix_count(architecture: Architecture) -> int:
    """Widths at which the architecture can run; 1 without nested parts. Where layers differ, the
    largest number of them: a layer with fewer stays at its full width."""
    nested = [layer.ffn for layer in architecture.layers if isinstance(layer.ffn, Nested)]
    return max((len(ffn.prefixes) for ffn in nested), default=1)


def at_prefix(architecture: Architecture, index: int) -> Architecture:
    """The architecture with every nested FFN replaced by the plain FFN of one prefix.

    Raises NotFound for an index outside 0..prefix_count - 1.
    """
    _check(architecture, index)
    layers = tuple(
        layer.model_copy(update={"ffn": layer.ffn.at_prefix(index)})
        if isinstance(layer.ffn, Nested)
        else layer
        for layer in architecture.layers
    )
    # by field: a copy would take the id along that belongs to the nested architecture
    fields = {name: getattr(architecture, name) for name in Architecture.model_fields}
    return Architecture.model_validate({**fields, "layers": layers})


def slice_weights(
    weights: "dict[str, Tensor]", architecture: Architecture, index: int
) -> "dict[str, Tensor]":
    """The state dict of the plain model at one prefix, from that of the nested model.

    Raises NotFound for an index outside 0..prefix_count - 1.
    """
    import torch

    from nas.search_spaces.ffns.nested.module import NestedFFN, first_units

    _check(architecture, index)
    with torch.device("meta"):  # names and classes only, no memory
        skeleton = execute(architecture.plan())
    names: dict[str, tuple[str, str, int]] = {}
    for path, module in skeleton.named_modules():
        if isinstance(module, NestedFFN):
            module.set_prefix(index)
            inner = [name for name, _ in module.ffn.named_parameters()]
            names |= {f"{path}.ffn.{name}": (path, name, module.used) for name in inner}
    plain = {}
    for key, weight in weights.items():
        if key in names:
            path, name, units = names[key]
            plain[f"{path}.{name}"] = first_units(name, weight, units).clone()
        else:
            plain[key] = weight
    return plain


def _check(architecture: Architecture, index: int) -> None:
    count = prefix_count(architecture)
    if not 0 <= index < count:
        has = "prefix 0 only" if count == 1 else f"prefixes 0 to {count - 1}"
        raise NotFound(f"there is no prefix {index}: architecture {architecture.id} has {has}")
