"""Whole models run with Triton kernels: in the interpreter, or on a GPU where there is one."""

from nas.kernels.runtime.checking import check_triton


def test_models_are_the_same_in_triton() -> None:
    check_triton(__file__, name="model_checks.py", least=12)
