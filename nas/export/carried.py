"""The second file of an export: the Triton kernels of the ops that a model uses.

Both files are copied from the source that the search runs. In ``model.py`` the ops that have
kernels are marked (``forms.py`` says what that means); ``model_triton.py`` defines the same names.
"""

import ast
import re
import textwrap
from dataclasses import dataclass, replace

from nas.errors import ExportRefused
from nas.export.collect import Collected, Op, collect, targets_of
from nas.export.header import WIDTH, Header, origin_of, plain
from nas.export.parse import Definition, read_module
from nas.plan import Call
from nas.search_spaces.architecture import Architecture

PACKAGES = ("triton",)
"""What the second file may import besides torch and the standard library."""
MARK = "nas.export.forms:has_kernels"
FORM = "triton"
_PAPER = re.compile(r"arXiv (\d{4}\.\d{4,5})")


@dataclass(frozen=True)
class Carried:
    """Ops of one model, by whether they have a Triton form."""

    ops: tuple[Op, ...]
    without: tuple[Op, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the ops that the second file holds."""
        return tuple(op.name for op in self.ops)

    @property
    def names_without(self) -> tuple[str, ...]:
        """Of the ops that stay in plain torch everywhere."""
        return tuple(op.name for op in self.without)


def carried_by(architecture: Architecture) -> Carried:
    """The ops that a model uses.

    Raises ExportRefused where none of them has a Triton form: there is nothing to carry.
    """
    plan = architecture.plan()
    assert isinstance(plan, Call)
    ops = collect(targets_of(plan)).ops
    carried = Carried(
        ops=tuple(op for op in ops if _has_form(op)),
        without=tuple(op for op in ops if not _has_form(op)),
    )
    if not carried.ops:
        found = f"its ops are {', '.join(carried.names_without)}" if ops else "it uses no op"
        raise ExportRefused(
            f"export: architecture {architecture.id} has no op with a Triton form: {found}; "
            "export it without kernels"
        )
    return carried


def marked(source: Collected, carried: Carried) -> Collected:
    """The source of ``model.py`` with the ops marked that have kernels."""
    ops = {(f"{op.package}.chunked", op.name) for op in carried.ops}

    def mark(definition: Definition) -> Definition:
        if (definition.module, definition.name) not in ops:
            return definition
        text = re.sub(r"^(?=@|def )", "@has_kernels\n", definition.text, count=1, flags=re.M)
        return replace(definition, text=text)

    sections = (
        replace(section, definitions=tuple(map(mark, section.definitions)))
        for section in source.sections
    )
    return replace(source, sections=tuple(sections))


def kernels_source(carried: Carried) -> Collected:
    """The Triton forms of the ops, and what they need."""
    return collect([f"{op.package}.{FORM}:{op.name}" for op in carried.ops], packages=PACKAGES)


def kernels_docstring(architecture: Architecture, header: Header, carried: Carried) -> str:
    """The text of the docstring of the second file."""
    paragraphs = [
        f"Triton kernels of architecture {architecture.id}, forward and backward.",
        f"{origin_of(header)}model.py beside this file runs them for tensors on a GPU; its KERNELS "
        "says which form runs. This file needs PyTorch and Triton, nothing else.",
        "Of each op: what its kernels share, the kernels, and last the function of its name, which "
        "launches them. Its arguments are those of the function of the same name in model.py.",
        *(_about(op) for op in carried.ops),
    ]
    return "\n\n".join(_wrapped(text) for text in paragraphs) + "\n"


def _has_form(op: Op) -> bool:
    try:
        form = read_module(f"{op.package}.{FORM}")
    except ExportRefused:
        return False
    return op.name in form.definitions


def _about(op: Op) -> str:
    """What an op computes and who says so, from the docstring of its ``api``."""
    tree = ast.parse(read_module(f"{op.package}.api").definitions[op.name].text)
    assert isinstance(tree.body[0], ast.FunctionDef)
    text = ast.get_docstring(tree.body[0]) or ""
    first = " ".join(text.partition("\n\n")[0].split())
    more = [paper for paper in dict.fromkeys(_PAPER.findall(text)) if paper not in first]
    cites = f" ({', '.join(f'arXiv {paper}' for paper in more)})" if more else ""
    return plain(f"{op.name}: {first.removesuffix('.')}{cites}.")


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
