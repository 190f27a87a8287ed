"""One readable file: header, imports, source, ``build()`` and a way to try it."""

import sys
from collections.abc import Iterable, Sequence
from itertools import groupby

from nas.export.builder import builder_functions
from nas.export.carried import MARK, Carried, kernels_docstring, kernels_source, marked
from nas.export.collect import Collected, Section, as_comment, collect, targets_of
from nas.export.header import Header, docstring
from nas.export.parse import Import
from nas.export.render import WIDTH
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.legality import longest_input

TRY_OUT = {
    "causal_lm": "nas.export.trying:try_out",
    "encoder": "nas.export.trying:try_encoder",
}
LOAD = "nas.export.loading:load_safetensors"
"""Functions that are copied into the file as parts are."""
RESERVED = ("SEED", "model", "weights")
"""Names that the file defines itself, besides those of its functions."""
PROMPT, NEW = 16, 8
"""Tokens read and decoded by ``python model.py``."""


def longest_context(architecture: Architecture) -> int | None:
    """Tokens that the model can read at most; None is any number."""
    found = longest_input(architecture)
    return None if found is None else found[0]


def write_model(
    architecture: Architecture,
    header: Header,
    *,
    seed: int,
    weights: bool,
    carried: Carried | None = None,
) -> str:
    """The text of ``model.py``. With `weights` it can load ``weights.safetensors`` beside it; with
    `carried` it can run the kernels in ``model_triton.py`` beside it.

    Raises ExportRefused where the source of a part cannot be copied; see `collect`.
    """
    plan = architecture.plan()
    targets = [*targets_of(plan), TRY_OUT[architecture.family]]
    own = [Import("torch", None)]
    if weights:
        targets.append(LOAD)
        own.append(Import("pathlib", "Path"))
    functions = builder_functions(plan)
    ops = None
    if carried is not None:
        targets.insert(0, MARK)
        ops = carried.names, carried.names_without
    source = collect(targets, {*RESERVED, *functions})
    if carried is not None:
        source = marked(source, carried)
    text = docstring(architecture, header, seed=seed, weights=weights, kernels=ops)
    parts = [
        f'"""{text}"""',
        write_imports([*source.imports, *own]),
    ]
    text = "\n\n".join(parts) + f"\n\nSEED = {seed}\n" + write_sections(source)
    return "\n\n\n".join((text.rstrip("\n"), *functions.values(), _run(architecture, weights)))


def write_kernels(architecture: Architecture, header: Header, carried: Carried) -> str:
    """The text of ``model_triton.py``: the Triton forms of the ops that a model uses."""
    source = kernels_source(carried)
    parts = (
        f'"""{kernels_docstring(architecture, header, carried)}"""',
        write_imports(source.imports),
        write_sections(source).lstrip("\n"),
    )
    return "\n\n".join(parts)


def write_sections(source: Collected) -> str:
    """The definitions, under the docstring of the module that they come from."""
    return "".join(_section(section) for section in source.sections)


def write_imports(imports: Iterable[Import]) -> str:
    """Import statements in isort's order: the standard library, then the rest."""
    unique = list(dict.fromkeys(imports))
    standard = [item for item in unique if item.package in sys.stdlib_module_names]
    others = [item for item in unique if item.package not in sys.stdlib_module_names]
    return "\n\n".join("\n".join(_import_lines(group)) for group in (standard, others) if group)


def _import_lines(imports: Sequence[Import]) -> list[str]:
    whole = sorted((i for i in imports if i.name is None), key=lambda i: i.module)
    lines = [f"import {i.module}" + (f" as {i.alias}" if i.alias else "") for i in whole]
    named = sorted((i for i in imports if i.name is not None), key=_import_order)
    for module, group in groupby(named, key=lambda item: item.module):
        members = [f"{i.name} as {i.alias}" if i.alias else str(i.name) for i in group]
        line = f"from {module} import {', '.join(members)}"
        if len(line) > WIDTH:
            line = "\n".join((f"from {module} import (", *(f"    {m}," for m in members), ")"))
        lines.append(line)
    return lines


def _import_order(item: Import) -> tuple[str, int, str]:
    """Constants, then classes, then functions, as isort has it."""
    name = item.name or ""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return item.module, kind, name


def _section(section: Section) -> str:
    """Two blank lines around functions and classes, none between constants."""
    text = f"\n\n{as_comment(section.docstring)}\n" if section.docstring else "\n"
    gap = "\n"
    for definition in section.definitions:
        gap = "\n\n" if definition.is_block else gap
        text += f"{gap}{definition.text}\n"
        gap = "\n\n" if definition.is_block else ""
    return text


def _run(architecture: Architecture, weights: bool) -> str:
    limit = longest_context(architecture) or PROMPT + NEW
    new = min(NEW, limit // 2)
    prompt = min(PROMPT, limit - new)
    lines = ['if __name__ == "__main__":', "    torch.manual_seed(SEED)", "    model = build()"]
    if weights:
        lines += [
            '    weights = Path(__file__).with_name("weights.safetensors")',
            "    if weights.exists():",
            "        model.load_state_dict(load_safetensors(weights))",
        ]
    if architecture.family == "causal_lm":
        call = f"try_out(model, vocab={architecture.vocab}, prompt={prompt}, new={new})"
    else:
        call = f"try_encoder(model, vocab={architecture.vocab}, tokens={prompt})"
    lines.append(f"    {call}")
    return "\n".join(lines) + "\n"
