"""The choice of implementation: what is in force where, and what is refused."""

from collections.abc import Callable
from threading import Thread

import pytest

from nas.kernels.runtime.impl import Impl, Unsupported, current_impl, pick, use_impl
from nas.kernels.runtime.shapes import check_shape


def test_chunked_is_the_default_and_choices_nest() -> None:
    assert current_impl() is Impl.CHUNKED
    with use_impl(Impl.REFERENCE):
        with use_impl("triton"):
            assert current_impl() is Impl.TRITON
        assert current_impl() is Impl.REFERENCE
    assert current_impl() is Impl.CHUNKED


def test_an_exception_undoes_the_choice() -> None:
    with pytest.raises(RuntimeError), use_impl(Impl.REFERENCE):
        raise RuntimeError
    assert current_impl() is Impl.CHUNKED


def test_a_choice_stays_in_its_thread() -> None:
    seen: list[Impl] = []
    with use_impl(Impl.REFERENCE):
        thread = Thread(target=lambda: seen.append(current_impl()))
        thread.start()
        thread.join()
    assert seen == [Impl.CHUNKED]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="fastest"), use_impl("fastest"):
        pass


def test_a_lack_is_told_with_what_there_is() -> None:
    table: dict[Impl, Callable[..., object]] = {Impl.REFERENCE: abs, Impl.CHUNKED: round}
    assert pick("op", table) is round
    with use_impl(Impl.TRITON), pytest.raises(Unsupported) as caught:
        pick("op", table)
    assert str(caught.value) == "op has no implementation 'triton'; it has: reference, chunked"


def test_shapes_pass_only_where_they_should() -> None:
    check_shape("op", "x", (2, 3), "[B, T]", (2, 3))
    check_shape("op", "x", (1, 3), "[B, T]", (2, 3), broadcast=True)
    for shape in ((1, 3), (3,), (2, 3, 1)):
        with pytest.raises(ValueError, match=r"op: x must be \[B, T\] = \[2, 3\] but is"):
            check_shape("op", "x", shape, "[B, T]", (2, 3))
