"""A plan as text: the text builds what the plan builds, and is short where the plan repeats."""

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.export.render import Repeat, fold, render
from nas.plan import Call, Node

LITERALS = st.one_of(
    st.integers(-1000, 1000),
    st.booleans(),
    st.none(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
)


def call(name: str, **arguments: Any) -> Call:
    return Call(f"parts.{name.lower()}:{name}", arguments)


def named(items: str) -> tuple[Call, ...]:
    return tuple(call(letter) for letter in items)


def calls(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    names = st.sampled_from(("Attention", "Norm", "GatedLinearUnit"))
    fields = st.dictionaries(st.sampled_from(("dim", "norm", "inner", "blocks")), children)
    repeated = st.lists(children, max_size=4).flatmap(
        lambda items: st.integers(1, 3).map(lambda count: tuple(items * count))
    )
    return st.one_of(st.builds(lambda n, f: call(n, **f), names, fields), repeated)


PLANS = st.recursive(LITERALS, calls, max_leaves=25)


def built(text: str) -> Any:
    """What the text builds, with constructors that write down what they are given."""

    def constructor(name: str) -> Any:
        return lambda **arguments: (name, arguments)

    names = ("A", "Attention", "Norm", "GatedLinearUnit")
    return eval(text, {name: constructor(name) for name in names})


def described(node: Node) -> Any:
    if isinstance(node, Call):
        return node.target.split(":")[1], {k: described(v) for k, v in node.arguments.items()}
    return tuple(described(item) for item in node) if isinstance(node, tuple) else node


@settings(deadline=None, max_examples=100, derandomize=True, database=None)
@given(PLANS, st.integers(0, 60))
def test_the_text_builds_what_the_plan_describes(plan: Node, indent: int) -> None:
    text = render(call("A", inner=plan), indent=indent)
    # repr, since 1, 1.0 and True are equal but do not build the same
    assert repr(built(text.strip())) == repr(described(call("A", inner=plan)))


@pytest.mark.parametrize(
    ("items", "folded"),
    [
        ("AAAA", "4[A]"),
        ("ABC", "ABC"),
        ("AAAB", "3[A]B"),
        ("AAABAAABAAAB", "3[3[A]B]"),
        ("BAAABAAABAAAC", "3[B3[A]]C"),
        ("ABABAB", "3[AB]"),
        ("CAAAAC", "C4[A]C"),
    ],
)
def test_equal_neighbours_and_groups_are_folded(items: str, folded: str) -> None:
    assert "".join(written(item) for item in fold(named(items))) == folded


def written(item: Any) -> str:
    if isinstance(item, Repeat):
        return f"{item.count}[{''.join(written(inner) for inner in item.items)}]"
    return str(item.target[-1])


def test_equal_numbers_of_different_type_are_not_folded() -> None:
    different = (call("A", dim=1), call("A", dim=1.0), call("A", dim=True))
    assert fold(different) == different


def test_five_hundred_layers_are_folded_at_once() -> None:
    assert fold(named("AAAB" * 128)) == (Repeat(128, (Repeat(3, named("A")), *named("B"))),)


def test_a_torch_module_keeps_its_usual_name() -> None:
    assert render(Call("torch.nn:LayerNorm", {"dim": 4})) == "nn.LayerNorm(dim=4)"


def test_a_stack_reads_as_a_loop() -> None:
    layer = call("Attention", norm=call("Norm", dim=64, eps=1e-5), inner=call("GatedLinearUnit"))
    other = call("Attention", norm=call("Norm", dim=64, eps=1e16), inner=call("GatedLinearUnit"))
    text = render(call("A", blocks=(layer, layer, layer, other) * 2), indent=4, before="return ")
    assert text.splitlines() == [
        "    return A(",
        "        blocks=tuple(",
        "            block",
        "            for _ in range(2)",
        "            for block in (",
        "                *(",
        "                    Attention(norm=Norm(dim=64, eps=1e-05), inner=GatedLinearUnit())",
        "                    for _ in range(3)",
        "                ),",
        "                Attention(norm=Norm(dim=64, eps=1e16), inner=GatedLinearUnit()),",
        "            )",
        "        ),",
        "    )",
    ]


@settings(deadline=None, max_examples=1, derandomize=True, database=None)
@given(st.lists(PLANS, min_size=60, max_size=60))
def test_the_layout_is_that_of_the_formatter(plans: list[Node]) -> None:
    deep = [call("Attention", norm=call("Norm", inner=call("Attention", inner=p))) for p in plans]
    text = "\n".join(render(plan, before="x = ") for plan in deep) + "\n"
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--diff", "--line-length", "100", "-"],
        input=text,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
