"""``build()``: the plan as a function. A layer that recurs apart from its like, as in A B A, gets a
function of its own, so that it is written once."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from nas.export.collect import spelling
from nas.export.render import Item, Repeat, fold, render
from nas.plan import Call, Node

STACK = "blocks"
"""The argument that holds the layers."""


def builder_functions(plan: Call) -> dict[str, str]:
    """The text of each function by its name, ``build`` last."""
    layers = plan.arguments.get(STACK)
    functions = {}
    if isinstance(layers, tuple) and _recurs(fold(layers)):
        names = {key: f"layer_{n}" for n, key in enumerate(dict.fromkeys(map(repr, layers)), 1)}
        for key, name in names.items():
            at = [index for index, layer in enumerate(layers) if repr(layer) == key]
            functions[name] = _function(
                name, layers[at[0]], f"Block{'s' if len(at) > 1 else ''} {_ranges(at)}."
            )
        calls = tuple(Call(f":{names[repr(layer)]}") for layer in layers)
        plan = replace(plan, arguments={**plan.arguments, STACK: calls})
    about = "After `torch.manual_seed(SEED)`, with the weights that training began with."
    return functions | {"build": _function("build", plan, f"The model. {about}")}


def _function(name: str, node: Node, docstring: str) -> str:
    returns = f" -> {spelling(node.target)}" if isinstance(node, Call) else ""
    lines = (
        f"def {name}(){returns}:",
        f'    """{docstring}"""',
        render(node, indent=4, before="return "),
    )
    return "\n".join(lines)


def _recurs(folded: Sequence[Item]) -> bool:
    """Whether a layer stands in more than one place after folding."""
    return max(Counter(_places(folded)).values()) > 1


def _places(folded: Sequence[Item]) -> Iterator[str]:
    for item in folded:
        if isinstance(item, Repeat):
            yield from _places(item.items)
        else:
            yield repr(item)


def _ranges(numbers: Sequence[int]) -> str:
    """``0 to 2, 4, 6 to 8``"""
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    spans = zip(starts, ends, strict=True)
    return ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in spans)
