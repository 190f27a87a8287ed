"""The source that a plan needs: copied as it stands, complete, and refused where it cannot be."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from nas.errors import ExportRefused
from nas.export.collect import Collected, collect
from nas.export.lint import check_source
from nas.export.write import write_imports, write_sections

Parts = Callable[..., Callable[..., Collected]]


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """Writes modules of a package of parts, and collects targets from it."""
    package = f"parts_{tmp_path.name}".replace("-", "_")
    monkeypatch.syspath_prepend(tmp_path)

    def write(**modules: str) -> Callable[..., Collected]:
        (tmp_path / package).mkdir()
        for name, text in modules.items():
            text = dedent(text).replace("PARTS", package)
            (tmp_path / package / f"{name}.py").write_text(text)
        return lambda *targets: collect(f"{package}.{target}" for target in targets)

    return write


def text_of(collected: Collected) -> str:
    return f"{write_imports(collected.imports)}\n{write_sections(collected)}"


def test_definitions_keep_their_text_and_comments(parts: Parts) -> None:
    take = parts(
        one='''
        """One part.

        B batch, T time
        """

        import math
        import os  # not needed by what is taken

        import torch

        WIDTH = 3  # a power of two less one
        """What it is for."""
        UNUSED = 4


        # Before the function.
        @torch.no_grad()
        def scale(x):
            return x *   math.pi * WIDTH  # as it stands


        def unused():
            return os.name
        '''
    )
    text = text_of(take("one:scale"))
    assert (
        text.strip()
        == dedent(
            '''
        import math

        import torch


        # One part.
        #
        # B batch, T time

        WIDTH = 3  # a power of two less one
        """What it is for."""


        # Before the function.
        @torch.no_grad()
        def scale(x):
            return x *   math.pi * WIDTH  # as it stands
        '''
        ).strip()
    )
    check_source(text + "\nscale(1)\n")


def test_names_are_followed_and_dependencies_come_first(parts: Parts) -> None:
    take = parts(
        top="from PARTS.middle import middle\n\ndef top():\n    return middle()\n",
        middle="from .low import Low, other\n\ndef middle():\n    other = 1\n    return Low\n",
        low="class Base: ...\n\nclass Low(Base): ...\n\ndef other(): ...\n",
    )
    sections = take("top:top").sections
    names = [[item.name for item in section.definitions] for section in sections]
    assert names == [["Base", "Low"], ["middle"], ["top"]]  # `other` is a local variable there


def test_an_op_is_taken_in_its_plain_form(parts: Parts) -> None:
    take = parts(
        mixer="""
        from nas.kernels.linear_attention.api import linear_attention

        def mix(q, k, v, g):
            return linear_attention(q, k, v, g)
        """
    )
    modules = [section.module for section in take("mixer:mix").sections]
    assert modules[0] == "nas.kernels.linear_attention.chunked"
    check_source(text_of(take("mixer:mix")) + "\nmix(1, 2, 3, 4)\n")


def test_a_quoted_union_names_only_what_is_there(parts: Parts) -> None:
    take = parts(
        one="""
        def choose(scope: "Left | Right | None", other: "Alone | None") -> "Left | Right": ...

        class Left: ...

        class Right: ...

        class Alone: ...
        """
    )
    text = text_of(take("one:choose", "one:Right"))
    assert 'scope: "Right | None", other: "Alone | None") -> "Right": ...' in text
    assert "class Left" not in text
    assert "class Alone" in text


@pytest.mark.parametrize(
    ("module", "culprits"),
    [
        ("import numpy as np\n\ndef f(): ...\n", ("one imports numpy",)),
        ("from scipy.linalg import expm\n\ndef f(): ...\n", ("one imports scipy.linalg",)),
        ("def f():\n    import numpy\n", ("one.f imports numpy",)),
        ("def f():\n    return nowhere\n", ("one.f uses nowhere",)),
        ("def g(): ...\n", ("one has no definition of f",)),
        ("from PARTS import two as other\n\ndef f():\n    other.g()\n", ("under another name",)),
        ("from PARTS.three import g\n\ndef f():\n    g()\n", ("no source for module", "three")),
    ],
)
def test_what_cannot_be_copied_is_refused_by_name(
    module: str, culprits: tuple[str, ...], parts: Parts
) -> None:
    take = parts(one=module, two="def g(): ...\n")
    with pytest.raises(ExportRefused) as refusal:
        take("one:f")
    assert all(culprit in str(refusal.value) for culprit in culprits)


def test_two_helpers_of_one_name_are_refused_naming_both(parts: Parts) -> None:
    take = parts(
        one="def helper():\n    return 1\n\ndef f():\n    return helper()\n",
        two="def helper():\n    return 2\n\ndef g():\n    return helper()\n",
    )
    with pytest.raises(ExportRefused, match=r"one and \S*two define helper differently"):
        take("one:f", "two:g")


def test_equal_helpers_are_written_once(parts: Parts) -> None:
    helper = "def helper():\n    return 1\n\n"
    take = parts(
        one=f"{helper}def f():\n    return helper()\n",
        two=f"{helper}def g():\n    return helper()\n",
    )
    assert text_of(take("one:f", "two:g")).count("def helper") == 1


def test_one_name_for_two_imports_is_refused(parts: Parts) -> None:
    take = parts(
        one="import math as m\n\ndef f():\n    return m\n",
        two="import cmath as m\n\ndef g():\n    return m\n",
    )
    with pytest.raises(ExportRefused, match=r"m is math in \S*one and cmath in \S*two"):
        take("one:f", "two:g")


def test_an_import_may_not_share_a_name_with_a_definition(parts: Parts) -> None:
    take = parts(
        one="from math import pi\n\ndef f():\n    return pi\n",
        two="pi = 3\n\ndef g():\n    return pi\n",
    )
    with pytest.raises(ExportRefused, match=r"pi is math\.pi in \S*one and a definition in \S*two"):
        take("one:f", "two:g")


def test_names_of_the_file_itself_are_reserved() -> None:
    with pytest.raises(ExportRefused, match="LanguageModel"):
        collect(["nas.search_spaces.model:LanguageModel"], reserved=["LanguageModel"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import numpy\nnumpy.array\n", "imports numpy"),
        ("def build():\n    import nas\n    return nas\n", "imports nas"),
        ("def build():\n    return Missing()\n", "does not define Missing"),
        ("def build(x: 'Missing'): ...\n", "does not define Missing"),
        ("import json\n\ndef build(): ...\n", "nothing uses json"),
        ("class Spare: ...\n\ndef build(): ...\n", "nothing uses Spare"),
        ("def again():\n    again()\n\ndef build(): ...\n", "nothing uses again"),
    ],
)
def test_a_file_is_read_for_strange_and_useless_names(text: str, said: str) -> None:
    with pytest.raises(ExportRefused, match=said):
        check_source(text)
